//! What the other end can do to an honest initiator.

use std::{thread::sleep, time::Duration};

use anyhow::Context as _;
use haul_manifest::{DirId, Entry, Layout, Meta, Name};
use haul_wire::{
    BlockAddr, Kind, PacketNo, Report, SuiteId,
    control::{
        Accepted, Confirm, ErrorCode, Fault, Message, NOISE_LEN_MAX, PREAMBLE, Status, Verdict,
        frame,
    },
};

use crate::{
    shake::{Mac, Shaken, Twist, as_server},
    talk::Talk,
};

pub(crate) fn play(scenario: &str, mut talk: Talk) -> anyhow::Result<()> {
    let too_long = 1_u32 << 31;
    let longest = 1_u32 << 20;
    match scenario {
        "c34-length" => speak(talk, &[&PREAMBLE, &too_long.to_be_bytes()]),
        "c35-trickle" => trickle(talk),
        "c36-noise" => speak(talk, &[&[b'x'; NOISE_LEN_MAX + 100], &PREAMBLE]),
        "c36-escapes" => {
            talk.hear()?;
            talk.raw(b"\x1b]0;owned\x07sh: haul: not found\n")
        }
        "c42-verdict-first" => {
            let verdict = Verdict {
                ok: true,
                ..Verdict::default()
            };
            let verdict = frame(&Message::Verdict(verdict).encode()?)?;
            speak(talk, &[&PREAMBLE, &verdict])
        }
        "c47-depth" => {
            let nonsense = [0xff; 1 << 20];
            speak(talk, &[&PREAMBLE, &longest.to_be_bytes(), &nonsense])
        }
        "c48-words" => shout(talk),
        "c49-nothing" => talk.hear().map(drop),
        "c49-preamble" => talk.raw(&PREAMBLE),
        _ => shake(scenario, talk),
    }
}

/// What deviates in the handshake.
fn twist(scenario: &str) -> Twist {
    let mut twist = Twist::default();
    match scenario {
        "c38-suite" => twist.suites = vec![SuiteId::NoneCmac as u8],
        "c38-version" => twist.version = 2,
        "c40-zero-share" => twist.public = Some([0; 32]),
        "c41-wrong" => twist.mac = Mac::Wrong,
        "c41-missing" => twist.mac = Mac::Missing,
        "c41-twice" => twist.mac = Mac::Twice,
        "c43-required" => twist.features.required = 1 << 33,
        "c45-limits" => twist.receive_buffer_bytes = u64::MAX,
        _ => {}
    }
    twist
}

fn shake(scenario: &str, talk: Talk) -> anyhow::Result<()> {
    let mut shaken = as_server(talk, &twist(scenario))?;
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
        _ => {
            accept(&mut shaken)?;
            if scenario == "c49-accepted" {
                return Ok(());
            }
            shaken.flow.await_opening()?;
            return opened(scenario, shaken);
        }
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

/// What follows when the path is open.
fn opened(scenario: &str, mut shaken: Shaken) -> anyhow::Result<()> {
    let talk = &mut shaken.talk;
    match scenario {
        "c49-opened" => return Ok(()),
        "c42-confirm-again" => {
            talk.say(&Message::Confirm(Confirm { mac: [0; 32] }))?;
        }
        "c45-limits" => {
            // What this end claims to have room for is nobody's order to send it.
            shaken.flow.receive()?;
            return Ok(());
        }
        "c50-deaf" => {
            // Asks, and does not hear the answers.
            while talk.say(&Message::Ping).is_ok() {}
            return Ok(());
        }
        "w23-unsent" | "w24-absurd" | "w25-ranges" => reports(scenario, &mut shaken)?,
        _ => files(scenario, &mut shaken)?,
    }
    shaken.talk.hear_out();
    Ok(())
}

/// As the receiver of data.
fn reports(scenario: &str, Shaken { talk, flow }: &mut Shaken) -> anyhow::Result<()> {
    let far = 1 << 40;
    match scenario {
        "w23-unsent" => flow.report(&Report {
            largest: PacketNo(far),
            span_low: PacketNo(far - 10),
            span_high: PacketNo(far),
            ranges: vec![far - 10..=far],
            ..Report::default()
        }),
        "w25-ranges" => flow.report(&Report {
            span_high: PacketNo(3_000),
            ranges: (0..1_000).rev().map(|n| 3 * n..=3 * n).collect(),
            ..Report::default()
        }),
        _ => {
            // Before any data, whatever it counts would be too much.
            while flow.receive()?.0 != Kind::Data {}
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
            // Data goes on after it.
            flow.receive()?;
            talk.say(&Message::Cancel).map(drop)
        }
    }
}

/// As the sender of data: of one file, in most cases, of 100 bytes.
fn files(scenario: &str, Shaken { talk, flow }: &mut Shaken) -> anyhow::Result<()> {
    let one = |text: &str, mode| anyhow::Ok([file(text, 100, mode)?, end(100, 1, 1)]);
    match scenario {
        "w21-beyond-end" => {
            flow.list(&one("f", 0o644)?, |_| {})?;
            flow.content(5, b'x')
        }
        "w21-no-length" => flow.block(BlockAddr::content(0), &[]),
        "w21-other-length" => {
            let short = vec![0; flow.block_len - 1];
            flow.block(BlockAddr::content(0), &short)
        }
        "w22-twice" => {
            flow.content(0, b'1')?;
            flow.content(0, b'2')?;
            flow.list(&one("f", 0o644)?, |_| {})?;
            conclude(talk)
        }
        "c44-overflow" => {
            let huge = file("a", i64::MAX as u64, 0o644)?;
            flow.list(&vec![huge; 3], |_| {})
        }
        "n73-powers" => {
            flow.list(&one("f", 0o6777)?, |_| {})?;
            flow.content(0, b'x')?;
            conclude(talk)
        }
        "n74-unasked" => {
            flow.list(&one("other", 0o644)?, |_| {})?;
            flow.content(0, b'x')
        }
        _ => {
            let bad = scenario
                .strip_prefix("n62-")
                .with_context(|| format!("no scenario {scenario}"))?;
            let good = "A".repeat(bad.len());
            // What no argument can hold, or a shell would take apart.
            let bad = bad.replace('0', "\0").replace('|', "/");
            flow.list(&one(&good, 0o644)?, turn(&good, &bad))?;
            flow.content(0, b'x')
        }
    }
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

/// A file at the top.
pub(crate) fn file(text: &str, size: u64, mode: u32) -> anyhow::Result<Entry> {
    Ok(Entry::File {
        parent: DirId::DESTINATION,
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
        unlisted: 0,
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
