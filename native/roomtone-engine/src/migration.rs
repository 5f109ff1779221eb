//! Migration: a room leaves a shard, another takes it in, and the shards tell each other where it is.

use std::sync::Arc;
use std::time::Instant;

use crate::command::{Event, RoomId, ShardIndex};
use crate::orders::Orders;
use crate::relay::{Debt, Parcel, Relay};
use crate::shard::Shard;
use crate::transfer::RoomTransfer;

impl Shard {
    /// This shard is the one of this `index` of those that these `orders` are for. Without it, it is alone.
    pub fn among(mut self, index: ShardIndex, orders: Arc<Orders>) -> Shard {
        self.context.index = index;
        self.neighbours.index = index;
        self.neighbours.orders = orders;
        self
    }

    /// This shard begins its life in the place of one that broke, perhaps: what was in that one is lost, and the others should know.
    pub fn reborn(&mut self) {
        let neighbours = &mut self.neighbours;
        let index = neighbours.index;
        let lost = neighbours.orders.restart(index);
        neighbours.tell_all(|| Parcel::Reborn);
        for (room, trail) in lost.trails {
            for shard in trail.into_iter().filter(|shard| *shard != index) {
                neighbours.tell(shard, Parcel::Gone(room));
            }
        }
        // To those outside these are still where they came from, where nothing has happened.
        for (room, from) in lost.unheard {
            self.context.events.push_back(Event::RoomMoved { room, from });
            self.context.events.push_back(Event::RoomFailed { room });
        }
    }

    /// Call it when all events have been handed on: now rooms may leave whose moves were ordered.
    pub fn settle(&mut self) {
        let neighbours = &mut self.neighbours;
        if std::mem::take(&mut neighbours.unheard) {
            neighbours.orders.heard(neighbours.index);
        }
        for (room, to) in std::mem::take(&mut neighbours.departing) {
            self.send_off(room, to);
        }
    }

    /// The next piece of news for another shard.
    pub fn poll_relay(&mut self) -> Option<(ShardIndex, Relay)> {
        self.neighbours.poll()
    }

    /// Datagrams that are to be sent by the sockets of other shards. As [`Shard::outbox`].
    pub fn outboxes(&mut self) -> impl Iterator<Item = (ShardIndex, &mut roomtone_transport::Outbox)> {
        let outboxes = self.context.remote_outboxes.iter_mut();
        outboxes.map(|(home, outbox)| (*home, outbox))
    }

    /// News from another shard.
    pub fn handle_relay(&mut self, now: Instant, from: ShardIndex, relay: Relay) {
        match relay.0 {
            Parcel::Datagram {
                destination,
                from,
                mut data,
            } => {
                // It may be quicker than the room that it is for.
                if !self.rooms.contains_key(&destination.0) {
                    self.take_in_all(now);
                }
                self.deliver(now, destination, from, &mut data);
            }
            // Believed only from where the room is: who takes it in tells all its routes, and what comes later is older.
            Parcel::Route(destination, route) => {
                if self.neighbours.orders.is_at(destination.0, from) {
                    self.context.routes.apply(destination, route);
                }
            }
            Parcel::Lives(room, routes) => {
                if self.neighbours.orders.is_at(room, from) {
                    self.context.routes.replace_room(room, routes);
                    self.neighbours.moved.insert(room, from);
                }
            }
            Parcel::Gone(room) => self.forget_moved(room),
            Parcel::Reborn => self.neighbour_reborn(from),
        }
    }

    /// A piece of news that couldn't be delivered: what it is about is told by [`Shard::make_good`] instead.
    pub fn put_off(&mut self, to: ShardIndex, relay: &Relay) {
        self.neighbours.put_off(to, relay);
    }

