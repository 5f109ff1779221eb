//! The pure core of a shard: rooms, and the way of datagrams, commands and time to them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomtone_audio::{AudioError, FRAME_DURATION, NoiseSuppressor};
use roomtone_transport::{Certificate, Offer, Outbox, Packet, TransportConfig};
use roomtone_trunk::TrunkId;

use crate::command::{Action, Command, Event, FaultScope, PeerId, Refusal, RoomId, RoomKind};
use crate::command_queues::Work;
use crate::config::MixConfig;
use crate::inputs::Recorder;
use crate::neighbours::Neighbours;
use crate::panics::panic_message;
use crate::room::{Newcomer, Room, Scratch, SealedTrace, ShardContext};
use crate::routes::{Destination, Routes};
use crate::shard_message::Message;
use crate::shed::{Round, Shed};
use crate::stats::{ShardStats, TrunkStats};
use crate::tap::{Tap, TapSound};
use crate::timers::Timers;
use crate::trace::Stage;

/// For how long the arrival of each datagram is asked for after [`Action::Trace`]: talkers send a packet every 20 to 60 ms.
const TRACE_PATIENCE: Duration = Duration::from_millis(60);

/// Rooms and their participants behind one UDP socket. Reads no clock and does no I/O: see the crate's documentation.
///
/// # Examples
///
/// The caller brings the time, and asks for events, datagrams and the next deadline after each call:
///
/// ```
/// use std::sync::Arc;
/// use std::time::{Duration, Instant};
///
/// use roomtone_engine::{Action, Command, Event, MixConfig, RoomKind, Shard};
/// use roomtone_transport::{Certificate, NtpClock, TransportConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let now = Instant::now();
/// let clock = NtpClock::from_unix(now, Duration::from_secs(1_700_000_000));
/// let transport = TransportConfig::new(vec!["192.0.2.1:50000".parse()?], clock);
/// let certificate = Arc::new(Certificate::generate()?);
/// let mut shard = Shard::new(now, transport, certificate, MixConfig::default(), 1000);
///
/// let kind = RoomKind::Mix { stereo: true, auto_gain: true };
/// shard.handle_command(now, Command::new(1, Action::Open { kind }));
/// let offer = "not SDP".to_owned();
/// let join = Action::Join { peer: 10, offer, speak: true, listen: true };
/// shard.handle_command(now, Command::new(1, join));
///
/// while let Some(event) = shard.poll_event() {
///     if let Event::Refused { peer, refusal, .. } = event {
///         assert_eq!((peer, refusal.code()), (10, "malformed"));
///     }
/// }
/// for (to, datagram) in shard.outbox().iter() {
///     println!("{} bytes for {to}", datagram.len());
/// }
/// shard.outbox().clear();
/// assert_eq!(shard.poll_timeout(), None, "nobody is in the room");
/// # Ok(())
/// # }
/// ```
pub struct Shard {
    pub(crate) rooms: HashMap<RoomId, Room>,
    pub(crate) timers: Timers<RoomId>,
    pub(crate) context: ShardContext,
    /// The other shards, as far as they concern rooms that have moved.
    pub(crate) neighbours: Neighbours,
    max_peers: usize,
    rooms_made: u64,
    /// Whether noise was ever to be suppressed here.
    pub(crate) suppresses: bool,
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
        let context = ShardContext {
            index: 0,
            mix,
            transport: Arc::new(transport),
            certificate,
            origin: now,
            routes: Routes::default(),
            trunks: HashMap::new(),
            remote_routes: Vec::new(),
            events: VecDeque::new(),
            outbox: Outbox::new(),
            remote_outboxes: BTreeMap::new(),
            stats: ShardStats::default(),
            scratch: Scratch::default(),
            shed: Shed::default(),
            clock: None,
            arrived: None,
            traces_until: None,
            packed_due: None,
            sealed: Vec::new(),
        };
        Shard {
            rooms: HashMap::new(),
            timers: Timers::default(),
            context,
            neighbours: Neighbours::default(),
            max_peers,
            rooms_made: 0,
            suppresses: false,
        }
    }

    /// Makes what ticks need of a thread that has run no shard before.
    pub(crate) fn prepare_thread(&self) {
        if self.suppresses {
            NoiseSuppressor::prepare_thread();
        }
    }

    /// A datagram has come in. It is decrypted in place.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        self.context.stats.datagrams_in += 1;
        self.context.stats.bytes_in += datagram.len() as u64;
        if let Some(trunk) = roomtone_trunk::trunk_of(datagram) {
            self.context.arrived = None;
            return self.handle_trunk(now, trunk, datagram);
        }
        let packet = Packet::read(datagram);
        match self.context.routes.find(from, &packet) {
            Some(destination) => self.deliver(now, destination, from, packet),
            None => self.context.stats.datagrams_unknown += 1,
        }
        self.context.arrived = None;
    }

    fn handle_trunk(&mut self, now: Instant, trunk: TrunkId, datagram: &mut [u8]) {
        match self.context.trunks.get(&trunk).copied() {
            Some(room) => {
                self.try_in_room(now, room, |room, context| {
                    room.handle_trunk(now, context, trunk, datagram)
                });
            }
            None => self.context.stats.trunk_datagrams_refused += 1,
        }
    }

    /// The clock for the stages of packets that are followed ([`Action::Trace`]). Without one, everything within a call happens at its
    /// `now`.
    pub fn set_clock(&mut self, clock: fn() -> Instant) {
        self.context.clock = Some(clock);
    }

    /// Whether the next datagram may be one to follow. If so, tell [`Shard::handle_arrival`] when the kernel took it in.
    pub fn wants_arrivals(&self, now: Instant) -> bool {
        self.context.traces_until.is_some_and(|until| now < until)
    }

    /// When the kernel took in the datagram with which [`Shard::handle_datagram`] is called next.
    pub fn handle_arrival(&mut self, at: Instant) {
        self.context.arrived = Some(at);
    }

    /// The datagrams of all outboxes are sent: packets that were followed have left. Whether there were any.
    pub fn handle_sent(&mut self, now: Instant) -> bool {
        if self.context.sealed.is_empty() {
            return false;
        }
        let at = self.context.moment(now);
        for SealedTrace { room, mut trace } in self.context.sealed.drain(..) {
            if trace.listener.is_some() {
                trace.stamp(Stage::Sent, at);
            }
            self.context.events.push_back(Event::Traced { room, trace });
        }
        true
    }

    /// Delivers a packet to a participant. If their room has moved, a copy goes to the shard where it went.
    pub(crate) fn deliver(&mut self, now: Instant, destination: Destination, from: SocketAddr, packet: Packet<'_>) {
        let (room, peer) = destination;
        if self.rooms.contains_key(&room) {
            self.try_in_room(now, room, |room, context| {
                room.handle_packet(now, context, peer, from, packet)
            });
        } else if let Some(to) = self.neighbours.moved.get(&room).copied() {
            let data = packet.bytes().to_vec();
            self.neighbours.send(
                to,
                Message::Datagram {
                    destination,
                    from,
                    data,
                },
            );
        }
    }

    /// Carries out the next command that waits in the shard's queue, or takes in the next room. False if nothing waits.
    pub fn take_work(&mut self, now: Instant) -> bool {
        match self.neighbours.queues.take(self.neighbours.index) {
            Some(Work::TakeIn(transfer)) => self.take_in(now, transfer),
            Some(Work::Command(command)) => self.handle_command(now, command),
            None => return false,
        }
        true
    }

    /// Carries out a command; [`Shard::poll_event`] tells what came of it. Where there are other shards, commands come by way of
    /// [`CommandQueues`](crate::CommandQueues) and [`Shard::take_work`].
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        let Command { room, action } = command;
        match action {
            Action::Open { kind } => self.open_room(now, room, kind),
            Action::Move { to } => self.move_room(room, to),
            Action::RecordInputs { journal } => {
                let there = self.in_room(now, room, |room, context| room.record_inputs(now, context, &journal));
                if there.is_none() {
                    Recorder::refuse(&journal);
                }
            }
            Action::Close => {
                self.in_room(now, room, |room, context| room.close(now, context));
                self.forget_room(room);
                self.neighbours.queues.forget(room);
            }
            Action::Join {
                peer,
                offer,
                speak,
                listen,
            } => {
                let newcomer = Newcomer {
                    id: peer,
                    speak,
                    listen,
                };
                self.join(now, room, &offer, newcomer);
            }
            Action::Reoffer {
                peer,
                offer,
                replacement,
                speak,
                listen,
            } => {
                let replacement = Newcomer {
                    id: replacement,
                    speak,
                    listen,
                };
                self.reoffer(now, room, peer, &offer, replacement);
            }
            Action::Leave { peer } => {
                self.in_room(now, room, |room, context| room.leave(now, context, peer));
            }
            Action::SetSpeak { peer, speak } => {
                self.in_room(now, room, |room, context| room.set_speak(now, context, peer, speak));
            }
            Action::SetListen { peer, listen } => {
                self.in_room(now, room, |room, _| room.set_listen(peer, listen));
            }
            Action::SetVoice { peer, voice, suppress } => {
                if suppress {
                    self.suppresses = true;
                    self.prepare_thread();
                }
                self.in_room(now, room, |room, _| room.set_voice(peer, voice, suppress));
            }
            Action::SetPolicy {
                default_gain,
                max_talkers,
                select,
            } => {
                self.in_room(now, room, |room, _| {
                    room.set_policy(now, default_gain, max_talkers, select)
                });
            }
            Action::SetGains { cells } => {
                self.in_room(now, room, |room, _| room.set_gains(now, &cells));
            }
            Action::SetPlaces { distance, places } => {
                self.in_room(now, room, |room, _| room.set_places(distance, &places));
            }
            Action::JoinSource { peer, speak } => self.join_source(now, room, peer, speak),
            Action::Feed { peer, items } => {
                let fed = self.in_room(now, room, |room, context| room.feed(now, context, peer, &items));
                if fed.is_none() {
                    let items = items.len() as u32;
                    self.context
                        .events
                        .push_back(Event::SourceRefused { room, peer, items });
                }
            }
            Action::ClearSource { peer } => {
                self.in_room(now, room, |room, _| room.clear_source(now, peer));
            }
            Action::JoinTap { peer, tap, sound } => self.join_tap(now, room, peer, tap, &sound),
            Action::SetTap { peer, sound } => {
                self.in_room(now, room, |room, _| room.set_tap(peer, &sound));
            }
            Action::OpenTrunk { trunk, way } => {
                if !self.context.trunks.contains_key(&trunk) && !self.neighbours.outgoing.contains_key(&room) {
                    self.in_room(now, room, |room, context| room.open_trunk(context, trunk, &way));
                }
            }
            Action::RenewTrunk {
                trunk,
                end,
                number,
                key,
            } => {
                self.in_room(now, room, |room, context| {
                    room.renew_trunk(now, context, trunk, end, number, &key)
                });
            }
            Action::CloseTrunk { trunk } => {
                self.in_room(now, room, |room, context| room.close_trunk(now, context, trunk));
            }
            Action::JoinRemote { peer, trunk, speak } => {
                self.in_room(now, room, |room, context| room.join_remote(context, peer, trunk, speak));
            }
            Action::Trace {
                talker,
                listener,
                reference,
            } => {
                self.context.traces_until = Some(now + TRACE_PATIENCE);
                self.in_room(now, room, |room, _| room.trace(now, reference, talker, listener));
            }
            Action::PeerStats { peer, reference } => {
                let stats = self.in_room(now, room, |room, _| room.peer_stats(now, peer)).flatten();
                self.context.events.push_back(Event::PeerStats {
                    reference,
                    stats: stats.map(Box::new),
                });
            }
            Action::Fault { .. } if !cfg!(debug_assertions) => {}
            Action::Fault {
                scope: FaultScope::Shard,
            } => panic!("a fault was asked for"),
            Action::Fault {
                scope: FaultScope::Room,
            } => {
                self.in_room(now, room, |room, _| room.fail_at_next_tick(now));
            }
        }
    }

    /// Time has passed: ticks of rooms, retransmissions, reports, consent. Harmless when nothing is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(room) = self.timers.pop_due(now) {
            self.try_in_room(now, room, |room, context| room.handle_timeout(now, context));
        }
    }

    /// When [`Shard::handle_timeout`] should be called next; ask again after every call into the shard.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.timers.next()
    }

    /// The datagrams to send, in this order. [`clear`](Outbox::clear) it once they are sent.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.context.outbox
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.context.events.pop_front()
    }

    /// The share of the last second (0…1) in which the shard worked, measured by the caller. An overloaded shard gives up Opus
    /// complexity first, then all but the loudest talkers, then newcomers; when it is calm again it takes them back.
    pub fn handle_load(&mut self, now: Instant, load: f32) {
        if self.context.shed.report(now, load) {
            self.tell_shed(format_args!("the load of a second is {load:.2}"));
        }
    }

    /// The work of the caller's thread in the last 20 ms or a little more. When ticks take nearly all of that, or begin late because
    /// the thread is busy, over some rounds, the shard sheds load without waiting for the second to end.
    pub fn handle_round(&mut self, now: Instant, round: Round) {
        let ticking = round.ticking_per_frame();
        if ticking > Duration::ZERO {
            self.context.stats.tick_duration.record(ticking);
        }
        if self.context.shed.round(now, &round) {
            self.tell_shed(format_args!(
                "ticks take {} ms in 20 ms, or are late",
                ticking.as_millis()
            ));
        }
    }

    fn tell_shed(&mut self, why: std::fmt::Arguments<'_>) {
        let level = self.context.shed.level();
        self.context.events.push_back(Event::Shed { level });
        let (level, stats) = (u64::from(level), &mut self.context.stats);
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
            self.handle_command(now, Command::new(room, Action::Close));
        }
    }

    /// The shard's figures. Those that only the driver knows are zero.
    pub fn stats(&self) -> ShardStats {
        ShardStats {
            rooms: self.rooms.len() as u64,
            peers: self.peers() as u64,
            trunks_open: self.context.trunks.len() as u64,
            trunks: self.trunk_stats(),
            ..self.context.stats.clone()
        }
    }

    fn trunk_stats(&self) -> Vec<TrunkStats> {
        let mut rooms: Vec<RoomId> = self.context.trunks.values().copied().collect();
        rooms.sort_unstable();
        rooms.dedup();
        let rooms = rooms.iter().filter_map(|room| self.rooms.get(room));
        rooms.flat_map(Room::trunk_stats).take(TrunkStats::MOST).collect()
    }

    fn peers(&self) -> usize {
        self.rooms.values().map(Room::len).sum()
    }

    /// The number of addresses, ufrags and participants that the shard remembers: strangers must not be able to make these grow.
    #[doc(hidden)]
    pub fn remembered(&self) -> (usize, usize, usize) {
        let (addresses, ufrags) = self.context.routes.sizes();
        (addresses, ufrags, self.peers())
    }

    fn open_room(&mut self, now: Instant, id: RoomId, kind: RoomKind) {
        if self.rooms.contains_key(&id) {
            self.in_room(now, id, |room, _| room.set_kind(kind));
            return;
        }
        self.rooms_made += 1;
        let grid = self.context.origin + tick_phase(self.rooms_made);
        self.rooms.insert(id, Room::new(id, kind, grid));
    }

    fn join(&mut self, now: Instant, room: RoomId, offer: &str, newcomer: Newcomer) {
        let peer = newcomer.id;
        let refused = |refusal| Event::Refused { room, peer, refusal };
        match self.admits(room).and_then(|()| parse(offer)) {
            Ok(offer) => {
                self.in_room(now, room, |room, context| room.join(now, context, &offer, newcomer));
            }
            Err(refusal) => self.context.events.push_back(refused(refusal)),
        }
    }

    fn join_source(&mut self, now: Instant, room: RoomId, peer: PeerId, speak: bool) {
        match self.admits(room) {
            Ok(()) => {
                self.in_room(now, room, |room, context| room.join_source(context, peer, speak));
            }
            Err(refusal) => self.context.events.push_back(Event::Refused { room, peer, refusal }),
        }
    }

    fn join_tap(&mut self, now: Instant, room: RoomId, peer: PeerId, tap: Tap, sound: &TapSound) {
        match self.admits(room) {
            Ok(()) => {
                self.in_room(now, room, |room, context| room.join_tap(now, context, peer, tap, sound));
            }
            Err(refusal) => self.context.events.push_back(Event::Refused { room, peer, refusal }),
        }
    }

    // Whether a room takes one more.
    fn admits(&self, room: RoomId) -> Result<(), Refusal> {
        if !self.rooms.contains_key(&room) {
            Err(Refusal::NoRoom)
        } else if self.peers() >= self.max_peers {
            Err(Refusal::ShardFull)
        } else if self.context.shed.refuses_joins() {
            Err(Refusal::Overloaded)
        } else {
            Ok(())
        }
    }

    fn reoffer(&mut self, now: Instant, room: RoomId, peer: PeerId, offer: &str, replacement: Newcomer) {
        let refused = |refusal| Event::Refused { room, peer, refusal };
        match parse(offer) {
            Ok(offer) => {
                let there = self.in_room(now, room, |room, context| {
                    room.reoffer(now, context, peer, &offer, replacement)
                });
                if there.is_none() {
                    self.context.events.push_back(refused(Refusal::NoRoom));
                }
            }
            Err(refusal) => self.context.events.push_back(refused(refusal)),
        }
    }

    // A call into a room that can't fail but by a bug, and after which ticks don't wait: it may have changed what is heard.
    pub(crate) fn in_room<R>(
        &mut self,
        now: Instant,
        id: RoomId,
        call: impl FnOnce(&mut Room, &mut ShardContext) -> R,
    ) -> Option<R> {
        self.try_in_room(now, id, |room, context| {
            room.hurry(now, context)?;
            Ok(call(room, context))
        })
    }

    // Every call into a room goes through here: a bug in one room costs that room alone.
    pub(crate) fn try_in_room<R>(
        &mut self,
        now: Instant,
        id: RoomId,
        call: impl FnOnce(&mut Room, &mut ShardContext) -> Result<R, AudioError>,
    ) -> Option<R> {
        let room = self.rooms.get_mut(&id)?;
        let context = &mut self.context;
        let called = catch_unwind(AssertUnwindSafe(|| call(room, context)));
        room.note_packed(context.packed_due.take());
        for (home, destination, route) in self.context.remote_routes.drain(..) {
            self.neighbours.send(home, Message::Route(destination, route));
        }
        let fault = match called {
            Ok(Ok(result)) => {
                if let Some(due) = room.poll_timeout() {
                    self.timers.schedule(id, due.max(now));
                }
                return Some(result);
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic_message(panic.as_ref()),
        };
        log::error!("room {id} failed and is closed: {fault}");
        self.forget_room(id);
        self.context.events.push_back(Event::RoomFailed { room: id });
        None
    }

    fn forget_room(&mut self, id: RoomId) {
        if self.rooms.remove(&id).is_some() {
            self.context.routes.remove_room(id);
            self.context.trunks.retain(|_, room| *room != id);
            self.tell_gone(id);
        }
        self.timers.remove(&id);
        self.neighbours.outgoing.remove(&id);
    }
}

// The largest parser of hostile text that we didn't write: a panic in it refuses the offer and costs nobody else anything.
fn parse(offer: &str) -> Result<Offer, Refusal> {
    match catch_unwind(|| Offer::parse(offer)) {
        Ok(parsed) => parsed.map_err(|error| Refusal::Offer(error.into())),
        Err(panic) => {
            log::error!("the SDP parser failed: {}", panic_message(panic.as_ref()));
            Err(Refusal::Unreadable)
        }
    }
}

/// Where in the 20 ms the n-th room ticks: golden-ratio steps, so that however many rooms there are, they are spread evenly.
fn tick_phase(n: u64) -> Duration {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    FRAME_DURATION.mul_f64((n as f64 * GOLDEN).fract())
}
