//! A room that forwards (an SFU with last-N): the packets of the most relevant talkers go on to each listener as they came, each
//! talker in a slot.
//!
//! Nothing is mixed, decoded or held back: a packet is sent on within the call that brought it. A slot carries one stream to its
//! listener, whoever is in it: sequence numbers and timestamps go on where those of the talker before left off. Lost packets and those
//! out of order stay so, and the listener's jitter buffer treats them as it would in a talker's own stream.
//!
//! The tick of such a room only follows levels and tells listeners of their slots.

use std::time::{Duration, Instant};

use roomtone_audio::{Channels, FRAME_SAMPLES, PlayoutStats};
use roomtone_transport::{EndpointOptions, MAX_PAYLOAD, RtpIn, SlotOut};

use super::base::RoomBase;
use super::context::ShardContext;
use super::forwarded_stream::ForwardedStream;
use super::peer::Peer;
use super::speech_detector::SILENCE;
use super::streams::{ListenerStreams, SlotList, TalkerState};
use crate::command::{Event, PeerId, PeerStats, RoomKind, SlotCell, SourceCell};
use crate::config::MixConfig;

/// The least time between two lists of slots for a listener.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// A listener with somebody in a slot is told again after this time: without the list they hear nothing, and it may have been lost
/// on the way, when a process between the engine and the client was replaced.
const TELL_AGAIN: Duration = Duration::from_secs(2);
/// The most talkers beside those in slots whose gains a listener is told in advance.
const MOST_OTHERS: usize = 64;

/// The half of a room that belongs to forwarding; [`RoomBase`] is the other.
pub(super) struct Forwarding {
    /// Whether talkers may send stereo.
    stereo: bool,
    /// The most talkers that each listener gets.
    slots: usize,
    /// The newest talker's contributing source (RFC 3550). The room chooses it, so nobody can pass for another.
    sources: u32,
    /// In the order of the base's peers.
    peers: Vec<ForwardedPeer>,
}

/// A participant's half in a forwarding room.
struct ForwardedPeer {
    talker: TalkerState,
    streams: ListenerStreams,
}

impl Forwarding {
    /// Without participants.
    pub(super) fn new(slots: u32, stereo: bool) -> Forwarding {
        Forwarding {
            stereo,
            slots: slots as usize,
            sources: 0,
            peers: Vec::new(),
        }
    }

    /// The kind of its room.
    pub(super) fn room_kind(&self) -> RoomKind {
        RoomKind::Forward {
            slots: self.slots as u32,
            stereo: self.stereo,
        }
    }

    /// The media that a newcomer is offered.
    pub(super) fn endpoint_options(&self, config: &MixConfig) -> EndpointOptions {
        let uplink = if self.stereo { Channels::Stereo } else { Channels::Mono };
        EndpointOptions {
            stereo: false,
            uplink_stereo: self.stereo,
            uplink_bitrate: Some(MixConfig::bitrate_of(config.uplink_bitrate, uplink)),
            slots: self.slots,
            ..EndpointOptions::default()
        }
    }

    /// The base has a new participant, its last. A client without further m-lines gets one talker on the only one it has.
    pub(super) fn pushed(&mut self, peer: &Peer) {
        self.sources = self.sources.wrapping_add(1).max(1);
        self.peers.push(ForwardedPeer {
            talker: TalkerState::new(self.sources),
            streams: ListenerStreams::new(peer.endpoint.slots().max(1)),
        });
    }

    /// The base has removed a participant.
    pub(super) fn swap_removed(&mut self, base: &mut RoomBase, now: Instant, at: usize, id: PeerId) {
        self.peers.swap_remove(at);
        base.gains.forget(id);
        for peer in &mut self.peers {
            peer.streams.release(id);
        }
        self.gains_changed(base, now, |_| false);
    }

    /// A participant is connected, or has offered anew: they may know nothing of their slots.
    pub(super) fn tell_anew(&mut self, base: &mut RoomBase, now: Instant, at: usize) {
        self.peers[at].streams.tell_anew();
        base.grid.keep_ticking(now);
    }

    /// Silences a talker.
    pub(super) fn mute(&mut self, at: usize, id: PeerId) {
        self.peers[at].talker.mute();
        for listener in &mut self.peers {
            listener.streams.pause(Some(id));
        }
    }

    /// Deafens a listener.
    pub(super) fn deafen(&mut self, at: usize) {
        self.peers[at].streams.pause(None);
    }

    /// A participant's figures.
    pub(super) fn peer_stats(&self, base: &RoomBase, now: Instant, at: usize) -> PeerStats {
        base.peers[at].stats(now, &PlayoutStats::default(), false)
    }

    /// Whether a listener has yet to be told of a change.
    pub(super) fn has_work(&self) -> bool {
        self.peers.iter().any(|peer| peer.streams.changed)
    }

