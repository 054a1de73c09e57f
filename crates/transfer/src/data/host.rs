//! What the transfer costs this machine.

use std::{sync::Arc, time::Duration};

use haul_engine::Snapshot;
use haul_udp::UdpPath;
use haul_wire::control::{Host, Text};
use rustix::time::{ClockId, clock_gettime};

use crate::StageFacts;

/// Counts from when it is made.
pub(super) struct HostMeter {
    path: Arc<UdpPath>,
    cpu_before: Duration,
    machine_before: MachineTime,
}

impl HostMeter {
    pub(super) fn start(path: Arc<UdpPath>) -> Self {
        Self {
            path,
            cpu_before: process_time(),
            machine_before: MachineTime::now(),
        }
    }

    pub(super) fn read(&self, snapshot: &Snapshot) -> Host {
        let cpu = process_time().saturating_sub(self.cpu_before);
        let buffers = self.path.buffers();
        let stages = snapshot.stages.iter().map(StageFacts::of);
        let busiest = stages.max_by(|a, b| a.load().total_cmp(&b.load()));
        Host {
            cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
            send_buffer_bytes: buffers.send as u64,
            recv_buffer_bytes: buffers.recv as u64,
            dropped_datagrams: self.path.overflowed().unwrap_or(0),
            busiest_stage: Text::new(busiest.as_ref().map_or("", |stage| stage.name.as_str())),
            busiest_ppm: busiest.map_or(0, |stage| (stage.load() * 1e6) as u32),
            machine_ppm: (MachineTime::now().load_since(&self.machine_before) * 1e6) as u32,
        }
    }
}

/// Time of all processors of this machine, in ticks of any length.
#[derive(Debug, Default)]
struct MachineTime {
    idle: u64,
    all: u64,
}

impl MachineTime {
    /// As of now; nothing where the system does not tell.
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        Self::of(&text)
    }

    /// From the first line of the kernel's table (proc_stat(5)).
    fn of(table: &str) -> Self {
        /// Columns that count: idle and waiting for disks are the fourth and fifth, guests, behind
        /// the eighth, are counted in the first two already.
        const COLUMNS: usize = 8;
        let line = table.lines().next().unwrap_or_default();
        let columns = line.split_ascii_whitespace().skip(1).take(COLUMNS);
        let ticks: Vec<u64> = columns.flat_map(str::parse).collect();
        Self {
            idle: ticks.iter().skip(3).take(2).sum(),
            all: ticks.iter().sum(),
        }
    }

    /// Share of the time since then that the processors worked, 0 to 1.
    fn load_since(&self, before: &Self) -> f64 {
        let all = self.all.saturating_sub(before.all);
        let idle = self.idle.saturating_sub(before.idle).min(all);
        if all == 0 {
            return 0.0;
        }
        (all - idle) as f64 / all as f64
    }
}

/// Processor time of all threads of this process, user and system.
fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_tells_how_busy_the_processors_were() {
        let before = MachineTime::of("cpu  100 0 50 800 50 0 0 0 7 7\ncpu0 1 2 3 4 5 6 7 8 9 10\n");
        let after = MachineTime::of("cpu  160 0 70 810 60 0 0 0 9 9\n");
        assert_eq!((before.idle, before.all), (850, 1000));
        assert!((after.load_since(&before) - 0.8).abs() < 1e-9);
        assert_eq!(before.load_since(&after), 0.0);
        assert_eq!(MachineTime::of("").load_since(&MachineTime::default()), 0.0);
        assert!(MachineTime::now().all > 0);
    }
}
