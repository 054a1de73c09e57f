use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use haul_wire::{Header, Lane};

/// The largest packet numbers that have arrived, by lane: only what is newer than everything before
/// can say that the peer has moved, since an old datagram may come from anywhere (RFC 9000, section
/// 9.3).
#[derive(Debug, Default)]
pub(crate) struct Newest([AtomicU64; Lane::COUNT]);

impl Newest {
    /// Notes the headers of an authentic batch; whether one of them is the newest of its lane.
    pub(crate) fn note(&self, headers: impl Iterator<Item = Header>) -> bool {
        let mut ends = [0; Lane::COUNT];
        for header in headers {
            if let Some(end) = ends.get_mut(usize::from(header.lane.0)) {
                *end = header.packet.0.saturating_add(1).max(*end);
            }
        }
        let lanes = self.0.iter().zip(ends);
        lanes.fold(false, |is_newest, (lane, end)| {
            let is_newer = end > 0 && lane.fetch_max(end, Relaxed) < end;
            is_newest | is_newer
        })
    }
}
