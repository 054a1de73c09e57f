use std::net::IpAddr;

use super::*;
use crate::SessionId;

fn client_hello() -> ClientHello {
    ClientHello {
        versions: vec![1],
        suites: vec![1, 4, 200],
        nonce: Nonce([7; 32]),
        public: [9; 32],
        features: Features::default(),
        limits: HelloLimits {
            receive_buffer_bytes: 64 << 20,
        },
        ipv6: false,
        udp_ports: Some((33001, 33100)),
        agent: Text::new("haul/0.1.0"),
    }
}

fn wish() -> Wish {
    Wish {
        policy: Text::new("high"),
        rate: Rate {
            target_bps: None,
            min_bps: 1,
        },
    }
}

fn unkept(path_len: usize) -> Unkept {
    Unkept {
        kind: Text::new("owner"),
        count: 12,
        path: ByteBuf::from(vec![b'p'; path_len]),
        why: Text::new("not permitted"),
    }
}

fn request() -> Message {
    Message::Request(Box::new(Request {
        direction: Direction::Download,
        sources: vec![
            ByteBuf::from(*b"~/data/*.fits"),
            ByteBuf::from([0xff, 0xfe]),
        ],
        destination: ByteBuf::new(),
        source_count: 0,
        source_contents: false,
        taking: Taking {
            recursive: true,
            selection: Selection {
                rules: vec![ByteBuf::from(*b"*.tmp")],
                oldest: Some(-1),
                newest: None,
            },
            symlinks: Symlinks::Follow,
            targets: vec![ByteBuf::from(*b"a/b")],
            src_base: Some(ByteBuf::from(*b"a")),
            range: Some((1, u64::MAX)),
            after: After::Move(ByteBuf::from(*b"sent")),
            ..Taking::default()
        },
        placing: Placing {
            overwrite: Overwrite::Older,
            fsync: Fsync::Each,
            backup_suffix: Some(ByteBuf::from(*b"~")),
            ..Placing::default()
        },
        preserve: Preserve::USUAL,
        resume: Resume::Samples,
        verify: Verify::Sent,
        policy: Text::new("fair"),
        rate: Rate {
            target_bps: Some(1_000_000_000),
            min_bps: 0,
        },
        remembered: None,
        ecn: true,
        measure: Some(Measure::Bytes(1 << 30)),
        token: Token::new("v4.local.c2VhbGVk"),
    }))
}

fn every_message() -> Vec<Message> {
    vec![
        Message::ClientHello(client_hello()),
        Message::ServerHello(ServerHello {
            version: 1,
            suite: 1,
            nonce: Nonce([1; 32]),
            public: [2; 32],
            session: SessionId(0xdead_beef),
            udp: vec![UdpEndpoint {
                ip: Some(IpAddr::from([127, 0, 0, 1])),
                port: 33001,
            }],
            features: Features::default(),
            limits: HelloLimits {
                receive_buffer_bytes: 1,
            },
            agent: Text::default(),
        }),
        Message::Spoken(Spoken {
            versions: vec![3, 2],
        }),
        Message::Confirm(Confirm { mac: [3; 32] }),
        request(),
        Message::Accepted(Accepted {
            source_count: 2,
            rate_max_bps: None,
            share_bps: Some(7),
            judges: true,
        }),
        Message::Refused(Fault::new(ErrorCode::NoSuchSource, "no such file: a")),
        Message::HelloSeen,
        Message::Status(Status::default()),
        Message::Warning(Text::new("slow disk")),
        Message::Rate(wish()),
        Message::Ceiling(Some(1)),
        Message::InForce(InForce {
            asked: wish(),
            ceiling_bps: Some(300_000_000),
            cause: Cause::Ceiling,
        }),
        Message::Had(Had {
            ranges: vec![(0, 7), (9, u64::MAX)],
            judged: 1 << 40,
        }),
        Message::Detour,
        Message::Joinable(Joinable {
            name: 7 << 100,
            most: 4,
        }),
        Message::Changes(vec![Change {
            act: Act::Delete,
            path: ByteBuf::from(*b"a/b"),
        }]),
        Message::Ping,
        Message::Pong,
        Message::Cancel,
        Message::Verdict(Verdict {
            ok: false,
            files: 3,
            bytes: 1 << 40,
            there_files: 1,
            there_bytes: 1 << 20,
            kept: 5,
            corrupt: 1,
            deleted: 6,
            failed: 1,
            failures: vec![FileFault {
                path: ByteBuf::from(*b"a/b"),
                why: Text::new("permission denied"),
            }],
            unkept: vec![unkept(3)],
        }),
        Message::Done(Status::default()),
        Message::Error(Fault::new(ErrorCode::DiskFull, "no space left")),
    ]
}

