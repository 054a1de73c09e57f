use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use haul_flow::{ReceiverStats, SenderStats, Time};
use haul_wire::{BLOCK_ADDR_LEN, BlockAddr};

use crate::{
    check::{QUIET_WINDOW, SETTLE},
    datagram::{Datagram, soonest},
    fact::{Fact, TraceHash},
    link::{Arrival, Fate, Link, LossCause},
    observer::{Observer, Printer},
    receive::ReceivingHost,
    rng::Rng,
    scenario::Scenario,
    send::SendingHost,
    tally::Tally,
    violation::Violation,
};

/// Steps at one instant that no honest course needs: a burst of arrivals has fewer.
const STEPS_AT_ONCE: u32 = 100_000;

/// How a simulation went.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was promised and not kept, first.
    pub violation: Option<Violation>,
    /// The course it took.
    pub trace: TraceHash,
    /// What happened, in numbers.
    pub tally: Tally,
    /// What the sender says.
    pub sender: SenderStats,
    /// What the receiver says.
    pub receiver: ReceiverStats,
}

/// Runs a scenario to its end; the printer, if any, sees every fact.
///
/// # Errors
/// [`Violation::Refused`] when the machines do not accept the scenario.
pub fn run<'a>(scenario: &'a Scenario, printer: Option<Printer<'a>>) -> Result<Outcome, Violation> {
    let mut world = World::new(scenario, printer)?;
    world.run();
    let sender = world.sender.machine().stats();
    let receiver = world.receiver.machine().stats();
    let (trace, tally, violation) = world.observer.finish();
    Ok(Outcome {
        violation: violation.or_else(|| miscount(&tally, &sender, &receiver)),
        trace,
        tally,
        sender,
        receiver,
    })
}

/// What people are shown must be what happened.
fn miscount(tally: &Tally, sender: &SenderStats, receiver: &ReceiverStats) -> Option<Violation> {
    let counts = [
        ("packets sent", sender.sent_packets, tally.sent),
        (
            "packets received",
            receiver.received_packets + receiver.repeated_packets,
            tally.arrived,
        ),
        ("reports made", receiver.reports, tally.reports),
    ];
    counts
        .into_iter()
        .find(|(_, said, really)| said != really)
        .map(|(what, said, really)| Violation::Miscounted { what, said, really })
}

/// Runs a scenario twice: the second run must take the course of the first.
///
/// # Errors
/// As [`run`].
pub fn run_twice(scenario: &Scenario) -> Result<Outcome, Violation> {
    let first = run(scenario, None)?;
    let second = run(scenario, None)?;
    if first.violation.is_none() && first != second {
        return Ok(Outcome {
            violation: Some(Violation::Nondeterministic),
            ..first
        });
    }
    Ok(first)
}

