//! Six stages, one driver, bounded queues: the running data path.