#[test]
fn every_message_survives_the_round_trip() {
    for message in every_message() {
        let body = message.encode().expect("small");
        assert_eq!(Message::decode(&body), Ok(message));
    }
}

#[test]
fn every_truncation_is_an_error() {
    for message in every_message() {
        let body = message.encode().expect("small");
        for len in 0..body.len() {
            assert!(
                Message::decode(&body[..len]).is_err(),
                "{} cut to {len}",
                message.name()
            );
        }
    }
}

#[test]
fn only_hellos_may_be_longer_than_this_version_knows() {
    for message in every_message() {
        let mut body = message.encode().expect("small");
        body.extend([1, 2, 3]);
        let open_ended = matches!(
            message,
            Message::ClientHello(_) | Message::ServerHello(_) | Message::Spoken(_)
        );
        assert_eq!(
            Message::decode(&body).is_ok(),
            open_ended,
            "{}",
            message.name()
        );
    }
}

#[test]
fn c47_garbage_and_flipped_bytes_never_panic() {
    let seed = 0x5eed_u64;
    let mut state = seed;
    // splitmix64: https://prng.di.unimi.it/splitmix64.c
    let mut random = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    for _ in 0..20_000 {
        let len = (random() % 200) as usize;
        let body: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        let _ = Message::decode(&body);
    }
    for message in every_message() {
        let body = message.encode().expect("small");
        for _ in 0..500 {
            let mut body = body.clone();
            let at = random() as usize % body.len();
            body[at] ^= 1 << (random() % 8);
            let _ = Message::decode(&body);
        }
    }
}

#[test]
fn c34_hostile_frame_lengths_are_refused() {
    let datagrams_max = (1 << 31) + 2 + DATAGRAMS_LEN_MAX as u32;
    let bad = [
        FRAME_LEN_MAX as u32 + 1,
        1 << 31,
        (1 << 31) + 2,
        datagrams_max + 1,
        u32::MAX,
    ];
    for len in bad {
        assert!(Framed::of(len.to_be_bytes()).is_err(), "{len}");
    }
    assert_eq!(Framed::of(PADDING), Ok(Framed::Padding));
    assert_eq!(Framed::of([0, 0, 0, 1]), Ok(Framed::Message(1)));
    let longest = Framed::of([0, 0x10, 0, 0]);
    assert_eq!(longest, Ok(Framed::Message(FRAME_LEN_MAX)));
    let most = Framed::of(datagrams_max.to_be_bytes());
    assert_eq!(most, Ok(Framed::Datagrams(2 + DATAGRAMS_LEN_MAX)));
    assert!(frame(&[]).is_err());
    assert!(frame(&vec![0; FRAME_LEN_MAX + 1]).is_err());
    assert_eq!(frame(b"x"), Ok(vec![0, 0, 0, 1, b'x']));
}

#[test]
fn datagrams_have_frames_of_their_own() {
    let header = datagrams_header(1472, 3000).expect("fits");
    assert_eq!(header, [0x80, 0, 0x0b, 0xba, 0x05, 0xc0]);
    let framed = Framed::of([0x80, 0, 0x0b, 0xba]);
    assert_eq!(framed, Ok(Framed::Datagrams(3002)));
    assert_eq!(datagrams(&[5, 0xc0, 7, 8]), Ok((1472, &[7, 8][..])));
    for (stride, len) in [(0, 9), (1 << 16, 9), (9, 0), (9, DATAGRAMS_LEN_MAX + 1)] {
        assert!(datagrams_header(stride, len).is_err(), "{stride} {len}");
    }
    for body in [&[][..], &[1], &[5, 0xc0], &[0, 0, 1]] {
        assert!(datagrams(body).is_err(), "{body:?}");
    }
}

