//! haul over an emulated wide-area network.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use haul_wan::{Direction, Proof, inside_user_namespace};

use crate::{
    amount::{Rate, Span},
    errand::{Errand, Way},
    lab::{self, Lab},
    ladder::{self, Place},
    link::LinkArgs,
    report::{Bound, Report, Run, Series},
    run::{self, Observed, Transfer},
};

/// Queue target of the policy at this rate, seconds: 4 ms at 100 Mbit/s, less by the square root.
fn queue_target(rate_bps: f64) -> f64 {
    0.004 * (100e6 / rate_bps).sqrt()
}

/// `haul-bench wan`.
#[derive(Debug, clap::Args)]
#[command(after_help = ladder::described())]
pub(crate) struct Args {
    #[command(flatten)]
    errand: Errand,
    /// Runs of each link
    #[arg(long, default_value_t = 1, value_name = "N")]
    runs: u32,
    /// Run each once before, so that haul remembers the path
    #[arg(long)]
    warm: bool,
    /// Fail unless haul is as fast, frugal and quick to start as it promises to be
    #[arg(long)]
    check: bool,
    /// More options for haul, such as --policy fixed -l 295M
    #[arg(last = true)]
    options: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    inside_user_namespace()?;
    let mut report = Report::new("haul over an emulated wide-area network");
    for (place, way) in args.errand.legs()? {
        for number in 1..=args.runs {
            let row = place.run(format!("{} {number}", way.name()));
            eprintln!("{}, {}", place.name, row.name);
            report.runs.push(match once(&place, way, number, args) {
                Ok(observed) => fill(row, &observed, way.of(&place.link), args),
                Err(error) => row.failed(&error),
            });
        }
    }
    report.notes.push(String::from(
        "of possible: payload over rate × (1 − loss) × payload share of a full packet, from the \
         first UDP datagram to the verdict; ssh: the time of `ssh far true` on the same link",
    ));
    Ok(report)
}

fn once(place: &Place, way: Way, number: u32, args: &Args) -> anyhow::Result<Observed> {
    let mut link = place.link.clone();
    link.seed += u64::from(number - 1);
    let lab = Lab::start(&link)?;
    let transfer = Transfer {
        file: lab.folder().join("file"),
        is_download: way == Way::Down,
        options: args.options.clone(),
    };
    lab::make_file(&transfer.file, args.errand.bytes(&link, way))?;
    if args.warm {
        run::haul(&lab, &transfer)?;
    }
    let ssh = run::ssh(&lab)?;
    lab.change(args.errand.link.changes(), &link);
    let mut observed = run::haul(&lab, &transfer)?;
    observed.ssh = ssh;
    Ok(observed)
}

fn fill(mut row: Run, observed: &Observed, direction: &Direction, args: &Args) -> Run {
    let rate = direction.rate_bps.unwrap_or(u64::MAX) as f64;
    let loss = direction.mean_loss();
    let possible = rate * (1.0 - loss) * observed.efficiency;
    let judged = |bound| args.check.then_some(bound);
    let least = judged(Bound::AtLeast(least_share(observed.bytes, loss, args)));
    let most_repeated = judged(Bound::AtMost(loss * 100.0 + 1.0));
    let most_queue = judged(Bound::AtMost((1.5 * queue_target(rate) + 0.002) * 1e3));
    let ssh = observed.ssh.as_secs_f64();
    let most_reports = judged(Bound::AtMost(0.1)).filter(|_| loss == 0.0);
    row.figure("goodput", observed.goodput() / 1e6, "Mbit/s");
    row.bounded("of possible", observed.goodput() / possible, "", least);
    row.figure("data", observed.data.as_secs_f64(), "s");
    row.figure("whole run", observed.whole.as_secs_f64(), "s");
    let first = observed.set_up.as_secs_f64();
    row.bounded("first data", first, "s", judged(Bound::AtMost(ssh)));
    row.figure("ssh", ssh, "s");
    let repeated = observed.repeated * 100.0;
    row.bounded("repeated", repeated, "%", most_repeated);
    row.figure("lost", observed.lost * 100.0, "%");
    row.figure("overflowed", observed.overflowed * 100.0, "%");
    let queue = observed.queue_p95.as_secs_f64() * 1e3;
    row.bounded("queue p95", queue, "ms", most_queue);
    row.bounded("reports", observed.reports * 100.0, "%", most_reports);
    for (name, unit, points) in [
        ("rate", "Mbit/s", &observed.rate),
        ("queue", "ms", &observed.queue),
        ("loss", "%", &observed.loss),
    ] {
        row.series.push(Series {
            name,
            unit,
            points: points.clone(),
        });
    }
    row
}

