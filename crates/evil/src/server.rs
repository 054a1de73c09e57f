//! What the other end can do to an honest initiator.

use std::{thread::sleep, time::Duration};

use anyhow::bail;
use haul_manifest::{DirId, Entry, Layout, Meta, Name};
use haul_wire::{
    BlockAddr, PacketNo, Report, SuiteId,
    control::{
        Accepted, Confirm, ErrorCode, Fault, Features, Message, NOISE_LEN_MAX, PREAMBLE, Status,
        Verdict,
    },
};

use crate::{
    shake::{Mac, Shaken, Twist, as_server},
    talk::Talk,
};

pub(crate) fn play(scenario: &str, mut talk: Talk) -> anyhow::Result<()> {
    let twist = Twist::default();
    let twist = match scenario {
        "c34-length" => return speak(talk, &[&PREAMBLE[..], &(1_u32 << 31).to_be_bytes()]),
        "c36-noise" => return speak(talk, &[&[b'x'; NOISE_LEN_MAX + 100], &PREAMBLE]),
        "c36-escapes" => {
            talk.hear()?;
            return talk.raw(b"\x1b]0;owned\x07sh: haul: not found\n");
        }
        "c47-depth" => {
            return speak(
                talk,
                &[&PREAMBLE, &(1_u32 << 20).to_be_bytes(), &[0xff; 1 << 20]],
            );
        }
        "c49-nothing" => return talk.hear().map(drop),
        "c49-preamble" => return talk.raw(&PREAMBLE),
        "c35-trickle" => return trickle(talk),
        "c48-words" => return shout(talk),
        "c42-verdict-first" => {
            talk.raw(&PREAMBLE)?;
            talk.say(&Message::Verdict(Verdict {
                ok: true,
                ..Verdict::default()
            }))?;
            talk.hear_out();
            return Ok(());
        }
        "c38-suite" => Twist {
            suites: vec![SuiteId::NoneCmac as u8],
            ..twist
        },
        "c38-version" => Twist {
            version: 2,
            ..twist
        },
        "c40-zero-share" => Twist {
            public: Some([0; 32]),
            ..twist
        },
        "c41-wrong" => Twist {
            mac: Mac::Wrong,
            ..twist
        },
        "c41-missing" => {
            let twist = Twist {
                mac: Mac::Missing,
                ..twist
            };
            // It waits for the proof, and this end for its.
            return as_server(talk, &twist).map(drop);
        }
        "c41-twice" => Twist {
            mac: Mac::Twice,
            ..twist
        },
        "c43-required" => Twist {
            features: Features {
                offered: 0,
                required: 1 << 33,
            },
            ..twist
        },
        "c45-limits" => Twist {
            receive_buffer_bytes: u64::MAX,
            ..twist
        },
        _ => twist,
    };
    let mut shaken = as_server(talk, &twist)?;
    match scenario {
        "c49-confirmed" => return Ok(()),
        "c41-wrong" | "c41-twice" => {}
        "c42-status-first" => {
            shaken.talk.say(&Message::Done(Status::default()))?;
        }
        "w27-silence" => {
            shaken.talk.say(&Message::HelloSeen)?;
            accept(&mut shaken)?;
        }
        _ => return requested(scenario, shaken),
    }
    shaken.talk.hear_out();
    Ok(())
}

fn speak(mut talk: Talk, parts: &[&[u8]]) -> anyhow::Result<()> {
    for part in parts {
        talk.raw(part)?;
    }
    talk.hear_out();
    Ok(())
}

/// A byte a second, for as long as somebody listens.
fn trickle(mut talk: Talk) -> anyhow::Result<()> {
    for byte in PREAMBLE.into_iter().chain([0, 0, 0, 200]).chain([7; 200]) {
        sleep(Duration::from_secs(1));
        talk.raw(&[byte])?;
    }
    Ok(())
}

/// An error whose text is half a megabyte long and steers terminals.
fn shout(mut talk: Talk) -> anyhow::Result<()> {
    talk.raw(&PREAMBLE)?;
    let text = format!(
        "\x1b]0;owned\x07\r\nhaul: error: fake{}",
        "A".repeat(500_000)
    );
    let mut body = Message::Error(Fault::new(ErrorCode::DiskFull, "")).encode()?;
    // In place of the empty text's length.
    body.pop();
    let mut len = text.len();
    while len >= 0x80 {
        body.push(len as u8 | 0x80);
        len >>= 7;
    }
    body.push(len as u8);
    body.extend(text.as_bytes());
    talk.body(&body)?;
    talk.hear_out();
    Ok(())
}

fn accept(shaken: &mut Shaken) -> anyhow::Result<()> {
    shaken
        .talk
        .await_message(|message| matches!(message, Message::Request(_)))?;
    shaken.talk.say(&Message::Accepted(Accepted {
        source_count: 1,
        rate_max_bps: None,
        share_bps: None,
        judges: false,
    }))?;
    Ok(())
}

