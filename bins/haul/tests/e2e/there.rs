//! What happens to what is at the destination.

use std::fs;

use serde_json::Value;

use crate::{
    outcome::{expect_status, of_type, stderr},
    plant,
    site::Site,
    tree::tree,
};

#[test]
fn what_the_source_does_not_have_is_deleted_when_asked() {
    let site = Site::new();
    plant(&site.here().join("tree"));
    let (source, copy) = (site.here().join("tree"), site.there().join("copy"));
    expect_status(0, &site.run(&["-qp", "tree/.", "localhost:copy"]));
    fs::remove_dir_all(source.join("deep/er")).unwrap();
    fs::write(copy.join("left.tmp"), "").unwrap();
    let line = [
        "-p",
        "--delete",
        "--exclude",
        "*.tmp",
        "tree/.",
        "localhost:copy",
    ];
    let output = site.run(&line);
    expect_status(0, &output);
    let told = stderr(&output);
    assert!(told.contains(" (2 deleted)"), "{told}");
    fs::remove_file(copy.join("left.tmp")).unwrap();
    assert_eq!(tree(&copy), tree(&source));

    fs::write(source.join("new"), "").unwrap();
    let output = site.run(&["-vv", "--delete", "localhost:copy/.", "tree"]);
    expect_status(0, &output);
    let told = stderr(&output);
    assert!(told.contains("\nhaul: delete new\n"), "{told}");
    assert_eq!(tree(&copy), tree(&source));
    let refused = site.run(&[
        "--delete",
        "--exclude-older-than",
        "1d",
        "tree/.",
        "localhost:",
    ]);
    expect_status(2, &refused);
}

#[test]
fn a_dry_run_tells_everything_and_changes_nothing() {
    let site = Site::new();
    let (here, there) = (site.here().join("tree"), site.there().join("tree"));
    for top in [&here, &there] {
        plant(top);
    }
    fs::write(here.join("odd\nname"), "x").unwrap();
    fs::write(there.join("gone"), "x").unwrap();
    let before = (tree(&site.here()), tree(&site.there()));
    let output = site.run(&["-n", "--delete", "-k0", "tree", "localhost:"]);
    expect_status(0, &output);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<_> = stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines[0], "create tree/odd\\nname", "{stdout}");
    assert_eq!(lines[1], "delete tree/gone");
    assert_eq!(lines.len(), 2 + 4 + 8, "{stdout}");
    let stderr = stderr(&output);
    assert!(stderr.starts_with("dry run: "), "{stderr}");
    assert!(
        stderr.ends_with("1 to be deleted; nothing was changed\n"),
        "{stderr}"
    );
    assert_eq!((tree(&site.here()), tree(&site.there())), before);

    let line = ["--dry-run", "-q", "localhost:tree", "made/up"];
    expect_status(22, &site.run(&line));
    let events = site.events(0, &["--dry-run", "-d", "localhost:tree", "made/up"]);
    let changes = of_type(&events, "change");
    let is_made = |event: &&&Value| event["act"] == "create" && event["done"] == false;
    assert_eq!(changes.iter().filter(is_made).count(), 1 + 4 + 9);
    assert_eq!(events.last().unwrap()["dry_run"], true);
    assert_eq!((tree(&site.here()), tree(&site.there())), before);
}

#[test]
fn what_is_replaced_is_kept_under_another_name() {
    let site = Site::new();
    fs::write(site.here().join("file"), "new").unwrap();
    fs::write(site.there().join("file"), "before").unwrap();
    expect_status(
        0,
        &site.run(&["--backup-suffix", "~", "file", "localhost:"]),
    );
    assert_eq!(fs::read(site.there().join("file~")).unwrap(), b"before");
    fs::write(site.here().join("file"), "mine").unwrap();
    let line = [
        "--backup-suffix=-old",
        "--partial-suffix=.part",
        "localhost:file",
        ".",
    ];
    expect_status(0, &site.run(&line));
    assert_eq!(fs::read(site.here().join("file-old")).unwrap(), b"mine");
    assert_eq!(fs::read(site.here().join("file")).unwrap(), b"new");
    let same = [
        "--backup-suffix=~",
        "--partial-suffix=~",
        "file",
        "localhost:",
    ];
    expect_status(2, &site.run(&same));
}
