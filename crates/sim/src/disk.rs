use std::time::Duration;

use haul_flow::Time;

/// The receiver's writing stage: a bounded buffer before a device of limited speed that stalls.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskConfig {
    /// Bytes per second the device takes.
    pub bytes_per_second: u64,
    /// Bytes of blocks that fit between the socket and the device.
    pub buffer_bytes: u64,
    /// Most bytes of one write.
    pub write_bytes: u64,
    /// The device does nothing at all for `stall` ...
    pub stall: Duration,
    /// ... each time this much time has passed. Zero: it never stalls.
    pub stall_every: Duration,
}

impl DiskConfig {
    /// A device much faster than any path.
    pub fn fast() -> Self {
        Self {
            bytes_per_second: 4 << 30,
            buffer_bytes: 64 << 20,
            write_bytes: 1 << 20,
            stall: Duration::ZERO,
            stall_every: Duration::ZERO,
        }
    }

    /// Bytes per second in the long run, stalls included.
    pub fn mean_bytes_per_second(&self) -> f64 {
        let period = (self.stall_every + self.stall).as_secs_f64();
        let busy = match self.stall_every.is_zero() {
            true => 1.0,
            false => self.stall_every.as_secs_f64() / period,
        };
        self.bytes_per_second as f64 * busy
    }
}

/// What one write took off the receiver's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Bytes of blocks that had not arrived before.
    pub fresh_bytes: u64,
    /// Blocks that had.
    pub duplicate_blocks: u64,
}

/// A running [`DiskConfig`].
#[derive(Debug)]
pub(crate) struct Disk {
    config: DiskConfig,
    waiting: Waiting,
    /// What the device is writing, and until when.
    writing: Option<(Waiting, Time)>,
    stall_at: Time,
}

#[derive(Debug, Clone, Copy, Default)]
struct Waiting {
    buffer_bytes: u64,
    written: Written,
}

impl Disk {
    /// An idle device and an empty buffer.
    pub(crate) fn new(config: DiskConfig) -> Self {
        Self {
            stall_at: Time::ZERO + config.stall_every,
            config,
            waiting: Waiting::default(),
            writing: None,
        }
    }

    /// Bytes that fit now.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.config.buffer_bytes - self.buffered_bytes()
    }

    /// Bytes in the buffer, those being written included.
    pub(crate) fn buffered_bytes(&self) -> u64 {
        let writing = self.writing.map_or(0, |(batch, _)| batch.buffer_bytes);
        self.waiting.buffer_bytes + writing
    }

    /// Takes a block of `block_len` bytes; false when it does not fit.
    pub(crate) fn accept(&mut self, block_len: usize, fresh: bool, now: Time) -> bool {
        if self.free_bytes() < block_len as u64 {
            return false;
        }
        self.waiting.buffer_bytes += block_len as u64;
        if fresh {
            self.waiting.written.fresh_bytes += block_len as u64;
        } else {
            self.waiting.written.duplicate_blocks += 1;
        }
        self.start(now);
        true
    }

    /// When the write in progress ends.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.writing.map(|(_, until)| until)
    }

    /// Ends the write in progress when it is due, and starts the next.
    pub(crate) fn poll_written(&mut self, now: Time) -> Option<Written> {
        let (batch, _) = self.writing.take_if(|(_, until)| *until <= now)?;
        self.start(now);
        Some(batch.written)
    }

    fn start(&mut self, now: Time) {
        if self.writing.is_some() || self.waiting.buffer_bytes == 0 {
            return;
        }
        let all = self.waiting;
        let batch = if all.buffer_bytes <= self.config.write_bytes {
            all
        } else {
            // A write takes its share of all that waits: which datagrams those are is not seen.
            let part = |n: u64| {
                let share = u128::from(n) * u128::from(self.config.write_bytes);
                (share / u128::from(all.buffer_bytes)) as u64
            };
            Waiting {
                buffer_bytes: self.config.write_bytes,
                written: Written {
                    fresh_bytes: part(all.written.fresh_bytes),
                    duplicate_blocks: part(all.written.duplicate_blocks),
                },
            }
        };
        self.waiting.buffer_bytes -= batch.buffer_bytes;
        self.waiting.written.fresh_bytes -= batch.written.fresh_bytes;
        self.waiting.written.duplicate_blocks -= batch.written.duplicate_blocks;
        // Duplicates are recognised by their address: they cost the device nothing.
        let bytes = u128::from(batch.written.fresh_bytes);
        let nanos = bytes * 1_000_000_000 / u128::from(self.config.bytes_per_second);
        let mut until = now + Duration::from_nanos(nanos as u64);
        if !self.config.stall_every.is_zero() && until >= self.stall_at {
            until = until.max(self.stall_at) + self.config.stall;
            self.stall_at = until + self.config.stall_every;
        }
        self.writing = Some((batch, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn megabyte_a_second(change: impl FnOnce(&mut DiskConfig)) -> Disk {
        let mut config = DiskConfig {
            bytes_per_second: 1_000_000,
            buffer_bytes: 10_000,
            write_bytes: 4_000,
            ..DiskConfig::fast()
        };
        change(&mut config);
        Disk::new(config)
    }

    /// Runs the device dry; returns what it wrote and when it ended.
    fn drain(disk: &mut Disk) -> (Written, Time) {
        let (mut total, mut end) = (Written::default(), Time::ZERO);
        while let Some(at) = disk.poll_timeout() {
            let written = disk.poll_written(at).unwrap();
            total.fresh_bytes += written.fresh_bytes;
            total.duplicate_blocks += written.duplicate_blocks;
            end = at;
        }
        (total, end)
    }

    #[test]
    fn what_is_accepted_is_written_at_the_configured_speed() {
        let mut disk = megabyte_a_second(|_| ());
        for n in 0..9 {
            assert!(disk.accept(1000, n != 4, Time::ZERO));
        }
        assert_eq!(disk.free_bytes(), 1000);
        let (written, end) = drain(&mut disk);
        assert_eq!(written.fresh_bytes, 8 * 1000);
        assert_eq!(written.duplicate_blocks, 1);
        assert_eq!(end, Time(8_000_000));
        assert_eq!(disk.free_bytes(), 10_000);
    }

    #[test]
    fn the_buffer_is_a_bound() {
        let mut disk = megabyte_a_second(|_| ());
        let accepted = (0..20).filter(|_| disk.accept(1000, true, Time::ZERO));
        assert_eq!(accepted.count(), 10);
        assert_eq!(disk.buffered_bytes(), 10_000);
    }

    #[test]
    fn stalls_stop_the_device() {
        let mut disk = megabyte_a_second(|config| {
            config.stall = Duration::from_millis(100);
            config.stall_every = Duration::from_millis(2);
        });
        assert!(disk.accept(3000, true, Time::ZERO));
        assert_eq!(drain(&mut disk).1, Time(103_000_000));
        assert!(disk.config.mean_bytes_per_second() < 20_000.0);
    }
}
