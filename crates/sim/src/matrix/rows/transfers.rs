//! G: whole transfers, from the first packet to the last.

use std::time::Duration;

use haul_flow::{Policy, Time};
use haul_wire::{block_len, segment_len};

use super::{MEGA, case, claim, ms, path_name};
use crate::{
    link::LinkConfig,
    matrix::{
        Bound, Case,
        world::{Setup, Who, simulate},
    },
    scenario::Scenario,
    world::run,
};

const RTT: Duration = Duration::from_millis(100);
const DATAGRAM_LEN: usize = 1472;
/// Packets per round trip that `fair` begins with.
const FIRST_PACKETS: f64 = 32.0;

/// A transfer of `bytes` over `rate_bps`.
#[derive(Debug, Clone, Copy)]
struct Transfer {
    rate_bps: f64,
    bytes: u64,
    loss: f64,
}

/// How long it took and how many packets were sent per block.
struct Course {
    took_s: f64,
    sent_per_block: f64,
}

impl Transfer {
    fn blocks(self) -> u64 {
        self.bytes.div_ceil(block_len(DATAGRAM_LEN) as u64)
    }

    /// Bytes of IP of a packet.
    fn packet_len() -> f64 {
        (segment_len(block_len(DATAGRAM_LEN)) + 28) as f64
    }

    fn ideal_s(self) -> f64 {
        let bits = self.blocks() as f64 * Self::packet_len() * 8.0;
        bits / (self.rate_bps * (1.0 - self.loss)) + RTT.as_secs_f64() / 2.0
    }

    fn cold_s(self) -> f64 {
        let first_bps = FIRST_PACKETS * Self::packet_len() * 8.0 / RTT.as_secs_f64();
        let doublings = (self.rate_bps / first_bps).log2() - 1.44;
        self.ideal_s() + RTT.as_secs_f64() * doublings
    }

    fn run(self, policy: Policy, seed: u64) -> Course {
        // The target is UDP payload; 98.5 % of what the bottleneck carries of it.
        let udp_share = 1.0 - 28.0 / Self::packet_len();
        let target = (self.rate_bps * 0.985 * udp_share) as u64;
        let who = Who::Haul {
            policy,
            target_bps: (policy == Policy::Fixed).then_some(target),
            datagram_len: DATAGRAM_LEN,
            blocks: Some(self.blocks()),
        };
        let setup = Setup::path(self.rate_bps, RTT, 0.5, self.loss)
            .with(who, 0.0, RTT)
            .lasting(10.0 * self.ideal_s() + 30.0);
        let flow = &simulate(&setup, seed).flows[0];
        Course {
            took_s: flow.finished_s.unwrap_or(f64::INFINITY),
            sent_per_block: flow.sent as f64 / self.blocks() as f64,
        }
    }
}

pub(super) fn cases() -> Vec<Case> {
    let sizes = [
        (100.0 * MEGA, 10_000_000, 1.15),
        (100.0 * MEGA, 100_000_000, 1.04),
        (1000.0 * MEGA, 1_000_000_000, 1.04),
    ];
    let mut cases = Vec::new();
    for (rate_bps, bytes, most) in sizes {
        for loss in [0.0, 0.01, 0.1, 0.3] {
            let transfer = Transfer {
                rate_bps,
                bytes,
                loss,
            };
            cases.push(fixed(transfer, most));
            cases.push(fair(transfer));
        }
    }
    cases.extend((0..4).map(last_lost));
    cases.push(all_reports_lost());
    cases
}

fn named(policy: Policy, transfer: Transfer) -> String {
    let megabytes = transfer.bytes / 1_000_000;
    let path = path_name(transfer.rate_bps, RTT);
    format!(
        "{policy}, {megabytes} MB, {path}, p {} %",
        transfer.loss * 100.0
    )
}

fn fixed(transfer: Transfer, most: f64) -> Case {
    let claims = vec![
        claim("G1", "T ÷ T_ideal", Bound::Most(most, most)),
        claim(
            "G3",
            "sent per block − 1/(1−p) − 1 BDP",
            Bound::Most(0.005, 0.005),
        ),
    ];
    let is_quick = transfer.bytes <= 100_000_000;
    case(
        named(Policy::Fixed, transfer),
        is_quick,
        claims,
        move |seed| {
            let course = transfer.run(Policy::Fixed, seed);
            let in_flight = transfer.rate_bps / 8.0 * RTT.as_secs_f64() / Transfer::packet_len();
            let once = 1.0 / (1.0 - transfer.loss) + in_flight / transfer.blocks() as f64;
            vec![
                course.took_s / transfer.ideal_s(),
                course.sent_per_block - once,
            ]
        },
    )
}

fn fair(transfer: Transfer) -> Case {
    let metric = "(T − T_cold ÷ 0.98) in round trips";
    let claims = vec![claim("G2", metric, Bound::Most(3.0, 3.0))];
    let is_quick = transfer.bytes <= 10_000_000;
    case(
        named(Policy::Fair, transfer),
        is_quick,
        claims,
        move |seed| {
            let course = transfer.run(Policy::Fair, seed);
            vec![(course.took_s - transfer.cold_s() / 0.98) / RTT.as_secs_f64()]
        },
    )
}

/// A transfer of a second under the simulator's checkers.
fn completes(scenario: String, change: impl Fn(&mut Scenario) + Send + Sync + 'static) -> Case {
    let claims = vec![claim("G4", "completes", Bound::Least(1.0, 1.0))];
    case(scenario, true, claims, move |seed| {
        let mut scenario = Scenario::clean(Policy::Fair, 100_000_000, ms(50), 5_000);
        scenario.seed = seed;
        change(&mut scenario);
        let is_kept = run(&scenario, None).is_ok_and(|outcome| outcome.violation.is_none());
        vec![f64::from(u8::from(is_kept))]
    })
}

fn last_lost(times: u32) -> Case {
    let times = times * 2 + 1;
    completes(
        format!("the last packet lost {times} times"),
        move |scenario| {
            scenario.lose_last_block = times;
        },
    )
}

fn all_reports_lost() -> Case {
    completes("all reports lost for 1 s".into(), |scenario| {
        let dark = Time(300_000_000)..Time(1_300_000_000);
        scenario.reverse = LinkConfig {
            holes: vec![dark],
            ..scenario.reverse.clone()
        };
    })
}
