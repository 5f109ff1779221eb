//! The inputs of a room as they are recorded. The order of variants and fields is that of the file: new ones come last, and another
//! order is another [`VERSION`](Begin::VERSION).

use std::borrow::Cow;
use std::time::Duration;

use crc::{CRC_32_ISCSI, Crc};
use roomtone_transport::{Copies, RtpIn, SlotOut, StreamOrigin};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::command::{Distance, GainCell, PeerId, PlaceCell, RoomKind, Select, SourceItem};
use crate::config::MixConfig;
use crate::tap::TapSound;
use crate::voice::Voice;

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// An input and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry<'a> {
    /// Nanoseconds since the entry before it; since the origin of the room's ticks for the first one.
    pub(crate) after: i64,
    #[serde(borrow)]
    pub(crate) input: Input<'a>,
}

/// The first input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub(crate) version: u32,
    pub(crate) kind: RoomKind,
    pub(crate) mix: MixConfig,
}

impl Begin {
    /// The version of this format.
    pub(crate) const VERSION: u32 = 1;
}

/// Something that a room takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Input<'a> {
    /// The recording begins, in a room that nobody has been in.
    Begin(Cow<'a, Begin>),
    /// From here on the shard sheds load at this level.
    Shed(u8),
    /// The room takes another kind.
    Kind(RoomKind),
    /// A participant with a transport joins.
    Join {
        peer: PeerId,
        speak: bool,
        listen: bool,
        facts: Facts,
        origins: Vec<Origin>,
    },
    /// The facts of a participant's endpoint change.
    Facts {
        peer: PeerId,
        facts: Facts,
        origins: Vec<Origin>,
    },
    /// A source joins.
    Source { peer: PeerId, speak: bool },
    /// A participant of another media node joins.
    Remote { peer: PeerId, speak: bool },
    /// A tap joins.
    Tap { peer: PeerId, sound: Cow<'a, TapSound> },
    /// A tap takes another sound.
    SetTap { peer: PeerId, sound: Cow<'a, TapSound> },
    /// A participant is connected for the first time.
    Connected { peer: PeerId },
    /// A listener may know nothing of their slots.
    TellAnew { peer: PeerId },
    /// A listener's report of their losses; `sent`: the packets that were sent to them until then.
    Report {
        peer: PeerId,
        lost: f32,
        round_trip: Option<Duration>,
        sent: u64,
    },
    /// A packet of a talker who may speak.
    Sound {
        peer: PeerId,
        #[serde(borrow)]
        sound: Sound<'a>,
    },
    /// The packets of a talker of another media node end, as nobody here may hear them.
    Missed { peer: PeerId },
    /// Sound for a source.
    Feed { peer: PeerId, items: Cow<'a, [SourceItem]> },
    /// A source throws away what it hasn't played.
    Clear { peer: PeerId },
    /// Two participants are one person.
    SamePerson { peer: PeerId, replacement: PeerId },
    /// A participant may speak, or not.
    Speak { peer: PeerId, speak: bool },
    /// A participant may listen, or not.
    Listen { peer: PeerId, listen: bool },
    /// The treatment of a participant's voice.
    Voice { peer: PeerId, voice: Voice },
    /// The room's policy.
    Policy {
        default_gain: f32,
        max_talkers: Option<u32>,
        select: Select,
    },
    /// Gains of pairs.
    Gains { cells: Cow<'a, [GainCell]> },
    /// Places of participants.
    Places {
        distance: Distance,
        cells: Cow<'a, [PlaceCell]>,
    },
    /// The next tick doesn't wait for a packet.
    Hurry,
    /// The next tick is made. `traced`: packets are followed, so the tick after it waits for none.
    Tick { traced: bool },
    /// A participant leaves.
    Leave { peer: PeerId },
    /// The next tick panics.
    Fault,
    /// No input: the packets that were sent to a listener so far.
    Sent { peer: PeerId, sent: Fingerprint },
    /// Noise of a participant is suppressed, or not.
    SuppressNoise { peer: PeerId, suppress: bool },
}

/// The properties of an endpoint that count for what its participant hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) slots: u32,
    pub(crate) connected: bool,
    pub(crate) can_send: bool,
    pub(crate) has_address: bool,
    pub(crate) stereo: bool,
    pub(crate) red: bool,
    pub(crate) max_bitrate: Option<u32>,
}

/// Where the numbers of a stream begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
}

impl From<StreamOrigin> for Origin {
    fn from(origin: StreamOrigin) -> Origin {
        Origin {
            ssrc: origin.ssrc,
            sequence: origin.sequence,
            timestamp: origin.timestamp,
        }
    }
}

/// A packet of a talker.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sound<'a> {
    seq: u16,
    timestamp: u32,
    marker: bool,
    ssrc: u32,
    level: Option<(u8, bool)>,
    restored_after: Option<u32>,
    #[serde(borrow)]
    payload: Bytes<'a>,
}

impl<'a> Sound<'a> {
    /// A packet without the lost ones that it carries: these are inputs of their own.
    pub(crate) fn of(packet: &RtpIn<'a>) -> Sound<'a> {
        Sound {
            seq: packet.seq,
            timestamp: packet.timestamp,
            marker: packet.marker,
            ssrc: packet.ssrc,
            level: packet.level,
            restored_after: packet.restored_after,
            payload: Bytes(packet.payload),
        }
    }

    /// The packet.
    pub(crate) fn packet(&self) -> RtpIn<'a> {
        RtpIn {
            seq: self.seq,
            timestamp: self.timestamp,
            marker: self.marker,
            ssrc: self.ssrc,
            // Seven bits, in a packet that came.
            level: self.level.map(|(level, voice)| (level.min(127), voice)),
            payload: self.payload.0,
            restored_after: self.restored_after,
            copies: Copies::default(),
        }
    }
}

/// Bytes that are written in one piece, and read where they are.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a [u8]>::deserialize(deserializer).map(Bytes)
    }
}

