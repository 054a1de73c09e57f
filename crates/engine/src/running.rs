use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use crossbeam_channel::{Sender, bounded};
use haul_batch::Pool;
use haul_disk::{Change, FileEvent, Had, Received};
use haul_flow::{Decision, Policy};
use haul_udp::UdpPath;

use crate::{
    EngineError, ReceiveSetup, SendSetup, Snapshot, Stage,
    clock::Clock,
    driver::{Ask, Desk, Fact, ReceiveDriver, SendDriver},
    newest::Newest,
    setup::{INBOX_DEPTH, RECEIVE_BUFFERS, SEND_BUFFERS, workers},
    stage,
    stats::{Board, StageCounters},
};

/// What the line tells its owner.
#[derive(Debug)]
pub enum EngineEvent {
    /// Sending: every block has been acknowledged.
    Delivered,
    /// Sending: the rate policy decided something.
    Decided(Decision),
    /// Receiving: every block has been written and every file finished.
    Complete,
    /// Receiving: which blocks need not be sent.
    Had(Had),
    /// Receiving: a file is finished or has failed. Sending: what one comes to.
    File(FileEvent),
    /// Receiving: what became of a name that is no file that arrived.
    Change(Change),
    /// The line has ended before its work was done.
    Failed(EngineError),
}

/// What is left when a line has stopped.
#[derive(Debug)]
pub struct Stopped {
    /// The last snapshot.
    pub snapshot: Snapshot,
    /// On a receiving line that had completed: what arrived.
    pub received: Option<Received>,
}

/// A line in motion. Dropping the handle stops it.
pub struct Running {
    inbox: Sender<Fact>,
    board: Arc<Board>,
    halt: Arc<Halt>,
    threads: Vec<JoinHandle<()>>,
    driver: Option<JoinHandle<Option<Received>>>,
}

/// Asks the stages that wait for the outside world, not for a channel, to end.
pub(crate) struct Halt {
    halted: AtomicBool,
    path: Arc<UdpPath>,
}

impl Halt {
    pub(crate) fn is_set(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.halted.store(true, Ordering::Relaxed);
        self.path.stop_waiting();
    }
}

/// Starts the sending line.
///
/// # Errors
/// [`EngineError::Flow`] for a configuration the machine refuses, [`EngineError::Thread`] when the
/// system gives no threads.
pub fn send(setup: SendSetup) -> Result<Running, EngineError> {
    let SendSetup {
        link,
        outgoing,
        flow,
    } = setup;
    let segment_len = flow.segment_len;
    let clock = Clock::start();
    let machine = haul_flow::Sender::new(flow, clock.now())?;
    let mut line = Line::new(Arc::clone(&link.path));
    let [read, seal, tx] = [Stage::Read, Stage::Seal, Stage::Tx].map(StageCounters::new);
    let board = Board::new(vec![Arc::clone(&read), Arc::clone(&seal), Arc::clone(&tx)]);
    let (plan_out, plan_in) = bounded(SEND_BUFFERS);
    let (filled_out, filled_in) = bounded(SEND_BUFFERS);
    let pool = Pool::new(SEND_BUFFERS);

    let (sealer, path, opener) = (
        Arc::clone(&link.sealer),
        Arc::clone(&link.path),
        Arc::clone(&link.opener),
    );
    let (inbox, halt, source) = (
        line.inbox.clone(),
        Arc::clone(&line.halt),
        Arc::clone(&outgoing),
    );
    line.spawn(Stage::Scan, move || stage::scan::run(&*source, &inbox))?;
    let (inbox, source) = (line.inbox.clone(), Arc::clone(&outgoing));
    line.spawn(Stage::Read, move || {
        stage::read::run(
            &*source,
            &pool,
            &plan_in,
            &filled_out,
            &inbox,
            &read,
            segment_len,
        )
    })?;
    let sending = {
        let (path, inbox) = (Arc::clone(&path), line.inbox.clone());
        move || stage::tx::Tx::new(path, clock, inbox, &tx)
    };
    if workers() == 0 {
        let sealer = Arc::clone(&sealer);
        line.spawn(Stage::Tx, move || {
            let mut tx = sending();
            stage::seal::run(&sealer, &filled_in, |sealed| tx.send(sealed), &seal)
        })?;
    } else {
        let (sealed_out, sealed_in) = bounded(SEND_BUFFERS);
        for _ in 0..workers() {
            let (sealer, seal) = (Arc::clone(&sealer), Arc::clone(&seal));
            let (filled_in, sealed_out) = (filled_in.clone(), sealed_out.clone());
            line.spawn(Stage::Seal, move || {
                stage::seal::run(&sealer, &filled_in, stage::queue(sealed_out), &seal)
            })?;
        }
        line.spawn(Stage::Tx, move || sending().run(&sealed_in))?;
    }
    let (inbox, sealer) = (line.inbox.clone(), sealer);
    line.spawn(Stage::Feedback, move || {
        stage::feedback::run(&path, &opener, &sealer, clock, &inbox, &halt)
    })?;

    let desk = Desk::new(link, clock, Arc::clone(&board), line.facts.clone());
    let driver = SendDriver::new(desk, machine, outgoing, plan_out);
    line.start(board, move || {
        driver.run();
        None
    })
}

