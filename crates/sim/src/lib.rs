//! Two endpoints, a hostile network and a faulty disk in virtual time.
