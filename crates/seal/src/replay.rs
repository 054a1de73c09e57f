use haul_wire::PacketNo;

/// How far behind the newest packet a number may be and still be accepted.
pub(crate) const WINDOW_LEN: u64 = 65_536;

/// One word more than the window has: words are cleared whole when the window moves (RFC 6479), so
/// the oldest one may be half in use.
const WORDS: usize = (WINDOW_LEN / 64) as usize + 1;

/// Which packet numbers of one lane and epoch have been accepted.
///
/// A ring of bits; the word of number `n` is `n / 64` modulo the ring's length. Words ahead of the
/// newest number are cleared when the window reaches them.
pub(crate) struct ReplayWindow {
    words: Box<[u64; WORDS]>,
    newest: Option<u64>,
}

impl ReplayWindow {
    pub(crate) fn new() -> Self {
        Self {
            words: Box::new([0; WORDS]),
            newest: None,
        }
    }

    /// Whether this number may still be accepted. Changes nothing: run it before the tag is
    /// checked.
    pub(crate) fn is_fresh(&self, packet: PacketNo) -> bool {
        match self.newest {
            None => true,
            Some(newest) if packet.0 > newest => true,
            Some(newest) if newest - packet.0 >= WINDOW_LEN => false,
            Some(_) => self.words[word_of(packet.0)] & bit_of(packet.0) == 0,
        }
    }

    /// Records an authentic packet; `false` when its number has been accepted before or is too old.
    pub(crate) fn accept(&mut self, packet: PacketNo) -> bool {
        if !self.is_fresh(packet) {
            return false;
        }
        match self.newest {
            Some(newest) if packet.0 <= newest => {}
            newest => {
                self.advance(newest.unwrap_or(packet.0), packet.0);
                self.newest = Some(packet.0);
            }
        }
        self.words[word_of(packet.0)] |= bit_of(packet.0);
        true
    }

    fn advance(&mut self, from: u64, to: u64) {
        let steps = (to / 64 - from / 64).min(WORDS as u64);
        for step in 0..steps {
            self.words[word_of(to - 64 * step)] = 0;
        }
    }
}

fn word_of(packet: u64) -> usize {
    (packet / 64 % WORDS as u64) as usize
}

fn bit_of(packet: u64) -> u64 {
    1 << (packet % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::random::Random;

    #[test]
    fn duplicates_are_refused_once_accepted() {
        let mut window = ReplayWindow::new();
        assert!(window.is_fresh(PacketNo(7)) && window.accept(PacketNo(7)));
        assert!(!window.is_fresh(PacketNo(7)) && !window.accept(PacketNo(7)));
        assert!(window.accept(PacketNo(6)));
        assert!(!window.accept(PacketNo(6)));
    }

    #[test]
    fn the_edge_is_exact_at_every_alignment() {
        for offset in 0..130 {
            let mut window = ReplayWindow::new();
            let newest = 3 * WINDOW_LEN + offset;
            assert!(window.accept(PacketNo(newest)));
            assert!(!window.accept(PacketNo(newest - WINDOW_LEN)), "{offset}");
            assert!(window.accept(PacketNo(newest - WINDOW_LEN + 1)), "{offset}");
            assert!(!window.accept(PacketNo(newest - WINDOW_LEN + 1)));
        }
    }

    #[test]
    fn the_last_number_is_accepted_once() {
        let mut window = ReplayWindow::new();
        assert!(window.accept(PacketNo(0)));
        assert!(window.accept(PacketNo::MAX));
        assert!(!window.accept(PacketNo::MAX));
        assert!(!window.accept(PacketNo(0)));
    }

    #[test]
    fn it_agrees_with_a_plain_set() {
        let mut random = Random::announced();
        let (mut window, mut seen) = (ReplayWindow::new(), BTreeSet::new());
        let mut base = 0_u64;
        for step in 0..200_000 {
            base += match random.next() % 1000 {
                0 => random.next() % (3 * WINDOW_LEN),
                _ => random.next() % 40,
            };
            let packet = base.saturating_sub(random.next() % (WINDOW_LEN + WINDOW_LEN / 8));
            let newest = seen.last().copied().unwrap_or(0);
            let expected = packet + WINDOW_LEN > newest && !seen.contains(&packet);
            assert_eq!(window.accept(PacketNo(packet)), expected, "step {step}");
            if expected {
                seen.insert(packet);
                seen = match seen.len() {
                    len if len > 300_000 => seen.split_off(&newest.saturating_sub(WINDOW_LEN)),
                    _ => seen,
                };
            }
        }
    }
}