/// What follows an honest handshake and a request that was accepted.
fn requested(scenario: &str, mut shaken: Shaken) -> anyhow::Result<()> {
    accept(&mut shaken)?;
    if scenario == "c49-accepted" {
        return Ok(());
    }
    shaken.flow.await_opening()?;
    let Shaken { talk, flow } = &mut shaken;
    let top = DirId::DESTINATION;
    match scenario {
        "c49-opened" => return Ok(()),
        "c42-confirm-again" => {
            talk.say(&Message::Confirm(Confirm { mac: [0; 32] }))?;
        }
        "c45-limits" => {
            // What this end claims to have room for is nobody's order to send it.
            flow.receive()?;
            return Ok(());
        }
        "c50-deaf" => {
            // Asks, and does not hear the answers.
            while talk.say(&Message::Ping).is_ok() {}
            return Ok(());
        }
        "w21-beyond-end" => {
            flow.list(&[file(top, "f", 100, 0o644)?, end(100, 1, 1)], |_| {})?;
            flow.content(5, b'x')?;
        }
        "w21-no-length" => flow.block(BlockAddr::content(0), &[])?,
        "w21-other-length" => {
            let short = vec![0; flow.block_len - 1];
            flow.block(BlockAddr::content(0), &short)?;
        }
        "w22-twice" => {
            flow.content(0, b'1')?;
            flow.content(0, b'2')?;
            flow.list(&[file(top, "f", 100, 0o644)?, end(100, 1, 1)], |_| {})?;
            return conclude(talk);
        }
        "w23-unsent" => {
            let far = 1 << 40;
            flow.report(&Report {
                largest: PacketNo(far),
                span_low: PacketNo(far - 10),
                span_high: PacketNo(far),
                ranges: vec![far - 10..=far],
                ..Report::default()
            })?;
        }
        "w24-absurd" => {
            flow.report(&Report {
                largest_hold_us: u32::MAX,
                newest_at_us: u64::MAX,
                received_packets: u64::MAX,
                received_bytes: u64::MAX,
                duplicate_blocks: u64::MAX,
                written_bytes: u64::MAX,
                free_bytes: u64::MAX,
                ecn_ect0: u64::MAX,
                ecn_ce: u64::MAX,
                ..Report::default()
            })?;
            flow.receive()?;
            talk.say(&Message::Cancel)?;
        }
        "w25-ranges" => {
            let ranges = (0..1_000).rev().map(|n| 3 * n..=3 * n).collect();
            flow.report(&Report {
                span_high: PacketNo(3_000),
                ranges,
                ..Report::default()
            })?;
        }
        "c44-overflow" => {
            let huge = file(top, "a", i64::MAX as u64, 0o644)?;
            let entries = vec![huge; 3];
            flow.list(&entries, |_| {})?;
        }
        "n73-powers" => {
            flow.list(&[file(top, "f", 100, 0o6777)?, end(100, 1, 1)], |_| {})?;
            flow.content(0, b'x')?;
            return conclude(talk);
        }
        "n74-unasked" => {
            flow.list(&[file(top, "other", 100, 0o644)?, end(100, 1, 1)], |_| {})?;
            flow.content(0, b'x')?;
        }
        _ => match scenario.strip_prefix("n62-") {
            Some(bad) => {
                let good = "A".repeat(bad.len());
                let bad = bad.replace('0', "\0").replace('|', "/");
                flow.list(
                    &[file(top, &good, 100, 0o644)?, end(100, 1, 1)],
                    turn(&good, &bad),
                )?;
                flow.content(0, b'x')?;
            }
            None => bail!("no scenario {scenario}"),
        },
    }
    talk.hear_out();
    Ok(())
}

/// Hears the verdict and says that it has.
fn conclude(talk: &mut Talk) -> anyhow::Result<()> {
    talk.await_message(|message| matches!(message, Message::Verdict(_)))?;
    talk.say(&Message::Done(Status::default()))?;
    talk.hear_out();
    Ok(())
}

pub(crate) fn name(text: &str) -> anyhow::Result<Name> {
    Ok(Name::new(text.as_bytes())?)
}

pub(crate) fn file(parent: DirId, text: &str, size: u64, mode: u32) -> anyhow::Result<Entry> {
    Ok(Entry::File {
        parent,
        name: name(text)?,
        meta: Meta {
            mode,
            ..Meta::default()
        },
        size,
        layout: Layout::Dense,
        digest: None,
    })
}

pub(crate) fn end(content_bytes: u64, files: u64, entries: u64) -> Entry {
    Entry::End {
        content_bytes,
        files,
        entries,
    }
}

/// Puts a name that cannot be made in the place of one of the same length.
pub(crate) fn turn(good: &str, bad: &str) -> impl Fn(&mut Vec<u8>) {
    let (good, bad) = (good.as_bytes().to_vec(), bad.as_bytes().to_vec());
    move |bytes| {
        let at = bytes.windows(good.len()).position(|found| found == good);
        if let Some(at) = at {
            bytes[at..at + bad.len()].copy_from_slice(&bad);
        }
    }
}
