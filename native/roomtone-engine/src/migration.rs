//! Migration: a room leaves a shard, another takes it in, and the shards tell each other where it is.

use std::sync::Arc;
use std::time::Instant;

use roomtone_transport::{Outbox, Packet};

use crate::command::{Event, RoomId, ShardIndex};
use crate::command_queues::CommandQueues;
use crate::room::Room;
use crate::shard::Shard;
use crate::shard_message::{Message, Pending, ShardMessage};
use crate::transfer::RoomTransfer;

impl Shard {
    /// Makes this the shard of that `index` among those with these `queues`. Without it, a shard is alone.
    pub fn in_engine(mut self, index: ShardIndex, queues: Arc<CommandQueues>) -> Shard {
        self.context.index = index;
        self.neighbours.index = index;
        self.neighbours.queues = queues;
        self
    }

    /// The shard begins an epoch, perhaps in the place of one that failed: the rooms of that one are lost, and the other shards are told.
    pub fn announce_restart(&mut self) {
        let neighbours = &mut self.neighbours;
        let index = neighbours.index;
        let lost = neighbours.queues.restart(index);
        neighbours.send_to_all(|| Message::Restarted);
        for (room, visited) in lost.rooms {
            for shard in visited.into_iter().filter(|shard| *shard != index) {
                neighbours.send(shard, Message::RoomGone(room));
            }
        }
        // As far as events tell, these rooms are still at the shards that they came from, where nothing has happened.
        for (room, from) in lost.unacknowledged {
            self.context.events.push_back(Event::RoomMoved { room, from });
            self.context.events.push_back(Event::RoomFailed { room });
        }
    }

    /// Call this when all events have been handed on: rooms that are to move leave now.
    pub fn commit_moves(&mut self) {
        let neighbours = &mut self.neighbours;
        if std::mem::take(&mut neighbours.unacknowledged) {
            neighbours.queues.acknowledge(neighbours.index);
        }
        for (room, to) in std::mem::take(&mut neighbours.outgoing) {
            self.send_room(room, to);
        }
    }

    /// The next message for another shard.
    pub fn poll_message(&mut self) -> Option<(ShardIndex, ShardMessage)> {
        self.neighbours.poll()
    }

    /// The datagrams to send by the sockets of other shards. As [`Shard::outbox`].
    pub fn outboxes(&mut self) -> impl Iterator<Item = (ShardIndex, &mut Outbox)> {
        let outboxes = self.context.remote_outboxes.iter_mut();
        outboxes.map(|(home, outbox)| (*home, outbox))
    }

    /// A message from another shard.
    pub fn handle_message(&mut self, now: Instant, from: ShardIndex, message: ShardMessage) {
        match message.0 {
            Message::Datagram {
                destination,
                from,
                mut data,
            } => {
                // It may have overtaken its room.
                if !self.rooms.contains_key(&destination.0) {
                    self.take_in_all(now);
                }
                self.deliver(now, destination, from, Packet::read(&mut data));
            }
            Message::Arrived { from, mut data } => self.handle_datagram(now, from, &mut data),
            // The driver, which has the connections, takes these for itself.
            Message::Transmit { .. } => {}
            // Believed only from the shard that has the room: it has sent all routes as it took the room in, and others are older.
            Message::Route(destination, route) => {
                if self.neighbours.queues.is_at(destination.0, from) {
                    self.context.routes.apply(destination, route);
                }
            }
            Message::RoomHere(room, routes) => {
                if self.neighbours.queues.is_at(room, from) {
                    self.context.routes.replace_room(room, routes);
                    self.neighbours.moved.insert(room, from);
                }
            }
            Message::RoomGone(room) => self.forget_moved(room),
            Message::Restarted => self.neighbour_restarted(from),
        }
    }

    /// A message couldn't be delivered: [`Shard::resend`] sends the state of its subject later.
    pub fn defer(&mut self, to: ShardIndex, message: &ShardMessage) {
        self.neighbours.defer(to, message);
    }

