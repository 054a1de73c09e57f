//! haul beside other movers: same link, same sshd, same file, same run.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use haul_wan::{Counters, inside_user_namespace};

use crate::{
    amount::Span,
    errand::{Errand, Way},
    lab::{self, Lab},
    ladder::{self, Place},
    report::{Bound, Report, Run},
};

/// How often a racer is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// `haul-bench peers`.
#[derive(Debug, clap::Args)]
#[command(after_help = ladder::described())]
pub(crate) struct Args {
    #[command(flatten)]
    errand: Errand,
    /// Give up on a racer after this
    #[arg(long, default_value = "60s", value_name = "TIME")]
    limit: Span,
    /// Race only these besides haul
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<String>,
    /// Fail where another is faster than haul
    #[arg(long)]
    check: bool,
}

/// A mover and how to have it move one file.
struct Racer {
    name: &'static str,
    /// What must be installed.
    program: &'static str,
    words: fn(&Task<'_>) -> Vec<String>,
}

/// What a racer is to do.
struct Task<'a> {
    lab: &'a Lab,
    place: &'a Place,
    from: String,
    to: String,
    way: Way,
}

impl Task<'_> {
    fn config(&self) -> String {
        self.lab.config().display().to_string()
    }
}

const HAUL: Racer = Racer {
    name: "haul",
    program: "haul",
    words: |task| {
        let (from, to) = ends(task);
        strings(["--quiet", "-F", &task.config(), &from, &to])
    },
};

const RACERS: [Racer; 7] = [
    Racer {
        name: "scp",
        program: "scp",
        words: |task| {
            let (from, to) = ends(task);
            strings(["-q", "-F", &task.config(), &from, &to])
        },
    },
    Racer {
        name: "scp aes128-gcm",
        program: "scp",
        words: |task| {
            let (from, to) = ends(task);
            let cipher = "aes128-gcm@openssh.com";
            strings(["-q", "-c", cipher, "-F", &task.config(), &from, &to])
        },
    },
    Racer {
        name: "rsync",
        program: "rsync",
        words: |task| {
            let (from, to) = ends(task);
            let shell = format!("ssh -F {}", task.config());
            strings(["--whole-file", "-e", &shell, &from, &to])
        },
    },
    Racer {
        name: "qcp",
        program: "qcp",
        words: |task| qcp(task, "cubic"),
    },
    Racer {
        name: "qcp bbr",
        program: "qcp",
        words: |task| qcp(task, "bbr"),
    },
    Racer {
        name: "syq",
        program: "syq",
        words: |task| syq(task, "cubic"),
    },
    Racer {
        name: "syq bbr",
        program: "syq",
        words: |task| syq(task, "bbr"),
    },
];

/// qcp's windows follow from what it is told of the link: it is told the truth.
fn qcp(task: &Task<'_>, control: &str) -> Vec<String> {
    let link = &task.place.link;
    let bytes = |rate: Option<u64>| (rate.unwrap_or(8_000_000_000) / 8).to_string();
    let rtt = (link.out.delay + link.back.delay).as_millis().max(1);
    let config = task.config();
    let (from, to) = ends(task);
    let mut words = strings(["-q", "--ssh-config", &config, "-S", "-F", "-S", &config]);
    words.extend(strings(["--tx", &bytes(link.out.rate_bps)]));
    words.extend(strings(["--rx", &bytes(link.back.rate_bps)]));
    words.extend(strings([
        "--rtt",
        &rtt.to_string(),
        "--congestion",
        control,
    ]));
    words.extend([from, to]);
    words
}

fn syq(task: &Task<'_>, control: &str) -> Vec<String> {
    let shell = format!("ssh -F {}", task.config());
    let end = match task.way {
        Way::Up => "--to",
        Way::Down => "--from",
    };
    let mut words = strings(["cp", "--rsh", &shell, "--no-bootstrap"]);
    words.extend(strings(["--tcp-congestion", control, &task.from]));
    words.extend(strings([end, "far", "--as", &task.to]));
    words
}

/// Source and destination as scp has them.
fn ends(task: &Task<'_>) -> (String, String) {
    match task.way {
        Way::Up => (task.from.clone(), format!("far:{}", task.to)),
        Way::Down => (format!("far:{}", task.from), task.to.clone()),
    }
}

fn strings<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// How a race of one ended.
struct Finish {
    took: Duration,
    /// Bytes of the file that arrived, at most.
    bytes: u64,
    is_complete: bool,
}

