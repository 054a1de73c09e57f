//! What is to be moved and what has arrived.
