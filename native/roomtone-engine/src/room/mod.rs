//! A room: its participants, and every 20 ms a tick, as long as somebody is to be heard.
//!
//! A room either mixes or forwards; [`Kind`] is the half that differs, [`RoomBase`] the half that both share.

mod adaptation;
mod audible;
mod base;
mod context;
mod crossing;
mod ears;
mod encoder_profile;
mod fade_out;
mod feed;
mod forwarded_stream;
mod forwarding;
mod gains;
mod introduction;
mod kind;
mod listener_stream;
mod loudness;
mod mix_encoder;
mod mixing;
mod packing;
mod passing;
mod peer;
mod places;
mod port;
mod recording;
mod replaying;
mod row_mix;
mod scratch;
mod shared_mixes;
mod source;
mod speaker_rank;
mod speech_detector;
mod spurt_numbers;
mod streams;
mod tap;
mod tick_grid;
mod token_bucket;
mod traces;
mod treatment;
mod trunks;
mod unheard;
mod voice_activity;
mod without_transport;

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roomtone_audio::AudioError;
use roomtone_transport::{AcceptError, Endpoint, Offer, OfferKind, Packet};

use self::base::RoomBase;
pub(crate) use self::context::ShardContext;
use self::gains::GainPan;
use self::kind::Kind;
pub(crate) use self::peer::Newcomer;
use self::peer::Peer;
pub(crate) use self::scratch::Scratch;
use self::source::Source;
use self::tick_grid::Tick;
pub(crate) use self::traces::SealedTrace;
use self::trunks::Trunks;
use crate::command::{
    Distance, EndReason, Event, GainCell, PeerId, PeerStats, PlaceCell, Refusal, RoomId, RoomKind, Select, ShardIndex,
};
use crate::inputs::{Input, Recorder, Sound};
use crate::routes::Route;
use crate::timers::Timers;
use crate::trace::Stage;
use crate::voice::Voice;

pub(crate) struct Room {
    base: RoomBase,
    kind: Kind,
    /// The participants without a transport.
    sources: Vec<Source>,
    /// The participants who are taps.
    taps: Vec<PeerId>,
    /// The ways to other media nodes, and the participants who are heard by them.
    trunks: Trunks,
    timers: Timers<PeerId>,
    fault: bool,
    /// While everything that goes into the room is recorded.
    recorder: Option<Box<Recorder>>,
}

impl Room {
    /// An empty room, whose ticks are whole frames after `grid`.
    pub(crate) fn new(id: RoomId, kind: RoomKind, grid: Instant) -> Room {
        Room {
            base: RoomBase::new(id, grid),
            kind: Kind::new(kind),
            sources: Vec::new(),
            taps: Vec::new(),
            trunks: Trunks::default(),
            timers: Timers::default(),
            fault: false,
            recorder: None,
        }
    }

    /// Changes the kind of a room that nobody is in. A room with participants stays as it is.
    pub(crate) fn set_kind(&mut self, kind: RoomKind) {
        if self.base.peers.is_empty() {
            self.note(|| Input::Kind(kind));
            if let Kind::Mixing(mixing) = &mut self.kind {
                mixing.end_fading(&mut self.base);
            }
            self.kind = Kind::new(kind);
        }
    }

    /// The number of participants.
    pub(crate) fn len(&self) -> usize {
        self.base.peers.len()
    }

    /// A new participant: answers their offer, or refuses it.
    pub(crate) fn join(&mut self, now: Instant, context: &mut ShardContext, offer: &Offer, newcomer: Newcomer) {
        if let Err(refusal) = self.admit(now, context, offer, newcomer) {
            self.refuse(context, newcomer.id, refusal);
        }
    }

    fn admit(
        &mut self,
        now: Instant,
        context: &mut ShardContext,
        offer: &Offer,
        newcomer: Newcomer,
    ) -> Result<(), Refusal> {
        let Newcomer { id, speak, listen } = newcomer;
        if self.base.position(id).is_some() {
            return Err(Refusal::PeerExists);
        }
        // A client may be allowed to speak or listen during the call: the SDP leaves both open, and the room decides at each tick.
        let options = match &self.kind {
            Kind::Mixing(mixing) => mixing.endpoint_options(&context.mix),
            Kind::Forwarding(forwarding) => forwarding.endpoint_options(&context.mix),
        };
        let (transport, certificate) = (context.transport.clone(), context.certificate.clone());
        let (endpoint, sdp) = Endpoint::accept(now, offer, transport, certificate, options)?;
        let mut peer = Peer::new(id, context.index, endpoint, speak, listen);
        self.note_join(&mut peer);
        self.kind.pushed(&peer);
        self.base.push(peer);
        self.base.note_packing(self.base.peers.len() - 1);
        self.answer(now, context, id, sdp);
        Ok(())
    }

