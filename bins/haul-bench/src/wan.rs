//! haul over an emulated wide-area network.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use haul_wan::{Link, Proof, inside_user_namespace};

use crate::{
    amount::{Rate, Share, Size, Span},
    lab::{self, Lab},
    report::{Bound, Report, Run, Series},
    run::{self, Observed, Transfer},
};

/// Queue target of the policy at this rate, seconds: 4 ms at 100 Mbit/s, less by the square root.
fn queue_target(rate_bps: f64) -> f64 {
    0.004 * (100e6 / rate_bps).sqrt()
}

/// The emulated link.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LinkArgs {
    /// Bottleneck, bits per second
    #[arg(long, default_value = "300M", value_name = "RATE")]
    pub(crate) rate: Rate,
    /// Round-trip times
    #[arg(
        long,
        default_value = "100ms",
        value_delimiter = ',',
        value_name = "TIME,…"
    )]
    pub(crate) rtt: Vec<Span>,
    /// Random loss on the way of the data, percent
    #[arg(
        long,
        default_value = "0",
        value_delimiter = ',',
        value_name = "PERCENT,…"
    )]
    pub(crate) loss: Vec<Share>,
    /// Time that the full queue before the bottleneck takes to drain
    #[arg(long, default_value = "50ms", value_name = "TIME")]
    pub(crate) queue: Span,
    /// Most jitter, each way
    #[arg(long, default_value = "0ms", value_name = "TIME")]
    pub(crate) jitter: Span,
    /// Seed of the network's randomness
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

impl LinkArgs {
    /// One of the grid's links; what is lost is lost in both directions.
    pub(crate) fn link(&self, rtt: Duration, loss: f64) -> Link {
        let mut link = Link::symmetric(self.rate.0, rtt, self.queue.0, loss);
        link.seed = self.seed;
        link.out.jitter = self.jitter.0;
        link.back.jitter = self.jitter.0;
        link
    }
}

/// `haul-bench wan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    link: LinkArgs,
    /// Bytes to move
    #[arg(long, default_value = "256M", value_name = "SIZE")]
    size: Size,
    /// Download instead of uploading
    #[arg(long)]
    down: bool,
    /// Runs of each link
    #[arg(long, default_value_t = 1, value_name = "N")]
    runs: u32,
    /// Least share of the payload that the link can carry, in percent; less fails
    #[arg(long, value_name = "PERCENT")]
    require: Option<Share>,
    /// More options for haul, such as --policy fixed -l 295M
    #[arg(last = true)]
    options: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    inside_user_namespace()?;
    let mut report = Report::new("haul over an emulated wide-area network");
    let folder = tempfile::Builder::new()
        .prefix("haul-wan.")
        .tempdir_in("/dev/shm")?;
    let transfer = Transfer {
        file: folder.path().join("file"),
        is_download: args.down,
        options: args.options.clone(),
    };
    lab::make_file(&transfer.file, args.size.0)?;
    for rtt in &args.link.rtt {
        for loss in &args.link.loss {
            let link = args.link.link(rtt.0, loss.0);
            let group = format!(
                "{} Mbit/s, {} ms, {} % loss",
                args.link.rate.0 as f64 / 1e6,
                rtt.0.as_secs_f64() * 1e3,
                loss.0 * 100.0
            );
            for number in 1..=args.runs {
                let row = Run::new(&group, format!("run {number}"));
                eprintln!("{group}, run {number}");
                report.runs.push(match once(&link, &transfer) {
                    Ok(observed) => fill(row, &observed, args, loss.0),
                    Err(error) => row.failed(&error),
                });
            }
        }
    }
    report.notes.push(String::from(
        "of possible: payload over rate × (1 − loss) × payload share of a full packet, from the \
         first UDP datagram to the verdict",
    ));
    Ok(report)
}

fn once(link: &Link, transfer: &Transfer) -> anyhow::Result<Observed> {
    let lab = Lab::start(link)?;
    run::haul(&lab, transfer)
}

fn fill(mut row: Run, observed: &Observed, args: &Args, loss: f64) -> Run {
    let rate = args.link.rate.0 as f64;
    let possible = rate * (1.0 - loss) * observed.efficiency;
    let least = args.require.map(|share| Bound::AtLeast(share.0));
    row.figure("goodput", observed.goodput() / 1e6, "Mbit/s");
    row.bounded("of possible", observed.goodput() / possible, "", least);
    row.figure("data", observed.data.as_secs_f64(), "s");
    row.figure("whole run", observed.whole.as_secs_f64(), "s");
    row.figure("first data", observed.set_up.as_secs_f64(), "s");
    row.figure("repeated", observed.repeated * 100.0, "%");
    row.figure("lost", observed.lost * 100.0, "%");
    row.figure("overflowed", observed.overflowed * 100.0, "%");
    row.figure("queue p95", observed.queue_p95.as_secs_f64() * 1e3, "ms");
    row.figure("reports", observed.reports * 100.0, "%");
    if args.require.is_some() {
        let most = 1.5 * queue_target(rate) + 0.002;
        let index = row
            .figures
            .iter()
            .position(|figure| figure.name == "queue p95");
        if let Some(figure) = index.and_then(|index| row.figures.get_mut(index)) {
            figure.bound = Some(Bound::AtMost(most * 1e3));
        }
    }
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
    let lab = Lab::start(&args.link.link(rtt.0, loss.0))?;
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
    let off = (proof.rate_share - 1.0).abs() * 100.0;
    row.bounded("rate error", off, "%", Some(Bound::AtMost(0.5)));
    report.runs.push(row);
    Ok(report)
}
