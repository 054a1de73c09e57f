//! Somebody decides about each request before anything of it is looked at, and within which bounds.
#![allow(clippy::unwrap_used)]

mod pair;

use std::{
    fs,
    sync::{Arc, Mutex},
};

use haul_transfer::{
    Asking, Bounds, Direction, ErrorCode, Gate, Leave, NameRule, Policy, Preserve, Symlinks, Token,
    TransferError, Unauthorized,
};
use pair::{BOTH, Case, place};
use tokio::sync::watch;

/// A gate that gives this leave to everybody.
fn open(leave: Leave) -> Option<Gate> {
    Some(Gate::new(move |_| Ok(leave.clone())))
}

fn bounded(bounds: Bounds) -> Option<Gate> {
    open(Leave {
        bounds,
        ..Leave::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_hears_a_reference_and_nothing_is_looked_at() {
    for direction in BOTH {
        let (_dir, _, destination) = place(1_000);
        // A place that does not exist would be told of, if it were looked at.
        let source = match direction {
            Direction::Upload => destination.with_file_name("source"),
            Direction::Download => destination.with_file_name("no such thing"),
        };
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.token = Token::new("sealed");
        let asked: Arc<Mutex<Option<Asking>>> = Arc::default();
        let keep = Arc::clone(&asked);
        case.setup.gate = Some(Gate::new(move |asking| {
            *keep.lock().unwrap() = Some(asking);
            Err(Unauthorized("7f3a".to_owned()))
        }));
        let (initiator, responder) = case.run().await.failed();
        assert_eq!(initiator.code(), ErrorCode::Unauthorized);
        assert_eq!(
            initiator.to_string(),
            "the other end: unauthorized to transfer (reference 7f3a)"
        );
        assert!(matches!(responder, TransferError::Unauthorized(_)));
        assert!(!destination.exists());
        let request = asked.lock().unwrap().take().unwrap().request;
        assert_eq!(request.token.unwrap().expose(), "sealed");
        let named = match direction {
            Direction::Upload => request.destination,
            Direction::Download => request.sources[0].clone(),
        };
        assert!(named.starts_with(b"/"), "{named:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_where_nobody_reads_tokens_is_not_ignored() {
    let (_dir, source, destination) = place(1_000);
    let mut case = Case::new(Direction::Upload, &source, &destination);
    case.job.options.token = Token::new("sealed");
    let (initiator, _) = case.run().await.failed();
    assert_eq!(initiator.code(), ErrorCode::NotPermitted);
    assert!(!destination.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_so_many_bytes_and_names() {
    let bounds = [
        (Some(3_000), None, true),
        (Some(2_999), None, false),
        (None, Some(4), true),
        (None, Some(3), false),
    ];
    for direction in BOTH {
        for (bytes_max, names_max, fits) in bounds {
            let (dir, _, destination) = place(0);
            let tree = dir.path().join("tree");
            fs::create_dir(&tree).unwrap();
            for name in ["a", "b", "c"] {
                fs::write(tree.join(name), [7; 1_000]).unwrap();
            }
            let mut case = Case::new(direction, &tree, &destination);
            case.setup.gate = bounded(Bounds {
                bytes_max,
                names_max,
                names: None,
            });
            let ended = case.run().await;
            if fits {
                ended.succeeded();
                continue;
            }
            let (initiator, responder) = ended.failed();
            for error in [&initiator, &responder] {
                assert_eq!(error.code(), ErrorCode::NotPermitted, "{error}");
                let told = error.to_string();
                assert!(told.contains("more than one transfer may move"), "{told}");
            }
        }
    }
}

/// Nothing that is called `secret`, wherever it is.
fn no_secrets() -> Bounds {
    Bounds {
        names: Some(NameRule::new(|path, _| !path.ends_with(b"secret"))),
        ..Bounds::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_allowed_do_not_move() {
    for direction in BOTH {
        let (dir, _, destination) = place(0);
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("below/secret")).unwrap();
        fs::write(tree.join("below/secret/x"), "x").unwrap();
        fs::write(tree.join("below/open"), "o").unwrap();
        fs::write(tree.join("secret"), "s").unwrap();
        fs::write(tree.join("empty secret"), "").unwrap();
        let mut case = Case::new(direction, &tree, &destination);
        case.setup.gate = bounded(no_secrets());
        let ended = case.run().await;
        match direction {
            // Whoever brings them must know that they have not arrived.
            Direction::Upload => {
                let (initiator, _) = ended.failed();
                assert_eq!(initiator.code(), ErrorCode::Partial, "{initiator}");
                assert!(initiator.to_string().contains("not allowed"), "{initiator}");
            }
            // For whoever takes them they are not there.
            Direction::Download => drop(ended.succeeded()),
        }
        assert_eq!(fs::read(destination.join("below/open")).unwrap(), b"o");
        for name in ["secret", "empty secret", "below/secret"] {
            assert!(!destination.join(name).exists(), "{direction:?} {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_way_to_a_name_does_not_make_it_allowed() {
    let (dir, _, destination) = place(0);
    let jail = dir.path().join("jail");
    fs::create_dir_all(jail.join("secret")).unwrap();
    fs::write(jail.join("secret/x"), "x").unwrap();
    fs::write(jail.join("file secret"), "x").unwrap();
    std::os::unix::fs::symlink("secret", jail.join("way")).unwrap();
    std::os::unix::fs::symlink("file secret", jail.join("file")).unwrap();
    for source in ["secret", "way", "way/.", "file", "file secret", "way/x"] {
        let mut case = Case::new(Direction::Download, &destination, &destination);
        case.job.sources = vec![source.as_bytes().to_vec()];
        case.setup.jail = Some(jail.clone());
        case.setup.gate = bounded(Bounds {
            names: Some(NameRule::new(|path, _| {
                !path
                    .split(|byte| *byte == b'/')
                    .any(|name| name.ends_with(b"secret"))
            })),
            ..Bounds::default()
        });
        let (initiator, _) = case.run().await.failed();
        assert_eq!(initiator.code(), ErrorCode::NotPermitted, "{source}");
        assert!(!destination.exists());
    }
    let mut case = Case::new(Direction::Download, &jail, &destination);
    case.job.options.taking.symlinks = Symlinks::Follow;
    case.setup.gate = bounded(no_secrets());
    let (initiator, _) = case.run().await.failed();
    assert_eq!(initiator.code(), ErrorCode::NotPermitted);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_lands_where_its_names_are_allowed() {
    let (dir, source, _) = place(1_000);
    let jail = dir.path().join("jail");
    fs::create_dir_all(jail.join("in")).unwrap();
    fs::create_dir(jail.join("out")).unwrap();
    std::os::unix::fs::symlink("../out", jail.join("in/way")).unwrap();
    let only_in = || Bounds {
        names: Some(NameRule::new(|path, _| path.starts_with(b"in/"))),
        ..Bounds::default()
    };
    for (destination, is_allowed) in [
        ("in", true),
        ("in/name", true),
        ("out", false),
        ("name", false),
        ("in/way", false),
        ("in/way/name", false),
    ] {
        let mut case = Case::new(Direction::Upload, &source, &source);
        case.job.destination = destination.as_bytes().to_vec();
        case.job.options.preserve = Preserve::default();
        case.setup.jail = Some(jail.clone());
        case.setup.gate = bounded(only_in());
        let ended = case.run().await;
        if is_allowed {
            ended.succeeded();
        } else {
            let error = ended.initiator.expect_err(destination);
            assert_eq!(error.code(), ErrorCode::Partial, "{destination}");
        }
    }
    assert_eq!(fs::read_dir(jail.join("out")).unwrap().count(), 0);
    assert!(!jail.join("name").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_allowed_can_be_taken_back_while_data_flows() {
    for direction in BOTH {
        let (_dir, source, destination) = place(16 << 20);
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.policy = Policy::Fixed;
        case.job.options.rate_target_bps = Some(400_000);
        let (take_back, withdrawn) = watch::channel(None);
        case.setup.gate = open(Leave {
            withdrawn: Some(withdrawn),
            ..Leave::default()
        });
        let mut under = case.start();
        under.until_bytes(20_000).await;
        take_back
            .send(Some(Unauthorized("9c1b".to_owned())))
            .unwrap();
        // At that rate it would take five times as long as is waited for it.
        let (initiator, responder) = under.end().await.failed();
        assert_eq!(initiator.code(), ErrorCode::Unauthorized, "{initiator}");
        assert!(initiator.to_string().contains("9c1b"), "{initiator}");
        assert!(matches!(responder, TransferError::Unauthorized(_)));
        assert!(!destination.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lower_of_two_ceilings_holds() {
    for direction in BOTH {
        let (_dir, source, destination) = place(16 << 20);
        let mut case = Case::new(direction, &source, &destination);
        case.job.options.policy = Policy::Fixed;
        case.job.options.rate_target_bps = Some(1_000_000_000);
        case.setup.rate_max_bps = Some(800_000_000);
        case.setup.gate = open(Leave {
            rate_max_bps: Some(400_000_000),
            ..Leave::default()
        });
        let ended = case.run().await;
        let ceilings: Vec<_> = (ended.events.iter())
            .filter_map(|event| match event {
                haul_transfer::Event::Limits(in_force) => Some(in_force.ceiling_bps),
                _ => None,
            })
            .collect();
        assert_eq!(ceilings.first(), Some(&Some(400_000_000)), "{ceilings:?}");
        ended.succeeded();
    }
}