    /// Sends a talker's packet on to the listeners who hear them.
    pub(super) fn forward(
        &mut self,
        base: &mut RoomBase,
        now: Instant,
        context: &mut ShardContext,
        talker: usize,
        packet: &RtpIn<'_>,
    ) {
        let id = base.peers[talker].id;
        let state = &mut self.peers[talker].talker;
        if !state.bucket.take(now, packet.payload.len()) {
            context.stats.packets_refused += 1;
            return;
        }
        // Each listener's endpoint leaves it out, and counts it.
        context.stats.packets_oversized += u64::from(packet.payload.len() > MAX_PAYLOAD);
        let level = state.update_level(now, packet, &mut context.scratch.mix);
        let source = state.source;
        let (open, rank) = (state.rank.is_open(now), state.rank.rank(now, base.select, false));
        base.update_speaking(now, context, talker, level);
        let Ok(info) = roomtone_audio::packet::parse(packet.payload) else {
            return;
        };
        self.peers[talker].talker.keep(now, packet);
        let mut introduction = std::mem::take(&mut context.scratch.introduction);
        introduction.renew();
        let outgoing = Outgoing {
            packet,
            source,
            level,
            samples: info.samples,
            media_time: base.grid.media_time(now),
        };
        for index in 0..self.peers.len() {
            let listener = &base.peers[index];
            // No slots before the connection: the client can't know any talker while its answer is still on the way.
            if index == talker || !listener.endpoint.is_connected() {
                continue;
            }
            let gain = base.gains.gain(listener.id, id);
            if gain == 0.0 {
                self.peers[index].streams.release(id);
            }
            if gain == 0.0 || !listener.listen {
                self.peers[talker].talker.refuse(listener.id);
                continue;
            }
            let found = self.peers[index].streams.slot_of(id);
            if !open {
                if let Some(slot) = found {
                    self.peers[index].streams.slots[slot].pause();
                }
                continue;
            }
            let free = || self.slot_for(base, now, context, index, rank + decibels(gain));
            let Some(slot) = found.or_else(free) else { continue };
            let listener = &mut base.peers[index];
            if found.is_some() {
                let stream = &mut self.peers[index].streams.slots[slot];
                let sent = outgoing.send(now, context, listener, stream, slot, false);
                base.forwarded(now, context, sent.then_some(id), index);
                continue;
            }
            let history = self.peers[talker]
                .talker
                .history_for(listener.id)
                .filter(|_| !info.stereo);
            let lead_in = introduction.get(history, packet.payload, info.samples);
            let streams = &mut self.peers[index].streams;
            streams.changed = true;
            base.grid.hurry();
            let stream = &mut streams.slots[slot];
            stream.give(id);
            let introduced =
                lead_in.is_some_and(|lead_in| outgoing.introduce(now, context, listener, stream, slot, lead_in));
            let sent = outgoing.send(now, context, listener, stream, slot, introduced);
            base.forwarded(now, context, sent.then_some(id), index);
        }
        context.scratch.introduction = introduction;
    }

    // A slot that is free, or whose talker is less relevant to this listener.
    fn slot_for(
        &self,
        base: &RoomBase,
        now: Instant,
        context: &ShardContext,
        listener: usize,
        relevance: f32,
    ) -> Option<usize> {
        let slots = &self.peers[listener].streams.slots;
        let listener = base.peers[listener].id;
        let most = slots.len().min(base.most_talkers(context));
        let worth = |slot: &ForwardedStream| match slot.talker.and_then(|id| Some((id, base.position(id)?))) {
            None => f32::NEG_INFINITY,
            Some((id, at)) => {
                let rank = &self.peers[at].talker.rank;
                if rank.is_open(now) {
                    rank.rank(now, base.select, true) + decibels(base.gains.gain(listener, id))
                } else {
                    // Silent by now: anybody is more relevant, and an empty slot is better still.
                    f32::MIN
                }
            }
        };
        let (slot, least) = slots[..most]
            .iter()
            .map(worth)
            .enumerate()
            .min_by(|a, b| a.1.total_cmp(&b.1))?;
        (relevance > least).then_some(slot)
    }

    /// One tick: levels, slots beyond what policy and load allow, and lists of slots.
    pub(super) fn tick(&mut self, base: &mut RoomBase, at: Instant, context: &mut ShardContext) {
        for index in 0..self.peers.len() {
            if self.peers[index].talker.is_absent(at) {
                base.update_speaking(at, context, index, SILENCE);
            }
            self.peers[index].talker.pass_time(at);
            self.peers[index].streams.keep(base.most_talkers(context));
            self.tell_slots(base, at, context, index);
        }
    }

