//! Trees that arrive as they were, whatever the network does.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    fs::{self, File, FileTimes, Permissions},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use pair::{CLEAN, Network, ROUGH, Random, assert_same, path, transfer};

fn write(at: &Path, bytes: &[u8]) {
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(at, bytes).unwrap();
}

/// A tree of everything that is unusual.
fn nasty_tree(top: &Path, random: &mut Random) {
    let long = [b'n'; 255];
    for name in [
        &b"\xff\xfe invalid"[..],
        b"new\nline",
        b"\x1b[2Jescape",
        "\u{202e}rtl".as_bytes(),
        &long,
        b"-rf",
        b" ",
        b"...",
        b".hidden",
        b".a.haul-part",
        b"a\\b*?[",
    ] {
        let size = random.below(5000);
        write(&top.join(path(name)), &random.bytes(size));
        fs::create_dir(top.join(path(&[&name[..name.len().min(250)], b".dir"].concat()))).unwrap();
    }
    write(&top.join("empty"), b"");
    for size in [1, 1399, 1400, 1401, 2800, 100_000, 3_000_000] {
        write(&top.join(format!("size{size}")), &random.bytes(size));
    }
    fs::create_dir_all(top.join("empty dir/within")).unwrap();
    symlink("size1", top.join("link")).unwrap();
    symlink("/nowhere/at\nall", top.join("dangling")).unwrap();
    symlink("loop", top.join("loop")).unwrap();
    symlink("empty dir", top.join("link to dir")).unwrap();
    let deep: PathBuf = (0..100).map(|level| format!("d{level}")).collect();
    write(&top.join(&deep).join("bottom"), b"deep");
    sparse(
        &top.join("holes"),
        10 << 20,
        &[(1 << 20, 5000), (9 << 20, 100)],
    );
    sparse(&top.join("all hole"), 5 << 20, &[]);
    sparse(&top.join("hole first"), (1 << 20) + 3, &[(1 << 20, 3)]);
}

fn sparse(at: &Path, size: u64, data: &[(u64, usize)]) {
    let mut file = File::create(at).unwrap();
    for (offset, len) in data {
        file.seek(SeekFrom::Start(*offset)).unwrap();
        file.write_all(&vec![0x5a; *len]).unwrap();
    }
    file.set_len(size).unwrap();
}

