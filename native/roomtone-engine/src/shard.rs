//! The pure core of a shard: rooms, and the way of datagrams, commands and time to them.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomtone_audio::FRAME_DURATION;
use roomtone_transport::{Certificate, Offer, Outbox, TransportConfig};

use crate::command::{Command, Event, PeerId, RefusalCode, RoomId};
use crate::config::MixConfig;
use crate::context::{Common, Scratch};
use crate::panics::panic_message;
use crate::relay::Neighbours;
use crate::room::Room;
use crate::routes::Routes;
use crate::shed::{Round, Shed};
use crate::stats::ShardStats;
use crate::timers::Timers;

/// Rooms and their participants behind one UDP socket. Reads no clock and does no I/O: see the crate's documentation.
pub struct Shard {
    pub(crate) rooms: HashMap<RoomId, Room>,
    pub(crate) timers: Timers<RoomId>,
    pub(crate) common: Common,
    max_peers: usize,
    rooms_made: u64,
}

impl Shard {
    /// An empty shard. `transport` holds the addresses to announce and the wall clock's relation to `now`.
    pub fn new(
        now: Instant,
        transport: TransportConfig,
        certificate: Arc<Certificate>,
        mix: MixConfig,
        max_peers: usize,
    ) -> Shard {
        let common = Common {
            mix,
            transport: Arc::new(transport),
            certificate,
            origin: now,
            routes: Routes::default(),
            events: VecDeque::new(),
            outbox: Outbox::new(),
            stats: ShardStats::default(),
            scratch: Scratch::default(),
            shed: Shed::default(),
            neighbours: Neighbours::default(),
        };
        Shard {
            rooms: HashMap::new(),
            timers: Timers::default(),
            common,
            max_peers,
            rooms_made: 0,
        }
    }

