//! Every message of the control conversation.

use haul_wire::SessionId;
use haul_wire::control::{
    Accepted, Act, After, Cause, Change, ClientHello, Confirm, Direction, ErrorCode, Fault,
    Features, FileFault, Fsync, Had, HelloLimits, InForce, Joinable, Measure, Message, Nonce,
    Overwrite, Placing, Preserve, Rate, Remembered, Request, Resume, Selection, ServerHello,
    Spoken, Status, Symlinks, Taking, Text, Token, UdpEndpoint, Unkept, Verdict, Verify, Wish,
    frame,
};
use serde_bytes::ByteBuf;

use super::{Seeds, hostile, valid};

const RATE: Rate = Rate {
    target_bps: Some(1_000_000_000),
    min_bps: 7,
};
fn wish() -> Wish {
    Wish {
        policy: Text::new("low"),
        rate: RATE,
    }
}

const LIMITS: HelloLimits = HelloLimits {
    receive_buffer_bytes: 64 << 20,
};

fn hellos() -> [Message; 3] {
    let client = ClientHello {
        versions: vec![1],
        suites: vec![1, 4, 200],
        nonce: Nonce([7; 32]),
        public: [9; 32],
        features: Features::default(),
        limits: LIMITS,
        ipv6: false,
        udp_ports: Some((33_001, 33_100)),
        agent: Text::new("haul/0.1.0"),
    };
    let endpoint = |ip| UdpEndpoint { ip, port: 33_001 };
    let server = ServerHello {
        version: 1,
        suite: 1,
        nonce: Nonce([1; 32]),
        public: [2; 32],
        session: SessionId(0xdead_beef),
        udp: vec![endpoint(None), endpoint(Some([127, 0, 0, 1].into()))],
        features: Features {
            offered: 1 << 63,
            required: 0,
        },
        limits: LIMITS,
        agent: Text::new("\u{1b}[2Jhaul"),
    };
    let spoken = Spoken {
        versions: vec![3, 2],
    };
    [
        Message::ClientHello(client),
        Message::ServerHello(server),
        Message::Spoken(spoken),
    ]
}

fn request() -> Message {
    Message::Request(Box::new(Request {
        direction: Direction::Download,
        sources: vec![
            ByteBuf::from(*b"~/data/*.fits"),
            ByteBuf::from([0xff, 0xfe]),
        ],
        destination: ByteBuf::from(*b"in"),
        source_count: 2,
        source_contents: true,
        taking: Taking {
            recursive: true,
            selection: Selection {
                rules: vec![ByteBuf::from(*b"*.tmp"), ByteBuf::from(*b"!a/**/b/")],
                oldest: Some(i64::MIN),
                newest: Some(7),
            },
            symlinks: Symlinks::Follow,
            skip_special: true,
            targets: vec![ByteBuf::from(*b"a/b"), ByteBuf::from(*b"c")],
            src_base: Some(ByteBuf::from(*b"~/data")),
            range: Some((1, 1 << 40)),
            grow_seconds: Some(30),
            after: After::Move(ByteBuf::from(*b"sent")),
            remove_empty_dirs: true,
        },
        placing: Placing {
            create_dir: false,
            overwrite: Overwrite::DiffOlder,
            fsync: Fsync::Each,
            backup_suffix: Some(ByteBuf::from(*b"~")),
            partial_suffix: Some(ByteBuf::from(*b".part")),
            delete: true,
            dry_run: true,
        },
        preserve: Preserve {
            owner: true,
            acls: true,
            ..Preserve::USUAL
        },
        resume: Resume::Digest,
        verify: Verify::All,
        policy: Text::new("fair"),
        rate: RATE,
        remembered: Some(Remembered {
            rate_bps: 295_000_000,
            min_rtt_us: 100_000,
        }),
        ecn: true,
        measure: Some(Measure::Millis(10_000)),
        token: Token::new("v4.local.c2VhbGVk"),
    }))
}

