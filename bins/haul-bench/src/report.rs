//! What every subcommand fills: runs with figures and series, shown as a table, JSON or a page.

mod html;
mod table;

use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

/// Where the report goes besides the terminal.
#[derive(Debug, clap::Args)]
pub(crate) struct Outputs {
    /// Write the report as JSON to this file (- for standard output, instead of the table)
    #[arg(long, value_name = "FILE", global = true)]
    json: Option<PathBuf>,
    /// Write the report as one self-contained page with plots to this file
    #[arg(long, value_name = "FILE", global = true)]
    html: Option<PathBuf>,
}

/// Everything that one invocation found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) title: String,
    /// The command that makes it again.
    pub(crate) command: String,
    /// What it was measured on.
    pub(crate) machine: String,
    /// Seconds since 1970 when it began.
    pub(crate) at: u64,
    pub(crate) runs: Vec<Run>,
    /// What a reader should know or do.
    pub(crate) notes: Vec<String>,
}

/// One row of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    /// What was measured, such as the link.
    pub(crate) group: String,
    /// Who, such as the program.
    pub(crate) name: String,
    pub(crate) figures: Vec<Figure>,
    pub(crate) series: Vec<Series>,
    /// Why there are no figures.
    pub(crate) failure: Option<String>,
}

/// One number.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) bound: Option<Bound>,
}

/// What a number must reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Within(f64, f64),
}

/// A number over time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// (seconds, value), seconds ascending.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Report {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        let at = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let words: Vec<String> = std::env::args().skip(1).collect();
        Self {
            title: title.into(),
            command: format!("haul-bench {}", words.join(" ")),
            machine: machine(),
            at: at.as_secs(),
            runs: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether every run succeeded and every bound is met.
    pub(crate) fn passes(&self) -> bool {
        self.runs.iter().all(|run| {
            run.failure.is_none()
                && run
                    .figures
                    .iter()
                    .all(|figure| figure.passes() != Some(false))
        })
    }
}

impl Run {
    pub(crate) fn new(group: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            name: name.into(),
            figures: Vec::new(),
            series: Vec::new(),
            failure: None,
        }
    }

    pub(crate) fn failed(mut self, error: &anyhow::Error) -> Self {
        self.failure = Some(format!("{error:#}"));
        self
    }

    pub(crate) fn figure(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.bounded(name, value, unit, None);
    }

    pub(crate) fn bounded(
        &mut self,
        name: &'static str,
        value: f64,
        unit: &'static str,
        bound: Option<Bound>,
    ) {
        self.figures.push(Figure {
            name,
            value,
            unit,
            bound,
        });
    }
}

impl Figure {
    /// Whether it meets its bound, if it has one.
    pub(crate) fn passes(&self) -> Option<bool> {
        Some(match self.bound? {
            Bound::AtLeast(least) => self.value >= least,
            Bound::AtMost(most) => self.value <= most,
            Bound::Within(least, most) => (least..=most).contains(&self.value),
        })
    }
}

impl Outputs {
    /// Shows the report and writes it where it was asked for.
    pub(crate) fn write(&self, report: &Report) -> anyhow::Result<()> {
        let to_stdout = self
            .json
            .as_ref()
            .is_some_and(|file| file.as_os_str() == "-");
        if to_stdout {
            println!("{}", serde_json::to_string_pretty(report)?);
        } else {
            println!("{}", table::render(report));
            if let Some(file) = &self.json {
                std::fs::write(file, serde_json::to_string_pretty(report)?)
                    .with_context(|| format!("cannot write {}", file.display()))?;
            }
        }
        if let Some(file) = &self.html {
            std::fs::write(file, html::render(report)?)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}

/// Processor, cores and kernel.
fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores, {model}, Linux {}", kernel.trim())
}
