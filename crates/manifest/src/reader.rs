use std::collections::HashSet;

use crate::{
    DirId, Entry, Extra, FileNo, LinkNo, ListError, MAX_DEPTH, MAX_DIRS, MAX_LINKS, MAX_PATH_LEN,
    Name, encoding::decode,
};

/// Blocks to entries, for the receiver: every entry that comes out fits the ones before it.
///
/// Call [`push`](Self::push) with the list's bytes in order, and [`next_entry`](Self::next_entry)
/// until it gives `None`. After an error the list is unusable.
#[derive(Debug)]
pub struct ListReader {
    buffer: Vec<u8>,
    /// How much of `buffer` has been decoded.
    at: usize,
    tree: Tree,
    entries: u64,
    files: u64,
    files_with_content: u64,
    content_bytes: u64,
    /// Attributes have been read, and not yet what has them; whether it has further names.
    extra: Option<bool>,
    /// Files that have several names, and further names.
    linked: u32,
    links: u32,
    stream: Stream,
    ended: bool,
}

/// Whether the list has got to a file whose size nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    None,
    Open,
    Closed,
}

impl Default for ListReader {
    fn default() -> Self {
        Self::new()
    }
}

impl ListReader {
    /// A reader at the start of a list.
    pub fn new() -> Self {
        Self {
            buffer: Vec::new(),
            at: 0,
            tree: Tree::new(),
            entries: 0,
            files: 0,
            files_with_content: 0,
            content_bytes: 0,
            extra: None,
            linked: 0,
            links: 0,
            stream: Stream::None,
            ended: false,
        }
    }

