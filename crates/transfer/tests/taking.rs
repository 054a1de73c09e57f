//! What the sender takes and what becomes of it there, whichever end it is.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::Path,
};

use haul_transfer::{After, Direction, ErrorCode, Event, Symlinks};
use pair::{BOTH, Case, tree};

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// A folder with a tree of four files, one of them a link's, and where it is to land.
fn plant() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("tree/sub/deep")).unwrap();
    fs::create_dir(at("to")).unwrap();
    for name in ["tree/a", "tree/sub/b", "tree/sub/deep/c", "elsewhere"] {
        fs::write(at(name), name).unwrap();
    }
    symlink("../elsewhere", at("tree/link")).unwrap();
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_followed_or_left_out() {
    for direction in BOTH {
        for (symlinks, is_there) in [(Symlinks::Follow, true), (Symlinks::Skip, false)] {
            let dir = plant();
            let at = |name: &str| dir.path().join(name);
            let mut case = Case::new(direction, &at("tree"), &at("to"));
            case.job.options.taking.symlinks = symlinks;
            let (summary, _) = case.run().await.succeeded();
            assert_eq!(summary.files, 3 + u64::from(is_there));
            let link = at("to/tree/link");
            assert!(!link.is_symlink());
            assert_eq!(link.exists(), is_there, "{direction:?} {symlinks:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_follows_no_link_out_of_its_jail() {
    let dir = plant();
    let at = |name: &str| dir.path().join(name);
    let mut case = Case::new(Direction::Download, Path::new("/"), &at("to"));
    case.job.sources = vec![b"/.".to_vec()];
    case.job.options.taking.symlinks = Symlinks::Follow;
    case.setup.home = at("tree");
    case.setup.jail = Some(at("tree"));
    let ended = case.run().await;
    let error = ended.initiator.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Partial, "{error}");
    assert!(error.to_string().contains("out of the served"), "{error}");
    assert!(!at("to/link").exists() && at("to/sub/deep/c").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_arrived_is_removed_or_moved_where_it_was() {
    for direction in BOTH {
        for moves in [false, true] {
            let dir = plant();
            let at = |name: &str| dir.path().join(name);
            let expected = tree::describe(&at("tree"));
            fs::create_dir(at("sent")).unwrap();
            let mut case = Case::new(direction, &at("tree"), &at("to"));
            case.job.options.taking.after = match moves {
                true => After::Move(bytes(&at("sent")).into()),
                false => After::Remove,
            };
            case.job.options.taking.remove_empty_dirs = true;
            let (summary, _) = case.run().await.succeeded();
            assert_eq!(summary.files, 3);
            assert_eq!(tree::describe(&at("to/tree")), expected);
            assert_eq!(fs::read_dir(at("tree")).unwrap().count(), 0);
            let moved = ["a", "sub/b", "sub/deep/c", "link"]
                .map(|name| at("sent/tree").join(name).symlink_metadata().is_ok());
            assert_eq!(moved, [moves; 4], "{direction:?}");
        }
    }
}

/// One that is kept at the destination, and one that fails there, have not arrived.
#[tokio::test(flavor = "multi_thread")]
async fn sources_stay_unless_everything_of_them_is_there() {
    for direction in BOTH {
        for is_kept in [true, false] {
            let dir = plant();
            let at = |name: &str| dir.path().join(name);
            fs::create_dir_all(at("to/tree")).unwrap();
            let mut case = Case::new(direction, &at("tree"), &at("to"));
            case.job.options.taking.after = After::Remove;
            if is_kept {
                fs::write(at("to/tree/a"), "another").unwrap();
                case.job.options.placing.overwrite = haul_transfer::Overwrite::Never;
            } else {
                fs::create_dir(at("to/tree/a")).unwrap();
            }
            let ended = case.run().await;
            assert_eq!(ended.initiator.is_ok(), is_kept);
            let told = |event: &Event| matches!(event, Event::Warning(warning) if warning.text.contains("sources stay"));
            assert!(ended.events.iter().any(told), "{:?}", ended.events);
            for name in ["a", "sub/b", "sub/deep/c", "link"] {
                assert!(at("tree").join(name).symlink_metadata().is_ok(), "{name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_moved_is_told_of_at_both_ends() {
    for direction in BOTH {
        let dir = plant();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("sent/tree")).unwrap();
        fs::write(at("sent/tree/a"), "in the way").unwrap();
        let mut case = Case::new(direction, &at("tree"), &at("to"));
        case.job.options.taking.after = After::Move(bytes(&at("sent")).into());
        let ended = case.run().await;
        let named = |event: &Event| matches!(event, Event::Warning(warning) if warning.text.contains("tree/a"));
        assert!(ended.events.iter().any(named), "{:?}", ended.events);
        let (ours, theirs) = ended.failed();
        assert_eq!(ours.code(), ErrorCode::Partial, "{ours}");
        assert_eq!(theirs.code(), ErrorCode::Partial, "{theirs}");
        assert!(ours.to_string().contains("everything arrived"), "{ours}");
        assert!(at("to/tree/sub/b").exists() && at("sent/tree/sub/b").exists());
        assert!(at("tree/a").exists() && !at("tree/sub/b").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    for direction in BOTH {
        let dir = plant();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("tree/sent")).unwrap();
        let move_to = |path: &Path| After::Move(bytes(path).into());
        for (after, symlinks, code) in [
            (After::Remove, Symlinks::Follow, ErrorCode::Usage),
            (move_to(&at("tree/sent")), Symlinks::Copy, ErrorCode::Usage),
            (move_to("/proc".as_ref()), Symlinks::Copy, ErrorCode::Usage),
            (
                move_to(&at("missing")),
                Symlinks::Copy,
                ErrorCode::NoSuchSource,
            ),
            (
                move_to(&at("elsewhere")),
                Symlinks::Copy,
                ErrorCode::SourceUnreadable,
            ),
        ] {
            let mut case = Case::new(direction, &at("tree"), &at("to"));
            case.job.options.taking.after = after;
            case.job.options.taking.symlinks = symlinks;
            let error = case.run().await.initiator.unwrap_err();
            assert_eq!(error.code(), code, "{direction:?} {error}");
        }
        assert!(at("tree/a").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_uploads_lets_nothing_be_removed() {
    let dir = plant();
    let at = |name: &str| dir.path().join(name);
    let mut case = Case::new(Direction::Download, &at("tree"), &at("to"));
    case.job.options.taking.after = After::Remove;
    case.setup.allow_upload = false;
    let (ours, _) = case.run().await.failed();
    assert_eq!(ours.code(), ErrorCode::NotPermitted, "{ours}");
    assert!(at("tree/a").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_land_in_places_of_their_own() {
    for direction in BOTH {
        let dir = plant();
        let at = |name: &str| dir.path().join(name);
        let mut case = Case::new(direction, &at("tree"), &at("to/new"));
        case.job.sources = [at("tree/a"), at("tree/sub")]
            .map(|path| bytes(&path))
            .into();
        case.job.options.taking.targets = [&b"x/1"[..], b"x/y/2"]
            .map(|target| target.to_vec().into())
            .into();
        case.job.options.placing.create_dir = true;
        let (summary, _) = case.run().await.succeeded();
        assert_eq!(summary.files, 3);
        assert_eq!(fs::read(at("to/new/x/1")).unwrap(), b"tree/a");
        assert_eq!(
            fs::read(at("to/new/x/y/2/deep/c")).unwrap(),
            b"tree/sub/deep/c"
        );

        let mut case = Case::new(direction, &at("tree"), &at("to/base"));
        case.job.sources = [at("tree/sub/*/c"), at("tree/a")]
            .map(|path| bytes(&path))
            .into();
        if direction == Direction::Upload {
            case.job.sources[0] = bytes(&at("tree/sub/deep/c"));
        }
        case.job.options.taking.src_base = Some(bytes(&at("tree")).into());
        case.job.options.placing.create_dir = true;
        let (summary, _) = case.run().await.succeeded();
        assert_eq!(summary.files, 2);
        assert_eq!(
            fs::read(at("to/base/sub/deep/c")).unwrap(),
            b"tree/sub/deep/c"
        );
        assert_eq!(fs::read(at("to/base/a")).unwrap(), b"tree/a");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn places_that_lead_elsewhere_are_refused() {
    for direction in BOTH {
        let dir = plant();
        let at = |name: &str| dir.path().join(name);
        for target in [&b"../a"[..], b"/a", b""] {
            let mut case = Case::new(direction, &at("tree/a"), &at("to"));
            case.job.options.taking.targets = vec![target.to_vec().into()];
            let error = case.run().await.initiator.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Usage, "{direction:?} {error}");
        }
        let mut case = Case::new(direction, &at("elsewhere"), &at("to"));
        case.job.options.taking.src_base = Some(bytes(&at("tree")).into());
        let error = case.run().await.initiator.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Usage, "{direction:?} {error}");
        assert!(error.to_string().contains("not below"), "{error}");
        assert_eq!(fs::read_dir(at("to")).unwrap().count(), 0);
    }
}