/// The number and the checksum of the packets that were sent to a listener: payloads, headers, slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    pub(crate) packets: u64,
    sum: u32,
}

impl Fingerprint {
    /// One more packet was sent.
    pub(crate) fn add(&mut self, slot: usize, audio: &SlotOut<'_>) {
        let mut digest = CRC.digest();
        digest.update(&self.sum.to_le_bytes());
        digest.update(&(slot as u32).to_le_bytes());
        digest.update(&audio.sequence.to_le_bytes());
        digest.update(&audio.timestamp.to_le_bytes());
        digest.update(&audio.csrc.unwrap_or(0).to_le_bytes());
        digest.update(&[u8::from(audio.marker), audio.level.unwrap_or(255)]);
        digest.update(audio.payload);
        self.sum = digest.finalize();
        self.packets += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sound(payload: &[u8]) -> Sound<'_> {
        Sound {
            seq: 65_535,
            timestamp: u32::MAX,
            marker: true,
            ssrc: u32::MAX,
            level: Some((30, true)),
            restored_after: None,
            payload: Bytes(payload),
        }
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let payload = [7; 100];
        let inputs = [
            Input::Sound {
                peer: 3,
                sound: sound(&payload),
            },
            Input::Tick { traced: false },
            Input::Gains {
                cells: Cow::Owned(vec![GainCell {
                    listener: 1,
                    speaker: 2,
                    gain: Some(0.1),
                    pan: -1.0,
                }]),
            },
            Input::Begin(Cow::Owned(Begin {
                version: Begin::VERSION,
                kind: RoomKind::default(),
                mix: MixConfig::default(),
            })),
        ];
        for input in inputs {
            let entry = Entry { after: -5, input };
            let bytes = postcard::to_extend(&entry, Vec::new()).unwrap();
            let (read, rest) = postcard::take_from_bytes::<Entry<'_>>(&bytes).unwrap();
            assert_eq!((read, rest.len()), (entry, 0));
        }
    }

    #[test]
    fn a_packet_costs_few_bytes_beyond_its_sound() {
        let payload = [7; 100];
        let input = Input::Sound {
            peer: 300,
            sound: sound(&payload),
        };
        let after = 4_000_000;
        let bytes = postcard::to_extend(&Entry { after, input }, Vec::new()).unwrap();
        assert!(bytes.len() <= 100 + 30, "{} bytes", bytes.len());
    }
}
