use haul_wire::PacketNo;

use super::*;

const SEGMENT_LEN: usize = 1_250;
const TARGET_BPS: f64 = 1e8;
const STEP: Duration = Duration::from_millis(10);
const RTT: Duration = Duration::from_millis(50);

/// A path that carries `capacity_bps` and loses `loss` of what it carries.
struct Path {
    fixed: Fixed,
    sample: Sample,
    sent: f64,
    arrived: f64,
}

impl Path {
    fn new(min_bps: f64) -> Self {
        let config = RateConfig {
            now: Time::ZERO,
            target_bps: Some(TARGET_BPS),
            min_bps,
            initial_rtt: RTT,
            remembered: None,
            segment_len: SEGMENT_LEN,
            seed: 1,
        };
        Self {
            fixed: Fixed::new(TARGET_BPS, config),
            sample: Sample {
                now: Time::ZERO,
                srtt: RTT,
                min_rtt: RTT,
                latest_rtt: Some(RTT),
                interval: STEP,
                newest_at: Time::ZERO,
                received_packets: 0,
                received_bytes: 0,
                largest: PacketNo(0),
                largest_sent_at: Time::ZERO,
                min_owd_ns: Some(0),
                next_packet: PacketNo(0),
                segment_len: SEGMENT_LEN,
                app_limited: false,
                ecn_ce: 0,
            },
            sent: 0.0,
            arrived: 0.0,
        }
    }

    fn run(&mut self, seconds: u64, capacity_bps: f64, loss: f64) -> &Fixed {
        for _ in 0..seconds * 100 {
            let bits = SEGMENT_LEN as f64 * 8.0;
            let sent = self.fixed.rate_bps() * STEP.as_secs_f64() / bits;
            let carried = sent.min(capacity_bps * STEP.as_secs_f64() / bits);
            self.sent += sent;
            self.arrived += carried * (1.0 - loss);
            let sample = &mut self.sample;
            sample.now += STEP;
            sample.newest_at += STEP;
            sample.largest_sent_at += STEP;
            sample.largest = PacketNo(self.sent as u64);
            sample.next_packet = PacketNo(self.sent as u64 + 1);
            sample.received_packets = self.arrived as u64;
            sample.received_bytes = sample.received_packets * SEGMENT_LEN as u64;
            self.fixed.on_sample(sample);
        }
        &self.fixed
    }

    fn whys(&mut self) -> Vec<Why> {
        std::iter::from_fn(|| self.fixed.poll_trace().map(|line| line.why)).collect()
    }
}

#[test]
fn the_rate_is_the_target_whatever_is_lost() {
    let mut path = Path::new(0.0);
    for loss in [0.0, 0.1, 0.29] {
        assert_eq!(
            path.run(60, f64::MAX, loss).rate_bps(),
            TARGET_BPS,
            "{loss}"
        );
    }
    assert!(path.whys().is_empty());
}

#[test]
fn a_full_path_lowers_the_rate_to_what_it_delivers() {
    let mut path = Path::new(0.0);
    let rate = path.run(7, 0.5 * TARGET_BPS, 0.0).rate_bps();
    assert!((rate / (0.525 * TARGET_BPS) - 1.0).abs() < 0.01, "{rate}");
    assert_eq!(path.whys().len(), 2);
    let rate = path.run(120, f64::MAX, 0.0).rate_bps();
    assert_eq!(rate, TARGET_BPS, "and comes back when there is room");
}

#[test]
fn a_path_that_stays_full_is_rarely_tried() {
    let mut path = Path::new(0.0);
    path.run(10, 0.5 * TARGET_BPS, 0.1);
    let (sent, arrived) = (path.sent, path.arrived);
    path.run(300, 0.5 * TARGET_BPS, 0.1);
    let share = (path.arrived - arrived) / (path.sent - sent);
    assert!(share > 0.9 * 0.93, "{share}");
    let rate = path.fixed.rate_bps();
    assert!(rate < 0.7 * TARGET_BPS, "{rate}");
}