#[test]
fn c44_lists_are_bounded_while_decoding() {
    let many = Message::ClientHello(ClientHello {
        versions: vec![1; 17],
        ..client_hello()
    });
    assert!(Message::decode(&many.encode().expect("small")).is_err());
    // A list that announces 2^63 items in a short body.
    let mut body = vec![0];
    body.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(Message::decode(&body).is_err());
}

#[test]
fn requests_and_verdicts_are_checked() {
    let Some(Message::Request(request)) = every_message()
        .into_iter()
        .find(|m| matches!(m, Message::Request(_)))
    else {
        panic!("there is a request");
    };
    for bad in [vec![b'a'; PATH_LEN_MAX + 1], b"a\0b".to_vec()] {
        let bad = Message::Request(Box::new(Request {
            destination: ByteBuf::from(bad),
            ..(*request).clone()
        }));
        assert!(Message::decode(&bad.encode().expect("small")).is_err());
    }
    for unkept in [
        vec![unkept(PATH_LEN_MAX + 1)],
        vec![unkept(1); UNKEPT_MAX + 1],
    ] {
        let verdict = Message::Verdict(Verdict {
            ok: true,
            unkept,
            ..Verdict::default()
        });
        assert!(Message::decode(&verdict.encode().expect("small")).is_err());
    }
    for (ok, failed) in [(true, 1), (false, 0)] {
        let verdict = Message::Verdict(Verdict {
            ok,
            failed,
            ..Verdict::default()
        });
        assert!(Message::decode(&verdict.encode().expect("small")).is_err());
    }
}

#[test]
fn c48_long_texts_are_cut_and_shown_escaped() {
    let long = "ü".repeat(500_000);
    let frame = postcard::to_stdvec(&ByteBuf::from(long.into_bytes())).expect("encodes");
    let text: Text = postcard::from_bytes(&frame).expect("decodes");
    assert_eq!(text.as_bytes().len(), TEXT_LEN_MAX);
    assert!(!text.to_string().contains('\\'), "cut within a character");

    let odd = Text::new(format!("{}ü", "a".repeat(TEXT_LEN_MAX - 1)));
    assert_eq!(odd.as_bytes().len(), TEXT_LEN_MAX - 1);

    let text = Text::new("\x1b[2J\r\nok \u{202e}\u{9b}31m\\ grün");
    assert_eq!(
        text.to_string(),
        "\\u{1b}[2J\\r\\nok \\u{202e}\\u{9b}31m\\\\ grün"
    );
    assert_eq!(escaped(&[b'a', 0xff, b'b']), "a\\xffb");
}

#[test]
fn codes_have_distinct_numbers_and_names() {
    for pair in ErrorCode::ALL.windows(2) {
        assert!(pair[0] < pair[1], "{pair:?}");
        assert_ne!(pair[0].name(), pair[1].name());
    }
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_wire(code as u8), Some(code));
    }
    assert_eq!(ErrorCode::from_wire(0), None);
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", Message::ClientHello(client_hello()));
    assert!(!shown.contains("7, 7"), "{shown}");
}

#[test]
fn a_suffix_is_a_part_of_a_name_and_nothing_else() {
    let Message::Request(request) = request() else {
        panic!("a request");
    };
    let decoded = |backup: &[u8], partial: &[u8]| {
        let mut request = request.clone();
        request.placing.backup_suffix = Some(ByteBuf::from(backup));
        request.placing.partial_suffix = Some(ByteBuf::from(partial));
        let body = Message::Request(request).encode().expect("small");
        Message::decode(&body)
    };
    assert!(decoded(b"~", b".part").is_ok());
    assert!(decoded(&[b'a'; SUFFIX_LEN_MAX], b"\xff").is_ok());
    let long = [b'a'; SUFFIX_LEN_MAX + 1];
    for wrong in [&b""[..], b"/../../x", b"a/", b"\0", &long] {
        let refused = Err(WireError::Range("suffix"));
        assert_eq!(decoded(wrong, b".part"), refused, "{wrong:?}");
        assert_eq!(decoded(b"~", wrong), refused, "{wrong:?}");
    }
    assert_eq!(decoded(b"~", b"~"), Err(WireError::Range("suffix")));
}
