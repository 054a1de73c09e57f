//! Sealed datagrams as a stranger can make them, and opened bodies.

use crate::pure::datagram::SESSION;
use haul_wire::{
    BlockAddr, Header, Kind, Lane, PacketNo, Part, SessionId, SuiteId,
    path::{self, Challenge, Echo, Hello, Probe, Response, Sync},
};
use serde::Serialize;

use super::{Seeds, hostile, valid};

fn header(kind: Kind, session: SessionId, epoch: u8, lane: u16, packet: u64) -> Vec<u8> {
    let (lane, packet) = (Lane(lane), PacketNo(packet));
    Header {
        kind,
        epoch,
        flags: 0,
        session,
        lane,
        packet,
    }
    .encode()
    .to_vec()
}

/// A batch for the suite at this place in [`SuiteId::ALL`].
fn batch(suite: usize, stride: u16, segments: &[Vec<u8>]) -> Vec<u8> {
    [
        vec![suite as u8],
        stride.to_be_bytes().to_vec(),
        segments.concat(),
    ]
    .concat()
}

pub fn datagram() -> Seeds {
    let forged = |kind, epoch, lane, packet, body: usize| {
        [
            header(kind, SESSION, epoch, lane, packet),
            vec![0x5a; body + 16],
        ]
        .concat()
    };
    let data = forged(Kind::Data, 0, 0, 0, 208);
    let mut seeds: Seeds = SuiteId::ALL
        .iter()
        .enumerate()
        .map(|(index, suite)| {
            let run: Vec<_> = (0..4)
                .map(|packet| forged(Kind::Data, 0, 0, packet, 208))
                .collect();
            valid(&format!("run-{suite}"), batch(index, 240, &run))
        })
        .collect();
    let stranger = [header(Kind::Hello, SessionId(1), 0, 1, 0), vec![0; 64]].concat();
    let address = BlockAddr::list(7).encode().to_vec();
    let part = Part::new(2, 7).expect("a part");
    let part = BlockAddr::content(7).with_part(part).encode().to_vec();
    let mut version = data.clone();
    version[0] = 0x21;
    let mut flags = data.clone();
    flags[3] = 1;
    seeds.extend([
        valid(
            "hello",
            batch(0, 1_232, &[forged(Kind::Hello, 0, 1, 0, 1_200)]),
        ),
        valid(
            "report",
            batch(0, 96, &[forged(Kind::Report, 0, 0, 1 << 47, 64)]),
        ),
        valid(
            "next-epoch",
            batch(0, 240, &[forged(Kind::Data, 1, 0, 9, 208), data.clone()]),
        ),
        valid(
            "far-epoch",
            batch(2, 240, &[forged(Kind::Data, 2, 0, 9, 208)]),
        ),
        valid("other-session", batch(0, 80, &[stranger])),
        valid(
            "unknown-lane",
            batch(0, 240, &[forged(Kind::Data, 0, 2, 0, 208)]),
        ),
        valid(
            "same-number-twice",
            batch(0, 240, &[data.clone(), data.clone()]),
        ),
        valid("no-body", batch(4, 32, &[forged(Kind::Echo, 0, 1, 3, 0)])),
        valid(
            "largest-number",
            batch(3, 48, &[forged(Kind::Sync, 255, 1, (1 << 48) - 1, 16)]),
        ),
        valid(
            "header-only",
            batch(0, 16, &[header(Kind::Data, SESSION, 0, 0, 0)]),
        ),
        valid(
            "short-tail",
            batch(5, 240, &[data.clone(), data[..20].to_vec()]),
        ),
        valid("many-tiny", batch(0, 1, &[data[..200].to_vec()])),
        hostile("block-address", batch(0, 8, &[address])),
        hostile("block-part", batch(0, 8, &[part])),
        hostile("no-such-part", batch(0, 8, &[vec![0, 1, 0, 0, 0, 0, 0, 7]])),
        hostile("version", batch(0, 240, &[version])),
        hostile("flags", batch(0, 240, &[flags])),
        hostile("empty", Vec::new()),
    ]);
    seeds
}

fn body<T: Serialize>(kind: u8, value: &T, padding: usize) -> Vec<u8> {
    let mut out = vec![0; 64 + padding];
    let len = path::encode(value, &mut out[1..]).expect("room");
    out.truncate(1 + len + padding);
    out[0] = kind;
    out
}

pub fn path_bodies() -> Seeds {
    let nonce = [0xff, 0, 1, 2, 3, 4, 5, 0x80];
    let sync = Sync {
        report_floor: PacketNo(1 << 20),
        next_packet: PacketNo(1 << 47),
    };
    let far = Sync {
        report_floor: PacketNo(u64::MAX),
        next_packet: PacketNo(0),
    };
    vec![
        valid(
            "hello",
            body(
                0,
                &Hello {
                    datagram_len: 8_928,
                },
                40,
            ),
        ),
        valid(
            "challenge",
            body(
                1,
                &Challenge {
                    datagram_len: 1_440,
                    nonce,
                },
                40,
            ),
        ),
        valid(
            "response",
            body(
                2,
                &Response {
                    nonce,
                    datagram_len: 1_232,
                },
                0,
            ),
        ),
        valid(
            "probe",
            body(
                3,
                &Probe {
                    datagram_len: 1_472,
                    token: u64::MAX,
                },
                40,
            ),
        ),
        valid("sync", body(4, &sync, 0)),
        valid("echo", body(5, &Echo { token: 1 << 60 }, 16)),
        hostile("sync-beyond-all-numbers", body(4, &far, 0)),
        hostile("hello-zero", body(0, &Hello { datagram_len: 0 }, 0)),
        hostile(
            "endless-varint",
            vec![
                4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            ],
        ),
        hostile("padded-varint", vec![0, 0x80, 0x80, 0x00]),
        hostile("cut-challenge", vec![1, 0xac, 0x0b, 1, 2, 3]),
        hostile("empty", Vec::new()),
    ]
}