    /// A further offer of a participant: answered by their endpoint, or by a new participant in their place.
    pub(crate) fn reoffer(
        &mut self,
        now: Instant,
        context: &mut ShardContext,
        id: PeerId,
        offer: &Offer,
        replacement: Newcomer,
    ) {
        let Some(at) = self.base.position(id) else {
            return self.refuse(context, id, Refusal::NoPeer);
        };
        let Some(endpoint) = self.base.peers[at].endpoint.endpoint_mut() else {
            return self.refuse(context, id, Refusal::NoPeer);
        };
        let kind = endpoint.judge(offer);
        let answered = match endpoint.reoffer(now, offer) {
            Ok(sdp) => {
                self.base.peers[at].renegotiate();
                self.base.note_packing(at);
                self.note_facts(at);
                if let Kind::Forwarding(forwarding) = &mut self.kind {
                    if let Some(recorder) = &mut self.recorder {
                        recorder.write(Input::TellAnew { peer: id });
                    }
                    forwarding.tell_anew(&mut self.base, now, at);
                }
                self.answer(now, context, id, sdp);
                Ok(())
            }
            // A new connection that has nothing in common with the present one.
            Err(AcceptError::Sdp(_)) if kind == OfferKind::NewConnection => {
                let new = replacement.id;
                let admitted = self.admit(now, context, offer, replacement);
                if admitted.is_ok() {
                    self.note(|| Input::SamePerson {
                        peer: id,
                        replacement: new,
                    });
                    self.set_same_person(id, new);
                }
                admitted
            }
            Err(error) => Err(error.into()),
        };
        if let Err(refusal) = answered {
            self.refuse(context, id, refusal);
        }
    }

    // A participant gets another connection: neither of the two hears the other until the first has left and their last frame has faded out,
    // and the treatment of the voice goes on.
    fn set_same_person(&mut self, present: PeerId, replacement: PeerId) {
        self.base.gains.set_same_person(present, replacement);
        if let Kind::Mixing(mixing) = &mut self.kind
            && let (Some(from), Some(to)) = (self.base.position(present), self.base.position(replacement))
        {
            mixing.hand_over_treatment(from, to);
        }
    }

    fn answer(&mut self, now: Instant, context: &mut ShardContext, id: PeerId, sdp: String) {
        let (room, peer) = (self.base.id, id);
        context.events.push_back(Event::Answer { room, peer, sdp });
        if let Some(peer) = self.base.peer_mut(id) {
            for ufrag in peer.endpoint.local_ufrags() {
                context.route(peer.home, (room, id), Route::Ufrag(ufrag.to_owned()));
            }
        }
        self.after(now, context, id, now);
    }

    fn refuse(&self, context: &mut ShardContext, peer: PeerId, refusal: Refusal) {
        let room = self.base.id;
        context.events.push_back(Event::Refused { room, peer, refusal });
    }

    /// Ends a participant, with a goodbye on the wire.
    pub(crate) fn leave(&mut self, now: Instant, context: &mut ShardContext, id: PeerId) {
        self.end(now, context, id, EndReason::Left);
    }

    /// Ends everybody.
    pub(crate) fn close(&mut self, now: Instant, context: &mut ShardContext) {
        while let Some(peer) = self.base.peers.last() {
            self.end(now, context, peer.id, EndReason::RoomClosed);
        }
        self.trunks.flush(now, context);
    }

    fn end(&mut self, now: Instant, context: &mut ShardContext, id: PeerId, reason: EndReason) {
        let room = self.base.id;
        if let Some(peer) = self.base.peer_mut(id) {
            peer.endpoint.close(now);
            peer.drain(room, context, &mut self.recorder);
            self.remove(now, context, id, reason);
        }
    }