    /// Sends another shard the present state of what was deferred, in at most so many messages.
    pub fn resend(&mut self, to: ShardIndex, at_most: usize) {
        for _ in 0..at_most {
            match self.neighbours.next_pending(to) {
                Some(Pending::Restarted) => self.neighbours.send(to, Message::Restarted),
                Some(Pending::Room(room)) if self.rooms.contains_key(&room) => self.tell_where(room, to),
                Some(Pending::Room(room)) => self.neighbours.send(to, Message::RoomGone(room)),
                None => return,
            }
        }
    }

    /// Whether something is deferred.
    pub fn has_pending(&self) -> bool {
        self.neighbours.has_pending()
    }

    /// Marks a room as outgoing, if it is here and the other shard exists. The last of several moves counts.
    pub(crate) fn move_room(&mut self, room: RoomId, to: ShardIndex) {
        let neighbours = &mut self.neighbours;
        if to == neighbours.index {
            neighbours.outgoing.remove(&room);
        } else if to < neighbours.queues.shards() && self.rooms.get(&room).is_some_and(Room::may_move) {
            neighbours.outgoing.insert(room, to);
        }
    }

    fn send_room(&mut self, id: RoomId, to: ShardIndex) {
        let neighbours = &mut self.neighbours;
        if !neighbours.queues.accepts(to) {
            log::warn!("room {id} stays, as shard {to} is too far behind to take it");
            return;
        }
        let Some(room) = self.rooms.remove(&id) else { return };
        self.timers.remove(&id);
        neighbours.moved.insert(id, to);
        let (room, from) = (Box::new(room), neighbours.index);
        neighbours.queues.send(to, RoomTransfer { id, room, from });
    }

    /// Takes in all rooms that have come.
    pub(crate) fn take_in_all(&mut self, now: Instant) {
        let (queues, index) = (self.neighbours.queues.clone(), self.neighbours.index);
        while let Some(transfer) = queues.take_room(index) {
            self.take_in(now, transfer);
        }
    }

    pub(crate) fn take_in(&mut self, now: Instant, transfer: RoomTransfer) {
        let RoomTransfer { id, room, from } = transfer;
        let neighbours = &mut self.neighbours;
        neighbours.moved.remove(&id);
        neighbours.unacknowledged = true;
        self.context.routes.replace_room(id, room.routes_by(neighbours.index));
        if room.suppresses_noise() {
            self.suppresses = true;
            self.prepare_thread();
        }
        self.rooms.insert(id, *room);
        self.context.events.push_back(Event::RoomMoved { room: id, from });
        // All shards where it was send here from now on, so the end of one between costs them nothing.
        let neighbours = &self.neighbours;
        for shard in neighbours.queues.arrived(id, neighbours.index) {
            self.tell_where(id, shard);
        }
        // Ticks that came due on the way are made up.
        self.try_in_room(now, id, |room, context| room.handle_timeout(now, context));
    }

    /// Tells another shard that a room is here, and all routes of those whose home that is.
    fn tell_where(&mut self, id: RoomId, shard: ShardIndex) {
        if let Some(room) = self.rooms.get(&id) {
            let routes = room.routes_by(shard);
            self.neighbours.send(shard, Message::RoomHere(id, routes));
        }
    }

    /// A room has ended: the shards where it was have something to forget.
    pub(crate) fn tell_gone(&mut self, room: RoomId) {
        let neighbours = &mut self.neighbours;
        for shard in neighbours.queues.take_visited(room) {
            neighbours.send(shard, Message::RoomGone(room));
        }
    }

    fn forget_moved(&mut self, room: RoomId) {
        let neighbours = &mut self.neighbours;
        // Not if the room has come back since the message was sent.
        if !neighbours.queues.concerns(room, neighbours.index) && neighbours.moved.remove(&room).is_some() {
            self.context.routes.remove_room(room);
        }
    }

    /// Another shard has restarted. Rooms that moved here from there aren't lost, but that shard must learn again where they are.
    fn neighbour_restarted(&mut self, shard: ShardIndex) {
        let mut here: Vec<RoomId> = self.rooms.keys().copied().collect();
        here.retain(|room| self.neighbours.queues.has_left(*room, shard));
        for room in here {
            self.tell_where(room, shard);
        }
    }
}
