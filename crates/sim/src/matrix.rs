//! The matrix: what the rate policies must achieve, row by row, against fixed thresholds.
//!
//! Each case simulates real senders and receivers of `haul-flow`, alone or beside models of CUBIC
//! and BBR, in one bottleneck, once per seed; each of its claims is a figure with a bound for the
//! median and one for the worst seed. Bounds were written down before the policies were tuned.
//!
//! Rows: `A` a path of one's own, `B` shallow and bloated buffers and policers, `C` changes, `D`
//! jitter, disorder and lost reports, `E` haul beside haul, `F` beside CUBIC and BBR, `G` whole
//! transfers, `H` random paths, `K` the competitors among themselves, `X` very fast paths.

use std::{
    fmt::{self, Write as _},
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

mod bbr;
mod cubic;
mod haul;
mod readings;
mod rows;
mod tcp;
mod world;

/// What a figure must be.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// At least: the median, and the worst.
    Least(f64, f64),
    /// At most: the median, and the worst.
    Most(f64, f64),
    /// Within: the median, and all.
    Within((f64, f64), (f64, f64)),
}

impl Bound {
    fn is_kept(self, median: f64, worst: f64) -> bool {
        match self {
            Self::Least(least, least_worst) => median >= least && worst >= least_worst,
            Self::Most(most, most_worst) => median <= most && worst <= most_worst,
            Self::Within(middle, all) => {
                let is_in = |value: f64, (low, high): (f64, f64)| (low..=high).contains(&value);
                is_in(median, middle) && is_in(worst, all)
            }
        }
    }

    /// How bad a value is; the worst has the most.
    fn badness(self, value: f64) -> f64 {
        match self {
            _ if value.is_nan() => f64::INFINITY,
            Self::Least(..) => -value,
            Self::Most(..) => value,
            Self::Within(_, (low, high)) => (value - (low + high) / 2.0).abs(),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bounds that are computed would show the digits of their rounding.
        let short = |value: f64| (value * 1000.0).round() / 1000.0;
        match *self {
            Self::Least(median, worst) => write!(f, "≥ {} / {}", short(median), short(worst)),
            Self::Most(median, worst) => write!(f, "≤ {} / {}", short(median), short(worst)),
            Self::Within((low, high), (least, most)) => {
                let [low, high, least, most] = [low, high, least, most].map(short);
                write!(f, "{low} to {high} / {least} to {most}")
            }
        }
    }
}

/// One figure a case must reach.
#[derive(Debug, Clone, Copy)]
struct Claim {
    row: &'static str,
    metric: &'static str,
    bound: Bound,
}

/// The figures of a case, for one seed, in the order of its claims.
type Measure = Box<dyn Fn(u64) -> Vec<f64> + Send + Sync>;

/// One scenario and what is claimed of it.
struct Case {
    scenario: String,
    claims: Vec<Claim>,
    /// Cheap and telling: part of the quick selection.
    is_quick: bool,
    measure: Measure,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Rows by name or by the beginning of it ("A", "F1"); none: all.
    pub rows: Vec<String>,
    /// The cheap cases only.
    pub quick: bool,
    /// Seeds of each case.
    pub seeds: Vec<u64>,
}

impl Selection {
    /// The seeds the policies were tuned with, at most five.
    pub fn seeds(count: u64) -> Vec<u64> {
        (1..=count).collect()
    }

    /// Seeds that nothing was tuned with.
    pub fn unseen(count: u64) -> Vec<u64> {
        (1..=count).map(|n| 7_919 * n + 1_000_003).collect()
    }

    fn names(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|name| row.starts_with(name.as_str()))
    }

    fn has(&self, case: &Case) -> bool {
        let is_named = case.claims.iter().any(|claim| self.names(claim.row));
        (case.is_quick || !self.quick) && is_named
    }
}

