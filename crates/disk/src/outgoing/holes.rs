use std::os::fd::OwnedFd;

use haul_manifest::{Extent, Layout, MAX_EXTENTS};
use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};

/// Finds the data of a file of `size` bytes. A file system that cannot tell makes it all data; so
/// does, from the last extent that may be listed on, a file with more of them.
pub(super) fn layout(fd: &OwnedFd, size: u64) -> Layout {
    let mut extents: Vec<Extent> = Vec::new();
    let mut at = 0;
    while at < size {
        let offset = match seek(fd, SeekFrom::Data(at)) {
            Ok(offset) if offset < size => offset,
            // No data from here on.
            Ok(_) | Err(Errno::NXIO) => break,
            Err(_) => return Layout::Dense,
        };
        let end = match seek(fd, SeekFrom::Hole(offset)) {
            Ok(end) if end > offset && extents.len() + 1 < MAX_EXTENTS => end.min(size),
            _ => size,
        };
        match extents.last_mut() {
            Some(last) if last.offset + last.len >= offset => last.len = end - last.offset,
            _ => extents.push(Extent {
                offset,
                len: end - offset,
            }),
        }
        at = end;
    }
    let whole = Extent {
        offset: 0,
        len: size,
    };
    if extents == [whole] {
        Layout::Dense
    } else {
        Layout::Sparse(extents)
    }
}
