//! A room: its participants, and every 20 ms a tick that mixes for them.
//!
//! Nothing ticks in a room where nobody is to be heard.

mod allowance;
mod audible;
mod effort;
mod fading;
mod forward;
mod gains;
mod output;
mod outputs;
mod peer;
mod select;
mod slot;
mod speaking;
mod tick;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roomtone_audio::Channels;
use roomtone_transport::{Endpoint, EndpointOptions, Offer};

pub(crate) use self::audible::Audible;
use self::fading::Fading;
use self::gains::Gains;
pub(crate) use self::gains::Weight;
use self::outputs::Outputs;
use self::peer::Peer;
use crate::command::{Event, GainCell, PeerId, PeerStats, RefusalCode, RoomId, Select};
use crate::config::MixConfig;
use crate::context::Common;
use crate::relay::{Route, ShardIndex};
use crate::timers::Timers;

pub(crate) struct Room {
    id: RoomId,
    peers: Vec<Peer>,
    index: HashMap<PeerId, usize>,
    timers: Timers<PeerId>,
    outputs: Outputs,
    gains: Gains,
    /// Who is heard once more, fading out.
    fading: Vec<Fading>,
    /// Whether who asks for stereo gets it.
    stereo: bool,
    /// How many talkers' packets are forwarded to each; `None`: they are mixed.
    slots: Option<usize>,
    /// The newest talker's contributing source (RFC 3550): a number of the room's own, as nobody may choose to be taken for another.
    sources: u32,
    /// How many talkers are heard at once.
    max_talkers: usize,
    select: Select,
    /// The first instant of this room's grid of ticks.
    grid: Instant,
    /// The number on the grid of the next tick, while the room ticks.
    next_tick: Option<u64>,
    levels_due: Instant,
    levels_told: bool,
    #[cfg(debug_assertions)]
    fault: bool,
}

impl Room {
    /// An empty room, whose ticks are whole frames after `grid`.
    pub(crate) fn new(id: RoomId, grid: Instant) -> Room {
        Room {
            id,
            peers: Vec::new(),
            index: HashMap::new(),
            timers: Timers::default(),
            outputs: Outputs::default(),
            gains: Gains::default(),
            fading: Vec::new(),
            stereo: false,
            slots: None,
            sources: 0,
            max_talkers: usize::MAX,
            select: Select::default(),
            grid,
            next_tick: None,
            levels_due: grid,
            levels_told: false,
            #[cfg(debug_assertions)]
            fault: false,
        }
    }

    /// How many participants there are.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// A new participant: answers their offer, or says why not.
    pub(crate) fn join(
        &mut self,
        now: Instant,
        common: &mut Common,
        id: PeerId,
        offer: &Offer,
        speak: bool,
        listen: bool,
    ) {
        let (room, peer) = (self.id, id);
        if self.index.contains_key(&id) {
            return refuse(
                common,
                self.id,
                id,
                "peer_exists",
                "a participant of that number is here already",
            );
        }
        // Who may speak or listen can change during a call: the SDP leaves both open, and the room decides each tick.
        let forwards = self.slots.is_some();
        // A mix makes mono of what comes in anyway.
        let uplink = if self.stereo && forwards {
            Channels::Stereo
        } else {
            Channels::Mono
        };
        let options = EndpointOptions {
            stereo: self.stereo && !forwards,
            uplink_stereo: uplink == Channels::Stereo,
            uplink_bitrate: Some(MixConfig::bitrate_of(common.mix.uplink_bitrate, uplink)),
            slots: self.slots.unwrap_or(0),
            ..EndpointOptions::default()
        };
        let accepted = Endpoint::accept(
            now,
            offer,
            common.transport.clone(),
            common.certificate.clone(),
            options,
        );
        match accepted {
            Ok((endpoint, sdp)) => {
                self.index.insert(id, self.peers.len());
                let mut newcomer = Peer::new(id, common.neighbours.index, endpoint, speak, listen);
                if self.slots.is_some() {
                    self.sources = self.sources.wrapping_add(1).max(1);
                    newcomer.forward(self.sources);
                }
                self.peers.push(newcomer);
                common.stats.peers += 1;
                common.events.push_back(Event::Answer { room, peer, sdp });
                self.routes_of(common, id);
                self.after(now, common, id);
            }
            Err(error) => refuse(common, self.id, id, error.code(), &error.to_string()),
        }
    }

