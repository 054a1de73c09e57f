use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrayvec::ArrayVec;
use haul_batch::Batch;
use haul_wire::{HEADER_LEN, Header, Kind, Lane, PacketNo, PacketRun, SessionId, SuiteId, TAG_LEN};

use crate::{
    SealError, TrafficSecret,
    suite::{Backend, PacketCrypto, SEGMENTS_MAX, packet_crypto},
};

const BLOCK_LEN: usize = 16;

/// How a [`Sealer`] works. Limits above the default ones are lowered to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealOptions {
    /// Packets after which the next epoch begins; sealing stops at twice that. Default 2^28: the
    /// limit of AES-GCM in RFC 9001, section 6.6.
    pub packets: u64,
    /// Cipher blocks after which the next epoch begins; sealing stops at twice that. Default 2^35
    /// (512 GiB): keeps the distinguishing advantage below 2^-57.
    pub blocks: u64,
    /// What does the cipher work.
    pub backend: Backend,
}

impl Default for SealOptions {
    fn default() -> Self {
        Self {
            packets: 1 << 28,
            blocks: 1 << 35,
            backend: Backend::best(),
        }
    }
}

impl SealOptions {
    fn capped(self) -> Self {
        let most = Self::default();
        Self {
            packets: self.packets.min(most.packets),
            blocks: self.blocks.min(most.blocks),
            ..self
        }
    }
}

/// Seals one direction of a session. Shared between worker threads: the lock is held only to count
/// a batch's use of the key, not while sealing.
pub struct Sealer {
    suite: SuiteId,
    session: SessionId,
    options: SealOptions,
    key: Mutex<CurrentKey>,
}

/// The present epoch's key and how much of it is used.
struct CurrentKey {
    epoch: u32,
    secret: TrafficSecret,
    crypto: Arc<dyn PacketCrypto>,
    packets: u64,
    blocks: u64,
    /// The newest epoch that the peer is known to have seen.
    confirmed: u32,
}

/// Consecutive segments of a batch that go under one key.
struct Share {
    epoch: u32,
    crypto: Arc<dyn PacketCrypto>,
    count: usize,
}

impl Sealer {
    /// Starts at epoch 0 with the first traffic secret of the direction.
    pub fn new(suite: SuiteId, secret: TrafficSecret, session: SessionId) -> Self {
        Self::with_options(suite, secret, session, SealOptions::default())
    }

    /// Like [`Self::new`], with lower limits or another back end.
    pub fn with_options(
        suite: SuiteId,
        secret: TrafficSecret,
        session: SessionId,
        options: SealOptions,
    ) -> Self {
        let options = options.capped();
        let crypto = packet_crypto(suite, &secret, options.backend).into();
        Self {
            suite,
            session,
            options,
            key: Mutex::new(CurrentKey {
                epoch: 0,
                secret,
                crypto,
                packets: 0,
                blocks: 0,
                confirmed: 0,
            }),
        }
    }

    /// Seals every segment of a shaped batch in place. Each has 16 bytes of room for the header,
    /// then the body, then 16 bytes of room for the tag; the n-th gets the n-th number of the run.
    ///
    /// # Errors
    /// [`SealError::KeyUsedUp`] when the peer never confirmed the present epoch;
    /// [`SealError::RunLength`], [`SealError::SegmentTooShort`] and [`SealError::UnknownLane`] when
    /// the arguments do not fit. Nothing has been sealed then, and the numbers are spent.
    pub fn seal_batch(
        &self,
        kind: Kind,
        lane: Lane,
        run: PacketRun,
        mut batch: Batch,
    ) -> Result<Sealed, SealError> {
        check_arguments(lane, &run, &batch)?;
        let shares = self.reserve(&batch)?;
        self.seal_shares(kind, lane, run.first(), &shares, &mut batch);
        Ok(Sealed(batch))
    }

    /// Notes that authenticated feedback named this epoch (its low eight bits): the peer follows,
    /// so the next may start.
    pub fn confirm_epoch(&self, epoch_low8: u8) {
        let mut key = self.lock();
        // The peer can be behind but not ahead: any other value says nothing new.
        if key.epoch as u8 == epoch_low8 {
            key.confirmed = key.epoch;
        }
    }

    /// Starts the next epoch now.
    ///
    /// # Errors
    /// [`SealError::EpochUnconfirmed`] when the peer may still be an epoch behind.
    pub fn rekey(&self) -> Result<(), SealError> {
        let mut key = self.lock();
        if key.confirmed != key.epoch {
            return Err(SealError::EpochUnconfirmed { epoch: key.epoch });
        }
        self.advance(&mut key)
    }

