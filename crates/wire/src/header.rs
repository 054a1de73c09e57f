use crate::{Lane, PacketNo, SessionId, WireError};

/// Version of the datagram format, in every header.
pub const PROTOCOL_VERSION: u8 = 1;
/// Length of the clear header: exactly one AES block, so that the IV is its encryption.
pub const HEADER_LEN: usize = 16;
/// Length of the authentication tag. Never truncated.
pub const TAG_LEN: usize = 16;

/// What a datagram carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A block of the list or of file content.
    Data = 1,
    /// What the receiver has.
    Report = 2,
    /// First datagram of the initiator, padded to the size it probes.
    Hello = 3,
    /// Challenge to the address a hello came from.
    Challenge = 4,
    /// Echo of the challenge.
    Response = 5,
    /// Asks for an echo: padded to the length it probes, or sent to an address that is new.
    Probe = 6,
    /// Sender to receiver: reports below this need not be repeated; also a keep-alive.
    Sync = 7,
    /// Answer to a probe.
    Echo = 8,
}

impl Kind {
    fn from_bits(bits: u8) -> Result<Self, WireError> {
        Ok(match bits {
            1 => Self::Data,
            2 => Self::Report,
            3 => Self::Hello,
            4 => Self::Challenge,
            5 => Self::Response,
            6 => Self::Probe,
            7 => Self::Sync,
            8 => Self::Echo,
            other => return Err(WireError::Kind(other)),
        })
    }
}

/// The clear, authenticated header of every datagram.
///
/// ```text
///  0       1       2       4           8       10                16
/// ┌───┬───┬───────┬───────┬───────────┬───────┬──────────────────┐
/// │ver│knd│ epoch │ flags │ session   │ lane  │ packet number    │   big-endian
/// └───┴───┴───────┴───────┴───────────┴───────┴──────────────────┘
///   4   4 bits
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub kind: Kind,
    /// Low eight bits of the key epoch.
    pub epoch: u8,
    /// Reserved, zero; a bit that is not known makes the datagram invalid.
    pub flags: u16,
    /// The session both ends agreed on inside SSH.
    pub session: SessionId,
    /// Which numbering `packet` belongs to.
    pub lane: Lane,
    /// This transmission's number.
    pub packet: PacketNo,
}

impl Header {
    /// Encodes the header. `packet` is truncated to 48 bits; [`crate::PacketCounter`] never exceeds them.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[0] = PROTOCOL_VERSION << 4 | self.kind as u8;
        out[1] = self.epoch;
        out[2..4].copy_from_slice(&self.flags.to_be_bytes());
        out[4..8].copy_from_slice(&self.session.0.to_be_bytes());
        out[8..10].copy_from_slice(&self.lane.0.to_be_bytes());
        out[10..16].copy_from_slice(&self.packet.0.to_be_bytes()[2..]);
        out
    }

    /// Decodes the first 16 bytes of a datagram.
    ///
    /// # Errors
    /// [`WireError`] when there are fewer bytes, or version, kind or flags are unknown.
    pub fn decode(datagram: &[u8]) -> Result<Self, WireError> {
        let Some(bytes) = datagram.first_chunk::<HEADER_LEN>() else {
            return Err(WireError::TooShort {
                what: "header",
                len: datagram.len(),
            });
        };
        if bytes[0] >> 4 != PROTOCOL_VERSION {
            return Err(WireError::Version(bytes[0] >> 4));
        }
        let [
            _,
            epoch,
            f0,
            f1,
            s0,
            s1,
            s2,
            s3,
            l0,
            l1,
            p0,
            p1,
            p2,
            p3,
            p4,
            p5,
        ] = *bytes;
        let flags = u16::from_be_bytes([f0, f1]);
        if flags != 0 {
            return Err(WireError::Range("flags"));
        }
        Ok(Self {
            kind: Kind::from_bits(bytes[0] & 0x0f)?,
            epoch,
            flags,
            session: SessionId(u32::from_be_bytes([s0, s1, s2, s3])),
            lane: Lane(u16::from_be_bytes([l0, l1])),
            packet: PacketNo(u64::from_be_bytes([0, 0, p0, p1, p2, p3, p4, p5])),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_survives_the_round_trip() {
        let header = Header {
            kind: Kind::Report,
            epoch: 7,
            flags: 0,
            session: SessionId(0xa1b2_c3d4),
            lane: Lane(2),
            packet: PacketNo(PacketNo::MAX.0 - 1),
        };
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn layout_is_the_documented_one() {
        let header = Header {
            kind: Kind::Data,
            epoch: 0,
            flags: 0,
            session: SessionId(0x0102_0304),
            lane: Lane(5),
            packet: PacketNo(6),
        };
        assert_eq!(
            header.encode(),
            [0x11, 0, 0, 0, 1, 2, 3, 4, 0, 5, 0, 0, 0, 0, 0, 6]
        );
    }

    #[test]
    fn strangers_are_refused() {
        let mut bytes = [0u8; HEADER_LEN];
        assert_eq!(Header::decode(&bytes), Err(WireError::Version(0)));
        bytes[0] = 0x1f;
        assert_eq!(Header::decode(&bytes), Err(WireError::Kind(15)));
        bytes[0] = 0x11;
        bytes[3] = 1;
        assert_eq!(Header::decode(&bytes), Err(WireError::Range("flags")));
        assert!(Header::decode(&bytes[..15]).is_err());
    }
}
