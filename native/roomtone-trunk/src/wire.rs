//! The bytes of a datagram.

use std::fmt;

use crate::key::KeyNumber;
use crate::{MOST_UNHEARD, TrunkId};

/// "Trunk, version 1."
const FIRST: u8 = 0b1111_0001;
pub(crate) const HEADER: usize = 14;
pub(crate) const TAG: usize = 16;
pub(crate) const FRAME_HEADER: usize = 18;
const REPORT: usize = 17;
const UNHEARD_HEADER: usize = 6;

const FRAME_FLAG: u8 = 0b0000_0001;
const REPORT_ITEM: u8 = 0b0000_0010;
const UNHEARD_ITEM: u8 = 0b0000_0100;
const MARKER: u8 = 0b0001_0000;
const LEVEL: u8 = 0b0010_0000;
const VOICE: u8 = 0b0100_0000;
const FRAME_BITS: u8 = FRAME_FLAG | MARKER | LEVEL | VOICE;

/// An Opus packet of a talker. Debug tells the payload's length and never the sound.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The talker.
    pub talker: u64,
    /// Their sequence number, 16 bits, wraps.
    pub sequence: u16,
    /// Media time at 48 kHz, 32 bits, wraps.
    pub timestamp: u32,
    /// First packet of a talk spurt.
    pub marker: bool,
    /// −dBov (0 loudest, 127 silent), and whether the talker's client hears a voice, where it told that (RFC 6464).
    pub level: Option<(u8, bool)>,
    /// The Opus packet.
    pub payload: &'a [u8],
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frame {
            talker,
            sequence,
            timestamp,
            payload,
            ..
        } = self;
        write!(f, "Frame({talker} {sequence} at {timestamp}, {} bytes)", payload.len())
    }
}

/// How much of a trunk arrives, as its receiver counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The highest counter that came.
    pub highest: u64,
    /// How many datagrams came.
    pub received: u64,
}

/// The talkers whom nobody beyond this trunk may hear, so that their packets needn't come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unheard<'a> {
    /// Counts the lists of a trunk; wraps. A list takes the place of those before it.
    pub number: u32,
    talkers: &'a [u8],
}

impl<'a> Unheard<'a> {
    /// The talkers: [`MOST_UNHEARD`](crate::MOST_UNHEARD) at the most.
    pub fn talkers(&self) -> impl Iterator<Item = u64> + 'a {
        self.talkers.chunks_exact(8).map(|id| u64::from_be_bytes(array(id)))
    }
}

pub(crate) struct Header {
    pub(crate) key: KeyNumber,
    pub(crate) trunk: TrunkId,
    pub(crate) counter: u64,
}

impl Header {
    pub(crate) fn write(&self, datagram: &mut Vec<u8>) {
        datagram.push(FIRST);
        datagram.push(self.key);
        datagram.extend_from_slice(&self.trunk.to_be_bytes());
        datagram.extend_from_slice(&self.counter.to_be_bytes());
    }

    pub(crate) fn read(datagram: &[u8]) -> Option<Header> {
        if datagram.len() < HEADER + TAG || datagram[0] != FIRST {
            return None;
        }
        Some(Header {
            key: datagram[1],
            trunk: u32::from_be_bytes(array(&datagram[2..])),
            counter: u64::from_be_bytes(array(&datagram[6..])),
        })
    }
}

/// The trunk that a datagram is for, before anything of it was authenticated; `None` if it isn't one of a trunk.
pub fn trunk_of(datagram: &[u8]) -> Option<TrunkId> {
    Header::read(datagram).map(|header| header.trunk)
}

/// Something in a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A talker's packet.
    Frame(Frame<'a>),
    /// How much of what the receiver of this item has sent did arrive.
    Report(Report),
    /// The talkers that the receiver of this item may leave out.
    Unheard(Unheard<'a>),
}

impl Frame<'_> {
    /// The bytes of it in a datagram.
    pub(crate) fn size(&self) -> usize {
        FRAME_HEADER + self.payload.len()
    }

    pub(crate) fn write(&self, body: &mut Vec<u8>) {
        let mut flags = FRAME_FLAG;
        let mut level = 0;
        if self.marker {
            flags |= MARKER;
        }
        if let Some((minus_dbov, voice)) = self.level {
            flags |= LEVEL | if voice { VOICE } else { 0 };
            level = minus_dbov.min(127);
        }
        body.push(flags);
        body.push(level);
        body.extend_from_slice(&self.talker.to_be_bytes());
        body.extend_from_slice(&self.sequence.to_be_bytes());
        body.extend_from_slice(&self.timestamp.to_be_bytes());
        body.extend_from_slice(&(self.payload.len() as u16).to_be_bytes());
        body.extend_from_slice(self.payload);
    }
}

impl Report {
    pub(crate) const SIZE: usize = REPORT;

    pub(crate) fn write(&self, body: &mut Vec<u8>) {
        body.push(REPORT_ITEM);
        body.extend_from_slice(&self.highest.to_be_bytes());
        body.extend_from_slice(&self.received.to_be_bytes());
    }
}

/// The bytes of a list of so many talkers.
pub(crate) fn unheard_size(talkers: usize) -> usize {
    UNHEARD_HEADER + 8 * talkers
}

pub(crate) fn write_unheard(number: u32, talkers: &[u64], body: &mut Vec<u8>) {
    body.push(UNHEARD_ITEM);
    body.extend_from_slice(&number.to_be_bytes());
    body.push(talkers.len() as u8);
    for talker in talkers {
        body.extend_from_slice(&talker.to_be_bytes());
    }
}

/// The next item, and what follows it; `None` if there is no whole one.
pub(crate) fn item(body: &[u8]) -> Option<(Item<'_>, &[u8])> {
    match *body.first()? {
        REPORT_ITEM if body.len() >= REPORT => {
            let report = Report {
                highest: u64::from_be_bytes(array(&body[1..])),
                received: u64::from_be_bytes(array(&body[9..])),
            };
            Some((Item::Report(report), &body[REPORT..]))
        }
        UNHEARD_ITEM if body.len() >= UNHEARD_HEADER => {
            let (header, rest) = body.split_at(UNHEARD_HEADER);
            let count = Some(usize::from(header[5])).filter(|count| *count <= MOST_UNHEARD)?;
            let (talkers, rest) = rest.split_at_checked(8 * count)?;
            let number = u32::from_be_bytes(array(&header[1..]));
            Some((Item::Unheard(Unheard { number, talkers }), rest))
        }
        flags if flags & FRAME_FLAG != 0 && flags & !FRAME_BITS == 0 && body.len() >= FRAME_HEADER => {
            let (header, rest) = body.split_at(FRAME_HEADER);
            let length = usize::from(u16::from_be_bytes(array(&header[16..])));
            let payload = rest.get(..length)?;
            let frame = Frame {
                talker: u64::from_be_bytes(array(&header[2..])),
                sequence: u16::from_be_bytes(array(&header[10..])),
                timestamp: u32::from_be_bytes(array(&header[12..])),
                marker: flags & MARKER != 0,
                level: (flags & LEVEL != 0).then_some((header[1].min(127), flags & VOICE != 0)),
                payload,
            };
            Some((Item::Frame(frame), &rest[length..]))
        }
        _ => None,
    }
}

// The first bytes of a slice that is long enough.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}
