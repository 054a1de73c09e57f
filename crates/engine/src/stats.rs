use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use haul_flow::{ReceiverStats, SenderStats};
use haul_seal::OpenCounters;
use rustix::time::{ClockId, clock_gettime};

use crate::Stage;

/// Of so many turns one has its processor time looked at, and stands for the others.
const CPU_TURNS: u64 = 16;

/// Where one stage spent its time, summed over its threads. The stage that never waits binds.
#[derive(Debug, Clone, Copy)]
pub struct StageTimes {
    /// Which stage.
    pub stage: Stage,
    /// Batches handled.
    pub batches: u64,
    /// Working.
    pub busy: Duration,
    /// Waiting for something to do (the stage before binds) or for its time to come.
    pub waiting_for_input: Duration,
    /// Waiting for a free buffer or a place in the next queue (a later stage binds).
    pub waiting_for_output: Duration,
    /// Processor time of the work, from a sample.
    pub cpu: Duration,
}

/// A running line as of now.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The sending machine, on a sending line.
    pub sender: Option<SenderStats>,
    /// The receiving machine, on a receiving line.
    pub receiver: Option<ReceiverStats>,
    /// Length of the datagrams that carry data now.
    pub datagram_len: usize,
    /// Where the peer is.
    pub peer: Option<SocketAddr>,
    /// How often it has moved to another address or port.
    pub moves: u64,
    /// Bytes of file content written, on a receiving line; the padding of the last block included.
    pub content_bytes: u64,
    /// Datagrams that were not opened, by cause.
    pub refused: OpenCounters,
    /// Datagrams that this host itself refused to send.
    pub unsendable: u64,
    /// One entry a stage.
    pub stages: Vec<StageTimes>,
}

/// Counters of one stage, shared by its threads.
#[derive(Debug)]
pub(crate) struct StageCounters {
    stage: Stage,
    batches: AtomicU64,
    busy_ns: AtomicU64,
    input_ns: AtomicU64,
    output_ns: AtomicU64,
    cpu_ns: AtomicU64,
}

impl StageCounters {
    pub(crate) fn new(stage: Stage) -> Arc<Self> {
        Arc::new(Self {
            stage,
            batches: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            input_ns: AtomicU64::new(0),
            output_ns: AtomicU64::new(0),
            cpu_ns: AtomicU64::new(0),
        })
    }

    fn times(&self) -> StageTimes {
        let duration = |ns: &AtomicU64| Duration::from_nanos(ns.load(Relaxed));
        StageTimes {
            stage: self.stage,
            batches: self.batches.load(Relaxed),
            busy: duration(&self.busy_ns),
            waiting_for_input: duration(&self.input_ns),
            waiting_for_output: duration(&self.output_ns),
            cpu: duration(&self.cpu_ns),
        }
    }
}

/// Attributes the time of one thread to its stage's counters: each call books the time since the
/// one before.
pub(crate) struct Stopwatch {
    counters: Arc<StageCounters>,
    last: Instant,
    /// Turns so far, of which some have their processor time looked at: looking is a system call.
    turns: u32,
    /// In such a turn: the thread's processor time as work began.
    cpu: Option<Duration>,
}

impl Stopwatch {
    pub(crate) fn start(counters: &Arc<StageCounters>) -> Self {
        Self {
            counters: Arc::clone(counters),
            last: Instant::now(),
            turns: 0,
            cpu: None,
        }
    }

    pub(crate) fn was_waiting_for_input(&mut self) {
        let ns = self.lap();
        self.counters.input_ns.fetch_add(ns, Relaxed);
        self.begins();
    }

    /// Books `waited` out of the time since the last call; the rest goes with the next one.
    pub(crate) fn was_waiting_for_input_for(&mut self, waited: Duration) {
        let ns = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.counters.input_ns.fetch_add(ns, Relaxed);
        self.last += waited;
    }

    pub(crate) fn was_waiting_for_output(&mut self) {
        let ns = self.lap();
        self.counters.output_ns.fetch_add(ns, Relaxed);
        self.begins();
    }

    pub(crate) fn was_busy(&mut self, batches: u64) {
        let ns = self.lap();
        self.counters.busy_ns.fetch_add(ns, Relaxed);
        self.counters.batches.fetch_add(batches, Relaxed);
        if let Some(before) = self.cpu.take() {
            let ns = thread_time().saturating_sub(before).as_nanos();
            let ns = u64::try_from(ns).unwrap_or(u64::MAX);
            self.counters.cpu_ns.fetch_add(ns * CPU_TURNS, Relaxed);
        }
        self.turns = self.turns.wrapping_add(1);
    }

    /// Work begins: looks at the processor time if it is this turn's turn.
    fn begins(&mut self) {
        self.cpu = u64::from(self.turns)
            .is_multiple_of(CPU_TURNS)
            .then(thread_time);
    }

    fn lap(&mut self) -> u64 {
        let now = Instant::now();
        let ns = (now - self.last).as_nanos();
        self.last = now;
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

/// Processor time of the thread that asks.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The latest snapshot: written by the driver now and then, read by anyone.
#[derive(Debug, Default)]
pub(crate) struct Board {
    snapshot: Mutex<Snapshot>,
    stages: Vec<Arc<StageCounters>>,
}

impl Board {
    pub(crate) fn new(stages: Vec<Arc<StageCounters>>) -> Arc<Self> {
        Arc::new(Self {
            snapshot: Mutex::default(),
            stages,
        })
    }

    pub(crate) fn post(&self, snapshot: Snapshot) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    pub(crate) fn read(&self) -> Snapshot {
        let mut snapshot = self
            .snapshot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        snapshot.stages = self
            .stages
            .iter()
            .map(|counters| counters.times())
            .collect();
        snapshot
    }
}