    fn remove(&mut self, now: Instant, context: &mut ShardContext, id: PeerId, reason: EndReason) {
        let Some(at) = self.base.position(id) else { return };
        self.note_leave(at);
        let room = self.base.id;
        self.base.traces.silenced(room, context, id);
        // Its addresses were retired when it was closed.
        let gone = self.base.swap_remove(at);
        for ufrag in gone.endpoint.local_ufrags() {
            context.route(gone.home, (room, id), Route::RetireUfrag(ufrag.to_owned()));
        }
        self.timers.remove(&id);
        self.sources.retain(|source| source.id != id);
        self.taps.retain(|tap| *tap != id);
        match &mut self.kind {
            Kind::Mixing(mixing) => mixing.swap_removed(&mut self.base, now, at, id),
            Kind::Forwarding(forwarding) => forwarding.swap_removed(&mut self.base, now, at, id),
        }
        // A voice ends, which isn't to wait.
        self.base.grid.hurry();
        // Their own node tells of them.
        if !self.trunks.forget(id) {
            let peer = id;
            context.events.push_back(Event::Disconnected { room, peer, reason });
        }
    }

    /// Lets the others hear a participant, or silences them.
    pub(crate) fn set_speak(&mut self, now: Instant, context: &mut ShardContext, id: PeerId, speak: bool) {
        let Some(at) = self.base.position(id) else { return };
        self.note(|| Input::Speak { peer: id, speak });
        self.base.peers[at].speak = speak;
        if !speak {
            self.kind.mute(at, id);
            self.trunks.pause(id);
            self.base.cease_speaking(context, at);
            self.base.traces.silenced(self.base.id, context, id);
        }
        self.base.grid.keep_ticking(now);
    }

    /// Changes what is done to a talker's voice. A room that forwards does nothing to any.
    pub(crate) fn set_voice(&mut self, id: PeerId, voice: Voice, suppress: bool) {
        let Some(at) = self.base.position(id) else { return };
        self.note(|| Input::Voice { peer: id, voice });
        let Kind::Mixing(mixing) = &mut self.kind else { return };
        let treatment = mixing.treatment(at);
        let changes = treatment.suppresses() != suppress;
        treatment.set(voice, suppress);
        if changes {
            self.note(|| Input::SuppressNoise { peer: id, suppress });
        }
    }

    /// Whether anybody's noise is to be suppressed.
    pub(crate) fn suppresses_noise(&self) -> bool {
        match &self.kind {
            Kind::Mixing(mixing) => mixing.peers.iter().any(|peer| peer.treatment.suppresses()),
            Kind::Forwarding(_) => false,
        }
    }

    /// Lets a participant hear the others, or deafens them.
    pub(crate) fn set_listen(&mut self, id: PeerId, listen: bool) {
        let Some(at) = self.base.position(id) else { return };
        self.note(|| Input::Listen { peer: id, listen });
        self.base.peers[at].listen = listen;
        if let (Kind::Forwarding(forwarding), false) = (&mut self.kind, listen) {
            forwarding.deafen(at);
        }
    }

    /// Follows the next packet of a talker who is here.
    pub(crate) fn trace(&mut self, now: Instant, reference: u64, talker: PeerId, listener: Option<PeerId>) {
        if self.base.position(talker).is_some() {
            self.base.traces.ask(now, reference, talker, listener);
        }
    }

    /// A participant's figures.
    pub(crate) fn peer_stats(&self, now: Instant, id: PeerId) -> Option<PeerStats> {
        let at = self.base.position(id)?;
        Some(match &self.kind {
            Kind::Mixing(mixing) => mixing.peer_stats(&self.base, now, at),
            Kind::Forwarding(forwarding) => forwarding.peer_stats(&self.base, now, at),
        })
    }

    /// The room's default gain, and how talkers are selected.
    pub(crate) fn set_policy(&mut self, now: Instant, default_gain: f32, max_talkers: Option<u32>, select: Select) {
        self.note(|| Input::Policy {
            default_gain,
            max_talkers,
            select,
        });
        self.base.gains.set_default(default_gain);
        self.base.max_talkers = max_talkers.map_or(usize::MAX, |most| most as usize);
        self.base.select = select;
        if let Kind::Forwarding(forwarding) = &mut self.kind {
            forwarding.gains_changed(&mut self.base, now, |_| true);
        }
    }

    /// Changes the gains of pairs; takes effect at the next tick.
    pub(crate) fn set_gains(&mut self, now: Instant, cells: &[GainCell]) {
        self.note(|| Input::Gains {
            cells: Cow::Borrowed(cells),
        });
        for cell in cells {
            // A cell of a participant who isn't here would never be forgotten.
            if self.base.position(cell.listener).is_some() && self.base.position(cell.speaker).is_some() {
                let gain = cell.gain.map(|gain| GainPan::new(gain, cell.pan));
                self.base.gains.set(cell.listener, cell.speaker, gain);
            }
        }
        if let Kind::Forwarding(forwarding) = &mut self.kind {
            let listeners: HashSet<PeerId> = cells.iter().map(|cell| cell.listener).collect();
            forwarding.gains_changed(&mut self.base, now, |peer| listeners.contains(&peer));
        }
    }

