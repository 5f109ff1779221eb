//! A shard and synthetic participants on a virtual clock: real ICE, DTLS, SRTP and Opus, no sockets.

#![allow(dead_code, clippy::disallowed_methods, clippy::unwrap_used)]

pub mod client;
pub mod instrument;
mod loops;
pub mod speech;
pub mod voice;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomtone_engine::{Action, Command, CommandQueues, Event, GainCell, MixConfig, PeerId, RoomId, RoomKind, Shard};
use roomtone_testkit::fixtures::{OpusTalker, Tone};
use roomtone_testkit::link::Datagram;
use roomtone_testkit::peer::ClientOptions;
use roomtone_transport::{Certificate, NtpClock, PacketKind, TransportConfig, classify};

pub use self::client::Client;
pub use self::loops::Loops;

pub const ROOM: RoomId = 7;
/// How loud tones are unless a test says otherwise, dBFS (amplitude of the sine): the sum of a few stays below the limiter.
pub const TONE_DBFS: f32 = -30.0;

/// The kind of a call into the shard.
#[derive(Clone, Copy, PartialEq)]
pub enum Moment {
    /// A packet of sound.
    Sound,
    /// The time.
    Time,
    /// A command, or a packet of anything else.
    Other,
    /// Nothing any more.
    Done,
}

/// The shard and everybody.
pub struct World {
    pub start: Instant,
    pub now: Instant,
    pub server: SocketAddr,
    pub shard: Shard,
    /// Further shards of the same engine, each with its address.
    pub others: Vec<(SocketAddr, Shard)>,
    pub queues: Arc<CommandQueues>,
    pub loops: Loops,
    pub clients: BTreeMap<PeerId, Client>,
    pub events: Vec<(Duration, Event)>,
    /// Which shard told each of these.
    pub told_by: Vec<usize>,
    pub step: Duration,
    mix: MixConfig,
    /// Datagrams to the shard, while they are recorded.
    pub wiretap: Option<Vec<(SocketAddr, Vec<u8>)>>,
    /// Called before and after anything goes into the shard.
    pub watch: fn(Moment),
    /// Whether clients get what is sent to them.
    pub deliver: bool,
    /// Datagrams to other media nodes.
    pub beyond: Vec<(SocketAddr, Vec<u8>)>,
}

impl World {
    pub fn new() -> World {
        World::with(MixConfig::default())
    }

    /// In which one who talks alone is mixed, too: for what is about the mixer.
    pub fn mixing() -> World {
        World::with(MixConfig {
            pass_through: false,
            ..MixConfig::default()
        })
    }

    pub fn with(mix: MixConfig) -> World {
        let start = Instant::now();
        let server: SocketAddr = "192.0.2.1:50000".parse().unwrap();
        let certificate = Arc::new(Certificate::generate().unwrap());
        let transport = TransportConfig::new(
            vec![server],
            NtpClock::from_unix(start, Duration::from_secs(1_700_000_000)),
        );
        let mut shard = Shard::new(start, transport, certificate, mix.clone(), 10_000);
        shard.handle_command(
            start,
            Command::new(
                ROOM,
                Action::Open {
                    kind: RoomKind::default(),
                },
            ),
        );
        World {
            start,
            now: start,
            server,
            shard,
            others: Vec::new(),
            queues: Arc::default(),
            loops: Loops::default(),
            clients: BTreeMap::new(),
            events: Vec::new(),
            told_by: Vec::new(),
            step: Duration::from_millis(1),
            mix,
            wiretap: None,
            watch: |_| {},
            deliver: true,
            beyond: Vec::new(),
        }
    }

    /// In which the room forwards, and each listener gets so many talkers.
    pub fn forwarding(slots: u32) -> World {
        let mut world = World::new();
        let kind = RoomKind::Forward { slots, stereo: false };
        world.command(Command::new(ROOM, Action::Open { kind }));
        world
    }

    /// A world of so many shards. In the room, which is on the first, 1 talks and 2 listens.
    pub fn with_talker_and_listener(shards: usize) -> World {
        let mut world = World::of_many(shards);
        world.join_talking(1);
        world.join(2, ClientOptions::default());
        world.connect();
        world
    }

    /// In which 1 and 2 talk with each other.
    pub fn of_two_talkers() -> World {
        let mut world = World::new();
        world.join_talking(1);
        world.join_talking(2);
        world.connect();
        world
    }

    /// A world of two shards; the room is on the first.
    pub fn of_two() -> World {
        World::of_many(2)
    }

    /// A world of so many shards; the room is on the first.
    pub fn of_many(count: usize) -> World {
        World::of_many_with(count, MixConfig::default())
    }

    pub fn of_many_with(count: usize, mix: MixConfig) -> World {
        let mut world = World::with(mix);
        world.queues = Arc::new(CommandQueues::new(count));
        let nobody = world.fresh_shard(world.server);
        world.shard = std::mem::replace(&mut world.shard, nobody).in_engine(0, world.queues.clone());
        for index in 1..count {
            let address = SocketAddr::new(world.server.ip(), world.server.port() + index as u16);
            let shard = world.fresh_shard(address).in_engine(index, world.queues.clone());
            world.others.push((address, shard));
        }
        world
    }

