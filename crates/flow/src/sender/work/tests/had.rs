//! What the receiver has already.

use std::collections::BTreeSet;

use super::*;
use crate::random::Random;

/// A resumed file: 900 GB.
const MANY: u64 = 600_000_000;

fn content(blocks: impl IntoIterator<Item = u64>) -> Vec<BlockAddr> {
    blocks.into_iter().map(BlockAddr::content).collect()
}

fn floor(work: &Work) -> u64 {
    work.floor(Stream::Content).0
}

#[test]
fn what_the_receiver_has_is_never_taken() {
    let mut work = work(1, 10);
    let ranges = [(7, 8), (3, 5), (4, 5), (6, 6), (9, 2), (9, 100)];
    assert_eq!(work.arrive_had(&ranges, 0), 0, "none had been taken");
    let mut wanted = vec![BlockAddr::list(0)];
    wanted.extend(content([0, 1, 2, 5, 6, 8]));
    assert_eq!(take_all_fresh(&mut work), wanted);
    assert_eq!(work.had_count(), 4);
    assert!(work.is_exhausted() && !work.has_any() && !work.is_delivered());
    for block in wanted {
        assert!(work.arrive(block));
    }
    assert!(work.is_delivered());
    assert_eq!(floor(&work), 10);
}

#[test]
fn every_other_block_and_the_last() {
    let mut work = work(0, 10_000);
    let ranges: Vec<_> = (0..5_000)
        .map(|index| (2 * index + 1, 2 * index + 2))
        .collect();
    work.arrive_had(&ranges, 0);
    let fresh = take_all_fresh(&mut work);
    assert_eq!(fresh, content((0..10_000).step_by(2)));
    assert!(work.is_exhausted());
    for (index, block) in fresh.into_iter().enumerate() {
        assert_eq!(floor(&work), 2 * index as u64);
        work.arrive(block);
    }
    assert!(work.is_delivered());
    assert_eq!(work.had_count(), 5_000);
}

#[test]
fn all_there_is_may_be_there_already() {
    let mut work = work(1, 10);
    work.arrive_had(&[(0, 10)], 10);
    assert_eq!(floor(&work), 10);
    assert_eq!(take_all_fresh(&mut work), [BlockAddr::list(0)]);
    assert!(work.is_exhausted() && !work.is_delivered());
    work.arrive(BlockAddr::list(0));
    assert!(work.is_delivered() && !work.has_any());
}

#[test]
fn what_was_sent_counts_as_arrived_and_is_not_sent_again() {
    let mut work = work(0, 10);
    take_all_fresh(&mut work);
    work.lose(BlockAddr::content(2));
    work.lose(BlockAddr::content(8));
    work.add_copy(BlockAddr::content(3));
    assert!(work.arrive(BlockAddr::content(4)));
    assert_eq!(
        work.arrive_had(&[(1, 4), (2, 6)], 0),
        4,
        "all but the fourth"
    );
    assert_eq!(work.arrive_had(&[(1, 6)], 0), 0, "told again");
    assert_eq!((work.queued(), work.had_count()), (1, 0));
    assert!(!work.has_other_copies(BlockAddr::content(3)));
    work.lose(BlockAddr::content(3));
    assert!(!work.arrive(BlockAddr::content(5)), "late after all");
    assert_eq!(work.take_queued(), Some(BlockAddr::content(8)));
    assert_eq!(work.take_queued(), None);
    work.arrive(BlockAddr::content(0));
    assert_eq!(floor(&work), 6);
}

#[test]
fn what_does_not_exist_yet_is_remembered() {
    let mut work = Work::new(false);
    work.set_available(Stream::Content, 2);
    work.arrive_had(&[(1, 4), (6, 9)], 0);
    assert_eq!(take_all_fresh(&mut work), content([0]));
    assert_eq!(work.had_count(), 1);
    work.set_available(Stream::Content, 3);
    assert_eq!((work.take_fresh(), work.had_count()), (None, 2));
    work.arrive(BlockAddr::content(0));
    assert_eq!(floor(&work), 3);
    work.set_available(Stream::Content, 8);
    assert_eq!(floor(&work), 4);
    assert_eq!(take_all_fresh(&mut work), content([4, 5]));
    work.set_available(Stream::Content, 10);
    assert_eq!(take_all_fresh(&mut work), content([9]));
    assert_eq!(work.had_count(), 6);
}

