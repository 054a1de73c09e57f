//! The sending half: what goes next, when, and what became of it.
//!
//! ```text
//! handle_had ──────────┐
//! handle_available ─► Work ─► poll_plan ─► Ledger ─► handle_sent
//!                      ▲         ▲            │
//!              lost    │         │ Pacer      │ handle_report: arrived / absent
//!                      └─────────┼─ LossDetector ◄─┘
//!                                └─ RatePolicy ◄─ Meter, Rtt
//! ```

mod chase;
mod credit;
mod ecn;
mod ledger;
mod loss;
mod meter;
mod pacer;
mod parts;
mod path;
mod plans;
mod pmtu;
mod reports;
mod rtt;
mod sync;
mod timers;
mod watch;
mod work;

use arrayvec::ArrayVec;
use haul_wire::{BlockAddr, BlockNo, PacketCounter, PacketNo, Stream};

use crate::{
    Decision, FlowError, Policy, RateConfig, RatePolicy, Remembered, SenderConfig, SenderStats,
    Time,
    random::Random,
    rate::{self, Carried},
};
use chase::Chase;
use credit::Credit;
use ecn::Ecn;
pub use ecn::{EcnFault, EcnState};
use ledger::{Arrived, Ledger, Packet};
use loss::{Evidence, LossDetector};
use meter::Meter;
use pacer::Pacer;
use pmtu::Pmtu;
use rtt::Rtt;
use sync::SyncClock;
use watch::Watch;
use work::Work;

/// Decides what the next batch holds and when it leaves; learns from reports what arrived.
///
/// # Call order
///
/// 1. [`Self::handle_available`] whenever blocks come to exist, [`Self::handle_complete`] once;
///    [`Self::handle_had`] whenever the receiver says what it has already.
/// 2. [`Self::poll_plan`] until `None`; each plan is sealed, sent at or after its `release_at`,
///    then told by [`Self::handle_sent`], in any order of plans.
/// 3. [`Self::poll_sync`] and [`Self::poll_probe`] until `None`; each is sealed and sent at once.
/// 4. [`Self::handle_report`] for each authenticated report; an error ends the session.
///    [`Self::handle_echo`] for each authenticated echo.
/// 5. Sleep until [`Self::poll_timeout`] or an input; at a time-out [`Self::handle_timeout`], then
///    from 2. on. [`Self::failure`] says when to stop trying, [`Self::is_delivered`] when done.
///
/// # Limits
///
/// 4 Mi packets unresolved or watched, 4 Mi blocks ahead of the oldest missing one, 1 Mi ranges of
/// blocks that the receiver has and that are still to come, credit by what
/// the receiver says; repeats beyond losses at most 1 % of the losses or one bandwidth-delay product,
/// plus two packets per probe time-out.
#[derive(Debug)]
pub struct Sender {
    config: SenderConfig,
    /// Latest time any call named: time never runs backwards here.
    clock: Time,
    numbers: PacketCounter,
    ledger: Ledger,
    work: Work,
    chase: Chase,
    recovery: Recovery,
    timing: Timing,
    path: PathState,
    credit: Credit,
    meter: Meter,
    policy: Box<dyn RatePolicy>,
    totals: Totals,
    failure: Option<FlowError>,
    scratch: Scratch,
}

/// How losses are found.
#[derive(Debug)]
struct Recovery {
    detector: LossDetector,
    /// What the last report proved.
    evidence: Option<Evidence>,
    /// The largest packet known to have arrived, and when it was sent.
    largest: Option<(PacketNo, Time)>,
    /// Blocks to be sent at once to make the receiver speak.
    probes: ArrayVec<BlockAddr, 2>,
}

/// What is known of the path itself.
#[derive(Debug)]
struct PathState {
    pmtu: Pmtu,
    /// In how many parts blocks are planned.
    parts: usize,
    ecn: Ecn,
}

/// Everything that knows when.
#[derive(Debug)]
struct Timing {
    rtt: Rtt,
    pacer: Pacer,
    watch: Watch,
    sync: SyncClock,
}

#[derive(Debug, Default)]
struct Totals {
    sent_packets: u64,
    sent_bytes: u64,
    retransmitted_packets: u64,
    retransmitted_bytes: u64,
    lost_packets: u64,
    spurious_losses: u64,
    delivered_blocks: u64,
    reports: u64,
    pto_count: u64,
}