    /// A further offer of a participant.
    pub(crate) fn reoffer(&mut self, now: Instant, common: &mut Common, id: PeerId, offer: &Offer) {
        let (room, peer) = (self.id, id);
        let Some(there) = self.peer_mut(id) else {
            return refuse(common, self.id, id, "no_peer", "the participant is not in the room");
        };
        match there.endpoint.reoffer(now, offer) {
            Ok(sdp) => {
                common.events.push_back(Event::Answer { room, peer, sdp });
                // Whoever asks again has perhaps lost what they knew.
                there.hearing.tell_anew();
                self.routes_of(common, id);
                self.after(now, common, id);
            }
            Err(error) => refuse(common, self.id, id, error.code(), &error.to_string()),
        }
    }

    fn routes_of(&mut self, common: &mut Common, id: PeerId) {
        let place = (self.id, id);
        if let Some(peer) = self.peer_mut(id) {
            for ufrag in peer.endpoint.local_ufrags() {
                common.route(peer.home, place, Route::Ufrag(ufrag.to_owned()));
            }
        }
    }

    /// Ends a participant, with a goodbye on the wire.
    pub(crate) fn leave(&mut self, now: Instant, common: &mut Common, id: PeerId) {
        self.end(now, common, id, "left");
    }

    /// Ends everybody.
    pub(crate) fn close(&mut self, now: Instant, common: &mut Common) {
        while let Some(peer) = self.peers.last() {
            self.end(now, common, peer.id, "room_closed");
        }
    }

    fn end(&mut self, now: Instant, common: &mut Common, id: PeerId, reason: &'static str) {
        let room = self.id;
        if let Some(peer) = self.peer_mut(id) {
            peer.endpoint.close(now);
            peer.drain(room, common);
            self.remove(now, common, id, reason);
        }
    }

    fn remove(&mut self, now: Instant, common: &mut Common, id: PeerId, reason: &'static str) {
        let Some(at) = self.index.remove(&id) else { return };
        // Its addresses were retired when it was closed.
        let gone = self.peers.swap_remove(at);
        for ufrag in gone.endpoint.local_ufrags() {
            common.route(gone.home, (self.id, id), Route::RetireUfrag(ufrag.to_owned()));
        }
        if let Some(moved) = self.peers.get(at) {
            self.index.insert(moved.id, at);
        }
        self.timers.remove(&id);
        self.fade_gone(now, gone);
        for peer in &mut self.peers {
            peer.hearing.release(id);
        }
        self.slots_changed(now, |_| false);
        common.stats.peers -= 1;
        common.events.push_back(Event::Disconnected {
            room: self.id,
            peer: id,
            reason,
        });
    }

    /// Lets a participant be heard, or silences them.
    pub(crate) fn set_speak(&mut self, now: Instant, common: &mut Common, id: PeerId, speak: bool) {
        if !speak {
            self.fade_muted(id);
        }
        if let Some(peer) = self.peer_mut(id) {
            peer.set_speak(speak);
            if !speak {
                // The detector would take the release time to notice; everybody should see at once who is muted.
                let was = peer.detector.speaking();
                peer.detector = speaking::Detector::default();
                if was {
                    common.events.push_back(Event::Speaking {
                        room: self.id,
                        peer: id,
                        speaking: false,
                    });
                }
            }
            if !speak {
                for listener in &mut self.peers {
                    listener.hearing.pause(Some(id));
                }
            }
            self.keep_ticking(now);
        }
    }

    /// Lets a participant hear, or deafens them.
    pub(crate) fn set_listen(&mut self, id: PeerId, listen: bool) {
        if let Some(peer) = self.peer_mut(id) {
            peer.set_listen(listen);
        }
    }

    /// A participant's figures.
    pub(crate) fn peer_stats(&self, id: PeerId) -> Option<PeerStats> {
        let peer = &self.peers[*self.index.get(&id)?];
        let alone = peer.output.is_some_and(|output| self.outputs.listeners(output) == 1);
        Some(peer.stats(alone))
    }

    /// What kind of room it is, for those who come from now on.
    pub(crate) fn set_kind(&mut self, stereo: bool, slots: Option<u32>) {
        self.stereo = stereo;
        self.slots = slots.map(|slots| slots as usize);
    }

