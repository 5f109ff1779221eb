//! What goes into a shard and what comes out of it, beside datagrams.

use std::net::SocketAddr;

use roomtone_transport::{AcceptError, CloseReason};
use serde::Serialize;
use thiserror::Error;

/// A room's number. Chosen by the caller, unique as long as the room is open.
pub type RoomId = u64;

/// A participant's number on the media plane. Chosen by the caller, unique in the engine, never used again.
pub type PeerId = u64;

/// A shard's index in the engine.
pub type ShardIndex = usize;

/// A room either mixes its talkers or forwards their packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomKind {
    /// One mix for each way of hearing (an MCU with mix-minus).
    Mix {
        /// Whether clients that ask for stereo (`stereo=1` in their offer) get it.
        stereo: bool,
    },
    /// The packets of the most relevant talkers, as they came (an SFU with last-N).
    Forward {
        /// The most talkers that each listener gets.
        slots: u32,
        /// Whether talkers may send stereo.
        stereo: bool,
    },
}

impl Default for RoomKind {
    fn default() -> Self {
        RoomKind::Mix { stereo: false }
    }
}

/// An order to a shard. None is answered synchronously: what comes of it arrives as an [`Event`].
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Makes an empty room. A room that is open already stays as it is, but takes the kind if nobody is in it.
    OpenRoom {
        /// The room.
        room: RoomId,
        /// Its kind.
        kind: RoomKind,
    },
    /// Moves a room, with all who are in it, to another shard of the engine; [`Event::RoomMoved`] comes from there. They keep their
    /// addresses and don't notice. Whoever names its old shard from then on means the new one. To where it is, to nowhere, or to a shard
    /// that is far behind, is no move.
    MoveRoom {
        /// The room.
        room: RoomId,
        /// The other shard.
        to: ShardIndex,
    },
    /// Ends every participant of a room with [`Event::Disconnected`], then the room.
    CloseRoom {
        /// The room.
        room: RoomId,
    },
    /// A new participant's SDP offer. Answered by [`Event::Answer`] or [`Event::Refused`].
    Join {
        /// The room, which must be open.
        room: RoomId,
        /// The new participant.
        peer: PeerId,
        /// The SDP offer (RFC 3264).
        offer: String,
        /// Whether the others may hear this participant.
        speak: bool,
        /// Whether this participant may hear the others.
        listen: bool,
    },
    /// A further offer of a participant who is there (ICE restart, RFC 8445 §9). Answered as [`Command::Join`] is.
    Reoffer {
        /// The room.
        room: RoomId,
        /// The participant.
        peer: PeerId,
        /// The SDP offer.
        offer: String,
    },
    /// Ends a participant: RTCP BYE, DTLS close_notify, [`Event::Disconnected`].
    Leave {
        /// The room.
        room: RoomId,
        /// The participant.
        peer: PeerId,
    },
    /// Lets a participant be heard, or silences them.
    SetSpeak {
        /// The room.
        room: RoomId,
        /// The participant.
        peer: PeerId,
        /// Whether the others may hear this participant.
        speak: bool,
    },
    /// Lets a participant hear, or deafens them.
    SetListen {
        /// The room.
        room: RoomId,
        /// The participant.
        peer: PeerId,
        /// Whether this participant may hear the others.
        listen: bool,
    },
    /// How a room is heard, as long as nothing else is said of a pair.
    SetPolicy {
        /// The room.
        room: RoomId,
        /// Everybody's gain for everybody else, linear, 0…10. A new room has 1.
        default_gain: f32,
        /// How many talkers are heard at once; `None`: all. A new room has `None`.
        max_talkers: Option<u32>,
        /// Who these are.
        select: Select,
    },
    /// Changes what single listeners hear of single speakers. Effective at the next tick, reached by a ramp over one frame.
    SetGains {
        /// The room.
        room: RoomId,
        /// The cells that change. Those of participants who aren't there are left out.
        cells: Vec<GainCell>,
    },
    /// Asks for [`Event::PeerStats`].
    PeerStats {
        /// The room.
        room: RoomId,
        /// The participant.
        peer: PeerId,
        /// Comes back in the event.
        reference: u64,
    },
    /// Panics where told, so that tests can see what a bug costs. Release builds ignore it.
    Fault {
        /// The room that panics at its next tick; `None`: the whole shard, at once.
        room: Option<RoomId>,
    },
}

/// Whom a listener hears where more talk than are heard at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// Who is loudest to them: gain × level.
    #[default]
    Loudest,
    /// Who is nearest to them, that is, has the highest gain. Levels count among those who are about as near.
    Nearest,
}

