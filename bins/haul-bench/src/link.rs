//! An emulated link as the command line tells of it.

use std::{str::FromStr, sync::Weak, thread, time::Duration};

use haul_wan::{Burst, Direction, Link, Policer, Reorder, Wan};

use crate::{
    amount::{Rate, Share, Size, Span},
    ladder::Place,
};

/// Where the near end moves to, one address after the other.
const MOVES_TO: [&str; 4] = ["10.77.0.11", "10.77.0.12", "10.77.0.13", "10.77.0.14"];
/// By how much a packet that is overtaken is late.
const OVERTAKEN_BY: Duration = Duration::from_millis(5);

/// The emulated link.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Link")]
pub(crate) struct LinkArgs {
    /// Bottleneck, bits per second
    #[arg(long, default_value = "300M", value_name = "RATE")]
    pub(crate) rate: Rate,
    /// Round-trip times
    #[arg(
        long,
        default_value = "100ms",
        value_delimiter = ',',
        value_name = "TIME,…"
    )]
    pub(crate) rtt: Vec<Span>,
    /// Random loss each way, percent
    #[arg(
        long,
        default_value = "0",
        value_delimiter = ',',
        value_name = "PERCENT,…"
    )]
    pub(crate) loss: Vec<Share>,
    /// Have packets lost in runs of this length on average
    #[arg(long, value_name = "PACKETS")]
    burst: Option<f64>,
    /// Time that the full queue before the bottleneck takes to drain
    #[arg(long, default_value = "50ms", value_name = "TIME")]
    pub(crate) queue: Span,
    /// Most jitter, each way
    #[arg(long, default_value = "0ms", value_name = "TIME")]
    jitter: Span,
    /// Packets that arrive twice, percent
    #[arg(long, default_value = "0", value_name = "PERCENT")]
    duplicate: Share,
    /// Packets that are overtaken, percent
    #[arg(long, default_value = "0", value_name = "PERCENT")]
    reorder: Share,
    /// Drop what comes faster than this, beyond what --policer-bucket holds
    #[arg(long, value_name = "RATE")]
    policer: Option<Rate>,
    /// Tokens of the policer
    #[arg(long, default_value = "150K", value_name = "SIZE")]
    policer_bucket: Size,
    /// Drop packets longer than this many bytes
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u64>,
    /// Tell senders of packets that are too long by ICMP
    #[arg(long)]
    tells_mtu: bool,
    /// Mark ECN-capable packets that would wait longer than this
    #[arg(long, value_name = "TIME")]
    mark_above: Option<Span>,
    /// Change the link while it runs: TIME:rate=RATE, TIME:loss=PERCENT, TIME:rtt=TIME, TIME:down,
    /// TIME:up, or TIME:move, which gives the near end another address
    #[arg(long, value_name = "TIME:CHANGE")]
    then: Vec<Change>,
    /// Seed of the network's randomness
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

impl LinkArgs {
    /// One of the grid's links; what is lost is lost in both directions.
    pub(crate) fn link(&self, rtt: Duration, loss: f64) -> Link {
        let mut link = Link::symmetric(self.rate.0, rtt, self.queue.0, loss);
        link.seed = self.seed;
        for direction in [&mut link.out, &mut link.back] {
            self.complete(direction);
        }
        link
    }

    fn complete(&self, direction: &mut Direction) {
        if let Some(length) = self.burst {
            direction.burst = Some(Burst::runs(direction.loss, length));
            direction.loss = 0.0;
        }
        direction.jitter = self.jitter.0;
        direction.duplicate = self.duplicate.0;
        direction.reorder = (self.reorder.0 > 0.0).then_some(Reorder {
            share: self.reorder.0,
            late_by: OVERTAKEN_BY,
        });
        direction.policer = self.policer.map(|rate| Policer {
            rate_bps: rate.0,
            bucket_bytes: self.policer_bucket.0,
        });
        direction.mtu = self.mtu.unwrap_or(direction.mtu);
        direction.tells_mtu = self.tells_mtu;
        direction.mark_above = self.mark_above.map(|span| span.0);
    }

