//! A room on its way from one shard to another.

use crate::command::{RoomId, ShardIndex};
use crate::room::Room;

/// The room, whole, and where it comes from. It belongs to the engine: the end of either shard isn't the end of the room.
pub(crate) struct RoomTransfer {
    pub(crate) id: RoomId,
    pub(crate) room: Box<Room>,
    pub(crate) from: ShardIndex,
}
