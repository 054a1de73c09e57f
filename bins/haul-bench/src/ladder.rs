//! Links with names: what paths of their kind are like, each with a plain drop-tail queue.

use std::time::Duration;

use haul_wan::{Burst, Direction, Link};

use crate::report::Run;

/// A link and what to call it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) link: Link,
}

impl Place {
    pub(crate) fn run(&self, name: impl Into<String>) -> Run {
        Run::new(&self.name, name)
    }
}

/// A link of the ladder. Loss, queue and jitter are those of each direction.
struct Rung {
    name: &'static str,
    about: &'static str,
    out_mbps: u64,
    back_mbps: u64,
    /// Without queues.
    rtt_us: u64,
    /// Time the full queue takes to drain.
    queue_ms: u64,
    /// Share of packets.
    loss: f64,
    /// Mean length of a run of losses, in packets; 1: each by itself.
    burst: f64,
    jitter_ms: u64,
}

const LADDER: [Rung; 7] = [
    Rung {
        name: "lan",
        about: "a switched office network",
        out_mbps: 500,
        back_mbps: 500,
        rtt_us: 500,
        queue_ms: 10,
        loss: 0.0,
        burst: 1.0,
        jitter_ms: 0,
    },
    Rung {
        name: "metro",
        about: "fibre across a city",
        out_mbps: 500,
        back_mbps: 500,
        rtt_us: 8_000,
        queue_ms: 20,
        loss: 0.0001,
        burst: 1.0,
        jitter_ms: 0,
    },
    Rung {
        name: "transatlantic",
        about: "London to New York over shared transit",
        out_mbps: 300,
        back_mbps: 300,
        rtt_us: 80_000,
        queue_ms: 50,
        loss: 0.001,
        burst: 1.0,
        jitter_ms: 1,
    },
    Rung {
        name: "transpacific",
        about: "Los Angeles to Singapore over shared transit",
        out_mbps: 300,
        back_mbps: 300,
        rtt_us: 180_000,
        queue_ms: 50,
        loss: 0.01,
        burst: 1.0,
        jitter_ms: 2,
    },
    Rung {
        name: "geostationary",
        about: "a satellite that stands still in the sky",
        out_mbps: 50,
        back_mbps: 50,
        rtt_us: 600_000,
        queue_ms: 200,
        loss: 0.01,
        burst: 3.0,
        jitter_ms: 5,
    },
    Rung {
        name: "lossy-lte",
        about: "a mobile at the edge of its cell",
        out_mbps: 20,
        back_mbps: 50,
        rtt_us: 60_000,
        queue_ms: 300,
        loss: 0.02,
        burst: 4.0,
        jitter_ms: 10,
    },
    Rung {
        name: "satellite-leo",
        about: "satellites that pass by overhead",
        out_mbps: 40,
        back_mbps: 150,
        rtt_us: 45_000,
        queue_ms: 60,
        loss: 0.01,
        burst: 8.0,
        jitter_ms: 8,
    },
];

/// The links of these names; `ladder` names all.
pub(crate) fn named(names: &[String], seed: u64) -> anyhow::Result<Vec<Place>> {
    let mut places = Vec::new();
    for name in names {
        let found: Vec<&Rung> = LADDER
            .iter()
            .filter(|rung| name == "ladder" || rung.name == name)
            .collect();
        if found.is_empty() {
            let known: Vec<&str> = LADDER.iter().map(|rung| rung.name).collect();
            anyhow::bail!(
                "no link is called {name}; there are {} and ladder, which is all of them",
                known.join(", ")
            );
        }
        places.extend(found.into_iter().map(|rung| rung.place(seed)));
    }
    Ok(places)
}

/// The ladder in words, for --help.
pub(crate) fn described() -> String {
    let mut text = String::from("Named links:\n");
    for rung in &LADDER {
        let Rung {
            name,
            about,
            out_mbps,
            back_mbps,
            queue_ms,
            jitter_ms,
            ..
        } = rung;
        let (rtt, loss) = (rung.rtt_us as f64 / 1e3, rung.loss * 100.0);
        let bursts = if rung.burst > 1.0 {
            format!(" in runs of {}", rung.burst)
        } else {
            String::new()
        };
        text.push_str(&format!(
            "  {name:14} {about}: {out_mbps} Mbit/s up, {back_mbps} down, {rtt} ms,\n{:17}\
             {loss} % loss{bursts}, queue {queue_ms} ms, jitter {jitter_ms} ms\n",
            ""
        ));
    }
    text.push_str("  ladder         all of them");
    text
}

impl Rung {
    fn place(&self, seed: u64) -> Place {
        Place {
            name: self.name.to_owned(),
            link: Link {
                out: self.direction(self.out_mbps),
                back: self.direction(self.back_mbps),
                device_mtu: 1500,
                seed,
            },
        }
    }

    fn direction(&self, mbps: u64) -> Direction {
        let queue = Duration::from_millis(self.queue_ms).as_secs_f64();
        let rate_bps = mbps * 1_000_000;
        Direction {
            rate_bps: Some(rate_bps),
            queue_bytes: (rate_bps as f64 / 8.0 * queue) as u64,
            delay: Duration::from_micros(self.rtt_us) / 2,
            jitter: Duration::from_millis(self.jitter_ms),
            loss: if self.burst > 1.0 { 0.0 } else { self.loss },
            burst: (self.burst > 1.0).then(|| Burst::runs(self.loss, self.burst)),
            ..Direction::default()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rungs_lose_the_share_they_say() {
        let places = named(&["ladder".to_owned()], 1).unwrap();
        assert_eq!(places.len(), LADDER.len());
        for (place, rung) in places.iter().zip(&LADDER) {
            let off = (place.link.out.mean_loss() - rung.loss).abs();
            assert!(off < 1e-9, "{}: {off}", place.name);
        }
        assert!(named(&["moon".to_owned()], 1).is_err());
    }
}
