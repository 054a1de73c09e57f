//! File extents into and out of batches, walking, attributes, atomic finish, and the Root through which every name becomes a file.
