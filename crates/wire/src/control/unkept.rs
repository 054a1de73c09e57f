use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::Text;

/// Most kinds of attributes that a verdict says were not kept.
pub const UNKEPT_MAX: usize = 16;

/// A kind of attribute that could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unkept {
    /// A word for the kind.
    pub kind: Text,
    /// Of how many files, directories and links.
    pub count: u64,
    /// The first of them, relative to the destination.
    pub path: ByteBuf,
    /// Why not of that one.
    pub why: Text,
}
