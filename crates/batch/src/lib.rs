//! The one buffer that moves: a pooled, strided run of segments.
//!
//! A [`Batch`] is what one `sendmsg` with segmentation offload sends and what one receive with GRO
//! returns: up to [`MAX_SEGMENTS`] datagrams of equal length (the last may be shorter) in one buffer.
//! It has one owner at a time and goes back to its [`Pool`] when dropped. A pool has a fixed number
//! of buffers: that number is the memory bound, and waiting for a free one is the back-pressure.

mod pool;

pub use pool::Pool;

/// Bytes of one buffer.
pub const CAPACITY: usize = 65_536;
/// Most bytes one batch may hold: the largest IP datagram's UDP payload over IPv4.
pub const MAX_BATCH_BYTES: usize = 65_507;
/// Most segments in one batch: the kernel's own limit for segmentation offload.
pub const MAX_SEGMENTS: usize = 64;

/// A run of equal segments in one pooled buffer.
pub struct Batch {
    /// `Some` until dropped.
    buffer: Option<Box<[u8]>>,
    stride: usize,
    len: usize,
    home: Pool,
}

impl Batch {
    /// Shapes the batch into `count` segments of `stride` bytes, contents unspecified.
    ///
    /// # Panics
    /// When that exceeds [`MAX_BATCH_BYTES`] or [`MAX_SEGMENTS`], or `stride` is 0.
    pub fn shape(&mut self, stride: usize, count: usize) {
        assert!(stride > 0 && count <= MAX_SEGMENTS && stride * count <= MAX_BATCH_BYTES);
        self.stride = stride;
        self.len = stride * count;
    }

    /// Declares that the first `len` bytes of [`Self::spare`] now hold datagrams of `stride` bytes
    /// (the last may be shorter).
    ///
    /// # Panics
    /// When `len` exceeds [`CAPACITY`], or `stride` is 0.
    pub fn fill(&mut self, len: usize, stride: usize) {
        assert!(stride > 0 && len <= CAPACITY);
        self.stride = stride;
        self.len = len;
    }

    /// Copies one more segment behind the others; `false` when it does not fit: another length
    /// than the segments before, or the batch is full or already ends in a short one.
    pub fn push(&mut self, segment: &[u8]) -> bool {
        if self.len == 0 {
            self.stride = segment.len();
        }
        let end = self.len + segment.len();
        let fits = !segment.is_empty()
            && segment.len() <= self.stride
            && self.len.is_multiple_of(self.stride)
            && self.count() < MAX_SEGMENTS
            && end <= MAX_BATCH_BYTES;
        if fits {
            let len = self.len;
            self.spare()[len..end].copy_from_slice(segment);
            self.len = end;
        }
        fits
    }

    /// How many segments there are.
    pub fn count(&self) -> usize {
        if self.stride == 0 {
            0
        } else {
            self.len.div_ceil(self.stride)
        }
    }

    /// Distance between the starts of two segments.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Bytes of all segments together.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no segment.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All segments, one behind the other.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer()[..self.len]
    }

    /// All segments, one behind the other.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.spare()[..len]
    }

    /// The segments in order.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.bytes().chunks(self.stride.max(1))
    }

    /// The segments in order.
    pub fn segments_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [u8]> {
        let stride = self.stride.max(1);
        self.bytes_mut().chunks_mut(stride)
    }

    /// One segment.
    ///
    /// # Panics
    /// When there are not that many.
    pub fn segment(&self, index: usize) -> &[u8] {
        let start = index * self.stride;
        &self.bytes()[start..self.len.min(start + self.stride)]
    }

    /// The whole buffer, to receive into; [`Self::fill`] says afterwards what is in it.
    pub fn spare(&mut self) -> &mut [u8] {
        self.buffer.as_deref_mut().unwrap_or_default()
    }

    fn buffer(&self) -> &[u8] {
        self.buffer.as_deref().unwrap_or_default()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.home.put_back(buffer);
        }
    }
}

impl std::fmt::Debug for Batch {
    /// Lengths only: contents may be file data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("stride", &self.stride)
            .field("len", &self.len)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_strided_and_the_last_may_be_short() {
        let pool = Pool::new(1);
        let mut batch = pool.try_take().expect("free");
        assert!(batch.push(&[1; 10]));
        assert!(batch.push(&[2; 10]));
        assert!(!batch.push(&[9; 11]), "longer than the stride");
        assert!(batch.push(&[3; 4]));
        assert!(!batch.push(&[4; 10]), "nothing follows a short one");
        assert_eq!(batch.count(), 3);
        assert_eq!(batch.segment(2), [3; 4]);
        assert_eq!(
            batch.segments().map(<[u8]>::len).collect::<Vec<_>>(),
            [10, 10, 4]
        );
    }

    #[test]
    fn a_batch_comes_back_clean() {
        let pool = Pool::new(1);
        let mut batch = pool.try_take().expect("free");
        batch.shape(1440, 45);
        assert_eq!(batch.len(), 64_800);
        assert!(pool.try_take().is_none());
        drop(batch);
        let batch = pool.try_take().expect("came back");
        assert!(batch.is_empty());
        assert_eq!(batch.count(), 0);
    }
}
