//! Redundant Opus (RED, RFC 2198), written and read apart from the server's own code.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Audio;

/// The packets that copies are made of.
#[derive(Default)]
pub(super) struct History {
    sent: VecDeque<(u32, Bytes)>,
}

impl History {
    /// The payload with at most this many copies of the packets before it.
    pub(super) fn pack(&mut self, payload_type: u8, timestamp: u32, payload: &[u8], copies: usize) -> Vec<u8> {
        while self.sent.len() > copies {
            self.sent.pop_front();
        }
        let usable = |(at, copy): &&(u32, Bytes)| timestamp.wrapping_sub(*at) < 1 << 14 && copy.len() < 1 << 10;
        let blocks: Vec<&(u32, Bytes)> = self.sent.iter().filter(usable).collect();
        let mut red = Vec::new();
        for (at, copy) in &blocks {
            let offset = timestamp.wrapping_sub(*at);
            red.push(0x80 | payload_type);
            red.extend_from_slice(&((offset << 10) | copy.len() as u32).to_be_bytes()[1..]);
        }
        red.push(payload_type);
        for (_, copy) in &blocks {
            red.extend_from_slice(copy);
        }
        red.extend_from_slice(payload);
        self.sent.push_back((timestamp, Bytes::copy_from_slice(payload)));
        red
    }
}

/// The packet itself and the number of copies in it: their offsets and payloads, oldest first. `None`: it isn't RED.
pub(super) fn unpack(mut audio: Audio) -> Option<(Audio, Vec<(u32, Bytes)>)> {
    let (mut at, mut heads) = (0, Vec::new());
    let opus = loop {
        let head = *audio.payload.get(at)?;
        if head & 0x80 == 0 {
            break head;
        }
        let word = u32::from_be_bytes(*audio.payload.get(at..at + 4)?.first_chunk()?);
        heads.push(((word >> 10) & 0x3FFF, (word & 0x3FF) as usize));
        at += 4;
    };
    at += 1;
    let mut copies = Vec::new();
    for (offset, length) in heads {
        audio.payload.get(at..at + length)?;
        copies.push((offset, audio.payload.slice(at..at + length)));
        at += length;
    }
    audio.payload = audio.payload.slice(at..);
    audio.payload_type = opus;
    Some((audio, copies))
}
