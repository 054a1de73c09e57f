use std::fs;

use haul_wire::control::{Fsync, Overwrite};
use rustix::{fs::Mode, process::umask};

use crate::Expected;

/// How files are made.
#[derive(Debug, Clone)]
pub struct ReceiveOptions {
    /// Keep the sender's times, and its permissions whatever the umask.
    pub preserve: bool,
    /// Permission bits that are taken away from what is made, unless `preserve`.
    pub umask: u32,
    /// Whether what is there already need not be sent, and the next run is told what this one got.
    pub resume: bool,
    /// When it is on the disk.
    pub fsync: Fsync,
    /// What becomes of files that are there under their final names.
    pub overwrite: Overwrite,
    /// What may arrive at the top, when it was this side that asked. `None`: anything.
    pub expected: Option<Expected>,
    /// Whether each file is told of by [`crate::Incoming::poll_event`]. Costs memory until polled.
    pub file_events: bool,
}

impl ReceiveOptions {
    /// With this process's umask, nothing expected, no events.
    pub fn new(preserve: bool) -> Self {
        Self {
            preserve,
            umask: process_umask(),
            resume: false,
            fsync: Fsync::Never,
            overwrite: Overwrite::Diff,
            expected: None,
            file_events: false,
        }
    }
}

/// The umask as `/proc` tells it; where it does not, by setting it for a moment.
fn process_umask() -> u32 {
    let told = fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        });
    told.unwrap_or_else(|| {
        // Files made by other threads in between are private rather than open.
        let mask = umask(Mode::RWXG | Mode::RWXO);
        umask(mask);
        mask.as_raw_mode()
    })
}
