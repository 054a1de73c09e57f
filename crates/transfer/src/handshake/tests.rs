//! Both sides against each other, and each side against a peer that misbehaves.

use std::time::Duration;

use haul_wire::control::{
    ClientHello, Confirm, ErrorCode, Message, PREAMBLE, ServerHello, Spoken, UdpEndpoint, frame,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    time::Instant,
};

use super::*;
use crate::{Misbehaviour, control::Control};

type Outcome = (
    Result<Greeted, TransferError>,
    Result<Agreed, TransferError>,
);

const ENDPOINT: UdpEndpoint = UdpEndpoint {
    ip: None,
    port: 33001,
};

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn offer(suites: &[SuiteId]) -> ClientOffer {
    ClientOffer::new(suites, 1 << 20)
}

fn policy(suites: &[SuiteId], allow_none: bool) -> ServerPolicy {
    ServerPolicy::new(suites, allow_none, 2 << 20)
}

fn client_control(stream: DuplexStream) -> Control {
    let (reader, writer) = split(stream);
    Control::initiator(reader, writer)
}

fn server_control(stream: DuplexStream) -> Control {
    let (reader, writer) = split(stream);
    Control::responder(reader, writer)
}

async fn serve(control: &mut Control, policy: &ServerPolicy) -> Result<Agreed, TransferError> {
    let outcome = async {
        let heard = hear(control, policy, deadline()).await?;
        answer(control, policy, &heard, vec![ENDPOINT], deadline()).await
    }
    .await;
    say_why(control, &outcome).await;
    outcome
}

async fn say_why<T>(control: &mut Control, outcome: &Result<T, TransferError>) {
    if let Err(error) = outcome {
        control.say_why(error);
        control.finish().await;
    }
}

/// Runs both sides over a stream on which `meddle` may alter frame bodies on their way.
async fn handshake(
    offer: ClientOffer,
    policy: ServerPolicy,
    meddle: impl Fn(Message) -> Message + Send + Clone + 'static,
) -> Outcome {
    let (client, middle_client) = duplex(64 * 1024);
    let (server, middle_server) = duplex(64 * 1024);
    let (from_client, mut to_client) = split(middle_client);
    let (mut from_server, to_server) = split(middle_server);
    let upstream = tokio::spawn(relay(from_client, to_server, meddle.clone()));
    let downstream = tokio::spawn(async move {
        let mut preamble = PREAMBLE;
        from_server.read_exact(&mut preamble).await.unwrap();
        to_client.write_all(&preamble).await.unwrap();
        relay(from_server, to_client, meddle).await;
    });
    let mut client = client_control(client);
    let mut server = server_control(server);
    let greeting = async {
        let outcome = greet(&mut client, &offer, deadline()).await;
        say_why(&mut client, &outcome).await;
        outcome
    };
    let outcome = tokio::join!(greeting, serve(&mut server, &policy));
    upstream.abort();
    downstream.abort();
    outcome
}

async fn relay<R, W>(mut from: R, mut to: W, meddle: impl Fn(Message) -> Message)
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    loop {
        let Ok(len) = from.read_u32().await else {
            return;
        };
        let mut body = vec![0; len as usize];
        from.read_exact(&mut body).await.unwrap();
        let message = Message::decode(&body).unwrap();
        let altered = meddle(message.clone());
        if altered != message {
            body = altered.encode().unwrap();
        }
        if to.write_all(&frame(&body).unwrap()).await.is_err() {
            return;
        }
    }
}

async fn honest(offer: ClientOffer, policy: ServerPolicy) -> Outcome {
    handshake(offer, policy, |message| message).await
}

