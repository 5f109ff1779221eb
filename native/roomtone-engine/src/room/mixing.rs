//! A room that mixes (an MCU with mix-minus): every 20 ms a tick chooses the talkers, decodes them, makes one mix for each way of
//! hearing, encodes each mix once, and sends a packet to each listener.

use std::time::Instant;

use roomtone_audio::{
    AudioError, AudioLevel, Channels, FRAME_DURATION, FRAME_SAMPLES, Frame, FrameKind, Playout, PlayoutConfig, RtpMeta,
    SAMPLE_RATE, mix,
};
use roomtone_transport::{AudioOut, EndpointOptions, RtpIn};

use super::audible;
use super::base::RoomBase;
use super::context::ShardContext;
use super::fade_out::FadeOut;
use super::mix_encoder::{Encoded, MixEncoder};
use super::peer::Peer;
use super::scratch::Scratch;
use super::shared_mixes::{MixId, SharedMix, SharedMixes};
use super::speaker_rank::SpeakerRank;
use super::speech_detector::SILENCE;
use super::tick_grid::Tick;
use crate::command::{PeerId, PeerStats};
use crate::config::MixConfig;
use crate::stats::ShardStats;

/// A mix at or below this (−dBov) is quiet enough to change encoders unnoticed.
const QUIET: u8 = 60;

/// What a mixing room has beside its [`RoomBase`].
pub(super) struct Mixing {
    /// Whether clients that ask for stereo get it.
    stereo: bool,
    /// In the order of the base's peers.
    peers: Vec<MixedPeer>,
    mixes: SharedMixes,
    /// Voices that were heard in the last tick and end with the next.
    fading: Vec<FadeOut>,
}

/// A participant's half in a mixing room.
#[derive(Default)]
struct MixedPeer {
    /// The jitter buffer and decoder, made by the first packet: a mere listener needs none.
    playout: Option<Playout>,
    rank: SpeakerRank,
    /// Whether they were selected in the last tick, and so are heard.
    selected: bool,
    /// Whether their last frame faded out.
    faded: bool,
    /// Whether they send audio levels (RFC 6464).
    sends_levels: bool,
    /// The level of their last decoded frame (−dBov), for talkers who don't send it.
    measured: Option<u8>,
    /// The mix that they hear.
    mix: Option<MixId>,
    /// Whether the last tick sent them a packet, so that the next talk spurt gets its marker bit (RFC 3551 §4.1).
    in_spurt: bool,
}

impl Mixing {
    /// Without participants.
    pub(super) fn new(stereo: bool) -> Mixing {
        Mixing {
            stereo,
            peers: Vec::new(),
            mixes: SharedMixes::default(),
            fading: Vec::new(),
        }
    }

