use std::time::Duration;

use haul_engine::Snapshot;
use haul_wire::control::{Host, Status, Text, Verdict};
use tokio::time::Instant;

use crate::Progress;

/// Time over which the goodput is smoothed.
const SMOOTHING: Duration = Duration::from_secs(1);

/// Turns counters into progress.
pub(super) struct Meter {
    began: Instant,
    /// File bytes the receiver has got.
    bytes: u64,
    /// File bytes that it had before.
    there_bytes: u64,
    /// The sender's figures: our own, or what the peer says.
    sender: Status,
    /// Files finished: our own count, or what the peer says.
    files: u64,
    /// What it costs the other end, as far as it told.
    there: Host,
    sending: bool,
    last: (Instant, u64),
    goodput_bps: f64,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            bytes: 0,
            there_bytes: 0,
            sender: Status::default(),
            files: 0,
            there: Host::default(),
            sending: false,
            last: (now, 0),
            goodput_bps: 0.0,
        }
    }

    /// The peer's figures, of which the half counts that this end cannot know.
    pub(super) fn note_peer(&mut self, status: Status) {
        self.there = status.host.clone();
        if self.sending {
            self.files = status.files;
        } else {
            self.sender = Status { files: 0, ..status };
        }
    }

    pub(super) fn note_sending(&mut self, status: Status, delivered_bytes: u64, there_bytes: u64) {
        self.sending = true;
        self.sender = status;
        self.bytes = delivered_bytes;
        self.there_bytes = there_bytes;
    }

    pub(super) fn note_receiving(&mut self, written_bytes: u64, there_bytes: u64, files: u64) {
        self.bytes = written_bytes;
        self.there_bytes = there_bytes;
        self.files = files;
    }

    /// The receiver has said what it has, which the counters may not show yet.
    pub(super) fn note_verdict(&mut self, verdict: &Verdict) {
        self.files = verdict.files;
        if verdict.ok && self.sender.scanned {
            self.bytes = self.sender.bytes_total.saturating_sub(self.there_bytes);
        }
    }

    /// The sender's latest figures.
    pub(super) fn sender(&self) -> Status {
        self.sender.clone()
    }

    /// What the other end last said of itself.
    pub(super) fn there(&self) -> Host {
        self.there.clone()
    }

    pub(super) fn progress(&mut self, now: Instant) -> Progress {
        // Counters of the engine include the list; the total is known before the list's length is.
        let got = self.bytes + self.there_bytes;
        let bytes = if self.sender.scanned {
            got.min(self.sender.bytes_total)
        } else {
            got
        };
        self.smooth(self.bytes, now);
        let left = self.sender.bytes_total.saturating_sub(bytes) as f64 * 8.0;
        let eta = (self.sender.scanned && self.goodput_bps > 1.0)
            .then(|| left / self.goodput_bps)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Progress {
            elapsed: now - self.began,
            bytes,
            bytes_total: self.sender.bytes_total,
            files: self.files,
            files_total: self.sender.files_total,
            scanned: self.sender.scanned,
            rate_bps: self.sender.rate_bps,
            goodput_bps: self.goodput_bps as u64,
            loss: f64::from(self.sender.loss_ppm) / 1e6,
            loss_floor: f64::from(self.sender.loss_floor_ppm) / 1e6,
            rtt: micros(self.sender.rtt_us),
            min_rtt: micros(self.sender.min_rtt_us),
            latest_rtt: micros(self.sender.latest_rtt_us),
            jitter: micros(self.sender.jitter_us),
            mode: self.sender.mode.to_string(),
            sent_bytes: self.sender.sent_bytes,
            retransmitted_bytes: self.sender.retransmitted_bytes,
            eta,
        }
    }

    fn smooth(&mut self, bytes: u64, now: Instant) {
        let (then, before) = self.last;
        let step = (now - then).as_secs_f64();
        if step <= 0.0 {
            return;
        }
        let sample = bytes.saturating_sub(before) as f64 * 8.0 / step;
        let age = (now - self.began)
            .as_secs_f64()
            .min(SMOOTHING.as_secs_f64());
        let weight = (step / age.max(step)).min(1.0);
        self.goodput_bps += weight * (sample - self.goodput_bps);
        self.last = (now, bytes);
    }
}

