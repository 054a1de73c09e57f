use std::{collections::VecDeque, time::Duration};

use haul_wire::{
    SEGMENT_OVERHEAD, part_len, parts_needed,
    path::{BASE_DATAGRAM_LEN, Probe},
};

use super::rtt::Rtt;
use crate::{Time, random::Random};

/// Rounds in which short probes come back and long ones do not, before the long ones are believed
/// to be too long (MAX_PROBES of RFC 8899, section 5.1.2),
const ROUNDS_MIN: u32 = 3;
/// more where so many packets are lost that this could be chance,
const ROUNDS_MAX: u32 = 12;
/// at most with this probability.
const CHANCE_MAX: f64 = 1e-3;
/// How long to wait before a path that has shrunk is tried again (PMTU_RAISE_TIMER of RFC 8899,
/// section 5.1.1, which has 600 s: most transfers would be over),
const RAISE_FIRST: Duration = Duration::from_secs(30);
/// twice as long each time it fails, up to this.
const RAISE_MAX: Duration = Duration::from_secs(600);
/// Least and greatest distance of two rounds of probes.
const ROUND_MIN: Duration = Duration::from_millis(20);
const ROUND_MAX: Duration = Duration::from_secs(1);
/// Probes that are remembered; an echo of an older one says nothing any more.
const PROBES_MAX: usize = 64;

/// Datagram packetization layer path MTU discovery (RFC 8899): which datagrams the path carries
/// while data flows.
///
/// ```text
///            probe time-out, path changed              short ones come back, long ones do not
///  Steady ────────────────────────────────► Doubt ─────────────────────────────────────────┐
///    ▲ ▲     a long one came back             │                                             │
///    │ └──────────────────────────────────────┘             the local host refuses length   ▼
///    │  nothing longer comes back, or the longest does    ──────────────────────────────► Search
///    └────────────────────────────────────────────────────────────────────────────────────┘
/// ```
///
/// Only lengths that matter are tried: those of a block's 1, 2, 3 … parts. Probes are not data, so
/// their loss is no sign of congestion (section 3).
#[derive(Debug)]
pub(crate) struct Pmtu {
    block_len: usize,
    /// In how many parts a block travels now: 1 on a path that is what it was when it was opened.
    parts: usize,
    /// In how many it travels where hardly anything gets through.
    parts_max: usize,
    phase: Phase,
    raise_wait: Duration,
    tokens: Random,
    /// What has been sent in this phase: token and number of parts.
    probes: VecDeque<(u64, usize)>,
    /// What is to be sent now: numbers of parts.
    outbox: VecDeque<usize>,
    falls: u64,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Nothing to find out before then, if ever.
    Steady { raise_at: Option<Time> },
    /// Does the path still carry what it carried?
    Doubt(Round),
    /// What does it carry, from so few parts on?
    Search { round: Round, least: usize },
}

#[derive(Debug, Clone, Copy)]
struct Round {
    /// Rounds that count, so far.
    count: u32,
    next_at: Time,
    /// Doubt: whether this round's short probe has come back.
    short_came: bool,
}

impl Round {
    fn first(now: Time) -> Self {
        Self {
            count: 0,
            next_at: now,
            short_came: false,
        }
    }
}

impl Pmtu {
    /// `segment_len` is the length of a datagram that carries a whole block, which the path did when
    /// it was opened.
    pub(crate) fn new(segment_len: usize, tokens: Random) -> Self {
        let block_len = segment_len - SEGMENT_OVERHEAD;
        Self {
            block_len,
            parts: 1,
            parts_max: parts_needed(block_len, BASE_DATAGRAM_LEN).unwrap_or(1),
            phase: Phase::Steady { raise_at: None },
            raise_wait: RAISE_FIRST,
            tokens,
            probes: VecDeque::with_capacity(PROBES_MAX),
            outbox: VecDeque::new(),
            falls: 0,
        }
    }

    /// In how many parts a block must travel now.
    pub(crate) fn parts(&self) -> usize {
        self.parts
    }

    /// Length of the datagrams that carry a block or a part of one.
    pub(crate) fn datagram_len(&self) -> usize {
        self.len(self.parts)
    }

    /// How often the path has shrunk.
    pub(crate) fn falls(&self) -> u64 {
        self.falls
    }

