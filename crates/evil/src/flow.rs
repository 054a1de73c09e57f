//! The datagrams, sealed as an honest end's are, whatever is in them.

use std::net::{SocketAddr, UdpSocket};

use anyhow::Context as _;
use haul_batch::Pool;
use haul_manifest::{Entry, ListWriter};
use haul_seal::{Opener, Sealer, body_range};
use haul_wire::{
    BlockAddr, HEADER_LEN, Kind, Lane, PacketCounter, Report, TAG_LEN, block_len,
    path::{self, Challenge, Hello, PROBE_SIZES, Response},
};

pub(crate) struct Flow {
    pub(crate) socket: UdpSocket,
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
    pub(crate) data: PacketCounter,
    pub(crate) path: PacketCounter,
    pub(crate) pool: Pool,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) block_len: usize,
}

impl Flow {
    /// Answers hellos until one is responded to.
    pub(crate) fn await_opening(&mut self) -> anyhow::Result<()> {
        let nonce = [7; 8];
        loop {
            let (kind, body, len, from) = self.receive()?;
            self.peer = Some(from);
            match kind {
                Kind::Hello => {
                    let hello: Hello = path::decode("hello", &body)?;
                    let datagram_len = hello.datagram_len;
                    self.send_body(
                        Kind::Challenge,
                        &Challenge {
                            datagram_len,
                            nonce,
                        },
                        len,
                    )?;
                }
                Kind::Response => {
                    let response: Response = path::decode("response", &body)?;
                    self.block_len = block_len(usize::from(response.datagram_len));
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    /// Opens the path for the shortest datagrams.
    pub(crate) fn open(&mut self) -> anyhow::Result<()> {
        let len = PROBE_SIZES[PROBE_SIZES.len() - 1];
        let datagram_len = len as u16;
        self.send_body(Kind::Hello, &Hello { datagram_len }, len)?;
        loop {
            let (kind, body, ..) = self.receive()?;
            if kind == Kind::Challenge {
                let Challenge { nonce, .. } = path::decode("challenge", &body)?;
                let response = Response {
                    nonce,
                    datagram_len,
                };
                self.send_body(Kind::Response, &response, 64)?;
                self.block_len = block_len(len);
                return Ok(());
            }
        }
    }

    /// The next authentic datagram: its kind, body, length and origin.
    pub(crate) fn receive(&mut self) -> anyhow::Result<(Kind, Vec<u8>, usize, SocketAddr)> {
        let mut buffer = vec![0; 65_535];
        loop {
            let (len, from) = self.socket.recv_from(&mut buffer)?;
            let mut batch = self.pool.try_take().context("no buffer")?;
            if !batch.push(&buffer[..len]) {
                continue;
            }
            let opened = self.opener.open_batch(batch, 0);
            if let Some(segment) = opened.segments().next() {
                return Ok((segment.header.kind, segment.body.to_vec(), len, from));
            }
        }
    }

    fn send_body<T: serde::Serialize>(
        &mut self,
        kind: Kind,
        body: &T,
        datagram_len: usize,
    ) -> anyhow::Result<()> {
        let mut bytes = vec![0; body_range(datagram_len).len()];
        path::encode(body, &mut bytes).context("it does not fit")?;
        self.send(kind, Lane::PATH, &bytes)
    }

    /// Any body, sealed.
    pub(crate) fn send(&mut self, kind: Kind, lane: Lane, body: &[u8]) -> anyhow::Result<()> {
        let numbers = if lane == Lane::DATA {
            &mut self.data
        } else {
            &mut self.path
        };
        let run = numbers.take(1).context("no numbers")?;
        let mut batch = self.pool.try_take().context("no buffer")?;
        batch.push(&[&[0; HEADER_LEN], body, &[0; TAG_LEN]].concat());
        let sealed = self.sealer.seal_batch(kind, lane, run, batch)?;
        let peer = self.peer.context("no peer")?;
        self.socket.send_to(sealed.bytes(), peer)?;
        Ok(())
    }

    /// A block.
    pub(crate) fn block(&mut self, addr: BlockAddr, bytes: &[u8]) -> anyhow::Result<()> {
        self.send(Kind::Data, Lane::DATA, &[&addr.encode(), bytes].concat())
    }

    /// A block of content, all of this byte.
    pub(crate) fn content(&mut self, block: u64, byte: u8) -> anyhow::Result<()> {
        self.block(BlockAddr::content(block), &vec![byte; self.block_len])
    }

    /// A list of these entries; `spoil` may change its bytes.
    pub(crate) fn list(
        &mut self,
        entries: &[Entry],
        spoil: impl Fn(&mut Vec<u8>),
    ) -> anyhow::Result<()> {
        let mut list = ListWriter::new(self.block_len);
        for entry in entries {
            list.push(entry);
        }
        list.pad();
        for number in 0..list.blocks() {
            let mut bytes = list.block(number).context("no block")?.to_vec();
            spoil(&mut bytes);
            self.block(BlockAddr::list(number), &bytes)?;
        }
        Ok(())
    }

    pub(crate) fn report(&mut self, report: &Report) -> anyhow::Result<()> {
        let mut body = vec![0; 8_000];
        let len = report.encode(&mut body).context("it does not fit")?;
        self.send(Kind::Report, Lane::DATA, &body[..len])
    }
}
