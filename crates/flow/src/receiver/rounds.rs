use std::ops::RangeInclusive;

use haul_wire::MAX_REPORT_RANGES;

use super::arrivals::Arrivals;

/// A report must fit the smallest path with its header and tag, sealed.
pub(crate) const REPORT_BYTES_MAX: usize = 1_100;
/// What a report's counters and samples may take at most when encoded.
const FIXED_BYTES: usize = 300;
/// Most reports in one round: at 10 Gbit/s and 30 % loss one round's news fill most of them.
const REPORTS_MAX: u32 = 24;
/// While all that is remembered fits so many reports, every round repeats all of it.
const REPEAT_ALL_MAX: u32 = 4;
/// News are told in so many rounds before they are left to the sweep.
const NEWS_ROUNDS: usize = 3;

/// Splits what is remembered into reports, newest first.
///
/// A round tells the news of the last three rounds whole, so that a lost report costs nothing but
/// a moment. Then it goes on through older numbers, in every round from where the last one stopped,
/// so that everything above the floor is repeated again and again at a bounded price.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// Where this round and the ones before began, newest first: from the last one up are news.
    horizons: [u64; NEWS_ROUNDS + 1],
    phase: Phase,
    /// Reports made in this round.
    made: u32,
    /// Where telling older numbers was interrupted; `None` when it was not.
    sweep: Option<u64>,
    told_free_bytes: u64,
}

/// What a round does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// Nothing: it is over.
    #[default]
    Over,
    /// Tells the news from this number downwards.
    News(u64),
    /// Tells older numbers from where the sweep was interrupted.
    Old,
}

/// The part of the numbers that one report speaks of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) ranges: Vec<RangeInclusive<u64>>,
}

impl Rounds {
    /// Begins a round that speaks of the numbers below `horizon`.
    pub(crate) fn begin(&mut self, horizon: u64, free_bytes: u64) {
        self.told_free_bytes = free_bytes;
        self.made = 0;
        self.phase = Phase::News(horizon.saturating_sub(1));
        self.horizons.rotate_right(1);
        self.horizons[0] = horizon;
    }

    pub(crate) fn is_running(&self) -> bool {
        self.phase != Phase::Over
    }

    /// Free bytes in the last round.
    pub(crate) fn told_free_bytes(&self) -> u64 {
        self.told_free_bytes
    }

    /// The next report's part; `None` when the round is over.
    pub(crate) fn next_span(&mut self, arrivals: &Arrivals) -> Option<Span> {
        let floor = arrivals.floor();
        self.sweep = self.sweep.filter(|high| *high >= floor);
        let span = match self.phase {
            Phase::Over => return None,
            Phase::News(high) if high < floor => self.tell_nothing(high),
            Phase::News(high) => self.tell_news(arrivals, high),
            Phase::Old => self.tell_old(arrivals, self.sweep.unwrap_or(floor)),
        };
        self.made += 1;
        if self.made == REPORTS_MAX {
            self.phase = Phase::Over;
        }
        Some(span)
    }

    /// Everything is released: the counters are told with a number that nobody asks for any more.
    fn tell_nothing(&mut self, high: u64) -> Span {
        self.phase = Phase::Over;
        Span {
            low: high,
            high,
            ranges: Vec::new(),
        }
    }

    fn tell_news(&mut self, arrivals: &Arrivals, high: u64) -> Span {
        let floor = arrivals.floor();
        let news = self.horizons[NEWS_ROUNDS].clamp(floor, high);
        // Without an interrupted sweep, news and older numbers are told in one go.
        let low = if self.sweep.is_some() { news } else { floor };
        let span = cut(arrivals, low, high);
        if span.low > news {
            self.phase = Phase::News(span.low - 1);
            return span;
        }
        if span.low > low {
            self.sweep = Some(span.low - 1);
        }
        self.phase = if self.sweep.is_some() {
            Phase::Old
        } else {
            Phase::Over
        };
        span
    }

    fn tell_old(&mut self, arrivals: &Arrivals, high: u64) -> Span {
        let span = cut(arrivals, arrivals.floor(), high);
        self.sweep = (span.low > arrivals.floor()).then(|| span.low - 1);
        if self.sweep.is_none() || self.made + 1 >= REPEAT_ALL_MAX {
            self.phase = Phase::Over;
        }
        span
    }
}

