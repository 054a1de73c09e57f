use haul_wire::control::{ErrorCode, FRAME_LEN_MAX, Fault, NOISE_LEN_MAX, PADDING};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};

use super::*;

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn initiator() -> (Control, DuplexStream) {
    let (ours, theirs) = duplex(64 * 1024);
    let (reader, writer) = split(ours);
    (Control::initiator(reader, writer), theirs)
}

async fn greeted() -> (Control, DuplexStream) {
    let (mut control, mut peer) = initiator();
    peer.write_all(&PREAMBLE).await.unwrap();
    control.greeting(deadline()).await.unwrap();
    (control, peer)
}

#[tokio::test]
async fn c36_noise_before_the_preamble_is_handed_over() {
    let (mut control, mut peer) = initiator();
    peer.write_all(b"Welcome!\n\x1b[1mHAUL is fine\x1b[0m HAUL\0")
        .await
        .unwrap();
    peer.write_all(&PREAMBLE).await.unwrap();
    peer.write_all(&frame(&Message::Ping.encode().unwrap()).unwrap())
        .await
        .unwrap();
    let noise = control.greeting(deadline()).await.unwrap();
    assert!(noise.starts_with(b"Welcome!\n\x1b[1mHAUL"), "{noise:?}");
    assert_eq!(control.receive().await.unwrap(), Message::Ping);
}

#[tokio::test]
async fn c36_more_noise_than_tolerated_ends() {
    let (mut control, mut peer) = initiator();
    peer.write_all(&vec![b'x'; NOISE_LEN_MAX]).await.unwrap();
    peer.write_all(&PREAMBLE).await.unwrap();
    assert_eq!(
        control.greeting(deadline()).await.unwrap().len(),
        NOISE_LEN_MAX
    );

    let (mut control, mut peer) = initiator();
    peer.write_all(&vec![b'x'; NOISE_LEN_MAX + 1])
        .await
        .unwrap();
    peer.write_all(&PREAMBLE).await.unwrap();
    let error = control.greeting(deadline()).await.unwrap_err();
    assert!(
        matches!(error, TransferError::PeerMisbehaved(Misbehaviour::Noise)),
        "{error}"
    );
}

#[tokio::test]
async fn a_shell_without_haul_is_named() {
    let (mut control, mut peer) = initiator();
    peer.write_all(b"sh: 1: haul: not found\x1b[2J\n")
        .await
        .unwrap();
    drop(peer);
    let error = control.greeting(deadline()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::RemoteMissing);
    let shown = error.to_string();
    assert!(shown.contains("haul: not found\\u{1b}[2J"), "{shown}");
    assert!(error.hint().contains("-S"));
}

#[tokio::test]
async fn another_framing_names_both_versions() {
    let (mut control, mut peer) = initiator();
    peer.write_all(b"HAUL\x00\x02\n").await.unwrap();
    let error = control.greeting(deadline()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::VersionMismatch);
    assert!(
        error.to_string().contains("version 1") && error.to_string().contains('2'),
        "{error}"
    );
}

#[tokio::test]
async fn c34_hostile_lengths_end_before_allocation() {
    for len in [FRAME_LEN_MAX as u32 + 1, 1 << 31, u32::MAX] {
        let (mut control, mut peer) = greeted().await;
        peer.write_all(&len.to_be_bytes()).await.unwrap();
        let error = control.receive().await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::PeerMisbehaved, "{len}: {error}");
    }
}

#[tokio::test]
async fn truncation_and_garbage_end() {
    let (mut control, mut peer) = greeted().await;
    peer.write_all(&[0, 0, 0, 9, 1, 2]).await.unwrap();
    drop(peer);
    let error = control.receive().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ConnectionLost, "{error}");

    let (mut control, mut peer) = greeted().await;
    peer.write_all(&[0, 0, 0, 2, 0xee, 0xee]).await.unwrap();
    let error = control.receive().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::PeerMisbehaved, "{error}");
}

#[tokio::test(start_paused = true)]
async fn c35_a_trickle_does_not_outlast_the_deadline() {
    let (mut control, mut peer) = initiator();
    let trickle = tokio::spawn(async move {
        for byte in PREAMBLE.into_iter().chain([0, 0, 0, 200]).chain([7; 200]) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if peer.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    let began = Instant::now();
    let deadline = deadline();
    control.greeting(deadline).await.unwrap();
    let error = control
        .expect(deadline, "server hello")
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::SetupTimeout, "{error}");
    assert!(
        began.elapsed() <= Duration::from_secs(11),
        "{:?}",
        began.elapsed()
    );
    trickle.abort();
}

#[tokio::test]
async fn c48_the_peers_error_is_shown_cut_and_escaped() {
    let (mut control, mut peer) = greeted().await;
    let text = format!("\x1b]0;owned\x07\n{}", "A".repeat(500_000));
    let mut body = vec![18];
    body.extend(postcard_fault(ErrorCode::DiskFull, text.as_bytes()));
    peer.write_all(&(body.len() as u32).to_be_bytes())
        .await
        .unwrap();
    tokio::spawn(async move { peer.write_all(&body).await });
    let error = control
        .expect(deadline(), "anything")
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::DiskFull);
    let shown = error.to_string();
    assert!(
        shown.starts_with("the other end: \\u{1b}]0;owned\\u{7}\\nAAA"),
        "{shown}"
    );
    assert!(shown.len() < 1100, "{}", shown.len());
}

