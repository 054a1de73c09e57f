//! Traps that laws of this kind fall into, each found in an earlier form of this one, and the tests that
//! spring them.
//!
//! | trap | test |
//! |---|---|
//! | dividing by 1 − floor shrinks the rate geometrically where the floor is a little low | `floor::slightly_low_floor_does_not_shrink_the_rate` |
//! | the floor creeps up on own losses in buffers below the queue target | `floor::floor_does_not_creep_in_shallow_buffers` |
//! | at heavy overload the loss hardly moves with the rate, and is taken for random | `floor::heavy_overload_is_not_taken_for_random_loss` |
//! | a token bucket inflates what start-up sees delivered, and the floor is wrong for ever | `floor::token_burst_during_start_up_does_not_set_the_floor_for_ever` |
//! | a round that straddles a cut is answered by a second one | [`one_overflow_is_one_cut`] |
//! | "am I alone?" asked just after a loss, when all others have cut, too | [`beside_a_cubic_flow_it_never_finds_itself_alone`] |
//! | a slower path is taken for a buffer filler | `changes::rate_step_down_drains_within_two_seconds` |
//! | a longer route is taken for a buffer filler | `changes::route_change_is_not_taken_for_a_queue` |
//! | a newcomer's start-up is taken for a buffer filler | `company::two_flows_converge` |
//! | random loss while competing cuts for ever | [`random_loss_while_competing_does_not_hold_the_rate_down`] |
//! | a peer's queue is learned as noise, and the incumbent starves | `company::four_flows_converge_and_no_newcomer_starves_an_incumbent` |
//! | losses too rare to be excess leave CUBIC nothing in a short buffer | [`a_cubic_flow_in_a_short_buffer_is_left_its_share`] |
//! | a lost tail leaves no gap to be found by | `pair::regressions::a_lost_tail_does_not_hang` |
//! | resting below a ceiling, the largest of many measures creeps beyond it | `floor::floor_does_not_creep_behind_a_policer` |
//!
//! Two remedies were tried and gained nothing: flows that yield all at once by the clock, and a least
//! rate of what had been delivered before each cut.

use haul_flow::{Mode, Why};

use crate::bottleneck::{Change, Path, World};

/// How far apart the rates of a flow are noted, seconds.
const NOTED: f64 = 0.010;

#[test]
fn one_overflow_is_one_cut() {
    let rtt = 0.100;
    let path = Path::new(20e6, rtt, 1.0, 0.0, 1);
    let world = World::single(path).and_cubic(0.0).run(60.0);
    let flow = &world.flows[0];
    let began = flow.trace.iter().find(|line| line.mode == Mode::Compete);
    let began = began.map_or(f64::MAX, |line| line.at.0 as f64 / 1e9);
    assert!(began < 30.0, "does not compete: {began}");
    let rates = &flow.rates[((began + 1.0) / NOTED) as usize..];
    let after = (1.5 * rtt / NOTED) as usize;
    let falls: Vec<f64> = rates.windows(after + 1).map(|w| w[after] / w[0]).collect();
    let within = |least, most| {
        falls
            .iter()
            .filter(move |fall| (least..most).contains(*fall))
    };
    // A cut leaves 0.79, two in a row 0.62; a yield, at most once in ten seconds, half.
    assert!(within(0.74, 0.84).count() > 20, "no cut was seen");
    assert_eq!(within(0.55, 0.70).count(), 0);
}

#[test]
fn beside_a_cubic_flow_it_never_finds_itself_alone() {
    for seed in 1..=3 {
        let path = Path::new(100e6, 0.050, 1.0, 0.0, seed);
        let world = World::single(path).and_cubic(0.0).run(60.0);
        let flow = &world.flows[0];
        assert!(flow.trace.iter().any(|line| line.mode == Mode::Compete));
        assert!(!flow.decided(Why::LookedAlone), "seed {seed}");
    }
}

#[test]
fn random_loss_while_competing_does_not_hold_the_rate_down() {
    let mut path = Path::new(100e6, 0.050, 1.0, 0.0, 1);
    path.changes = vec![(40.0, Change::Loss(0.02))];
    let mut world = World::single(path).and_cubic(0.0);
    world.cubics[0].stop = 40.0;
    let world = world.run(100.0);
    let flow = &world.flows[0];
    assert!(flow.trace.iter().any(|line| line.mode == Mode::Compete));
    let share = world.goodput(0, 70.0, 100.0) / (0.98 * 100e6);
    assert!(share > 0.95, "{share:.3}");
}

#[test]
fn a_cubic_flow_in_a_short_buffer_is_left_its_share() {
    for seed in 1..=3 {
        let path = Path::new(100e6, 0.100, 0.25, 0.0, seed);
        let world = World::single(path).and_cubic(0.0).run(100.0);
        let share = world.cubic_goodput(0, 40.0, 100.0) / 100e6;
        assert!(share > 0.25, "seed {seed}: {share:.3}");
    }
}
