//! A real path to a real host, measured in both directions: `haul --measure`, and what its events
//! say.

use std::{
    fmt,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::{
    lab,
    limits::{self, Cpu},
    report::{Report, Run, Series},
};

/// `haul-bench link`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Host to measure the path to, which needs haul or hauld
    #[arg(value_name = "[user@]host")]
    host: String,
    /// How long to measure each direction, in seconds, or how much, such as 2G
    #[arg(long, default_value = "10s", value_name = "TIME|SIZE")]
    time: String,
    /// Which way
    #[arg(long, value_enum, default_value_t = Ways::Both, value_name = "WAY")]
    way: Ways,
    /// Use this haul [default: the one beside this program, else the one on the PATH]
    #[arg(long, value_name = "PATH")]
    haul: Option<PathBuf>,
    /// More options for haul, such as -P 2222 or --policy fixed -l 900M
    #[arg(last = true)]
    options: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Ways {
    /// There and back, one after the other
    Both,
    /// From here to the host
    Up,
    /// From the host to here
    Down,
}

/// haul ended with an exit status of its own, which becomes this program's.
#[derive(Debug)]
pub(crate) struct HaulFailed {
    pub(crate) status: u8,
    text: String,
}

impl fmt::Display for HaulFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for HaulFailed {}

pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new(format!("the path to {}", args.host));
    let ways = [
        ("upload", Ways::Up, &[][..]),
        ("download", Ways::Down, &["-R"]),
    ];
    for (name, _, reverse) in ways
        .into_iter()
        .filter(|(_, way, _)| args.way == Ways::Both || args.way == *way)
    {
        eprintln!("{name}, {}", args.time);
        let events = measure(args, reverse)?;
        let (row, notes) = row(Run::new(&args.host, name), name, &events)?;
        report.runs.push(row);
        report.notes.extend(notes);
    }
    report.notes.dedup();
    Ok(report)
}

/// What a run told.
#[derive(Debug, Default)]
struct Events {
    line: Value,
    progress: Vec<Value>,
    summary: Value,
}

fn measure(args: &Args, reverse: &[&str]) -> anyhow::Result<Events> {
    let haul = program(args);
    let mut child = Command::new(&haul)
        .args(["--json", "--progress", "never"])
        .arg(format!("--measure={}", args.time))
        .args(reverse)
        .args(&args.options)
        .arg("--")
        .arg(&args.host)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", haul.display()))?;
    // Questions and complaints of the login must not stand in a full pipe.
    let stderr = child.stderr.take().context("no standard error")?;
    let complaints = thread::spawn(move || {
        let lines = BufReader::new(stderr).lines().map_while(Result::ok);
        lines.last().unwrap_or_default()
    });
    let stdout = child.stdout.take().context("no standard output")?;
    let mut events = Events::default();
    let mut failure = None;
    for line in BufReader::new(stdout).lines() {
        let event: Value = serde_json::from_str(&line?).context("not an event of haul")?;
        match event["type"].as_str() {
            Some("line") => events.line = event,
            Some("progress") => events.progress.push(event),
            Some("summary") => events.summary = event,
            Some("error") => failure = event["text"].as_str().map(str::to_owned),
            _ => {}
        }
    }
    let status = child.wait()?;
    let said = complaints.join().unwrap_or_default();
    if status.success() && events.summary.is_object() {
        return Ok(events);
    }
    let said = said.strip_prefix("haul: error: ").unwrap_or(&said);
    Err(HaulFailed {
        status: status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
        text: failure.unwrap_or_else(|| said.to_owned()),
    }
    .into())
}

fn program(args: &Args) -> PathBuf {
    if let Some(haul) = &args.haul {
        return haul.clone();
    }
    lab::bin_folder().map_or_else(|_| PathBuf::from("haul"), |folder| folder.join("haul"))
}

