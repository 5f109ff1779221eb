//! How a shard lets a room go to another and takes one in, and what it hands on for rooms that have moved.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::command::{Event, RoomId};
use crate::orders::{Order, Orders};
use crate::relay::{Debt, Moving, Parcel, Relay, ShardIndex};
use crate::routes::Place;
use crate::shard::Shard;

impl Shard {
    /// This shard is the one of this `index` of those that these `orders` are for. Without it, it is alone.
    pub fn among(mut self, index: ShardIndex, orders: Arc<Orders>) -> Shard {
        self.common.neighbours.index = index;
        self.common.neighbours.orders = orders;
        self
    }

    /// This shard begins its life in the place of one that broke, perhaps: what was in that one is lost, and the others should know.
    pub fn reborn(&mut self) {
        let neighbours = &mut self.common.neighbours;
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
            self.common.events.push_back(Event::RoomMoved { room, from });
            self.common.events.push_back(Event::RoomFailed { room });
        }
    }

    /// Carries out what is next to be done, if there is anything.
    pub fn take_order(&mut self, now: Instant) -> bool {
        let neighbours = &self.common.neighbours;
        match neighbours.orders.take(neighbours.index) {
            Some(Order::TakeIn(moving)) => self.take_in(now, moving),
            Some(Order::Command(command)) => self.handle_command(now, command),
            None => return false,
        }
        true
    }

    /// Call it when all events have been handed on: now rooms may leave whose moves were ordered.
    pub fn settle(&mut self) {
        let neighbours = &mut self.common.neighbours;
        if std::mem::take(&mut neighbours.unheard) {
            neighbours.orders.heard(neighbours.index);
        }
        for (room, to) in std::mem::take(&mut neighbours.departing) {
            self.send_off(room, to);
        }
    }

    /// The next piece of news for another shard.
    pub fn poll_relay(&mut self) -> Option<(ShardIndex, Relay)> {
        self.common.neighbours.poll()
    }

    /// Datagrams that are to be sent by the sockets of other shards. As [`Shard::outbox`].
    pub fn outboxes(&mut self) -> impl Iterator<Item = (ShardIndex, &mut roomtone_transport::Outbox)> {
        let outboxes = self.common.neighbours.outboxes.iter_mut();
        outboxes.map(|(home, outbox)| (*home, outbox))
    }

    /// News from another shard.
    pub fn handle_relay(&mut self, now: Instant, from: ShardIndex, relay: Relay) {
        match relay.0 {
            Parcel::Datagram { place, from, mut data } => {
                // It may be quicker than the room that it is for.
                if !self.rooms.contains_key(&place.0) {
                    self.take_in_all(now);
                }
                self.deliver(now, place, from, &mut data);
            }
            // Believed only from where the room is: who takes it in tells all its routes, and what comes later is older.
            Parcel::Route(place, route) => {
                if self.common.neighbours.orders.is_at(place.0, from) {
                    route.apply(&mut self.common.routes, place);
                }
            }
            Parcel::Lives(room, routes) => {
                if self.common.neighbours.orders.is_at(room, from) {
                    self.common.routes.replace_room(room, routes);
                    self.common.neighbours.moved.insert(room, from);
                }
            }
            Parcel::Gone(room) => self.forget_moved(room),
            Parcel::Reborn => self.neighbour_reborn(from),
        }
    }

    /// A piece of news that couldn't be delivered: what it is about is told by [`Shard::make_good`] instead.
    pub fn put_off(&mut self, to: ShardIndex, relay: &Relay) {
        self.common.neighbours.put_off(to, relay);
    }

    /// Tells another shard what was put off, as things are now, in at most so many pieces of news.
    pub fn make_good(&mut self, to: ShardIndex, at_most: usize) {
        for _ in 0..at_most {
            match self.common.neighbours.next_debt(to) {
                Some(Debt::Reborn) => self.common.neighbours.tell(to, Parcel::Reborn),
                Some(Debt::Room(room)) if self.rooms.contains_key(&room) => self.tell_where(room, to),
                Some(Debt::Room(room)) => self.common.neighbours.tell(to, Parcel::Gone(room)),
                None => return,
            }
        }
    }

    /// Whether something is put off.
    pub fn owes(&self) -> bool {
        self.common.neighbours.owes()
    }

    /// Of a room that isn't here, or has nowhere else to go, nothing comes. If it is told twice, it goes to the last.
    pub(crate) fn move_room(&mut self, room: RoomId, to: ShardIndex) {
        let neighbours = &mut self.common.neighbours;
        if to == neighbours.index {
            neighbours.departing.remove(&room);
        } else if to < neighbours.orders.shards() && self.rooms.contains_key(&room) {
            neighbours.departing.insert(room, to);
        }
    }

    fn send_off(&mut self, id: RoomId, to: ShardIndex) {
        let neighbours = &mut self.common.neighbours;
        if !neighbours.orders.accepts(to) {
            log::warn!("room {id} stays, as shard {to} is too far behind to take it");
            return;
        }
        let Some(room) = self.rooms.remove(&id) else { return };
        self.timers.remove(&id);
        self.common.stats.peers -= room.len() as u64;
        self.common.stats.rooms = self.rooms.len() as u64;
        neighbours.moved.insert(id, to);
        let (room, from) = (Box::new(room), neighbours.index);
        neighbours.orders.send(to, Moving { id, room, from });
    }

    /// Takes in all rooms that have come.
    pub(crate) fn take_in_all(&mut self, now: Instant) {
        let (orders, index) = (self.common.neighbours.orders.clone(), self.common.neighbours.index);
        while let Some(moving) = orders.take_room(index) {
            self.take_in(now, moving);
        }
    }

    fn take_in(&mut self, now: Instant, moving: Moving) {
        let Moving { id, room, from } = moving;
        let neighbours = &mut self.common.neighbours;
        neighbours.moved.remove(&id);
        neighbours.unheard = true;
        self.common.routes.replace_room(id, room.routes_by(neighbours.index));
        self.common.stats.peers += room.len() as u64;
        self.rooms.insert(id, *room);
        self.common.stats.rooms = self.rooms.len() as u64;
        self.common.events.push_back(Event::RoomMoved { room: id, from });
        // All where it was send here from now on: should one between break, nothing is lost to them.
        let neighbours = &self.common.neighbours;
        for shard in neighbours.orders.arrived(id, neighbours.index) {
            self.tell_where(id, shard);
        }
        // Ticks that came due on the way are made up for.
        self.in_room(now, id, |room, common| room.handle_timeout(now, common));
    }

    /// Tells another shard that a room is here, and all routes of those whose home that is.
    fn tell_where(&mut self, id: RoomId, shard: ShardIndex) {
        if let Some(room) = self.rooms.get(&id) {
            let routes = room.routes_by(shard);
            self.common.neighbours.tell(shard, Parcel::Lives(id, routes));
        }
    }

    /// A datagram for somebody in a room that is here, or was.
    pub(crate) fn deliver(&mut self, now: Instant, place: Place, from: SocketAddr, datagram: &mut [u8]) {
        let (room, peer) = place;
        if self.rooms.contains_key(&room) {
            self.in_room(now, room, |room, common| {
                room.handle_datagram(now, common, peer, from, datagram)
            });
        } else if let Some(to) = self.common.neighbours.moved.get(&room).copied() {
            let data = datagram.to_vec();
            self.common.neighbours.tell(to, Parcel::Datagram { place, from, data });
        }
    }

    /// A room that is no more: those where it was have something to forget.
    pub(crate) fn tell_gone(&mut self, room: RoomId) {
        let neighbours = &mut self.common.neighbours;
        for shard in neighbours.orders.take_trail(room) {
            neighbours.tell(shard, Parcel::Gone(room));
        }
    }

    fn forget_moved(&mut self, room: RoomId) {
        let neighbours = &mut self.common.neighbours;
        // Not if it has come again since that was said.
        if !neighbours.orders.concerns(room, neighbours.index) && neighbours.moved.remove(&room).is_some() {
            self.common.routes.remove_room(room);
        }
    }

    /// What moved here from there isn't lost, but its participants' datagrams are handed over no more.
    fn neighbour_reborn(&mut self, shard: ShardIndex) {
        let mut here: Vec<RoomId> = self.rooms.keys().copied().collect();
        here.retain(|room| self.common.neighbours.orders.has_left(*room, shard));
        for room in here {
            self.tell_where(room, shard);
        }
    }
}
