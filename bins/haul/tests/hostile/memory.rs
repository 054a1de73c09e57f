//! What is large costs no memory, and what is secret is in no core file (cases D107 and D109).

use std::{
    fs::{self, File},
    os::unix::{fs::MetadataExt as _, process::ExitStatusExt as _},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    noise::noise,
    outcome::expect_status,
    site::{Site, finish, limited},
};

/// Address space, stacks of threads and programs included, in KiB.
const ADDRESS_SPACE: &str = "3000000";

#[test]
fn d107_five_tebibytes_of_nothing_cost_no_memory() {
    let site = Site::new();
    let len = 5 << 40;
    let file = File::create(site.here().join("holes")).unwrap();
    file.set_len(len).expect("a file system of large files");
    let mut command = site.command_under(
        &limited(&format!("-v {ADDRESS_SPACE}")),
        &["-q", "holes", "localhost:"],
    );
    // Both ends inherit the limit.
    let output = finish(command.spawn().unwrap());
    expect_status(0, &output);
    let meta = fs::metadata(site.there().join("holes")).unwrap();
    assert_eq!((meta.len(), meta.blocks()), (len, 0));
}

/// A program that may leave a core file does; haul, which knows keys, does not.
#[test]
fn d109_no_end_leaves_a_core_file() {
    let unlimited = limited("-c unlimited");
    let elsewhere = tempfile::tempdir().unwrap();
    let mut other = Command::new(&unlimited[0])
        .args(&unlimited[1..])
        .args(["sleep", "60"])
        .current_dir(elsewhere.path())
        .spawn()
        .unwrap();
    await_program(&other, "sleep");
    kill_process(Pid::from_child(&other), Signal::ABORT).unwrap();
    assert!(
        other.wait().unwrap().core_dumped(),
        "core files are forbidden here, so that this shows nothing: ulimit -c, kernel.core_pattern"
    );

    let site = Site::new();
    fs::write(site.here().join("big"), noise(3, 8_000_000)).unwrap();
    let arguments = ["-q", "--policy", "fixed", "-l", "10M", "big", "localhost:"];
    let child = site.command_under(&unlimited, &arguments).spawn().unwrap();
    site.await_partial("big");
    kill_process(site.remote().unwrap(), Signal::ABORT).unwrap();
    kill_process(Pid::from_child(&child), Signal::ABORT).unwrap();
    let status = finish(child).status;
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!status.core_dumped());
    site.await_no_remote();
    for folder in [site.here(), site.there()] {
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(!name.to_string_lossy().starts_with("core"), "{name:?}");
        }
    }
}

/// Waits until a shell has become the program that it was to start.
fn await_program(child: &std::process::Child, name: &str) {
    let began = Instant::now();
    let comm = format!("/proc/{}/comm", child.id());
    while fs::read_to_string(&comm).unwrap().trim() != name {
        assert!(began.elapsed() < Duration::from_secs(10), "no {name}");
        sleep(Duration::from_millis(5));
    }
}
