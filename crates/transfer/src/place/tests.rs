use std::fs;

use haul_wire::control::ErrorCode;

use super::*;

const SCAN: ScanOptions = ScanOptions {
    recursive: true,
    times: false,
    compare: haul_disk::Resume::Never,
    proofs: haul_disk::Proofs::NONE,
    preserve: haul_disk::Preserve::USUAL,
    symlinks: haul_wire::control::Symlinks::Copy,
    skip_special: false,
};
const ONE: Asked = Asked {
    count: 1,
    contents: false,
};

fn tree() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for name in ["jail", "jail/sub", "jail2", "home"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    for name in ["jail/a.txt", "jail/b.txt", "jail2/secret", "home/h"] {
        fs::write(root.join(name), b"x").unwrap();
    }
    std::os::unix::fs::symlink("../jail2", root.join("jail/out")).unwrap();
    (dir, root)
}

fn jailed(root: &Path) -> Ground {
    Ground::new(root.join("jail"), Some(root.join("jail")))
}

fn placing(create_dir: bool) -> Placing {
    Placing {
        create_dir,
        ..Placing::default()
    }
}

#[test]
fn without_a_jail_the_home_is_where_relative_names_begin() {
    let (_dir, root) = tree();
    let ground = Ground::new(root.join("home"), None);
    assert_eq!(
        ground.sources(&[b"h"], SCAN).unwrap(),
        [root.join("home/h")]
    );
    assert_eq!(
        ground.sources(&[b"~/h"], SCAN).unwrap(),
        [root.join("home/h")]
    );
    let absolute = root.join("jail2/secret");
    let spec = absolute.as_os_str().as_bytes();
    assert_eq!(
        ground.sources(&[spec], SCAN).unwrap(),
        std::slice::from_ref(&absolute)
    );
}

#[test]
fn a_jail_is_the_root_and_the_home() {
    let (_dir, root) = tree();
    let ground = jailed(&root);
    for spec in ["a.txt", "/a.txt", "~/a.txt", "//a.txt"] {
        assert_eq!(
            ground.sources(&[spec], SCAN).unwrap(),
            [root.join("jail/a.txt")],
            "{spec}"
        );
    }
    assert_eq!(ground.sources(&["/*.txt"], SCAN).unwrap().len(), 2);
    for spec in ["", "/", "~", "sub", "/sub"] {
        ground
            .landing(spec.as_bytes(), ONE, &placing(false))
            .unwrap_or_else(|e| panic!("{spec}: {e}"));
    }
    let rehearsed = Placing {
        dry_run: true,
        ..placing(true)
    };
    ground.landing(b"/new/dir", ONE, &rehearsed).unwrap();
    assert!(!root.join("jail/new").exists());
    ground.landing(b"/new/dir", ONE, &placing(true)).unwrap();
    assert!(root.join("jail/new/dir").is_dir());
}

#[test]
fn n78_nothing_leads_out_of_a_jail() {
    let (_dir, root) = tree();
    let ground = jailed(&root);
    let sibling = root.join("jail2/secret");
    let specs = [
        "../jail2/secret",
        "/../jail2/secret",
        "sub/../../jail2",
        "out",
        "out/secret",
        "o*",
    ];
    for spec in specs {
        let error = ground.sources(&[spec], SCAN).unwrap_err();
        assert_eq!(error.code(), ErrorCode::NotPermitted, "{spec}: {error}");
        if !spec.contains('*') {
            let error = ground
                .landing(spec.as_bytes(), ONE, &placing(true))
                .map(drop)
                .unwrap_err();
            assert_eq!(error.code(), ErrorCode::NotPermitted, "{spec}: {error}");
        }
    }
    // The absolute name of something outside is a name inside, where there is nothing.
    let error = ground
        .sources(&[sibling.as_os_str().as_bytes()], SCAN)
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::NoSuchSource);
    assert!(!root.join("jail2/new").exists());
    assert!(ground.landing(b"out/new", ONE, &placing(true)).is_err());
    assert!(!root.join("jail2/new").exists());
}

#[test]
fn what_is_missing_or_unreadable_has_its_own_code() {
    let (_dir, root) = tree();
    let ground = Ground::new(root.join("home"), None);
    let code = |spec: &str| ground.sources(&[spec], SCAN).unwrap_err().code();
    assert_eq!(code("missing"), ErrorCode::NoSuchSource);
    assert_eq!(code("*.missing"), ErrorCode::NoSuchSource);
    let flat = ScanOptions::default();
    let error = ground.sources(&["."], flat).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceUnreadable);
    let error = ground
        .landing(b"no/such/dir/x", ONE, &placing(false))
        .map(drop)
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::DestinationUnwritable);
}
