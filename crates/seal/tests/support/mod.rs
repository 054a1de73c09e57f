//! Two ends of a session, and a network between them that hands datagrams over as they are.
#![allow(dead_code, reason = "each test file uses its own part")]

use haul_batch::{Batch, Pool};
use haul_seal::{
    Direction, KeyInput, OpenOptions, Opened, Opener, SealError, SealOptions, Sealer,
    SessionSecrets, TrafficSecret,
};
use haul_wire::{Kind, Lane, PacketCounter, SessionId, SuiteId};

pub(crate) const SESSION: SessionId = SessionId(0xa1b2_c3d4);
pub(crate) const OVERHEAD: usize = 32;

/// The secrets of a session that is named by one number.
pub(crate) fn secrets(session: u8) -> SessionSecrets {
    SessionSecrets::derive(&KeyInput {
        shared_x25519: &[session.max(1); 32],
        client_nonce: &[2; 32],
        server_nonce: &[3; 32],
        client_hello: b"hello from the client",
        server_hello: b"hello from the server",
    })
    .expect("not degenerate")
}

pub(crate) fn traffic() -> TrafficSecret {
    secrets(1).traffic(Direction::ClientToServer)
}

/// The sending end.
pub(crate) struct Tx {
    pub(crate) sealer: Sealer,
    pub(crate) data: PacketCounter,
    pub(crate) path: PacketCounter,
    pool: Pool,
}

impl Tx {
    pub(crate) fn new(suite: SuiteId) -> Self {
        Self::of(Sealer::new(suite, traffic(), SESSION))
    }

    pub(crate) fn with_options(suite: SuiteId, options: SealOptions) -> Self {
        Self::of(Sealer::with_options(suite, traffic(), SESSION, options))
    }

    pub(crate) fn of(sealer: Sealer) -> Self {
        Self {
            sealer,
            data: PacketCounter::new(),
            path: PacketCounter::new(),
            pool: Pool::new(2),
        }
    }

    /// Seals these bodies as one batch of data and returns the datagrams.
    pub(crate) fn seal(&mut self, bodies: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, SealError> {
        let run = self.data.take(bodies.len()).expect("numbers left");
        let batch = batch_of_bodies(&self.pool, bodies);
        let sealed = self.sealer.seal_batch(Kind::Data, Lane::DATA, run, batch)?;
        Ok(sealed.batch().segments().map(<[u8]>::to_vec).collect())
    }

    /// Seals `count` bodies that tell their own index.
    pub(crate) fn seal_some(&mut self, count: usize) -> Result<Vec<Vec<u8>>, SealError> {
        self.seal(&bodies(count, 100))
    }

    /// Leaves out packet numbers up to this one.
    pub(crate) fn skip_to(&mut self, packet: u64) {
        let count = packet - self.data.next_packet().0;
        self.data.take(count as usize).expect("numbers left");
    }
}

/// Bodies of equal length that differ.
pub(crate) fn bodies(count: usize, len: usize) -> Vec<Vec<u8>> {
    (0..count).map(|index| vec![index as u8; len]).collect()
}

fn batch_of_bodies(pool: &Pool, bodies: &[Vec<u8>]) -> Batch {
    let mut batch = pool.try_take().expect("a free buffer");
    for body in bodies {
        let segment = [&[0; 16], &body[..], &[0; 16]].concat();
        assert!(batch.push(&segment), "bodies of one batch are equally long");
    }
    batch
}

/// The receiving end.
pub(crate) struct Rx {
    pub(crate) opener: Opener,
    pool: Pool,
}

impl Rx {
    pub(crate) fn new(suite: SuiteId) -> Self {
        Self::of(Opener::new(suite, traffic(), SESSION))
    }

    pub(crate) fn with_options(suite: SuiteId, options: OpenOptions) -> Self {
        Self::of(Opener::with_options(suite, traffic(), SESSION, options))
    }

    pub(crate) fn of(opener: Opener) -> Self {
        Self {
            opener,
            pool: Pool::new(2),
        }
    }

    /// Receives the datagrams in one batch, at time `now_ms`.
    pub(crate) fn receive(&self, datagrams: &[Vec<u8>], now_ms: u64) -> Opened {
        let mut batch = self.pool.try_take().expect("a free buffer");
        let bytes = datagrams.concat();
        batch.spare()[..bytes.len()].copy_from_slice(&bytes);
        batch.fill(bytes.len(), datagrams.first().map_or(1, |d| d.len().max(1)));
        self.opener.open_batch(batch, now_ms)
    }

    /// Receives the datagrams and returns how many were accepted.
    pub(crate) fn accepts(&self, datagrams: &[Vec<u8>], now_ms: u64) -> usize {
        self.receive(datagrams, now_ms).segments().len()
    }
}