    /// Puts participants in places, or takes their places away; takes effect at the next tick.
    pub(crate) fn set_places(&mut self, distance: Distance, cells: &[PlaceCell]) {
        self.note(|| Input::Places {
            distance,
            cells: Cow::Borrowed(cells),
        });
        self.base.gains.set_distance(distance);
        for cell in cells {
            // A place of a participant who isn't here would never be forgotten.
            if self.base.position(cell.peer).is_some() {
                self.base.gains.set_place(cell.peer, cell.place);
            }
        }
    }

    /// Something changes: the next tick doesn't wait for a packet. Ticks that have waited for one are made before.
    ///
    /// # Errors
    /// As [`Room::handle_timeout`].
    pub(crate) fn hurry(&mut self, now: Instant, context: &mut ShardContext) -> Result<(), AudioError> {
        self.recorded_at(now);
        self.make_waiting_ticks(now, context)?;
        if self.base.grid.waits() {
            self.note(|| Input::Hurry);
        }
        self.base.grid.hurry();
        self.trunks.gains_changed(now);
        Ok(())
    }

    fn make_waiting_ticks(&mut self, now: Instant, context: &mut ShardContext) -> Result<(), AudioError> {
        if self.base.grid.has_waited(now) {
            self.tick(now, context)?;
        }
        Ok(())
    }

    /// A packet for a participant. Ticks that have waited for one come before it.
    ///
    /// # Errors
    /// As [`Room::handle_timeout`].
    pub(crate) fn handle_packet(
        &mut self,
        now: Instant,
        context: &mut ShardContext,
        id: PeerId,
        from: SocketAddr,
        packet: Packet<'_>,
    ) -> Result<(), AudioError> {
        self.recorded_at(now);
        self.make_waiting_ticks(now, context)?;
        let Some(at) = self.base.position(id) else {
            return Ok(());
        };
        // The sound borrows the datagram, not the endpoint.
        let peer = &mut self.base.peers[at];
        let speak = peer.speak;
        let begun = self.base.traces.awaits(id).then(|| context.moment(now));
        let sound = peer.endpoint.handle_packet(now, from, packet);
        self.note_facts(at);
        if let Some(packet) = sound.filter(|_| speak) {
            self.note_shed(context);
            // Nobody follows a packet that was lost.
            for packet in packet.restored() {
                let sound = Sound::of(&packet);
                self.note(|| Input::Sound { peer: id, sound });
                tap::copy(&mut self.base, now, &self.taps, id, &packet);
                self.trunks.send(&self.base, now, context, id, &packet);
                self.kind.hear(&mut self.base, now, context, at, &packet);
            }
            let sound = Sound::of(&packet);
            self.note(|| Input::Sound { peer: id, sound });
            tap::copy(&mut self.base, now, &self.taps, id, &packet);
            self.trunks.send(&self.base, now, context, id, &packet);
            if let Some(begun) = begun {
                let kernel = context.arrived.unwrap_or(now);
                let opened = context.moment(now);
                let stamps = [
                    (Stage::Kernel, kernel),
                    (Stage::Shard, now),
                    (Stage::Room, begun),
                    (Stage::Opened, opened),
                ];
                // The system may not tell when it took the datagram in.
                let known = usize::from(context.arrived.is_none());
                self.base.traces.arrived(id, packet.timestamp, &stamps[known..]);
            }
            self.kind.hear(&mut self.base, now, context, at, &packet);
            self.base.packet_ends(context);
        }
        self.after(now, context, id, now);
        Ok(())
    }

    // After every call into a participant's endpoint: its events and datagrams, and when it wants to be called again, at `earliest`. Packets don't
    // push a deadline back that has passed: many of them would keep it from ever coming.
    fn after(&mut self, now: Instant, context: &mut ShardContext, id: PeerId, earliest: Instant) {
        let Some(at) = self.base.position(id) else { return };
        self.note_facts(at);
        let room = self.base.id;
        let peer = &mut self.base.peers[at];
        let drained = peer.drain(room, context, &mut self.recorder);
        let due = peer.endpoint.poll_timeout();
        if let (Kind::Forwarding(forwarding), true) = (&mut self.kind, drained.connected) {
            forwarding.tell_anew(&mut self.base, now, at);
        }
        match (drained.closed, due) {
            (Some(reason), _) => self.remove(now, context, id, EndReason::Transport(reason)),
            (None, Some(due)) => self.timers.schedule(id, context.unhurried(now, due).max(earliest)),
            (None, None) => {}
        }
    }

