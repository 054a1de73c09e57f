//! What is sent and what becomes of it there, with real processes.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::Path,
    process::Stdio,
};

use crate::{
    noise::noise,
    outcome::{expect_status, stderr},
    plant,
    site::Site,
    tree::tree,
};

#[test]
fn standard_input_goes_up_and_a_file_comes_to_standard_output() {
    let site = Site::new();
    let content = noise(3, 3_000_001);
    let mut up = site.command(&["-", "localhost:in/name", "--progress", "never"]);
    fs::create_dir(site.there().join("in")).unwrap();
    let mut child = up.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&content).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    expect_status(0, &output);
    assert!(output.stdout.is_empty());
    assert!(fs::read(site.there().join("in/name")).unwrap() == content);

    let output = site.run(&["localhost:in/name", "-"]);
    expect_status(0, &output);
    assert!(output.stdout == content);
    let told = stderr(&output);
    assert!(told.contains("3.0 MB"), "the account is told: {told}");

    let range = site.run(&["localhost:in/name", "-", "--range", "1000000-"]);
    expect_status(0, &range);
    assert!(range.stdout == content[1_000_000..]);
}

#[test]
fn a_reader_that_leaves_ends_the_transfer() {
    let site = Site::new();
    fs::write(site.there().join("large"), noise(1, 30_000_000)).unwrap();
    let mut child = site.command(&["localhost:large", "-"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut some = [0; 1000];
    stdout.read_exact(&mut some).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    expect_status(24, &output);
    let told = stderr(&output);
    assert!(told.contains("cannot write to standard output"), "{told}");
}

#[test]
fn what_was_sent_is_removed_at_the_end_it_came_from() {
    for is_upload in [true, false] {
        let site = Site::new();
        let (from, to) = match is_upload {
            true => (site.here(), site.there()),
            false => (site.there(), site.here()),
        };
        plant(&from.join("tree"));
        let expected = tree(&from.join("tree"));
        let (source, target) = match is_upload {
            true => ("tree", "localhost:"),
            false => ("localhost:tree", "."),
        };
        let options = ["--remove-after", "--remove-empty-dirs"];
        let output = site.run(&[&[source, target], &options[..]].concat());
        expect_status(0, &output);
        assert_eq!(tree(&to.join("tree")), expected);
        assert_eq!(fs::read_dir(from.join("tree")).unwrap().count(), 0);
    }
}

#[test]
fn what_was_sent_is_moved_aside_and_what_is_in_the_way_stays() {
    let site = Site::new();
    plant(&site.here().join("tree"));
    fs::create_dir_all(site.here().join("sent/tree")).unwrap();
    fs::write(site.here().join("sent/tree/empty"), "before").unwrap();
    let output = site.run(&["--move-after", "sent", "tree", "localhost:"]);
    expect_status(3, &output);
    let told = stderr(&output);
    assert!(told.contains("tree/empty"), "{told}");
    assert!(told.contains("everything arrived"), "{told}");
    let left = tree(&site.here().join("tree"));
    assert_eq!(
        left.values().filter(|(_, bytes)| bytes.is_some()).count(),
        1,
        "{left:?}"
    );
    assert_eq!(
        fs::read(site.here().join("sent/tree/empty")).unwrap(),
        b"before"
    );
    assert!(site.here().join("sent/tree/deep/er/x").exists());
}

fn lines(pairs: &[(&str, &str)], end: char) -> String {
    let pairs = pairs.iter().flat_map(|(source, target)| [source, target]);
    pairs.map(|line| format!("{line}{end}")).collect()
}

#[test]
fn pairs_say_what_lands_where() {
    let site = Site::new();
    for name in ["a:b", "c"] {
        fs::write(site.here().join(name), name).unwrap();
    }
    let list = site.here().join("list");
    fs::write(&list, lines(&[("a:b", "x/1"), ("c", "x/y/2")], '\0')).unwrap();
    let output = site.run(&["--file-pair-list", "list", "-0", "localhost:new"]);
    expect_status(0, &output);
    let at = |name: &str| fs::read(site.there().join("new").join(name)).unwrap();
    assert_eq!((at("x/1"), at("x/y/2")), (b"a:b".to_vec(), b"c".to_vec()));

    let pairs = [("localhost:new/x/1", "1"), ("localhost:new/x/y/2", "z/2")];
    fs::write(&list, lines(&pairs, '\n')).unwrap();
    let output = site.run(&["--file-pair-list", "list", "back"]);
    expect_status(0, &output);
    assert_eq!(fs::read(site.here().join("back/z/2")).unwrap(), b"c");

    fs::write(&list, "c\n").unwrap();
    let output = site.run(&["--file-pair-list", "list", "localhost:new"]);
    expect_status(2, &output);
}

#[test]
fn sources_keep_their_paths_below_a_base_both_ways() {
    let site = Site::new();
    plant(&site.here().join("tree"));
    let output = site.run(&["--src-base", "tree", "tree/deep/er", "localhost:up"]);
    expect_status(0, &output);
    assert!(site.there().join("up/deep/er/x").exists());
    assert!(!site.there().join("up/empty").exists());
    let base = ["--src-base", "up", "localhost:up/*/er/x", "down"];
    expect_status(0, &site.run(&base));
    assert!(site.here().join("down/deep/er/x").exists());
    let base = ["--src-base", "up/deep", "localhost:up/none", "down"];
    expect_status(20, &site.run(&base));
}

#[test]
fn links_are_followed_when_that_is_asked_for() {
    let site = Site::new();
    fs::create_dir(site.here().join("tree")).unwrap();
    fs::write(site.here().join("file"), "far").unwrap();
    symlink("../file", site.here().join("tree/link")).unwrap();
    symlink(".", site.here().join("tree/circle")).unwrap();
    for (how, count) in [("follow", 1), ("copy", 2), ("skip", 0)] {
        let target = format!("localhost:{how}");
        let output = site.run(&["--symlinks", how, "tree", &target]);
        expect_status(0, &output);
        let there = site.there().join(how);
        assert_eq!(fs::read_dir(&there).unwrap().count(), count, "{how}");
        let told = stderr(&output);
        assert_eq!(told.contains("in a circle"), how == "follow", "{told}");
    }
    let followed = site.there().join("follow/link");
    assert_eq!(fs::read(followed).unwrap(), b"far");
    let refused = site.run(&[
        "--symlinks",
        "follow",
        "--remove-after",
        "tree",
        "localhost:x",
    ]);
    expect_status(2, &refused);
}

#[test]
fn a_growing_file_is_followed() {
    let site = Site::new();
    let log = site.here().join("log");
    fs::write(&log, "first\n").unwrap();
    let command = ["--json", "--grow", "3", "log", "localhost:copy"];
    let mut child = site.command(&command).spawn().unwrap();
    let mut events = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut events, &mut line).unwrap();
    assert!(line.contains("\"session\""), "{line}");
    let mut file = fs::File::options().append(true).open(&log).unwrap();
    file.write_all(&noise(1, 100_000)).unwrap();
    let mut rest = String::new();
    events.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    let copy = fs::read(site.there().join("copy")).unwrap();
    assert!(copy == fs::read(&log).unwrap());
}

#[test]
fn names_that_look_like_a_stream_are_written_with_a_directory() {
    let site = Site::new();
    fs::write(site.here().join("-"), "dash").unwrap();
    expect_status(0, &site.run(&["./-", "localhost:"]));
    let there = site
        .there()
        .join(Path::new(std::ffi::OsStr::from_bytes(b"-")));
    assert_eq!(fs::read(there).unwrap(), b"dash");
}
