//! One entry as bytes.
//!
//! ```text
//! ┌──────────────┬─────────────────────────────┐
//! │ length       │ postcard of a `Frame`       │   length: LEB128, 1..=MAX_ENTRY_LEN
//! └──────────────┴─────────────────────────────┘
//! ```
//!
//! A length of zero is one byte of padding and means nothing. Extents are written as the gap since
//! the previous one's end, and their length.

use serde::{Deserialize, Serialize};

use crate::{
    ChangeKind, Digest, DirId, Entry, Extent, FileNo, Layout, LinkNo, ListError, MAX_ENTRY_LEN,
    MAX_EXTENTS, MAX_TARGET_LEN, Meta, Name, SkipKind, Timestamp, extra::Raw,
};

/// What is on the wire: names are bytes not yet checked.
#[derive(Serialize, Deserialize)]
enum Frame<'a> {
    Dir {
        parent: DirId,
        #[serde(borrow, with = "serde_bytes")]
        name: &'a [u8],
        meta: Meta,
    },
    File {
        parent: DirId,
        #[serde(borrow, with = "serde_bytes")]
        name: &'a [u8],
        meta: Meta,
        size: u64,
        extents: Option<Vec<(u64, u64)>>,
        digest: Option<Digest>,
    },
    Symlink {
        parent: DirId,
        #[serde(borrow, with = "serde_bytes")]
        name: &'a [u8],
        meta: Meta,
        #[serde(borrow, with = "serde_bytes")]
        target: &'a [u8],
    },
    Changed {
        file: FileNo,
        why: ChangeKind,
    },
    Torn {
        block: u64,
    },
    Digest {
        file: FileNo,
        digest: Digest,
    },
    Skipped {
        parent: DirId,
        #[serde(borrow, with = "serde_bytes")]
        name: &'a [u8],
        why: SkipKind,
    },
    End {
        content_bytes: u64,
        files: u64,
        entries: u64,
        unlisted: u64,
    },
    Extra(#[serde(borrow)] Raw<'a>),
    HardLink {
        parent: DirId,
        #[serde(borrow, with = "serde_bytes")]
        name: &'a [u8],
        to: LinkNo,
    },
    Stream {
        parent: DirId,
        #[serde(borrow, with = "serde_bytes")]
        name: &'a [u8],
        meta: Meta,
    },
    Closed {
        size: u64,
        meta: Meta,
    },
}

impl Entry {
    /// Appends the entry, framed, to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let body = postcard::to_stdvec(&Frame::of(self)).unwrap_or_default();
        debug_assert!(!body.is_empty() && body.len() <= MAX_ENTRY_LEN);
        let mut len = body.len();
        while len >= 0x80 {
            out.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        out.push(len as u8);
        out.extend_from_slice(&body);
    }
}

impl<'a> Frame<'a> {
    fn of(entry: &'a Entry) -> Self {
        match entry {
            Entry::Dir { parent, name, meta } => Self::Dir {
                parent: *parent,
                name: name.as_bytes(),
                meta: *meta,
            },
            Entry::File {
                parent,
                name,
                meta,
                size,
                layout,
                digest,
            } => Self::File {
                parent: *parent,
                name: name.as_bytes(),
                meta: *meta,
                size: *size,
                extents: gaps(layout),
                digest: *digest,
            },
            Entry::Symlink {
                parent,
                name,
                meta,
                target,
            } => Self::Symlink {
                parent: *parent,
                name: name.as_bytes(),
                meta: *meta,
                target,
            },
            Entry::Stream { parent, name, meta } => Self::Stream {
                parent: *parent,
                name: name.as_bytes(),
                meta: *meta,
            },
            Entry::Closed { size, meta } => Self::Closed {
                size: *size,
                meta: *meta,
            },
            Entry::Changed { file, why } => Self::Changed {
                file: *file,
                why: *why,
            },
            Entry::Torn { block } => Self::Torn { block: *block },
            Entry::Digest { file, digest } => Self::Digest {
                file: *file,
                digest: *digest,
            },
            Entry::Skipped { parent, name, why } => Self::Skipped {
                parent: *parent,
                name: name.as_bytes(),
                why: *why,
            },
            Entry::End {
                content_bytes,
                files,
                entries,
                unlisted,
            } => Self::End {
                content_bytes: *content_bytes,
                files: *files,
                entries: *entries,
                unlisted: *unlisted,
            },
            Entry::Extra(extra) => Self::Extra(Raw::of(extra)),
            Entry::HardLink { parent, name, to } => Self::HardLink {
                parent: *parent,
                name: name.as_bytes(),
                to: *to,
            },
        }
    }