    fn tell_slots(&mut self, base: &RoomBase, at: Instant, context: &mut ShardContext, listener: usize) {
        let streams = &mut self.peers[listener].streams;
        if !base.peers[listener].endpoint.is_connected() {
            // They are told once they are.
            streams.changed = false;
            return;
        }
        let since = streams
            .told_at
            .map_or(Duration::MAX, |told| at.saturating_duration_since(told));
        if since >= TELL_AGAIN && streams.in_use() {
            streams.tell_anew();
        }
        if !streams.changed || since < TELL_EVERY {
            return;
        }
        streams.changed = false;
        let list = self.slot_list(base, listener);
        let streams = &mut self.peers[listener].streams;
        if streams.told.as_ref() != Some(&list) {
            streams.told = Some(list.clone());
            streams.told_at = Some(at);
            let SlotList { slots, others, rest } = list;
            context.events.push_back(Event::Slots {
                room: base.id,
                peer: base.peers[listener].id,
                slots,
                others,
                rest,
            });
        }
    }

    fn slot_list(&self, base: &RoomBase, listener: usize) -> SlotList {
        let streams = &self.peers[listener].streams;
        let listener = base.peers[listener].id;
        let source = |talker: PeerId| base.position(talker).map(|at| self.peers[at].talker.source);
        let cell = |(slot, held): (usize, &ForwardedStream)| {
            let heard = held.talker.map(|talker| base.gains.of(listener, talker));
            SlotCell {
                slot: slot as u8,
                speaker: held.talker,
                source: held.talker.and_then(source).unwrap_or(0),
                gain: heard.map_or(0.0, |heard| heard.gain),
                pan: heard.map_or(0.0, |heard| heard.pan),
            }
        };
        // Packets of talkers at gain 0 never get there, so there is nothing to tell of them.
        let special = base.gains.special(listener).filter(|(_, heard)| heard.gain > 0.0);
        let mut others: Vec<SourceCell> = special
            .filter_map(|(speaker, heard)| {
                Some(SourceCell {
                    speaker,
                    source: source(speaker)?,
                    gain: heard.gain,
                    pan: heard.pan,
                })
            })
            .collect();
        others.sort_unstable_by(|a, b| a.gain.total_cmp(&b.gain).then(a.speaker.cmp(&b.speaker)));
        let more = others.get(MOST_OTHERS).map_or(f32::INFINITY, |cell| cell.gain);
        others.truncate(MOST_OTHERS);
        let default = base.gains.default_gain();
        let rest = if default > 0.0 { default.min(more) } else { more };
        SlotList {
            slots: streams.slots.iter().enumerate().map(cell).collect(),
            others,
            rest: if rest.is_finite() { rest } else { 0.0 },
        }
    }

    /// Gains have changed for the listeners that `concerns` picks. They are told, with all who were waiting for a list.
    pub(super) fn gains_changed(&mut self, base: &mut RoomBase, now: Instant, concerns: impl Fn(PeerId) -> bool) {
        for (listener, peer) in base.peers.iter().zip(&mut self.peers) {
            peer.streams.changed |= concerns(listener.id);
        }
        if self.has_work() {
            base.grid.keep_ticking(now);
        }
    }
}

/// A talker's packet on its way to the listeners.
struct Outgoing<'a> {
    packet: &'a RtpIn<'a>,
    source: u32,
    level: u8,
    samples: u32,
    media_time: u32,
}

impl Outgoing<'_> {
    // Sends what leads up to the packet on a stream that has had another talker. Whether it was sent.
    fn introduce(
        &self,
        now: Instant,
        context: &mut ShardContext,
        listener: &mut Peer,
        stream: &mut ForwardedStream,
        slot: usize,
        (level, payload): (u8, &[u8]),
    ) -> bool {
        let header = stream.introduced(self.media_time);
        let audio = SlotOut {
            sequence: header.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            csrc: Some(self.source),
            level: Some(level),
            payload,
        };
        let sent = listener.send_slot(now, slot, &audio, context);
        if sent {
            stream.sent_own(&header, FRAME_SAMPLES as u32);
            context.stats.packets_sent += 1;
        }
        sent
    }

    // `introduced`: the talk spurt has begun already. Whether it was sent.
    fn send(
        &self,
        now: Instant,
        context: &mut ShardContext,
        listener: &mut Peer,
        stream: &mut ForwardedStream,
        slot: usize,
        introduced: bool,
    ) -> bool {
        let packet = self.packet;
        let rewrite = stream.rewrite(
            packet.ssrc,
            packet.seq,
            packet.timestamp,
            packet.marker,
            self.media_time,
        );
        let Some(rewrite) = rewrite else { return false };
        let audio = SlotOut {
            sequence: rewrite.header.sequence,
            timestamp: rewrite.header.timestamp,
            marker: rewrite.header.marker && !introduced,
            csrc: Some(self.source),
            level: Some(self.level),
            payload: packet.payload,
        };
        let sent = listener.send_slot(now, slot, &audio, context);
        if sent {
            stream.sent(&rewrite, self.samples);
            context.stats.packets_sent += 1;
        }
        sent
    }
}

fn decibels(gain: f32) -> f32 {
    20.0 * gain.log10()
}