#[test]
fn content_is_held_back_until_it_has_been_judged() {
    let mut work = Work::new(true);
    work.set_available(Stream::List, 1);
    work.set_available(Stream::Content, 10);
    work.set_complete();
    assert_eq!(take_all_fresh(&mut work), [BlockAddr::list(0)]);
    assert!(!work.has_any() && !work.is_exhausted());
    work.arrive_had(&[(1, 3), (8, 10)], 5);
    work.arrive_had(&[], 4);
    assert_eq!(take_all_fresh(&mut work), content([0, 3, 4]));
    assert!(!work.has_any(), "4 is less than was judged");
    work.set_available(Stream::List, 2);
    assert_eq!(take_all_fresh(&mut work), [BlockAddr::list(1)]);
    work.arrive_had(&[], u64::MAX);
    assert_eq!(take_all_fresh(&mut work), content([5, 6, 7]));
    assert!(work.is_exhausted());
}

#[test]
fn hundreds_of_millions_of_blocks_are_passed_at_once() {
    let mut work = Work::new(true);
    work.set_available(Stream::Content, MANY / 2);
    work.arrive_had(&[(0, MANY - 1)], MANY);
    assert_eq!(floor(&work), MANY / 2, "as far as they exist");
    work.set_available(Stream::Content, MANY);
    work.set_complete();
    assert_eq!(floor(&work), MANY - 1);
    assert_eq!(take_all_fresh(&mut work), content([MANY - 1]));
    assert!(work.arrive(BlockAddr::content(MANY - 1)) && work.is_delivered());
    assert_eq!(work.had_count(), MANY - 1);
}

#[test]
fn a_missing_block_holds_back_what_the_window_does_not_reach() {
    let mut work = work(0, MANY);
    let first = work.take_fresh().unwrap();
    work.arrive_had(&[(2, MANY - 1)], 0);
    assert_eq!(work.take_fresh(), Some(BlockAddr::content(1)));
    assert_eq!(work.had_count(), BLOCK_WINDOW_MAX - 2);
    assert!(!work.has_any() && !work.is_exhausted());
    work.arrive(BlockAddr::content(1));
    assert_eq!((floor(&work), work.has_any()), (0, false));
    work.arrive(first);
    assert_eq!(floor(&work), MANY - 1);
    // The sets are empty: nothing is taken for queued or arrived whose bit is another's.
    assert_eq!(take_all_fresh(&mut work), content([MANY - 1]));
    work.lose(BlockAddr::content(MANY - 1));
    assert_eq!(work.take_queued(), Some(BlockAddr::content(MANY - 1)));
    work.arrive(BlockAddr::content(MANY - 1));
    assert!(work.is_delivered());
}

#[test]
fn absurd_ranges_do_no_harm() {
    let absurd = [
        (u64::MAX, 0),
        (u64::MAX, u64::MAX),
        (1 << 63, u64::MAX),
        (0, 0),
        (5, 3),
        (u64::MAX - 1, u64::MAX),
        (20, 1 << 63),
    ];
    let mut work = work(0, 30);
    for _ in 0..3 {
        assert_eq!(
            work.take_fresh().map(|block| block.block.0 < 20),
            Some(true)
        );
        assert_eq!(work.arrive_had(&absurd, u64::MAX), 0);
    }
    assert_eq!(take_all_fresh(&mut work), content(3..20));
    assert_eq!(work.arrive_had(&[(0, u64::MAX)], 0), 20);
    assert!(work.is_delivered());
    assert_eq!(work.arrive_had(&[(0, u64::MAX); 100], 0), 0);
    assert_eq!((floor(&work), work.had_count()), (30, 10));
}

/// A range that is told a million times over costs no million times its length.
#[test]
fn what_is_told_again_and_again_is_looked_at_once() {
    let mut work = work(0, BLOCK_WINDOW_MAX);
    take_all_fresh(&mut work);
    let ranges = vec![(1, BLOCK_WINDOW_MAX); 1 << 20];
    assert_eq!(work.arrive_had(&ranges, 0), BLOCK_WINDOW_MAX - 1);
    assert_eq!(work.arrive_had(&ranges, 0), 0);
}

#[test]
fn a_block_whose_parts_are_being_taken_may_turn_out_to_be_there() {
    let mut work = work(0, 4);
    work.set_parts(2);
    let first = work.take_fresh().unwrap();
    assert_eq!(work.arrive_had(&[(0, 1)], 0), 1);
    assert_eq!(work.first_queued(), None);
    assert_eq!(work.instead_of(first), None, "nothing of it is missing");
    assert_eq!((work.take_begun(), work.queued()), (None, 0));
    let second = work.take_fresh().unwrap();
    assert_eq!(second.block, BlockNo(1));
    work.lose(first);
    assert!(!work.arrive(first));
    work.put_back(second, false);
    assert_eq!(work.arrive_had(&[(0, 2), (3, 4)], 0), 1);
    assert_eq!(work.take_begun(), None);
    let third = work.take_fresh().unwrap();
    let fourth = work.take_begun().unwrap().0;
    assert_eq!((third.block, fourth.block), (BlockNo(2), BlockNo(2)));
    work.put_back(fourth, false);
    assert!(work.has_any() && !work.is_exhausted());
    assert_eq!(work.arrive_had(&[(2, 3)], 0), 1);
    assert!(!work.has_any() && work.is_exhausted());
    assert!(!work.arrive(third) && work.is_delivered());
}

