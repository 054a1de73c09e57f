//! Two namespaces, two TUN devices, and the thread between them.

use std::{
    io,
    num::NonZeroU64,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionbio, read, write},
};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::{Counters, Direction, Link, Namespace, WanError, pipe::Pipe};

/// Address of the near namespace's device.
pub const NEAR_ADDRESS: &str = "10.77.0.1";
/// Address of the far namespace's device.
pub const FAR_ADDRESS: &str = "10.77.0.2";
const PREFIX: u8 = 24;
/// The near device's IPv6 address.
pub const NEAR_ADDRESS_V6: &str = "fd77::1";
/// The far device's IPv6 address.
pub const FAR_ADDRESS_V6: &str = "fd77::2";
const PREFIX_V6: u8 = 64;
/// Name of the device in either namespace.
const DEVICE: &str = "wan0";
/// Packets that a device holds before the emulation fetches them: far more than come between two
/// wake-ups, so that the emulation drops none of its own accord.
const DEVICE_QUEUE: u32 = 20_000;
/// Longest packet.
const PACKET_LEN_MAX: usize = 65_535;
/// Packets fetched from one device before the other is looked at.
const BATCH: usize = 128;
/// How often the emulation looks whether it should end, at the least.
const PATIENCE: Duration = Duration::from_millis(20);
/// For where the real-time class is not allowed.
const NICE: i32 = -19;
/// Of the real-time class, where allowed: above all that is not in it.
const PRIORITY: &str = "10";
/// Packets are handed over this much late rather than one by one, as network cards do: waking for
/// each costs more than carrying it.
const GRAIN: Duration = Duration::from_micros(50);
/// Buffers kept for reuse.
const SPARE_MAX: usize = 4096;

/// An emulated link in motion. Dropping it ends it; programs started inside should have ended
/// before.
#[derive(Debug)]
pub struct Wan {
    near: Namespace,
    far: Namespace,
    began: Instant,
    shared: Arc<Shared>,
    settings: mpsc::Sender<(Direction, Direction)>,
    thread: Option<JoinHandle<Result<(), WanError>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    counters: Mutex<Counters>,
}

impl Wan {
    /// Makes the two namespaces and joins them by `link`.
    ///
    /// # Errors
    /// [`WanError`] saying what the system lacks.
    pub fn start(link: &Link) -> Result<Self, WanError> {
        let near = Namespace::new("near")?;
        let far = Namespace::new("far")?;
        let devices = [
            device(&near, [NEAR_ADDRESS, NEAR_ADDRESS_V6], link.device_mtu)?,
            device(&far, [FAR_ADDRESS, FAR_ADDRESS_V6], link.device_mtu)?,
        ];
        let shared = Arc::new(Shared::default());
        let (settings, changes) = mpsc::channel();
        let began = Instant::now();
        let emulation = Emulation {
            devices,
            pipes: [
                Pipe::new(link.out.clone(), link.seed),
                Pipe::new(link.back.clone(), link.seed ^ 0x5555_5555),
            ],
            scratch: vec![0; PACKET_LEN_MAX].into_boxed_slice(),
            spare: Vec::new(),
            began,
            shared: Arc::clone(&shared),
            changes,
        };
        let thread = std::thread::Builder::new()
            .name(String::from("wan"))
            .spawn(move || emulation.run())?;
        Ok(Self {
            near,
            far,
            began,
            shared,
            settings,
            thread: Some(thread),
        })
    }

    /// Time since the emulation began, as counters tell it.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Where programs of the near end run.
    pub fn near(&self) -> &Namespace {
        &self.near
    }

    /// Where programs of the far end run.
    pub fn far(&self) -> &Namespace {
        &self.far
    }

    /// Changes both directions from now on.
    ///
    /// # Errors
    /// [`WanError::Ended`] when the emulation has failed.
    pub fn set(&self, out: Direction, back: Direction) -> Result<(), WanError> {
        self.settings.send((out, back)).map_err(|_| WanError::Ended)
    }

    /// Gives the near end another IPv4 address, as when a laptop moves to another network; the old one
    /// is gone.
    ///
    /// # Errors
    /// [`WanError::Program`] when ip(8) refuses.
    pub fn move_near(&self, address: &str) -> Result<(), WanError> {
        // In this order: with the first address of a network its others go too.
        self.near
            .configure(&["-4", "addr", "flush", "dev", DEVICE])?;
        let new = format!("{address}/{PREFIX}");
        self.near.configure(&["addr", "add", &new, "dev", DEVICE])
    }

    /// What has been counted until now.
    pub fn counters(&self) -> Counters {
        lock(&self.shared.counters).clone()
    }

    /// Packets that the devices themselves dropped because nobody fetched them in time: must be 0,
    /// or a run is void.
    ///
    /// # Errors
    /// [`WanError::System`] when the kernel's figures cannot be read.
    pub fn device_drops(&self) -> Result<u64, WanError> {
        let mut drops = 0;
        for namespace in [&self.near, &self.far] {
            let table =
                namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))??;
            drops += transmit_drops(&table);
        }
        Ok(drops)
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing more to say to anybody.
            let _ = thread.join();
        }
    }
}

