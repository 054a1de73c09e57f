//! What an opener knows between batches: the keys of three epochs, what has been accepted under
//! them, and how much was not.

use std::sync::Arc;

use haul_wire::{Header, Lane, SuiteId};

use crate::{
    TrafficSecret,
    replay::ReplayWindow,
    suite::{Backend, PacketCrypto, packet_crypto},
};

/// How long packets of the epoch before are still accepted, in milliseconds.
const GRACE_MS: u64 = 10_000;

/// How an opener works. Limits above the default ones are lowered to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenOptions {
    /// Wrong tags under one key after which it should be changed. Default 2^20.
    pub rekey_after: u64,
    /// Wrong tags in the session after which it must end. Default 2^36: the integrity limit of
    /// ChaCha20-Poly1305 in RFC 9001, section 6.6, the lowest of our suites.
    pub fail_after: u64,
    /// What does the cipher work.
    pub backend: Backend,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            rekey_after: 1 << 20,
            fail_after: 1 << 36,
            backend: Backend::best(),
        }
    }
}

impl OpenOptions {
    pub(crate) fn capped(self) -> Self {
        let most = Self::default();
        Self {
            rekey_after: self.rekey_after.min(most.rekey_after),
            fail_after: self.fail_after.min(most.fail_after),
            ..self
        }
    }
}

/// What became of the datagrams, one counter for each way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenCounters {
    /// Authentic, new, handed on.
    pub accepted: u64,
    /// Shorter than header and tag, longer than a datagram can be, or more than a batch holds.
    pub short: u64,
    /// Unknown version, kind, flags or lane.
    pub version_or_kind: u64,
    /// Another session's.
    pub session: u64,
    /// Neither of the present epoch nor of its neighbours, or too late for the one before.
    pub epoch: u64,
    /// A number that has been accepted before or is too old to tell.
    pub replay: u64,
    /// A wrong tag.
    pub tag: u64,
}

/// One epoch as the receiver sees it.
struct Epoch {
    number: u32,
    crypto: Arc<dyn PacketCrypto>,
    windows: [ReplayWindow; Lane::COUNT],
    wrong_tags: u64,
}

pub(crate) struct Receive {
    suite: SuiteId,
    backend: Backend,
    /// With the time from which it is not accepted any more.
    previous: Option<(Epoch, u64)>,
    current: Epoch,
    /// Ready before the first packet of it arrives.
    next: Epoch,
    /// The secret of `next`.
    secret: TrafficSecret,
    pub(crate) counters: OpenCounters,
}

/// Why a packet went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Epoch,
    Replay,
}

impl Receive {
    pub(crate) fn new(suite: SuiteId, secret: &TrafficSecret, backend: Backend) -> Self {
        let next_secret = secret.next();
        Self {
            suite,
            backend,
            previous: None,
            current: Epoch::new(0, suite, secret, backend),
            next: Epoch::new(1, suite, &next_secret, backend),
            secret: next_secret,
            counters: OpenCounters::default(),
        }
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.current.number
    }

    /// Wrong tags under the present key.
    pub(crate) fn wrong_tags(&self) -> u64 {
        self.current.wrong_tags
    }

    /// Forgets, and so wipes, the previous epoch when its time is over.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        self.previous.take_if(|(_, until)| now_ms >= *until);
    }

    /// Before the tag is checked: the epoch the header means, when its number may be new there.
    pub(crate) fn admit(&self, header: &Header) -> Result<u32, Refusal> {
        let ahead = header.epoch.wrapping_sub(self.current.number as u8);
        let epoch = match ahead {
            0 => Some(&self.current),
            1 => Some(&self.next),
            u8::MAX => self.previous.as_ref().map(|(epoch, _)| epoch),
            _ => None,
        };
        let epoch = epoch.ok_or(Refusal::Epoch)?;
        match epoch.window(header.lane) {
            Some(window) if window.is_fresh(header.packet) => Ok(epoch.number),
            _ => Err(Refusal::Replay),
        }
    }

    /// The keys of an epoch that [`Self::admit`] named.
    pub(crate) fn crypto(&self, epoch: u32) -> Option<Arc<dyn PacketCrypto>> {
        [&self.current, &self.next]
            .into_iter()
            .chain(self.previous.as_ref().map(|(epoch, _)| epoch))
            .find(|held| held.number == epoch)
            .map(|held| Arc::clone(&held.crypto))
    }

    /// After the tag was right: enters the number. The first packet of the next epoch makes that
    /// the present one.
    pub(crate) fn accept(
        &mut self,
        epoch: u32,
        header: &Header,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        if epoch == self.next.number {
            self.advance(now_ms);
        }
        // Other threads may have moved on while the tag was checked.
        let held = self.held(epoch).ok_or(Refusal::Epoch)?;
        let window = held.windows.get_mut(usize::from(header.lane.0));
        match window.is_some_and(|window| window.accept(header.packet)) {
            true => Ok(()),
            false => Err(Refusal::Replay),
        }
    }

    /// After the tag was wrong: counts it against the key.
    pub(crate) fn refuse(&mut self, epoch: u32) {
        self.counters.tag += 1;
        if let Some(held) = self.held(epoch) {
            held.wrong_tags += 1;
        }
    }

    fn held(&mut self, epoch: u32) -> Option<&mut Epoch> {
        [&mut self.current, &mut self.next]
            .into_iter()
            .chain(self.previous.as_mut().map(|(epoch, _)| epoch))
            .find(|held| held.number == epoch)
    }

    fn advance(&mut self, now_ms: u64) {
        self.secret = self.secret.next();
        // The sender stops long before its epochs, one per 2^28 packets, leave 32 bits.
        let number = self.next.number.wrapping_add(1);
        let after = Epoch::new(number, self.suite, &self.secret, self.backend);
        let current = std::mem::replace(&mut self.next, after);
        let previous = std::mem::replace(&mut self.current, current);
        self.previous = Some((previous, now_ms.saturating_add(GRACE_MS)));
    }
}

impl Epoch {
    fn new(number: u32, suite: SuiteId, secret: &TrafficSecret, backend: Backend) -> Self {
        Self {
            number,
            crypto: packet_crypto(suite, secret, backend).into(),
            windows: std::array::from_fn(|_| ReplayWindow::new()),
            wrong_tags: 0,
        }
    }

    fn window(&self, lane: Lane) -> Option<&ReplayWindow> {
        self.windows.get(usize::from(lane.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_can_only_be_lowered() {
        let options = |rekey_after, fail_after| OpenOptions {
            rekey_after,
            fail_after,
            ..OpenOptions::default()
        };
        let most = options(u64::MAX, u64::MAX).capped();
        assert_eq!(most, options(1 << 20, 1 << 36));
        assert_eq!(options(7, 8).capped(), options(7, 8));
    }
}
