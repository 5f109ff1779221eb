//! A room that mixes (an MCU with mix-minus): every 20 ms a tick chooses the talkers, decodes them, makes one mix for each way of
//! hearing, encodes each mix once, and sends a packet to each listener.

use std::time::Instant;

use roomtone_audio::{
    AudioError, AudioLevel, Channels, Decoder, FRAME_DURATION, FRAME_SAMPLES, Frame, FrameKind, InsertOutcome, Playout,
    PlayoutConfig, RtpMeta, SAMPLE_RATE, Seam, mix,
};
use roomtone_transport::{EndpointOptions, RtpIn, SlotOut};

use super::audible;
use super::base::RoomBase;
use super::context::ShardContext;
use super::fade_out::FadeOut;
use super::feed::{Beginning, Feed, PacketTrend};
use super::gains::GainPan;
use super::listener_stream::ListenerStream;
use super::loudness::Loudness;
use super::peer::Peer;
use super::row_mix::{encode, mix_row};
use super::scratch::Scratch;
use super::shared_mixes::{MixId, SharedMixes};
use super::speaker_rank::SpeakerRank;
use super::speech_detector::SILENCE;
use super::tick_grid::Tick;
use super::token_bucket::TokenBucket;
use super::treatment::Treatment;
use super::voice_activity::VoiceActivity;
use crate::command::{PeerId, PeerStats};
use crate::config::MixConfig;
use crate::trace::{Stage, Way};

/// A mix at or below this (−dBov) is quiet enough to change encoders unnoticed.
const QUIET: u8 = 60;

/// In a stereo mix, music from the middle is as loud in each ear as it was sent: 3 dB louder than a voice, as its packets are.
pub(super) const MUSIC_IN_STEREO: f32 = std::f32::consts::SQRT_2;

/// The half of a room that belongs to mixing; [`RoomBase`] is the other.
pub(super) struct Mixing {
    /// Whether clients that ask for stereo get it.
    stereo: bool,
    /// In the order of the base's peers.
    pub(super) peers: Vec<MixedPeer>,
    pub(super) mixes: SharedMixes,
    /// Voices that were heard in the last tick and end with the next.
    pub(super) fading: Vec<FadeOut>,
    loudness: Loudness,
}

/// A participant's half in a mixing room.
#[derive(Default)]
pub(super) struct MixedPeer {
    /// The jitter buffer and decoder, made by the first packet: a mere listener needs none.
    pub(super) playout: Option<Playout>,
    rank: SpeakerRank,
    /// As a talker: what is done to their voice.
    pub(super) treatment: Treatment,
    /// Whether they were selected in the last tick, and so are heard.
    pub(super) selected: bool,
    /// Whether their last frame faded out.
    faded: bool,
    /// Whether they send audio levels (RFC 6464).
    sends_levels: bool,
    /// The level of their last decoded frame (−dBov), for talkers who don't send it.
    measured: Option<u8>,
    /// The mix that they hear.
    pub(super) mix: Option<MixId>,
    /// As a listener: the source of their packets.
    pub(super) feed: Feed,
    /// They have heard nothing yet, and will be passed the packets of one talker: until the first of these comes, no mix is made for them.
    pub(super) awaits_packet: bool,
    /// Whether the packets that they are passed on have been introduced.
    pub(super) introduced: bool,
    pub(super) stream: ListenerStream,
    /// The seam between a talker's packets and their mix of this tick.
    pub(super) seam: Option<Seam>,
    /// As a talker: voice activity by the levels in their packets.
    pub(super) activity: VoiceActivity,
    pub(super) trend: PacketTrend,
    pub(super) bucket: TokenBucket,
    /// The number of ticks in a row that played a pause of theirs.
    pub(super) paused_frames: u16,
    /// The number of ticks in a row without a frame of theirs, since the last pause.
    pub(super) missing_frames: u16,
    /// For talkers who send no levels: their packets are decoded, measured and thrown away.
    meter: Option<Decoder>,
}

impl Mixing {
    /// Without participants.
    pub(super) fn new(stereo: bool, auto_gain: bool) -> Mixing {
        Mixing {
            stereo,
            peers: Vec::new(),
            mixes: SharedMixes::default(),
            fading: Vec::new(),
            loudness: Loudness::new(auto_gain),
        }
    }