    /// The media that a newcomer is offered.
    pub(super) fn endpoint_options(&self, config: &MixConfig) -> EndpointOptions {
        EndpointOptions {
            stereo: self.stereo,
            // A mix makes mono of every talker anyway.
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
        match self.peers.swap_remove(at).take_voice() {
            Some(playout) => {
                self.fading.push(FadeOut::gone(id, playout));
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
        let peer = &mut self.peers[at];
        if let Some(playout) = peer.take_voice() {
            self.fading.push(FadeOut::muted(id, playout));
        }
        peer.playout = None;
        peer.rank = SpeakerRank::default();
        peer.selected = false;
        peer.faded = false;
    }

    /// Takes a talker's packet to be mixed. Whether it can be.
    pub(super) fn take_packet(&mut self, now: Instant, at: usize, id: PeerId, packet: &RtpIn<'_>) -> bool {
        let playout = &mut self.peers[at].playout;
        if playout.is_none() {
            match Playout::new(PlayoutConfig::default()) {
                Ok(new) => *playout = Some(new),
                Err(error) => {
                    log::error!("no decoder for participant {id}: {error}");
                    return false;
                }
            }
        }
        let meta = RtpMeta {
            seq: packet.seq,
            timestamp: packet.timestamp,
            marker: packet.marker,
            level: packet.level.map(|(dbov_minus, voice)| AudioLevel { dbov_minus, voice }),
        };
        if let Some(playout) = playout.as_mut() {
            playout.insert(now, meta, packet.payload);
        }
        true
    }

    /// A participant's figures.
    pub(super) fn peer_stats(&self, base: &RoomBase, at: usize) -> PeerStats {
        let peer = &self.peers[at];
        let alone = peer.mix.is_some_and(|mix| self.mixes.listeners(mix) == 1);
        let playout = peer.playout.as_ref().map(Playout::stats).unwrap_or_default();
        base.peers[at].stats(&playout, alone)
    }

    /// Whether sound is buffered, fades out or is still being encoded.
    pub(super) fn has_work(&self) -> bool {
        let buffered = |peer: &MixedPeer| peer.playout.as_ref().is_some_and(|playout| !playout.is_idle());
        !self.fading.is_empty() || self.mixes.busy() || self.peers.iter().any(buffered)
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
        self.choose(base, tick.at, context, &mut scratch);
        self.take_frames(base, tick.at, context, &mut scratch);
        self.place_listeners(base, context, &mut scratch)?;
        self.mix_and_send(base, now, tick.timestamp(), context, &mut scratch)?;
        self.end_fading(base);
        if context.mix.share {
            self.merge_quiet();
        }
        context.scratch = scratch;
        Ok(())
    }

    // The talkers who have something to hear, and of these those whom somebody can hear: for each listener the loudest or nearest.
    fn choose(&mut self, base: &mut RoomBase, at: Instant, context: &mut ShardContext, scratch: &mut Scratch) {
        let candidates = &mut scratch.candidates;
        candidates.clear();
        for (index, peer) in self.peers.iter_mut().enumerate() {
            let level = match peer.playout.as_mut() {
                Some(playout) if playout.has_audio(at) => {
                    let sent = playout.next_level(at).map(|level| level.dbov_minus);
                    peer.sends_levels = sent.is_some();
                    // The last frame's level stands in for one that isn't sent.
                    let level = sent.or(peer.measured).unwrap_or(SILENCE);
                    peer.rank.update(at, level);
                    if peer.rank.is_open(at) || sent.is_none() {
                        candidates.push((index, peer.rank.rank(at, base.select, peer.selected)));
                    }
                    level
                }
                _ => SILENCE,
            };
            base.update_speaking(at, context, index, level);
        }
        let most = base.most_talkers(context);
        audible::keep(&base.peers, &base.gains, candidates, most, &mut scratch.audible);
    }

    // Decodes the frames of the selected. A talker who was selected until now fades out with one frame more; all others only keep time.
    fn take_frames(&mut self, base: &RoomBase, at: Instant, context: &mut ShardContext, scratch: &mut Scratch) {
        let Scratch {
            candidates,
            talkers,
            frames,
            ..
        } = scratch;
        talkers.clear();
        let mut chosen = candidates.iter().map(|candidate| candidate.0).peekable();
        for (index, peer) in self.peers.iter_mut().enumerate() {
            let selected = chosen.next_if_eq(&index).is_some();
            let was_selected = std::mem::replace(&mut peer.selected, selected);
            let Some(playout) = peer.playout.as_mut() else { continue };
            let fades_out = !selected && was_selected && playout.has_audio(at);
            let faded = std::mem::replace(&mut peer.faded, fades_out);
            if !selected && !fades_out {
                playout.skip(at);
                continue;
            }
            let frame = frame_for(talkers, frames);
            if playout.pop(at, frame) == FrameKind::Silence {
                peer.measured = None;
                continue;
            }
            if !peer.sends_levels {
                peer.measured = Some(roomtone_audio::level(frame).dbov_minus);
            }
            if fades_out {
                mix::ramp(frame, 1.0, 0.0);
            } else if faded {
                // Selected again at once: nothing was skipped, so nothing has faded in.
                mix::ramp(frame, 0.0, 1.0);
            }
            context.stats.frames_decoded += 1;
            talkers.push(base.peers[index].id);
        }
        for fading in &mut self.fading {
            // A voice that is heard again already doesn't end.
            if !talkers.contains(&fading.id) && fading.last_frame(at, frame_for(talkers, frames)) {
                context.stats.frames_decoded += 1;
                talkers.push(fading.id);
            }
        }
    }

    fn place_listeners(
        &mut self,
        base: &RoomBase,
        context: &ShardContext,
        scratch: &mut Scratch,
    ) -> Result<(), AudioError> {
        let Scratch { talkers, row, .. } = scratch;
        self.mixes.begin_tick();
        // Newcomers last, so that they find the mixes of those who are there.
        for newcomers in [false, true] {
            for (listener, peer) in base.peers.iter().zip(&mut self.peers) {
                if !listener.hears() {
                    peer.mix = None;
                    peer.in_spurt = false;
                } else if peer.mix.is_none() == newcomers {
                    let channels = listener.channels();
                    base.gains.row(listener.id, channels, talkers.iter().copied(), row);
                    peer.mix = Some(self.mixes.place(peer.mix, channels, row, &context.mix)?);
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
            ..
        } = scratch;
        for (id, shared) in self.mixes.active() {
            let silent = mix_row(shared, talkers, frames, mix);
            let sent = encode(&mut shared.encoder, mix, silent, packet, &mut context.stats)?;
            shared.quiet = sent.is_none_or(|(_, level)| level >= QUIET);
            shared.remember(talkers.iter().copied());
            let peers = base.peers.iter_mut().zip(&mut self.peers);
            for (listener, peer) in peers.filter(|(_, peer)| peer.mix == Some(id)) {
                peer.send(listener, now, context, timestamp, sent);
            }
        }
        Ok(())
    }

    /// Ends what faded out in this tick. The gains of a fading participant who has left are forgotten.
    pub(super) fn end_fading(&mut self, base: &mut RoomBase) {
        for faded in self.fading.drain(..).filter(|faded| faded.gone) {
            base.gains.forget(faded.id);
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
    // Their voice, if it was heard in the last tick; they have it no longer.
    fn take_voice(&mut self) -> Option<Playout> {
        self.playout.take_if(|_| self.selected)
    }

    // Sends one tick's packet, or nothing.
    fn send(
        &mut self,
        listener: &mut Peer,
        now: Instant,
        context: &mut ShardContext,
        timestamp: u32,
        packet: Option<(&[u8], u8)>,
    ) {
        let Some((payload, level)) = packet else {
            self.in_spurt = false;
            return;
        };
        let audio = AudioOut {
            timestamp,
            marker: !self.in_spurt,
            level: Some(level),
            payload,
        };
        if listener
            .endpoint
            .send_audio(now, audio, context.outbox_of(listener.home))
        {
            self.in_spurt = true;
            context.stats.packets_sent += 1;
        }
    }
}

// The frame of the next talker.
fn frame_for<'a>(talkers: &[PeerId], frames: &'a mut Vec<Frame>) -> &'a mut Frame {
    if frames.len() <= talkers.len() {
        frames.push([0.0; FRAME_SAMPLES]);
    }
    &mut frames[talkers.len()]
}

// Mixes one row. Whether it is silent: nobody is in it.
fn mix_row(shared: &SharedMix, talkers: &[PeerId], frames: &[Frame], mix: &mut Vec<f32>) -> bool {
    let channels = shared.encoder.channels();
    mix.clear();
    mix.resize(FRAME_SAMPLES * channels.count(), 0.0);
    let mut silent = true;
    for (index, talker) in talkers.iter().enumerate() {
        let (before, now) = shared.ramp(index, *talker);
        let (from, to) = (before.gain, now.gain);
        if from == 0.0 && to == 0.0 {
            continue;
        }
        silent = false;
        if channels == Channels::Stereo {
            let (from, to) = shared.panned_ramp(index, *talker);
            if from == to {
                mix::add_panned(mix, &frames[index], to);
            } else {
                mix::add_panned_ramped(mix, &frames[index], from, to);
            }
            continue;
        }
        if from != to {
            mix::add_ramped(mix, &frames[index], from, to);
        } else if to == 1.0 {
            mix::add(mix, &frames[index]);
        } else {
            mix::add_scaled(mix, &frames[index], to);
        }
    }
    silent
}

// Encodes one mix, and counts it. The packet and its level, or nothing to send.
fn encode<'a>(
    encoder: &mut MixEncoder,
    frame: &mut [f32],
    silent: bool,
    packet: &'a mut Vec<u8>,
    stats: &mut ShardStats,
) -> Result<Option<(&'a [u8], u8)>, AudioError> {
    match encoder.encode(frame, silent, packet)? {
        Encoded::Nothing => Ok(None),
        Encoded::Packet(level) => {
            stats.frames_encoded += 1;
            Ok(Some((packet.as_slice(), level)))
        }
    }
}

const _: () = assert!(FRAME_DURATION.as_millis() as usize * SAMPLE_RATE as usize == FRAME_SAMPLES * 1000);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::gains::Gains;
    use roomtone_audio::analysis::{Tone, tone_dbfs};

    fn heard_by(listener: PeerId, talkers: &[PeerId], frames: &[Frame]) -> (Vec<f32>, bool) {
        let (mut mixes, mut row, mut mix) = (SharedMixes::default(), Vec::new(), Vec::new());
        Gains::default().row(listener, Channels::Mono, talkers.iter().copied(), &mut row);
        mixes.place(None, Channels::Mono, &row, &MixConfig::default()).unwrap();
        let shared = mixes.active().next().unwrap().1;
        let silent = mix_row(shared, talkers, frames, &mut mix);
        (mix, silent)
    }

    // Before the encoder: whatever the others say, one's own voice is at least 60 dB down in one's own mix.
    #[test]
    fn nothing_of_oneself_is_in_ones_own_mix() {
        let hz = |i: usize| 300.0 + 100.0 * i as f64;
        let frames: Vec<Frame> = (0..20).map(|i| Tone::new(hz(i), 0.05).frame()).collect();
        let talkers: Vec<PeerId> = (0..20).collect();
        for me in 0..20 {
            let (mix, silent) = heard_by(me as PeerId, &talkers, &frames);
            assert!(!silent);
            for (other, frame) in frames.iter().enumerate() {
                let heard = tone_dbfs(&mix, hz(other)) - tone_dbfs(frame, hz(other));
                if other == me {
                    assert!(heard < -60.0, "{me} hears themselves at {heard} dB");
                } else {
                    assert!(heard.abs() < 0.1, "{me} hears {other} at {heard} dB");
                }
            }
        }
    }

    #[test]
    fn alone_is_silent_to_the_last_bit() {
        let (mix, silent) = heard_by(1, &[1], &[Tone::new(440.0, 0.9).frame()]);
        assert!(silent && mix.iter().all(|sample| *sample == 0.0));
    }
}