/// The sending engine's figures as the other end, or the user, hears them.
pub(super) fn status(snapshot: &Snapshot) -> Status {
    let Some(sender) = &snapshot.sender else {
        return Status::default();
    };
    let micros = |span: Duration| u32::try_from(span.as_micros()).unwrap_or(u32::MAX);
    Status {
        rate_bps: sender.rate_bps as u64,
        loss_ppm: (sender.loss * 1e6) as u32,
        loss_floor_ppm: (sender.loss_floor * 1e6) as u32,
        rtt_us: micros(sender.srtt),
        latest_rtt_us: micros(sender.latest_rtt),
        jitter_us: micros(sender.jitter),
        mode: Text::new(sender.mode.name()),
        sent_bytes: sender.sent_bytes,
        retransmitted_bytes: sender.retransmitted_bytes,
        bandwidth_bps: sender.estimates.bandwidth_bps as u64,
        min_rtt_us: micros(sender.min_rtt),
        ..Status::default()
    }
}

fn micros(count: u32) -> Duration {
    Duration::from_micros(count.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(bytes_total: u64, scanned: bool) -> Status {
        Status {
            bytes_total,
            scanned,
            ..Status::default()
        }
    }

    #[test]
    fn goodput_and_eta_follow_the_bytes() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let mut progress = meter.progress(start);
        for tenth in 1..=50u64 {
            meter.note_sending(status(10_000_000, true), tenth * 100_000, 0);
            progress = meter.progress(start + Duration::from_millis(tenth * 100));
        }
        assert_eq!(progress.bytes, 5_000_000);
        assert!(
            (7_900_000..8_100_000).contains(&progress.goodput_bps),
            "{progress:?}"
        );
        let eta = progress.eta.expect("known").as_secs_f64();
        assert!((4.9..5.1).contains(&eta), "{eta}");
    }

    #[test]
    fn nobody_guesses_the_end_before_the_scan_has_ended() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        meter.note_sending(status(10, false), 50, 0);
        let progress = meter.progress(start + Duration::from_secs(1));
        assert_eq!((progress.bytes, progress.eta), (50, None));
        meter.note_sending(status(40, true), 50, 0);
        assert_eq!(meter.progress(start + Duration::from_secs(2)).bytes, 40);
    }

    #[test]
    fn the_verdict_has_the_last_word() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let mut verdict = Verdict {
            ok: false,
            files: 2,
            bytes: 30,
            there_files: 0,
            there_bytes: 0,
            kept: 0,
            corrupt: 0,
            deleted: 0,
            failed: 1,
            ..Verdict::default()
        };
        meter.note_sending(status(40, true), 35, 0);
        meter.note_verdict(&verdict);
        let progress = meter.progress(start);
        assert_eq!((progress.files, progress.bytes), (2, 35));
        verdict.ok = true;
        meter.note_verdict(&verdict);
        assert_eq!(meter.progress(start).bytes, 40);
    }

    #[test]
    fn each_end_takes_from_the_other_what_it_cannot_know() {
        let start = Instant::now();
        let peer = Status {
            files: 3,
            ..status(77, true)
        };
        let mut sending = Meter::new(start);
        sending.note_sending(status(10, true), 5, 0);
        sending.note_peer(peer.clone());
        let progress = sending.progress(start);
        assert_eq!((progress.files, progress.bytes_total), (3, 10));

        let mut receiving = Meter::new(start);
        receiving.note_receiving(5, 0, 1);
        receiving.note_peer(peer);
        let progress = receiving.progress(start);
        assert_eq!((progress.files, progress.bytes_total), (1, 77));
    }
}
