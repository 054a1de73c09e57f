//! Few descriptors. Alone in its process, because the limit is the process's.
#![allow(clippy::unwrap_used)]

mod pair;

use std::fs;

use pair::{ROUGH, Random, assert_same, transfer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn d105_caches_give_way_when_descriptors_run_out() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    let mut random = Random(9);
    for index in 0..1500 {
        let dir = source.join(format!("{}/{}", index % 50, index % 30));
        fs::create_dir_all(&dir).unwrap();
        // Larger than a block: losses leave many of them open at the receiver.
        fs::write(dir.join(format!("f{index}")), random.bytes(3000)).unwrap();
    }
    let limit = Rlimit {
        current: Some(80),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let target = work.path().join("target");
    let received = transfer(&[&source], &target, true, ROUGH, 9).unwrap();
    assert_eq!(received.failed, []);
    assert_same(&source, &target);
}