/// Starts the receiving line.
///
/// # Errors
/// [`EngineError::Thread`] when the system gives no threads.
pub fn receive(setup: ReceiveSetup) -> Result<Running, EngineError> {
    let ReceiveSetup {
        link,
        incoming,
        flow,
    } = setup;
    let clock = Clock::start();
    let machine = haul_flow::Receiver::new(flow, clock.now());
    let mut line = Line::new(Arc::clone(&link.path));
    let [rx, open, write] = [Stage::Rx, Stage::Open, Stage::Write].map(StageCounters::new);
    let board = Board::new(vec![Arc::clone(&rx), Arc::clone(&open), Arc::clone(&write)]);
    let (opened_out, opened_in) = bounded(RECEIVE_BUFFERS);
    let pool = Pool::new(RECEIVE_BUFFERS);

    let (path, rx_pool, halt) = (Arc::clone(&link.path), pool.clone(), Arc::clone(&line.halt));
    let opening = {
        let (opener, inbox) = (Arc::clone(&link.opener), line.inbox.clone());
        let newest = Arc::new(Newest::default());
        move || {
            let (opener, inbox, cargo) = (Arc::clone(&opener), inbox.clone(), opened_out.clone());
            stage::open::Open::new(opener, clock, cargo, inbox, Arc::clone(&newest), &open)
        }
    };
    if workers() == 0 {
        line.spawn(Stage::Rx, move || {
            let mut opening = opening();
            stage::rx::run(
                &path,
                &rx_pool,
                clock,
                |landed| opening.open(landed),
                &halt,
                &rx,
            )
        })?;
    } else {
        let (arrived_out, arrived_in) = bounded(RECEIVE_BUFFERS);
        line.spawn(Stage::Rx, move || {
            stage::rx::run(
                &path,
                &rx_pool,
                clock,
                stage::queue(arrived_out),
                &halt,
                &rx,
            )
        })?;
        for _ in 0..workers() {
            let (opening, arrived_in) = (opening.clone(), arrived_in.clone());
            line.spawn(Stage::Open, move || opening().run(&arrived_in))?;
        }
    }
    let inbox = line.inbox.clone();
    line.spawn(Stage::Write, move || {
        stage::write::run(incoming, &opened_in, &inbox, &write)
    })?;

    let desk = Desk::new(link, clock, Arc::clone(&board), line.facts.clone());
    let driver = ReceiveDriver::new(desk, machine, pool);
    line.start(board, move || driver.run())
}

/// A line under construction: the inbox of its driver and the threads so far.
struct Line {
    inbox: Sender<Fact>,
    facts: crossbeam_channel::Receiver<Fact>,
    halt: Arc<Halt>,
    threads: Vec<JoinHandle<()>>,
}

impl Line {
    fn new(path: Arc<UdpPath>) -> Self {
        let (inbox, facts) = bounded(INBOX_DEPTH);
        let halt = Arc::new(Halt {
            halted: AtomicBool::new(false),
            path,
        });
        Self {
            inbox,
            facts,
            halt,
            threads: Vec::new(),
        }
    }

    /// Runs a stage on a thread of its own. Its error, or its panic, becomes a fact.
    fn spawn<F>(&mut self, stage: Stage, body: F) -> Result<(), EngineError>
    where
        F: FnOnce() -> Result<(), EngineError> + Send + 'static,
    {
        let inbox = self.inbox.clone();
        let guarded = move || {
            let outcome = catch_unwind(AssertUnwindSafe(body));
            if let Err(error) = outcome.unwrap_or(Err(EngineError::Panicked(stage))) {
                // Nobody left to tell means that the driver has ended already.
                let _ = inbox.send(Fact::Failed(error));
            }
        };
        self.threads.push(thread(stage, guarded)?);
        Ok(())
    }

    fn start<F>(self, board: Arc<Board>, driver: F) -> Result<Running, EngineError>
    where
        F: FnOnce() -> Option<Received> + Send + 'static,
    {
        // From here on the driver alone listens: when it ends, the stages find nobody and end too.
        let Self {
            inbox,
            facts: _,
            halt,
            threads,
        } = self;
        let halt_when_done = Arc::clone(&halt);
        let driver = thread(Stage::Driver, move || {
            let received = driver();
            halt_when_done.set();
            received
        })?;
        Ok(Running {
            inbox,
            board,
            halt,
            threads,
            driver: Some(driver),
        })
    }
}

fn thread<T, F>(stage: Stage, body: F) -> Result<JoinHandle<T>, EngineError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    std::thread::Builder::new()
        .name(format!("haul-{stage}"))
        .spawn(body)
        .map_err(|source| EngineError::Thread { stage, source })
}

impl Running {
    /// Counters and estimates as of a few milliseconds ago.
    pub fn snapshot(&self) -> Snapshot {
        self.board.read()
    }

    /// Changes the target and minimum rates of a sending line, in bits per second.
    pub fn set_rate(&self, target_bps: Option<u64>, min_bps: u64) {
        self.ask(Ask::Rate {
            target_bps,
            min_bps,
        });
    }

    /// Changes the rate policy of a sending line.
    pub fn set_policy(&self, policy: Policy) {
        self.ask(Ask::Policy(policy));
    }

    /// Tells a sending line which blocks of content need not be sent.
    pub fn set_had(&self, had: Had) {
        self.ask(Ask::Had(had));
    }

    /// Stops the line, waits for its threads and returns what is left.
    pub fn stop(mut self) -> Stopped {
        let received = self.halt_and_join();
        Stopped {
            snapshot: self.board.read(),
            received,
        }
    }

    fn ask(&self, ask: Ask) {
        // A line that has ended has nothing to change.
        let _ = self.inbox.send(Fact::Ask(ask));
    }

    fn halt_and_join(&mut self) -> Option<Received> {
        let driver = self.driver.take()?;
        self.ask(Ask::Stop);
        let received = driver.join().ok().flatten();
        self.halt.set();
        for thread in self.threads.drain(..) {
            // A panic has been reported as a fact.
            let _ = thread.join();
        }
        received
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.halt_and_join();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("threads", &self.threads.len())
            .finish_non_exhaustive()
    }
}