    /// Checks what one entry can be checked for by itself.
    fn check(self) -> Result<Entry, ListError> {
        Ok(match self {
            Self::Dir { parent, name, meta } => Entry::Dir {
                parent,
                name: Name::new(name)?,
                meta: checked(meta)?,
            },
            Self::File {
                parent,
                name,
                meta,
                size,
                extents,
                digest,
            } => Entry::File {
                parent,
                name: Name::new(name)?,
                meta: checked(meta)?,
                size,
                layout: layout(extents)?,
                digest,
            },
            Self::Symlink {
                parent,
                name,
                meta,
                target,
            } => Entry::Symlink {
                parent,
                name: Name::new(name)?,
                meta: checked(meta)?,
                target: checked_target(target)?,
            },
            Self::Stream { parent, name, meta } => Entry::Stream {
                parent,
                name: Name::new(name)?,
                meta: checked(meta)?,
            },
            Self::Closed { size, meta } => Entry::Closed {
                size,
                meta: checked(meta)?,
            },
            Self::Changed { file, why } => Entry::Changed { file, why },
            Self::Torn { block } => Entry::Torn { block },
            Self::Digest { file, digest } => Entry::Digest { file, digest },
            Self::Skipped { parent, name, why } => Entry::Skipped {
                parent,
                name: Name::new(name)?,
                why,
            },
            Self::End {
                content_bytes,
                files,
                entries,
                unlisted,
            } => Entry::End {
                content_bytes,
                files,
                entries,
                unlisted,
            },
            Self::Extra(raw) => Entry::Extra(Box::new(raw.check()?)),
            Self::HardLink { parent, name, to } => Entry::HardLink {
                parent,
                name: Name::new(name)?,
                to,
            },
        })
    }
}

/// Decodes the frame at the start of `bytes`: how many bytes it took, and the entry unless it was
/// padding. `None` when the frame is not whole yet.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(usize, Option<Entry>)>, ListError> {
    let Some((len, prefix)) = frame_len(bytes)? else {
        return Ok(None);
    };
    if len == 0 {
        return Ok(Some((prefix, None)));
    }
    let Some(body) = bytes.get(prefix..prefix + len) else {
        return Ok(None);
    };
    let (frame, rest) =
        postcard::take_from_bytes::<Frame<'_>>(body).map_err(|_| ListError::Malformed)?;
    if !rest.is_empty() {
        return Err(ListError::Malformed);
    }
    Ok(Some((prefix + len, Some(frame.check()?))))
}

/// The frame's length and how many bytes said so.
fn frame_len(bytes: &[u8]) -> Result<Option<(usize, usize)>, ListError> {
    let mut len = 0;
    for (index, byte) in bytes.iter().enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * index);
        if len > MAX_ENTRY_LEN {
            return Err(ListError::Malformed);
        }
        if byte & 0x80 == 0 {
            return Ok(Some((len, index + 1)));
        }
        // MAX_ENTRY_LEN takes three bytes; a longer prefix is not how we write it.
        if index == 2 {
            return Err(ListError::Malformed);
        }
    }
    Ok(None)
}

fn gaps(layout: &Layout) -> Option<Vec<(u64, u64)>> {
    let Layout::Sparse(extents) = layout else {
        return None;
    };
    let mut end = 0;
    let gaps = extents.iter().map(|extent| {
        let gap = extent.offset - end;
        end = extent.offset + extent.len;
        (gap, extent.len)
    });
    Some(gaps.collect())
}

fn layout(gaps: Option<Vec<(u64, u64)>>) -> Result<Layout, ListError> {
    let Some(gaps) = gaps else {
        return Ok(Layout::Dense);
    };
    if gaps.len() > MAX_EXTENTS {
        return Err(ListError::Extents);
    }
    let mut end: u64 = 0;
    let mut extents = Vec::with_capacity(gaps.len());
    for (gap, len) in gaps {
        let offset = end.checked_add(gap).ok_or(ListError::Extents)?;
        end = offset.checked_add(len).ok_or(ListError::Extents)?;
        extents.push(Extent { offset, len });
    }
    Ok(Layout::Sparse(extents))
}

fn checked(meta: Meta) -> Result<Meta, ListError> {
    let sound = |time: Timestamp| time.nanos < 1_000_000_000;
    if sound(meta.modified) && sound(meta.accessed) {
        Ok(meta)
    } else {
        Err(ListError::Timestamp)
    }
}

fn checked_target(target: &[u8]) -> Result<Box<[u8]>, ListError> {
    if target.is_empty() || target.len() > MAX_TARGET_LEN || target.contains(&0) {
        return Err(ListError::Target);
    }
    Ok(target.into())
}
