//! UDP does not get through: everything goes over the control channel.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod pair;

use std::{
    env, fs,
    io::{self, Read as _},
    os::unix::{net::UnixStream, process::CommandExt as _},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use haul_transfer::{Channels, Direction, Event, join};
use pair::{
    BOTH, CALM, Case, LOCALHOST_6, place,
    proxy::{Proxy, Way},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split},
    sync::mpsc,
    time::{Instant, sleep_until},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_udp_does_not_carry_goes_over_the_control_channel() {
    let mut running = Vec::new();
    for direction in BOTH {
        for way in [Way::Up, Way::Down] {
            let (dir, source, destination) = place(20_000_000);
            let mut case = Case::new(direction, &source, &destination);
            let proxy = Proxy::between(&mut case, CALM, 1);
            proxy.kill(way);
            running.push((dir, source, destination, proxy, case.start()));
        }
    }
    for (_dir, source, destination, _proxy, mut under) in running {
        let warning = loop {
            if let Event::Warning(warning) = under.events.recv().await.expect("a warning") {
                break warning.text;
            }
        };
        assert!(warning.contains("over SSH"), "{warning}");
        let (summary, _) = under.end().await.succeeded();
        assert!(fs::read(&source).unwrap() == fs::read(&destination).unwrap());
        assert!(summary.control_bytes > 20_000_000, "{summary:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_goes_its_own_way_once_udp_gets_through() {
    let returns = BOTH.map(|direction| tokio::spawn(returns_to_udp(direction)));
    for run in returns {
        run.await.unwrap();
    }
}

async fn returns_to_udp(direction: Direction) {
    let (_dir, source, destination) = place(20_000_000);
    let mut case = Case::new(direction, &source, &destination);
    case.job.options.rate_target_bps = Some(40_000_000);
    let proxy = Proxy::between(&mut case, CALM, 1);
    proxy.kill(Way::Up);
    proxy.kill(Way::Down);
    let mut under = case.start();
    for text in ["over SSH", "UDP gets through now"] {
        let warning = loop {
            if let Event::Warning(warning) = under.events.recv().await.expect("a warning") {
                break warning.text;
            }
        };
        assert!(warning.contains(text), "{warning}");
        proxy.revive();
    }
    let (summary, _) = under.end().await.succeeded();
    assert!(fs::read(&source).unwrap() == fs::read(&destination).unwrap());
    assert!(summary.control_bytes < 19_000_000, "{summary:?}");
}

/// Far enough away for several channels.
const DELAY: Duration = Duration::from_millis(40);

/// A stream of which both ends are `DELAY` apart.
fn apart() -> (DuplexStream, DuplexStream) {
    let (near, here) = duplex(1 << 20);
    let (there, far) = duplex(1 << 20);
    let (here_in, here_out) = split(here);
    let (there_in, there_out) = split(there);
    tokio::spawn(delay(here_in, there_out));
    tokio::spawn(delay(there_in, here_out));
    (near, far)
}

async fn delay(
    mut from: tokio::io::ReadHalf<DuplexStream>,
    mut to: tokio::io::WriteHalf<DuplexStream>,
) {
    let (travelling, mut arriving) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((at, bytes)) = arriving.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let _ = travelling.send((Instant::now() + DELAY, buffer[..len].to_vec()));
    }
}

/// A channel that joins a session, as another process of the same account would, and counts what it carries.
fn joined(name: u128, carried: &Arc<AtomicU64>) -> io::Result<UnixStream> {
    let (ours, here) = UnixStream::pair()?;
    let (there, theirs) = UnixStream::pair()?;
    for (mut from, mut to) in [
        (here.try_clone()?, there.try_clone()?),
        (there.try_clone()?, here.try_clone()?),
    ] {
        let carried = Arc::clone(carried);
        thread::spawn(move || {
            carried.fetch_add(io::copy(&mut from, &mut to).unwrap_or(0), Relaxed);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
    }
    thread::spawn(move || join(name, &theirs, &theirs));
    ours.set_nonblocking(true)?;
    Ok(ours)
}

#[tokio::test(flavor = "multi_thread")]
async fn further_channels_share_a_long_detour() {
    for direction in BOTH {
        let (_dir, source, destination) = place(20_000_000);
        let mut case = Case::new(direction, &source, &destination);
        let proxy = Proxy::between(&mut case, CALM, 1);
        proxy.kill(Way::Up);
        let carried = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&carried);
        case.job.options.channels = Some(Channels::new(move |name| joined(name, &count)));
        case.setup.joinable = true;
        let (near, far) = apart();
        let (summary, _) = case.start_over(near, far).end().await.succeeded();
        assert!(fs::read(&source).unwrap() == fs::read(&destination).unwrap());
        assert!(summary.control_bytes > 20_000_000, "{summary:?}");
        // They are counted when they close, which they do with the session.
        for _ in 0..1_000 {
            if carried.load(Relaxed) > 2_000_000 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(carried.load(Relaxed) > 2_000_000, "{carried:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_not_joinable_has_one_channel() {
    let (_dir, source, destination) = place(1_000_000);
    let mut case = Case::new(Direction::Upload, &source, &destination);
    let proxy = Proxy::between(&mut case, CALM, 1);
    proxy.kill(Way::Up);
    case.job.options.channels = Some(Channels::new(|_| panic!("nobody asked for that")));
    let (near, far) = apart();
    let (summary, _) = case.start_over(near, far).end().await.succeeded();
    assert!(summary.control_bytes > 1_000_000, "{summary:?}");
}

/// How many bytes a session sends to a process of this account, or of that one, which joins it.
fn sent_to(account: u32, name: u128) -> usize {
    // Not by its path: not everybody may look into the folder of this program.
    let output = Command::new("/proc/self/exe")
        .args([
            "--ignored",
            "--exact",
            "a_process_that_joins",
            "--nocapture",
        ])
        .env(JOINED_NAME, name.to_string())
        .uid(account)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let sent = said.lines().find_map(|line| line.strip_prefix("sent: "));
    sent.unwrap_or_else(|| panic!("{output:?}"))
        .parse()
        .unwrap()
}

const JOINED_NAME: &str = "HAUL_TEST_JOINED_NAME";
const SOMEBODY_ELSE: u32 = 65_534;

#[test]
#[ignore = "a process of the test below"]
fn a_process_that_joins() {
    let Ok(name) = env::var(JOINED_NAME) else {
        return;
    };
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let name = name.parse().unwrap();
    let joining = thread::spawn(move || join(name, &theirs, &theirs));
    let sent = ours.read(&mut [0; 100]).unwrap();
    drop(ours);
    // Who is not let in may find the door shut while it hands over what it has.
    let _ = joining.join().unwrap();
    println!("\nsent: {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_same_account_joins_a_session() {
    if !rustix::process::getuid().is_root() {
        println!(
            "only_the_same_account_joins_a_session cannot run: it needs root, to become another account"
        );
        return;
    }
    let (_dir, source, destination) = place(20_000_000);
    let mut case = Case::new(Direction::Download, &source, &destination);
    let proxy = Proxy::between(&mut case, CALM, 1);
    proxy.kill(Way::Down);
    let (told, sent) = std::sync::mpsc::channel();
    case.job.options.channels = Some(Channels::new(move |name| {
        // More than may join, so that none of them takes the place of one who may.
        let strangers: Vec<usize> = (0..9).map(|_| sent_to(SOMEBODY_ELSE, name)).collect();
        let _ = told.send((strangers, sent_to(0, name)));
        Err(io::ErrorKind::Unsupported.into())
    }));
    case.setup.joinable = true;
    let (near, far) = apart();
    case.start_over(near, far).end().await.succeeded();
    assert!(fs::read(&source).unwrap() == fs::read(&destination).unwrap());
    let (strangers, own) = sent.recv().unwrap();
    assert_eq!(strangers, [0; 9]);
    assert!(own > 0);
}

#[test]
fn a_session_that_is_not_there_cannot_be_joined() {
    let (input, _) = UnixStream::pair().unwrap();
    let refused = join(7, &input, &input).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detour_serves_ipv6_and_strangers_too() {
    let (_dir, source, destination) = place(3_000_000);
    let mut case = Case::new(Direction::Upload, &source, &destination);
    case.peer = LOCALHOST_6;
    // SSH came from elsewhere: what comes from this host itself counts only on a detour.
    case.setup.ssh_peer = Some("2001:db8::1".parse().unwrap());
    let (summary, _) = case.run().await.succeeded();
    assert_eq!(summary.bytes, 3_000_000);
    assert!(summary.control_bytes > 3_000_000, "{summary:?}");
    assert!(fs::read(&source).unwrap() == fs::read(&destination).unwrap());
}