/// Both hosts, the two directions between them, and the time.
#[derive(Debug)]
struct World<'a> {
    scenario: &'a Scenario,
    now: Time,
    sender: SendingHost,
    receiver: ReceivingHost,
    forward: Link,
    reverse: Link,
    transit: Transit,
    /// How many transmissions of the last content block will still be lost.
    aimed: u32,
    observer: Observer<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Sender,
    Receiver,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, printer: Option<Printer<'a>>) -> Result<Self, Violation> {
        let rng = Rng::new(scenario.seed);
        Ok(Self {
            now: Time::ZERO,
            sender: SendingHost::new(scenario, &rng)?,
            receiver: ReceivingHost::new(scenario),
            forward: Link::new(scenario.forward.clone(), rng.fork(3)),
            reverse: Link::new(scenario.reverse.clone(), rng.fork(4)),
            transit: Transit::default(),
            aimed: scenario.lose_last_block,
            observer: Observer::new(scenario, printer),
            scenario,
        })
    }

    fn run(&mut self) {
        let deadline = self.scenario.deadline();
        let mut end = None;
        let mut steps_at_once = 0;
        loop {
            if self.observer.violation().is_some() || self.sender.has_failed() {
                return;
            }
            if self.sender.is_delivered() && end.is_none() {
                end = Some(self.now + self.watched_after_delivery());
            }
            let timers = [
                self.transit.next_at(),
                self.sender.poll_timeout(),
                self.receiver.poll_timeout(),
            ];
            let Some(next) = soonest(timers) else {
                return self.end_without_events(end.is_some());
            };
            if end.is_some_and(|end| next > end) {
                return;
            }
            if next > deadline && end.is_none() {
                return self.hang(deadline);
            }
            steps_at_once = if next > self.now {
                0
            } else {
                steps_at_once + 1
            };
            if steps_at_once > STEPS_AT_ONCE {
                return self.observer.violated(Violation::Spins(self.now));
            }
            self.now = self.now.max(next);
            self.step();
        }
    }

    /// One arrival, or the timers that are due.
    fn step(&mut self) {
        let now = self.now;
        if let Some((side, datagram)) = self.transit.poll_arrival(now) {
            match side {
                Side::Sender => self
                    .sender
                    .handle_datagram(&datagram, now, &mut self.observer),
                Side::Receiver => self
                    .receiver
                    .handle_datagram(&datagram, now, &mut self.observer),
            }
        }
        if self.sender.poll_timeout().is_some_and(|due| due <= now) {
            self.sender.handle_timeout(now, &mut self.observer);
        }
        if self.receiver.poll_timeout().is_some_and(|due| due <= now) {
            self.receiver.handle_timeout(now, &mut self.observer);
        }
        while let Some(datagram) = self.sender.poll_datagram() {
            self.carry(datagram, Side::Receiver);
        }
        while let Some(datagram) = self.receiver.poll_datagram(now, &mut self.observer) {
            self.carry(datagram, Side::Sender);
        }
    }

    fn carry(&mut self, datagram: Datagram, to: Side) {
        let link = match to {
            Side::Receiver => &mut self.forward,
            Side::Sender => &mut self.reverse,
        };
        let fate = match self.aimed > 0 && is_last_block(self.scenario, &datagram) {
            true => {
                self.aimed -= 1;
                Fate::Lost(LossCause::Aimed)
            }
            false => link.carry(datagram.len(), self.now),
        };
        match fate {
            Fate::Lost(cause) => self.lose(&datagram, cause),
            Fate::Once(arrival) => self.transport(arrival, to, datagram),
            Fate::Twice(first, second) => {
                self.transport(first, to, datagram.clone());
                self.transport(second, to, datagram);
            }
        }
    }

    /// A damaged datagram is dropped where its tag is checked; nothing there changes by it, so the
    /// loss may as well be noted now.
    fn transport(&mut self, arrival: Arrival, to: Side, datagram: Datagram) {
        if arrival.damaged {
            self.lose(&datagram, LossCause::Damage);
        } else {
            if let (Datagram::Data { packet, .. }, true) = (&datagram, !arrival.held.is_zero()) {
                let (packet, held) = (*packet, arrival.held);
                self.observer.note(self.now, Fact::Held { packet, held });
            }
            self.transit.push(arrival.at, to, datagram);
        }
    }

    fn lose(&mut self, datagram: &Datagram, cause: LossCause) {
        let fact = match datagram {
            Datagram::Data { packet, .. } => Fact::Lost {
                packet: *packet,
                cause,
            },
            Datagram::Sync(_) | Datagram::Probe(_) => Fact::SyncLost(cause),
            Datagram::Report(_) | Datagram::Echo(_) => Fact::ReportLost(cause),
        };
        self.observer.note(self.now, fact);
    }

    /// How long the run goes on after delivery, for the check of quiet.
    fn watched_after_delivery(&self) -> Duration {
        SETTLE + self.scenario.rtt_max() * 8 + QUIET_WINDOW
    }

    fn end_without_events(&mut self, delivered: bool) {
        if !delivered {
            self.observer.violated(Violation::Deadlock {
                arrived: self.receiver.arrived(),
                blocks: self.scenario.content.blocks(),
            });
        }
    }

    fn hang(&mut self, deadline: Time) {
        self.observer.violated(Violation::Hang {
            after: deadline - Time::ZERO,
            arrived: self.receiver.arrived(),
            blocks: self.scenario.content.blocks(),
        });
    }
}

fn is_last_block(scenario: &Scenario, datagram: &Datagram) -> bool {
    let Datagram::Data { body, .. } = datagram else {
        return false;
    };
    let last = scenario.content.content_blocks.saturating_sub(1);
    body[..BLOCK_ADDR_LEN] == BlockAddr::content(last).encode()
}

/// Datagrams under way, soonest first; those that arrive together in the order they were sent.
#[derive(Debug, Default)]
struct Transit {
    order: u64,
    due: BinaryHeap<Reverse<(Time, u64, Side, usize)>>,
    slots: Vec<Option<Datagram>>,
    free: Vec<usize>,
}

impl Transit {
    fn push(&mut self, at: Time, to: Side, datagram: Datagram) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(datagram);
        self.due.push(Reverse((at, self.order, to, slot)));
        self.order += 1;
    }

    fn next_at(&self) -> Option<Time> {
        self.due.peek().map(|Reverse((at, ..))| *at)
    }

    fn poll_arrival(&mut self, now: Time) -> Option<(Side, Datagram)> {
        self.next_at().filter(|at| *at <= now)?;
        let Reverse((_, _, side, slot)) = self.due.pop()?;
        self.free.push(slot);
        self.slots[slot].take().map(|datagram| (side, datagram))
    }
}
