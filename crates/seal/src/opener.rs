use std::{
    fmt,
    ops::{Range, RangeInclusive},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrayvec::ArrayVec;
use haul_batch::{Batch, MAX_BATCH_BYTES};
use haul_wire::{HEADER_LEN, Header, Lane, SessionId, SuiteId, TAG_LEN};

use crate::{
    OpenCounters, OpenOptions, SealError, TrafficSecret,
    receive::{Receive, Refusal},
    suite::{PacketCrypto, SEGMENTS_MAX, Verdict},
};

/// Epochs whose packets may come at the same time: the one before, the present one, the next.
const EPOCHS_MAX: usize = 3;
/// Lengths a datagram of ours can have.
const LENGTHS: RangeInclusive<usize> = HEADER_LEN + TAG_LEN..=MAX_BATCH_BYTES;

/// Where the body lies in an opened datagram of that length.
pub fn body_range(datagram_len: usize) -> Range<usize> {
    HEADER_LEN..datagram_len.saturating_sub(TAG_LEN).max(HEADER_LEN)
}

/// Opens one direction of a session. Shared between worker threads: the lock is held before and
/// after the cipher work, not during it.
pub struct Opener {
    suite: SuiteId,
    session: SessionId,
    options: OpenOptions,
    receive: Mutex<Receive>,
}

/// A datagram that has passed every check but that of its tag.
struct Candidate {
    header: Header,
    index: usize,
    epoch: u32,
}

type Candidates = ArrayVec<Candidate, SEGMENTS_MAX>;

/// The candidates of one epoch and what became of them.
struct Group {
    epoch: u32,
    crypto: Arc<dyn PacketCrypto>,
    verdict: Verdict,
}

impl Opener {
    /// Starts at epoch 0 with the first traffic secret of the direction.
    pub fn new(suite: SuiteId, secret: TrafficSecret, session: SessionId) -> Self {
        Self::with_options(suite, secret, session, OpenOptions::default())
    }

    /// Like [`Self::new`], with lower limits or another back end.
    pub fn with_options(
        suite: SuiteId,
        secret: TrafficSecret,
        session: SessionId,
        options: OpenOptions,
    ) -> Self {
        let options = options.capped();
        let receive = Receive::new(suite, &secret, options.backend);
        Self {
            suite,
            session,
            options,
            receive: Mutex::new(receive),
        }
    }

    /// Opens a batch from the network in place. Datagrams that are not ours, not authentic or not
    /// new are counted, wiped and left out; all reasons look the same from outside.
    ///
    /// `now_ms` is any clock that never goes back, in milliseconds; it ends the grace of an old
    /// epoch.
    pub fn open_batch(&self, mut batch: Batch, now_ms: u64) -> Opened {
        let (candidates, mut groups) = self.admit(&batch, now_ms);
        for group in &mut groups {
            let mut chosen = candidates.iter().filter(|c| c.epoch == group.epoch);
            let mut wanted = chosen.next();
            let mut segments = ArrayVec::<&mut [u8], SEGMENTS_MAX>::new();
            for (index, segment) in batch.segments_mut().enumerate() {
                if wanted.is_some_and(|candidate| candidate.index == index) {
                    segments.push(segment);
                    wanted = chosen.next();
                }
            }
            group.verdict = group.crypto.open(&mut segments);
        }
        let accepted = self.enter(&candidates, &groups, &batch, now_ms);
        wipe_others(&mut batch, &accepted);
        Opened { batch, accepted }
    }

    /// What became of all datagrams so far.
    pub fn counters(&self) -> OpenCounters {
        self.lock().counters
    }

    /// The newest epoch in which an authentic packet has arrived.
    pub fn epoch(&self) -> u32 {
        self.lock().epoch()
    }

    /// Whether so many forgeries were tried on the present key that the peer should be asked for
    /// the next epoch.
    pub fn wants_rekey(&self) -> bool {
        self.lock().wrong_tags() >= self.options.rekey_after
    }

    /// Why the session must end: so many forgeries that guessing gets a chance.
    pub fn failure(&self) -> Option<SealError> {
        let invalid = self.counters().tag;
        (invalid >= self.options.fail_after).then_some(SealError::IntegrityFlood { invalid })
    }

    /// All checks that need no cipher, the cheapest first.
    fn admit(&self, batch: &Batch, now_ms: u64) -> (Candidates, ArrayVec<Group, EPOCHS_MAX>) {
        let mut candidates = Candidates::new();
        let mut groups = ArrayVec::<Group, EPOCHS_MAX>::new();
        let mut receive = self.lock();
        receive.expire(now_ms);
        for (index, segment) in batch.segments().enumerate() {
            if !LENGTHS.contains(&segment.len()) || index >= SEGMENTS_MAX {
                receive.counters.short += 1;
                continue;
            }
            let header = match Header::decode(segment) {
                Ok(header) if usize::from(header.lane.0) < Lane::COUNT => header,
                _ => {
                    receive.counters.version_or_kind += 1;
                    continue;
                }
            };
            if header.session != self.session {
                receive.counters.session += 1;
                continue;
            }
            match receive.admit(&header) {
                Ok(epoch) => candidates.push(Candidate {
                    header,
                    index,
                    epoch,
                }),
                Err(refusal) => count(&mut receive.counters, refusal),
            }
        }
        for candidate in &candidates {
            if groups.iter().all(|group| group.epoch != candidate.epoch)
                && let Some(crypto) = receive.crypto(candidate.epoch)
            {
                groups.push(Group {
                    epoch: candidate.epoch,
                    crypto,
                    verdict: Verdict::default(),
                });
            }
        }
        (candidates, groups)
    }

    /// Enters what was authentic and lists what was new.
    fn enter(
        &self,
        candidates: &Candidates,
        groups: &[Group],
        batch: &Batch,
        now_ms: u64,
    ) -> ArrayVec<OpenedAt, SEGMENTS_MAX> {
        let mut accepted = ArrayVec::new();
        let mut receive = self.lock();
        let mut nth_of = [0; EPOCHS_MAX];
        for candidate in candidates {
            let Some(at) = groups.iter().position(|g| g.epoch == candidate.epoch) else {
                continue;
            };
            let nth = nth_of[at];
            nth_of[at] += 1;
            if !groups[at].verdict.is_authentic(nth) {
                receive.refuse(candidate.epoch);
                continue;
            }
            match receive.accept(candidate.epoch, &candidate.header, now_ms) {
                Ok(()) => {
                    receive.counters.accepted += 1;
                    accepted.push(OpenedAt {
                        header: candidate.header,
                        index: candidate.index as u8,
                        len: batch.segment(candidate.index).len() as u16,
                    });
                }
                Err(refusal) => count(&mut receive.counters, refusal),
            }
        }
        accepted
    }

    /// Every change of the state is complete before the next can fail, so a thread that panicked
    /// leaves it sound.
    fn lock(&self) -> MutexGuard<'_, Receive> {
        self.receive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Opener {
    /// No keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("suite", &self.suite)
            .field("session", &self.session)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

fn count(counters: &mut OpenCounters, refusal: Refusal) {
    match refusal {
        Refusal::Epoch => counters.epoch += 1,
        Refusal::Replay => counters.replay += 1,
    }
}

/// Clears all segments but the accepted ones: a back end may have decrypted what proved to be
/// forged.
fn wipe_others(batch: &mut Batch, accepted: &[OpenedAt]) {
    if accepted.len() == batch.count() {
        return;
    }
    let mut kept = accepted.iter().peekable();
    for (index, segment) in batch.segments_mut().enumerate() {
        if kept.next_if(|at| usize::from(at.index) == index).is_none() {
            segment.fill(0);
        }
    }
}

/// A batch of which some segments are authentic, new and decrypted. Only an [`Opener`] makes one.
#[derive(Debug)]
pub struct Opened {
    batch: Batch,
    accepted: ArrayVec<OpenedAt, SEGMENTS_MAX>,
}

/// One accepted segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedSegment<'a> {
    /// Its header.
    pub header: Header,
    /// What it carries: no header, no tag.
    pub body: &'a [u8],
}

/// Where an accepted segment lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedAt {
    /// Its header.
    pub header: Header,
    /// Its index in the batch.
    pub index: u8,
    /// Length of the whole datagram; [`body_range`] of it is the body.
    pub len: u16,
}

impl Opened {
    /// The accepted segments in order.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = OpenedSegment<'_>> {
        self.accepted.iter().map(|at| {
            let datagram = self.batch.segment(usize::from(at.index));
            OpenedSegment {
                header: at.header,
                body: &datagram[body_range(datagram.len())],
            }
        })
    }

    /// The batch, and where in it the accepted segments lie; the others are zeros.
    pub fn into_parts(self) -> (Batch, ArrayVec<OpenedAt, SEGMENTS_MAX>) {
        (self.batch, self.accepted)
    }
}
