use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};
use zeroize::Zeroizing;

/// Writes what is queued until the queue is closed or the stream breaks. Why it broke is the
/// reading task's to find out: the peer's last words may still be on their way.
pub(super) async fn run<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut queue: mpsc::Receiver<Zeroizing<Vec<u8>>>,
    bytes: Arc<AtomicU64>,
) {
    while let Some(frame) = queue.recv().await {
        if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
            return;
        }
        bytes.fetch_add(frame.len() as u64, Relaxed);
    }
    // Closing a broken stream changes nothing.
    let _ = writer.shutdown().await;
}
