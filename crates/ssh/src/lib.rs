//! One SSH session on one thread: a byte pipe to a remote command.
