//! A room that is played again from its recorded inputs, on a virtual clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roomtone_transport::{Certificate, CertificateError, MAX_PAYLOAD, NtpClock, SlotOut, TransportConfig};
use thiserror::Error;

use super::format::{Begin, Entry, Facts, Input, Origin};
use crate::command::{PeerId, RoomId};
use crate::room::Room;
use crate::shard::Shard;
use crate::shed::Shed;

/// The room's number. There is no other.
const ROOM: RoomId = 1;
/// The most participants at once, and taps in all: more than any room has.
const MOST_PEERS: usize = 5_000;
const MOST_TAPS: u32 = 1_000;
/// The longest time in a setting or a report: an hour.
const LONGEST_SETTING: Duration = Duration::from_secs(3_600);
/// The most packets that were sent to somebody.
const MOST_SENT: u64 = 1 << 48;
/// The most slots of a listener.
const MOST_SLOTS: usize = 64;
/// A recording ends after this time at the latest: 100 years.
const LONGEST: i64 = 100 * 365 * 86_400 * 1_000_000_000;
/// The virtual clock is this far ahead of the origin of the room's ticks before the first input: a room may open before it.
const LEAD: Duration = Duration::from_secs(1);

/// Why a recording can't be played any further.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// It doesn't begin as one.
    #[error("the recording doesn't begin with the settings of a room")]
    NoBeginning,
    /// Another version of Roomtone has written it.
    #[error("the recording has the format {found}, and this version reads the format {known}", known = Begin::VERSION)]
    Version {
        /// The format that it names.
        found: u32,
    },
    /// Something in it is no input of a room.
    #[error("the recording has something at {}.{:03} s that is no input of a room", .at.as_secs(), .at.subsec_millis())]
    Malformed {
        /// The time of the input before it, since the beginning.
        at: Duration,
    },
    /// It has more than any room would have.
    #[error("the recording has too many {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
    },
    /// The room failed, as the one that was recorded may have.
    #[error("the room failed at {}.{:03} s", .at.as_secs(), .at.subsec_millis())]
    RoomFailed {
        /// When, since the beginning.
        at: Duration,
    },
    /// No random numbers, or no memory.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// A packet that a listener was sent, as it was before encryption and without copies of earlier ones (RED).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardPacket<'a> {
    /// The listener.
    pub listener: PeerId,
    /// The slot, in a room that forwards.
    pub slot: usize,
    /// Since the beginning.
    pub at: Duration,
    /// Of the listener's stream for this slot.
    pub ssrc: u32,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp (48 kHz).
    pub timestamp: u32,
    /// Whether it is the first after a pause.
    pub marker: bool,
    /// The contributing source (RFC 3550 §5.1), in a room that forwards.
    pub csrc: Option<u32>,
    /// The Opus packet.
    pub payload: &'a [u8],
}

/// Figures of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayCounts {
    /// Inputs that were played.
    pub inputs: u64,
    /// Packets that listeners were sent.
    pub packets: u64,
    /// How often the recording told what a listener was sent in the call.
    pub compared: u64,
    /// How often that wasn't what the replay has sent.
    pub different: u64,
    /// When that was for the first time, and whom.
    pub first_difference: Option<(Duration, PeerId)>,
    /// The time of the last input, since the beginning.
    pub lasted: Duration,
}

/// Plays a room again. Reads no clock and does no I/O.
///
/// The same build on the same kind of processor sends each listener what they were sent in the call, bit for bit. The recording has
/// checksums of that, which [`Replay::counts`] compares.
///
/// # Examples
///
/// ```
/// use std::time::Instant;
///
/// use roomtone_engine::{Journal, Replay};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let journal = Journal::new(); // that of a room which was recorded
/// let mut replay = Replay::new(Instant::now())?;
/// while let Some(block) = journal.take() {
///     replay.read(&block, |packet| println!("{} bytes for {}", packet.payload.len(), packet.listener))?;
/// }
/// assert_eq!(replay.counts().different, 0);
/// # Ok(())
/// # }
/// ```
pub struct Replay {
    shard: Shard,
    /// The origin of the room's ticks.
    origin: Instant,
    /// The time of the last input, and that of the first, in nanoseconds since the origin.
    at: i64,
    began: i64,
    open: bool,
    fault: bool,
    taps: u32,
    counts: ReplayCounts,
}

