//! Telling the protocols on one port apart (RFC 7983, RFC 5761), without trusting or allocating
//! anything.

use std::fmt;

/// The protocol of a datagram, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// STUN: ICE checks and consent.
    Stun,
    /// A DTLS record.
    Dtls,
    /// SRTP.
    Rtp,
    /// SRTCP.
    Rtcp,
    /// Nothing that this port speaks.
    Other,
}

/// Names the protocol of a datagram. Says nothing on whether it is valid.
pub fn classify(datagram: &[u8]) -> PacketKind {
    match datagram {
        [0..=3, ..] => PacketKind::Stun,
        [20..=63, ..] => PacketKind::Dtls,
        [128..=191, second, ..] if (192..=223).contains(second) => PacketKind::Rtcp,
        [128..=191, _, ..] => PacketKind::Rtp,
        _ => PacketKind::Other,
    }
}

/// A datagram whose protocol is known: classified once, for the shard's routing and for the
/// endpoint.
///
/// Debug shows the protocol and the length, never the bytes.
pub enum Packet<'d> {
    /// STUN: ICE checks and consent.
    Stun(StunPacket<'d>),
    /// DTLS records.
    Dtls(&'d [u8]),
    /// SRTP, to be decrypted in place.
    Rtp(&'d mut [u8]),
    /// SRTCP, to be decrypted in place.
    Rtcp(&'d mut [u8]),
    /// Nothing that this port speaks.
    Other,
}

/// A STUN datagram, with the USERNAME that it was routed by.
#[derive(Clone, Copy)]
pub struct StunPacket<'d> {
    pub(crate) bytes: &'d [u8],
    /// `None`: it is no well-formed binding request.
    pub(crate) username: Option<&'d str>,
}

impl<'d> Packet<'d> {
    /// Classifies a datagram by its first bytes, and reads the USERNAME of a STUN request. Nothing
    /// of it is authenticated yet.
    pub fn read(datagram: &'d mut [u8]) -> Self {
        match classify(datagram) {
            PacketKind::Stun => Self::Stun(StunPacket {
                username: stun_username(datagram),
                bytes: datagram,
            }),
            PacketKind::Dtls => Self::Dtls(datagram),
            PacketKind::Rtp => Self::Rtp(datagram),
            PacketKind::Rtcp => Self::Rtcp(datagram),
            PacketKind::Other => Self::Other,
        }
    }

    /// The protocol.
    pub fn kind(&self) -> PacketKind {
        match self {
            Self::Stun(_) => PacketKind::Stun,
            Self::Dtls(_) => PacketKind::Dtls,
            Self::Rtp(_) => PacketKind::Rtp,
            Self::Rtcp(_) => PacketKind::Rtcp,
            Self::Other => PacketKind::Other,
        }
    }

    /// The bytes, to be copied. Empty for [`Packet::Other`], which nobody can use.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Stun(stun) => stun.bytes,
            Self::Dtls(bytes) => bytes,
            Self::Rtp(bytes) | Self::Rtcp(bytes) => bytes,
            Self::Other => &[],
        }
    }

    /// The local ufrag that a STUN request names. `None` where the packet is to be routed by its
    /// source address instead.
    pub fn local_ufrag(&self) -> Option<&'d str> {
        match self {
            Self::Stun(stun) => stun.username?.split_once(':').map(|(local, _)| local),
            _ => None,
        }
    }
}

impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other => f.write_str("Other"),
            _ => write!(f, "{:?}({} bytes)", self.kind(), self.bytes().len()),
        }
    }
}

impl fmt::Debug for StunPacket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StunPacket({} bytes)", self.bytes.len())
    }
}

const HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const USERNAME: u16 = 0x0006;
/// RFC 8489 section 14.3 allows 509 bytes of USERNAME.
const MAX_USERNAME: usize = 509;
/// A check carries about seven attributes; a datagram with many more is no check.
const MAX_ATTRIBUTES: usize = 32;

/// The local ufrag that a STUN binding request names: the part of USERNAME before the colon.
///
/// For routing only: nothing of it is authenticated yet. Allocates nothing.
pub fn stun_local_ufrag(datagram: &[u8]) -> Option<&str> {
    stun_username(datagram)?.split_once(':').map(|(local, _)| local)
}

