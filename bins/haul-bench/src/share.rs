//! Several flows on one bottleneck: who gets what.

use std::{thread, time::Duration};

use anyhow::bail;
use clap::ValueEnum;
use haul_wan::{Link, SERIES_STEP, inside_user_namespace};

use crate::{
    amount::{Rate, Share, Size, Span},
    contender::{Contender, Kind},
    lab::{self, Lab},
    report::{Bound, Report, Run, Series},
};

/// Bytes of a file that a contender of the whole link's rate would send in the time, and more.
const SPARE: f64 = 1.2;

/// `haul-bench share`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Who is on the link: haul (which is fair), high, low, cubic, bbr or reno; shares are those of
    /// the first
    #[arg(default_values = ["haul", "cubic"], value_name = "FLOW")]
    flows: Vec<Kind>,
    /// Bottleneck, bits per second
    #[arg(long, default_value = "100M", value_name = "RATE")]
    rate: Rate,
    /// Round-trip times
    #[arg(
        long,
        default_value = "20ms",
        value_delimiter = ',',
        value_name = "TIME,…"
    )]
    rtt: Vec<Span>,
    /// Queues before the bottleneck, in multiples of rate × RTT
    #[arg(long, default_value = "1", value_delimiter = ',', value_name = "BDP,…")]
    buffer: Vec<f64>,
    /// Random loss each way, percent
    #[arg(long, default_value = "0", value_name = "PERCENT")]
    loss: Share,
    /// Which starts when
    #[arg(
        long,
        default_value = "first,last",
        value_delimiter = ',',
        value_name = "ORDER,…"
    )]
    order: Vec<Order>,
    /// Head start of the one that begins, of `first` and `last`
    #[arg(long, default_value = "10s", value_name = "TIME")]
    head_start: Span,
    /// Time that passes after the last start before shares are counted
    #[arg(long, default_value = "10s", value_name = "TIME")]
    settle: Span,
    /// Time over which shares are counted
    #[arg(long, default_value = "60s", value_name = "TIME")]
    time: Span,
    /// Runs of each
    #[arg(long, default_value_t = 1, value_name = "N")]
    runs: u32,
    /// Also put CUBIC into the first one's seat, for comparison
    #[arg(long)]
    control: bool,
    /// Fail unless shares are what the policies promise
    #[arg(long)]
    check: bool,
    /// Seed of the network's randomness
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Which starts when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    /// The first flow has a head start
    First,
    /// The others have a head start
    Last,
    /// One after the other, without a pause
    Together,
}

/// One line of the table.
struct Cell {
    flows: Vec<Kind>,
    link: Link,
    order: Order,
}

/// What one cell showed.
struct Outcome {
    /// Bits per second of each flow, in the order of the cell.
    rates: Vec<f64>,
    series: Vec<Series>,
    /// Mean time in the queue, seconds.
    queue: f64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    inside_user_namespace()?;
    if args.flows.len() < 2 {
        bail!("sharing takes two flows or more, such as: haul-bench share haul cubic");
    }
    let mut report = Report::new(format!("{} on one bottleneck", names(&args.flows)));
    let mut shares = Vec::new();
    for rtt in &args.rtt {
        for buffer in &args.buffer {
            let queue = rtt.0.mul_f64(*buffer);
            let group = format!(
                "{} Mbit/s, {} ms, {buffer} BDP",
                args.rate.0 as f64 / 1e6,
                rtt.0.as_secs_f64() * 1e3
            );
            for (order, number) in orders(args) {
                let mut link = Link::symmetric(args.rate.0, rtt.0, queue, args.loss.0);
                link.seed = args.seed + u64::from(number);
                for flows in seats(args) {
                    let cell = Cell {
                        flows,
                        link: link.clone(),
                        order,
                    };
                    let row = Run::new(&group, name(&cell, number, args.runs));
                    eprintln!("{group}: {}", row.name);
                    report.runs.push(match once(args, &cell) {
                        Ok(outcome) => {
                            if cell.flows == args.flows {
                                shares.push(outcome.rates.clone());
                            }
                            fill(row, outcome, &cell, args)
                        }
                        Err(error) => row.failed(&error),
                    });
                }
            }
        }
    }
    report.runs.extend(verdict(args, &shares));
    report.notes.push(format!(
        "rates of whole IP packets behind the bottleneck over {:?}, from {:?} after the last start",
        args.time.0, args.settle.0
    ));
    Ok(report)
}