    /// An empty shard behind an address.
    pub fn fresh_shard(&self, address: SocketAddr) -> Shard {
        let certificate = Arc::new(Certificate::generate().unwrap());
        let clock = NtpClock::from_unix(self.start, Duration::from_secs(1_700_000_000));
        let transport = TransportConfig::new(vec![address], clock);
        Shard::new(self.now, transport, certificate, self.mix.clone(), 10_000)
    }

    pub fn shard_at(&mut self, index: usize) -> &mut Shard {
        match index {
            0 => &mut self.shard,
            _ => &mut self.others[index - 1].1,
        }
    }

    /// The next events of a shard go to whom they concern.
    fn take_events(&mut self, index: usize) {
        let now = self.now;
        while let Some(event) = self.shard_at(index).poll_event() {
            if let Event::Answer { peer, ref sdp, .. } = event
                && let Some(client) = self.clients.get_mut(&peer)
            {
                client.peer.accept_answer(now, sdp).unwrap();
            }
            self.events.push((now - self.start, event));
            self.told_by.push(index);
        }
    }

    fn address_of(&self, index: usize) -> SocketAddr {
        match index {
            0 => self.server,
            _ => self.others[index - 1].0,
        }
    }

    /// All datagrams that wait to be sent: by which socket, to whom.
    fn outgoing(&mut self) -> Vec<(SocketAddr, SocketAddr, bytes::Bytes)> {
        let mut all = Vec::new();
        for index in 0..=self.others.len() {
            let shard = self.shard_at(index);
            let mut found: Vec<_> = shard
                .outbox()
                .iter()
                .map(|(to, data)| (index, to, bytes_of(data)))
                .collect();
            shard.outbox().clear();
            for (home, outbox) in shard.outboxes() {
                found.extend(outbox.iter().map(|(to, data)| (home, to, bytes_of(data))));
                outbox.clear();
            }
            all.extend(found);
        }
        all.into_iter()
            .map(|(by, to, data)| (self.address_of(by), to, data))
            .collect()
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// To the first shard; where there are others, it is carried out when they have their turn.
    pub fn command(&mut self, command: Command) {
        if self.others.is_empty() {
            (self.watch)(Moment::Other);
            self.shard.handle_command(self.now, command);
            (self.watch)(Moment::Done);
        } else {
            self.queues.submit(0, command).unwrap();
        }
    }

    /// Someone joins the room and talks a tone of their own from when they are connected.
    pub fn join_talking(&mut self, id: PeerId) {
        self.join(id, ClientOptions::default());
        self.talk(id, TONE_DBFS);
    }

    pub fn talk(&mut self, id: PeerId, dbfs: f32) {
        let client = self.clients.get_mut(&id).unwrap();
        client.dbfs = dbfs;
        let tone = Tone::new(client.hz, 10f32.powf(dbfs / 20.0));
        client.talker = Some(OpusTalker::new(tone, 64_000).unwrap());
    }

    pub fn join(&mut self, id: PeerId, options: ClientOptions) {
        self.join_room(ROOM, id, options);
    }

    pub fn join_room(&mut self, room: RoomId, id: PeerId, options: ClientOptions) {
        let client = Client::new(self.now, room, id, options);
        let offer = client.peer.offer();
        self.clients.insert(id, client);
        self.command(Command::new(
            room,
            Action::Join {
                peer: id,
                offer,
                speak: true,
                listen: true,
            },
        ));
        self.collect();
    }

    /// Submits a command as a caller who names this shard.
    pub fn submit(&self, shard: usize, command: Command) {
        self.queues.submit(shard, command).unwrap();
    }

    /// The gain at which one listener hears one speaker, from the middle.
    pub fn set_gain(&mut self, listener: PeerId, speaker: PeerId, gain: f32) {
        let cells = vec![gain_cell(listener, speaker, gain)];
        self.command(Command::new(ROOM, Action::SetGains { cells }));
    }

    pub fn reoffer(&mut self, id: PeerId, offer: String) {
        self.command(Command::new(ROOM, reoffer(id, offer)));
        self.collect();
    }

    /// A client that shall take the place of `id`, if the shard takes its offer for that of a new connection: it has the number
    /// [`replacement`] then.
    pub fn begin_anew(&mut self, id: PeerId, options: ClientOptions) {
        let number = replacement(id);
        let client = Client::new(self.now, ROOM, number, options);
        let offer = client.peer.offer();
        self.clients.insert(number, client);
        self.reoffer(id, offer);
    }

    /// Lets `duration` pass.
    pub fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.now < until {
            self.now += self.step;
            self.turn();
        }
    }

    pub fn run_ms(&mut self, ms: u64) {
        self.run(Duration::from_millis(ms));
    }

