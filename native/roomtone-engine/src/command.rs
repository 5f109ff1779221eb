//! Commands and events: everything that goes into a shard and comes out of it, beside datagrams.

use std::net::SocketAddr;

use roomtone_transport::{AcceptError, CloseReason};
use roomtone_trunk::{Key, KeyNumber, TrunkId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::inputs::Journal;
pub use crate::room_kind::RoomKind;
use crate::tap::{Tap, TapSound};
use crate::trace::Trace;
use crate::voice::Voice;

/// A room's number. Chosen by the caller, unique as long as the room is open.
pub type RoomId = u64;

/// A participant's number on the media plane. Chosen by the caller, unique in the engine, never used again.
pub type PeerId = u64;

/// A shard's index in the engine.
pub type ShardIndex = usize;

/// A command to a shard about a room. Its outcome arrives later, as an [`Event`].
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The room.
    pub room: RoomId,
    /// The work to do there.
    pub action: Action,
}

impl Command {
    /// A command about this room.
    pub fn new(room: RoomId, action: Action) -> Command {
        Command { room, action }
    }
}

/// The content of a [`Command`].
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Makes an empty room. A room that is open already stays as it is, but takes the kind if nobody is in it.
    Open {
        /// Its kind.
        kind: RoomKind,
    },
    /// Moves the room, with its participants, to another shard of the engine; [`Event::RoomMoved`] comes from there. The participants
    /// keep their addresses and don't notice. Commands that name the old shard afterwards still reach the room. A move to the
    /// shard where the room is, to one that doesn't exist, or to one that is far behind, has no effect.
    Move {
        /// The other shard.
        to: ShardIndex,
    },
    /// Has everything that goes into the room written into a journal, from which [`Replay`](crate::Replay) plays it again. For a room
    /// that nobody has been in yet; otherwise the journal ends at once, as [`JournalEnd::Used`](crate::JournalEnd::Used).
    RecordInputs {
        /// The journal.
        journal: Journal,
    },
    /// Ends every participant with [`Event::Disconnected`], then the room.
    Close,
    /// A new participant's SDP offer, for a room that is open. Answered by [`Event::Answer`] or [`Event::Refused`].
    Join {
        /// The new participant.
        peer: PeerId,
        /// The SDP offer (RFC 3264).
        offer: String,
        /// Whether the others may hear this participant.
        speak: bool,
        /// Whether this participant may hear the others.
        listen: bool,
    },
    /// A further offer of a participant. [`Event::Answer`] tells what it was:
    ///
    /// * one for `peer` restarts their connection (ICE restart, RFC 8445 §9), or begins a new one with the same certificate
    ///   (RFC 8842 §5.5);
    /// * one for `replacement` begins a connection that `peer` can't serve: another certificate, or other m-lines. `replacement`
    ///   has joined. `peer` stays until [`Action::Leave`], so that an answer that never arrives costs no sound; until then
    ///   neither of the two hears the other.
    ///
    /// [`Event::Refused`] names `peer`; there is no `replacement` then. A full or overloaded shard takes a replacement.
    Reoffer {
        /// The participant.
        peer: PeerId,
        /// The SDP offer.
        offer: String,
        /// The new participant, if it takes one.
        replacement: PeerId,
        /// Whether the others may hear the new participant.
        speak: bool,
        /// Whether the new participant may hear the others.
        listen: bool,
    },
    /// Ends a participant: RTCP BYE, DTLS close_notify, [`Event::Disconnected`].
    Leave {
        /// The participant.
        peer: PeerId,
    },
    /// Lets the others hear a participant, or mutes them.
    SetSpeak {
        /// The participant.
        peer: PeerId,
        /// Whether the others may hear this participant.
        speak: bool,
    },
    /// Lets a participant hear the others, or deafens them.
    SetListen {
        /// The participant.
        peer: PeerId,
        /// Whether this participant may hear the others.
        listen: bool,
    },
    /// Changes what is done to a talker's voice in a room that mixes. A new participant has [`Voice::Even`], and
    /// their noise isn't suppressed.
    SetVoice {
        /// The talker.
        peer: PeerId,
        /// Its treatment.
        voice: Voice,
        /// Whether noise is suppressed, where there is so much that it is heard. In music none is.
        suppress: bool,
    },
    /// The gain of every pair without a cell, and how talkers are selected.
    SetPolicy {
        /// Everybody's gain for everybody else, linear, 0…10. A new room has 1.
        default_gain: f32,
        /// The most talkers that a listener hears at once; `None`: all. A new room has `None`.
        max_talkers: Option<u32>,
        /// The choice of these.
        select: Select,
    },
    /// Changes the gains of single pairs. In force at the next tick, reached by a ramp over one frame.
    SetGains {
        /// The cells that change. Cells of participants who aren't in the room are ignored.
        cells: Vec<GainCell>,
    },
    /// Puts participants in places, from which distance and side follow in a room that mixes: they weaken and pan what the cells
    /// say. In force at the next tick, reached by a ramp over one frame. Between two people of whom one has no place the cells count
    /// alone.
    SetPlaces {
        /// How distance weakens sound, in the whole room.
        distance: Distance,
        /// The participants whose place changes; those who aren't in the room are ignored.
        places: Vec<PlaceCell>,
    },
    /// A new participant without a transport: a source, which plays what [`Action::Feed`] brings, and hears nobody. Reported by
    /// [`Event::Connected`] at once, or by [`Event::Refused`]. It leaves, and is muted, as any participant.
    JoinSource {
        /// The new participant.
        peer: PeerId,
        /// Whether the others may hear it.
        speak: bool,
    },
    /// Sound for a source, as fast as the caller likes: the room plays it at its pace, after what the source has already. At most 60 s,
    /// 960,000 bytes and 6,000 items wait; [`Event::SourceRefused`] tells of those that didn't fit.
    Feed {
        /// The source.
        peer: PeerId,
        /// Packets and marks, in their order.
        items: Vec<SourceItem>,
    },
    /// Throws away what a source hasn't played yet, marks included. [`Event::SourceDrained`] follows if there was anything.
    ClearSource {
        /// The source.
        peer: PeerId,
    },
    /// A new participant without a transport who hears, and whom nobody hears: a tap. Its sound goes into its queue, and
    /// [`Event::TapReady`] tells when there is some. Reported by [`Event::Connected`] at once, or by [`Event::Refused`]. It leaves as any
    /// participant. A room with a tap ticks in silence, too.
    JoinTap {
        /// The new participant.
        peer: PeerId,
        /// Its queue.
        tap: Tap,
        /// The sound that it takes.
        sound: TapSound,
    },
    /// Changes whom a tap hears, or how loud. A tap of a mix stays one, and in stereo or not.
    SetTap {
        /// The tap.
        peer: PeerId,
        /// The sound that it takes from now on.
        sound: TapSound,
    },
    /// Opens a trunk: the way to those people of the room who are on another media node. The packets of talkers who are here go there, those
    /// of the most relevant of them, and the other node's come from there: [`Action::JoinRemote`]. A room with a trunk stays on its
    /// shard. A trunk of this number that is open, in this room or another, stays as it is.
    OpenTrunk {
        /// Its number, which the other end puts into its datagrams. Unique on the shard.
        trunk: TrunkId,
        /// The other end.
        way: TrunkWay,
    },
    /// Another key for a direction of a trunk. First for the receiving end, which takes datagrams of the former key until the next; then
    /// for the sending one.
    RenewTrunk {
        /// The trunk.
        trunk: TrunkId,
        /// Which end of it this is.
        end: TrunkEnd,
        /// The number of the key, another than before.
        number: KeyNumber,
        /// The key.
        key: Key,
    },
    /// Closes a trunk. The talkers who came by it leave.
    CloseTrunk {
        /// The trunk.
        trunk: TrunkId,
    },
    /// A participant of the room who is on another media node, and heard by a trunk. They are a talker like any other; no event tells of
    /// their coming and going, because the other node does. They leave, and are muted, as anybody. One who is known comes by this
    /// trunk from now on. Ignored without the room or the trunk.
    JoinRemote {
        /// The participant.
        peer: PeerId,
        /// The trunk.
        trunk: TrunkId,
        /// Whether the others may hear them.
        speak: bool,
    },
    /// Follows the next packet of a talker through the server: [`Event::Traced`] tells of it. Nothing comes if the talker sends none
    /// within 2 s, or isn't in the room. A room follows eight at once; a further one takes the place of the oldest.
    Trace {
        /// The talker.
        talker: PeerId,
        /// The listener to follow it to; `None`: the first who gets it.
        listener: Option<PeerId>,
        /// Comes back in the event.
        reference: u64,
    },
    /// Asks for [`Event::PeerStats`].
    PeerStats {
        /// The participant.
        peer: PeerId,
        /// Comes back in the event.
        reference: u64,
    },
    /// Panics, so that tests can see what a bug costs. Release builds ignore it.
    Fault {
        /// Where.
        scope: FaultScope,
    },
}

