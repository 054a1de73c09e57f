use std::{net::SocketAddr, sync::Arc};

use haul_engine::Snapshot;
use haul_udp::UdpPath;
use haul_wire::{block_len, segment_len};

use crate::{LineFacts, PathFacts, StageFacts};

/// IPv4 header (RFC 791, without options) and UDP header.
const IPV4_OVERHEAD: usize = 20 + 8;
/// IPv6 header (RFC 8200, without extensions) and UDP header.
const IPV6_OVERHEAD: usize = 40 + 8;

/// This end's line, apart from what it counts.
pub(super) struct Line {
    pub(super) path: Arc<UdpPath>,
    /// Largest datagram known to get through, in bytes of UDP payload.
    pub(super) datagram_len: usize,
    /// While datagrams take a detour: where the peer would be without it.
    pub(super) direct: Option<SocketAddr>,
}

impl Line {
    /// Whether what took a detour goes straight to the peer as of `snapshot`; once only.
    pub(super) fn is_direct_now(&mut self, snapshot: &Snapshot) -> bool {
        let is_there = self.direct.is_some() && snapshot.peer == self.direct;
        if is_there {
            self.direct = None;
        }
        is_there
    }

    /// The path as of `snapshot`; `None` while no data has passed.
    pub(super) fn path(&self, snapshot: &Snapshot) -> Option<PathFacts> {
        (snapshot.datagram_len > 0).then_some(PathFacts {
            peer: snapshot.peer?,
            moves: snapshot.moves,
            segment_len: snapshot.datagram_len,
        })
    }

    /// How the line ran until `snapshot`.
    pub(super) fn facts(&self, snapshot: &Snapshot) -> LineFacts {
        let overhead = if self.path.local_addr().is_ipv6() {
            IPV6_OVERHEAD
        } else {
            IPV4_OVERHEAD
        };
        let buffers = self.path.buffers();
        LineFacts {
            stages: snapshot.stages.iter().map(StageFacts::of).collect(),
            packet_len: self.datagram_len + overhead,
            segment_len: segment_len(block_len(self.datagram_len)),
            send_buffer_bytes: buffers.send,
            recv_buffer_bytes: buffers.recv,
            ecn: snapshot.sender.as_ref().map(|sender| sender.ecn),
            segmentation_offload: self.path.segmentation_offload(),
        }
    }
}
