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
    time::sleep,
};
use zeroize::Zeroizing;

use crate::detour::Outlet;

/// Pauses after which padding follows a frame that nothing else has followed yet: long enough for a
/// packet of its own, and twice, because one of them may be lost as well.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(30)];

/// What is written next.
enum Next {
    Message(Zeroizing<Vec<u8>>),
    Datagrams(Vec<u8>),
    Padding,
}

/// Writes what is queued until the queue is closed or the stream breaks. Why it broke is the
/// reading task's to find out: the peer's last words may still be on their way.
pub(super) async fn run<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut queue: mpsc::Receiver<Zeroizing<Vec<u8>>>,
    datagrams: Outlet,
    bytes: Arc<AtomicU64>,
) {
    let mut pauses = [].iter();
    loop {
        let pause = pauses.next();
        let next = tokio::select! {
            biased;
            message = queue.recv() => match message {
                Some(frame) => {
                    pauses = PAUSES.iter();
                    Next::Message(frame)
                }
                None => break,
            },
            Some(frames) = datagrams.next() => Next::Datagrams(frames),
            () = sleep(pause.copied().unwrap_or_default()), if pause.is_some() => Next::Padding,
        };
        let frame = match &next {
            Next::Message(frame) => frame.as_slice(),
            Next::Datagrams(frames) => frames.as_slice(),
            Next::Padding => PADDING.as_slice(),
        };
        if writer.write_all(frame).await.is_err() || writer.flush().await.is_err() {
            return;
        }
        bytes.fetch_add(frame.len() as u64, Relaxed);
    }
    // Closing a broken stream changes nothing.
    let _ = writer.shutdown().await;
}
