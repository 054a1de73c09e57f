//! What a router says to whom it cannot serve.

use etherparse::{
    Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, icmpv4::DestUnreachableHeader,
};

/// The link's own address, which belongs to neither end.
const ROUTER: [u8; 4] = [10, 77, 0, 254];
const ROUTER_V6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe];
/// How much of the dropped packet is quoted.
const QUOTED: usize = 512;
const HOPS: u8 = 64;

/// "Fragmentation needed" or "packet too big" for a packet longer than `mtu`; nothing for one that
/// may be fragmented.
pub(crate) fn too_big(packet: &[u8], mtu: u64) -> Option<Vec<u8>> {
    let quoted = &packet[..packet.len().min(QUOTED)];
    let mut answer = Vec::with_capacity(quoted.len() + 48);
    match SlicedPacket::from_ip(packet).ok()?.net? {
        NetSlice::Ipv4(ip) if ip.header().dont_fragment() => {
            let next_hop_mtu = u16::try_from(mtu).ok()?;
            let needed = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu };
            PacketBuilder::ipv4(ROUTER, ip.header().source(), HOPS)
                .icmpv4(Icmpv4Type::DestinationUnreachable(needed))
                .write(&mut answer, quoted)
                .ok()?;
        }
        NetSlice::Ipv6(ip) => {
            let mtu = u32::try_from(mtu).ok()?;
            PacketBuilder::ipv6(ROUTER_V6, ip.header().source(), HOPS)
                .icmpv6(Icmpv6Type::PacketTooBig { mtu })
                .write(&mut answer, quoted)
                .ok()?;
        }
        _ => return None,
    }
    Some(answer)
}
