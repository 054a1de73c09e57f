use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{PacketNo, WireError, path};

/// Most ranges one report may carry; what does not fit goes into the next report of the burst.
pub const MAX_REPORT_RANGES: usize = 400;
/// Most arrival samples one report may carry.
pub const MAX_REPORT_SAMPLES: usize = 16;

/// What the receiver has, as of now. Cumulative and idempotent: losing reports costs only delay.
///
/// A report speaks of the packet numbers from `span_low` to `span_high`: those in `ranges` arrived,
/// the others have not (yet). Numbers outside the span are not spoken of. A receiver repeats a span
/// until a [`path::Sync`] releases it. On the wire the fields are postcard (little varints), ranges
/// and samples as differences, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Number of this report.
    pub seq: u32,
    /// Largest data packet number that has arrived.
    pub largest: PacketNo,
    /// Time from the arrival of `largest` to this report, in microseconds.
    pub largest_hold_us: u32,
    /// Receiver's clock when the newest data packet arrived, in microseconds since the session began.
    pub newest_at_us: u64,
    /// Data packets that had arrived by `newest_at_us`, duplicates of a number excluded.
    pub received_packets: u64,
    /// Bytes of those datagrams.
    pub received_bytes: u64,
    /// Of those packets, how many carried a block that had arrived already.
    pub duplicate_blocks: u64,
    /// Bytes that the writing stage has taken off the receiver's hands.
    pub written_bytes: u64,
    /// Bytes that the receiver can buffer now.
    pub free_bytes: u64,
    /// Data packets that arrived with the ECN mark ECT(0), "able".
    pub ecn_ect0: u64,
    /// Data packets that arrived with the ECN mark "congestion experienced".
    pub ecn_ce: u64,
    /// Largest key epoch seen on data (low eight bits).
    pub epoch: u8,
    /// The receiver asks for a new key epoch: too many forged datagrams were seen under this one.
    pub rekey: bool,
    /// Lowest packet number this report speaks of.
    pub span_low: PacketNo,
    /// Highest packet number this report speaks of.
    pub span_high: PacketNo,
    /// Ranges that arrived within the span: descending, disjoint, not adjacent.
    pub ranges: Vec<RangeInclusive<u64>>,
    /// Arrival times of some packets of the last interval: number and receiver's clock in microseconds.
    pub samples: Vec<(PacketNo, u64)>,
}

#[derive(Serialize, Deserialize)]
struct Encoded {
    seq: u32,
    largest: u64,
    largest_hold_us: u32,
    newest_at_us: u64,
    received_packets: u64,
    received_bytes: u64,
    duplicate_blocks: u64,
    written_bytes: u64,
    free_bytes: u64,
    ecn_ect0: u64,
    ecn_ce: u64,
    epoch: u8,
    rekey: bool,
    span_high: u64,
    /// `span_high - span_low`.
    span_len: u64,
    /// Descending: distance from the previous bound to the range's end, then its length minus one.
    ranges: Vec<(u64, u64)>,
    /// Distance below `span_high`, and microseconds before `newest_at_us`.
    samples: Vec<(u64, u64)>,
}

