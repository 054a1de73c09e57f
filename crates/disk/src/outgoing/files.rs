use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hasher as _},
};

use haul_manifest::FileNo;
use rustix::fs::Stat;

use super::places::Place;

/// What a file was when it was listed: device, inode, size and time of last change, as a hash,
/// because a million of these are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Stamp(u64);

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(stat.st_dev);
        hasher.write_u64(stat.st_ino);
        hasher.write_i64(stat.st_size);
        hasher.write_i64(stat.st_mtime);
        hasher.write_u64(stat.st_mtime_nsec);
        Self(hasher.finish())
    }
}

/// Where a listed file is read from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) place: Place,
    /// Empty: the place itself is the file.
    pub(super) name: Box<[u8]>,
    pub(super) stamp: Stamp,
}

/// The origins of the files that have content, by [`FileNo`]; released from below.
#[derive(Debug, Default)]
pub(super) struct Files {
    chunks: VecDeque<Chunk>,
    next: u64,
}

/// Files are allocated, and released, this many at a time.
const CHUNK: usize = 1024;

#[derive(Debug)]
struct Chunk {
    first: u64,
    records: Vec<Record>,
    /// Their names, one behind the other.
    names: Vec<u8>,
}

#[derive(Debug)]
struct Record {
    stamp: Stamp,
    place: Place,
    /// Where the name ends in the chunk's `names`; it begins where the one before ends.
    name_end: u32,
}

impl Files {
    /// Appends the origin of the next file.
    pub(super) fn push(&mut self, place: Place, name: &[u8], stamp: Stamp) {
        let full = |chunk: &Chunk| chunk.records.len() == CHUNK;
        if self.chunks.back().is_none_or(full) {
            self.chunks.push_back(Chunk {
                first: self.next,
                records: Vec::new(),
                names: Vec::new(),
            });
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.names.extend_from_slice(name);
            chunk.records.push(Record {
                stamp,
                place,
                name_end: chunk.names.len() as u32,
            });
            if chunk.records.len() == CHUNK {
                chunk.names.shrink_to_fit();
            }
        }
        self.next += 1;
    }

    pub(super) fn get(&self, file: FileNo) -> Option<Origin> {
        let first = self.chunks.front()?.first;
        let index = usize::try_from(file.0.checked_sub(first)?).ok()?;
        let chunk = self.chunks.get(index / CHUNK)?;
        let at = index % CHUNK;
        let record = chunk.records.get(at)?;
        let start = match at.checked_sub(1) {
            Some(before) => chunk.records[before].name_end,
            None => 0,
        };
        Some(Origin {
            place: record.place,
            name: chunk.names[start as usize..record.name_end as usize].into(),
            stamp: record.stamp,
        })
    }

    /// Forgets the files below `floor`, as far as that frees memory.
    pub(super) fn release(&mut self, floor: FileNo) {
        while let Some(chunk) = self.chunks.front()
            && chunk.records.len() == CHUNK
            && chunk.first + CHUNK as u64 <= floor.0
        {
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use haul_manifest::ContentMap;

    use super::*;
    use crate::outgoing::places::Places;

    fn resident_bytes() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    }

    /// Memory is the process's: the measurement runs in one that does nothing else.
    #[test]
    fn d107_a_million_files_take_less_than_80_megabytes() {
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let name = "outgoing::files::tests::measure_a_million_files";
        let output = alone.args(["--ignored", "--exact", name]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
    }

    #[test]
    #[ignore = "measures its process's memory, so it runs alone"]
    fn measure_a_million_files() {
        let mut places = Places::default();
        let place = places.add_source("/".into());
        let before = resident_bytes();
        let mut files = Files::default();
        let mut map = ContentMap::new();
        for number in 0..1_000_000 {
            let name = format!("holiday-picture-{number:08}.jpeg");
            files.push(place, name.as_bytes(), Stamp(number));
            map.push(FileNo(number), 0, 100).unwrap();
        }
        let taken = resident_bytes() - before;
        assert!(taken < 80_000_000, "{taken}");
        assert_eq!((files.next, map.extents()), (1_000_000, 1_000_000));
    }

    #[test]
    fn files_are_found_until_released() {
        let mut places = Places::default();
        let place = places.add_source("/".into());
        let mut files = Files::default();
        for number in 0..10_000 {
            files.push(place, format!("f{number}").as_bytes(), Stamp(number));
        }
        let origin = files.get(FileNo(1024)).unwrap();
        assert_eq!((&*origin.name, origin.stamp), (&b"f1024"[..], Stamp(1024)));
        files.release(FileNo(9_999));
        assert!(files.get(FileNo(0)).is_none());
        assert_eq!(&*files.get(FileNo(9_999)).unwrap().name, b"f9999");
        assert!(files.get(FileNo(10_000)).is_none());
        assert_eq!(files.chunks.len(), 1);
    }
}