    /// Whether talkers' loudness is evened out.
    pub(super) fn has_auto_gain(&self) -> bool {
        self.loudness.is_on()
    }

    /// Whether listeners who ask for stereo get it.
    pub(super) fn is_stereo(&self) -> bool {
        self.stereo
    }

    /// The media that a newcomer is offered.
    pub(super) fn endpoint_options(&self, config: &MixConfig) -> EndpointOptions {
        EndpointOptions {
            stereo: self.stereo,
            // A mix makes mono of every voice. Clients in music mode send stereo unasked.
            uplink_stereo: false,
            uplink_bitrate: Some(MixConfig::bitrate_of(config.uplink_bitrate, Channels::Mono)),
            slots: 0,
            ..EndpointOptions::default()
        }
    }

    /// The base has a new participant, its last.
    pub(super) fn pushed(&mut self) {
        self.peers.push(MixedPeer::default());
    }

    /// The base has removed a participant. Their voice fades out with the next tick, and their gains are forgotten then.
    pub(super) fn swap_removed(&mut self, base: &mut RoomBase, now: Instant, at: usize, id: PeerId) {
        let passed = self.end_passed(id);
        let mut gone = self.peers.swap_remove(at);
        match gone.take_voice(passed) {
            Some(playout) => {
                self.fading
                    .push(FadeOut::gone(id, playout, gone.treatment.ending(gone.selected)));
                base.grid.keep_ticking(now);
            }
            // Muted since the last tick: their gains must last as long as their fade-out, or everybody would hear it.
            None => match self.fading.iter_mut().find(|fading| fading.id == id) {
                Some(fading) => fading.gone = true,
                None => base.gains.forget(id),
            },
        }
    }

    /// Silences a talker: their voice fades out with the next tick, and what was buffered is thrown away, so that after an unmute
    /// nobody hears what was said before the mute.
    pub(super) fn mute(&mut self, at: usize, id: PeerId) {
        let passed = self.end_passed(id);
        let peer = &mut self.peers[at];
        if let Some(playout) = peer.take_voice(passed) {
            self.fading
                .push(FadeOut::muted(id, playout, peer.treatment.ending(peer.selected)));
        }
        peer.playout = None;
        peer.rank = SpeakerRank::default();
        peer.selected = false;
        peer.faded = false;
        peer.activity.mute();
        peer.treatment.mute();
        peer.meter = None;
    }

    /// A participant is another's next connection: the treatment of their voice goes on from there.
    pub(super) fn hand_over_treatment(&mut self, from: usize, to: usize) {
        let treatment = std::mem::take(&mut self.peers[from].treatment);
        treatment.hand_over(&mut self.peers[to].treatment);
        self.peers[from].treatment = treatment;
    }

    /// The treatment of a talker's voice.
    pub(super) fn treatment(&mut self, at: usize) -> &mut Treatment {
        &mut self.peers[at].treatment
    }

    /// Takes a talker's packet to be mixed or passed on. Whether it can be.
    pub(super) fn take_packet(
        &mut self,
        base: &mut RoomBase,
        now: Instant,
        context: &mut ShardContext,
        at: usize,
        packet: &RtpIn<'_>,
    ) -> bool {
        let id = base.peers[at].id;
        let passes = context.mix.pass_through;
        let peer = &mut self.peers[at];
        let level = packet.level.map(|(dbov_minus, voice)| AudioLevel { dbov_minus, voice });
        let level = match level {
            None if passes => Some(peer.measure(packet.payload, &mut context.scratch.mix)),
            _ => level,
        };
        let playout = match &mut peer.playout {
            Some(playout) => playout,
            none => match Playout::new(PlayoutConfig::default()) {
                Ok(new) => none.insert(new),
                Err(error) => {
                    log::error!("no decoder for participant {id}: {error}");
                    return false;
                }
            },
        };
        let meta = RtpMeta {
            seq: packet.seq,
            timestamp: packet.timestamp,
            marker: packet.marker,
            level,
        };
        peer.treatment.prepare(&self.loudness);
        if playout.is_idle() {
            peer.missing_frames = 0;
        }
        let waiting = playout.waiting();
        let outcome = match packet.restored_after {
            None => playout.insert(now, meta, packet.payload),
            Some(reach) => playout.insert_restored(now, meta, packet.payload, reach),
        };
        if !base.traces.is_empty() && matches!(outcome, InsertOutcome::Queued | InsertOutcome::Reset) {
            base.traces.buffered(context.moment(now));
        }
        if matches!(outcome, InsertOutcome::Queued | InsertOutcome::Reset)
            && let Some(level) = level
        {
            peer.activity
                .arrived(now, level.dbov_minus, context.mix.speaking_threshold);
            if passes {
                let jumped = outcome == InsertOutcome::Reset;
                self.pass_on(base, now, context, at, packet, (level.dbov_minus, waiting, jumped));
            }
        }
        true
    }