impl Report {
    /// Encodes into `out` and returns the length, or `None` when it does not fit.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut bound = self.span_high.0;
        let ranges = self.ranges.iter().map(|range| {
            let pair = (
                bound.saturating_sub(*range.end()),
                range.end() - range.start(),
            );
            bound = *range.start();
            pair
        });
        let encoded = Encoded {
            seq: self.seq,
            largest: self.largest.0,
            largest_hold_us: self.largest_hold_us,
            newest_at_us: self.newest_at_us,
            received_packets: self.received_packets,
            received_bytes: self.received_bytes,
            duplicate_blocks: self.duplicate_blocks,
            written_bytes: self.written_bytes,
            free_bytes: self.free_bytes,
            ecn_ect0: self.ecn_ect0,
            ecn_ce: self.ecn_ce,
            epoch: self.epoch,
            rekey: self.rekey,
            span_high: self.span_high.0,
            span_len: self.span_high.0.saturating_sub(self.span_low.0),
            ranges: ranges.collect(),
            samples: self
                .samples
                .iter()
                .map(|(packet, at_us)| {
                    (
                        self.span_high.0.saturating_sub(packet.0),
                        self.newest_at_us.saturating_sub(*at_us),
                    )
                })
                .collect(),
        };
        path::encode(&encoded, out)
    }

    /// Decodes a report; what follows it is padding.
    ///
    /// # Errors
    /// [`WireError`] when it does not parse, is larger than the limits, or its ranges leave the
    /// span, overlap or are not in order.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        const BAD: WireError = WireError::Range("report");
        let encoded: Encoded = path::decode("report", body)?;
        if encoded.ranges.len() > MAX_REPORT_RANGES || encoded.samples.len() > MAX_REPORT_SAMPLES {
            return Err(BAD);
        }
        if encoded.largest > PacketNo::MAX.0 || encoded.span_high > PacketNo::MAX.0 {
            return Err(BAD);
        }
        let span_low = encoded.span_high.checked_sub(encoded.span_len).ok_or(BAD)?;
        let mut ranges = Vec::with_capacity(encoded.ranges.len());
        let mut bound = encoded.span_high;
        for (index, (gap, len)) in encoded.ranges.iter().enumerate() {
            // Ranges that touch would be one range: after the first, the gap is at least two.
            if index > 0 && *gap < 2 {
                return Err(BAD);
            }
            let end = bound.checked_sub(*gap).ok_or(BAD)?;
            let start = end.checked_sub(*len).ok_or(BAD)?;
            if start < span_low {
                return Err(BAD);
            }
            ranges.push(start..=end);
            bound = start;
        }
        let mut samples = Vec::with_capacity(encoded.samples.len());
        for (below, before_us) in encoded.samples {
            let packet = encoded.span_high.checked_sub(below).ok_or(BAD)?;
            let at_us = encoded.newest_at_us.checked_sub(before_us).ok_or(BAD)?;
            samples.push((PacketNo(packet), at_us));
        }
        Ok(Self {
            seq: encoded.seq,
            largest: PacketNo(encoded.largest),
            largest_hold_us: encoded.largest_hold_us,
            newest_at_us: encoded.newest_at_us,
            received_packets: encoded.received_packets,
            received_bytes: encoded.received_bytes,
            duplicate_blocks: encoded.duplicate_blocks,
            written_bytes: encoded.written_bytes,
            free_bytes: encoded.free_bytes,
            ecn_ect0: encoded.ecn_ect0,
            ecn_ce: encoded.ecn_ce,
            epoch: encoded.epoch,
            rekey: encoded.rekey,
            span_low: PacketNo(span_low),
            span_high: PacketNo(encoded.span_high),
            ranges,
            samples,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        Report {
            seq: 9,
            largest: PacketNo(1000),
            largest_hold_us: 40,
            newest_at_us: 5_000_000,
            received_packets: 900,
            received_bytes: 900 * 1440,
            duplicate_blocks: 3,
            written_bytes: 1_200_000,
            free_bytes: 64 << 20,
            ecn_ect0: 900,
            ecn_ce: 0,
            epoch: 0,
            rekey: false,
            span_low: PacketNo(100),
            span_high: PacketNo(1000),
            ranges: vec![990..=1000, 500..=988, 100..=100],
            samples: vec![(PacketNo(1000), 5_000_000), (PacketNo(990), 4_999_000)],
        }
    }

    #[test]
    fn report_survives_the_round_trip() {
        let report = sample();
        let mut out = [0; 512];
        let len = report.encode(&mut out).expect("fits");
        assert!(len < 80, "{len}");
        assert_eq!(Report::decode(&out), Ok(report));
    }

    #[test]
    fn a_wish_for_new_keys_survives_the_round_trip() {
        let report = Report {
            epoch: 7,
            rekey: true,
            ..sample()
        };
        let mut out = [0; 512];
        report.encode(&mut out).expect("fits");
        assert_eq!(Report::decode(&out), Ok(report));
    }

    #[test]
    fn nothing_is_written_past_the_end() {
        assert_eq!(sample().encode(&mut [0; 10]), None);
    }

    #[test]
    fn w25_overlapping_inverted_and_escaping_ranges_are_refused() {
        for ranges in [
            vec![500..=1000, 500..=600],
            vec![500..=600, 700..=800],
            vec![50..=60],
            vec![500..=600, 400..=499],
        ] {
            let mut out = [0; 512];
            let report = Report {
                ranges: ranges.clone(),
                ..sample()
            };
            let len = report.encode(&mut out).expect("fits");
            assert_ne!(Report::decode(&out[..len]), Ok(report), "{ranges:?}");
        }
    }

    #[test]
    fn empty_report_is_fine() {
        let mut out = [0; 64];
        let len = Report::default().encode(&mut out).expect("fits");
        assert_eq!(Report::decode(&out[..len]), Ok(Report::default()));
    }
}
