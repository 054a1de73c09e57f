//! Decoders and machines that are functions of bytes alone.

pub mod bytes;
pub mod control_frame;
pub mod datagram;
pub mod flow_receiver;
pub mod list_entries;
pub mod path_bodies;
pub mod report;
