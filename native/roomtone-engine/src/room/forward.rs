//! Rooms of kind `forward`: packets of the most relevant talkers go on to each listener as they came, each talker in a slot.
//!
//! Nothing is mixed, decoded or held back: a packet is sent on within the call that brought it. What a slot carries is one stream
//! to its listener, whoever is in it: sequence numbers and timestamps go on where the one before left off. Lost packets and those
//! out of order stay so, and the listener's jitter buffer does with them what it would do with a talker's own stream.
//!
//! The tick of such a room only looks after levels, who speaks, and what listeners are told of their slots.

use std::time::{Duration, Instant};

use roomtone_audio::{Decoder, SAMPLE_RATE};
use roomtone_transport::RtpIn;

use super::Room;
use super::allowance::Allowance;
use super::slot::Slot;
use super::speaking::SILENCE;
use crate::command::{Event, PeerId, SlotCell, SourceCell};
use crate::context::Common;

/// A packet at or above this (−dBov) is background, not sound that anybody wants to hear.
const GATE: u8 = 80;
/// How long the gate stays open after the last packet that passed it.
const HOLD: Duration = Duration::from_millis(400);
/// How fast the remembered loudness falls, dB a second.
const FALL: f32 = 25.0;
/// Without a packet for so long, nothing comes of them.
const ABSENT: Duration = Duration::from_millis(60);
/// The least time between two lists of slots for a listener.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// While somebody is in a slot of theirs a listener is told again after this long: a list that was lost on the way to them (a
/// process between here and there was replaced, say) would leave them without sound.
const TELL_AGAIN: Duration = Duration::from_secs(2);
/// Of so many who differ from the rest a listener is told in advance how to play them.
const MOST_OTHERS: usize = 64;

/// A talker, as their packets tell of them.
pub(super) struct Voice {
    /// What their packets carry as contributing source.
    source: u32,
    loudness: f32,
    measured_at: Option<Instant>,
    passed_at: Option<Instant>,
    allowance: Allowance,
    /// For who tells no levels: the sound is looked at, and thrown away.
    decoder: Option<Decoder>,
}

impl Voice {
    pub(super) fn new(source: u32) -> Voice {
        Voice {
            source,
            loudness: -f32::from(SILENCE),
            measured_at: None,
            passed_at: None,
            allowance: Allowance::default(),
            decoder: None,
        }
    }

    /// They are muted: nothing of what they said is left. What they may send is as before.
    pub(super) fn forget(&mut self) {
        let allowance = self.allowance;
        *self = Voice {
            allowance,
            ..Voice::new(self.source)
        };
    }

    /// How loud they have been lately, dBov.
    fn loudness(&self, now: Instant) -> f32 {
        let since = self
            .measured_at
            .map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        (self.loudness - FALL * since.as_secs_f32()).max(-f32::from(SILENCE))
    }

    fn open(&self, now: Instant) -> bool {
        self.passed_at
            .is_some_and(|at| now.saturating_duration_since(at) < HOLD)
    }

    /// Nothing has come of them lately.
    pub(super) fn absent(&self, now: Instant) -> bool {
        self.measured_at
            .is_none_or(|at| now.saturating_duration_since(at) >= ABSENT)
    }

    // Takes a packet; its level.
    fn hear(&mut self, now: Instant, packet: &RtpIn<'_>, pcm: &mut Vec<f32>) -> u8 {
        let level = packet
            .level
            .map_or_else(|| self.measure(packet.payload, pcm), |(level, _)| level);
        self.loudness = self.loudness(now).max(-f32::from(level));
        self.measured_at = Some(now);
        if level < GATE {
            self.passed_at = Some(now);
        }
        level
    }

    fn measure(&mut self, payload: &[u8], pcm: &mut Vec<f32>) -> u8 {
        if self.decoder.is_none() {
            self.decoder = Decoder::new().ok();
        }
        pcm.clear();
        let decoded = self.decoder.as_mut().map(|decoder| decoder.decode(payload, pcm));
        match decoded {
            Some(Ok(_)) => roomtone_audio::level(pcm).dbov_minus,
            // What isn't Opus isn't sound.
            _ => SILENCE,
        }
    }
}

/// What a listener is told: [`Event::Slots`].
#[derive(Clone, PartialEq)]
struct Told {
    slots: Vec<SlotCell>,
    others: Vec<SourceCell>,
    rest: f32,
}

/// What one listener has of a forwarding room.
#[derive(Default)]
pub(super) struct Hearing {
    pub(super) slots: Vec<Slot>,
    pub(super) changed: bool,
    told: Option<Told>,
    told_at: Option<Instant>,
}

