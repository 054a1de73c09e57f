use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Batch, CAPACITY};

/// A fixed number of buffers, lent out as [`Batch`]es. Clones share the buffers.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    free: Mutex<Free>,
    returned: Condvar,
    total: usize,
}

struct Free {
    buffers: Vec<Box<[u8]>>,
    /// Buffers not yet allocated: memory is taken when first needed.
    unborn: usize,
}

impl Pool {
    /// A pool of `count` buffers of [`CAPACITY`] bytes, allocated when first used.
    pub fn new(count: usize) -> Self {
        let free = Free {
            buffers: Vec::with_capacity(count),
            unborn: count,
        };
        Self(Arc::new(Shared {
            free: Mutex::new(free),
            returned: Condvar::new(),
            total: count,
        }))
    }

    /// A free buffer, if there is one now.
    pub fn try_take(&self) -> Option<Batch> {
        self.lend(&mut self.lock())
    }

    /// A free buffer, waiting up to `patience` for one to come back.
    pub fn take(&self, patience: Duration) -> Option<Batch> {
        let (mut free, _) = self
            .0
            .returned
            .wait_timeout_while(self.lock(), patience, |free| {
                free.buffers.is_empty() && free.unborn == 0
            })
            .unwrap_or_else(PoisonError::into_inner);
        self.lend(&mut free)
    }

    /// How many buffers are free now.
    pub fn free(&self) -> usize {
        let free = self.lock();
        free.buffers.len() + free.unborn
    }

    /// How many buffers there are.
    pub fn total(&self) -> usize {
        self.0.total
    }

    fn lend(&self, free: &mut Free) -> Option<Batch> {
        let buffer = match free.buffers.pop() {
            Some(buffer) => buffer,
            None if free.unborn > 0 => {
                free.unborn -= 1;
                vec![0; CAPACITY].into_boxed_slice()
            }
            None => return None,
        };
        Some(Batch {
            buffer: Some(buffer),
            stride: 0,
            len: 0,
            home: self.clone(),
        })
    }

    pub(crate) fn put_back(&self, buffer: Box<[u8]>) {
        self.lock().buffers.push(buffer);
        self.0.returned.notify_one();
    }

    /// The free list has no invariant that a panicking owner could break.
    fn lock(&self) -> MutexGuard<'_, Free> {
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("total", &self.0.total)
            .field("free", &self.free())
            .finish()
    }
}
