//! Causes that docs/ERRORS.md lists end with the status it says, in words of their own.

use std::{fs, os::unix::fs::symlink, process::Output};

use crate::{
    noise::noise,
    outcome::{expect_status, of_type, stderr},
    site::{self, Site},
};

/// Runs haul in a shell that has lowered one of its limits.
fn limited(site: &Site, limit: &str, arguments: &[&str]) -> Output {
    let mut command = site.command_under(&site::limited(limit), arguments);
    command.output().unwrap()
}

/// One line on standard error, with these words and this status.
fn ends(output: &Output, status: i32, words: &str) {
    expect_status(status, output);
    let stderr = stderr(output);
    let error = stderr.lines().last().unwrap_or_default();
    assert!(
        error.starts_with("haul: error: ") && error.contains(words),
        "{stderr}"
    );
}

#[test]
fn too_many_open_files_is_a_matter_of_resources() {
    let site = Site::new();
    fs::write(site.here().join("file"), "x").unwrap();
    // Enough to start with, not enough for the transfer's sockets and threads.
    let output = limited(&site, "-n 14", &["-q", "file", "localhost:"]);
    ends(&output, 27, "Too many open files");
}

#[test]
fn a_file_above_the_limit_fails_alone() {
    let site = Site::new();
    fs::create_dir(site.there().join("tree")).unwrap();
    fs::write(site.there().join("tree/large"), noise(1, 3_000_000)).unwrap();
    fs::write(site.there().join("tree/small"), "x").unwrap();
    // In units of 512 bytes.
    let arguments = ["-q", "localhost:tree", "."];
    let output = limited(&site, "-f 2000", &arguments);
    ends(&output, 3, "large: File too large");
    assert_eq!(fs::read(site.here().join("tree/small")).unwrap(), b"x");
}

#[test]
fn names_and_kinds_that_do_not_fit() {
    let site = Site::new();
    let long = "x".repeat(300);
    fs::write(site.here().join("file"), "x").unwrap();
    fs::create_dir(site.here().join("folder")).unwrap();
    fs::write(site.there().join("file"), "x").unwrap();
    symlink("loop", site.here().join("loop")).unwrap();
    symlink("loop", site.there().join("loop")).unwrap();
    for (arguments, status, words) in [
        (
            ["file", &format!("localhost:{long}")],
            22,
            "File name too long",
        ),
        (
            [&format!("localhost:{long}"), "."],
            21,
            "File name too long",
        ),
        (["loop", "localhost:"], 21, "symbolic links"),
        (["localhost:loop", "."], 21, "symbolic links"),
        (["file", "localhost:loop/x"], 22, "symbolic links"),
        (
            ["folder", "localhost:file"],
            3,
            "not a directory is in its place",
        ),
        (["file", "localhost:file/"], 22, "Not a directory"),
        (["file", "localhost:file/x"], 22, "file"),
        (["/dev/null", "localhost:"], 21, "not a regular file"),
        (["localhost:/dev/null", "."], 21, "not a regular file"),
        (
            ["--file-list=/dev/null", "localhost:"],
            2,
            "a source and a destination",
        ),
    ] {
        let output = site.run(&[&["-q"], &arguments[..]].concat());
        ends(&output, status, words);
    }
}

#[test]
fn a_server_without_a_free_port_is_out_of_resources() {
    let site = Site::new();
    fs::write(site.here().join("file"), "x").unwrap();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = site.run(&["-q", "-O", &port, "file", "localhost:"]);
    ends(&output, 27, "no free UDP port");
}

#[test]
fn nothing_that_is_new_is_a_success() {
    let site = Site::new();
    fs::create_dir(site.here().join("tree")).unwrap();
    fs::write(site.here().join("tree/a.tmp"), "x").unwrap();
    let told = site.events(0, &["--exclude", "*.tmp", "tree", "localhost:"]);
    let summary = of_type(&told, "summary")[0];
    assert_eq!(
        (&summary["files"], &summary["left_out"], &summary["skipped"]),
        (&0.into(), &1.into(), &0.into())
    );
}