    /// How the room is heard.
    pub(crate) fn set_policy(&mut self, now: Instant, default_gain: f32, max_talkers: Option<u32>, select: Select) {
        self.gains.set_default(default_gain);
        self.max_talkers = max_talkers.map_or(usize::MAX, |most| most as usize);
        self.select = select;
        self.slots_changed(now, |_| true);
    }

    /// Changes what single listeners hear of single speakers; takes effect at the next tick.
    pub(crate) fn set_gains(&mut self, now: Instant, cells: &[GainCell]) {
        for cell in cells {
            // A cell for someone who isn't here would outlive everybody.
            if self.index.contains_key(&cell.listener) && self.index.contains_key(&cell.speaker) {
                self.gains.set(
                    cell.listener,
                    cell.speaker,
                    cell.gain.map(|gain| Weight::new(gain, cell.pan)),
                );
            }
        }
        if self.slots.is_some() {
            let listeners: HashSet<PeerId> = cells.iter().map(|cell| cell.listener).collect();
            self.slots_changed(now, |peer| listeners.contains(&peer));
        }
    }

    /// A datagram for a participant.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        common: &mut Common,
        id: PeerId,
        from: SocketAddr,
        datagram: &mut [u8],
    ) {
        let Some(&at) = self.index.get(&id) else { return };
        let peer = &mut self.peers[at];
        if let Some(packet) = peer
            .endpoint
            .handle_datagram(now, from, datagram)
            .filter(|_| peer.speak)
        {
            if self.slots.is_some() {
                self.forward(now, common, at, &packet);
                self.keep_ticking(now);
            } else if peer.take_packet(now, &packet) {
                self.keep_ticking(now);
            }
        }
        self.after(now, common, id);
    }

    // After every call into a participant's endpoint: what it tells, what it sends, when it wants to be called.
    fn after(&mut self, now: Instant, common: &mut Common, id: PeerId) {
        let room = self.id;
        let Some(&at) = self.index.get(&id) else { return };
        let peer = &mut self.peers[at];
        let closed = peer.drain(room, common);
        let due = peer.endpoint.poll_timeout();
        let untold = peer.hearing.changed;
        match (closed, due) {
            (Some(reason), _) => self.remove(now, common, id, reason.as_str()),
            // A deadline that has passed already waits a moment, so that an endpoint can't spin the loop.
            (None, Some(due)) => {
                let due = common.unhurried(now, due);
                self.timers.at(id, due.max(now + Duration::from_millis(1)));
            }
            (None, None) => {}
        }
        if untold {
            self.keep_ticking(now);
        }
    }

    /// Ticks that are due, and what the participants' endpoints have to do by now.
    pub(crate) fn handle_timeout(&mut self, now: Instant, common: &mut Common) {
        while let Some(id) = self.timers.fire(now) {
            if let Some(peer) = self.peer_mut(id) {
                peer.endpoint.handle_timeout(now);
                self.after(now, common, id);
            }
        }
        self.ticks(now, common);
    }

    /// When [`Room::handle_timeout`] should be called.
    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let tick = self.next_tick.map(|n| self.tick_time(n));
        match (tick, self.timers.next()) {
            (Some(tick), Some(timer)) => Some(tick.min(timer)),
            (tick, timer) => tick.or(timer),
        }
    }

    /// The routes of those participants whose home is `shard`.
    pub(crate) fn routes_by(&self, shard: ShardIndex) -> Vec<(PeerId, Route)> {
        let mut routes = Vec::new();
        for peer in self.peers.iter().filter(|peer| peer.home == shard) {
            let ufrags = peer.endpoint.local_ufrags().map(|ufrag| Route::Ufrag(ufrag.to_owned()));
            let addresses = peer.endpoint.addresses().map(Route::Address);
            routes.extend(ufrags.chain(addresses).map(|route| (peer.id, route)));
        }
        routes
    }

    fn peer_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.index.get(&id).map(|at| &mut self.peers[*at])
    }

    /// Panics at the next tick, which comes at once.
    #[cfg(debug_assertions)]
    pub(crate) fn fail_at_next_tick(&mut self, now: Instant) {
        self.fault = true;
        self.keep_ticking(now);
    }
}

fn refuse(common: &mut Common, room: RoomId, peer: PeerId, code: RefusalCode, message: &str) {
    let message = message.to_owned();
    let refused = Event::Refused {
        room,
        peer,
        code,
        message,
    };
    common.events.push_back(refused);
}
