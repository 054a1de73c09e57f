//! Trees with what trees have, and their comparison.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    },
    path::Path,
};

use crate::{noise::noise, tree::tree};

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

/// When a file was modified.
fn time(path: &Path) -> Option<i64> {
    let meta = fs::symlink_metadata(path).unwrap();
    meta.is_file().then(|| meta.mtime())
}

/// Both are the same: of two files the contents, of two trees, which are sent with `-p`, all but the times
/// of folders and links.
#[track_caller]
pub(crate) fn assert_same(left: &Path, right: &Path) {
    if left.is_file() {
        let is_same = fs::read(left).unwrap() == fs::read(right).unwrap();
        assert!(is_same, "{} differs", right.display());
        return;
    }
    let (ours, theirs) = (tree(left), tree(right));
    assert!(ours.keys().eq(theirs.keys()), "names differ");
    for (path, found) in &ours {
        let is_same = *found == theirs[path] && time(&left.join(path)) == time(&right.join(path));
        assert!(is_same, "{} differs", path.display());
    }
}
