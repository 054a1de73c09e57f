//! Several flows, each with a round trip of its own, through one bottleneck.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use haul_flow::{Policy, Time};

use super::{
    haul::Haul,
    readings::{BIN, Readings, Series},
    tcp::{Kind, Tcp},
};
use crate::{
    link::{Fate, Link, LinkConfig, LossCause},
    loss::Loss,
    rng::Rng,
};

/// How often the queue is looked at.
const QUEUE_EVERY: Duration = Duration::from_millis(5);

/// One simulation: a bottleneck, its changes, and the flows through it.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// The bottleneck both in rate and in queue, in bytes of IP; its delay is nil.
    pub(super) link: LinkConfig,
    /// Share of reports lost on the way back.
    pub(super) report_loss: f64,
    /// While these last nothing comes back.
    pub(super) deaf: Vec<std::ops::Range<Time>>,
    pub(super) flows: Vec<FlowSetup>,
    pub(super) changes: Vec<(Duration, Change)>,
    pub(super) length: Duration,
}

/// What changes on the path, for all flows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Rate(f64),
    Loss(f64),
    /// One-way delay on top of what every flow has.
    Delay(Duration),
}

/// One flow.
#[derive(Debug, Clone, Copy)]
pub(super) struct FlowSetup {
    pub(super) who: Who,
    pub(super) start: Duration,
    pub(super) rtt: Duration,
}

/// Who sends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    Haul {
        policy: Policy,
        target_bps: Option<u64>,
        datagram_len: usize,
        /// `None`: without end.
        blocks: Option<u64>,
    },
    Tcp(Kind),
}

impl Setup {
    /// A path of `rate_bps` and `rtt` with a queue of `queue_bdp` and random loss, and no flow.
    pub(super) fn path(rate_bps: f64, rtt: Duration, queue_bdp: f64, loss: f64) -> Self {
        let in_flight = rate_bps / 8.0 * rtt.as_secs_f64();
        let mut link = LinkConfig::clean(rate_bps as u64, Duration::ZERO);
        link.queue_bytes = ((in_flight * queue_bdp) as u64).max(3000);
        link.loss = Loss::Random(loss);
        Self {
            link,
            report_loss: 0.0,
            deaf: Vec::new(),
            flows: Vec::new(),
            changes: Vec::new(),
            length: Duration::ZERO,
        }
    }

    /// The same with one more flow.
    pub(super) fn with(mut self, who: Who, start_s: f64, rtt: Duration) -> Self {
        let start = Duration::from_secs_f64(start_s);
        self.flows.push(FlowSetup { who, start, rtt });
        self
    }

    /// The same, this long.
    pub(super) fn lasting(mut self, seconds: f64) -> Self {
        self.length = Duration::from_secs_f64(seconds);
        self
    }
}

/// An endless flow of the policy.
pub(super) fn haul(policy: Policy) -> Who {
    Who::Haul {
        policy,
        target_bps: None,
        datagram_len: 1472,
        blocks: None,
    }
}

/// A datagram on its way to the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Parcel {
    pub(super) load: Load,
    pub(super) bytes: u32,
    pub(super) sent_at: Time,
}

/// What a datagram carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Load {
    Data {
        number: u64,
        block: u64,
    },
    /// The sync of haul with this ordinal.
    Sync(u64),
    /// Haul's probe of the path's length, with this token.
    Probe(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive(usize, Parcel),
    /// An acknowledgement of this data comes back to the flow's sender.
    Ack(usize, u64),
    /// The oldest answer under way comes back to the flow's sender.
    Answer(usize),
    Change(usize),
    Look,
}

/// Either kind of flow, seen by the world.
#[derive(Debug)]
enum Flow {
    Haul(Box<Haul>),
    Tcp(Box<Tcp>),
}

impl Flow {
    fn poll_timeout(&self) -> Time {
        match self {
            Self::Haul(haul) => haul.poll_timeout(),
            Self::Tcp(tcp) => tcp.poll_timeout(),
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Parcel>) {
        match self {
            Self::Haul(haul) => haul.handle_timeout(now, out),
            Self::Tcp(tcp) => tcp.handle_timeout(now, out),
        }
    }
}

struct World<'a> {
    setup: &'a Setup,
    now: Time,
    link: Link,
    extra: Duration,
    flows: Vec<Flow>,
    due: BinaryHeap<Reverse<(Time, u64, Event)>>,
    order: u64,
    rng: Rng,
    series: Vec<Series>,
    queue_ms: Vec<f32>,
    out: Vec<Parcel>,
}

