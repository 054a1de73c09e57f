//! Runs simulations by seed or by name and says which of them broke a promise.

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use haul_flow::Policy;
use haul_sim::{
    Fact, Scenario, Summary,
    matrix::{self, Cell, Selection},
    named, run, swarm,
};

const USAGE: &str = "\
usage: haul-sim seeds --from A --count N    run swarm seeds A, A+1, ...
       haul-sim one SEED [--trace]          run one seed, printing every fact
       haul-sim named [PART [--trace]]      run the named scenarios whose name contains PART
       haul-sim matrix [ROW...] [--seeds N] [--unseen] [--quick] [--page]
                                            run the evaluation matrix, or some of its rows
";

/// What was asked for.
#[derive(Debug)]
enum Job {
    Seeds { from: u64, count: u64 },
    One { seed: u64, trace: bool },
    Named { part: String, trace: bool },
    Matrix { selection: Selection, page: bool },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut out = io::stdout().lock();
    let Some(job) = parse(&arguments) else {
        return match out.write_all(USAGE.as_bytes()) {
            Ok(()) => ExitCode::from(2),
            Err(_) => ExitCode::FAILURE,
        };
    };
    match perform(job, &mut out) {
        Ok(0) => ExitCode::SUCCESS,
        // A closed pipe ends the listing, not the verdict: what was not shown did not pass.
        Ok(_) | Err(_) => ExitCode::FAILURE,
    }
}

fn parse(arguments: &[&str]) -> Option<Job> {
    Some(match *arguments {
        ["seeds", "--from", from, "--count", count] => Job::Seeds {
            from: from.parse().ok()?,
            count: count.parse().ok()?,
        },
        ["one", seed, ref rest @ ..] => Job::One {
            seed: seed.parse().ok()?,
            trace: traced(rest)?,
        },
        ["named"] => Job::Named {
            part: String::new(),
            trace: false,
        },
        ["named", part, ref rest @ ..] => Job::Named {
            part: part.to_owned(),
            trace: traced(rest)?,
        },
        ["matrix", ref rest @ ..] => matrix_job(rest)?,
        _ => return None,
    })
}

fn matrix_job(arguments: &[&str]) -> Option<Job> {
    let (mut count, mut unseen, mut quick, mut page) = (None, false, false, false);
    let mut rows = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "--seeds" => count = Some(rest.next()?.parse().ok().filter(|n| *n > 0)?),
            "--unseen" => unseen = true,
            "--quick" => quick = true,
            "--page" => page = true,
            row if row.starts_with('-') => return None,
            row => rows.push(row.to_owned()),
        }
    }
    let count = count.unwrap_or(if quick { 1 } else { 5 });
    let mut seeds = Selection::seeds(count);
    if unseen {
        seeds.extend(Selection::unseen(count));
    }
    let selection = Selection { rows, quick, seeds };
    Some(Job::Matrix { selection, page })
}

fn traced(rest: &[&str]) -> Option<bool> {
    match rest {
        [] => Some(false),
        ["--trace"] => Some(true),
        _ => None,
    }
}

/// Runs the job and returns how many scenarios failed.
fn perform(job: Job, out: &mut impl Write) -> io::Result<u64> {
    let mut failed = 0;
    match job {
        Job::Seeds { from, count } => {
            for seed in from..from.saturating_add(count) {
                failed += report(&swarm::scenario(seed), false, out)?;
            }
        }
        Job::One { seed, trace } => {
            let scenario = swarm::scenario(seed);
            writeln!(out, "{scenario:#?}")?;
            failed += report(&scenario, trace, out)?;
        }
        Job::Named { part, trace } => {
            for policy in [Policy::Fixed, Policy::Fair] {
                for scenario in named::all(policy) {
                    if scenario.name.contains(&part) {
                        failed += report(&scenario, trace, out)?;
                    }
                }
            }
        }
        Job::Matrix { selection, page } => failed += matrix_report(&selection, page, out)?,
    }
    Ok(failed)
}

/// Runs the matrix and prints it, for a terminal or as a page of the documentation.
fn matrix_report(selection: &Selection, page: bool, out: &mut impl Write) -> io::Result<u64> {
    let cells = matrix::run(selection);
    if page {
        writeln!(out, "{}", matrix::page(selection, &cells))?;
        return Ok(0);
    }
    writeln!(out, "{}", matrix::table(&cells))?;
    let failing: Vec<&Cell> = cells.iter().filter(|cell| !cell.is_kept).collect();
    writeln!(out, "{}", matrix::tally(&cells))?;
    writeln!(out, "{} of {} cells fail", failing.len(), cells.len())?;
    if !failing.is_empty() {
        writeln!(out, "\n{}", matrix::table(failing.iter().copied()))?;
    }
    Ok(failing.len() as u64)
}

fn report(scenario: &Scenario, trace: bool, out: &mut impl Write) -> io::Result<u64> {
    let mut broken = Ok(());
    let mut print = |at: haul_flow::Time, fact: &Fact| {
        if broken.is_ok() {
            broken = writeln!(out, "{:14.6} ms  {fact:?}", at.0 as f64 / 1e6);
        }
    };
    let outcome = match trace {
        true => run(scenario, Some(&mut print)),
        false => run(scenario, None),
    };
    broken?;
    let name = &scenario.name;
    let violation = match outcome {
        Ok(outcome) => {
            let summary = Summary::new(scenario, &outcome);
            writeln!(out, "{name:34} {summary}  trace {}", outcome.trace)?;
            outcome.violation
        }
        Err(violation) => Some(violation),
    };
    let Some(violation) = violation else {
        return Ok(0);
    };
    writeln!(out, "FAILED {name}: {violation}")?;
    Ok(1)
}
