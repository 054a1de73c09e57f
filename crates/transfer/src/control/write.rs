use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use haul_wire::control::PADDING;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};
use zeroize::Zeroizing;

/// Pauses after which padding follows a frame that nothing else has followed yet: long enough for a
/// packet of its own, and twice, because one of them may be lost as well.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(30)];

/// Writes what is queued until the queue is closed or the stream breaks. Why it broke is the
/// reading task's to find out: the peer's last words may still be on their way.
pub(super) async fn run<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut queue: mpsc::Receiver<Zeroizing<Vec<u8>>>,
    bytes: Arc<AtomicU64>,
) {
    let mut pauses = [].iter();
    loop {
        let next = match pauses.next() {
            Some(pause) => timeout(*pause, queue.recv()).await,
            None => Ok(queue.recv().await),
        };
        let frame = match &next {
            Ok(Some(frame)) => {
                pauses = PAUSES.iter();
                frame.as_slice()
            }
            Ok(None) => break,
            Err(_) => PADDING.as_slice(),
        };
        if writer.write_all(frame).await.is_err() || writer.flush().await.is_err() {
            return;
        }
        bytes.fetch_add(frame.len() as u64, Relaxed);
    }
    // Closing a broken stream changes nothing.
    let _ = writer.shutdown().await;
}
