//! The control channel, one message at a time.

use std::io::{Read, Write};

use anyhow::Context as _;
use haul_wire::control::{FRAME_HEADER_LEN, Framed, Message, PREAMBLE, frame};

pub(crate) struct Talk {
    reader: Box<dyn Read + Send>,
    writer: Box<dyn Write + Send>,
}

impl Talk {
    pub(crate) fn new(
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
    ) -> Self {
        Self {
            reader: Box::new(reader),
            writer: Box::new(writer),
        }
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.writer.write_all(bytes)?;
        Ok(self.writer.flush()?)
    }

    /// A frame of any body.
    pub(crate) fn body(&mut self, body: &[u8]) -> anyhow::Result<()> {
        self.raw(&frame(body)?)
    }

    /// Says a message; the bytes that carried it.
    pub(crate) fn say(&mut self, message: &Message) -> anyhow::Result<Vec<u8>> {
        let body = message.encode()?;
        self.body(&body)?;
        Ok(body)
    }

    pub(crate) fn await_preamble(&mut self) -> anyhow::Result<()> {
        let mut seen = PREAMBLE;
        self.reader.read_exact(&mut seen)?;
        anyhow::ensure!(seen == PREAMBLE, "no preamble");
        Ok(())
    }

    /// The next message and the bytes that carried it.
    pub(crate) fn hear(&mut self) -> anyhow::Result<(Message, Vec<u8>)> {
        loop {
            let mut header = [0; FRAME_HEADER_LEN];
            self.reader.read_exact(&mut header).context("it hung up")?;
            let len = match Framed::of(header)? {
                Framed::Padding => continue,
                Framed::Message(len) | Framed::Datagrams(len) => len,
            };
            let mut body = vec![0; len];
            self.reader.read_exact(&mut body).context("it hung up")?;
            if Framed::of(header)? == Framed::Message(len) {
                return Ok((Message::decode(&body)?, body));
            }
        }
    }

    /// Hears until the other end hangs up, and tells its last words.
    pub(crate) fn hear_out(&mut self) -> String {
        let mut last = "nothing".to_owned();
        while let Ok((message, _)) = self.hear() {
            last = match message {
                Message::Error(fault) | Message::Refused(fault) => {
                    format!("{}: {}", fault.code, fault.text)
                }
                Message::Status(_) => continue,
                other => other.name().to_owned(),
            };
        }
        last
    }

    /// Hears on until a message of a kind comes.
    pub(crate) fn await_message(
        &mut self,
        is_it: impl Fn(&Message) -> bool,
    ) -> anyhow::Result<Message> {
        loop {
            let (message, _) = self.hear()?;
            if let Message::Error(fault) | Message::Refused(fault) = &message {
                anyhow::bail!("last words: {}: {}", fault.code, fault.text);
            }
            if is_it(&message) {
                return Ok(message);
            }
        }
    }
}