    /// Runs until all are connected.
    pub fn connect(&mut self) {
        for _ in 0..3000 {
            if self.clients.values().all(|c| c.connected) {
                return;
            }
            self.run_ms(1);
        }
        let missing: Vec<_> = self.clients.values().filter(|c| !c.connected).map(|c| c.id).collect();
        panic!("not connected after 3 s: {missing:?}; events {:?}", self.events);
    }

    pub fn turn(&mut self) {
        let now = self.now;
        for client in self.clients.values_mut() {
            client.talk(now);
            if client.peer.poll_timeout().is_some_and(|due| due <= now) {
                client.peer.handle_timeout(now);
            }
            client.drain(now);
            while let Some(mut datagram) = client.to_server.receive(now) {
                let mut bytes = std::mem::take(&mut datagram.data).to_vec();
                if let Some(tap) = self.wiretap.as_mut() {
                    tap.push((datagram.from, bytes.clone()));
                }
                let sound = classify(&bytes) == PacketKind::Rtp;
                (self.watch)(if sound { Moment::Sound } else { Moment::Other });
                match self.others.iter_mut().find(|(address, _)| *address == datagram.to) {
                    Some((_, shard)) => shard.handle_datagram(now, datagram.from, &mut bytes),
                    None => self.shard.handle_datagram(now, datagram.from, &mut bytes),
                }
                (self.watch)(Moment::Done);
            }
        }
        (self.watch)(Moment::Time);
        if self.shard.poll_timeout().is_some_and(|due| due <= now) {
            self.shard.handle_timeout(now);
        }
        (self.watch)(Moment::Done);
        self.collect();
    }

    /// Moves what the shard has to say to where it belongs.
    pub fn collect(&mut self) {
        let now = self.now;
        self.run_shards();
        let deliver = self.deliver;
        for (from, to, data) in self.outgoing().into_iter().filter(|_| deliver) {
            if let Some(client) = self.clients.values_mut().find(|c| c.address == to) {
                client.to_client.send(now, Datagram { from, to, data });
            } else if roomtone_trunk::trunk_of(&data).is_some() {
                self.beyond.push((to, data.to_vec()));
            }
        }
        for index in 0..=self.others.len() {
            self.shard_at(index).handle_sent(now);
            self.take_events(index);
        }
        for client in self.clients.values_mut() {
            while let Some(datagram) = client.to_client.receive(now) {
                let mut bytes = datagram.data.to_vec();
                client.peer.handle_datagram(now, datagram.from, &mut bytes);
            }
            client.drain(now);
        }
    }

    /// How loud `speaker`'s tone is at `listener` over the last `seconds`, relative to how it was spoken, dB.
    pub fn heard_db(&self, listener: PeerId, speaker: PeerId, seconds: f32) -> f32 {
        let Client { hz, dbfs, .. } = self.clients[&speaker];
        self.clients[&listener].ear.tone_dbfs(hz, seconds) - dbfs
    }

    /// Checks that every one of `talkers` is heard by everybody else at its own level (±`tolerance` dB), and by nobody as
    /// themselves (at least 30 dB down).
    pub fn assert_everyone_hears_the_others(&self, talkers: &[PeerId], seconds: f32, tolerance: f32) {
        for listener in self.clients.keys() {
            for talker in talkers {
                let heard = self.heard_db(*listener, *talker, seconds);
                if listener == talker {
                    assert!(heard <= -30.0, "{listener} hears themselves at {heard:.1} dB");
                } else {
                    assert!(heard.abs() <= tolerance, "{listener} hears {talker} at {heard:.2} dB");
                }
            }
        }
    }

    /// The same for one room, over the last half second.
    pub fn assert_everyone_hears_the_others_in(&self, room: RoomId, talkers: &[PeerId]) {
        for listener in self.clients.values().filter(|c| c.room == room) {
            for talker in talkers.iter().filter(|t| **t != listener.id) {
                let heard = self.heard_db(listener.id, *talker, 0.5);
                assert!(heard.abs() <= 1.0, "{} hears {talker} at {heard:.2} dB", listener.id);
            }
        }
    }

    pub fn events_of(&self, wanted: impl Fn(&Event) -> bool) -> Vec<&Event> {
        self.events.iter().map(|(_, e)| e).filter(|e| wanted(e)).collect()
    }
}

/// A gain from the middle.
pub fn gain_cell(listener: PeerId, speaker: PeerId, gain: f32) -> GainCell {
    GainCell {
        listener,
        speaker,
        gain: Some(gain),
        pan: 0.0,
    }
}

/// A client that takes so many talkers of a room that forwards.
pub fn slots(slots: usize) -> ClientOptions {
    ClientOptions {
        slots,
        ..ClientOptions::default()
    }
}

/// The number of the participant who takes the place of another.
pub fn replacement(id: PeerId) -> PeerId {
    1_000 + id
}

/// A further offer.
pub fn reoffer(peer: PeerId, offer: String) -> Action {
    Action::Reoffer {
        peer,
        offer,
        replacement: replacement(peer),
        speak: true,
        listen: true,
    }
}

fn bytes_of(data: &[u8]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(data)
}
