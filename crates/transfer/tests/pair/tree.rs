//! Trees of files that are easy to get wrong, and a comparison that notices.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _, fs::PermissionsExt as _, fs::symlink},
    path::{Path, PathBuf},
};

/// Bytes that differ everywhere, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let words = (0..len.div_ceil(8)).flat_map(|_| {
        // splitmix64: https://prng.di.unimi.it/splitmix64.c
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    });
    words.take(len).collect()
}

/// Fills `dir` with names and shapes that break careless programs.
pub(crate) fn make_nasty(dir: &Path) {
    let raw = |name: &[u8]| dir.join(OsStr::from_bytes(name));
    fs::create_dir_all(dir.join("a/b/c/d")).unwrap();
    fs::create_dir(dir.join("empty dir")).unwrap();
    fs::write(dir.join("empty"), b"").unwrap();
    fs::write(dir.join("one byte"), b"1").unwrap();
    fs::write(dir.join("a/b/c/d/deep"), noise(1, 1400)).unwrap();
    fs::write(raw(b"new\nline \x1b[31m"), noise(2, 1399)).unwrap();
    fs::write(raw(b"not utf-8 \xff\xfe"), noise(3, 4097)).unwrap();
    fs::write(raw(b"-rf"), b"dash").unwrap();
    fs::write(raw(&[b'n'; 255]), b"long").unwrap();
    fs::write(dir.join("larger"), noise(4, 3_000_001)).unwrap();
    for index in 0..200 {
        fs::write(
            dir.join(format!("a/small-{index}")),
            noise(index, index as usize),
        )
        .unwrap();
    }
    let mut sparse = fs::File::create(dir.join("sparse")).unwrap();
    sparse.seek(SeekFrom::Start(5_000_000)).unwrap();
    sparse.write_all(b"end").unwrap();
    symlink("a/b", dir.join("link")).unwrap();
    symlink("/nowhere/at all", dir.join("dangling")).unwrap();
    fs::set_permissions(dir.join("one byte"), fs::Permissions::from_mode(0o640)).unwrap();
}

/// What a tree holds, by relative path.
pub(crate) fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let what = if meta.is_dir() {
                pending.push(path.clone());
                format!("dir {:o}", meta.mode())
            } else if meta.is_symlink() {
                format!("link {:?}", fs::read_link(&path).unwrap())
            } else {
                let content = fs::read(&path).unwrap();
                let sum = content.iter().fold(7u64, |sum, byte| {
                    sum.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*byte)
                });
                format!(
                    "file {:o} {} {} {sum:x}",
                    meta.mode(),
                    meta.len(),
                    meta.mtime()
                )
            };
            found.insert(path.strip_prefix(root).unwrap().to_path_buf(), what);
        }
    }
    found
}

/// Names under `root` that a finished transfer must not leave behind.
pub(crate) fn names(root: &Path) -> Vec<PathBuf> {
    describe(root).into_keys().collect()
}