/// The other end of a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkWay {
    /// Its address: that of the shard that has the room there.
    pub to: SocketAddr,
    /// The number that it has given the trunk.
    pub trunk: TrunkId,
    /// The first key of what goes there; its number is 0.
    pub send: Key,
    /// The first key of what comes from there; its number is 0.
    pub receive: Key,
    /// Whether it leads to a node that has no trunks to the others: packets that come by this trunk leave by the other ones, and
    /// those that come by others leave by this one.
    pub relay: bool,
}

/// An end of a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkEnd {
    /// Of what goes out.
    Sending,
    /// Of what comes in.
    Receiving,
}

/// Something for a source to play.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceItem {
    /// An Opus packet (RFC 6716) of any duration.
    Packet {
        /// The packet, 1,276 bytes at the most.
        data: Vec<u8>,
        /// Its level in −dBov (RFC 6464: 0 loudest, 127 silence). Without it the packet is decoded to measure it, where the level counts.
        level: Option<u8>,
    },
    /// A place in the sound: [`Event::SourcePlayed`] tells when it was reached.
    Mark(u64),
}

/// Where an [`Action::Fault`] panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultScope {
    /// In the room, at its next tick.
    Room,
    /// In the whole shard, at once.
    Shard,
}

/// The choice of talkers where more of them talk than a listener hears at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Select {
    /// The loudest to the listener: gain × level.
    #[default]
    Loudest,
    /// The nearest to the listener, that is, those with the highest gain. Levels count among talkers who are about as near.
    Nearest,
}