/// What one listener hears of one speaker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GainCell {
    /// Who hears.
    pub listener: PeerId,
    /// Whom.
    pub speaker: PeerId,
    /// Linear, 0…10 (what is outside is cut, no number is 0); `None`: as the room's policy says, and from the middle.
    pub gain: Option<f32>,
    /// From −1 (left) to 1 (right), for who hears stereo (what is outside is cut, no number is the middle).
    pub pan: f32,
}

/// A slot of a listener.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlotCell {
    /// Its number: that of the further m-line in the listener's offer.
    pub slot: u8,
    /// Who is in it; `None`: nobody.
    pub speaker: Option<PeerId>,
    /// What their packets carry as contributing source (RFC 3550); 0: nobody.
    pub source: u32,
    /// How loud they are to be, linear.
    pub gain: f32,
    /// From −1 (left) to 1 (right).
    pub pan: f32,
}

/// How somebody is to be played who may come into a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceCell {
    /// Who.
    pub speaker: PeerId,
    /// What their packets carry as contributing source (RFC 3550).
    pub source: u32,
    /// How loud they are to be, linear.
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
    /// [`Command::Leave`].
    Left,
    /// [`Command::CloseRoom`].
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

/// News from a shard.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The shard runs, and is empty: whatever was in it under an earlier epoch is gone.
    ShardStarted {
        /// What the shard announces as its ICE candidates.
        addresses: Vec<SocketAddr>,
    },
    /// The answer to [`Command::Join`] or [`Command::Reoffer`].
    Answer {
        /// The room.
        room: RoomId,
        /// The participant.
        peer: PeerId,
        /// The SDP answer.
        sdp: String,
    },
    /// The offer can't be taken. After [`Command::Join`] the participant doesn't exist; after [`Command::Reoffer`] they go on
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
    /// The participant is gone from the shard.
    Disconnected {
        /// The room.
        room: RoomId,
        /// The participant.
        peer: PeerId,
        /// Why.
        reason: EndReason,
    },
    /// How loud each participant is, at most once in 200 ms a room, while anybody is to be heard, and once more after that.
    Levels {
        /// The room.
        room: RoomId,
        /// Participant, level in −dBov (RFC 6464: 0 loudest, 127 silence), whether they count as speaking.
        levels: Vec<(PeerId, u8, bool)>,
    },
    /// Whom a listener of a forwarding room hears in which slot, and how: theirs is to apply the gains. At most once in 200 ms. So that
    /// nobody is ever heard at the gain of another, it also tells how those are to be played who aren't in a slot yet; each packet
    /// says whose it is.
    Slots {
        /// The room.
        room: RoomId,
        /// The listener.
        peer: PeerId,
        /// All of their slots, in order.
        slots: Vec<SlotCell>,
        /// Others, where they differ from `rest`: the softest, some dozens at most.
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
    /// The answer to [`Command::PeerStats`]; `None` if there is no such participant.
    PeerStats {
        /// From the command.
        reference: u64,
        /// The figures.
        stats: Option<Box<PeerStats>>,
    },
    /// A room has moved to this shard. All that its old shard had to tell of it came before.
    RoomMoved {
        /// The room.
        room: RoomId,
        /// The old shard.
        from: ShardIndex,
    },
    /// The shard gave something up because it had too much to do, or took it back.
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
    /// Packets on the way to us that never came.
    pub lost_in: u64,
    /// 20 ms frames that had to be concealed.
    pub concealed: u64,
    /// Packets that came after their time.
    pub late: u64,
    /// Inter-arrival jitter of what they send us, milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: f64,
    /// What the jitter buffer aims at, milliseconds.
    pub buffer_target_ms: f64,
    /// What the jitter buffer holds now, milliseconds.
    pub buffer_ms: f64,
    /// Round trip from RTCP, milliseconds.
    pub round_trip_ms: Option<f64>,
    /// The share of our packets that they say they lost in their last report, 0…1; `None` before the first one.
    pub fraction_lost_out: Option<f64>,
    /// The jitter of our packets as they see it, milliseconds; `None` before their first report.
    pub remote_jitter_ms: Option<f64>,
    /// Whether they have a mix of their own at present.
    pub private_mix: bool,
}

/// An event and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The shard.
    pub shard: ShardIndex,
    /// Counts the shard's lives: an event of an older epoch is news from before a restart.
    pub epoch: u64,
    /// The news.
    pub event: Event,
}
