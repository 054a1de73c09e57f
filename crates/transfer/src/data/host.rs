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
}

impl HostMeter {
    pub(super) fn start(path: Arc<UdpPath>) -> Self {
        Self {
            path,
            cpu_before: process_time(),
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
        }
    }
}

/// Processor time of all threads of this process, user and system.
fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