/// How one listener hears one speaker.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GainCell {
    /// The listener.
    pub listener: PeerId,
    /// The speaker.
    pub speaker: PeerId,
    /// Linear, clamped to 0…10, NaN to 0; `None`: the room's default gain, from the middle.
    pub gain: Option<f32>,
    /// From −1 (left) to 1 (right), for stereo listeners; clamped, NaN to the middle.
    pub pan: f32,
}

/// How distance weakens sound: the models of the Web Audio `PannerNode`, with `d` the distance. In metres, or whatever places are in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Distance {
    /// `1 − rolloff · (d − reference) / (max − reference)`, with `d` from `reference` to `max` and `rolloff` 0…1.
    Linear {
        /// Nearer than this, nothing is weakened.
        reference: f64,
        /// Farther than this, nothing is weakened any more.
        max: f64,
        /// The part that is lost at `max`.
        rolloff: f64,
    },
    /// `reference / (reference + rolloff · (d − reference))`, with `d` at least `reference`.
    Inverse {
        /// Nearer than this, nothing is weakened.
        reference: f64,
        /// How steeply it is weakened; 0: not at all.
        rolloff: f64,
    },
    /// `(d / reference) ^ −rolloff`, with `d` at least `reference`.
    Exponential {
        /// Nearer than this, nothing is weakened.
        reference: f64,
        /// How steeply it is weakened; 0: not at all.
        rolloff: f64,
    },
}

impl Default for Distance {
    fn default() -> Self {
        Distance::Inverse {
            reference: 1.0,
            rolloff: 1.0,
        }
    }
}

/// Where somebody is, as listener and as speaker. `y` points up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The position.
    pub at: [f64; 3],
    /// Where they look, of any length; (0, 0, 0) has no sides.
    pub facing: [f64; 3],
    /// Whether the others hear them as if they were nearby and in the middle, wherever they are: through a megaphone.
    pub everywhere: bool,
}

/// A participant's place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaceCell {
    /// The participant.
    pub peer: PeerId,
    /// Where they are; `None`: nowhere in particular.
    pub place: Option<Place>,
}

/// A slot of a listener.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlotCell {
    /// Its number: that of the additional m-line in the listener's offer.
    pub slot: u8,
    /// The talker in it, if there is one.
    pub speaker: Option<PeerId>,
    /// The contributing source (RFC 3550) of their packets; 0 if the slot is empty.
    pub source: u32,
    /// The gain to play them at, linear.
    pub gain: f32,
    /// From −1 (left) to 1 (right).
    pub pan: f32,
}

/// How to play a talker who may come into a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceCell {
    /// The talker.
    pub speaker: PeerId,
    /// The contributing source (RFC 3550) of their packets.
    pub source: u32,
    /// The gain to play them at, linear.
    pub gain: f32,
    /// From −1 (left) to 1 (right).
    pub pan: f32,
}