/// The twelfth figure of the device's line in /proc/net/dev.
fn transmit_drops(table: &str) -> u64 {
    let line = table
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with(DEVICE));
    let figures = line
        .and_then(|line| line.split_once(':'))
        .map(|(_, rest)| rest);
    figures
        .and_then(|rest| rest.split_whitespace().nth(11))
        .and_then(|figure| figure.parse().ok())
        .unwrap_or(0)
}

fn device(
    namespace: &Namespace,
    addresses: [&'static str; 2],
    mtu: u16,
) -> Result<SyncDevice, WanError> {
    let made = namespace.run(move || {
        DeviceBuilder::new()
            .name(DEVICE)
            .ipv4(addresses[0], PREFIX, None)
            .ipv6(addresses[1], PREFIX_V6)
            .mtu(mtu)
            .build_sync()
    })?;
    let device = made.map_err(WanError::Tun)?;
    // By netlink: the older way is not allowed in user namespaces.
    let length = DEVICE_QUEUE.to_string();
    namespace.configure(&["link", "set", DEVICE, "txqueuelen", &length])?;
    ioctl_fionbio(&device, true).map_err(io::Error::from)?;
    Ok(device)
}

fn lock(counters: &Mutex<Counters>) -> std::sync::MutexGuard<'_, Counters> {
    // Counters are whole after every statement.
    counters.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the calling thread served before others, as a network would be, and woken to the microsecond.
/// Improvements, not conditions: without privileges a run may be void, and its counters say so.
pub(crate) fn serve_first() {
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let _ = rustix::process::setpriority_process(None, NICE);
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let _ = Command::new("chrt")
        .args(["--fifo", "--pid", PRIORITY, &thread])
        .stderr(Stdio::null())
        .status();
}

/// The thread between the two devices.
struct Emulation {
    /// Near, far.
    devices: [SyncDevice; 2],
    /// Out, back.
    pipes: [Pipe; 2],
    /// Where packets are read to.
    scratch: Box<[u8]>,
    spare: Vec<Vec<u8>>,
    began: Instant,
    shared: Arc<Shared>,
    changes: mpsc::Receiver<(Direction, Direction)>,
}

impl Emulation {
    fn run(mut self) -> Result<(), WanError> {
        serve_first();
        let mut readable = [true; 2];
        while !self.shared.stop.load(Relaxed) {
            let shared = Arc::clone(&self.shared);
            let mut counters = lock(&shared.counters);
            let has_more = self.turn(&mut counters, readable)?;
            drop(counters);
            readable = if has_more.contains(&true) {
                has_more
            } else {
                self.sleep()?
            };
        }
        Ok(())
    }

    /// Takes in what there is and hands over what is due; which devices may hold more.
    fn turn(
        &mut self,
        counters: &mut Counters,
        readable: [bool; 2],
    ) -> Result<[bool; 2], WanError> {
        let now = self.began.elapsed();
        counters.now = now;
        while let Ok((out, back)) = self.changes.try_recv() {
            self.pipes[0].set(out, now, &mut counters.out);
            self.pipes[1].set(back, now, &mut counters.back);
        }
        let mut has_more = readable;
        for from in 0..2 {
            let most = if readable[from] { BATCH } else { 0 };
            for _ in 0..most {
                let Some(packet) = self.fetch(from)? else {
                    has_more[from] = false;
                    break;
                };
                let ledger = if from == 0 {
                    &mut counters.out
                } else {
                    &mut counters.back
                };
                if let Some(unused) = self.pipes[from].enter(packet, now, ledger) {
                    self.keep(unused);
                }
                while let Some(answer) = self.pipes[from].answer() {
                    counters.own_drops += u64::from(write(&self.devices[from], &answer).is_err());
                }
            }
        }
        let now = self.began.elapsed();
        self.pipes[0].advance(now, &mut counters.out);
        self.pipes[1].advance(now, &mut counters.back);
        for to in 0..2 {
            while let Some((due, packet)) = self.pipes[1 - to].leave(now) {
                counters.note_late(now.saturating_sub(due));
                if write(&self.devices[to], &packet).is_err() {
                    counters.own_drops += 1;
                }
                self.keep(packet);
            }
        }
        Ok(has_more)
    }

    fn fetch(&mut self, from: usize) -> Result<Option<Vec<u8>>, WanError> {
        match read(&self.devices[from], &mut self.scratch[..]) {
            Ok(length) => {
                let mut packet = self.spare.pop().unwrap_or_default();
                packet.clear();
                packet.extend_from_slice(&self.scratch[..length]);
                Ok(Some(packet))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    fn keep(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(buffer);
        }
    }

    /// Until a packet comes or one is due; which devices hold packets.
    fn sleep(&self) -> Result<[bool; 2], WanError> {
        let due = self.pipes.iter().filter_map(Pipe::next_at).min();
        let now = self.began.elapsed();
        let wait = due.map_or(PATIENCE, |due| {
            due.saturating_sub(now).clamp(GRAIN, PATIENCE)
        });
        let timeout = Timespec::try_from(wait).unwrap_or_default();
        let [near, far] = &self.devices;
        let mut descriptors = [
            PollFd::new(near, PollFlags::IN),
            PollFd::new(far, PollFlags::IN),
        ];
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(descriptors.map(|d| !d.revents().is_empty())),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }
}
