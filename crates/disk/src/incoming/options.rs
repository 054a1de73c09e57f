use std::fs;

use haul_wire::control::{Placing, Preserve, Resume};
use rustix::{fs::Mode, process::umask};

use super::LeftOut;
use crate::{Bounds, Expected, Proofs};

/// How files are made.
#[derive(Debug, Clone)]
pub struct ReceiveOptions {
    /// What is kept of the sender's files beside their contents.
    pub preserve: Preserve,
    /// Permission bits that are taken away from what is made, unless modes are kept.
    pub umask: u32,
    /// What need not be sent because it is there. Unless it is nothing, the next run is told what this
    /// one got.
    pub resume: Resume,
    /// What becomes of what is there, and of what arrives.
    pub placing: Placing,
    /// Whether each file must come to what the sender says that it does.
    pub proofs: Proofs,
    /// Whether the sender proves all, for its own account, and needs the time for that.
    pub awaits_proofs: bool,
    /// What of its own the sender does not list; matters where what is not listed is removed.
    pub left_out: LeftOut,
    /// What may arrive at the top, when it was this side that asked. `None`: anything.
    pub expected: Option<Expected>,
    /// What may arrive, and how much of it; names are below the destination.
    pub bounds: Bounds,
    /// Whether each file is told of by [`crate::Incoming::poll_event`]. Costs memory until polled.
    pub file_events: bool,
}

impl ReceiveOptions {
    /// With this process's umask, nothing expected, no events.
    pub fn new(preserve: Preserve) -> Self {
        Self {
            preserve,
            umask: process_umask(),
            resume: Resume::Never,
            placing: Placing::default(),
            proofs: Proofs::default(),
            awaits_proofs: false,
            left_out: LeftOut::default(),
            expected: None,
            bounds: Bounds::default(),
            file_events: false,
        }
    }

    /// Whether it is looked what is there before it is sent.
    pub fn is_judged(&self) -> bool {
        self.resume != Resume::Never || self.placing.is_judged()
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
