//! Batches to and from a UDP socket, with GSO and GRO where the kernel has them.