    /// Takes the next bytes of the list.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next entry, or `None` when it needs more bytes.
    ///
    /// # Errors
    /// [`ListError`] when it does not parse or does not fit what was listed before.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ListError> {
        while let Some((len, entry)) = decode(&self.buffer[self.at..])? {
            self.at += len;
            if let Some(entry) = entry {
                self.admit(&entry)?;
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Whether [`Entry::End`] has been read.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Bytes of content that the files read so far have, without those of a stream that is open.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    fn admit(&mut self, entry: &Entry) -> Result<(), ListError> {
        let trailer = matches!(
            entry,
            Entry::Changed { .. } | Entry::Torn { .. } | Entry::Digest { .. }
        );
        if self.ended && !trailer {
            return Err(ListError::AfterEnd);
        }
        self.check_extra(entry)?;
        let fits = match (entry, self.stream) {
            (Entry::Closed { .. }, stream) => stream == Stream::Open,
            (Entry::End { .. }, stream) => stream != Stream::Open,
            (_, stream) => stream == Stream::None || trailer,
        };
        if !fits {
            return Err(ListError::Stream);
        }
        match entry {
            Entry::Dir { parent, name, .. } => self.tree.add_dir(*parent, name)?,
            Entry::File {
                parent,
                name,
                size,
                layout,
                ..
            } => {
                self.tree.check(*parent, name)?;
                let content = layout.content_len(*size)?;
                self.add_file(*size, content)?;
            }
            Entry::Symlink { parent, name, .. } | Entry::Skipped { parent, name, .. } => {
                self.tree.check(*parent, name)?;
            }
            Entry::Changed {
                file: FileNo(file), ..
            }
            | Entry::Digest {
                file: FileNo(file), ..
            } => {
                if *file >= self.files_with_content {
                    return Err(ListError::UnknownFile);
                }
            }
            Entry::Torn { .. } => {}
            Entry::Stream { parent, name, .. } => {
                self.tree.check(*parent, name)?;
                self.files += 1;
                self.files_with_content += 1;
                self.stream = Stream::Open;
            }
            Entry::Closed { size, .. } => {
                if i64::try_from(*size).is_err() {
                    return Err(ListError::Overflow);
                }
                let bytes = self.content_bytes.checked_add(*size);
                self.content_bytes = bytes.ok_or(ListError::Overflow)?;
                self.stream = Stream::Closed;
            }
            Entry::End {
                content_bytes,
                files,
                entries,
                unlisted: _,
            } => {
                let listed = (self.content_bytes, self.files, self.entries);
                if (*content_bytes, *files, *entries) != listed {
                    return Err(ListError::Totals);
                }
                self.ended = true;
            }
            Entry::Extra(extra) => self.add_extra(extra)?,
            Entry::HardLink { parent, name, to } => {
                self.tree.check(*parent, name)?;
                self.add_link(*to)?;
            }
        }
        self.entries += 1;
        Ok(())
    }

    /// Attributes belong to what comes next, and further names only to what is no directory.
    fn check_extra(&mut self, entry: &Entry) -> Result<(), ListError> {
        let fits = match (self.extra.take(), entry) {
            (None, _) | (Some(_), Entry::File { .. } | Entry::Symlink { .. }) => true,
            (Some(is_linked), Entry::Dir { .. }) => !is_linked,
            (Some(_), _) => false,
        };
        if fits { Ok(()) } else { Err(ListError::Extra) }
    }

    fn add_extra(&mut self, extra: &Extra) -> Result<(), ListError> {
        if let Some(LinkNo(number)) = extra.link {
            if number != self.linked || number >= MAX_LINKS {
                return Err(ListError::HardLink);
            }
            self.linked += 1;
        }
        self.extra = Some(extra.link.is_some());
        Ok(())
    }

    fn add_link(&mut self, LinkNo(to): LinkNo) -> Result<(), ListError> {
        if to >= self.linked || self.links >= MAX_LINKS {
            return Err(ListError::HardLink);
        }
        self.links += 1;
        Ok(())
    }

    fn add_file(&mut self, size: u64, content: u64) -> Result<(), ListError> {
        if i64::try_from(size).is_err() {
            return Err(ListError::Overflow);
        }
        self.content_bytes = self
            .content_bytes
            .checked_add(content)
            .ok_or(ListError::Overflow)?;
        self.files += 1;
        self.files_with_content += u64::from(content > 0);
        Ok(())
    }
}

/// The directories listed so far, as far as later entries depend on them.
#[derive(Debug)]
struct Tree {
    /// By [`DirId`]; the destination first.
    dirs: Vec<Depth>,
    names: HashSet<(DirId, Name)>,
}

/// How much of the limits a directory's path uses up.
#[derive(Debug, Clone, Copy)]
struct Depth {
    levels: u8,
    path_len: u16,
}

impl Tree {
    fn new() -> Self {
        Self {
            dirs: vec![Depth {
                levels: 0,
                path_len: 0,
            }],
            names: HashSet::new(),
        }
    }

    /// How deep an entry of this name in this directory is.
    fn check(&self, parent: DirId, name: &Name) -> Result<Depth, ListError> {
        let above = self
            .dirs
            .get(parent.0 as usize)
            .ok_or(ListError::UnknownParent)?;
        let levels = usize::from(above.levels) + 1;
        let separator = usize::from(above.levels > 0);
        let path_len = usize::from(above.path_len) + separator + name.as_bytes().len();
        if levels > MAX_DEPTH {
            return Err(ListError::TooDeep);
        }
        if path_len > MAX_PATH_LEN {
            return Err(ListError::PathTooLong);
        }
        Ok(Depth {
            levels: levels as u8,
            path_len: path_len as u16,
        })
    }

    fn add_dir(&mut self, parent: DirId, name: &Name) -> Result<(), ListError> {
        let depth = self.check(parent, name)?;
        if self.dirs.len() > MAX_DIRS as usize {
            return Err(ListError::TooManyDirs);
        }
        if !self.names.insert((parent, name.clone())) {
            return Err(ListError::DuplicateDir);
        }
        self.dirs.push(depth);
        Ok(())
    }
}