fn verdict() -> Message {
    let failure = FileFault {
        path: ByteBuf::from(*b"a/b"),
        why: Text::new("permission denied"),
    };
    Message::Verdict(Verdict {
        ok: false,
        files: 3,
        bytes: 1 << 40,
        there_files: 2,
        there_bytes: 1 << 39,
        kept: 5,
        corrupt: 1,
        deleted: 6,
        failed: 9,
        failures: vec![failure; 3],
        unkept: vec![Unkept {
            kind: Text::new("owner"),
            count: 12,
            path: ByteBuf::from(*b"a/\xff"),
            why: Text::new("not permitted\n"),
        }],
    })
}

fn changes() -> Message {
    Message::Changes(vec![Change {
        act: Act::Update,
        path: ByteBuf::from(*b"a/\xff"),
    }])
}

fn encoded(message: &Message) -> Vec<u8> {
    message.encode().expect("small")
}

fn others() -> Vec<Message> {
    vec![
        Message::Confirm(Confirm { mac: [3; 32] }),
        request(),
        Message::Accepted(Accepted {
            source_count: 2,
            rate_max_bps: None,
            share_bps: None,
            judges: true,
        }),
        Message::Refused(Fault::new(ErrorCode::NoSuchSource, "no such file: a")),
        Message::HelloSeen,
        Message::Status(Status {
            bytes_total: u64::MAX,
            files: 7,
            ..Status::default()
        }),
        Message::Warning(Text::new("slow disk")),
        Message::Rate(wish()),
        Message::Ceiling(None),
        Message::Detour,
        Message::Joinable(Joinable {
            name: 7 << 100,
            most: 4,
        }),
        changes(),
        Message::Had(Had {
            ranges: vec![(0, 7), (9, u64::MAX), (5, 2)],
            judged: 1 << 40,
        }),
        Message::Ceiling(Some(u64::MAX)),
        Message::InForce(InForce {
            asked: wish(),
            ceiling_bps: Some(500_000_000),
            cause: Cause::Ceiling,
        }),
        Message::Ping,
        Message::Pong,
        Message::Cancel,
        verdict(),
        Message::Done(Status::default()),
        Message::Error(Fault::new(ErrorCode::DiskFull, "no space \u{202e}left\n")),
    ]
}

pub fn control_frame() -> Seeds {
    let bodies: Vec<_> = hellos()
        .into_iter()
        .chain(others())
        .map(|message| (message.name().replace(' ', "-"), encoded(&message)))
        .collect();
    let first = bodies[0].1.clone();
    let framed = |body: &[u8]| frame(body).expect("small");
    let mut seeds: Seeds = bodies
        .iter()
        .map(|(name, body)| valid(name, body.clone()))
        .collect();
    seeds.extend([
        valid("framed", framed(&first)),
        valid("datagrams", [&[0x80, 0, 0, 7, 0, 2][..], b"ab12x"].concat()),
        hostile("datagrams-of-nothing", vec![0x80, 0, 0, 3, 0, 0, 1]),
        hostile("no-datagrams", vec![0x80, 0, 0, 2, 0, 1]),
        valid("later-hello", [&first[..], &[1, 2, 3]].concat()),
        hostile("later-ping", [&encoded(&Message::Ping)[..], &[0]].concat()),
        hostile("cut", first[..20].to_vec()),
        hostile("long-frame", vec![0x00, 0x10, 0x00, 0x01, 7]),
        hostile("empty-frame", vec![0; 4]),
        hostile("unknown-message", vec![99]),
        hostile("many-versions", [&[0, 17][..], &[1; 17]].concat()),
        hostile(
            "endless-list",
            vec![
                4, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
            ],
        ),
        hostile(
            "long-text",
            [&[9, 0xff, 0xff, 0x03][..], &[b'a'; 64]].concat(),
        ),
        hostile(
            "verdict-of-nothing",
            vec![encoded(&verdict())[0], 1, 0, 0, 1, 0],
        ),
    ]);
    seeds
}