/// The newest part of `low..=high` that fits one report.
fn cut(arrivals: &Arrivals, low: u64, high: u64) -> Span {
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    let mut bytes = FIXED_BYTES;
    let mut bound = high;
    for range in arrivals.descending(low, high) {
        let len = range.end() - range.start();
        bytes += varint_len(bound - range.end()) + varint_len(len);
        if ranges.len() == MAX_REPORT_RANGES || bytes > REPORT_BYTES_MAX {
            return Span {
                low: bound,
                high,
                ranges,
            };
        }
        bound = *range.start();
        ranges.push(range);
    }
    Span { low, high, ranges }
}

/// Bytes of a number in the report's encoding: seven bits each.
fn varint_len(number: u64) -> usize {
    (u64::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `step`-th number below `end` is missing.
    fn arrivals(end: u64, step: u64) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for number in (0..end).filter(|number| number % step != 0) {
            arrivals.insert(number);
        }
        arrivals
    }

    fn round(rounds: &mut Rounds, arrivals: &Arrivals, horizon: u64) -> Vec<Span> {
        rounds.begin(horizon, 0);
        std::iter::from_fn(|| rounds.next_span(arrivals)).collect()
    }

    fn covers(spans: &[Span], number: u64) -> bool {
        spans
            .iter()
            .any(|span| (span.low..=span.high).contains(&number))
    }

    #[test]
    fn a_short_memory_is_repeated_whole_in_every_round() {
        let arrivals = arrivals(1_000, 10);
        let mut rounds = Rounds::default();
        for _ in 0..5 {
            let spans = round(&mut rounds, &arrivals, 1_000);
            assert_eq!(spans.len(), 1);
            assert_eq!((spans[0].low, spans[0].high), (0, 999));
            assert_eq!(spans[0].ranges.len(), 100);
        }
    }

    #[test]
    fn nothing_to_tell_is_one_empty_report() {
        let mut rounds = Rounds::default();
        let spans = round(&mut rounds, &Arrivals::default(), 0);
        let empty = Span {
            low: 0,
            high: 0,
            ranges: Vec::new(),
        };
        assert_eq!(spans, [empty]);
    }

    #[test]
    fn numbers_that_do_not_exist_are_not_spoken_of() {
        let mut arrivals = arrivals(100, 1_000);
        arrivals.raise_floor(100);
        let spans = round(&mut Rounds::default(), &arrivals, 100);
        assert_eq!((spans[0].low, spans[0].high, spans.len()), (99, 99, 1));
    }

    #[test]
    fn numbers_that_were_sent_and_are_missing_are_spoken_of() {
        let mut rounds = Rounds::default();
        let spans = round(&mut rounds, &arrivals(100, 1_000), 120);
        assert_eq!((spans[0].low, spans[0].high), (0, 119));
        assert_eq!(spans[0].ranges, [1..=99]);
    }

    #[test]
    fn a_long_memory_is_swept_and_news_are_told_three_times() {
        let mut rounds = Rounds::default();
        let end = 30_000;
        let step = 500;
        let all = arrivals(end + 100 * step, 3);
        let mut told = vec![0; end as usize];
        let mut horizon = end;
        for index in 0..100 {
            let spans = round(&mut rounds, &all, horizon);
            // In the first rounds everything is news.
            let most = if index <= NEWS_ROUNDS { REPORTS_MAX } else { 5 };
            assert!(spans.len() <= most as usize, "{index}: {}", spans.len());
            for number in horizon.saturating_sub(3 * step).max(end)..horizon {
                assert!(covers(&spans, number), "round {index}: {number} is news");
            }
            for number in 0..end {
                told[number as usize] += usize::from(covers(&spans, number));
            }
            horizon += step;
        }
        let least = told.iter().min().copied();
        assert!(least >= Some(3), "{least:?}");
    }

    #[test]
    fn spans_do_not_overlap_and_fit() {
        let mut rounds = Rounds::default();
        let arrivals = arrivals(100_000, 2);
        for _ in 0..5 {
            let spans = round(&mut rounds, &arrivals, 100_000);
            assert!(spans.len() <= REPORTS_MAX as usize);
            for two in spans.windows(2) {
                assert!(two[1].high < two[0].low);
            }
        }
    }
}