/// Least share of the possible that haul promises: less where the start-up weighs more, and where
/// every fifth packet is lost.
fn least_share(bytes: u64, loss: f64, args: &Args) -> f64 {
    const LONG: u64 = 1 << 30;
    if args.options.iter().any(|option| option == "fixed") {
        0.96
    } else if bytes >= LONG {
        if loss > 0.15 { 0.90 } else { 0.95 }
    } else if args.warm {
        0.92
    } else {
        0.85
    }
}

/// `haul-bench shell`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShellArgs {
    #[command(flatten)]
    link: LinkArgs,
    /// What to run at the near end, with LAB naming the folder of the ssh configuration
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub(crate) fn shell(args: &ShellArgs) -> anyhow::Result<ExitCode> {
    inside_user_namespace()?;
    let rtt = args.link.rtt.first().context("no round-trip time")?;
    let loss = args.link.loss.first().context("no loss")?;
    let link = args.link.link(rtt.0, loss.0);
    let lab = Lab::start(&link)?;
    lab.change(args.link.changes(), &link);
    let mut command = Lab::near(PathBuf::from(&args.command[0]));
    command.args(&args.command[1..]).env("LAB", lab.folder());
    let status = lab.wan.near().spawn(command)?.wait()?;
    let counters = lab.wan.counters();
    for (way, flows) in [("out", &counters.out), ("back", &counters.back)] {
        for (flow, counter) in flows {
            eprintln!(
                "{way:4} {flow}: {} packets, {} bytes, {} overflowed, {} lost",
                counter.packets, counter.bytes, counter.overflowed_packets, counter.lost_packets
            );
        }
    }
    eprintln!(
        "own drops {}, {:.2} % of packets within 0.2 ms of their time",
        counters.own_drops + lab.wan.device_drops()?,
        counters.punctual_share() * 100.0
    );
    Ok(ExitCode::from(
        u8::try_from(status.code().unwrap_or(1)).unwrap_or(1),
    ))
}

/// `haul-bench prove`.
#[derive(Debug, clap::Args)]
pub(crate) struct ProveArgs {
    /// Rate to prove it at
    #[arg(long, default_value = "300M", value_name = "RATE")]
    rate: Rate,
    /// Seconds of each of the two runs
    #[arg(long, default_value = "3s", value_name = "TIME")]
    time: Span,
}

pub(crate) fn prove(args: &ProveArgs) -> anyhow::Result<Report> {
    inside_user_namespace()?;
    let proof = Proof::run(args.rate.0, args.time.0)?;
    let mut report = Report::new("The emulation by itself");
    let mut row = Run::new("blank link", format!("{} Mbit/s", args.rate.0 as f64 / 1e6));
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let none = Some(Bound::AtMost(0.0));
    row.figure("packets", proof.sent_packets as f64, "");
    row.bounded("own drops", proof.own_drops as f64, "", none);
    row.figure("added delay median", ms(proof.added_delay_median), "ms");
    let added = Some(Bound::AtMost(0.2));
    row.bounded("added delay p99", ms(proof.added_delay_p99), "ms", added);
    let late = (1.0 - proof.punctual_share) * 100.0;
    row.figure("handed over late", late, "% of packets");
    let off = (proof.rate_share - 1.0).abs() * 100.0;
    row.bounded("rate error", off, "%", Some(Bound::AtMost(0.5)));
    report.runs.push(row);
    Ok(report)
}
