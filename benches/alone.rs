//! What each stage costs when nothing else runs: one batch after the other goes the whole way on one
//! thread, through haul's own code for every step.

use std::{error::Error, net::IpAddr, sync::Arc, thread, time::Duration};

use arrayvec::ArrayVec;
use crossbeam_channel::Receiver;
use haul_batch::{Batch, MAX_BATCH_BYTES, MAX_SEGMENTS, Pool};
use haul_disk::{Available, Sink, Supply};
use haul_seal::{Direction, Opener, Sealer};
use haul_udp::{RECEIVE_SLOTS, Route, UdpPath};
use haul_wire::{
    BlockAddr, BlockNo, Kind, Lane, PacketCounter, Part, Stream, SuiteId, block_len, segment_len,
};
use rustix::time::{ClockId, clock_gettime};

use crate::{Ends, keys};

/// Longest wait for what has been sent over loopback.
const PATIENCE: Duration = Duration::from_secs(1);

/// Processor time for a byte of content, in nanoseconds, by stage.
#[derive(Debug, Clone, Copy, Default)]
pub struct Costs {
    /// Content into packets.
    pub read: f64,
    /// Encrypting and authenticating.
    pub seal: f64,
    /// Into the kernel, and through it to the other socket.
    pub send: f64,
    /// Out of the kernel.
    pub receive: f64,
    /// Checking and decrypting.
    pub open: f64,
    /// Content out of packets.
    pub write: f64,
}

impl Costs {
    /// The stages in order, with their names.
    pub fn stages(&self) -> [(&'static str, f64); 6] {
        [
            ("read", self.read),
            ("seal", self.seal),
            ("send", self.send),
            ("receive", self.receive),
            ("open", self.open),
            ("write", self.write),
        ]
    }

    /// Nanoseconds for a byte, all stages together.
    pub fn sum(&self) -> f64 {
        self.stages().iter().map(|(_, cost)| cost).sum()
    }

    /// Gbit/s that `cores` could do if the work were spread evenly and nothing else cost anything,
    /// and no stage could use more than one of them.
    pub fn limit_gbps(&self, cores: usize) -> f64 {
        let stages = self.stages();
        let slowest = stages.iter().fold(0.0, |most, (_, cost)| cost.max(most));
        8.0 / (self.sum() / cores as f64).max(slowest)
    }
}

/// Processor time of the thread that asks.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Measures all stages.
///
/// # Errors
/// Whatever a stage says.
pub fn measure_alone(
    ends: &Ends<'_>,
    suite: SuiteId,
    datagram_len: usize,
) -> Result<Costs, Box<dyn Error>> {
    let block_len = block_len(datagram_len);
    let supply = ends.supply(block_len);
    let (found_out, found) = crossbeam_channel::unbounded();
    let scanning = Arc::clone(&supply);
    let scan = thread::spawn(move || {
        let told = scanning.scan(&mut |available| {
            // Nobody listens any more when a stage has failed.
            let _ = found_out.send(available);
        });
        told.is_ok()
    });
    let mut line = Line::new(suite, segment_len(block_len))?;
    let mut sink = ends.sink(block_len)?;
    let moved = line.carry_all(&*supply, &found, &mut *sink);
    supply.stop();
    if !scan.join().is_ok_and(|scanned| scanned) {
        return Err("the scan failed".into());
    }
    moved?;
    sink.finish()?;
    let each = |time: Duration| time.as_secs_f64() * 1e9 / line.content_bytes as f64;
    let [read, seal, send, receive, open, write] = line.spent.map(each);
    Ok(Costs {
        read,
        seal,
        send,
        receive,
        open,
        write,
    })
}

/// Both ends between supply and sink, on one thread.
struct Line {
    stride: usize,
    sealer: Sealer,
    opener: Opener,
    near: UdpPath,
    far: UdpPath,
    pool: Pool,
    numbers: PacketCounter,
    /// By stage.
    spent: [Duration; 6],
    content_bytes: u64,
}

impl Line {
    fn new(suite: SuiteId, stride: usize) -> Result<Self, Box<dyn Error>> {
        let ip: IpAddr = [127, 0, 0, 1].into();
        let (near, far) = (UdpPath::bind(ip, 0..=0)?, UdpPath::bind(ip, 0..=0)?);
        near.set_route(Route::to(far.local_addr()));
        far.set_route(Route::to(near.local_addr()));
        let (sealer, _) = keys(suite, Direction::ClientToServer)?;
        let (_, opener) = keys(suite, Direction::ServerToClient)?;
        Ok(Self {
            stride,
            sealer,
            opener,
            near,
            far,
            pool: Pool::new(2 * RECEIVE_SLOTS),
            numbers: PacketCounter::new(),
            spent: [Duration::ZERO; 6],
            content_bytes: 0,
        })
    }