/// Runs the setup; the same seed gives the same readings.
pub(super) fn simulate(setup: &Setup, seed: u64) -> Readings {
    let rng = Rng::new(seed);
    let flows = setup.flows.iter().zip(10..).map(|(flow, label)| {
        let begin = Time::ZERO + flow.start;
        match flow.who {
            Who::Haul { .. } => Flow::Haul(Box::new(Haul::new(flow, begin, &rng.fork(label)))),
            Who::Tcp(kind) => Flow::Tcp(Box::new(Tcp::new(kind, flow.rtt, begin, rng.fork(label)))),
        }
    });
    let mut world = World {
        setup,
        now: Time::ZERO,
        link: Link::new(setup.link.clone(), rng.fork(1)),
        extra: Duration::ZERO,
        flows: flows.collect(),
        due: BinaryHeap::new(),
        order: 0,
        rng: rng.fork(2),
        series: setup.flows.iter().map(|_| Series::default()).collect(),
        queue_ms: Vec::new(),
        out: Vec::new(),
    };
    for (n, (at, _)) in setup.changes.iter().enumerate() {
        world.push(Time::ZERO + *at, Event::Change(n));
    }
    world.push(Time::ZERO, Event::Look);
    world.run();
    Readings {
        flows: world.series,
        queue_ms: world.queue_ms,
        queue_every: QUEUE_EVERY,
        length: world.now - Time::ZERO,
    }
}

impl World<'_> {
    fn push(&mut self, at: Time, event: Event) {
        self.order += 1;
        self.due.push(Reverse((at, self.order, event)));
    }

    fn run(&mut self) {
        let end = Time::ZERO + self.setup.length;
        while self.now < end && !self.is_finished() {
            let timers = self.flows.iter().map(Flow::poll_timeout).enumerate();
            let (flow, timer) = timers.min_by_key(|(_, at)| *at).unwrap_or((0, Time::MAX));
            let event = self.due.peek().map_or(Time::MAX, |Reverse((at, ..))| *at);
            self.now = self.now.max(timer.min(event));
            if event <= timer {
                if let Some(Reverse((_, _, event))) = self.due.pop() {
                    self.perform(event);
                }
            } else {
                self.flows[flow].handle_timeout(self.now, &mut self.out);
                self.send(flow);
            }
        }
        for (flow, series) in self.flows.iter().zip(&mut self.series) {
            if let Flow::Haul(haul) = flow {
                haul.read(series);
            }
        }
    }

    /// Whether every flow that has an end has come to it.
    fn is_finished(&self) -> bool {
        self.flows.iter().all(|flow| match flow {
            Flow::Haul(haul) => haul.is_finished(),
            Flow::Tcp(_) => false,
        })
    }

    fn perform(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Arrive(flow, parcel) => {
                if matches!(parcel.load, Load::Data { .. }) {
                    self.series[flow].arrived(now, u64::from(parcel.bytes));
                }
                match (&mut self.flows[flow], parcel.load) {
                    (Flow::Haul(haul), _) => haul.handle_parcel(parcel.load, now),
                    (Flow::Tcp(_), Load::Data { number, .. }) => {
                        let back = now + self.setup.flows[flow].rtt / 2;
                        self.push(back, Event::Ack(flow, number));
                    }
                    (Flow::Tcp(_), _) => (),
                }
                self.send(flow);
            }
            Event::Ack(flow, number) => {
                if let Flow::Tcp(tcp) = &mut self.flows[flow] {
                    tcp.handle_ack(number, now, &mut self.out);
                }
                self.send(flow);
            }
            Event::Answer(flow) => {
                if let Flow::Haul(haul) = &mut self.flows[flow] {
                    haul.handle_answer(now, &mut self.out);
                }
                self.send(flow);
            }
            Event::Change(n) => match self.setup.changes[n].1 {
                Change::Rate(bps) => self.link.change(|link| link.rate_bps = bps as u64),
                Change::Loss(share) => self.link.change(|link| link.loss = Loss::Random(share)),
                Change::Delay(extra) => self.extra = extra,
            },
            Event::Look => {
                self.queue_ms.push(self.link.wait(now).as_secs_f32() * 1e3);
                self.push(now + QUEUE_EVERY, Event::Look);
            }
        }
    }

    /// Puts what the flow has to send on the path, and its receiver's answers on the way back.
    fn send(&mut self, flow: usize) {
        let (now, rtt) = (self.now, self.setup.flows[flow].rtt);
        let mut out = std::mem::take(&mut self.out);
        for parcel in out.drain(..) {
            let series = &mut self.series[flow];
            series.sent += u64::from(matches!(parcel.load, Load::Data { .. }));
            match self.link.carry(parcel.bytes as usize, now) {
                Fate::Lost(LossCause::Queue) => series.dropped(now),
                Fate::Lost(_) => (),
                Fate::Once(arrival) | Fate::Twice(arrival, _) => {
                    let at = arrival.at + rtt / 2 + self.extra;
                    self.push(at, Event::Arrive(flow, parcel));
                }
            }
        }
        self.out = out;
        let Flow::Haul(haul) = &mut self.flows[flow] else {
            return;
        };
        let mut answers = 0;
        while let Some(answer) = haul.poll_answer(now) {
            let is_lost = self.rng.chance(self.setup.report_loss)
                || self.setup.deaf.iter().any(|deaf| deaf.contains(&now));
            if !is_lost {
                haul.answers.push_back(answer);
                answers += 1;
            }
        }
        for _ in 0..answers {
            self.push(now + rtt / 2, Event::Answer(flow));
        }
    }
}

const _: () = assert!(BIN.as_millis() > QUEUE_EVERY.as_millis());