    /// Something makes believe that long datagrams do not arrive any more.
    pub(crate) fn doubt(&mut self, now: Time) {
        if self.parts < self.parts_max && matches!(self.phase, Phase::Steady { .. }) {
            self.enter(Phase::Doubt(Round::first(now)));
        }
    }

    /// A datagram of the present length arrived.
    pub(crate) fn on_arrival(&mut self, now: Time) {
        if let Phase::Doubt(_) = self.phase {
            self.settle(now);
        }
    }

    /// This host itself refuses to send so long a datagram.
    pub(crate) fn on_too_big(&mut self, datagram_len: usize, now: Time) {
        if datagram_len >= self.datagram_len() && self.parts < self.parts_max {
            self.fall(now);
        }
    }

    /// A probe came back. Unknown tokens are ignored.
    pub(crate) fn on_echo(&mut self, token: u64, now: Time) {
        let Some(at) = self.probes.iter().position(|(sent, _)| *sent == token) else {
            return;
        };
        let (_, parts) = self.probes.swap_remove_back(at).unwrap_or_default();
        match self.phase {
            Phase::Doubt(_) if parts <= self.parts => self.settle(now),
            Phase::Doubt(round) => {
                self.phase = Phase::Doubt(Round {
                    short_came: true,
                    ..round
                });
            }
            Phase::Search { least, .. } if parts < self.parts => {
                self.parts = parts;
                if parts <= least {
                    self.settle(now);
                }
            }
            Phase::Search { .. } | Phase::Steady { .. } => {}
        }
    }

    /// Does what is due. `loss` is the share of packets that are lost anyway.
    pub(crate) fn handle_timeout(&mut self, rtt: &Rtt, loss: f64, now: Time) {
        if self.deadline().is_none_or(|at| at > now) {
            return;
        }
        let next_at = now
            + rtt
                .probe_timeout()
                .clamp(ROUND_MIN, ROUND_MAX.max(rtt.srtt()));
        match self.phase {
            Phase::Steady { .. } => {
                self.raise_wait = (self.raise_wait * 2).min(RAISE_MAX);
                self.search(1, now);
            }
            Phase::Doubt(round) => {
                let count = round.count + u32::from(round.short_came);
                if count >= rounds(loss) {
                    return self.fall(now);
                }
                self.outbox = [self.parts, self.parts_max].into();
                self.phase = Phase::Doubt(Round {
                    count,
                    next_at,
                    short_came: false,
                });
            }
            Phase::Search { round, least } => {
                if round.count >= rounds(loss) {
                    return self.settle(now);
                }
                self.outbox = (least..self.parts).collect();
                let round = Round {
                    count: round.count + 1,
                    next_at,
                    ..round
                };
                self.phase = Phase::Search { round, least };
            }
        }
    }

    /// When to call [`Self::handle_timeout`].
    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Steady { raise_at } => raise_at,
            Phase::Doubt(round) | Phase::Search { round, .. } => Some(round.next_at),
        }
    }

    /// Whether a probe is to be sent now.
    pub(crate) fn has_probe(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The next probe to send.
    pub(crate) fn poll_probe(&mut self) -> Option<Probe> {
        let parts = self.outbox.pop_front()?;
        let token = self.tokens.next_u64();
        if self.probes.len() == PROBES_MAX {
            self.probes.pop_front();
        }
        self.probes.push_back((token, parts));
        Some(Probe {
            datagram_len: self.len(parts) as u16,
            token,
        })
    }

    fn fall(&mut self, now: Time) {
        let failed = self.parts;
        self.falls += 1;
        self.parts = self.parts_max;
        self.raise_wait = RAISE_FIRST;
        self.search(failed + 1, now);
    }

    fn search(&mut self, least: usize, now: Time) {
        let round = Round::first(now);
        self.enter(Phase::Search { round, least });
        if least >= self.parts {
            self.settle(now);
        }
    }

    fn settle(&mut self, now: Time) {
        if self.parts == 1 {
            self.raise_wait = RAISE_FIRST;
        }
        let raise_at = (self.parts > 1).then(|| now + self.raise_wait);
        self.enter(Phase::Steady { raise_at });
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.probes.clear();
        self.outbox.clear();
    }

    fn len(&self, parts: usize) -> usize {
        part_len(self.block_len, parts) + SEGMENT_OVERHEAD
    }
}