/// The figures of one direction, and what to say about them.
fn row(mut row: Run, name: &str, events: &Events) -> anyhow::Result<(Run, Vec<String>)> {
    let summary = &events.summary;
    let number = |field: &str| summary[field].as_f64().unwrap_or(0.0);
    let bits = number("bytes") * 8.0;
    if bits <= 0.0 {
        bail!("{name}: nothing was moved");
    }
    // The start finds the rate; what the path carries shows after it.
    let steady = &events.progress[events.progress.len() / 3..];
    let least = number("min_rtt_ms");
    let rtt = Quantiles::of(steady, |event| event["latest_rtt_ms"].as_f64());
    let queue = Quantiles::of(steady, |event| {
        Some((event["latest_rtt_ms"].as_f64()? - least).max(0.0))
    });
    let goodput = Quantiles::of(steady, |event| event["goodput_bps"].as_f64());
    let cpu = Cpu::of(summary, name == "upload");
    row.figure("goodput", number("goodput_bps") / 1e6, "Mbit/s");
    row.figure("steady", goodput.median / 1e6, "Mbit/s");
    row.figure("loss", number("loss") * 100.0, "%");
    row.figure(
        "repeated",
        100.0 * number("retransmitted_bytes") / number("udp_bytes").max(1.0),
        "%",
    );
    row.figure("RTT least", least, "ms");
    row.figure("median", rtt.median, "ms");
    row.figure("p95", rtt.p95, "ms");
    row.figure("queue median", queue.median, "ms");
    row.figure("queue p95", queue.p95, "ms");
    row.figure("jitter", number("jitter_ms"), "ms");
    row.figure(
        "path MTU",
        events.line["packet_bytes"].as_f64().unwrap_or(0.0),
        "bytes",
    );
    row.figure("CPU sending", cpu.sender / (bits / 1e9), "s/Gbit");
    row.figure("CPU receiving", cpu.receiver / (bits / 1e9), "s/Gbit");
    row.series = series(&events.progress, least);
    let notes = limits::explain(name, summary, &events.line);
    Ok((row, notes))
}

fn series(progress: &[Value], least: f64) -> Vec<Series> {
    let points = |value: &dyn Fn(&Value) -> Option<f64>| {
        let point = |event: &Value| Some((event["seconds"].as_f64()?, value(event)?));
        progress.iter().filter_map(point).collect()
    };
    let field = |name: &'static str, scale: f64| {
        move |event: &Value| event[name].as_f64().map(|value| value * scale)
    };
    vec![
        Series {
            name: "rate",
            unit: "Mbit/s",
            points: points(&field("goodput_bps", 1e-6)),
        },
        Series {
            name: "queue",
            unit: "ms",
            points: points(&|event| Some((event["latest_rtt_ms"].as_f64()? - least).max(0.0))),
        },
        Series {
            name: "loss",
            unit: "%",
            points: points(&field("loss", 100.0)),
        },
    ]
}

/// Of samples a few times a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Quantiles {
    median: f64,
    p95: f64,
}

impl Quantiles {
    fn of(events: &[Value], value: impl Fn(&Value) -> Option<f64>) -> Self {
        let mut values: Vec<f64> = events.iter().filter_map(value).collect();
        values.sort_by(f64::total_cmp);
        let Some(last) = values.len().checked_sub(1) else {
            return Self::default();
        };
        // Nearest rank: a value that was seen.
        let at = |share: f64| {
            values[((share * values.len() as f64).ceil() as usize).clamp(1, last + 1) - 1]
        };
        Self {
            median: at(0.5),
            p95: at(0.95),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let events: Vec<Value> = (1..=20).map(|v| json!({ "v": v })).collect();
        let quantiles = Quantiles::of(&events, |event| event["v"].as_f64());
        assert_eq!((quantiles.median, quantiles.p95), (10.0, 19.0));
        let one = Quantiles::of(&events[..1], |event| event["v"].as_f64());
        assert_eq!((one.median, one.p95), (1.0, 1.0));
        assert_eq!(Quantiles::of(&[], |_| None), Quantiles::default());
    }
}