    /// A participant's figures.
    pub(super) fn peer_stats(&self, base: &RoomBase, now: Instant, at: usize) -> PeerStats {
        let peer = &self.peers[at];
        let alone = peer.mix.is_some_and(|mix| self.mixes.listeners(mix) == 1);
        let playout = peer.playout.as_ref().map(Playout::stats).unwrap_or_default();
        PeerStats {
            passed_through: matches!(peer.feed, Feed::Passed(_)),
            auto_gain_db: peer.treatment.gain_db(),
            ..base.peers[at].stats(now, &playout, alone)
        }
    }

    /// Whether sound is buffered, fades out or is still being encoded.
    pub(super) fn has_work(&self) -> bool {
        let buffered = |peer: &MixedPeer| peer.playout.as_ref().is_some_and(|playout| !playout.is_idle());
        !self.fading.is_empty() || self.mixes.busy() || self.peers.iter().any(buffered)
    }

    /// After a tick at `at`: whether the next one may wait for a packet, since it would send nothing and nobody changes over. Packets of a
    /// talker who speaks and isn't passed to everybody end that wait ([`Mixing::pass_on`]).
    pub(super) fn may_wait(&self, base: &RoomBase, at: Instant) -> bool {
        self.fading.is_empty()
            && self.mixes.resting()
            && (self.peers.iter()).all(|peer| !peer.selected && !matches!(peer.feed, Feed::Leaving(_)))
            && (0..self.peers.len()).all(|talker| {
                let state = &self.peers[talker];
                !state.activity.is_audible(at) || (state.missing_frames == 0 && self.is_passed_to_all(base, talker))
            })
    }

    /// One tick.
    ///
    /// # Errors
    /// The codec refuses a mix. That is a bug, and would repeat at every tick.
    pub(super) fn tick(
        &mut self,
        base: &mut RoomBase,
        tick: Tick,
        now: Instant,
        context: &mut ShardContext,
    ) -> Result<(), AudioError> {
        let mut scratch = std::mem::take(&mut context.scratch);
        if !base.traces.is_empty() {
            base.traces.tick_begins(context.moment(now));
        }
        if context.mix.pass_through {
            self.leave_passed(base, tick.at, &mut scratch);
            self.take_up(base, tick.timestamp(), &mut scratch);
            self.cross_over(base, now, tick.timestamp(), context, &scratch.pass.speaking);
        }
        self.choose(base, tick.at, context, &mut scratch);
        self.take_frames(base, tick.at, now, context, &mut scratch);
        self.place_listeners(base, context, &mut scratch)?;
        self.mix_and_send(base, now, tick.timestamp(), context, &mut scratch)?;
        self.end_fading(base);
        if !base.traces.is_empty() {
            base.traces.tick_ends(base.id, context);
        }
        if context.mix.share {
            self.merge_quiet();
        }
        context.scratch = scratch;
        Ok(())
    }

