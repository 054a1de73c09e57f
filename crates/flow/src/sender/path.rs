//! What the path carries, and which path it is.

use haul_wire::path::Probe;

use super::Sender;
use crate::Time;

impl Sender {
    /// The next probe of what the path carries; to be padded to its length and sent at once. `None`
    /// while there is nothing to find out.
    pub fn poll_probe(&mut self, now: Time) -> Option<Probe> {
        self.tick(now);
        let probe = self.path.pmtu.poll_probe()?;
        self.timing.pacer.charge(u64::from(probe.datagram_len));
        Some(probe)
    }

    /// A probe came back; tokens of others are ignored.
    pub fn handle_echo(&mut self, token: u64, now: Time) {
        let now = self.tick(now);
        self.path.pmtu.on_echo(token, now);
        self.reshape(now);
    }

    /// This host refused to send datagrams as long as these.
    pub fn handle_too_big(&mut self, datagram_len: usize, now: Time) {
        let now = self.tick(now);
        self.path.pmtu.on_too_big(datagram_len, now);
        self.reshape(now);
    }

    /// The network hints that datagrams are too long; anybody can forge such a hint.
    pub fn handle_too_big_hint(&mut self, now: Time) {
        let now = self.tick(now);
        self.path.pmtu.doubt(now);
    }

    /// Packets take another path from now on: to or from another address, not just another port.
    pub fn handle_path_change(&mut self, now: Time) {
        let now = self.tick(now);
        self.policy.on_path_change(now);
        if self.config.carried_bytes.take().is_some() {
            // From here on somebody has to decide. What was asked for has been accepted before.
            let _ = self.set_policy(self.config.policy, now);
        }
        self.path.ecn.retest(self.meter.counters());
        self.path.pmtu.doubt(now);
    }

    /// Length of the datagrams that are planned now.
    pub(super) fn datagram_len(&self) -> usize {
        self.path.pmtu.datagram_len()
    }

    /// Cuts blocks as the path asks for now. On a path that has shrunk everything longer in flight
    /// is lost; that says nothing about congestion.
    pub(super) fn reshape(&mut self, now: Time) {
        let parts = self.path.pmtu.parts();
        let before = std::mem::replace(&mut self.path.parts, parts);
        if parts == before {
            return;
        }
        self.work.set_parts(parts);
        if parts < before {
            return;
        }
        let mut lost = std::mem::take(&mut self.scratch.lost);
        self.ledger.lose_longer(self.datagram_len(), &mut lost);
        self.totals.lost_packets += lost.len() as u64;
        for packet in lost.drain(..) {
            self.work.lose(packet.block);
        }
        self.scratch.lost = lost;
        self.recovery.probes.clear();
        self.timing.watch.restart(self.ledger.in_flight(), now);
    }
}
