//! Trees with what trees have, and their comparison.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

/// Bytes that no pattern could fake; the same for the same seed (xorshift64).
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(&mut next).take(len).collect()
}

/// Odd names, empty things, holes, links, depth, and `files` files of many sizes.
pub(crate) fn plant(dir: &Path, files: usize) {
    fs::create_dir_all(dir.join("empty folder")).unwrap();
    for name in [
        &b"new\nline"[..],
        b"escape \x1b[31m",
        b"not utf-8 \xff\xfe",
        b"-dash",
        "right to left \u{202e}".as_bytes(),
        b"  spaces  ",
        b"*?[a]",
        b"%41",
        &[b'n'; 255],
    ] {
        fs::write(dir.join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::write(dir.join("empty"), "").unwrap();
    let holes = File::create(dir.join("holes")).unwrap();
    holes.set_len(50 << 20).unwrap();
    holes.write_all_at(b"island", 20 << 20).unwrap();
    symlink("empty", dir.join("link")).unwrap();
    symlink("/nowhere/at all", dir.join("dangling")).unwrap();
    symlink("empty folder", dir.join("link to folder")).unwrap();
    let mut deep = dir.join("deep");
    for level in 0..60 {
        deep.push(format!("level {level}"));
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "reached").unwrap();
    for number in 0..files {
        let folder = dir.join(format!("many/{}", number % 37));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{number}"));
        fs::write(&file, noise(number as u64, number * 7 % 9_001)).unwrap();
        let mode = if number % 5 == 0 { 0o755 } else { 0o640 };
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Dir,
    Link(PathBuf),
    /// Mode, modification time, contents.
    File(u32, i64, Vec<u8>),
}

fn read(root: &Path) -> BTreeMap<PathBuf, Kind> {
    let mut found = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    while let Some(at) = left.pop() {
        let path = if at.as_os_str().is_empty() {
            root.to_owned()
        } else {
            root.join(&at)
        };
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = if meta.is_dir() {
            for entry in fs::read_dir(&path).unwrap() {
                left.push(at.join(entry.unwrap().file_name()));
            }
            Kind::Dir
        } else if meta.is_symlink() {
            Kind::Link(fs::read_link(&path).unwrap())
        } else {
            let is_tree = !at.as_os_str().is_empty();
            let (mode, time) = if is_tree {
                (meta.mode(), meta.mtime())
            } else {
                (0, 0)
            };
            Kind::File(mode, time, fs::read(&path).unwrap())
        };
        found.insert(at, kind);
    }
    found
}

/// Both are the same, names, contents and (in trees, which are sent with `-p`) modes and times.
pub(crate) fn assert_same(left: &Path, right: &Path) {
    let (left, right) = (read(left), read(right));
    let names = |tree: &BTreeMap<PathBuf, Kind>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&left), names(&right));
    for (name, kind) in &left {
        assert!(*kind == right[name], "{} differs", name.display());
    }
}