impl Finish {
    fn rate(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.took.as_secs_f64()
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    inside_user_namespace()?;
    let mut report = Report::new("haul beside other movers");
    let racers: Vec<&Racer> = RACERS
        .iter()
        .filter(|racer| args.only.is_empty() || args.only.iter().any(|n| n == racer.name))
        .filter(|racer| is_installed(racer.program))
        .collect();
    for (place, way) in args.errand.legs()? {
        match race(&place, way, &racers, args) {
            Ok(runs) => report.runs.extend(runs),
            Err(error) => report.runs.push(place.run(way.name()).failed(&error)),
        }
    }
    report.notes.push(String::from(
        "whole run including login; each racer runs right after a haul of its own, and haul is \
         how many times as fast as the racer it preceded. `reached` is less than 100 % where a \
         racer was cut off; its rate is then that of all it put on the link",
    ));
    Ok(report)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([lab::cargo_bin()])
        .any(|folder| folder.join(program).is_file())
}

/// haul, then a racer, and so on: what changes on the machine meets both alike.
fn race(place: &Place, way: Way, racers: &[&Racer], args: &Args) -> anyhow::Result<Vec<Run>> {
    let lab = Lab::start(&place.link)?;
    let size = args.errand.bytes(&place.link, way);
    let file = lab.folder().join("file");
    lab::make_file(&file, size)?;
    let mut runs = Vec::new();
    let mut hauls = Vec::new();
    for racer in racers {
        let haul = once(&lab, place, way, &HAUL, &file, args.limit.0).context("haul")?;
        let mut row = place.run(format!("{} {}", racer.name, way.name()));
        eprintln!("{}, {}", place.name, row.name);
        match once(&lab, place, way, racer, &file, args.limit.0) {
            Ok(finish) => {
                fill(&mut row, &finish, size);
                let ahead = haul.rate() / finish.rate();
                let least = args.check.then(|| Bound::AtLeast(least_ahead(place)));
                row.bounded("haul is", ahead, "×", least);
            }
            Err(error) => row = row.failed(&error),
        }
        hauls.push(haul);
        runs.push(row);
    }
    hauls.sort_by_key(|finish| finish.took);
    if let Some(median) = hauls.get(hauls.len() / 2) {
        let mut row = place.run(format!("haul {}", way.name()));
        fill(&mut row, median, size);
        row.figure("haul is", 1.0, "×");
        runs.insert(0, row);
    }
    let drops = lab.wan.counters().own_drops + lab.wan.device_drops()?;
    if drops > 0 {
        bail!("the emulation itself dropped {drops} packets: this run says nothing");
    }
    Ok(runs)
}

/// haul is to be ahead where packets are lost or far to go, and not behind elsewhere.
fn least_ahead(place: &Place) -> f64 {
    const FAR: Duration = Duration::from_millis(50);
    let link = &place.link;
    if link.out.mean_loss() > 0.0 || link.out.delay + link.back.delay >= FAR {
        1.0
    } else {
        0.97
    }
}

fn fill(row: &mut Run, finish: &Finish, size: u64) {
    row.figure("rate", finish.rate() / 1e6, "Mbit/s");
    row.figure("took", finish.took.as_secs_f64(), "s");
    let reached = if finish.is_complete {
        100.0
    } else {
        finish.bytes as f64 * 100.0 / size as f64
    };
    row.figure("reached", reached, "%");
}

fn once(
    lab: &Lab,
    place: &Place,
    way: Way,
    racer: &Racer,
    file: &Path,
    limit: Duration,
) -> anyhow::Result<Finish> {
    let arrived = lab.folder().join("arrived");
    let task = Task {
        lab,
        place,
        from: file.display().to_string(),
        to: arrived.display().to_string(),
        way,
    };
    let mut command: Command = if racer.program == HAUL.program {
        Lab::near(lab::bin_folder()?.join(racer.program))
    } else {
        Lab::near(racer.program)
    };
    command
        .args((racer.words)(&task))
        .env(lab::MEMORY_OF_PATHS, lab.folder().join("near"))
        .env("PATH", lab::search_path()?)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let log = lab.folder().join("racer.log");
    command.stderr(std::fs::File::create(&log)?);
    let carried_before = carried(&lab.wan.counters(), way);
    let began = lab.wan.now();
    let mut child = lab.wan.near().spawn(command)?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if lab.wan.now() - began > limit {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(GLANCE);
    };
    let took = lab.wan.now() - began;
    let outcome = match status {
        Some(status) if status.success() => {
            if !lab::same_bytes(file, &arrived)? {
                bail!("wrong bytes arrived");
            }
            Ok(Finish {
                took,
                bytes: std::fs::metadata(file)?.len(),
                is_complete: true,
            })
        }
        Some(status) => {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let last = text.lines().last().unwrap_or("no word why");
            Err(anyhow::anyhow!("ended with {status}: {last}"))
        }
        None => Ok(Finish {
            took,
            bytes: carried(&lab.wan.counters(), way) - carried_before,
            is_complete: false,
        }),
    };
    let _ = std::fs::remove_file(&arrived);
    outcome
}

/// Bytes of packets that crossed the bottleneck that way.
fn carried(counters: &Counters, way: Way) -> u64 {
    let flows = match way {
        Way::Up => &counters.out,
        Way::Down => &counters.back,
    };
    flows.values().map(|flow| flow.delivered_bytes).sum()
}