/// Modes and times of all kinds, deepest first so that times stay.
fn dress(top: &Path, random: &mut Random) {
    let mut paths: Vec<PathBuf> = pair::look(top).into_keys().collect();
    paths.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    for path in paths {
        let path = top.join(path);
        let found = fs::symlink_metadata(&path).unwrap();
        if found.is_symlink() {
            continue;
        }
        let file = File::open(&path).unwrap();
        let ago = Duration::from_nanos(random.next() % 1_000_000_000_000_000_000);
        let times = FileTimes::new()
            .set_modified(SystemTime::now() - ago)
            .set_accessed(SystemTime::UNIX_EPOCH + ago);
        file.set_times(times).unwrap();
        let kept = if found.is_dir() { 0o500 } else { 0o400 };
        let mode = kept | (random.next() as u32 & 0o777);
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
}

fn nasty_round_trip(network: Network, seed: u64) {
    let work = tempfile::tempdir().unwrap();
    let mut random = Random(seed);
    let source = work.path().join("source");
    nasty_tree(&source, &mut random);
    dress(&source, &mut random);
    let target = work.path().join("target");
    let received = transfer(&[&source], &target, true, network, seed).unwrap();
    assert_eq!(received.failed, []);
    assert_same(&source, &target);
    for name in ["holes", "all hole", "hole first"] {
        let [from, to] = [&source, &target].map(|top| fs::metadata(top.join(name)).unwrap());
        assert_eq!(from.blocks(), to.blocks(), "{name} keeps its holes");
    }
    let files = pair::look(&source);
    let count = files
        .values()
        .filter(|seen| matches!(seen, pair::Seen::File { .. }));
    assert_eq!(received.files, count.count() as u64);
}

#[test]
fn nasty_tree_over_a_clean_line() {
    nasty_round_trip(CLEAN, 1);
}

#[test]
fn n65_w30_nasty_tree_over_rough_lines() {
    for seed in 2..6 {
        nasty_round_trip(ROUGH, seed);
    }
}

#[test]
fn five_thousand_small_files() {
    let work = tempfile::tempdir().unwrap();
    let seed = 77;
    let mut random = Random(seed);
    let source = work.path().join("many");
    for index in 0..5000 {
        let size = random.below(600);
        let name = format!("{}/{}/f{index}", index % 10, index % 7);
        write(&source.join(name), &random.bytes(size));
    }
    let into = work.path().join("into");
    fs::create_dir(&into).unwrap();
    let received = transfer(&[&source], &into, true, ROUGH, seed).unwrap();
    assert_eq!((received.files, received.failed_count), (5000, 0));
    assert_same(&source, &into.join("many"));
}

#[test]
fn several_sources_merge_as_scp_merges_them() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    write(&at("a/x/one"), b"1");
    write(&at("a/x/sub/s1"), b"s1");
    write(&at("b/x/two"), b"2");
    write(&at("b/x/sub/s2"), b"s2");
    write(&at("c/inner"), b"3");
    write(&at("file"), b"4");
    symlink("c", at("link")).unwrap();
    fs::create_dir(at("into")).unwrap();
    let contents = path(&[at("c").as_os_str().as_bytes(), b"/."].concat());
    let sources = [&at("a/x"), &at("b/x"), &contents, &at("file"), &at("link")];
    let sources = sources.map(PathBuf::as_path);
    let received = transfer(&sources, &at("into"), false, CLEAN, 5).unwrap();
    assert_eq!(received.failed, []);
    for (name, bytes) in [
        ("x/one", "1"),
        ("x/two", "2"),
        ("x/sub/s1", "s1"),
        ("x/sub/s2", "s2"),
        ("inner", "3"),
        ("file", "4"),
        ("link/inner", "3"),
    ] {
        assert_eq!(fs::read_to_string(at("into").join(name)).unwrap(), bytes);
    }
}

#[test]
fn one_file_gets_the_destinations_name() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    write(&source, b"content");
    fs::set_permissions(&source, Permissions::from_mode(0o751)).unwrap();
    let target = work.path().join("renamed");
    write(&target, b"a longer text that was there before");
    transfer(&[&source], &target, false, CLEAN, 1).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"content");
    let mode = fs::metadata(&target).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        mode,
        0o751 & !haul_disk::ReceiveOptions::new(haul_disk::Preserve::default()).umask
    );
    assert_eq!(
        fs::read_dir(work.path()).unwrap().count(),
        2,
        "no partial file is left"
    );
}

#[test]
fn what_is_to_be_on_the_disk_arrives_all_the_same() {
    use haul_disk::{Asked, Fsync, Incoming, Landing, ReceiveOptions};
    for fsync in [Fsync::End, Fsync::Each] {
        let work = tempfile::tempdir().unwrap();
        let source = work.path().join("source");
        for (name, len) in [("empty", 0), ("small", 3_000), ("sub/large", 300_000)] {
            write(&source.join(name), &vec![7; len]);
        }
        let target = work.path().join("to");
        fs::create_dir(&target).unwrap();
        let asked = Asked {
            count: 1,
            contents: false,
        };
        let bytes = target.as_os_str().as_bytes();
        let (root, landing) = Landing::resolve(Path::new("/"), bytes, asked, false).unwrap();
        let mut options = ReceiveOptions::new(haul_disk::Preserve::USUAL);
        options.placing.fsync = fsync;
        let incoming = Incoming::new(root, landing, options, pair::BLOCK_LEN).unwrap();
        pair::run(&pair::outgoing(&[&source]), incoming, ROUGH, 3, &mut |_| {}).unwrap();
        assert_same(&source, &target.join("source"));
    }
}

#[test]
fn contents_of_a_directory_make_a_new_one() {
    let work = tempfile::tempdir().unwrap();
    write(&work.path().join("source/sub/file"), b"x");
    let source = path(&[work.path().as_os_str().as_bytes(), b"/source/."].concat());
    let target = work.path().join("new");
    transfer(&[&source], &target, false, CLEAN, 1).unwrap();
    assert_eq!(fs::read(target.join("sub/file")).unwrap(), b"x");
}