    /// Carries every block, the list first, in order.
    fn carry_all(
        &mut self,
        supply: &dyn Supply,
        found: &Receiver<Available>,
        sink: &mut dyn Sink,
    ) -> Result<(), Box<dyn Error>> {
        let most = (MAX_BATCH_BYTES / self.stride).min(MAX_SEGMENTS) as u64;
        let mut available = Available::default();
        let mut done = [0_u64; 2];
        let mut complete = false;
        while !complete {
            let ends = [available.list_blocks, available.content_blocks];
            let next = [Stream::List, Stream::Content]
                .into_iter()
                .enumerate()
                .find(|(index, _)| ends[*index] > done[*index]);
            let Some((index, stream)) = next else {
                available = found.recv()?;
                continue;
            };
            let first = done[index];
            done[index] = ends[index].min(first + most);
            let blocks: ArrayVec<BlockAddr, MAX_SEGMENTS> = (first..done[index])
                .map(|number| BlockAddr {
                    stream,
                    block: BlockNo(number),
                    part: Part::WHOLE,
                })
                .collect();
            let grown;
            (complete, grown) = self.carry(supply, &blocks, sink)?;
            let released = supply.release(stream, BlockNo(done[index]));
            // Several tell of it: who is heard last need not know the most.
            for told in found.try_iter().chain(grown).chain(released) {
                available.list_blocks = available.list_blocks.max(told.list_blocks);
                available.content_blocks = available.content_blocks.max(told.content_blocks);
            }
        }
        Ok(())
    }

    /// Carries one batch the whole way; whether it was the last, and what reading it made available.
    fn carry(
        &mut self,
        supply: &dyn Supply,
        blocks: &[BlockAddr],
        sink: &mut dyn Sink,
    ) -> Result<(bool, Option<Available>), Box<dyn Error>> {
        let mut batch = self.pool.try_take().ok_or("no buffer")?;
        batch.shape(self.stride, blocks.len());
        let run = self.numbers.take(blocks.len()).ok_or("no numbers")?;
        let began = now();
        let grown = supply.fill(blocks, &mut batch)?;
        let filled = now();
        let sealed = self.sealer.seal_batch(Kind::Data, Lane::DATA, run, batch)?;
        let sealed_at = now();
        self.near.send(sealed.bytes(), self.stride, false)?;
        drop(sealed);
        let sent = now();
        let arrived = self.receive(blocks.len())?;
        let received = now();
        let opened: ArrayVec<_, MAX_SEGMENTS> = arrived
            .into_iter()
            .map(|batch| self.opener.open_batch(batch, 0).into_parts())
            .collect();
        let opened_at = now();
        let mut complete = false;
        let mut nth = 0;
        for (batch, segments) in opened {
            let placed: ArrayVec<(BlockAddr, u8), MAX_SEGMENTS> = segments
                .iter()
                .map(|at| at.index)
                .zip(&blocks[nth..])
                .map(|(index, block)| (*block, index))
                .collect();
            nth += placed.len();
            let placed = sink.place(batch, &placed)?;
            complete |= placed.complete;
            self.content_bytes += placed.content_bytes;
        }
        let written = now();
        let moments = [began, filled, sealed_at, sent, received, opened_at, written];
        for (spent, pair) in self.spent.iter_mut().zip(moments.windows(2)) {
            *spent += pair[1] - pair[0];
        }
        Ok((complete, grown))
    }

    /// Receives so many datagrams: those of one batch, which the kernel may have cut up.
    fn receive(&self, count: usize) -> Result<ArrayVec<Batch, MAX_SEGMENTS>, Box<dyn Error>> {
        let mut arrived = ArrayVec::new();
        let mut arrivals = ArrayVec::new();
        let mut missing = count;
        while missing > 0 {
            let mut slot = [self.pool.try_take().ok_or("no buffer")?];
            self.far.recv(&mut slot, &mut arrivals, PATIENCE)?;
            if arrivals.is_empty() {
                return Err("what was sent did not arrive".into());
            }
            let [batch] = slot;
            missing = missing.saturating_sub(batch.count());
            arrived.push(batch);
        }
        Ok(arrived)
    }
}