/// One claim and what came of it.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Its row.
    pub row: &'static str,
    /// What was simulated.
    pub scenario: String,
    /// What was measured.
    pub metric: &'static str,
    /// Median over the seeds.
    pub median: f64,
    /// Worst over the seeds.
    pub worst: f64,
    /// The bound, in words.
    pub bound: String,
    /// Whether it was kept.
    pub is_kept: bool,
}

/// Runs the selection on all processors; the cells come in the order of the rows.
pub fn run(selection: &Selection) -> Vec<Cell> {
    let mut cases = rows::all();
    cases.retain(|case| selection.has(case));
    let seeds = &selection.seeds;
    let jobs = cases.len() * seeds.len();
    let next = AtomicUsize::new(0);
    let results = Mutex::new(vec![Vec::new(); cases.len()]);
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    if job >= jobs {
                        return;
                    }
                    let (case, seed) = (job / seeds.len(), seeds[job % seeds.len()]);
                    let values = (cases[case].measure)(seed);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results[case].push(values);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let all = cases.iter().zip(&results);
    let mut cells: Vec<Cell> = all.flat_map(|(case, values)| judge(case, values)).collect();
    cells.retain(|cell| selection.names(cell.row));
    cells.sort_by_key(|cell| cell.row);
    cells
}

fn judge(case: &Case, runs: &[Vec<f64>]) -> Vec<Cell> {
    let claims = case.claims.iter().enumerate();
    let cells = claims.map(|(n, claim)| {
        let value = |run: &Vec<f64>| run.get(n).copied().unwrap_or(f64::NAN);
        let mut values: Vec<f64> = runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let median = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
        let by_badness = |a: &&f64, b: &&f64| {
            let [a, b] = [a, b].map(|value| claim.bound.badness(**value));
            a.total_cmp(&b)
        };
        let worst = values
            .iter()
            .max_by(by_badness)
            .copied()
            .unwrap_or(f64::NAN);
        Cell {
            row: claim.row,
            scenario: case.scenario.clone(),
            metric: claim.metric,
            median,
            worst,
            bound: claim.bound.to_string(),
            is_kept: claim.bound.is_kept(median, worst),
        }
    });
    cells.collect()
}

/// The cells as a table in Markdown.
pub fn table<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> String {
    let mut out = String::from(
        "| row | scenario | figure | median | worst | bound (median / worst) | |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for cell in cells {
        let verdict = if cell.is_kept { "pass" } else { "**FAIL**" };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {:.3} | {:.3} | {} | {verdict} |",
            cell.row, cell.scenario, cell.metric, cell.median, cell.worst, cell.bound
        );
    }
    out
}

/// How many cells of each row pass, as a table in Markdown.
pub fn tally(cells: &[Cell]) -> String {
    let mut out = String::from("| row | cells | pass |\n|---|---|---|\n");
    for row in cells.chunk_by(|a, b| a.row == b.row) {
        let passing = row.iter().filter(|cell| cell.is_kept).count();
        let _ = writeln!(out, "| {} | {} | {passing} |", row[0].row, row.len());
    }
    out
}

/// The page of the documentation that keeps the figures.
pub fn page(selection: &Selection, cells: &[Cell]) -> String {
    let failing: Vec<&Cell> = cells.iter().filter(|cell| !cell.is_kept).collect();
    format!(
        "# The rate matrix\n\n\
         Written by `cargo run --release -p haul-sim -- matrix --page`; not edited by hand. Both \
         machines of `haul-flow` in virtual time through one bottleneck, alone or beside models of \
         CUBIC (RFC 9438) and BBR version 1. {} seeds per cell. Rates count bytes of IP; T is the \
         queue that `fair` aims at. Rows and bounds: `crates/sim/src/matrix/rows`. `INF`: never \
         within the run.\n\n\
         {} of {} cells pass.\n\n{}\n## Failing\n\n{}\n## All\n\n{}",
        selection.seeds.len(),
        cells.len() - failing.len(),
        cells.len(),
        tally(cells),
        table(failing.iter().copied()),
        table(cells),
    )
}