impl Replay {
    /// A replay on a clock that begins at `now`, whatever that is.
    ///
    /// # Errors
    /// No random numbers.
    pub fn new(now: Instant) -> Result<Replay, ReplayError> {
        let clock = NtpClock::from_unix(now, Duration::ZERO);
        let transport = TransportConfig::new(Vec::new(), clock);
        let certificate = Arc::new(Certificate::generate()?);
        Ok(Replay {
            shard: Shard::new(now, transport, certificate, Default::default(), MOST_PEERS),
            origin: now + LEAD,
            at: 0,
            began: 0,
            open: false,
            fault: false,
            taps: 0,
            counts: ReplayCounts::default(),
        })
    }

    /// Whether the recording has a failure that was asked for ([`Action::Fault`](crate::Action::Fault)).
    #[doc(hidden)]
    pub fn was_to_fail(&self) -> bool {
        self.fault
    }

    /// Figures so far.
    pub fn counts(&self) -> ReplayCounts {
        self.counts
    }

    /// Plays the next block of a recording: whole inputs, as they came by a [`Journal`](crate::Journal). `heard` is given each packet
    /// that listeners are sent.
    ///
    /// # Errors
    /// The replay is over.
    pub fn read(&mut self, block: &[u8], heard: impl FnMut(HeardPacket<'_>)) -> Result<(), ReplayError> {
        let mut rest = block;
        self.step(&mut rest, usize::MAX, heard)
    }

    /// As [`Replay::read`], for at most so many inputs; `block` is what is left then.
    ///
    /// # Errors
    /// As there.
    pub fn step(
        &mut self,
        block: &mut &[u8],
        most: usize,
        mut heard: impl FnMut(HeardPacket<'_>),
    ) -> Result<(), ReplayError> {
        for _ in 0..most {
            if block.is_empty() {
                break;
            }
            let malformed = |at| ReplayError::Malformed { at };
            let (entry, rest) =
                postcard::take_from_bytes::<Entry<'_>>(block).map_err(|_| malformed(self.counts.lasted))?;
            *block = rest;
            let at = self.at.checked_add(entry.after);
            let at = at.filter(|at| (-(LEAD.as_nanos() as i64)..LONGEST).contains(at));
            self.at = at.ok_or_else(|| malformed(self.counts.lasted))?;
            self.play(entry.input, &mut heard)?;
        }
        Ok(())
    }

    fn play(&mut self, input: Input<'_>, heard: &mut impl FnMut(HeardPacket<'_>)) -> Result<(), ReplayError> {
        let now = match u64::try_from(self.at) {
            Ok(after) => self.origin + Duration::from_nanos(after),
            Err(_) => self.origin - Duration::from_nanos(self.at.unsigned_abs()),
        };
        if let Input::Begin(begin) = &input {
            return self.begin(begin);
        }
        if !self.open {
            return Err(ReplayError::NoBeginning);
        }
        let since = Duration::from_nanos(self.at.saturating_sub(self.began).try_into().unwrap_or(0));
        self.counts.lasted = since;
        self.counts.inputs += 1;
        self.check(&input)?;
        if let Input::Shed(level) = &input {
            self.shard.context.shed = Shed::at_level(*level);
        }
        let played = self
            .shard
            .try_in_room(now, ROOM, |room, context| room.replay(now, context, input));
        while self.shard.poll_event().is_some() {}
        let Some(compared) = played else {
            self.open = false;
            return Err(ReplayError::RoomFailed { at: since });
        };
        if let Some(compared) = compared {
            self.counts.compared += 1;
            if compared.recorded != compared.replayed {
                self.counts.different += 1;
                self.counts.first_difference.get_or_insert((since, compared.peer));
            }
        }
        let counts = &mut self.counts;
        if let Some(room) = self.shard.rooms.get_mut(&ROOM) {
            room.take_replayed(|listener, port| {
                port.drain(listener, since, |packet| {
                    counts.packets += 1;
                    heard(packet);
                })
            });
        }
        Ok(())
    }

    fn begin(&mut self, begin: &Begin) -> Result<(), ReplayError> {
        if begin.version != Begin::VERSION {
            return Err(ReplayError::Version { found: begin.version });
        }
        let mix = &begin.mix;
        let sane = mix.check().is_ok() && mix.speaking_release.max(mix.levels_interval) <= LONGEST_SETTING;
        if self.open || !sane {
            return Err(ReplayError::NoBeginning);
        }
        self.began = self.at;
        self.open = true;
        self.shard.context.mix = begin.mix.clone();
        self.shard.rooms.insert(ROOM, Room::new(ROOM, begin.kind, self.origin));
        Ok(())
    }

    // A room's own limits are set where commands and datagrams come in, so a recording that somebody has made up is held to its own.
    fn check(&mut self, input: &Input<'_>) -> Result<(), ReplayError> {
        let too_many = |what| Err(ReplayError::TooMany { what });
        match input {
            Input::Join { facts, origins, .. } | Input::Facts { facts, origins, .. }
                if facts.slots as usize > MOST_SLOTS || origins.len() > MOST_SLOTS + 1 =>
            {
                return too_many("slots");
            }
            Input::Report { round_trip, sent, .. }
                if round_trip.is_some_and(|time| time > LONGEST_SETTING) || *sent > MOST_SENT =>
            {
                return too_many("packets in a report");
            }
            Input::Fault => self.fault = true,
            Input::Tap { .. } => {
                self.taps += 1;
                if self.taps > MOST_TAPS {
                    return too_many("taps");
                }
            }
            _ => {}
        }
        let joins = matches!(
            input,
            Input::Join { .. } | Input::Source { .. } | Input::Remote { .. } | Input::Tap { .. }
        );
        let peers = self.shard.rooms.get(&ROOM).map_or(0, Room::len);
        if joins && peers >= MOST_PEERS {
            return too_many("participants");
        }
        Ok(())
    }
}

/// A participant's port, in place of the endpoint that it had in the call.
pub(crate) struct ReplayedPort {
    pub(crate) facts: Facts,
    origins: Vec<Origin>,
    sent: Vec<Sent>,
    /// The payloads of these, one behind the other.
    bytes: Vec<u8>,
}

struct Sent {
    slot: usize,
    sequence: u32,
    timestamp: u32,
    marker: bool,
    csrc: Option<u32>,
    /// Where its payload ends.
    end: usize,
}

impl ReplayedPort {
    pub(crate) fn new(facts: Facts, origins: Vec<Origin>) -> ReplayedPort {
        ReplayedPort {
            facts,
            origins,
            sent: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// The endpoint has changed.
    pub(crate) fn update(&mut self, facts: Facts, origins: Vec<Origin>) {
        self.facts = facts;
        self.origins = origins;
    }

    /// As [`Endpoint::send_slot`](roomtone_transport::Endpoint::send_slot): the same packets are sent, and the same aren't.
    pub(crate) fn send_slot(&mut self, _now: Instant, slot: usize, audio: &SlotOut<'_>) -> bool {
        let Facts {
            slots,
            connected,
            can_send,
            has_address,
            ..
        } = self.facts;
        let has_stream = match slots {
            0 => slot == 0 && can_send,
            slots => slot < slots as usize && connected && has_address,
        };
        if !has_stream || audio.payload.is_empty() || audio.payload.len() > MAX_PAYLOAD {
            return false;
        }
        self.bytes.extend_from_slice(audio.payload);
        self.sent.push(Sent {
            slot,
            sequence: audio.sequence,
            timestamp: audio.timestamp,
            marker: audio.marker,
            csrc: audio.csrc,
            end: self.bytes.len(),
        });
        true
    }

    /// Gives away all that was sent, with the numbers that it had in the call.
    fn drain(&mut self, listener: PeerId, at: Duration, mut heard: impl FnMut(HeardPacket<'_>)) {
        let further = usize::from(self.facts.slots > 0);
        let mut begin = 0;
        for sent in self.sent.drain(..) {
            let origin = self.origins.get(sent.slot + further).copied().unwrap_or_default();
            heard(HeardPacket {
                listener,
                slot: sent.slot,
                at,
                ssrc: origin.ssrc,
                sequence: origin.sequence.wrapping_add(sent.sequence as u16),
                timestamp: origin.timestamp.wrapping_add(sent.timestamp),
                marker: sent.marker,
                csrc: sent.csrc,
                payload: &self.bytes[begin..sent.end],
            });
            begin = sent.end;
        }
        self.bytes.clear();
    }
}