    /// The present epoch.
    pub fn epoch(&self) -> u32 {
        self.lock().epoch
    }

    fn seal_shares(
        &self,
        kind: Kind,
        lane: Lane,
        first: PacketNo,
        shares: &[Share],
        batch: &mut Batch,
    ) {
        let mut packets = first.0..;
        let mut segments: ArrayVec<&mut [u8], SEGMENTS_MAX> = batch.segments_mut().collect();
        let mut rest = &mut segments[..];
        for share in shares {
            let (mine, later) = rest.split_at_mut(share.count);
            for (segment, packet) in mine.iter_mut().zip(&mut packets) {
                let header = Header {
                    kind,
                    epoch: share.epoch as u8,
                    flags: 0,
                    session: self.session,
                    lane,
                    packet: PacketNo(packet),
                };
                segment[..HEADER_LEN].copy_from_slice(&header.encode());
            }
            share.crypto.seal(mine);
            rest = later;
        }
    }

    /// Divides the batch among keys and counts it as sealed.
    fn reserve(&self, batch: &Batch) -> Result<ArrayVec<Share, SEGMENTS_MAX>, SealError> {
        // Header and body count, the last segment as if it were not shorter.
        let blocks_each = batch.stride().saturating_sub(TAG_LEN).div_ceil(BLOCK_LEN) as u64;
        let mut shares = ArrayVec::new();
        let mut left = batch.count() as u64;
        let mut key = self.lock();
        while left > 0 {
            let mut room = self.room(&key, blocks_each, 1);
            if room == 0 && key.confirmed == key.epoch {
                self.advance(&mut key)?;
                room = self.room(&key, blocks_each, 1);
            }
            if room == 0 {
                room = self.room(&key, blocks_each, 2);
            }
            if room == 0 {
                return Err(SealError::KeyUsedUp { epoch: key.epoch });
            }
            let count = room.min(left);
            key.packets += count;
            key.blocks += count * blocks_each;
            left -= count;
            shares.push(Share {
                epoch: key.epoch,
                crypto: Arc::clone(&key.crypto),
                count: count as usize,
            });
        }
        Ok(shares)
    }

    /// How many packets the key may still seal before `times` its limits.
    fn room(&self, key: &CurrentKey, blocks_each: u64, times: u64) -> u64 {
        let packets = (times * self.options.packets).saturating_sub(key.packets);
        let blocks = (times * self.options.blocks).saturating_sub(key.blocks);
        packets.min(blocks / blocks_each.max(1))
    }

    fn advance(&self, key: &mut CurrentKey) -> Result<(), SealError> {
        let next = key.epoch.checked_add(1);
        key.epoch = next.ok_or(SealError::KeyUsedUp { epoch: key.epoch })?;
        key.secret = key.secret.next();
        key.crypto = packet_crypto(self.suite, &key.secret, self.options.backend).into();
        key.packets = 0;
        key.blocks = 0;
        Ok(())
    }

    /// Every change of the key state is complete before the next can fail, so a thread that
    /// panicked leaves it sound.
    fn lock(&self) -> MutexGuard<'_, CurrentKey> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sealer {
    /// No keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("suite", &self.suite)
            .field("session", &self.session)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

fn check_arguments(lane: Lane, run: &PacketRun, batch: &Batch) -> Result<(), SealError> {
    if usize::from(lane.0) >= Lane::COUNT {
        return Err(SealError::UnknownLane(lane));
    }
    if run.len() != batch.count() || batch.count() > SEGMENTS_MAX {
        return Err(SealError::RunLength {
            numbers: run.len(),
            segments: batch.count(),
        });
    }
    match batch.segments().map(<[u8]>::len).min() {
        Some(len) if len < HEADER_LEN + TAG_LEN => Err(SealError::SegmentTooShort { len }),
        _ => Ok(()),
    }
}

/// A batch whose segments are all sealed. Only a [`Sealer`] makes one, and only this may be sent.
#[derive(Debug)]
pub struct Sealed(Batch);

impl Sealed {
    /// The batch.
    pub fn batch(&self) -> &Batch {
        &self.0
    }

    /// All datagrams, one behind the other.
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Distance between the starts of two datagrams.
    pub fn stride(&self) -> usize {
        self.0.stride()
    }

    /// The batch itself: what is in it may be seen by anyone.
    pub fn into_batch(self) -> Batch {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_can_only_be_lowered() {
        let options = |packets, blocks| SealOptions {
            packets,
            blocks,
            ..SealOptions::default()
        };
        let most = options(u64::MAX, u64::MAX).capped();
        assert_eq!(most, options(1 << 28, 1 << 35));
        assert_eq!(options(7, 8).capped(), options(7, 8));
    }
}