    /// Tells another shard what was put off, as things are now, in at most so many pieces of news.
    pub fn make_good(&mut self, to: ShardIndex, at_most: usize) {
        for _ in 0..at_most {
            match self.neighbours.next_debt(to) {
                Some(Debt::Reborn) => self.neighbours.tell(to, Parcel::Reborn),
                Some(Debt::Room(room)) if self.rooms.contains_key(&room) => self.tell_where(room, to),
                Some(Debt::Room(room)) => self.neighbours.tell(to, Parcel::Gone(room)),
                None => return,
            }
        }
    }

    /// Whether something is put off.
    pub fn owes(&self) -> bool {
        self.neighbours.owes()
    }

    /// Of a room that isn't here, or has nowhere else to go, nothing comes. If it is told twice, it goes to the last.
    pub(crate) fn move_room(&mut self, room: RoomId, to: ShardIndex) {
        let neighbours = &mut self.neighbours;
        if to == neighbours.index {
            neighbours.departing.remove(&room);
        } else if to < neighbours.orders.shards() && self.rooms.contains_key(&room) {
            neighbours.departing.insert(room, to);
        }
    }

    fn send_off(&mut self, id: RoomId, to: ShardIndex) {
        let neighbours = &mut self.neighbours;
        if !neighbours.orders.accepts(to) {
            log::warn!("room {id} stays, as shard {to} is too far behind to take it");
            return;
        }
        let Some(room) = self.rooms.remove(&id) else { return };
        self.timers.remove(&id);
        neighbours.moved.insert(id, to);
        let (room, from) = (Box::new(room), neighbours.index);
        neighbours.orders.send(to, RoomTransfer { id, room, from });
    }

    /// Takes in all rooms that have come.
    pub(crate) fn take_in_all(&mut self, now: Instant) {
        let (orders, index) = (self.neighbours.orders.clone(), self.neighbours.index);
        while let Some(moving) = orders.take_room(index) {
            self.take_in(now, moving);
        }
    }

    pub(crate) fn take_in(&mut self, now: Instant, moving: RoomTransfer) {
        let RoomTransfer { id, room, from } = moving;
        let neighbours = &mut self.neighbours;
        neighbours.moved.remove(&id);
        neighbours.unheard = true;
        self.context.routes.replace_room(id, room.routes_by(neighbours.index));
        self.rooms.insert(id, *room);
        self.context.events.push_back(Event::RoomMoved { room: id, from });
        // All where it was send here from now on: should one between break, nothing is lost to them.
        let neighbours = &self.neighbours;
        for shard in neighbours.orders.arrived(id, neighbours.index) {
            self.tell_where(id, shard);
        }
        // Ticks that came due on the way are made up for.
        self.try_in_room(now, id, |room, context| room.handle_timeout(now, context));
    }

    /// Tells another shard that a room is here, and all routes of those whose home that is.
    fn tell_where(&mut self, id: RoomId, shard: ShardIndex) {
        if let Some(room) = self.rooms.get(&id) {
            let routes = room.routes_by(shard);
            self.neighbours.tell(shard, Parcel::Lives(id, routes));
        }
    }

    /// A room that is no more: those where it was have something to forget.
    pub(crate) fn tell_gone(&mut self, room: RoomId) {
        let neighbours = &mut self.neighbours;
        for shard in neighbours.orders.take_trail(room) {
            neighbours.tell(shard, Parcel::Gone(room));
        }
    }

    fn forget_moved(&mut self, room: RoomId) {
        let neighbours = &mut self.neighbours;
        // Not if it has come again since that was said.
        if !neighbours.orders.concerns(room, neighbours.index) && neighbours.moved.remove(&room).is_some() {
            self.context.routes.remove_room(room);
        }
    }

    /// What moved here from there isn't lost, but its participants' datagrams are handed over no more.
    fn neighbour_reborn(&mut self, shard: ShardIndex) {
        let mut here: Vec<RoomId> = self.rooms.keys().copied().collect();
        here.retain(|room| self.neighbours.orders.has_left(*room, shard));
        for room in here {
            self.tell_where(room, shard);
        }
    }
}