impl Hearing {
    /// With this many slots.
    pub(super) fn new(slots: usize) -> Hearing {
        Hearing {
            slots: (0..slots).map(|_| Slot::default()).collect(),
            ..Hearing::default()
        }
    }

    /// Which slot a talker is in.
    pub(super) fn slot_of(&self, talker: PeerId) -> Option<usize> {
        self.slots.iter().position(|slot| slot.talker == Some(talker))
    }

    /// Who it is for may know nothing of it: they are to be told all of it.
    pub(super) fn tell_anew(&mut self) {
        self.told = None;
        self.changed = !self.slots.is_empty();
    }

    /// Packets are left out from here on, a talker's or everybody's (`None`): the next that is sent begins a new talk spurt.
    pub(super) fn pause(&mut self, talker: Option<PeerId>) {
        for slot in &mut self.slots {
            if talker.is_none() || slot.talker == talker {
                slot.pause();
            }
        }
    }

    // Only the first few slots may be taken.
    fn keep(&mut self, most: usize) {
        for slot in self.slots.iter_mut().skip(most).filter(|slot| slot.talker.is_some()) {
            slot.release();
            self.changed = true;
        }
    }

    /// A talker is not to be heard here any more.
    pub(super) fn release(&mut self, talker: PeerId) {
        if let Some(at) = self.slot_of(talker) {
            self.slots[at].release();
            self.changed = true;
        }
    }
}

impl Room {
    /// Sends a talker's packet on to those who hear them.
    pub(super) fn forward(&mut self, now: Instant, common: &mut Common, talker: usize, packet: &RtpIn<'_>) {
        let speaker = &mut self.peers[talker];
        let id = speaker.id;
        let Some(voice) = speaker.voice.as_mut() else { return };
        if !voice.allowance.take(now, packet.payload.len()) {
            common.stats.packets_refused += 1;
            return;
        }
        let level = voice.hear(now, packet, &mut common.scratch.mix);
        let source = voice.source;
        let (open, rank) = (voice.open(now), self.select.rank(voice.loudness(now), false));
        self.heard(now, common, talker, level);
        let Ok(info) = roomtone_audio::packet::parse(packet.payload) else {
            return;
        };
        let media_time = self.media_time(now);
        for index in 0..self.peers.len() {
            let listener = &self.peers[index];
            // Whoever isn't connected gets no slots yet: nobody knows the number of somebody whose answer is still on its way.
            if index == talker || !listener.listen || !listener.endpoint.is_connected() {
                continue;
            }
            let gain = self.gains.weight(listener.id, id).gain;
            if gain == 0.0 {
                self.peers[index].hearing.release(id);
                continue;
            }
            let found = listener.hearing.slot_of(id);
            if !open {
                if let Some(slot) = found {
                    self.peers[index].hearing.slots[slot].pause();
                }
                continue;
            }
            let free = || self.slot_for(now, common, index, rank + decibels(gain));
            let Some(slot) = found.or_else(free) else { continue };
            let listener = &mut self.peers[index];
            if found.is_none() {
                listener.hearing.slots[slot].give(id);
                listener.hearing.changed = true;
            }
            listener.send_on(now, common, slot, packet, source, level, info.samples, media_time);
        }
    }

    // A slot that is free, or whose talker is less relevant to this listener.
    fn slot_for(&self, now: Instant, common: &Common, listener: usize, relevance: f32) -> Option<usize> {
        let listener = &self.peers[listener];
        let slots = &listener.hearing.slots;
        let most = slots.len().min(self.most_talkers(common));
        let worth = |slot: &Slot| {
            let holder = slot.talker.and_then(|talker| self.index.get(&talker));
            let holder = holder.map(|at| &self.peers[*at]);
            let voice = holder.and_then(|holder| holder.voice.as_ref().filter(|voice| voice.open(now)));
            match (holder, voice) {
                (Some(holder), Some(voice)) => {
                    self.select.rank(voice.loudness(now), true)
                        + decibels(self.gains.weight(listener.id, holder.id).gain)
                }
                // Silent by now: anybody is more relevant, and an empty slot is better still.
                (Some(_), None) => f32::MIN,
                (None, _) => f32::NEG_INFINITY,
            }
        };
        let (slot, least) = slots[..most]
            .iter()
            .map(worth)
            .enumerate()
            .min_by(|a, b| a.1.total_cmp(&b.1))?;
        (relevance > least).then_some(slot)
    }

    // How many are heard at once, by the room's policy and by what the shard can do now.
    fn most_talkers(&self, common: &Common) -> usize {
        self.max_talkers.min(common.shed.max_talkers())
    }

