//! A shard's knowledge of the other shards of its engine.
//!
//! A participant keeps the address that they were given when they joined: that of their *home*, the shard whose socket it is. When their
//! room moves, the home passes their datagrams on to the shard where the room is, and packets for them leave by the home's socket,
//! written there by the thread that runs the room. The client can't see the difference.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::command::{RoomId, ShardIndex};
use crate::command_queues::CommandQueues;
use crate::shard_message::{Message, Pending, ShardMessage};

/// The other shards, and messages for them.
#[derive(Default)]
pub(crate) struct Neighbours {
    /// The shard's own index.
    pub(crate) index: ShardIndex,
    /// The commands for all shards, and the locations of rooms that have moved.
    pub(crate) queues: Arc<CommandQueues>,
    /// The shards to which rooms went that were here, for their participants' datagrams.
    pub(crate) moved: HashMap<RoomId, ShardIndex>,
    /// Rooms that leave once all events about them have been handed on.
    pub(crate) outgoing: BTreeMap<RoomId, ShardIndex>,
    /// Whether rooms have come whose [`Event::RoomMoved`](crate::Event::RoomMoved) hasn't been handed on yet.
    pub(crate) unacknowledged: bool,
    messages: VecDeque<(ShardIndex, ShardMessage)>,
    pending: BTreeMap<ShardIndex, BTreeSet<Pending>>,
}

impl Neighbours {
    /// The next message, and the shard that it is for.
    pub(crate) fn poll(&mut self) -> Option<(ShardIndex, ShardMessage)> {
        self.messages.pop_front()
    }

    pub(crate) fn send(&mut self, to: ShardIndex, message: Message) {
        self.messages.push_back((to, ShardMessage(message)));
    }

    pub(crate) fn send_to_all(&mut self, message: impl Fn() -> Message) {
        for to in (0..self.queues.shards()).filter(|to| *to != self.index) {
            self.messages.push_back((to, ShardMessage(message())));
        }
    }

    /// Remembers the subject of a message that can't be delivered.
    pub(crate) fn defer(&mut self, to: ShardIndex, message: &ShardMessage) {
        if let Some(subject) = message.pending() {
            self.pending.entry(to).or_default().insert(subject);
        }
    }

    /// The next subject on which a shard is to be informed.
    pub(crate) fn next_pending(&mut self, to: ShardIndex) -> Option<Pending> {
        let pending = self.pending.get_mut(&to)?;
        let next = pending.pop_first();
        if pending.is_empty() {
            self.pending.remove(&to);
        }
        next
    }

    /// Whether there is any.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }
}
