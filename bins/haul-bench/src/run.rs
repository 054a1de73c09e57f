//! One run of haul over a lab, and what the emulated link saw of it.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use haul_wan::{Flow, FlowCounter, SERIES_STEP, Transport};
use serde_json::Value;

use crate::lab::{self, Lab};

/// Bytes that a full packet of haul spends beside payload: IPv4, UDP, header, address and tag.
const OVERHEAD: u64 = 20 + 8 + 40;
/// IPv4 and UDP.
const IP_OVERHEAD: u64 = 28;

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    /// The source; its bytes are what is moved.
    pub(crate) file: PathBuf,
    pub(crate) is_download: bool,
    /// More words for haul's command line.
    pub(crate) options: Vec<String>,
}

/// A point each [`SERIES_STEP`] and more.
pub(crate) type Points = Vec<(f64, f64)>;

/// What one run showed.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    /// From the start of the program to its end.
    pub(crate) whole: Duration,
    /// From the first UDP datagram to the verdict.
    pub(crate) data: Duration,
    /// From the start of the program to the first datagram with file data.
    pub(crate) set_up: Duration,
    /// What `ssh far true` takes, where it was measured.
    pub(crate) ssh: Duration,
    pub(crate) bytes: u64,
    /// Share of a full IP packet that is payload.
    pub(crate) efficiency: f64,
    /// Of UDP payload sent, the share that was sent again.
    pub(crate) repeated: f64,
    /// Share of data packets lost at random.
    pub(crate) lost: f64,
    /// Share of data packets that overflowed the queue.
    pub(crate) overflowed: f64,
    /// 95th percentile of the time packets waited in the queue.
    pub(crate) queue_p95: Duration,
    /// Bytes of reports over bytes of data, as IP packets.
    pub(crate) reports: f64,
    /// Megabits per second that crossed the bottleneck, over seconds.
    pub(crate) rate: Points,
    /// Milliseconds in the queue, over seconds.
    pub(crate) queue: Points,
    /// Share of packets lost or dropped, percent, over seconds.
    pub(crate) loss: Points,
}

impl Observed {
    /// Payload bits per second from the first datagram to the verdict.
    pub(crate) fn goodput(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.data.as_secs_f64()
    }
}

/// Runs haul once, verifies what arrived and looks at what the link saw.
pub(crate) fn haul(lab: &Lab, transfer: &Transfer) -> anyhow::Result<Observed> {
    let told = drive(lab, transfer)?;
    observe(lab, transfer, &told)
}

/// What a run told of itself, and when.
struct Told {
    began: Duration,
    verdict_at: Duration,
    ended: Duration,
    datagram_bytes: u64,
    summary: Value,
}

