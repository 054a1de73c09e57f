//! Bytes from any stranger on the network: header, block address, seal.
//!
//! Input: suite (1 byte), length of a segment (2), then what one receive call returned.

use std::{sync::LazyLock, time::Duration};

use haul_batch::{CAPACITY, Pool};
use haul_seal::{Direction, KeyInput, Opener, SessionSecrets};
use haul_wire::{BLOCK_ADDR_LEN, BlockAddr, HEADER_LEN, Header, SessionId, SuiteId};

use super::bytes::Bytes;

/// The session the opener belongs to; a stranger may know its number, but not its keys.
pub const SESSION: SessionId = SessionId(0x0a0b_0c0d);

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(2));

/// Headers and addresses that decode are what encoding gives back; nothing opens.
pub fn check(data: &[u8]) -> bool {
    let mut bytes = Bytes::new(data);
    let suite = SuiteId::ALL[bytes.number(1) as usize % SuiteId::ALL.len()];
    let stride = bytes.number(2).max(1) as usize;
    let datagrams = bytes.rest();
    let header = Header::decode(datagrams);
    if let Ok(header) = header {
        assert_eq!(header.encode(), datagrams[..HEADER_LEN]);
    }
    if let Ok(addr) = BlockAddr::decode(datagrams) {
        assert_eq!(addr.encode(), datagrams[..BLOCK_ADDR_LEN]);
    }
    nothing_opens(suite, stride, &datagrams[..datagrams.len().min(CAPACITY)]);
    header.is_ok()
}

fn nothing_opens(suite: SuiteId, stride: usize, datagrams: &[u8]) {
    let secrets = SessionSecrets::derive(&KeyInput {
        shared_x25519: &[1; 32],
        client_nonce: &[2; 32],
        server_nonce: &[3; 32],
        client_hello: b"client",
        server_hello: b"server",
    });
    let secrets = secrets.expect("a shared secret that is not zero");
    let opener = Opener::new(suite, secrets.traffic(Direction::ClientToServer), SESSION);
    let mut batch = POOL
        .take(Duration::from_secs(10))
        .expect("every run gives its buffer back");
    batch.spare()[..datagrams.len()].copy_from_slice(datagrams);
    batch.fill(datagrams.len(), stride);
    let count = batch.count() as u64;
    let opened = opener.open_batch(batch, 0);
    assert_eq!(opened.segments().len(), 0, "{suite} accepted a forgery");
    let seen = opener.counters();
    let cheap = seen.short + seen.version_or_kind + seen.session + seen.epoch + seen.replay;
    assert_eq!((seen.accepted, cheap + seen.tag), (0, count), "{seen:?}");
    let (batch, _) = opened.into_parts();
    assert!(
        batch.bytes().iter().all(|byte| *byte == 0),
        "what was refused is wiped"
    );
}