    // Chooses the talkers who have sound and whom somebody can hear: for each listener the loudest or nearest.
    fn choose(&mut self, base: &mut RoomBase, at: Instant, context: &mut ShardContext, scratch: &mut Scratch) {
        let candidates = &mut scratch.candidates;
        candidates.clear();
        let passes = context.mix.pass_through;
        let floor = if passes { self.floor_holder(at) } else { None };
        let threshold = context.mix.speaking_threshold;
        let Mixing { peers, loudness, .. } = self;
        for (index, peer) in peers.iter_mut().enumerate() {
            peer.treatment.shed(context.shed.leaves_noise());
            peer.treatment.compare(at, loudness);
            let level = match peer.playout.as_mut() {
                Some(playout) if playout.has_audio(at) => {
                    let sent = playout.next_level(at).map(|level| level.dbov_minus);
                    peer.sends_levels = sent.is_some();
                    // The last frame's level stands in for one that isn't sent.
                    let level = sent.or(peer.measured).unwrap_or(SILENCE);
                    peer.rank.update(at, level);
                    let activity = &peer.activity;
                    peer.treatment
                        .follow(at, loudness, sent.is_some(), || activity.frame_level(level, threshold));
                    let wanted = if passes {
                        peer.play_level(at, level, threshold);
                        // Background noise isn't mixed with a voice, and in pauses only that of the last speaker.
                        peer.rank.is_open(at) && (peer.activity.is_audible(at) || floor == Some(index))
                    } else {
                        peer.rank.is_open(at) || sent.is_none()
                    };
                    if wanted {
                        candidates.push((index, peer.rank.rank(at, base.select, peer.selected)));
                    }
                    level
                }
                _ => {
                    peer.treatment.pause();
                    SILENCE
                }
            };
            base.update_speaking(at, context, index, level);
        }
        loudness.conclude();
        let most = base.most_talkers(context);
        let peers = &self.peers;
        let listens = |at: usize| base.peers[at].hears() && peers[at].is_mixed_for();
        audible::keep(
            &base.peers,
            &base.gains,
            candidates,
            most,
            listens,
            &mut scratch.audible,
        );
    }

    // Decodes the frames of the selected. A talker who was selected until now fades out with one frame more; all others only keep time.
    fn take_frames(
        &mut self,
        base: &mut RoomBase,
        at: Instant,
        now: Instant,
        context: &mut ShardContext,
        scratch: &mut Scratch,
    ) {
        let Scratch {
            candidates,
            talkers,
            begins,
            music,
            frames,
            ..
        } = scratch;
        talkers.clear();
        begins.clear();
        music.clear();
        let mut chosen = candidates.iter().map(|candidate| candidate.0).peekable();
        for (index, peer) in self.peers.iter_mut().enumerate() {
            let selected = chosen.next_if_eq(&index).is_some();
            let was_selected = std::mem::replace(&mut peer.selected, selected);
            let Some(playout) = peer.playout.as_mut() else { continue };
            let delay = playout.stats().current_delay;
            let fades_out = !selected && was_selected && playout.has_audio(at);
            let faded = std::mem::replace(&mut peer.faded, fades_out);
            if !selected && !fades_out {
                let kind = playout.skip(at);
                if !base.traces.is_empty() {
                    let turn = |timestamp| playout.turn_of(timestamp);
                    base.traces.played(base.peers[index].id, now, false, turn);
                }
                peer.missing_frames = missing(peer.missing_frames, kind);
                context.stats.count_frame(kind, delay, false);
                if !was_selected {
                    peer.treatment.skip();
                } else if peer.treatment.end(frame_for(talkers, frames)) {
                    talkers.push(base.peers[index].id);
                    begins.push(false);
                    music.push(false);
                }
                continue;
            }
            let frame = frame_for(talkers, frames);
            let kind = playout.pop(at, frame);
            if !base.traces.is_empty() {
                let turn = |timestamp| playout.turn_of(timestamp);
                base.traces
                    .played(base.peers[index].id, context.moment(now), true, turn);
            }
            peer.missing_frames = missing(peer.missing_frames, kind);
            context.stats.count_frame(kind, delay, true);
            if kind == FrameKind::Silence {
                peer.measured = None;
                if peer.treatment.end(frame) {
                    talkers.push(base.peers[index].id);
                    begins.push(!was_selected);
                    music.push(false);
                }
                continue;
            }
            if !peer.sends_levels {
                peer.measured = Some(roomtone_audio::level(frame).dbov_minus);
            }
            peer.treatment.apply(frame, &mut context.stats);
            if fades_out {
                mix::ramp(frame, 1.0, 0.0);
            } else if faded {
                // Selected again at once: nothing was skipped, so nothing has faded in.
                mix::ramp(frame, 0.0, 1.0);
            }
            context.stats.frames_decoded += 1;
            talkers.push(base.peers[index].id);
            begins.push(!was_selected);
            music.push(peer.treatment.is_music());
        }
        for fading in &mut self.fading {
            // A voice that is heard again already doesn't end.
            if !talkers.contains(&fading.id) && fading.last_frame(at, frame_for(talkers, frames)) {
                context.stats.frames_decoded += 1;
                talkers.push(fading.id);
                begins.push(false);
                music.push(false);
            }
        }
    }

