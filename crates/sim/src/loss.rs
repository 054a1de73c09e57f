use crate::rng::Rng;

/// How a link loses datagrams on its own account, independent of its queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// Each datagram by itself, with this probability.
    Random(f64),
    /// Gilbert-Elliott (Gilbert 1960, Elliott 1963): a good state, which loses nothing, and a bad.
    Bursty {
        /// Probability, per datagram, of falling from good to bad.
        enter: f64,
        /// Probability, per datagram, of recovering: bursts last 1/leave datagrams on average.
        leave: f64,
        /// Probability that a datagram is lost in the bad state.
        in_bad: f64,
    },
}

impl Loss {
    /// A link that loses nothing by itself.
    pub const NONE: Self = Self::Random(0.0);

    /// Long-run share of datagrams lost.
    pub fn mean(self) -> f64 {
        match self {
            Self::Random(share) => share,
            Self::Bursty {
                enter,
                leave,
                in_bad,
            } => in_bad * enter / (enter + leave),
        }
    }
}

/// The state of one link's [`Loss`].
#[derive(Debug)]
pub(crate) struct LossProcess {
    model: Loss,
    bad: bool,
}

impl LossProcess {
    pub(crate) fn new(model: Loss) -> Self {
        Self { model, bad: false }
    }

    /// Goes on under another model, in the state it is in.
    pub(crate) fn set_model(&mut self, model: Loss) {
        self.model = model;
    }

    /// Whether the next datagram is lost.
    pub(crate) fn strikes(&mut self, rng: &mut Rng) -> bool {
        match self.model {
            Loss::Random(share) => rng.chance(share),
            Loss::Bursty {
                enter,
                leave,
                in_bad,
            } => {
                let flip = if self.bad { leave } else { enter };
                self.bad ^= rng.chance(flip);
                self.bad && rng.chance(in_bad)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(model: Loss) -> (f64, f64) {
        let (mut process, mut rng) = (LossProcess::new(model), Rng::new(3));
        let (mut lost, mut bursts, mut before) = (0u32, 0u32, false);
        for _ in 0..2_000_000 {
            let now = process.strikes(&mut rng);
            lost += u32::from(now);
            bursts += u32::from(now && !before);
            before = now;
        }
        (
            f64::from(lost) / 2_000_000.0,
            f64::from(lost) / f64::from(bursts),
        )
    }

    #[test]
    fn both_models_lose_their_mean() {
        let bursty = Loss::Bursty {
            enter: 0.002,
            leave: 0.05,
            in_bad: 0.9,
        };
        for model in [Loss::Random(0.1), bursty] {
            let (share, _) = measured(model);
            assert!(
                (share / model.mean() - 1.0).abs() < 0.1,
                "{model:?} {share}"
            );
        }
        assert!(measured(bursty).1 > 5.0, "losses come in bursts");
        assert!(measured(Loss::Random(0.1)).1 < 1.3, "losses come alone");
    }
}
