//! What an initiator can do to an honest other end.

use anyhow::bail;
use haul_manifest::{DirId, Entry};
use haul_wire::{
    BlockAddr, SuiteId,
    control::{Direction, Features, Message, Request, Verdict},
};

use crate::{
    server::{end, file, name},
    shake::{Mac, Shaken, Twist, as_client},
    talk::Talk,
};

/// Plays a scenario and tells the other end's last words.
pub(crate) fn play(scenario: &str, mut talk: Talk) -> anyhow::Result<String> {
    let twist = Twist::default();
    let twist = match scenario {
        "c34-length" => {
            talk.await_preamble()?;
            talk.raw(&u32::MAX.to_be_bytes())?;
            return Ok(talk.hear_out());
        }
        "c37-nothing-known" => Twist {
            suites: vec![0, 99, 255],
            ..twist
        },
        "c37-only-plaintext" => Twist {
            suites: vec![SuiteId::NoneCmac as u8],
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
        "c41-missing" => Twist {
            mac: Mac::Missing,
            ..twist
        },
        "c41-twice" => Twist {
            mac: Mac::Twice,
            ..twist
        },
        "c42-request-first" => {
            talk.await_preamble()?;
            talk.say(&Message::Request(Box::new(Request::new(Direction::Upload))))?;
            return Ok(talk.hear_out());
        }
        "c43-required" => Twist {
            features: Features {
                offered: 0,
                required: 1 << 33,
            },
            ..twist
        },
        "c49-preamble" => {
            talk.await_preamble()?;
            return Ok(String::new());
        }
        _ => twist,
    };
    after(scenario, as_client(talk, &twist)?)
}

/// What follows an honest handshake.
fn after(scenario: &str, mut shaken: Shaken) -> anyhow::Result<String> {
    let Shaken { talk, flow } = &mut shaken;
    match scenario {
        "c41-wrong" | "c41-missing" | "c41-twice" => {}
        "c42-verdict-first" => {
            talk.say(&Message::Verdict(Verdict {
                ok: true,
                ..Verdict::default()
            }))?;
        }
        "c44-sources" => {
            let mut body = Message::Request(Box::new(Request::new(Direction::Upload))).encode()?;
            // The direction, then a list of 10^8 sources of which none follows.
            body.truncate(2);
            body.extend([0x80, 0xc2, 0xd7, 0x2f]);
            talk.body(&body)?;
        }
        "c49-confirmed" => return Ok(String::new()),
        "c49-requested" => {
            talk.say(&Message::Request(Box::new(Request::new(Direction::Upload))))?;
            return Ok(String::new());
        }
        "c49-opened" | "n62-names" | "c44-deep" => {
            talk.say(&Message::Request(Box::new(Request::new(Direction::Upload))))?;
            flow.open()?;
            talk.await_message(|message| matches!(message, Message::Accepted(_)))?;
            match scenario {
                "n62-names" => {
                    let entries = [file("AAAA", 100, 0o644)?, end(100, 1, 1)];
                    flow.list(&entries, crate::server::turn("AAAA", "../a"))?;
                    flow.content(0, b'x')?;
                }
                "c44-deep" => {
                    let levels = (0..10_000_u32).map(|level| {
                        Ok(Entry::Dir {
                            parent: DirId(level),
                            name: name("d")?,
                            meta: haul_manifest::Meta::default(),
                        })
                    });
                    let entries: Vec<Entry> = levels.collect::<anyhow::Result<_>>()?;
                    flow.list(&entries, |_| {})?;
                    flow.block(BlockAddr::content(0), &vec![0; flow.block_len])?;
                }
                _ => return Ok(String::new()),
            }
        }
        other => bail!("no scenario {other}"),
    }
    Ok(talk.hear_out())
}