    fn place_listeners(
        &mut self,
        base: &RoomBase,
        context: &mut ShardContext,
        scratch: &mut Scratch,
    ) -> Result<(), AudioError> {
        let Scratch {
            talkers,
            begins,
            music,
            row,
            ..
        } = scratch;
        self.mixes.begin_tick();
        // Newcomers last, so that they find the mixes of those who are there.
        for newcomers in [false, true] {
            for (listener, peer) in base.peers.iter().zip(&mut self.peers) {
                if !peer.is_mixed_for() {
                    continue;
                }
                if !listener.hears() {
                    peer.deafen();
                } else if peer.mix.is_none() == newcomers {
                    let channels = listener.channels();
                    base.gains.row(listener.id, channels, talkers.iter().copied(), row);
                    if channels == Channels::Stereo {
                        for (weight, _) in row.iter_mut().zip(&*music).filter(|(_, music)| **music) {
                            weight.gain *= MUSIC_IN_STEREO;
                        }
                    }
                    let feed = std::mem::take(&mut peer.feed);
                    context.stats.mode_changes += u64::from(feed != Feed::Mix);
                    let beginning = match (feed, peer.seam.take()) {
                        (Feed::Leaving(talker), Some(seam)) => Some(Beginning::After(talker, seam)),
                        _ if peer.mix.is_none() && peer.stream.has_begun() => Some(Beginning::AfterSilence),
                        _ => None,
                    };
                    if beginning.is_none() && peer.mix.is_none() {
                        // A newcomer hasn't heard the voices that fade out, and one of them may be their own, of the connection before
                        // this one.
                        for (talker, weight) in talkers.iter().zip(&mut *row) {
                            if self.fading.iter().any(|fading| fading.id == *talker) {
                                *weight = GainPan::SILENT;
                            }
                        }
                    }
                    peer.mix = Some(match beginning {
                        Some(beginning) => {
                            let goes_on = talkers.iter().zip(&*begins).filter(|(_, begins)| !**begins);
                            let goes_on = goes_on.map(|(talker, _)| *talker);
                            let row = (row.as_slice(), listener.adaptation.step());
                            self.mixes.begin(beginning, channels, row, goes_on, &context.mix)?
                        }
                        None => {
                            let step = listener.adaptation.step();
                            self.mixes.place(peer.mix, channels, row, step, &context.mix)?
                        }
                    });
                }
            }
        }
        self.mixes.end_placing(&context.mix, context.shed.complexity())
    }

    fn mix_and_send(
        &mut self,
        base: &mut RoomBase,
        now: Instant,
        timestamp: u32,
        context: &mut ShardContext,
        scratch: &mut Scratch,
    ) -> Result<(), AudioError> {
        let Scratch {
            talkers,
            frames,
            mix,
            packet,
            pass,
            ..
        } = scratch;
        let RoomBase {
            id: room,
            peers: listeners,
            traces,
            ..
        } = base;
        for (id, shared) in self.mixes.active() {
            match shared.beginning {
                Some(Beginning::After(talker, seam)) => {
                    if let Some(past) = pass.past(talker) {
                        shared.encoder.lead_in(&seam.lead_in(past), packet)?;
                    }
                }
                Some(Beginning::AfterSilence) => shared.encoder.lead_in(&[], packet)?,
                None => {}
            }
            let silent = mix_row(shared, talkers, frames, pass, mix);
            // If the listener to follow to has another mix, that one overwrites these.
            let row = &shared.row;
            let carries = |talker: PeerId| {
                let mut row = talkers.iter().zip(row);
                row.any(|(id, heard)| *id == talker && heard.gain > 0.0)
            };
            if !traces.is_empty() {
                traces.mix_reached(Stage::Mixed, context.moment(now), carries);
            }
            let sent = encode(&mut shared.encoder, mix, silent, packet, &mut context.stats)?;
            if !traces.is_empty() {
                traces.mix_reached(Stage::Encoded, context.moment(now), carries);
            }
            context.stats.frames_encoded_private += u64::from(sent.is_some() && shared.listeners == 1);
            shared.quiet = sent.is_none_or(|(_, level)| level >= QUIET);
            let way = Way::Mixed {
                listeners: shared.listeners,
            };
            let peers = listeners.iter_mut().zip(&mut self.peers);
            for (listener, peer) in peers.filter(|(_, peer)| peer.mix == Some(id) && !peer.stream.withholds()) {
                if peer.send(listener, now, context, timestamp, sent) && !traces.is_empty() {
                    let at = context.moment(now);
                    traces.sealed(*room, context, listener.id, way, at, carries);
                }
            }
            shared.remember(talkers.iter().copied());
        }
        Ok(())
    }

