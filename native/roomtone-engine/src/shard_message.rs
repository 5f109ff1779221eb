//! The messages that the shards of an engine send each other about rooms that have moved.

use std::net::SocketAddr;

use crate::command::{PeerId, RoomId};
use crate::routes::{Destination, Route};

/// A message from one shard to another.
pub struct ShardMessage(pub(crate) Message);

pub(crate) enum Message {
    /// A datagram for a participant whose room has moved.
    Datagram {
        destination: Destination,
        from: SocketAddr,
        data: Vec<u8>,
    },
    /// A datagram that came to a connection of the sender, by way of TURN, for the receiver.
    Arrived { from: SocketAddr, data: Vec<u8> },
    /// A datagram to be sent by a connection that the receiver has.
    Transmit { to: SocketAddr, data: Vec<u8> },
    /// A change of the routes of a participant whose home is the receiver.
    Route(Destination, Route),
    /// The room has ended.
    RoomGone(RoomId),
    /// The room, which was once at the receiver, is at the sender; all routes of the participants whose home is the receiver.
    RoomHere(RoomId, Vec<(PeerId, Route)>),
    /// The sender has begun a new epoch: its earlier state is lost.
    Restarted,
}

/// A subject on which another shard is still to be informed, because its mailbox was full. Once there is space, the present state is
/// sent instead of the message that didn't fit, which is out of date by then. So messages can't overtake each other, and the number of
/// subjects is bounded by that of rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pending {
    /// Before all others: later messages about rooms belong to the new epoch.
    Restarted,
    Room(RoomId),
}

impl ShardMessage {
    /// The subject to inform the receiver on later, if this can't be delivered now.
    pub(crate) fn pending(&self) -> Option<Pending> {
        match &self.0 {
            // Sound that comes late is worth nothing.
            Message::Datagram { .. } | Message::Arrived { .. } | Message::Transmit { .. } => None,
            Message::Route((room, _), _) | Message::RoomGone(room) | Message::RoomHere(room, _) => {
                Some(Pending::Room(*room))
            }
            Message::Restarted => Some(Pending::Restarted),
        }
    }
}