#[test]
fn random_loss_is_told_from_overload_by_experiment() {
    let mut path = Path::new(0.0);
    let fixed = path.run(20, f64::MAX, 0.5);
    assert_eq!(fixed.rate_bps(), TARGET_BPS);
    let whys = path.whys();
    assert_eq!(whys.len(), 2, "{whys:?}");
    assert_eq!(whys[1], Why::BreakerRandom);
}

#[test]
fn a_dead_path_opens_the_breaker_and_ends_the_session() {
    let mut path = Path::new(TARGET_BPS / 2.0);
    let fixed = path.run(9, f64::MAX, 0.9);
    assert!(fixed.rate_bps() < 1e5, "even below the user's minimum");
    assert_eq!((fixed.mode(), fixed.failure()), (Mode::Breaker, None));
    let fixed = path.run(60, f64::MAX, 0.9);
    let failure = fixed.failure();
    let Some(FlowError::CircuitBreaker { delivered_percent }) = failure else {
        panic!("{failure:?}");
    };
    assert!(delivered_percent < 30, "{delivered_percent}");
}

#[test]
fn a_path_that_comes_back_closes_the_breaker() {
    let mut path = Path::new(0.0);
    path.run(9, f64::MAX, 0.9);
    let fixed = path.run(5, f64::MAX, 0.0);
    assert_eq!((fixed.mode(), fixed.failure()), (Mode::Steady, None));
    assert!(fixed.rate_bps() > 0.05 * TARGET_BPS);
    assert_eq!(path.run(300, f64::MAX, 0.0).rate_bps(), TARGET_BPS);
}

#[test]
fn the_minimum_holds_against_the_soft_breaker() {
    let mut path = Path::new(0.8 * TARGET_BPS);
    let rate = path.run(10, 0.5 * TARGET_BPS, 0.0).rate_bps();
    assert_eq!(rate, 0.8 * TARGET_BPS);
}

#[test]
fn silence_halves_and_a_report_restores() {
    let mut path = Path::new(0.0);
    path.run(1, f64::MAX, 0.0);
    for halvings in 1..=5 {
        path.fixed.on_silence(path.sample.now);
        assert_eq!(path.fixed.rate_bps(), TARGET_BPS / f64::from(1 << halvings));
    }
    for _ in 0..2_000 {
        path.fixed.on_silence(path.sample.now);
    }
    let rate = path.fixed.rate_bps();
    assert!(rate.is_finite() && rate > 0.0);
    assert_eq!(path.run(1, f64::MAX, 0.0).rate_bps(), TARGET_BPS);
    assert!(path.whys().len() <= TRACE_MAX);
}

#[test]
fn the_user_may_change_the_rate() {
    let mut path = Path::new(0.0);
    path.run(10, 0.5 * TARGET_BPS, 0.0);
    path.fixed.set_limits(Some(2e8), 0.0, path.sample.now);
    assert_eq!(path.fixed.rate_bps(), 2e8);
    path.fixed.set_limits(None, 0.0, path.sample.now);
    assert_eq!(path.fixed.rate_bps(), 2e8);
}

#[test]
fn bursts_shrink_with_the_rate() {
    let path = Path::new(0.0);
    assert_eq!(path.fixed.burst_max(), Duration::from_millis(1));
    let mut path = path;
    path.fixed.set_limits(Some(1e10), 0.0, Time::ZERO);
    assert_eq!(path.fixed.burst_max(), Duration::from_micros(100));
}

/// A receiver that is short of room, or a slow source, leaves nothing to learn of the path.
#[test]
fn loss_is_not_judged_while_something_else_limits_sending() {
    let mut path = Path::new(0.0);
    path.sample.app_limited = true;
    assert_eq!(path.run(60, f64::MAX, 0.6).rate_bps(), TARGET_BPS);
    assert!(path.whys().is_empty());
    path.sample.app_limited = false;
    path.run(20, f64::MAX, 0.6);
    assert_eq!(path.whys().len(), 2, "the experiment is made up for");
}

#[test]
fn a_dead_path_is_left_alone_whatever_limits_sending() {
    let mut path = Path::new(0.0);
    path.sample.app_limited = true;
    assert_eq!(path.run(10, f64::MAX, 0.9).mode(), Mode::Breaker);
}