    /// A link for each round-trip time and loss.
    pub(crate) fn grid(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for rtt in &self.rtt {
            for loss in &self.loss {
                let name = format!(
                    "{} Mbit/s, {} ms, {} % loss",
                    self.rate.0 as f64 / 1e6,
                    rtt.0.as_secs_f64() * 1e3,
                    loss.0 * 100.0
                );
                let link = self.link(rtt.0, loss.0);
                places.push(Place { name, link });
            }
        }
        places
    }

    /// What is to happen to a running link.
    pub(crate) fn changes(&self) -> Changes {
        let mut changes = self.then.clone();
        changes.sort_by_key(|change| change.at);
        Changes(changes)
    }
}

/// Something that happens to a link while it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Change {
    at: Duration,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Rate(u64),
    Loss(f64),
    Rtt(Duration),
    Down,
    Up,
    Move,
}

impl FromStr for Change {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str = "write a time and a change, such as 10s:rate=100M, 10s:down or 10s:move";
        let (at, what) = text.split_once(':').ok_or(HELP)?;
        let at = at.parse::<Span>()?.0;
        let what = match what.split_once('=') {
            None if what == "down" => What::Down,
            None if what == "up" => What::Up,
            None if what == "move" => What::Move,
            Some(("rate", rate)) => What::Rate(rate.parse::<Rate>()?.0),
            Some(("loss", loss)) => What::Loss(loss.parse::<Share>()?.0),
            Some(("rtt", rtt)) => What::Rtt(rtt.parse::<Span>()?.0),
            _ => return Err(HELP),
        };
        Ok(Self { at, what })
    }
}

impl What {
    fn apply(self, direction: &mut Direction) {
        match self {
            Self::Rate(rate_bps) => direction.rate_bps = Some(rate_bps),
            Self::Loss(loss) => direction.loss = loss,
            Self::Rtt(rtt) => direction.delay = rtt / 2,
            Self::Down => direction.is_down = true,
            Self::Up => direction.is_down = false,
            Self::Move => {}
        }
    }
}

/// Changes in the order of their times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes(Vec<Change>);

impl Changes {
    /// Makes them happen, counted from now, for as long as the link is there.
    pub(crate) fn begin(self, wan: Weak<Wan>, link: &Link) {
        if self.0.is_empty() {
            return;
        }
        let (mut out, mut back) = (link.out.clone(), link.back.clone());
        let mut addresses = MOVES_TO.into_iter().cycle();
        thread::spawn(move || {
            let mut passed = Duration::ZERO;
            for change in self.0 {
                thread::sleep(change.at - passed);
                passed = change.at;
                let Some(wan) = wan.upgrade() else {
                    return;
                };
                let done = match change.what {
                    What::Move => addresses
                        .next()
                        .map_or(Ok(()), |address| wan.move_near(address)),
                    what => {
                        what.apply(&mut out);
                        what.apply(&mut back);
                        wan.set(out.clone(), back.clone())
                    }
                };
                if let Err(error) = done {
                    eprintln!("the link did not change: {error}");
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_written_in_help() {
        let change = |text: &str| text.parse::<Change>().map(|c| (c.at.as_millis(), c.what));
        assert_eq!(
            change("10s:rate=100M"),
            Ok((10_000, What::Rate(100_000_000)))
        );
        assert_eq!(change("500ms:down"), Ok((500, What::Down)));
        assert_eq!(
            change("1s:rtt=40ms"),
            Ok((1000, What::Rtt(Duration::from_millis(40))))
        );
        assert_eq!(change("1s:loss=5%"), Ok((1000, What::Loss(0.05))));
        assert!(change("1s:rate").is_err());
        assert!(change("down").is_err());
    }
}
