//! Content protection: age v1 files, sealed in any order, opened in theirs.
//!
//! ```text
//!  header: version, one stanza a recipient, MAC      key of the file, wrapped for each of them
//!  16 bytes                                          payload nonce
//!  [ 64 KiB | tag ][ 64 KiB | tag ] … [ rest | tag ] chunks: ChaCha20-Poly1305, numbered, the last marked
//! ```
//!
//! Every age program reads these files, and this reads theirs. [`Sealer`] makes any bytes of one, in any
//! order, which a transfer needs; [`seal`] makes a whole one from front to back; [`Opener`] reads one so.
//! Nothing here opens a network or writes a file, and no program is ever run that a file names.
//!
//! Byte layout: <https://c2sp.org/age>. Why so: docs/decisions/0010-protection.md.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod header;
mod identities;
mod inspect;
mod kept;
mod opener;
mod recipients;
mod sealer;
mod stream;

pub use zeroize::Zeroizing;

pub use self::{
    error::VaultError,
    header::{HEADER_LEN_MAX, MAGIC, is_age},
    identities::{Identities, keygen},
    inspect::{Inspection, add_recipients, inspect},
    kept::Kept,
    opener::Opener,
    recipients::{PASSPHRASE_WORK, PASSPHRASE_WORK_MAX, Recipients},
    sealer::{Sealer, seal},
    stream::CHUNK_LEN,
};