    /// Ends what faded out in this tick. The gains of a fading participant who has left are forgotten, unless they are back by another
    /// trunk: then theirs may have been set again already.
    pub(super) fn end_fading(&mut self, base: &mut RoomBase) {
        for faded in self.fading.drain(..).filter(|faded| faded.gone) {
            if base.position(faded.id).is_none() {
                base.gains.forget(faded.id);
            }
        }
    }

    fn merge_quiet(&mut self) {
        self.mixes.compare();
        while let Some((from, to)) = self.mixes.merge() {
            for peer in self.peers.iter_mut().filter(|peer| peer.mix == Some(from)) {
                peer.mix = Some(to);
            }
        }
    }
}

impl MixedPeer {
    // Whether a mix is made for them in this tick, provided that they listen.
    fn is_mixed_for(&self) -> bool {
        !matches!(self.feed, Feed::Passed(_)) && !self.awaits_packet
    }

    /// Their packets were heard until now, and a mix goes on from there.
    pub(super) fn go_on_mixed(&mut self) {
        let was_selected = std::mem::replace(&mut self.selected, true);
        if !was_selected {
            self.treatment.passed();
        }
    }

    /// Whether nothing is done to their voice.
    pub(super) fn is_unchanged(&self) -> bool {
        self.treatment.is_nothing()
    }

    // Their voice, if it was heard in the last tick; they have it no longer.
    fn take_voice(&mut self, passed: bool) -> Option<Playout> {
        self.playout.take_if(|_| self.selected || passed)
    }

    // The level of a packet that doesn't tell it.
    fn measure(&mut self, payload: &[u8], pcm: &mut Vec<f32>) -> AudioLevel {
        if self.meter.is_none() {
            self.meter = Decoder::new().ok();
        }
        pcm.clear();
        match self.meter.as_mut().map(|meter| meter.decode(payload, pcm)) {
            Some(Ok(_)) => roomtone_audio::level(pcm),
            // A payload that isn't Opus isn't sound.
            _ => AudioLevel::SILENCE,
        }
    }

    // Follows the level of the frame that is played now (−dBov).
    fn play_level(&mut self, at: Instant, level: u8, threshold: u8) {
        self.activity.played(at, level, threshold);
        self.paused_frames = if self.is_pause(level, threshold) {
            self.paused_frames.saturating_add(1)
        } else {
            0
        };
    }

    // Sends one tick's packet, or nothing. Whether it was sent.
    fn send(
        &mut self,
        listener: &mut Peer,
        now: Instant,
        context: &mut ShardContext,
        timestamp: u32,
        packet: Option<(&[u8], u8)>,
    ) -> bool {
        let Some((payload, level)) = packet else {
            self.stream.rest();
            return false;
        };
        let header = self.stream.mixed(timestamp);
        let audio = SlotOut {
            sequence: header.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            csrc: None,
            level: Some(level),
            payload,
        };
        let sent = listener.send_slot(now, 0, &audio, context);
        if sent {
            self.stream.mix_sent(&header, timestamp);
            context.stats.packets_sent += 1;
        }
        sent
    }
}

// The frame of the next talker.
fn frame_for<'a>(talkers: &[PeerId], frames: &'a mut Vec<Frame>) -> &'a mut Frame {
    if frames.len() <= talkers.len() {
        frames.push([0.0; FRAME_SAMPLES]);
    }
    &mut frames[talkers.len()]
}

// Counts the frames in a row that didn't come in time.
fn missing(before: u16, kind: FrameKind) -> u16 {
    match kind {
        FrameKind::Concealed => before.saturating_add(1),
        _ => 0,
    }
}

const _: () = assert!(FRAME_DURATION.as_millis() as usize * SAMPLE_RATE as usize == FRAME_SAMPLES * 1000);
