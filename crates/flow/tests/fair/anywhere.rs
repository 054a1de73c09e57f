//! Random paths: whatever they are like, nothing may go badly wrong.

use crate::{
    bottleneck::{Path, World},
    host::Random,
};

/// A path drawn from the seed: 2 Mbit/s to 1 Gbit/s, 2 to 300 ms, 0.02 to 4 BDP of buffer.
pub fn draw(seed: u64) -> Path {
    let mut random = Random::new(seed ^ 0x5eed);
    let mut between = |low: f64, high: f64| low * (high / low).powf(random.unit());
    let rate = between(2e6, 1e9);
    let rtt = between(0.002, 0.300);
    let buffer = between(0.02, 4.0);
    let jitter = between(0.000_01, 0.25 * rtt);
    let loss = between(0.000_1, 0.30);
    let mut path = Path::new(rate, rtt, buffer, 0.0, seed);
    if random.unit() < 0.6 {
        path.loss = loss;
    }
    if random.unit() < 0.3 {
        path.jitter = jitter;
    }
    if random.unit() < 0.2 {
        path.policer = Some((0.5 * rate, (0.05 * rate / 8.0 * rtt).max(20e3)));
    }
    path.bursts = random.unit() < 0.3 && path.buffer > 0.003 * rate / 8.0;
    path
}

/// How one random path went.
pub struct Outcome {
    /// Of C·(1−p).
    pub share: f64,
    /// Loss beyond the path's own.
    pub excess: f64,
    /// The floor beyond the path's own loss.
    pub above: f64,
    pub text: String,
}

impl Outcome {
    /// Nobody would complain.
    pub fn is_good(&self) -> bool {
        self.share > 0.85 && self.excess < 0.10 && self.above < 0.05
    }

    /// Not good, but a few packets per round trip with much random loss and a bucket of a few
    /// packets can hardly be told from overload.
    pub fn is_bearable(&self) -> bool {
        self.share > 0.75 && self.excess < 0.35
    }
}

pub fn judge(seed: u64) -> Outcome {
    let path = draw(seed);
    let from = (40.0 * path.rtt).max(3.0);
    let to = from + (40.0 * path.rtt).clamp(4.0, 12.0);
    let capacity = path.policer.map_or(path.rate, |policer| policer.0);
    let world = World::single(path.clone()).run(to);
    let goodput = world.goodput(0, from, to);
    let share = goodput / (capacity * (1.0 - path.loss));
    let excess = 1.0 - goodput / world.sent(0, from, to) - path.loss;
    let above = world.flows[0].loss_floor() - path.loss;
    Outcome {
        share,
        excess,
        above,
        text: format!("seed {seed}: share {share:.3}, excess {excess:.3}, {above:.3}\n{path:?}"),
    }
}

#[test]
fn random_paths_are_used_without_harm() {
    let outcomes: Vec<Outcome> = (1..=80).map(judge).collect();
    let texts = |keep: fn(&Outcome) -> bool| -> Vec<&str> {
        let kept = outcomes.iter().filter(|outcome| keep(outcome));
        kept.map(|outcome| outcome.text.as_str()).collect()
    };
    let unbearable = texts(|outcome| !outcome.is_bearable());
    assert!(unbearable.is_empty(), "\n{}", unbearable.join("\n"));
    let poor = texts(|outcome| !outcome.is_good());
    assert!(
        poor.len() <= 4,
        "{} of 80:\n{}",
        poor.len(),
        poor.join("\n")
    );
}
