use haul_wire::{MAX_REPORT_SAMPLES, PacketNo};

use crate::Time;

/// A few arrival times of the current report interval, evenly spread over it however many packets
/// arrive: the first packet of every n-th burst, n doubling when there are too many.
#[derive(Debug)]
pub(crate) struct Samples {
    kept: Vec<(PacketNo, Time)>,
    last_at: Option<Time>,
    every: u32,
    until_next: u32,
}

impl Samples {
    pub(crate) fn new() -> Self {
        Self {
            kept: Vec::with_capacity(MAX_REPORT_SAMPLES),
            last_at: None,
            every: 1,
            until_next: 0,
        }
    }

    /// Notes an arrival. Packets that one system call returned share their time and are one burst:
    /// only the first of them was not delayed by the others.
    pub(crate) fn add(&mut self, packet: PacketNo, at: Time) {
        if self.last_at.replace(at) == Some(at) {
            return;
        }
        if self.until_next > 0 {
            self.until_next -= 1;
            return;
        }
        // One place is kept free for the last arrival of the interval.
        if self.kept.len() == MAX_REPORT_SAMPLES - 1 {
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every *= 2;
        }
        self.kept.push((packet, at));
        self.until_next = self.every - 1;
    }

    /// Takes the samples for a report and begins a new interval. `newest` is the last arrival.
    pub(crate) fn take(&mut self, newest: (PacketNo, Time)) -> Vec<(PacketNo, u64)> {
        let is_new = self.last_at.take().is_some();
        if is_new && self.kept.last() != Some(&newest) {
            self.kept.push(newest);
        }
        self.every = 1;
        self.until_next = 0;
        self.kept
            .drain(..)
            .map(|(packet, at)| (packet, at.as_micros()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_arrivals_are_thinned_evenly() {
        let mut samples = Samples::new();
        for number in 0..10_000 {
            samples.add(PacketNo(number), Time(number * 1_000));
        }
        let taken = samples.take((PacketNo(9_999), Time(9_999_000)));
        assert!((8..=MAX_REPORT_SAMPLES).contains(&taken.len()), "{taken:?}");
        assert_eq!(taken[0], (PacketNo(0), 0));
        assert_eq!(taken.last(), Some(&(PacketNo(9_999), 9_999)));
        let gaps: Vec<u64> = taken.windows(2).map(|two| two[1].1 - two[0].1).collect();
        assert!(gaps.iter().all(|gap| *gap <= 1_024), "{gaps:?}");
        assert!(samples.take((PacketNo(9_999), Time(9_999_000))).is_empty());
    }

    #[test]
    fn a_burst_gives_its_first() {
        let mut samples = Samples::new();
        for number in 0..40 {
            samples.add(PacketNo(number), Time(1_000 * (number / 10)));
        }
        let taken = samples.take((PacketNo(39), Time(3_000)));
        let numbers: Vec<u64> = taken.iter().map(|(packet, _)| packet.0).collect();
        assert_eq!(numbers, [0, 10, 20, 30, 39]);
    }
}