fn orders(args: &Args) -> impl Iterator<Item = (Order, u32)> {
    let runs = args.runs;
    let orders = args.order.iter();
    orders.flat_map(move |order| (1..=runs).map(move |number| (*order, number)))
}

/// The flows asked for and, where asked for, the same with CUBIC first.
fn seats(args: &Args) -> Vec<Vec<Kind>> {
    let mut seats = vec![args.flows.clone()];
    if args.control {
        let mut control = args.flows.clone();
        control[0] = Kind::Tcp("cubic");
        seats.push(control);
    }
    seats
}

fn names(flows: &[Kind]) -> String {
    let names: Vec<&str> = flows.iter().map(|kind| kind.name()).collect();
    names.join(", ")
}

fn name(cell: &Cell, number: u32, runs: u32) -> String {
    let when = match cell.order {
        Order::First => "first",
        Order::Last => "last",
        Order::Together => "together",
    };
    let run = if runs > 1 {
        format!(", run {number}")
    } else {
        String::new()
    };
    format!("{}: {when}{run}", names(&cell.flows))
}

fn once(args: &Args, cell: &Cell) -> anyhow::Result<Outcome> {
    let lab = Lab::start(&cell.link)?;
    let pause = match cell.order {
        Order::Together => Duration::ZERO,
        Order::First | Order::Last => args.head_start.0,
    };
    let file = lab.folder().join("file");
    let time = pause * 2 + args.settle.0 + args.time.0;
    let bytes = args.rate.0 as f64 / 8.0 * time.as_secs_f64() * SPARE;
    lab::make_file(&file, Size(bytes as u64).0)?;
    let mut seats: Vec<usize> = (0..cell.flows.len()).collect();
    if cell.order == Order::Last {
        seats.rotate_left(1);
    }
    // Those that are not the judged one start together, at its one side of the pause.
    let judged_at = seats.iter().position(|seat| *seat == 0).unwrap_or(0);
    let mut contenders = Vec::new();
    for (turn, seat) in seats.iter().enumerate() {
        let after_pause = match cell.order {
            Order::First => turn == 1,
            Order::Last => turn == judged_at,
            Order::Together => false,
        };
        if after_pause {
            thread::sleep(pause);
        }
        let contender = Contender::start(&lab, cell.flows[*seat], &file, *seat)?;
        contenders.push((*seat, contender));
    }
    contenders.sort_by_key(|(seat, _)| *seat);
    thread::sleep(args.settle.0);
    let from = lab.wan.now();
    thread::sleep(args.time.0);
    let counters = lab.wan.counters();
    let drops = counters.own_drops + lab.wan.device_drops()?;
    if drops > 0 {
        bail!("the emulation itself dropped {drops} packets: this run says nothing");
    }
    let mut outcome = Outcome {
        rates: Vec::new(),
        series: Vec::new(),
        queue: 0.0,
    };
    let (mut waited, mut departed) = (0, 0);
    for (_, contender) in &contenders {
        let Some(counter) = counters.out.get(&contender.flow) else {
            bail!("{} has gone", contender.kind.name());
        };
        let to = from + args.time.0;
        let bytes = counter.delivered_between(from, to);
        outcome
            .rates
            .push(bytes as f64 * 8.0 / args.time.0.as_secs_f64());
        for bucket in &counter.series {
            waited += bucket.waited_us;
            departed += u64::from(bucket.departed_packets);
        }
        outcome.series.push(Series {
            name: contender.kind.name(),
            unit: "Mbit/s",
            points: rates(counter),
        });
    }
    outcome.queue = waited as f64 * 1e-6 / departed.max(1) as f64;
    Ok(outcome)
}