fn drive(lab: &Lab, transfer: &Transfer) -> anyhow::Result<Told> {
    let haul = lab::bin_folder()?.join("haul");
    let arrived = lab.folder().join("arrived");
    let _ = std::fs::remove_file(&arrived);
    let mut command = Lab::near(&haul);
    command
        .args(["--json", "--progress", "never", "-F"])
        .arg(lab.config())
        .args(&transfer.options)
        .env(lab::MEMORY_OF_PATHS, lab.folder().join("near"));
    if transfer.is_download {
        command.arg(format!("far:{}", transfer.file.display()));
        command.arg(&arrived);
    } else {
        command.arg(&transfer.file);
        command.arg(format!("far:{}", arrived.display()));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    let began = lab.wan.now();
    let mut child = lab.wan.near().spawn(command)?;
    let output = child.stdout.take().context("no output")?;
    let mut datagram_bytes = 0;
    let (mut verdict_at, mut summary) = (None, None);
    for line in BufReader::new(output).lines() {
        let event: Value = serde_json::from_str(&line?).context("not an event")?;
        match event["type"].as_str() {
            Some("session") => datagram_bytes = event["datagram_bytes"].as_u64().unwrap_or(0),
            // It comes with the verdict; the summary only when SSH has ended as well.
            Some("line") => verdict_at = Some(lab.wan.now()),
            Some("summary") => summary = Some(event),
            _ => {}
        }
    }
    let output = child.wait_with_output()?;
    let ended = lab.wan.now();
    let (Some(verdict_at), Some(summary)) = (verdict_at, summary) else {
        return Err(failed(output.status, &output.stderr));
    };
    if !lab::same_bytes(&transfer.file, &arrived)? {
        bail!("wrong bytes arrived");
    }
    std::fs::remove_file(&arrived)?;
    Ok(Told {
        began,
        verdict_at,
        ended,
        datagram_bytes,
        summary,
    })
}

fn observe(lab: &Lab, transfer: &Transfer, told: &Told) -> anyhow::Result<Observed> {
    let counters = lab.wan.counters();
    let drops = counters.own_drops + lab.wan.device_drops()?;
    if drops > 0 {
        bail!("the emulation itself dropped {drops} packets: this run says nothing");
    }
    let (data, reports) = if transfer.is_download {
        (&counters.back, &counters.out)
    } else {
        (&counters.out, &counters.back)
    };
    let data = latest_udp(data).context("no UDP was seen")?;
    let reports = latest_udp(reports).context("no UDP came back")?;
    let first = data.first_at.min(reports.first_at);
    Ok(Observed {
        whole: told.ended - told.began,
        data: told.verdict_at.saturating_sub(first),
        set_up: first_data(data, told.datagram_bytes).saturating_sub(told.began),
        ssh: Duration::ZERO,
        bytes: std::fs::metadata(&transfer.file)?.len(),
        efficiency: 1.0 - OVERHEAD as f64 / (told.datagram_bytes + IP_OVERHEAD) as f64,
        repeated: share(
            &told.summary["retransmitted_bytes"],
            &told.summary["udp_bytes"],
        ),
        lost: data.lost_packets as f64 / data.packets.max(1) as f64,
        overflowed: data.overflowed_packets as f64 / data.packets.max(1) as f64,
        queue_p95: queue_quantile(data, 0.95),
        reports: reports.bytes as f64 / data.bytes.max(1) as f64,
        rate: points(data, |bucket, seconds| {
            Some(bucket.delivered_bytes as f64 * 8e-6 / seconds)
        }),
        queue: points(data, |bucket, _| {
            let packets = f64::from(bucket.departed_packets);
            (packets > 0.0).then(|| bucket.waited_us as f64 * 1e-3 / packets)
        }),
        loss: points(data, |bucket, _| {
            let gone = bucket.lost_packets + bucket.overflowed_packets;
            let all = f64::from(bucket.departed_packets + bucket.overflowed_packets);
            (all > 0.0).then(|| 100.0 * f64::from(gone) / all)
        }),
    })
}

/// How long a command that does nothing takes over ssh.
pub(crate) fn ssh(lab: &Lab) -> anyhow::Result<Duration> {
    let mut command = Lab::near("ssh");
    command.arg("-F").arg(lab.config()).args(["far", "true"]);
    let began = lab.wan.now();
    let status = lab.wan.near().spawn(command)?.wait()?;
    if !status.success() {
        bail!("ssh ended with {status}");
    }
    Ok(lab.wan.now() - began)
}

fn failed(status: ExitStatus, stderr: &[u8]) -> anyhow::Error {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().last().unwrap_or("no word why");
    anyhow::anyhow!("haul ended with {status}: {last}")
}

/// The UDP flow that began last: labs may serve several runs.
fn latest_udp(flows: &BTreeMap<Flow, FlowCounter>) -> Option<&FlowCounter> {
    flows
        .iter()
        .filter(|(flow, _)| flow.transport == Transport::Udp)
        .map(|(_, counter)| counter)
        .max_by_key(|counter| counter.first_at)
}

/// When the first file data left: the opening's hellos come at once, data a round trip later or
/// together with them; either way in a bucket that holds more than the hellos.
fn first_data(data: &FlowCounter, datagram_bytes: u64) -> Duration {
    // What an Ethernet interface lets go: two of three lengths, one of the six between.
    const HELLOS: u64 = 2 * (1472 + 1440 + 1232) + 1424 + 1408 + 1376 + 1360 + 1312 + 1248;
    let mut seen = 0;
    for (index, bucket) in data.series.iter().enumerate() {
        seen += bucket.delivered_bytes;
        if seen > HELLOS + datagram_bytes {
            let step = SERIES_STEP.as_nanos() as u64;
            let first = data.first_at.as_nanos() as u64 / step;
            return Duration::from_nanos((first + index as u64) * step);
        }
    }
    data.last_at
}

fn share(part: &Value, whole: &Value) -> f64 {
    part.as_f64().unwrap_or(0.0) / whole.as_f64().unwrap_or(0.0).max(1.0)
}

fn queue_quantile(data: &FlowCounter, share: f64) -> Duration {
    let mut waits: Vec<(u64, u64)> = data
        .series
        .iter()
        .filter(|bucket| bucket.departed_packets > 0)
        .map(|bucket| {
            let packets = u64::from(bucket.departed_packets);
            (bucket.waited_us / packets, packets)
        })
        .collect();
    waits.sort_unstable();
    let all: u64 = waits.iter().map(|(_, packets)| packets).sum();
    let mut below = 0;
    for (wait, packets) in waits {
        below += packets;
        if below as f64 >= share * all as f64 {
            return Duration::from_micros(wait);
        }
    }
    Duration::ZERO
}

/// Tenths of a second from the flow's first packet on.
fn points(data: &FlowCounter, value: impl Fn(&haul_wan::Bucket, f64) -> Option<f64>) -> Points {
    const BUCKETS: usize = 10;
    let seconds = SERIES_STEP.as_secs_f64() * BUCKETS as f64;
    data.series
        .chunks(BUCKETS)
        .enumerate()
        .filter_map(|(index, buckets)| {
            let sum = buckets
                .iter()
                .fold(haul_wan::Bucket::default(), |sum, next| sum + *next);
            Some((index as f64 * seconds, value(&sum, seconds)?))
        })
        .collect()
}