/// How many probes in a row may be lost by chance.
fn rounds(loss: f64) -> u32 {
    if !(0.0..1.0).contains(&loss) || loss == 0.0 {
        return ROUNDS_MIN;
    }
    let needed = (CHANCE_MAX.ln() / loss.ln()).ceil();
    (needed as u32).clamp(ROUNDS_MIN, ROUNDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSS: f64 = 0.0;

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    fn rtt() -> Rtt {
        Rtt::new(Duration::from_millis(20), Time::ZERO)
    }

    fn pmtu(segment_len: usize) -> Pmtu {
        Pmtu::new(segment_len, Random::new(1))
    }

    /// Passes time on a path that echoes probes of up to `carries` bytes at once.
    fn run(pmtu: &mut Pmtu, carries: usize, from_ms: u64, to_ms: u64) -> usize {
        let mut probes = 0;
        for ms in from_ms..to_ms {
            pmtu.handle_timeout(&rtt(), LOSS, at(ms));
            while let Some(probe) = pmtu.poll_probe() {
                probes += 1;
                if usize::from(probe.datagram_len) <= carries {
                    pmtu.on_echo(probe.token, at(ms));
                }
            }
        }
        probes
    }

    #[test]
    fn a_path_that_is_as_it_was_is_not_doubted_for_long() {
        let mut pmtu = pmtu(1_472);
        assert_eq!(run(&mut pmtu, 1_472, 0, 1_000), 0, "nothing asks");
        pmtu.doubt(at(1_000));
        assert_eq!(run(&mut pmtu, 1_472, 1_000, 90_000), 1);
        assert_eq!((pmtu.parts(), pmtu.falls()), (1, 0));
        pmtu.doubt(at(90_000));
        pmtu.on_arrival(at(90_000));
        assert_eq!(run(&mut pmtu, 0, 90_000, 95_000), 0, "data has answered");
    }

    #[test]
    fn a_black_hole_is_found_after_three_rounds_and_the_longest_way_through_used() {
        let mut pmtu = pmtu(8_928);
        pmtu.doubt(at(0));
        run(&mut pmtu, 1_500, 0, 1_000);
        assert_eq!(pmtu.falls(), 1);
        assert_eq!((pmtu.parts(), pmtu.datagram_len()), (7, 1_312));
    }

    #[test]
    fn what_shrank_is_tried_again_ever_more_seldom_and_grows_to_the_old_length_only() {
        let mut pmtu = pmtu(1_472);
        pmtu.doubt(at(0));
        run(&mut pmtu, 1_400, 0, 1_000);
        assert_eq!((pmtu.parts(), pmtu.datagram_len()), (2, 768));
        assert_eq!(run(&mut pmtu, 1_400, 1_000, 29_000), 0);
        assert_eq!(run(&mut pmtu, 1_400, 29_000, 32_000), 3, "a search fails");
        assert_eq!(run(&mut pmtu, 1_400, 32_000, 89_000), 0, "a minute");
        run(&mut pmtu, 9_000, 89_000, 95_000);
        assert_eq!((pmtu.parts(), pmtu.datagram_len()), (1, 1_472));
    }

    #[test]
    fn a_dead_path_is_no_black_hole() {
        let mut pmtu = pmtu(1_472);
        pmtu.doubt(at(0));
        run(&mut pmtu, 0, 0, 20_000);
        assert_eq!(pmtu.falls(), 0);
        run(&mut pmtu, 1_472, 20_000, 21_500);
        assert_eq!((pmtu.parts(), pmtu.falls()), (1, 0));
    }

    #[test]
    fn what_the_host_refuses_needs_no_proof() {
        let mut pmtu = pmtu(1_472);
        pmtu.on_too_big(900, at(0));
        assert_eq!(pmtu.parts(), 1, "something else was refused");
        pmtu.on_too_big(1_472, at(0));
        assert_eq!(pmtu.parts(), 2);
        pmtu.on_too_big(1_472, at(1));
        assert_eq!(pmtu.falls(), 1, "what was under way already");
    }

    #[test]
    fn on_a_lossy_path_three_losses_prove_nothing() {
        assert_eq!(rounds(0.0), 3);
        assert_eq!(rounds(0.1), 3);
        assert_eq!(rounds(0.3), 6);
        assert_eq!(rounds(0.99), ROUNDS_MAX);
        assert_eq!(rounds(f64::NAN), ROUNDS_MIN);
    }
}