    /// Everything that is due: the participants' endpoints, and ticks.
    ///
    /// # Errors
    /// The codec refused what a tick made. That is a bug, and would repeat at every tick.
    pub(crate) fn handle_timeout(&mut self, now: Instant, context: &mut ShardContext) -> Result<(), AudioError> {
        self.recorded_at(now);
        if self.timers.next().is_some_and(|due| due <= now) {
            self.make_waiting_ticks(now, context)?;
        }
        while let Some(id) = self.timers.pop_due(now) {
            if let Some(peer) = self.base.peer_mut(id) {
                peer.endpoint.handle_timeout(now);
                // A deadline that has passed already waits a moment, so that an endpoint can't spin the loop.
                self.after(now, context, id, now + Duration::from_millis(1));
            }
        }
        self.trunks.handle_timeout(&self.base, &self.taps, now, context);
        let ticked = self.tick(now, context);
        // A tick that is due may have the packet that they wait for.
        self.base.send_packed(now, context);
        if let Some(recorder) = &mut self.recorder {
            recorder.hand_over_due();
        }
        ticked
    }

    // All ticks that are due.
    fn tick(&mut self, now: Instant, context: &mut ShardContext) -> Result<(), AudioError> {
        while self.base.grid.is_due(now) {
            let traced = !self.base.traces.is_empty();
            self.note_tick(context, traced);
            let Some(tick) = self.base.grid.pop_due(now) else { break };
            self.make_tick(tick, traced, now, context)?;
        }
        Ok(())
    }

    // One tick. `traced`: packets are followed.
    fn make_tick(
        &mut self,
        tick: Tick,
        traced: bool,
        now: Instant,
        context: &mut ShardContext,
    ) -> Result<(), AudioError> {
        assert!(!self.fault, "a fault was asked for");
        context.stats.ticks_skipped += tick.skipped;
        if !tick.waited {
            let late = now - tick.at;
            context.stats.tick_lateness.record(late);
            context.shed.late(late);
        }
        context.stats.ticks += 1;
        self.play_sources(tick, now, context);
        let (work_left, may_wait) = match &mut self.kind {
            Kind::Mixing(mixing) => {
                mixing.tick(&mut self.base, tick, now, context)?;
                (
                    mixing.has_work(),
                    context.mix.pass_through && mixing.may_wait(&self.base, tick.at),
                )
            }
            Kind::Forwarding(forwarding) => {
                forwarding.tick(&mut self.base, tick.at, context);
                (forwarding.has_work(), !forwarding.has_work())
            }
        };
        tap::tick(&mut self.base, context, &self.taps, tick);
        self.base.tell_levels(tick.at, context);
        let idle = self.taps.is_empty() && !self.sources.iter().any(Source::has_work);
        self.base.grid.wait_for_packets(may_wait && idle && !traced);
        if !work_left && !self.base.has_work() && idle {
            self.base.grid.rest();
        }
        Ok(())
    }

    /// A call has left packets waiting, of which the first goes out then.
    pub(crate) fn note_packed(&mut self, due: Option<Instant>) {
        self.base.next_packed = [self.base.next_packed, due].into_iter().flatten().min();
    }

    /// When [`Room::handle_timeout`] should be called.
    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let recorder = self.recorder.as_ref().and_then(|recorder| recorder.next());
        let due = [
            self.base.grid.next(),
            self.timers.next(),
            self.trunks.next(),
            recorder,
            self.base.next_packed,
        ];
        due.into_iter().flatten().min()
    }

    /// The routes of those participants whose home is `shard`.
    pub(crate) fn routes_by(&self, shard: ShardIndex) -> Vec<(PeerId, Route)> {
        let mut routes = Vec::new();
        for peer in self.base.peers.iter().filter(|peer| peer.home == shard) {
            let ufrags = peer.endpoint.local_ufrags().map(|ufrag| Route::Ufrag(ufrag.to_owned()));
            let addresses = peer.endpoint.addresses().map(Route::Address);
            routes.extend(ufrags.chain(addresses).map(|route| (peer.id, route)));
        }
        routes
    }

    /// Panics at the next tick, which comes at once: for tests of what a bug costs.
    pub(crate) fn fail_at_next_tick(&mut self, now: Instant) {
        self.note(|| Input::Fault);
        self.fault = true;
        self.base.grid.keep_ticking(now);
    }
}
