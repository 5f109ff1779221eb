//! RTP headers (RFC 3550), header extensions of both forms (RFC 8285), and the audio level in them
//! (RFC 6464).

pub(crate) mod red;

use std::ops::Range;

const FIXED: usize = 12;
/// Longer headers are hostile: 15 CSRCs and a few extensions stay far below.
const MAX_EXTENSION: usize = 1024;
const ONE_BYTE: u16 = 0xBEDE;
/// The low four bits are for the application (RFC 8285 section 4.3).
const TWO_BYTE: u16 = 0x1000;
const TWO_BYTE_MASK: u16 = 0xFFF0;

/// A parsed header; offsets point into the packet that it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Marker bit: for audio, the first packet of a talk spurt.
    pub marker: bool,
    /// Payload type.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Media time stamp.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// How many contributing sources are listed.
    pub csrc_count: u8,
    /// Profile and place of the extension block's content.
    extension: Option<(u16, Range<usize>)>,
    padded: bool,
    /// Bytes before the payload.
    pub len: usize,
}

impl Header {
    /// Reads a header. `None` where the packet is cut short or isn't RTP version 2.
    ///
    /// Works on SRTP too: headers are in clear, only [`payload`](Self::payload) has to wait for the
    /// decrypted packet.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let fixed = packet.get(..FIXED)?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let csrc_count = fixed[0] & 0x0F;
        let mut len = FIXED + 4 * usize::from(csrc_count);
        let mut extension = None;
        if fixed[0] & 0x10 != 0 {
            let head = packet.get(len..len + 4)?;
            let profile = u16::from_be_bytes([head[0], head[1]]);
            let size = 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
            if size > MAX_EXTENSION {
                return None;
            }
            len += 4;
            extension = Some((profile, len..len + size));
            len += size;
        }
        if packet.len() < len {
            return None;
        }
        Some(Self {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7F,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            csrc_count,
            extension,
            padded: fixed[0] & 0x20 != 0,
            len,
        })
    }

    /// Bytes of the extension block's content (without its four-byte head), if there is a block.
    pub fn extension_len(&self) -> Option<usize> {
        self.extension.as_ref().map(|(_, range)| range.len())
    }

    /// The payload's place in the decrypted packet, without padding. `None` where the padding is a
    /// lie.
    pub fn payload(&self, packet: &[u8]) -> Option<Range<usize>> {
        let mut end = packet.len();
        if self.padded {
            let padding = usize::from(*packet.last()?);
            if padding == 0 {
                return None;
            }
            end = end.checked_sub(padding)?;
        }
        (end >= self.len).then_some(self.len..end)
    }

    /// The value of the header extension `id`, in whichever form the packet uses.
    pub fn extension<'a>(&self, packet: &'a [u8], id: u8) -> Option<&'a [u8]> {
        let (profile, range) = self.extension.clone()?;
        let block = packet.get(range)?;
        if profile == ONE_BYTE {
            one_byte(block, id)
        } else if profile & TWO_BYTE_MASK == TWO_BYTE {
            two_byte(block, id)
        } else {
            None
        }
    }

    /// RFC 6464: −dBov (0 is loudest, 127 silent) and whether the sender hears a voice in it.
    pub fn audio_level(&self, packet: &[u8], id: u8) -> Option<(u8, bool)> {
        let byte = *self.extension(packet, id)?.first()?;
        Some((byte & 0x7F, byte & 0x80 != 0))
    }
}

fn one_byte(mut block: &[u8], wanted: u8) -> Option<&[u8]> {
    while let [head, rest @ ..] = block {
        match head >> 4 {
            0 if *head == 0 => block = rest,
            // Id 15 ends the block, and so does id 0 with a length (RFC 8285 section 4.2).
            0 | 15 => return None,
            id => {
                let (value, rest) = rest.split_at_checked(usize::from(head & 0x0F) + 1)?;
                if id == wanted {
                    return Some(value);
                }
                block = rest;
            }
        }
    }
    None
}

fn two_byte(mut block: &[u8], wanted: u8) -> Option<&[u8]> {
    while let [id, rest @ ..] = block {
        if *id == 0 {
            block = rest;
            continue;
        }
        let (len, rest) = rest.split_first()?;
        let (value, rest) = rest.split_at_checked(usize::from(*len))?;
        if *id == wanted {
            return Some(value);
        }
        block = rest;
    }
    None
}

/// The header that [`write()`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Marker bit.
    pub marker: bool,
    /// Payload type.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Media time stamp.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Contributing source, where the sound is somebody else's.
    pub csrc: Option<u32>,
    /// Extension id, −dBov and voice flag of RFC 6464.
    pub level: Option<(u8, u8, bool)>,
}

/// Appends header and payload to `out`; returns the header's length.
pub fn write(out: &mut Vec<u8>, header: &Outgoing, payload: &[u8]) -> usize {
    let start = out.len();
    let extended = header.level.is_some();
    out.push(0x80 | (u8::from(extended) << 4) | u8::from(header.csrc.is_some()));
    out.push((u8::from(header.marker) << 7) | (header.payload_type & 0x7F));
    out.extend_from_slice(&header.sequence.to_be_bytes());
    out.extend_from_slice(&header.timestamp.to_be_bytes());
    out.extend_from_slice(&header.ssrc.to_be_bytes());
    if let Some(csrc) = header.csrc {
        out.extend_from_slice(&csrc.to_be_bytes());
    }
    if let Some((id, level, voice)) = header.level {
        let value = (u8::from(voice) << 7) | level.min(127);
        if id <= 14 {
            out.extend_from_slice(&[0xBE, 0xDE, 0, 1, id << 4, value, 0, 0]);
        } else {
            out.extend_from_slice(&[0x10, 0x00, 0, 1, id, 1, value, 0]);
        }
    }
    let len = out.len() - start;
    out.extend_from_slice(payload);
    len
}

#[cfg(test)]
mod tests;