/// USERNAME of a well-formed binding request whose length field fits the datagram exactly.
pub(crate) fn stun_username(datagram: &[u8]) -> Option<&str> {
    let header = datagram.get(..HEADER)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[..2] != BINDING_REQUEST
        || header[4..8] != MAGIC_COOKIE
        || length % 4 != 0
        || datagram.len() != HEADER + length
    {
        return None;
    }
    let mut rest = &datagram[HEADER..];
    for _ in 0..MAX_ATTRIBUTES {
        let head = rest.get(..4)?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(4..4 + len)?;
        if kind == USERNAME {
            return std::str::from_utf8(value)
                .ok()
                .filter(|name| name.len() <= MAX_USERNAME);
        }
        rest = rest.get(4 + len.next_multiple_of(4)..)?;
    }
    None
}

/// Bounds the attributes of a STUN datagram before a parser that allocates for each of them sees
/// it.
pub(crate) fn stun_is_small(datagram: &[u8]) -> bool {
    let mut rest = datagram.get(HEADER..).unwrap_or_default();
    for _ in 0..MAX_ATTRIBUTES {
        if rest.is_empty() {
            return true;
        }
        let Some(head) = rest.get(..4) else {
            return false;
        };
        let len = usize::from(u16::from_be_bytes([head[2], head[3]])).next_multiple_of(4);
        match rest.get(4 + len..) {
            Some(next) => rest = next,
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_name_the_protocol() {
        assert_eq!(classify(&[]), PacketKind::Other);
        assert_eq!(classify(&[0, 1]), PacketKind::Stun);
        assert_eq!(classify(&[3]), PacketKind::Stun);
        assert_eq!(classify(&[4]), PacketKind::Other);
        assert_eq!(classify(&[19]), PacketKind::Other);
        assert_eq!(classify(&[22, 254, 253]), PacketKind::Dtls);
        assert_eq!(classify(&[64, 0]), PacketKind::Other);
        assert_eq!(classify(&[128, 111]), PacketKind::Rtp);
        assert_eq!(classify(&[128, 111 | 128]), PacketKind::Rtp);
        assert_eq!(classify(&[128, 200]), PacketKind::Rtcp);
        assert_eq!(classify(&[191, 223]), PacketKind::Rtcp);
        assert_eq!(classify(&[128]), PacketKind::Other);
        assert_eq!(classify(&[192, 0]), PacketKind::Other);
    }

    fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![];
        for (kind, value) in attributes {
            body.extend(kind.to_be_bytes());
            body.extend((value.len() as u16).to_be_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut out = vec![0, 1];
        out.extend((body.len() as u16).to_be_bytes());
        out.extend(MAGIC_COOKIE);
        out.extend([7; 12]);
        out.extend(body);
        out
    }

    #[test]
    fn ufrag_is_found_behind_other_attributes() {
        let datagram = request(&[(0x8022, b"agent"), (USERNAME, b"local:remote"), (8, &[0; 20])]);
        assert_eq!(stun_local_ufrag(&datagram), Some("local"));
        let mut bytes = datagram.clone();
        let packet = Packet::read(&mut bytes);
        assert_eq!((packet.kind(), packet.local_ufrag()), (PacketKind::Stun, Some("local")));
        assert_eq!(packet.bytes(), datagram);
        assert!(stun_is_small(&datagram));
        for cut in 0..datagram.len() {
            assert_eq!(stun_local_ufrag(&datagram[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn hostile_requests_name_no_ufrag() {
        assert_eq!(stun_local_ufrag(&request(&[(USERNAME, b"no colon")])), None);
        assert_eq!(stun_local_ufrag(&request(&[(USERNAME, &[0xff, b':', 1])])), None);
        assert_eq!(stun_local_ufrag(&request(&[(USERNAME, &[b'a'; 600])])), None);
        let mut lying = request(&[(USERNAME, b"a:b")]);
        lying[22] = 0xff; // attribute longer than the datagram
        assert_eq!(stun_local_ufrag(&lying), None);
        let many = vec![(1u16, &b""[..]); 40];
        assert_eq!(stun_local_ufrag(&request(&many)), None);
        assert!(!stun_is_small(&request(&many)));
    }
}