/// Kept between reports so that none allocates.
#[derive(Debug, Default)]
struct Scratch {
    arrived: Vec<Arrived>,
    lost: Vec<Packet>,
}

impl Sender {
    /// Begins a session in which nothing has been sent.
    ///
    /// # Errors
    /// [`FlowError::Config`] or [`FlowError::RateRequired`].
    pub fn new(config: SenderConfig, now: Time) -> Result<Self, FlowError> {
        config.validate()?;
        let rtt = Rtt::new(config.initial_rtt, now);
        let mut random = Random::new(config.seed);
        let phase = random.unit();
        let seed = random.next_u64();
        let rate_config = rate_config(&config, config.remembered, &rtt, seed, now);
        let policy = decider(&config, rate_config)?;
        let burst = policy.burst_max();
        Ok(Self {
            clock: now,
            numbers: PacketCounter::new(),
            ledger: Ledger::new(config.segment_len),
            work: Work::new(config.waits_for_judgement),
            chase: Chase::default(),
            recovery: Recovery {
                detector: LossDetector::new(now),
                evidence: None,
                largest: None,
                probes: ArrayVec::new(),
            },
            timing: Timing {
                pacer: Pacer::new(phase, burst, now),
                watch: Watch::new(now),
                sync: SyncClock::new(now),
                rtt,
            },
            path: PathState {
                pmtu: Pmtu::new(config.segment_len, random),
                parts: 1,
                ecn: Ecn::new(config.ecn && config.policy != Policy::Fixed),
            },
            credit: Credit::new(config.segment_len, config.free_bytes_initial, now),
            meter: Meter::new(config.segment_len, now),
            policy,
            totals: Totals::default(),
            failure: None,
            scratch: Scratch::default(),
            config,
        })
    }

    /// Blocks 0 to below `blocks` of the stream exist and may be sent. Only grows; fewer than
    /// before is ignored. After [`Self::handle_complete`] only the list may still grow, as long as
    /// content has not been delivered: a file may turn out to have changed while it was being read.
    pub fn handle_available(&mut self, stream: Stream, blocks: u64) {
        self.work.set_available(stream, blocks);
    }

    /// No further content will come to exist, and no further list but what
    /// [`Self::handle_available`] describes.
    pub fn handle_complete(&mut self) {
        self.work.set_complete();
        self.timing.sync.hasten();
    }

    /// The receiver has content from before. `ranges` are half-open: the number of the first block it
    /// has and of the first it has not, in any order, repeated and overlapping at will, also of blocks
    /// that do not exist yet; inverted and empty ones are ignored, and so is what exceeds the limit of
    /// ranges remembered, which is then sent in vain. `judged`: it has decided about all blocks below,
    /// which may be sent from now on; a smaller number than before is ignored.
    ///
    /// What it has is not planned any more, and counts as arrived once all before it has been planned,
    /// so [`Self::delivered_floor`] may rise by any number of blocks at once. Must be authenticated and
    /// true: what it wrongly claims to have, nobody sends.
    pub fn handle_had(&mut self, ranges: &[(u64, u64)], judged: u64, now: Time) {
        self.tick(now);
        self.totals.delivered_blocks += self.work.arrive_had(ranges, judged);
        self.rest_when_settled();
    }

    /// Changes the user's limits: `target_bps` is the rate for `fixed` (`None` leaves it as it is)
    /// and a ceiling for the others (`None` lifts it). A target of 0 counts as `None`.
    pub fn set_rate(&mut self, target_bps: Option<u64>, min_bps: u64, now: Time) {
        let now = self.tick(now);
        let target_bps = target_bps.filter(|bps| *bps > 0);
        if target_bps.is_some() || self.config.policy != Policy::Fixed {
            self.config.rate_target_bps = target_bps;
        }
        self.config.rate_min_bps = min_bps;
        let target = self.config.rate_target_bps.map(|bps| bps as f64);
        self.policy.set_limits(target, min_bps as f64, now);
    }

