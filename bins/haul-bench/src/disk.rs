//! How fast a directory takes and gives files the way haul writes and reads them: haul's own code
//! for both ends, without the network between them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use haul_batch::{MAX_BATCH_BYTES, MAX_SEGMENTS, Pool};
use haul_disk::{
    Asked, Available, Discard, Incoming, Landing, Outgoing, Preserve, ReceiveOptions, ScanOptions,
    Sink, Supply, Synthetic, Until, Wanted,
};
use haul_wire::{BlockAddr, BlockNo, Part, Stream, block_len, segment_len};
use rustix::fs::{Advice, fadvise, statvfs};

use crate::{
    amount::Size,
    report::{Report, Run},
    signals,
};

/// UDP payload of a datagram on Ethernet.
const DATAGRAM_LEN: usize = 1452;
/// Share of what is free that may be used.
const FREE_SHARE: u64 = 2;

/// `haul-bench disk`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory to measure; what is written there is removed again
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// Bytes of the large file
    #[arg(long, default_value = "1G", value_name = "SIZE")]
    size: Size,
    /// How many small files
    #[arg(long, default_value_t = 2000, value_name = "N")]
    files: u32,
    /// Bytes of each
    #[arg(long, default_value = "4K", value_name = "SIZE")]
    file_size: Size,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    check(args)?;
    let folder = tempfile::Builder::new()
        .prefix(".haul-bench.")
        .tempdir_in(&args.dir)
        .with_context(|| format!("cannot write in {}", args.dir.display()))?;
    signals::remove_when_ended(folder.path());
    let mut report = Report::new(format!("reading and writing in {}", args.dir.display()));
    let large = Run::new("large file", format!("{} MB", args.size.0 / 1_000_000));
    report
        .runs
        .push(large_file(large, folder.path(), args.size.0)?);
    let name = format!("{} of {} bytes", args.files, args.file_size.0);
    let small = Run::new("small files", name);
    report.runs.push(small_files(small, folder.path(), args)?);
    report.notes.push(format!(
        "blocks of {} bytes in batches of up to {MAX_BATCH_BYTES}, each written once and in order, \
         on one thread as in haul",
        block_len(DATAGRAM_LEN)
    ));
    report.notes.push(verdict(&report));
    Ok(report)
}