/// Why an offer was not answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such room.
    #[error("the room is not open")]
    NoRoom,
    /// A further offer of a participant who isn't there.
    #[error("the participant is not in the room")]
    NoPeer,
    /// The number belongs to another participant of the room.
    #[error("a participant of that number is in the room already")]
    PeerExists,
    /// A tap of a mix in a room that makes none.
    #[error("the room forwards, so it has no mix")]
    NotMixed,
    /// The shard has as many participants as it may have.
    #[error("the server takes no more participants")]
    ShardFull,
    /// The shard sheds load.
    #[error("the server is too busy to take newcomers now")]
    Overloaded,
    /// The SDP parser failed, which is a bug.
    #[error("the SDP can't be read")]
    Unreadable,
    /// The offer can't be taken.
    #[error(transparent)]
    Offer(#[from] AcceptError),
}

impl Refusal {
    /// A stable name for programs, such as `"no_room"` or [`AcceptError::code`].
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NoRoom => "no_room",
            Refusal::NoPeer => "no_peer",
            Refusal::PeerExists => "peer_exists",
            Refusal::NotMixed => "not_mixed",
            Refusal::ShardFull => "shard_full",
            Refusal::Overloaded => "overloaded",
            Refusal::Unreadable => "malformed",
            Refusal::Offer(error) => error.code(),
        }
    }
}

/// Why a participant is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// [`Action::Leave`].
    Left,
    /// [`Action::Close`].
    RoomClosed,
    /// Their connection ended.
    Transport(CloseReason),
}

impl EndReason {
    /// A stable name for programs: `"left"`, `"room_closed"` or [`CloseReason::as_str`].
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Left => "left",
            EndReason::RoomClosed => "room_closed",
            EndReason::Transport(reason) => reason.as_str(),
        }
    }
}

/// A report from a shard.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The shard runs, and is empty: whatever was in it under an earlier epoch is gone.
    ShardStarted {
        /// The shard's ICE candidates.
        addresses: Vec<SocketAddr>,
    },
    /// The answer to [`Action::Join`] or [`Action::Reoffer`].
    Answer {
        /// The room.
        room: RoomId,
        /// The participant: after [`Action::Reoffer`] either the present one or their replacement.
        peer: PeerId,
        /// The SDP answer.
        sdp: String,
    },
    /// The offer can't be taken. After [`Action::Join`] the participant doesn't exist; after [`Action::Reoffer`] they go on
    /// as before, unless there was none.
    Refused {
        /// The room.
        room: RoomId,
        /// The participant.
        peer: PeerId,
        /// Why.
        refusal: Refusal,
    },
    /// ICE and DTLS are done: sound can flow.
    Connected {
        /// The room.
        room: RoomId,
        /// The participant.
        peer: PeerId,
    },
    /// The participant has left the shard.
    Disconnected {
        /// The room.
        room: RoomId,
        /// The participant.
        peer: PeerId,
        /// Why.
        reason: EndReason,
    },
    /// Everybody's level, at most once in 200 ms a room, while anybody is to be heard, and once more after that.
    Levels {
        /// The room.
        room: RoomId,
        /// Participant, level in −dBov (RFC 6464: 0 loudest, 127 silence), whether they count as speaking.
        levels: Vec<(PeerId, u8, bool)>,
    },
    /// The talkers in the slots of a listener of a forwarding room, and their gains, which the client applies. At most once in 200 ms.
    /// It also has the gains of talkers who aren't in a slot yet, and each packet names its talker, so that the client never plays one
    /// talker at the gain of another.
    Slots {
        /// The room.
        room: RoomId,
        /// The listener.
        peer: PeerId,
        /// All of their slots, in order.
        slots: Vec<SlotCell>,
        /// Other talkers whose gain differs from `rest`: the softest, some dozens at most.
        others: Vec<SourceCell>,
        /// The gain for everybody else, from the middle. The least one, should they differ.
        rest: f32,
    },
    /// A participant began or ceased to speak.
    Speaking {
        /// The room.
        room: RoomId,
        /// The participant.
        peer: PeerId,
        /// Whether they speak now.
        speaking: bool,
    },
    /// A source has given the room everything up to a mark. Listeners hear the last of it some tens of milliseconds later, as they hear
    /// anybody.
    SourcePlayed {
        /// The room.
        room: RoomId,
        /// The source.
        peer: PeerId,
        /// The mark.
        mark: u64,
    },
    /// A source has nothing more to play.
    SourceDrained {
        /// The room.
        room: RoomId,
        /// The source.
        peer: PeerId,
    },
    /// Items of [`Action::Feed`] were thrown away: there is no such source, its queue is full, or they aren't Opus.
    SourceRefused {
        /// The room.
        room: RoomId,
        /// The source.
        peer: PeerId,
        /// The number of items.
        items: u32,
    },
    /// A tap has a batch for a consumer who found none.
    TapReady {
        /// The room.
        room: RoomId,
        /// The tap.
        peer: PeerId,
    },
    /// The answer to [`Action::Trace`]: the packet has left the server, or went nowhere.
    Traced {
        /// The room.
        room: RoomId,
        /// The packet's way.
        trace: Box<Trace>,
    },
    /// The answer to [`Action::PeerStats`]; `None` if there is no such participant.
    PeerStats {
        /// From the command.
        reference: u64,
        /// The figures.
        stats: Option<Box<PeerStats>>,
    },
    /// A room has moved to this shard. All events of it from its old shard came before.
    RoomMoved {
        /// The room.
        room: RoomId,
        /// The old shard.
        from: ShardIndex,
    },
    /// The shard shed load, or took a step back.
    Shed {
        /// How far it has gone, as in [`ShardStats::shed_level`](crate::ShardStats::shed_level).
        level: u8,
    },
    /// A bug in one room: the room and its participants are gone from the shard, the other rooms go on.
    RoomFailed {
        /// The room.
        room: RoomId,
    },
}

