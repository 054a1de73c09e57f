//! What happens to what is at the destination.

use std::fs;

use super::{Site, expect_status, plant, tree};

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
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(" (2 deleted)"), "{stderr}");
    fs::remove_file(copy.join("left.tmp")).unwrap();
    assert_eq!(tree(&copy), tree(&source));

    fs::write(source.join("new"), "").unwrap();
    let output = site.run(&["-vv", "--delete", "localhost:copy/.", "tree"]);
    expect_status(0, &output);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("\nhaul: delete new\n"), "{stderr}");
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