    /// Changes who decides the rate. The new policy begins with the bandwidth that the old one had
    /// found.
    ///
    /// # Errors
    /// As [`Self::new`]; the old policy goes on then.
    pub fn set_policy(&mut self, policy: Policy, now: Time) -> Result<(), FlowError> {
        let now = self.tick(now);
        let seed = Random::new(self.config.seed ^ now.0).next_u64();
        let rtt = &self.timing.rtt;
        let found = self.policy.estimates().bandwidth_bps;
        // A memory counts for half; what is known now counts in full.
        let known = (found > 0.0).then(|| Remembered {
            rate_bps: 2.0 * found,
            min_rtt: rtt.min(),
        });
        let config = rate_config(&self.config, known, rtt, seed, now);
        let asked = SenderConfig {
            policy,
            ..self.config
        };
        self.policy = decider(&asked, config)?;
        self.config = asked;
        if policy == Policy::Fixed {
            self.path.ecn.switch_off();
        }
        Ok(())
    }

    /// All blocks of the stream below this one have arrived.
    pub fn delivered_floor(&self, stream: Stream) -> BlockNo {
        self.work.floor(stream)
    }

    /// Whether [`Self::handle_complete`] was called and every block has arrived.
    pub fn is_delivered(&self) -> bool {
        self.work.is_delivered()
    }

    /// Why the session must end; `None` while it may go on.
    pub fn failure(&self) -> Option<FlowError> {
        self.failure
    }

    /// Next line of the rate policy's trace.
    pub fn poll_trace(&mut self) -> Option<Decision> {
        self.policy.poll_trace()
    }

    /// Copies the facts.
    pub fn stats(&self) -> SenderStats {
        let totals = &self.totals;
        let block_len = (self.config.segment_len - haul_wire::SEGMENT_OVERHEAD) as u64;
        let rtt = &self.timing.rtt;
        SenderStats {
            sent_packets: totals.sent_packets,
            sent_bytes: totals.sent_bytes,
            retransmitted_packets: totals.retransmitted_packets,
            retransmitted_bytes: totals.retransmitted_bytes,
            lost_packets: totals.lost_packets,
            spurious_losses: totals.spurious_losses,
            delivered_blocks: totals.delivered_blocks,
            delivered_bytes: totals.delivered_blocks * block_len,
            had_blocks: self.work.had_count(),
            had_bytes: self.work.had_count() * block_len,
            in_flight_bytes: self.ledger.in_flight_bytes(),
            credit_bytes: self.credit_bytes(),
            srtt: rtt.srtt(),
            min_rtt: rtt.min(),
            latest_rtt: rtt.latest(),
            jitter: rtt.variation(),
            rate_bps: self.rate_bps(),
            loss: self.meter.loss(),
            policy: self.config.policy,
            mode: self.policy.mode(),
            loss_floor: self.policy.loss_floor(),
            estimates: self.policy.estimates(),
            reports: totals.reports,
            pto_count: totals.pto_count,
            datagram_len: self.datagram_len(),
            path_falls: self.path.pmtu.falls(),
            ecn: self.path.ecn.state(),
        }
    }

    /// The policy's rate, made safe to divide by.
    fn rate_bps(&self) -> f64 {
        self.policy.rate_bps().max(1.0)
    }

    fn tick(&mut self, now: Time) -> Time {
        self.clock = self.clock.max(now);
        self.clock
    }
}

/// Who decides the rate: the policy asked for, unless a connection does.
fn decider(config: &SenderConfig, limits: RateConfig) -> Result<Box<dyn RatePolicy>, FlowError> {
    let carried = config.carried_bytes.map(|_| Carried::new(&limits));
    let asked = rate::policy(config.policy, limits)?;
    Ok(match carried {
        Some(carried) => Box::new(carried),
        None => asked,
    })
}

fn rate_config(
    config: &SenderConfig,
    remembered: Option<Remembered>,
    rtt: &Rtt,
    seed: u64,
    now: Time,
) -> RateConfig {
    RateConfig {
        now,
        remembered,
        target_bps: config.rate_target_bps.map(|bps| bps as f64),
        min_bps: config.rate_min_bps as f64,
        initial_rtt: rtt.srtt(),
        segment_len: config.segment_len,
        seed,
    }
}

#[cfg(test)]
mod tests;
