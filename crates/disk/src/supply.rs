use std::fmt;

use haul_batch::Batch;
use haul_wire::{BlockAddr, BlockNo, Stream};

use crate::{
    Available, Change, Cleaned, DiskError, FileEvent, FileFailure, Had, Incoming, Outgoing, Placed,
    Received, Totals, Unkept,
};

/// Where a sending line takes its blocks from; shared by its threads.
pub trait Supply: Send + Sync + fmt::Debug {
    /// Finds what there is to send and says each time that more may go. Returns when all is found.
    ///
    /// # Errors
    /// [`DiskError`] when what was asked for cannot be sent at all.
    fn scan(&self, listed: &mut dyn FnMut(Available)) -> Result<(), DiskError>;

    /// Fills the segments of a shaped batch with the blocks asked for. Returns what may be sent
    /// now, when that is more than before.
    ///
    /// # Errors
    /// [`DiskError::NotAvailable`] when a block was never made available.
    fn fill(&self, blocks: &[BlockAddr], batch: &mut Batch)
    -> Result<Option<Available>, DiskError>;

    /// The blocks of `stream` below `floor` have been delivered. Returns what may be sent now, when
    /// that is more than before.
    fn release(&self, stream: Stream, floor: BlockNo) -> Option<Available>;

    /// What has been found so far.
    fn totals(&self) -> Totals;

    /// The first of what was found and cannot be sent.
    fn failures(&self) -> Vec<FileFailure>;

    /// What a file came to, if each is to be told of.
    fn poll_event(&self) -> Option<FileEvent> {
        None
    }

    /// What of the files that are sent could not be read beside their contents, each kind once.
    fn unkept(&self) -> Vec<Unkept> {
        Vec::new()
    }

    /// Ends the scan early.
    fn stop(&self);

    /// Removes or moves what was sent, where that was asked for; once everything has arrived.
    fn clean_up(&self) -> Cleaned {
        Cleaned::default()
    }
}

/// Where a receiving line puts its blocks.
pub trait Sink: Send {
    /// Takes the blocks of a batch: `segments` tells which segment holds which block.
    ///
    /// # Errors
    /// [`DiskError`] when the peer misbehaves or nothing more can be taken.
    fn place(&mut self, batch: Batch, segments: &[(BlockAddr, u8)]) -> Result<Placed, DiskError>;

    /// What happened to a file.
    fn poll_event(&mut self) -> Option<FileEvent>;

    /// What became of a name that is no file that arrived.
    fn poll_change(&mut self) -> Option<Change> {
        None
    }

    /// What is left to be done when all has been placed, a step at a time: whether there may be more.
    /// Events and changes can be polled in between.
    ///
    /// # Errors
    /// [`DiskError::Storage`] when the file system gives up.
    fn wind_up(&mut self) -> Result<bool, DiskError> {
        Ok(false)
    }

    /// Which blocks need not be sent, as far as has not been told: for as long as there is more to say.
    fn poll_had(&mut self) -> Option<Had> {
        None
    }

    /// The account, once everything has been placed.
    ///
    /// # Errors
    /// [`DiskError::Storage`] when the file system gives up.
    fn finish(self: Box<Self>) -> Result<Received, DiskError>;
}

impl Supply for Outgoing {
    fn scan(&self, listed: &mut dyn FnMut(Available)) -> Result<(), DiskError> {
        self.scan(listed).map(drop)
    }

    fn fill(
        &self,
        blocks: &[BlockAddr],
        batch: &mut Batch,
    ) -> Result<Option<Available>, DiskError> {
        self.fill(blocks, batch)
    }

    fn release(&self, stream: Stream, floor: BlockNo) -> Option<Available> {
        self.release(stream, floor)
    }

    fn totals(&self) -> Totals {
        self.totals()
    }

    fn failures(&self) -> Vec<FileFailure> {
        self.failures()
    }

    fn poll_event(&self) -> Option<FileEvent> {
        self.poll_event()
    }

    fn unkept(&self) -> Vec<Unkept> {
        self.unkept()
    }

    fn stop(&self) {
        self.stop();
    }

    fn clean_up(&self) -> Cleaned {
        self.clean_up()
    }
}

impl Sink for Incoming {
    fn place(&mut self, batch: Batch, segments: &[(BlockAddr, u8)]) -> Result<Placed, DiskError> {
        self.place(batch, segments)
    }

    fn poll_event(&mut self) -> Option<FileEvent> {
        self.poll_event()
    }

    fn poll_change(&mut self) -> Option<Change> {
        self.poll_change()
    }

    fn wind_up(&mut self) -> Result<bool, DiskError> {
        self.wind_up()
    }

    fn poll_had(&mut self) -> Option<Had> {
        self.poll_had()
    }

    fn finish(self: Box<Self>) -> Result<Received, DiskError> {
        (*self).finish()
    }
}