/// Figures of one participant.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PeerStats {
    /// Whether ICE and DTLS are done.
    pub connected: bool,
    /// RTP packets that came in and authenticated.
    pub packets_in: u64,
    /// Their bytes, with headers, without UDP and IP.
    pub bytes_in: u64,
    /// RTP packets sent.
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Datagrams dropped for a bad tag, a replay or an unknown SSRC.
    pub rejected: u64,
    /// Packets of talkers that weren't forwarded to them: more than 1,200 bytes of Opus. A mix is never that long.
    pub oversized: u64,
    /// Packets on the way to us that never came.
    pub lost_in: u64,
    /// Copies of earlier packets that came along with others (RED, RFC 2198).
    pub copies_in: u64,
    /// Of the lost packets, those that a later one carried.
    pub restored_in: u64,
    /// 20 ms frames with sound from the copy in the next packet (in-band FEC).
    pub recovered: u64,
    /// 20 ms frames that had to be concealed.
    pub concealed: u64,
    /// Packets that came after their time.
    pub late: u64,
    /// Sound that the jitter buffer took out or put in to change its delay, milliseconds.
    pub stretched_ms: f64,
    /// Inter-arrival jitter of their packets, milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: f64,
    /// The jitter buffer's target delay, milliseconds.
    pub buffer_target_ms: f64,
    /// The jitter buffer's present delay, milliseconds.
    pub buffer_ms: f64,
    /// Round trip from RTCP, milliseconds.
    pub round_trip_ms: Option<f64>,
    /// The share of our packets that they lost by their last report, 0…1; `None` before the first one.
    pub fraction_lost_out: Option<f64>,
    /// With how many copies of earlier packets each is sent to them at present (RED, RFC 2198), for they lose packets.
    pub redundancy: u8,
    /// The copies that were sent to them.
    pub copies_out: u64,
    /// The bit rate, bit/s (in mono), of the mix that is encoded for connections like theirs, with in-band FEC; `None`: they get what
    /// everybody gets.
    pub reduced_bitrate: Option<u32>,
    /// The jitter of our packets as they see it, milliseconds; `None` before their first report.
    pub remote_jitter_ms: Option<f64>,
    /// Time from the connection to their first RTP packet, milliseconds; `None` before it came.
    pub first_in_ms: Option<f64>,
    /// Time from the connection to the first RTP packet sent to them, milliseconds; `None` before it was sent.
    pub first_out_ms: Option<f64>,
    /// For how long nothing authentic was heard from them, milliseconds: no media, no report, no
    /// connectivity check.
    pub silent_ms: f64,
    /// Whether the last that was heard was media.
    pub silent_after_media: bool,
    /// Whether they have a mix of their own at present.
    pub private_mix: bool,
    /// Whether they get the packets of the one talker whom they hear, as these come.
    pub passed_through: bool,
    /// Their automatic gain as a talker, dB.
    pub auto_gain_db: f64,
}

/// An event and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The shard.
    pub shard: ShardIndex,
    /// The number of the shard's starts: an event of an older epoch is from before a restart.
    pub epoch: u64,
    /// The report.
    pub event: Event,
}