    /// A datagram has come in. It is decrypted in place.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        self.common.stats.datagrams_in += 1;
        match self.common.routes.find(from, datagram) {
            Some(place) => self.deliver(now, place, from, datagram),
            None => self.common.stats.datagrams_unknown += 1,
        }
    }

    /// Carries out a command. What comes of it is told by [`Shard::poll_event`]. Where there are other shards, commands come by way of
    /// [`Orders`](crate::Orders) and [`Shard::take_order`].
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::MoveRoom { room, to } => self.move_room(room, to),
            Command::OpenRoom { room } => self.open_room(room),
            Command::SetKind { room, stereo, slots } => {
                self.in_room(now, room, |room, _| room.set_kind(stereo, slots));
            }
            Command::CloseRoom { room } => {
                self.in_room(now, room, |room, common| room.close(now, common));
                self.forget_room(room);
                self.common.neighbours.orders.forget(room);
            }
            Command::Join {
                room,
                peer,
                offer,
                speak,
                listen,
            } => self.join(now, room, peer, &offer, speak, listen),
            Command::Reoffer { room, peer, offer } => self.reoffer(now, room, peer, &offer),
            Command::Leave { room, peer } => {
                self.in_room(now, room, |room, common| room.leave(now, common, peer));
            }
            Command::SetSpeak { room, peer, speak } => {
                self.in_room(now, room, |room, common| room.set_speak(now, common, peer, speak));
            }
            Command::SetListen { room, peer, listen } => {
                self.in_room(now, room, |room, _| room.set_listen(peer, listen));
            }
            Command::SetPolicy {
                room,
                default_gain,
                max_talkers,
                select,
            } => {
                self.in_room(now, room, |room, _| {
                    room.set_policy(now, default_gain, max_talkers, select)
                });
            }
            Command::SetGains { room, cells } => {
                self.in_room(now, room, |room, _| room.set_gains(now, &cells));
            }
            Command::PeerStats { room, peer, reference } => {
                let stats = self.in_room(now, room, |room, _| room.peer_stats(peer)).flatten();
                self.common.events.push_back(Event::PeerStats {
                    reference,
                    stats: stats.map(Box::new),
                });
            }
            #[cfg(debug_assertions)]
            Command::Fault { room: None } => panic!("a fault was asked for"),
            #[cfg(debug_assertions)]
            Command::Fault { room: Some(room) } => {
                self.in_room(now, room, |room, _| room.fail_at_next_tick(now));
            }
        }
    }

    /// Time has passed: ticks of rooms, retransmissions, reports, consent. Harmless when nothing is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(room) = self.timers.fire(now) {
            self.in_room(now, room, |room, common| room.handle_timeout(now, common));
        }
    }

    /// When [`Shard::handle_timeout`] should be called next; ask again after every call into the shard.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.timers.next()
    }

    /// The datagrams to send, in this order; whoever has sent them [`clear`](Outbox::clear)s it.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.common.outbox
    }

    /// The next piece of news.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.common.events.pop_front()
    }

    /// The share of the last second (0…1) in which the shard worked, measured by whoever runs it. Under too much of it the shard
    /// gives up Opus complexity first, then all but the loudest talkers, then newcomers; when it is calm again it takes them back.
    pub fn handle_load(&mut self, now: Instant, load: f32) {
        if self.common.shed.report(now, load) {
            self.tell_shed(format_args!("the load of a second is {load:.2}"));
        }
    }

    /// What the thread of whoever runs the shard did in the last 20 ms or a little more. When ticks take nearly all of that, or begin
    /// late because the thread is busy, over some rounds, the shard gives something up without waiting for the second to end.
    pub fn handle_round(&mut self, now: Instant, round: Round) {
        let ticking = round.ticking_per_frame();
        if ticking > Duration::ZERO {
            self.common.stats.tick_duration.record(ticking);
        }
        if self.common.shed.round(now, &round) {
            self.tell_shed(format_args!(
                "ticks take {} ms in 20 ms, or are late",
                ticking.as_millis()
            ));
        }
    }

    fn tell_shed(&mut self, why: std::fmt::Arguments<'_>) {
        let level = self.common.shed.level();
        self.common.events.push_back(Event::Shed { level });
        let (level, stats) = (u64::from(level), &mut self.common.stats);
        if level > stats.shed_level {
            stats.shed_steps += 1;
            log::warn!("{why}: shedding at level {level}");
        } else {
            log::info!("{why}: shedding is back to level {level}");
        }
        stats.shed_level = level;
    }

    /// Ends every room and says goodbye to everybody.
    pub fn close(&mut self, now: Instant) {
        self.take_in_all(now);
        let rooms: Vec<RoomId> = self.rooms.keys().copied().collect();
        for room in rooms {
            self.handle_command(now, Command::CloseRoom { room });
        }
    }

    /// The shard's figures. What only the driver knows is zero in it.
    pub fn stats(&self) -> &ShardStats {
        &self.common.stats
    }

    /// How many addresses, ufrags and participants the shard remembers: strangers must not be able to make these grow.
    pub fn remembered(&self) -> (usize, usize, usize) {
        let (addresses, ufrags) = self.common.routes.sizes();
        (addresses, ufrags, self.rooms.values().map(Room::len).sum())
    }

    fn open_room(&mut self, id: RoomId) {
        if self.rooms.contains_key(&id) {
            return;
        }
        self.rooms_made += 1;
        self.rooms
            .insert(id, Room::new(id, self.common.origin + tick_phase(self.rooms_made)));
        self.common.stats.rooms = self.rooms.len() as u64;
    }

    fn join(&mut self, now: Instant, room: RoomId, peer: PeerId, offer: &str, speak: bool, listen: bool) {
        let refused = |code, message: String| Event::Refused {
            room,
            peer,
            code,
            message,
        };
        if !self.rooms.contains_key(&room) {
            return self
                .common
                .events
                .push_back(refused("no_room", "the room is not open".to_owned()));
        }
        if self.common.stats.peers as usize >= self.max_peers {
            return self.common.events.push_back(refused(
                "shard_full",
                "the server takes no more participants".to_owned(),
            ));
        }
        if self.common.shed.refuses_joins() {
            let message = "the server has too much to do to take newcomers now".to_owned();
            return self.common.events.push_back(refused("overloaded", message));
        }
        match parse(offer) {
            Ok(offer) => {
                self.in_room(now, room, |room, common| {
                    room.join(now, common, peer, &offer, speak, listen)
                });
            }
            Err((code, message)) => self.common.events.push_back(refused(code, message)),
        }
    }

    fn reoffer(&mut self, now: Instant, room: RoomId, peer: PeerId, offer: &str) {
        let refused = |code, message: String| Event::Refused {
            room,
            peer,
            code,
            message,
        };
        match parse(offer) {
            Ok(offer) => {
                let there = self.in_room(now, room, |room, common| room.reoffer(now, common, peer, &offer));
                if there.is_none() {
                    self.common
                        .events
                        .push_back(refused("no_room", "the room is not open".to_owned()));
                }
            }
            Err((code, message)) => self.common.events.push_back(refused(code, message)),
        }
    }

    // Every call into a room goes through here: a bug in one room costs that room alone.
    pub(crate) fn in_room<R>(
        &mut self,
        now: Instant,
        id: RoomId,
        call: impl FnOnce(&mut Room, &mut Common) -> R,
    ) -> Option<R> {
        let room = self.rooms.get_mut(&id)?;
        let common = &mut self.common;
        match catch_unwind(AssertUnwindSafe(|| call(room, common))) {
            Ok(result) => {
                if let Some(due) = room.poll_timeout() {
                    self.timers.at(id, due.max(now));
                }
                Some(result)
            }
            Err(panic) => {
                log::error!("room {id} failed and is closed: {}", panic_message(panic.as_ref()));
                self.forget_room(id);
                self.common.events.push_back(Event::RoomFailed { room: id });
                None
            }
        }
    }

    fn forget_room(&mut self, id: RoomId) {
        if let Some(room) = self.rooms.remove(&id) {
            self.common.stats.peers -= room.len() as u64;
            self.common.routes.remove_room(id);
            self.tell_gone(id);
        }
        self.timers.remove(&id);
        self.common.neighbours.departing.remove(&id);
        self.common.stats.rooms = self.rooms.len() as u64;
    }
}

// The largest parser of hostile text that we didn't write: a panic in it refuses the offer and costs nobody else anything.
fn parse(offer: &str) -> Result<Offer, (RefusalCode, String)> {
    match catch_unwind(|| Offer::parse(offer)) {
        Ok(parsed) => parsed.map_err(|error| (error.code(), error.to_string())),
        Err(panic) => {
            log::error!("the SDP parser failed: {}", panic_message(panic.as_ref()));
            Err(("malformed", "the SDP can't be read".to_owned()))
        }
    }
}

/// Where in the 20 ms the n-th room ticks: golden-ratio steps, so that however many rooms there are, they are spread evenly.
fn tick_phase(n: u64) -> Duration {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    FRAME_DURATION.mul_f64((n as f64 * GOLDEN).fract())
}
