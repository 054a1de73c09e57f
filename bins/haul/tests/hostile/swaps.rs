//! Somebody who may write in the destination swaps its folders for links and back while files arrive
//! (case N67): nothing outside is made, changed or removed.
//!
//! `HAUL_SWAP_SECONDS` says for how long.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::{noise::noise, outcome::stderr, site::Site, tree::tree};

const SECONDS: u64 = 4;
/// Whole, in part, or not into a destination like this; never a defect.
const MAY_END: [i32; 5] = [0, 3, 22, 23, 24];

fn plant(folder: &Path, seed: u64) {
    for at in ["a", "a/b"] {
        let folder = folder.join(at);
        fs::create_dir_all(&folder).unwrap();
        for number in 0..20 {
            let len = [0, 10, 3_000, 100_000][number % 4];
            fs::write(folder.join(format!("{number}")), noise(seed, len)).unwrap();
        }
        let _ = fs::remove_file(folder.join("link"));
        symlink("0", folder.join("link")).unwrap();
    }
}

/// A folder by its name in the one above, which is held: a path might lead through a trap.
struct Pair {
    above: fs::File,
    name: &'static str,
    trap: PathBuf,
}

/// Exchanges each folder and its trap until told to stop, and counts that.
fn swap(pairs: &[Pair], stop: &AtomicBool, swaps: &AtomicU64) {
    while !stop.load(Relaxed) {
        for Pair { above, name, trap } in pairs {
            renameat_with(above, *name, CWD, trap, RenameFlags::EXCHANGE).unwrap();
            swaps.fetch_add(1, Relaxed);
        }
    }
}

#[test]
fn n67_swapped_folders_never_lead_outside() {
    let seconds = std::env::var("HAUL_SWAP_SECONDS").map_or(SECONDS, |wish| wish.parse().unwrap());
    let site = Site::new();
    // What links lead to has victims of every name that arrives.
    plant(&site.path("outside"), 1_000);
    fs::create_dir(site.path("outside/a/only there")).unwrap();
    let outside = tree(&site.path("outside"));
    let into = site.there().join("tree");
    plant(&into, 2_000);
    let pair = |above: &str, name: &'static str, leads_to: &str| {
        let trap = site.there().join(format!("trap {name}"));
        symlink(site.path(leads_to), &trap).unwrap();
        let above = fs::File::open(into.join(above)).unwrap();
        Pair { above, name, trap }
    };
    let pairs = [pair("", "a", "outside/a"), pair("a", "b", "outside/a/b")];

    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    let mut runs = 0;
    thread::scope(|scope| {
        scope.spawn(|| swap(&pairs, &stop, &swaps));
        while began.elapsed() < Duration::from_secs(seconds) {
            // New contents each time, so that files are made, filled, given their attributes, renamed
            // over others and removed.
            plant(&site.here().join("tree"), 2 + runs);
            let options = if runs % 2 == 0 { "-qp" } else { "-q" };
            let output = site.run(&[options, "--retry-for", "0", "tree", "localhost:"]);
            let status = output.status.code().unwrap_or(-1);
            if !MAY_END.contains(&status) {
                stop.store(true, Relaxed);
                panic!("{status}: {}", stderr(&output));
            }
            runs += 1;
        }
        stop.store(true, Relaxed);
    });
    let swaps = swaps.into_inner();
    eprintln!("{runs} runs, {swaps} swaps");
    assert!(
        runs > 1 && swaps > 100,
        "{runs} runs, {swaps} swaps: no race"
    );
    assert!(
        tree(&site.path("outside")) == outside,
        "something got outside"
    );
}