/// Whether there is room.
fn check(args: &Args) -> anyhow::Result<()> {
    let dir = &args.dir;
    let space = statvfs(dir).with_context(|| format!("cannot look at {}", dir.display()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let wanted = args.size.0.max(u64::from(args.files) * args.file_size.0);
    if wanted > free / FREE_SHARE {
        bail!(
            "{} has {free} bytes free and this needs twice {wanted}; take a smaller --size",
            dir.display()
        );
    }
    Ok(())
}

fn large_file(mut row: Run, folder: &Path, bytes: u64) -> anyhow::Result<Run> {
    let block_len = block_len(DATAGRAM_LEN);
    let path = folder.join("measurement");
    let synthetic = Synthetic::new(block_len, Until::Bytes(bytes));
    let began = Instant::now();
    let sink = incoming(folder)?;
    pump(synthetic, sink)?;
    let written = began.elapsed();
    let file = File::open(&path).context("the file is not there")?;
    file.sync_all()?;
    let synced = began.elapsed();
    // What is in memory now would be read from there.
    fadvise(&file, 0, None, Advice::DontNeed)?;
    let cold = read(&path)?;
    let warm = read(&path)?;
    fs::remove_file(&path)?;
    let speed = |time: Duration| bytes as f64 * 8e-9 / time.as_secs_f64();
    row.figure("write", speed(written), "Gbit/s");
    row.figure("write and fsync", speed(synced), "Gbit/s");
    row.figure("read", speed(cold), "Gbit/s");
    row.figure("read from memory", speed(warm), "Gbit/s");
    Ok(row)
}

fn small_files(mut row: Run, folder: &Path, args: &Args) -> anyhow::Result<Run> {
    // Read once before, so that reading them again does not wait for the disk.
    let source = folder.join("source");
    let copy = folder.join("copy");
    fs::create_dir(&source)?;
    fs::create_dir(&copy)?;
    let content = vec![b'x'; args.file_size.0 as usize];
    for number in 0..args.files {
        fs::write(source.join(format!("file-{number:08}")), &content)?;
    }
    let contents = source.join(".");
    let reading = read(&contents)?;
    let began = Instant::now();
    pump(outgoing(&contents), incoming(&copy)?)?;
    let writing = began.elapsed();
    let arrived = fs::read_dir(&copy)?.count();
    if arrived != args.files as usize {
        bail!("{arrived} of {} files arrived", args.files);
    }
    let began = Instant::now();
    for entry in fs::read_dir(&copy)? {
        File::open(entry?.path())?.sync_all()?;
    }
    let synced = writing + began.elapsed();
    let rate = |time: Duration| f64::from(args.files) / time.as_secs_f64();
    row.figure("create and rename", rate(writing), "files/s");
    row.figure("and fsync", rate(synced), "files/s");
    row.figure("open and read", rate(reading), "files/s");
    Ok(row)
}

/// How long reading all of it takes.
fn read(source: &Path) -> anyhow::Result<Duration> {
    let began = Instant::now();
    pump(
        outgoing(source),
        Box::new(Discard::new(block_len(DATAGRAM_LEN))),
    )?;
    Ok(began.elapsed())
}

fn outgoing(source: &Path) -> Arc<dyn Supply> {
    let options = ScanOptions {
        recursive: true,
        times: false,
        ..ScanOptions::default()
    };
    // Joining paths would tidy the dot at the end away.
    let source = source.to_path_buf();
    Outgoing::new(block_len(DATAGRAM_LEN), Wanted::new(vec![source], options))
}

fn incoming(folder: &Path) -> anyhow::Result<Box<dyn Sink>> {
    let asked = Asked {
        count: 1,
        contents: true,
    };
    let destination = folder.as_os_str().as_encoded_bytes();
    let (root, landing) = Landing::resolve(Path::new("/"), destination, asked, false)?;
    let options = ReceiveOptions::new(Preserve::default());
    let block_len = block_len(DATAGRAM_LEN);
    Ok(Box::new(Incoming::new(root, landing, options, block_len)?))
}

/// Carries every block from one end to the other, the list first, in order.
fn pump(supply: Arc<dyn Supply>, mut sink: Box<dyn Sink>) -> anyhow::Result<()> {
    let (found_out, found) = mpsc::channel();
    let scanning = Arc::clone(&supply);
    let scan = thread::spawn(move || {
        scanning.scan(&mut |available| {
            // Nobody listens any more when the pump has failed.
            let _ = found_out.send(available);
        })
    });
    let mut pump = Pump {
        supply: &*supply,
        pool: Pool::new(1),
        available: Available::default(),
        done: [0; 2],
        complete: false,
    };
    let moved = pump.run(&found, &mut *sink);
    supply.stop();
    match scan.join() {
        Ok(scanned) => scanned?,
        Err(_) => bail!("the scan ended early"),
    }
    moved?;
    let received = sink.finish()?;
    if let Some(failure) = received.failed.first() {
        bail!("{failure}");
    }
    Ok(())
}

struct Pump<'a> {
    supply: &'a dyn Supply,
    pool: Pool,
    available: Available,
    /// Blocks of the list and of the contents that have been carried.
    done: [u64; 2],
    complete: bool,
}

impl Pump<'_> {
    fn run(
        &mut self,
        found: &mpsc::Receiver<Available>,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        while !self.complete {
            while let Ok(available) = found.try_recv() {
                self.note(available);
            }
            let moved = self.step(Stream::List, sink)? || self.step(Stream::Content, sink)?;
            if !moved && !self.complete {
                let available = found.recv().context("the source ended before its end")?;
                self.note(available);
            }
        }
        Ok(())
    }

    /// Carries one batch of a stream; `false` when nothing of it is there.
    fn step(&mut self, stream: Stream, sink: &mut dyn Sink) -> anyhow::Result<bool> {
        let (index, end) = match stream {
            Stream::List => (0, self.available.list_blocks),
            Stream::Content => (1, self.available.content_blocks),
        };
        let stride = segment_len(block_len(DATAGRAM_LEN));
        let most = (MAX_BATCH_BYTES / stride).min(MAX_SEGMENTS) as u64;
        let first = self.done[index];
        let count = (end - first).min(most);
        if count == 0 {
            return Ok(false);
        }
        let blocks: Vec<BlockAddr> = (first..first + count)
            .map(|number| BlockAddr {
                stream,
                block: BlockNo(number),
                part: Part::WHOLE,
            })
            .collect();
        let mut batch = self.pool.try_take().context("the buffer is not free")?;
        batch.shape(stride, blocks.len());
        if let Some(available) = self.supply.fill(&blocks, &mut batch)? {
            self.note(available);
        }
        let segments: Vec<(BlockAddr, u8)> = blocks.into_iter().zip(0..).collect();
        let placed = sink.place(batch, &segments)?;
        self.complete = placed.complete;
        self.done[index] = first + count;
        let floor = BlockNo(self.done[index]);
        if let Some(available) = self.supply.release(stream, floor) {
            self.note(available);
        }
        Ok(true)
    }

    /// Of two words about what is there, the larger of each field is the newer.
    fn note(&mut self, available: Available) {
        let known = &mut self.available;
        known.list_blocks = known.list_blocks.max(available.list_blocks);
        known.content_blocks = known.content_blocks.max(available.content_blocks);
    }
}

/// What it means for a transfer.
fn verdict(report: &Report) -> String {
    let figure = |run: usize, name: &str| {
        let figures = report.runs.get(run).map(|run| &run.figures);
        let found = figures.and_then(|all| all.iter().find(|figure| figure.name == name));
        found.map_or(0.0, |figure| figure.value)
    };
    format!(
        "a link up to {:.1} Gbit/s can be filled from here and one up to {:.1} Gbit/s emptied into \
         here before the disk binds (haul does not fsync; the system writes back in its own time, \
         at {:.1} Gbit/s when it must); with small files, {:.0} of them a second",
        figure(0, "read"),
        figure(0, "write"),
        figure(0, "write and fsync"),
        figure(1, "create and rename"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn args(dir: &Path) -> Args {
        Args {
            dir: dir.to_path_buf(),
            size: Size(20_000_001),
            files: 70,
            file_size: Size(5000),
        }
    }

    #[test]
    fn a_directory_is_measured_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let report = run(&args(dir.path())).unwrap();
        for row in &report.runs {
            assert!(
                row.figures.iter().all(|figure| figure.value > 0.0),
                "{row:?}"
            );
        }
        assert_eq!(report.runs.len(), 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_is_said_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let missing = run(&args(&dir.path().join("missing"))).unwrap_err();
        let huge = run(&Args {
            size: Size(1 << 60),
            ..args(dir.path())
        })
        .unwrap_err();
        for (error, words) in [(missing, "cannot look at"), (huge, "smaller --size")] {
            let text = format!("{error:#}");
            assert!(text.contains(words) && !text.contains('\n'), "{text}");
        }
    }
}