/// Half seconds since the emulation began.
fn rates(counter: &haul_wan::FlowCounter) -> Vec<(f64, f64)> {
    const BUCKETS: usize = 50;
    let seconds = SERIES_STEP.as_secs_f64() * BUCKETS as f64;
    let first = counter.first_at.as_secs_f64();
    let chunks = counter.series.chunks_exact(BUCKETS).enumerate();
    chunks
        .map(|(index, buckets)| {
            let bytes: u64 = buckets.iter().map(|bucket| bucket.delivered_bytes).sum();
            let at = first + index as f64 * seconds;
            (at, bytes as f64 * 8e-6 / seconds)
        })
        .collect()
}

fn fill(mut row: Run, outcome: Outcome, cell: &Cell, args: &Args) -> Run {
    let rates = &outcome.rates;
    let all: f64 = rates.iter().sum();
    let of_link = cell.link.out.rate_bps.unwrap_or(1) as f64;
    let others: f64 = rates[1..].iter().sum();
    let is_judged = args.check && cell.flows == args.flows;
    let bound = bound(&cell.flows).filter(|_| is_judged);
    row.bounded("share", rates[0] / all, "", bound);
    row.figure("its rate", rates[0] / 1e6, "Mbit/s");
    row.figure("the others", others / 1e6, "Mbit/s");
    row.figure("Jain", jain(rates), "");
    row.figure("of the link", all / of_link, "");
    row.figure("queue", outcome.queue * 1e3, "ms");
    row.series = outcome.series;
    row
}

/// Jain's fairness index (Jain, Chiu, Hawe 1984): 1 when all get the same.
fn jain(rates: &[f64]) -> f64 {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    sum * sum / (rates.len() as f64 * squares.max(f64::MIN_POSITIVE))
}

/// What any one run may give the first of these.
fn bound(flows: &[Kind]) -> Option<Bound> {
    match flows {
        [Kind::Haul("fair"), Kind::Tcp("cubic")] => Some(Bound::Within(0.15, 0.75)),
        [Kind::Haul("low"), Kind::Tcp("cubic")] => Some(Bound::AtMost(0.10)),
        // Twice the other's, give or take a tenth: 1.8 to 2.2.
        [Kind::Haul("high"), Kind::Haul("fair")] => Some(Bound::Within(1.8 / 2.8, 2.2 / 3.2)),
        _ => None,
    }
}

/// What only all runs together can tell.
fn verdict(args: &Args, shares: &[Vec<f64>]) -> Option<Run> {
    if !args.check || shares.is_empty() {
        return None;
    }
    let mut row = Run::new("all runs", names(&args.flows));
    match args.flows.as_slice() {
        [Kind::Haul("fair"), Kind::Tcp("cubic")] => {
            let within = shares.iter().filter(|rates| {
                let share = rates[0] / rates.iter().sum::<f64>();
                (0.30..=0.65).contains(&share)
            });
            let percent = within.count() as f64 * 100.0 / shares.len() as f64;
            let most = Some(Bound::AtLeast(90.0));
            row.bounded("share within 0.30 to 0.65", percent, "% of runs", most);
        }
        [Kind::Haul("fair"), Kind::Haul("fair")] => {
            let indices = shares.iter().map(|rates| jain(rates));
            let least = indices.fold(1.0, f64::min);
            row.bounded("least Jain", least, "", Some(Bound::AtLeast(0.97)));
        }
        _ => return None,
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jain_is_one_for_equals_and_one_in_n_for_one_that_has_all() {
        assert!((jain(&[3.0, 3.0, 3.0]) - 1.0).abs() < 1e-9);
        assert!((jain(&[1.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-9);
    }
}
