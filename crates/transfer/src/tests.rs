//! Either end against a peer that shakes hands honestly and then follows a script.

use std::{net::Ipv4Addr, time::Duration};

use haul_wire::control::{
    Accepted, Confirm, Fault, Message, Request, Status, Text, UdpEndpoint, Verdict,
};
use serde_bytes::ByteBuf;
use tokio::{
    io::{DuplexStream, duplex, split},
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    Direction, ErrorCode, Job, JobOptions, Phase, RespondSetup, SuiteId, TransferError,
    control::Control,
    handshake::{ClientOffer, ServerPolicy, answer, greet, hear},
    initiate, respond,
};

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// An honest responder until the handshake is over; nobody listens at its UDP port.
async fn shake_as_server(stream: DuplexStream) -> Control {
    let (reader, writer) = split(stream);
    let mut control = Control::responder(reader, writer);
    let policy = ServerPolicy::new(&SuiteId::ALL, false, 1 << 20);
    let heard = hear(&mut control, &policy, deadline()).await.unwrap();
    let udp = vec![UdpEndpoint { ip: None, port: 9 }];
    answer(&mut control, &policy, &heard, udp, deadline())
        .await
        .unwrap();
    control
}

/// What becomes of an initiator whose peer says this after the handshake, and then leaves.
async fn initiator_hearing(messages: Vec<Message>) -> TransferError {
    let (near, far) = duplex(64 * 1024);
    let job = Job {
        direction: Direction::Download,
        sources: vec![b"x".to_vec()],
        destination: b"/tmp".to_vec(),
        measure: None,
        options: JobOptions::default(),
    };
    let (events, _) = mpsc::unbounded_channel();
    let (_cancel, cancelled) = watch::channel(false);
    let initiator = tokio::spawn(initiate(
        job,
        near,
        Ipv4Addr::LOCALHOST.into(),
        events,
        cancelled,
    ));
    let mut control = shake_as_server(far).await;
    for message in messages {
        control.send(&message).unwrap();
    }
    control.finish().await;
    initiator.await.unwrap().unwrap_err()
}

fn request() -> Request {
    Request {
        destination: ByteBuf::from(*b"haul-test-nothing-comes"),
        ..Request::new(Direction::Upload)
    }
}

/// What becomes of a responder whose peer says this after the handshake, and then leaves.
async fn responder_hearing(messages: Vec<Message>) -> TransferError {
    let (near, far) = duplex(64 * 1024);
    let home = tempfile::tempdir().unwrap();
    let setup = RespondSetup {
        udp_ports: crate::ANY_UDP_PORT,
        ..RespondSetup::new(home.path().to_path_buf())
    };
    let (reader, writer) = split(far);
    let responder = tokio::spawn(respond(reader, writer, setup));
    let (reader, writer) = split(near);
    let mut control = Control::initiator(reader, writer);
    let offer = ClientOffer::new(&SuiteId::ALL, 1 << 20);
    greet(&mut control, &offer, deadline()).await.unwrap();
    for message in messages {
        control.send(&message).unwrap();
    }
    control.finish().await;
    let error = responder.await.unwrap().unwrap_err();
    assert_eq!(
        home.path().read_dir().unwrap().count(),
        0,
        "nothing was created"
    );
    error
}

fn out_of_place() -> Vec<Message> {
    vec![
        Message::Confirm(Confirm { mac: [0; 32] }),
        Message::Verdict(Verdict {
            ok: true,
            ..Verdict::default()
        }),
        Message::Done(Status::default()),
    ]
}

fn accepted() -> Message {
    Message::Accepted(Accepted {
        source_count: 1,
        rate_max_bps: None,
        share_bps: None,
        judges: false,
    })
}

#[tokio::test]
async fn c42_an_initiator_accepts_nothing_out_of_place() {
    let mut scripts: Vec<_> = out_of_place()
        .into_iter()
        .map(|message| vec![message])
        .collect();
    scripts.push(vec![accepted(), accepted()]);
    scripts.push(vec![Message::Request(Box::new(request()))]);
    for script in scripts {
        let error = initiator_hearing(script.clone()).await;
        assert_eq!(
            error.code(),
            ErrorCode::PeerMisbehaved,
            "{script:?}: {error}"
        );
    }
}

#[tokio::test]
async fn c42_a_responder_accepts_nothing_out_of_place() {
    let mut scripts: Vec<_> = out_of_place()
        .into_iter()
        .map(|message| vec![message])
        .collect();
    scripts.push(vec![Message::Accepted(Accepted {
        source_count: 1,
        rate_max_bps: None,
        share_bps: None,
        judges: false,
    })]);
    scripts.push(vec![
        Message::Request(Box::new(request())),
        Message::Request(Box::new(request())),
    ]);
    scripts.push(vec![
        Message::Request(Box::new(request())),
        Message::Confirm(Confirm { mac: [0; 32] }),
    ]);
    for script in scripts {
        let error = responder_hearing(script.clone()).await;
        assert_eq!(
            error.code(),
            ErrorCode::PeerMisbehaved,
            "{script:?}: {error}"
        );
    }
}

#[tokio::test]
async fn c49_a_peer_that_leaves_is_noticed_in_every_phase() {
    for (script, phase) in [(vec![], Phase::Request), (vec![accepted()], Phase::Path)] {
        let error = initiator_hearing(script).await;
        assert!(
            matches!(error, TransferError::ConnectionLost { during, .. } if during == phase),
            "{error}"
        );
    }
    let asked = vec![Message::Request(Box::new(request()))];
    for (script, phase) in [(vec![], Phase::Request), (asked, Phase::Path)] {
        let error = responder_hearing(script).await;
        assert!(
            matches!(error, TransferError::ConnectionLost { during, .. } if during == phase),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_peers_reason_is_the_reason_here() {
    let full = Fault::new(ErrorCode::DiskFull, "no room");
    for message in [Message::Error(full.clone()), Message::Refused(full)] {
        let error = initiator_hearing(vec![message]).await;
        assert_eq!(
            (error.code(), error.to_string().as_str()),
            (ErrorCode::DiskFull, "the other end: no room")
        );
    }
    // A newer peer's reason is told in its own words.
    let newer = Fault {
        code: 200,
        text: Text::new("the moon is full"),
    };
    let error = initiator_hearing(vec![Message::Error(newer)]).await;
    assert_eq!(error.code(), ErrorCode::Internal);
    assert!(error.to_string().contains("the moon is full"));
    let error = responder_hearing(vec![Message::Cancel]).await;
    assert!(
        matches!(error, TransferError::Cancelled { by_peer: true }),
        "{error}"
    );
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let unknown_policy = Request {
        policy: Text::new("greedy"),
        ..request()
    };
    let nothing = Request {
        direction: Direction::Download,
        ..request()
    };
    for request in [unknown_policy, nothing] {
        let error = responder_hearing(vec![Message::Request(Box::new(request))]).await;
        assert_eq!(error.code(), ErrorCode::Usage, "{error}");
    }
}
