//! How a shard lets a room go to another, takes one in, and hands on what is for rooms that have moved.

use std::time::Instant;

use crate::command::{Command, Event, RoomId};
use crate::relay::{Moving, Parcel, Relay, ShardIndex};
use crate::routes::Place;
use crate::shard::Shard;

impl Shard {
    /// This shard is one of `count`, the one of this `index`. Without it, it is alone.
    pub fn among(mut self, index: ShardIndex, count: usize) -> Shard {
        self.common.neighbours.index = index;
        self.common.neighbours.count = count;
        self
    }

    /// This shard takes the place of one that broke: the others should know.
    pub fn reborn(&mut self) {
        self.common.neighbours.tell_all(|| Parcel::Reborn);
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
            Parcel::Room(moving) => self.take_in(now, from, *moving),
            Parcel::Datagram { place, from, mut data } => self.deliver(now, place, from, &mut data),
            Parcel::Command(command) => self.handle_command(now, command),
            Parcel::Route(place, route) => route.apply(&mut self.common.routes, place),
            Parcel::Gone(room) => self.forget_moved(room),
            Parcel::Lives(room) => self.lives_elsewhere(room, from),
            Parcel::Reborn => self.neighbour_reborn(now, from),
        }
    }

    /// Sends a room on its way. Of a room that isn't here, or has nowhere else to go, nothing comes.
    pub(crate) fn move_room(&mut self, room: RoomId, to: ShardIndex) {
        let neighbours = &mut self.common.neighbours;
        if to == neighbours.index || to >= neighbours.count {
            return;
        }
        let Some(moving) = self.rooms.remove(&room) else {
            return;
        };
        self.timers.remove(&room);
        self.common.stats.peers -= moving.len() as u64;
        self.common.stats.rooms = self.rooms.len() as u64;
        let mut trail = neighbours.trails.remove(&room).unwrap_or_default();
        trail.retain(|shard| *shard != to && *shard != neighbours.index);
        trail.push(neighbours.index);
        neighbours.moved.insert(room, to);
        let moving = Moving {
            id: room,
            room: moving,
            trail,
        };
        neighbours.tell(to, Parcel::Room(Box::new(moving)));
    }

    fn take_in(&mut self, now: Instant, from: ShardIndex, moving: Moving) {
        let Moving { id, room, trail } = moving;
        self.common.neighbours.moved.remove(&id);
        // Those where it was before that, too, send here from now on: should the one between break, nothing is lost to them.
        for shard in trail.iter().copied().filter(|shard| *shard != from) {
            self.common.neighbours.tell(shard, Parcel::Lives(id));
        }
        self.common.neighbours.trails.insert(id, trail);
        self.common.stats.peers += room.len() as u64;
        self.rooms.insert(id, room);
        self.common.stats.rooms = self.rooms.len() as u64;
        self.common.events.push_back(Event::RoomMoved { room: id, from });
        // Ticks that came due on the way are made up for.
        self.in_room(now, id, |room, common| room.handle_timeout(now, common));
    }

    /// A datagram for somebody in a room that is here, or was.
    pub(crate) fn deliver(&mut self, now: Instant, place: Place, from: std::net::SocketAddr, datagram: &mut [u8]) {
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

    /// Hands on an order about a room that has moved; gives back any other.
    pub(crate) fn hand_on(&mut self, command: Command) -> Option<Command> {
        let to = command
            .room()
            .filter(|room| !self.rooms.contains_key(room))
            .and_then(|room| self.common.neighbours.moved.get(&room).copied());
        match to {
            Some(to) => {
                self.common.neighbours.tell(to, Parcel::Command(command));
                None
            }
            None => Some(command),
        }
    }

    /// A room that is no more on this shard: those where it was have something to forget.
    pub(crate) fn tell_gone(&mut self, room: RoomId) {
        let neighbours = &mut self.common.neighbours;
        for shard in neighbours.trails.remove(&room).unwrap_or_default() {
            neighbours.tell(shard, Parcel::Gone(room));
        }
    }

    fn forget_moved(&mut self, room: RoomId) {
        if self.common.neighbours.moved.remove(&room).is_some() {
            self.common.routes.remove_room(room);
        }
    }

    fn neighbour_reborn(&mut self, now: Instant, shard: ShardIndex) {
        // What moved there is lost.
        let moved = &self.common.neighbours.moved;
        let lost: Vec<RoomId> = moved
            .iter()
            .filter(|(_, to)| **to == shard)
            .map(|(room, _)| *room)
            .collect();
        for room in lost {
            self.forget_moved(room);
            self.common.neighbours.tell_all(|| Parcel::Gone(room));
        }
        // What moved here from there is not, but its participants' datagrams are handed over no more.
        let here: Vec<RoomId> = self.rooms.keys().copied().collect();
        for id in here {
            self.in_room(now, id, |room, common| {
                for (peer, route) in room.routes_by(shard) {
                    common.neighbours.tell(shard, Parcel::Route((id, peer), route));
                }
            });
            if let Some(trail) = self.common.neighbours.trails.get(&id)
                && trail.contains(&shard)
            {
                self.common.neighbours.tell(shard, Parcel::Lives(id));
            }
        }
    }

    /// Another shard has a room whose participants' home this is.
    fn lives_elsewhere(&mut self, room: RoomId, shard: ShardIndex) {
        if !self.rooms.contains_key(&room) {
            self.common.neighbours.moved.insert(room, shard);
        }
    }
}

impl Command {
    /// The room that it is about.
    fn room(&self) -> Option<RoomId> {
        match self {
            Command::OpenRoom { room }
            | Command::SetKind { room, .. }
            | Command::MoveRoom { room, .. }
            | Command::CloseRoom { room }
            | Command::Join { room, .. }
            | Command::Reoffer { room, .. }
            | Command::Leave { room, .. }
            | Command::SetSpeak { room, .. }
            | Command::SetListen { room, .. }
            | Command::SetPolicy { room, .. }
            | Command::SetGains { room, .. }
            | Command::PeerStats { room, .. } => Some(*room),
            #[cfg(debug_assertions)]
            Command::Fault { room } => *room,
        }
    }
}