#[tokio::test]
async fn both_ends_agree_on_every_suite() {
    for suite in SuiteId::ALL {
        let (client, server) = honest(offer(&[suite]), policy(&SuiteId::ALL, true)).await;
        let (client, server) = (client.unwrap(), server.unwrap());
        assert_eq!(client.agreed.suite, suite);
        assert_eq!(server.suite, suite);
        assert_eq!(client.agreed.session, server.session);
        assert_eq!(client.udp, [ENDPOINT]);
        assert_eq!(client.agreed.limits.receive_buffer_bytes, 2 << 20);
        assert_eq!(server.limits.receive_buffer_bytes, 1 << 20);
    }
}

#[tokio::test]
async fn the_client_prefers_and_the_server_allows() {
    use SuiteId::{Aes128Cfb, Aes256Gcm, ChaCha20Poly1305};
    let (client, _) = honest(
        offer(&[ChaCha20Poly1305, Aes256Gcm, Aes128Cfb]),
        policy(&[Aes128Cfb, Aes256Gcm], false),
    )
    .await;
    assert_eq!(client.unwrap().agreed.suite, Aes256Gcm);
}

#[tokio::test]
async fn c37_no_common_suite_is_named_at_both_ends() {
    let (client, server) = honest(
        offer(&[SuiteId::Aes256Gcm]),
        policy(&[SuiteId::Aes128Cfb], false),
    )
    .await;
    for error in [client.map(drop).unwrap_err(), server.map(drop).unwrap_err()] {
        assert_eq!(error.code(), ErrorCode::NoCommonCipher);
        let shown = error.to_string();
        assert!(
            shown.contains("aes256gcm") && shown.contains("aes128cfb"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn c37_plaintext_needs_both_ends_to_opt_in() {
    let none = [SuiteId::NoneCmac];
    let (client, _) = honest(offer(&none), policy(&SuiteId::ALL, false)).await;
    assert_eq!(
        client.map(drop).unwrap_err().code(),
        ErrorCode::NoCommonCipher
    );
    let (client, _) = honest(offer(&[SuiteId::Aes128Cfb]), policy(&none, true)).await;
    assert_eq!(
        client.map(drop).unwrap_err().code(),
        ErrorCode::NoCommonCipher
    );
    let (client, _) = honest(offer(&none), policy(&[], true)).await;
    assert_eq!(client.unwrap().agreed.suite, SuiteId::NoneCmac);
}

#[tokio::test]
async fn c37_a_client_of_unknown_or_broken_suites_only_is_refused() {
    let (client, server) = handshake(
        offer(&[SuiteId::Aes128Cfb]),
        policy(&SuiteId::ALL, false),
        |message| match message {
            Message::ClientHello(hello) => Message::ClientHello(ClientHello {
                suites: vec![0, 99, 255],
                ..hello
            }),
            other => other,
        },
    )
    .await;
    assert_eq!(
        server.map(drop).unwrap_err().code(),
        ErrorCode::NoCommonCipher
    );
    assert_eq!(
        client.map(drop).unwrap_err().code(),
        ErrorCode::NoCommonCipher
    );
}

#[tokio::test]
async fn versions_that_do_not_meet_are_named_at_both_ends() {
    let client = ClientOffer {
        versions: vec![7, 6],
        ..offer(&SuiteId::ALL)
    };
    let (client, server) = honest(client, policy(&SuiteId::ALL, false)).await;
    for error in [client.map(drop).unwrap_err(), server.map(drop).unwrap_err()] {
        assert_eq!(error.code(), ErrorCode::VersionMismatch);
        let shown = error.to_string();
        assert!(shown.contains("7, 6") && shown.contains('1'), "{shown}");
    }
    let newer = ServerPolicy {
        versions: vec![2, 1],
        ..policy(&SuiteId::ALL, false)
    };
    assert!(honest(offer(&SuiteId::ALL), newer).await.0.is_ok());
}

#[tokio::test]
async fn c43_unknown_features_are_ignored_when_offered_and_fatal_when_required() {
    let features = |offered, required| Features { offered, required };
    let client = |f| ClientOffer {
        features: f,
        ..offer(&SuiteId::ALL)
    };
    let server = |f| ServerPolicy {
        features: f,
        ..policy(&SuiteId::ALL, false)
    };
    let none = features(0, 0);

    let (c, s) = honest(client(features(1 << 63, 0)), server(features(1 << 40, 0))).await;
    assert!(c.is_ok() && s.is_ok());
    let (c, s) = honest(client(features(0, 1 << 5)), server(none)).await;
    assert_eq!(s.map(drop).unwrap_err().code(), ErrorCode::VersionMismatch);
    assert_eq!(c.map(drop).unwrap_err().code(), ErrorCode::VersionMismatch);
    let (c, _) = honest(client(none), server(features(0, 1 << 5))).await;
    assert!(matches!(
        c.map(drop).unwrap_err(),
        TransferError::UnknownFeature(32)
    ));
}

/// Whatever somebody in between changes in a hello, no end is satisfied.
#[tokio::test]
async fn c39_altered_hellos_fail_the_confirmation() {
    type Meddle = fn(Message) -> Message;
    let downgrade: Meddle = |message| match message {
        Message::ClientHello(hello) => Message::ClientHello(ClientHello {
            suites: vec![SuiteId::Aes128Cfb as u8],
            ..hello
        }),
        other => other,
    };
    let limits: Meddle = |message| match message {
        Message::ServerHello(mut hello) => {
            hello.limits.receive_buffer_bytes += 1;
            Message::ServerHello(hello)
        }
        other => other,
    };
    let port: Meddle = |message| match message {
        Message::ServerHello(hello) => Message::ServerHello(ServerHello {
            udp: vec![UdpEndpoint { ip: None, port: 9 }],
            ..hello
        }),
        other => other,
    };
    let share: Meddle = |message| match message {
        Message::ClientHello(hello) => Message::ClientHello(ClientHello {
            public: [9; 32],
            ..hello
        }),
        other => other,
    };
    for meddle in [downgrade, limits, port, share] {
        let (client, server) =
            handshake(offer(&SuiteId::ALL), policy(&SuiteId::ALL, false), meddle).await;
        assert!(matches!(
            client.map(drop).unwrap_err(),
            TransferError::Unconfirmed
        ));
        assert_ne!(server.map(drop).unwrap_err().code(), ErrorCode::Internal);
    }
}

#[tokio::test]
async fn c41_an_altered_confirmation_of_the_client_is_noticed() {
    // The relay sees both confirmations; only the second one, the client's, is altered.
    let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (client, server) = handshake(
        offer(&SuiteId::ALL),
        policy(&SuiteId::ALL, false),
        move |message| match message {
            Message::Confirm(mut confirm)
                if seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 =>
            {
                confirm.mac[31] ^= 1;
                Message::Confirm(confirm)
            }
            other => other,
        },
    )
    .await;
    assert!(client.is_ok());
    let error = server.map(drop).unwrap_err();
    assert!(matches!(error, TransferError::Unconfirmed), "{error}");
    assert_eq!(error.code(), ErrorCode::Tampered);
}

#[tokio::test]
async fn c40_degenerate_key_shares_are_refused() {
    // RFC 7748, section 6.1: points of small order force an all-zero secret.
    let mut one = [0; 32];
    one[0] = 1;
    for share in [[0; 32], one] {
        let (_, server) = handshake(
            offer(&SuiteId::ALL),
            policy(&SuiteId::ALL, false),
            move |message| match message {
                Message::ClientHello(hello) => Message::ClientHello(ClientHello {
                    public: share,
                    ..hello
                }),
                other => other,
            },
        )
        .await;
        let error = server.map(drop).unwrap_err();
        assert!(matches!(error, TransferError::Seal(_)), "{error}");
        assert_eq!(error.code(), ErrorCode::PeerMisbehaved);
    }
}

/// A server that follows a script instead of the protocol.
async fn client_against(script: impl FnOnce(ClientHello) -> Vec<Message>) -> TransferError {
    let (client, mut server) = duplex(64 * 1024);
    let scripted = async {
        server.write_all(&PREAMBLE).await.unwrap();
        let len = server.read_u32().await.unwrap();
        let mut body = vec![0; len as usize];
        server.read_exact(&mut body).await.unwrap();
        let Message::ClientHello(hello) = Message::decode(&body).unwrap() else {
            panic!("the client begins with its hello");
        };
        for message in script(hello) {
            server
                .write_all(&frame(&message.encode().unwrap()).unwrap())
                .await
                .unwrap();
        }
        server.shutdown().await.unwrap();
    };
    let mut control = client_control(client);
    let offer = offer(&[SuiteId::Aes128Cfb]);
    let (outcome, ()) = tokio::join!(greet(&mut control, &offer, deadline()), scripted);
    outcome.map(drop).unwrap_err()
}

fn server_hello() -> ServerHello {
    ServerHello {
        version: 1,
        suite: SuiteId::Aes128Cfb as u8,
        nonce: Nonce([1; 32]),
        public: [9; 32],
        session: SessionId(1),
        udp: vec![ENDPOINT],
        features: Features::default(),
        limits: HelloLimits {
            receive_buffer_bytes: 1,
        },
        agent: Text::default(),
    }
}

#[tokio::test]
async fn c38_a_choice_that_was_not_offered_ends() {
    let hellos = [
        (
            ServerHello {
                version: 2,
                ..server_hello()
            },
            "version",
        ),
        (
            ServerHello {
                suite: SuiteId::NoneCmac as u8,
                ..server_hello()
            },
            "cipher",
        ),
        (
            ServerHello {
                suite: 77,
                ..server_hello()
            },
            "cipher",
        ),
        (
            ServerHello {
                features: Features {
                    offered: 1,
                    required: 0,
                },
                ..server_hello()
            },
            "feature",
        ),
    ];
    for (hello, what) in hellos {
        let error = client_against(|_| vec![Message::ServerHello(hello)]).await;
        let expected = Misbehaviour::NotOffered(what);
        assert!(
            matches!(&error, TransferError::PeerMisbehaved(m) if *m == expected),
            "{error}"
        );
    }
    for udp in [vec![], vec![UdpEndpoint { ip: None, port: 0 }]] {
        let hello = ServerHello {
            udp,
            ..server_hello()
        };
        let error = client_against(|_| vec![Message::ServerHello(hello)]).await;
        assert_eq!(error.code(), ErrorCode::PeerMisbehaved);
    }
}

#[tokio::test]
async fn c42_messages_out_of_order_end() {
    let confirm = Message::Confirm(Confirm { mac: [0; 32] });
    let error = client_against(|_| vec![confirm.clone()]).await;
    assert!(
        error.to_string().contains("unexpected confirmation"),
        "{error}"
    );
    let error =
        client_against(|_| vec![Message::ServerHello(server_hello()), Message::HelloSeen]).await;
    assert!(
        error.to_string().contains("unexpected hello seen"),
        "{error}"
    );
    let error = client_against(|_| vec![Message::ServerHello(server_hello())]).await;
    assert_eq!(error.code(), ErrorCode::ConnectionLost, "{error}");
    let error = client_against(|_| vec![Message::ServerHello(server_hello()), confirm]).await;
    assert!(matches!(error, TransferError::Unconfirmed), "{error}");
    let error = client_against(|_| vec![Message::Spoken(Spoken { versions: vec![4] })]).await;
    assert!(
        matches!(error, TransferError::VersionMismatch { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_hears_nothing_before_the_hello() {
    let (mut client, server) = duplex(64 * 1024);
    let mut control = server_control(server);
    client
        .write_all(&frame(&Message::Ping.encode().unwrap()).unwrap())
        .await
        .unwrap();
    let policy = policy(&SuiteId::ALL, false);
    let error = hear(&mut control, &policy, deadline())
        .await
        .map(drop)
        .unwrap_err();
    assert!(error.to_string().contains("unexpected ping"), "{error}");
}