/// What a [`Work`] must do, by block.
#[derive(Default)]
struct Model {
    had: BTreeSet<u64>,
    taken: BTreeSet<u64>,
    /// Sent, not arrived, not queued.
    in_flight: BTreeSet<u64>,
    queued: BTreeSet<u64>,
    available: u64,
    judged: u64,
}

impl Model {
    fn next(&self) -> Option<u64> {
        let from = self.taken.last().map_or(0, |last| last + 1);
        (from..self.available).find(|block| !self.had.contains(block))
    }

    fn take_fresh(&mut self) -> Option<u64> {
        let block = self.next().filter(|block| *block < self.judged)?;
        self.taken.insert(block);
        self.in_flight.insert(block);
        Some(block)
    }

    /// Adds what is had; returns how many blocks of it were under way.
    fn arrive_had(&mut self, ranges: &[(u64, u64)], judged: u64) -> u64 {
        self.judged = self.judged.max(judged);
        self.had
            .extend(ranges.iter().flat_map(|(start, end)| *start..*end));
        let before = self.in_flight.len() + self.queued.len();
        self.in_flight.retain(|block| !self.had.contains(block));
        self.queued.retain(|block| !self.had.contains(block));
        (before - self.in_flight.len() - self.queued.len()) as u64
    }

    fn floor(&self) -> u64 {
        let under_way = [self.in_flight.first(), self.queued.first()];
        let first = under_way.into_iter().flatten().min().copied();
        first.or_else(|| self.next()).unwrap_or(self.available)
    }
}

#[test]
fn agrees_with_plain_sets() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let end = 1 + random.below(20_000);
        let has_gate = random.below(2) == 0;
        let mut work = Work::new(has_gate);
        let mut model = Model {
            judged: if has_gate { 0 } else { u64::MAX },
            ..Model::default()
        };
        for _ in 0..400 {
            match random.below(8) {
                0 => {
                    model.available = end.min(model.available + random.below(end / 8 + 2));
                    work.set_available(Stream::Content, model.available);
                }
                1 => {
                    let ranges: Vec<_> = (0..random.below(4))
                        .map(|_| (random.below(end), random.below(end / 20 + 2)))
                        .map(|(start, len)| (start, start + len))
                        .collect();
                    let judged = random.below(end);
                    let arrived = work.arrive_had(&ranges, judged);
                    assert_eq!(arrived, model.arrive_had(&ranges, judged), "seed {seed}");
                }
                2 | 3 => {
                    for _ in 0..random.below(end / 20 + 2) {
                        let block = work.take_fresh().map(|block| block.block.0);
                        assert_eq!(block, model.take_fresh(), "seed {seed}");
                        if block.is_none() {
                            break;
                        }
                    }
                }
                4 => {
                    let block = work.take_queued().map(|block| block.block.0);
                    assert_eq!(block, model.queued.pop_first(), "seed {seed}");
                    model.in_flight.extend(block);
                }
                kind => {
                    for _ in 0..random.below(end / 20 + 2) {
                        let from = random.below(end);
                        let Some(block) = model.in_flight.range(from..).next().copied() else {
                            continue;
                        };
                        model.in_flight.remove(&block);
                        if kind == 5 {
                            work.lose(BlockAddr::content(block));
                            model.queued.insert(block);
                        } else {
                            assert!(work.arrive(BlockAddr::content(block)), "seed {seed}");
                        }
                    }
                }
            }
            assert_eq!(floor(&work), model.floor(), "seed {seed}");
            assert_eq!(work.queued(), model.queued.len() as u64, "seed {seed}");
            let is_settled = model.in_flight.is_empty() && model.queued.is_empty();
            assert_eq!(work.is_settled(), is_settled, "seed {seed}");
            let passed = work.had_count() + model.taken.len() as u64;
            assert!(!is_settled || passed == floor(&work), "seed {seed}");
            let has_fresh = model.next().is_some_and(|block| block < model.judged);
            let has_any = has_fresh || !model.queued.is_empty();
            assert_eq!(work.has_any(), has_any, "seed {seed}");
        }
    }
}