    // What others see of a talker.
    fn heard(&mut self, now: Instant, common: &mut Common, talker: usize, level: u8) {
        let (mix, peer) = (&common.mix, &mut self.peers[talker]);
        if peer
            .detector
            .update(now, level, mix.speaking_threshold, mix.speaking_release)
        {
            let speaking = peer.detector.speaking();
            let (room, peer) = (self.id, peer.id);
            common.events.push_back(Event::Speaking { room, peer, speaking });
        }
    }

    // On the room's grid, as in a mix, whole frames.
    fn media_time(&self, now: Instant) -> u32 {
        let since = now.saturating_duration_since(self.grid).as_millis() as u64;
        let frames = (since + 10) / 20;
        frames.wrapping_mul(u64::from(SAMPLE_RATE) / 50) as u32
    }

    /// What a room that forwards does every 20 ms while somebody talks.
    pub(super) fn forward_tick(&mut self, at: Instant, common: &mut Common) {
        for index in 0..self.peers.len() {
            if self.peers[index].voice.as_ref().is_some_and(|voice| voice.absent(at)) {
                self.heard(at, common, index, SILENCE);
            }
            let most = self.most_talkers(common);
            self.peers[index].hearing.keep(most);
            self.tell_slots(at, common, index);
        }
    }

    fn tell_slots(&mut self, at: Instant, common: &mut Common, listener: usize) {
        let peer = &mut self.peers[listener];
        let connected = peer.endpoint.is_connected();
        let hearing = &mut peer.hearing;
        if !connected {
            // They are told once they are.
            hearing.changed = false;
            return;
        }
        let since = hearing
            .told_at
            .map_or(Duration::MAX, |told| at.saturating_duration_since(told));
        if since >= TELL_AGAIN && hearing.slots.iter().any(|slot| slot.talker.is_some()) {
            hearing.tell_anew();
        }
        if !hearing.changed || since < TELL_EVERY {
            return;
        }
        hearing.changed = false;
        let told = self.to_tell(listener);
        let (room, listener) = (self.id, &mut self.peers[listener]);
        if listener.hearing.told.as_ref() != Some(&told) {
            listener.hearing.told = Some(told.clone());
            listener.hearing.told_at = Some(at);
            let Told { slots, others, rest } = told;
            common.events.push_back(Event::Slots {
                room,
                peer: listener.id,
                slots,
                others,
                rest,
            });
        }
    }

    fn to_tell(&self, listener: usize) -> Told {
        let listener = &self.peers[listener];
        let source = |talker: PeerId| {
            let voice = self.index.get(&talker).and_then(|at| self.peers[*at].voice.as_ref());
            voice.map(|voice| voice.source)
        };
        let cell = |(slot, held): (usize, &Slot)| {
            let weight = held.talker.map(|talker| self.gains.weight(listener.id, talker));
            SlotCell {
                slot: slot as u8,
                speaker: held.talker,
                source: held.talker.and_then(source).unwrap_or(0),
                gain: weight.map_or(0.0, |weight| weight.gain),
                pan: weight.map_or(0.0, |weight| weight.pan),
            }
        };
        // Packets of those who are at 0 never get there, so there is nothing to tell of them.
        let special = self.gains.special(listener.id).filter(|(_, weight)| weight.gain > 0.0);
        let mut others: Vec<SourceCell> = special
            .filter_map(|(speaker, weight)| {
                Some(SourceCell {
                    speaker,
                    source: source(speaker)?,
                    gain: weight.gain,
                    pan: weight.pan,
                })
            })
            .collect();
        others.sort_unstable_by(|a, b| a.gain.total_cmp(&b.gain).then(a.speaker.cmp(&b.speaker)));
        let more = others.get(MOST_OTHERS).map_or(f32::INFINITY, |cell| cell.gain);
        others.truncate(MOST_OTHERS);
        let default = self.gains.default_gain();
        let rest = if default > 0.0 { default.min(more) } else { more };
        Told {
            slots: listener.hearing.slots.iter().enumerate().map(cell).collect(),
            others,
            rest: if rest.is_finite() { rest } else { 0.0 },
        }
    }

    /// Gains or talkers have changed: who is concerned is told, and who was waiting to be.
    pub(super) fn slots_changed(&mut self, now: Instant, concerns: impl Fn(PeerId) -> bool) {
        let mut any = false;
        for peer in self.peers.iter_mut().filter(|peer| !peer.hearing.slots.is_empty()) {
            peer.hearing.changed |= concerns(peer.id);
            any |= peer.hearing.changed;
        }
        if any {
            self.keep_ticking(now);
        }
    }
}

fn decibels(gain: f32) -> f32 {
    20.0 * gain.log10()
}
