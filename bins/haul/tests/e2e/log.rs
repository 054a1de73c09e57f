//! `-L`: what a log says, who may share it, and what becomes of one that cannot be written.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Output},
};

use crate::{
    noise::noise,
    outcome::{events, expect_status, of_type, stderr},
    plant,
    site::Site,
};

/// The lines of a log without the time and the process, which are what they should be.
fn lines(path: &Path, program: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    text.lines()
        .map(|line| {
            let (time, rest) = line.split_once(' ').unwrap();
            assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
            let rest = rest.strip_prefix(program).expect(line);
            let (pid, text) = rest.split_once("] ").unwrap();
            assert!(pid.strip_prefix('[').unwrap().parse::<u32>().is_ok());
            text.to_owned()
        })
        .collect()
}

fn has(lines: &[String], wanted: &str) {
    assert!(
        lines.iter().any(|line| line.contains(wanted)),
        "{wanted}: {lines:#?}"
    );
}

#[test]
fn a_log_tells_of_a_run_from_its_options_to_its_status() {
    let site = Site::new();
    fs::write(site.here().join("file"), noise(4, 3_000_000)).unwrap();
    fs::create_dir(site.here().join("logs")).unwrap();
    let arguments = [
        "-q",
        "-L",
        "logs",
        "--pre",
        "true hunter2",
        "-l",
        "300M",
        "file",
        "localhost:in",
    ];
    expect_status(0, &site.run(&arguments));
    let log = site.here().join("logs/haul.log");
    let first = lines(&log, "haul");
    assert!(
        first[0].starts_with(
            "haul 0.1.0 begins: upload of 1 source to localhost into \"in\"; options: "
        ),
        "{first:?}"
    );
    assert!(first[0].contains("--rate 300M") && first[0].contains("--pre …"));
    for wanted in [
        "sealed with aes128cfb",
        "stage read: ",
        "3.0 MB, 1 file in ",
        "processor time ",
        "limited by ",
    ] {
        has(&first, wanted);
    }
    assert_eq!(first.last().unwrap(), "ends: status 0 (success)");
    assert!(first.iter().all(|line| !line.contains("hunter2")));

    // The next run goes on in the same file.
    expect_status(20, &site.run(&["-q", "-L", "logs", "localhost:none", "."]));
    let both = lines(&log, "haul");
    assert_eq!(both[..first.len()], first);
    let last = both.last().unwrap();
    assert!(
        last.starts_with("ends: status 20 (no-such-source): ") && last.contains("none"),
        "{last}"
    );
}

#[test]
fn the_other_end_logs_who_asks_for_what() {
    let site = Site::new();
    plant(&site.here().join("tree"));
    fs::create_dir(site.there().join("logs")).unwrap();
    fs::create_dir_all(site.there().join("tree/empty/in the way")).unwrap();
    let output = site.run(&["--remote-log", "logs:1M", "tree", "localhost:"]);
    expect_status(3, &output);
    let log = lines(&site.there().join("logs/haul.log"), "haul --remote");
    assert_eq!(log[0], "haul 0.1.0 serves 127.0.0.1");
    assert_eq!(log[1], "asked to receive into \"\"");
    has(&log, "failed: tree/empty: a directory is in its place");
    has(&log, "7 files in ");
    assert!(
        log.last()
            .unwrap()
            .starts_with("ends: status 3 (partial): ")
    );
}