/// A fault whose text is longer than an honest end makes it.
fn postcard_fault(code: ErrorCode, text: &[u8]) -> Vec<u8> {
    let mut out = vec![code as u8];
    let mut len = text.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend(text);
    out
}

#[test]
fn the_handmade_fault_is_the_real_encoding() {
    let real = Message::Error(Fault::new(ErrorCode::DiskFull, "x"))
        .encode()
        .unwrap();
    assert_eq!(real[0], 18);
    assert_eq!(real[1..], postcard_fault(ErrorCode::DiskFull, b"x"));
}

#[tokio::test]
async fn c50_a_peer_that_does_not_read_ends_in_a_bounded_queue() {
    let (control, _peer) = {
        let (ours, theirs) = duplex(16);
        let (reader, writer) = split(ours);
        (Control::initiator(reader, writer), theirs)
    };
    let mut sent = 0;
    let error = loop {
        match control.send(&Message::Warning(haul_wire::control::Text::new(
            "w".repeat(1000),
        ))) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(error.code(), ErrorCode::ConnectionLost);
    assert!(sent <= QUEUE_DEPTH + 1, "{sent}");
}

#[tokio::test]
async fn the_last_words_leave_before_the_end() {
    let (mut control, mut peer) = greeted().await;
    control.send(&Message::Cancel).unwrap();
    control.finish().await;
    let mut all = Vec::new();
    peer.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, frame(&Message::Cancel.encode().unwrap()).unwrap());
}

#[tokio::test]
async fn padding_follows_what_nothing_else_follows_and_says_nothing() {
    let (control, mut peer) = greeted().await;
    let ping = frame(&Message::Ping.encode().unwrap()).unwrap();
    control.send(&Message::Ping).unwrap();
    let mut seen = vec![0; ping.len() + 2 * PADDING.len()];
    peer.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, [ping.as_slice(), &PADDING, &PADDING].concat());

    let (mut control, mut peer) = greeted().await;
    peer.write_all(&[PADDING.as_slice(), &ping, &PADDING].concat())
        .await
        .unwrap();
    assert_eq!(control.receive().await.unwrap(), Message::Ping);
    drop(peer);
    let error = control.receive().await.unwrap_err();
    assert!(
        matches!(error, TransferError::ConnectionLost { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn datagrams_without_a_bridge_are_lost_and_malformed_ones_end() {
    let (mut control, mut peer) = greeted().await;
    let ping = frame(&Message::Ping.encode().unwrap()).unwrap();
    let header = haul_wire::control::datagrams_header(100, 1000).unwrap();
    for _ in 0..100 {
        peer.write_all(&header).await.unwrap();
        peer.write_all(&[7; 1000]).await.unwrap();
    }
    peer.write_all(&ping).await.unwrap();
    assert_eq!(control.receive().await.unwrap(), Message::Ping);

    // Datagrams of no bytes each.
    peer.write_all(&[0x80, 0, 0, 3, 0, 0, 7]).await.unwrap();
    let error = control.receive().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::PeerMisbehaved, "{error}");
}

#[tokio::test]
async fn a_bridge_carries_batches_both_ways_and_what_came_before_it_opened() {
    use haul_udp::{RECEIVE_SLOTS, Route, UdpPath};
    let here = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    let (mut control, mut peer) = greeted().await;
    let header = haul_wire::control::datagrams_header(100, 250).unwrap();
    let frame = [header.as_slice(), &[7; 250]].concat();
    peer.write_all(&frame).await.unwrap();
    let ping = haul_wire::control::frame(&Message::Ping.encode().unwrap()).unwrap();
    peer.write_all(&ping).await.unwrap();
    // What stands before it has been read.
    assert_eq!(control.receive().await.unwrap(), Message::Ping);

    let engine = UdpPath::bind(here, crate::ANY_UDP_PORT).unwrap();
    let bridge = control
        .open_detour(here, Some(engine.local_addr()))
        .unwrap();
    let pool = haul_batch::Pool::new(1);
    let mut slots = vec![pool.try_take().unwrap()];
    let mut arrivals = arrayvec::ArrayVec::<_, RECEIVE_SLOTS>::new();
    let patience = Duration::from_secs(10);
    let mut bytes = 0;
    while bytes < 250 {
        engine.recv(&mut slots, &mut arrivals, patience).unwrap();
        assert_eq!(arrivals.len(), 1, "nothing came");
        assert_eq!(arrivals[0].from, bridge);
        bytes += slots[0].len();
    }

    engine.set_route(Route::to(bridge));
    engine.send(&[9; 250], 100, false).unwrap();
    let mut seen = Vec::new();
    let mut carried = 0;
    while carried < 250 {
        let mut header = [0; 6];
        peer.read_exact(&mut header).await.unwrap();
        let len = usize::from(u16::from_be_bytes([header[2], header[3]])) - 2;
        let mut body = vec![0; len];
        peer.read_exact(&mut body).await.unwrap();
        carried += len;
        seen.extend(body);
    }
    assert_eq!(seen, [9; 250]);
}
