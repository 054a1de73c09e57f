use std::collections::VecDeque;

/// Most bytes that are read ahead of what has been delivered: what a pipe gives cannot be read again,
/// so this by the round trip is as fast as it goes (5 Gbit/s at 100 ms).
const SPOOL_BYTES_MAX: usize = 64 << 20;

/// Bytes of a pipe, from the first that may have to be sent (again).
#[derive(Debug, Default)]
pub(super) struct Spool {
    /// Where the first of `bytes` is.
    first: u64,
    bytes: VecDeque<u8>,
}

impl Spool {
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= SPOOL_BYTES_MAX
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Copies what is at `start`. What has been released is zeros: nobody needs it any more.
    pub(super) fn copy(&self, start: u64, into: &mut [u8]) {
        let Some(at) = start.checked_sub(self.first) else {
            return into.fill(0);
        };
        let (front, back) = self.bytes.as_slices();
        let at = at as usize;
        let mut copied = 0;
        for (slice, at) in [(front, at), (back, at.saturating_sub(front.len()))] {
            let slice = slice.get(at..).unwrap_or_default();
            let len = slice.len().min(into.len() - copied);
            into[copied..copied + len].copy_from_slice(&slice[..len]);
            copied += len;
        }
    }

    /// Forgets the bytes before this one.
    pub(super) fn release(&mut self, floor: u64) {
        let gone = floor.saturating_sub(self.first) as usize;
        let gone = gone.min(self.bytes.len());
        self.bytes.drain(..gone);
        self.first += gone as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_where_they_were_put_until_they_are_released() {
        let mut spool = Spool::default();
        let byte = |at: u64| (at % 251) as u8;
        let mut put = 0_u64;
        let mut released = 0;
        for step in 0..2000_u64 {
            let more: Vec<u8> = (put..put + step % 97).map(byte).collect();
            spool.push(&more);
            put += more.len() as u64;
            let len = (put - released).min(50) as usize;
            let mut found = vec![0; len];
            spool.copy(put - len as u64, &mut found);
            let expected: Vec<u8> = (put - len as u64..put).map(byte).collect();
            assert_eq!(found, expected, "step {step}");
            spool.copy(released, &mut found);
            assert_eq!(found.first().copied(), (len > 0).then(|| byte(released)));
            if step % 3 == 0 {
                released += (put - released) / 2;
                spool.release(released);
            }
        }
        assert!(put > 10_000 && spool.bytes.len() < 1000);
    }
}