#[test]
fn every_name_that_fails_is_known_where_files_arrive() {
    const FAILING: usize = 130;
    let site = Site::new();
    for number in 0..FAILING {
        let name = format!("tree/file {number}");
        fs::create_dir_all(site.here().join(&name).join("in the way")).unwrap();
        fs::create_dir_all(site.there().join("tree")).unwrap();
        fs::write(site.there().join(name), "x").unwrap();
    }
    fs::create_dir(site.here().join("logs")).unwrap();
    let output = site.run(&["-L", "logs", "localhost:tree", "."]);
    expect_status(3, &output);
    let log = lines(&site.here().join("logs/haul.log"), "haul");
    for number in 0..FAILING {
        has(&log, &format!("failed: tree/file {number}: "));
    }
    let stderr = stderr(&output);
    assert_eq!(stderr.matches("haul: failed: tree/").count(), 100);
    assert!(stderr.contains("haul: failed: and 30 more\n"), "{stderr}");

    // The events of a download have all of them, those of an upload what the verdict names.
    let down = site.events(3, &["localhost:tree", "."]);
    let failed = of_type(&down, "file");
    assert_eq!(
        failed.iter().filter(|file| file["ok"] == false).count(),
        FAILING
    );
}

#[test]
fn standard_output_is_a_log_too_but_not_beside_events() {
    let site = Site::new();
    fs::write(site.here().join("file"), "x").unwrap();
    let output = site.run(&["-q", "-L-", "file", "localhost:"]);
    expect_status(0, &output);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.ends_with("] ends: status 0 (success)\n"), "{stdout}");
    let output = site.run(&["--json", "-L", "-", "file", "localhost:"]);
    expect_status(2, &output);
    refused(&output, "--json and -L -");
}

fn refused(output: &Output, wanted: &str) {
    let stderr = stderr(output);
    assert!(stderr.starts_with("haul: error: "), "{stderr}");
    assert!(
        stderr.contains(wanted) && stderr.lines().count() == 1,
        "{stderr}"
    );
}

#[test]
fn a_log_that_cannot_be_opened_is_refused_before_anything_else() {
    let site = Site::new();
    fs::write(site.here().join("file"), "x").unwrap();
    for (option, wanted) in [
        ("-Lnowhere", "cannot write the log in nowhere: No such file"),
        ("-Lfile", "cannot write the log in file: Not a directory"),
        ("-L.:5X", "the size of a log file"),
        ("--remote-log=nowhere", "cannot write the log in nowhere"),
        ("--remote-log=-", "cannot log to standard output"),
    ] {
        let output = site.run(&["-q", option, "file", "localhost:"]);
        expect_status(2, &output);
        refused(&output, wanted);
    }
    assert!(!site.there().join("file").exists());
}

#[test]
fn a_log_that_breaks_is_told_once_and_the_transfer_goes_on() {
    let site = Site::new();
    fs::write(site.here().join("file"), "x").unwrap();
    symlink("/dev/full", site.here().join("haul.log")).unwrap();
    let output = site.run(&["--json", "-L", ".", "file", "localhost:"]);
    expect_status(0, &output);
    assert!(site.there().join("file").exists());
    let told = events(&output.stdout);
    let warnings = of_type(&told, "warning");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let text = warnings[0]["text"].as_str().unwrap();
    assert!(
        text.starts_with("the log ends here: No space left"),
        "{text}"
    );
    assert_eq!(told.last().unwrap()["warnings"], 1);
}

#[test]
fn runs_at_the_same_time_share_a_log_and_its_rotation() {
    const SIZE: u64 = 20_000;
    let site = Site::new();
    fs::create_dir(site.there().join("tree")).unwrap();
    for number in 0..300 {
        fs::write(site.there().join(format!("tree/file {number}")), "x").unwrap();
    }
    fs::create_dir(site.here().join("logs")).unwrap();
    let running: Vec<Child> = (0..4)
        .map(|number| {
            let target = format!("copy {number}");
            let arguments = ["-vv", "-L", "logs:20K", "localhost:tree", &target];
            site.command(&arguments).spawn().unwrap()
        })
        .collect();
    for child in running {
        expect_status(0, &child.wait_with_output().unwrap());
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(site.here().join("logs")).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.metadata().unwrap().len() <= SIZE, "{path:?}");
        all.extend(lines(&path, "haul"));
    }
    let count = |wanted: &str| all.iter().filter(|line| line.starts_with(wanted)).count();
    assert_eq!(count("file: "), 4 * 300);
    assert_eq!(count("ends: status 0"), 4);
}
