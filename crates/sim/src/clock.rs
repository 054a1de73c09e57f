use haul_flow::Time;

/// A host's own clock: it began at another moment than the simulation and runs a little fast or
/// slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockConfig {
    /// What it shows when the simulation begins, in nanoseconds.
    pub offset_ns: u64,
    /// Parts per million it runs fast (positive) or slow. Crystals stay within ±100.
    pub drift_ppm: i32,
}

impl ClockConfig {
    /// What the clock shows at simulation time `now`.
    pub fn local(self, now: Time) -> Time {
        let drift = i128::from(now.0) * i128::from(self.drift_ppm) / 1_000_000;
        let local = i128::from(self.offset_ns) + i128::from(now.0) + drift;
        Time(u64::try_from(local).unwrap_or(u64::MAX))
    }

    /// The first simulation time at which the clock shows `local` or later.
    pub fn world(self, local: Time) -> Time {
        let since = i128::from(local.0) - i128::from(self.offset_ns);
        let scaled = since * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm));
        let mut world = Time(u64::try_from(scaled.max(0)).unwrap_or(u64::MAX));
        // Both divisions round; a timer that seems due a nanosecond early would spin.
        while self.local(world) < local && world.0 < u64::MAX {
            world.0 += 1;
        }
        world
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_never_fire_early() {
        for drift_ppm in [-100, -1, 0, 1, 100] {
            let clock = ClockConfig {
                offset_ns: 123_456_789,
                drift_ppm,
            };
            for n in 0..1000 {
                let due = Time(123_456_789 + n * 1_234_567);
                let world = clock.world(due);
                let local = clock.local(world);
                assert!(local >= due && local.0 <= due.0 + 2, "{due:?} {local:?}");
            }
        }
    }
}
