//! The tick: who is heard, one mix for each way of hearing, one encode for each mix, one packet for each listener.

use std::time::{Duration, Instant};

use roomtone_audio::{AudioError, Channels, FRAME_DURATION, FRAME_SAMPLES, Frame, FrameKind, SAMPLE_RATE, mix};

use super::output::{Encoded, Output};
use super::outputs::Slot;
use super::peer::Peer;
use super::speaking::SILENCE;
use super::{Room, audible};
use crate::command::{Event, PeerId};
use crate::context::{Common, Scratch};
use crate::stats::ShardStats;

/// Ticks that are made up for after a stall; older ones are skipped, and their sound with them. Listeners' jitter buffers
/// take a burst of three packets in their stride.
const CATCH_UP: u64 = 3;

/// A mix at or below this (−dBov) is quiet enough to change encoders without anybody noticing.
const QUIET: u8 = 60;

impl Room {
    /// The instant of the `n`-th tick of this room.
    pub(super) fn tick_time(&self, n: u64) -> Instant {
        // u32 ticks of 20 ms would be 994 days; the multiplication is done in nanoseconds to be free of that bound.
        self.grid + Duration::from_nanos(FRAME_DURATION.as_nanos() as u64 * n)
    }

    /// Makes the room tick from the next point of its grid on, if it rests.
    pub(super) fn keep_ticking(&mut self, now: Instant) {
        if self.next_tick.is_none() {
            let since = now.saturating_duration_since(self.grid).as_nanos() as u64;
            self.next_tick = Some(since / FRAME_DURATION.as_nanos() as u64 + 1);
        }
    }

    /// Runs the ticks that are due.
    pub(super) fn ticks(&mut self, now: Instant, common: &mut Common) {
        while let Some(n) = self.next_tick {
            let due = self.tick_time(n);
            if due > now {
                return;
            }
            let late = now - due;
            if late > FRAME_DURATION * CATCH_UP as u32 {
                let behind = (late.as_nanos() / FRAME_DURATION.as_nanos()) as u64;
                self.next_tick = Some(n + behind - (CATCH_UP - 1));
                common.stats.ticks_skipped += behind - (CATCH_UP - 1);
                continue;
            }
            self.next_tick = Some(n + 1);
            common.stats.tick_lateness.record(late);
            common.shed.late(late);
            common.stats.ticks += 1;
            if let Err(error) = self.tick(due, now, n, common) {
                // The codec refuses what we made ourselves: a bug, and one that would repeat each tick.
                panic!("tick failed: {error}");
            }
            if !self.has_work() {
                self.next_tick = None;
            }
        }
    }

    fn has_work(&self) -> bool {
        self.levels_told || !self.fading.is_empty() || self.outputs.busy() || self.peers.iter().any(Peer::is_active)
    }

    fn tick(&mut self, at: Instant, now: Instant, n: u64, common: &mut Common) -> Result<(), AudioError> {
        #[cfg(debug_assertions)]
        assert!(!self.fault, "a fault was asked for");

        if self.slots.is_some() {
            self.forward_tick(at, common);
            let mut scratch = std::mem::take(&mut common.scratch);
            self.tell_levels(at, common, &mut scratch);
            common.scratch = scratch;
            return Ok(());
        }
        let mut scratch = std::mem::take(&mut common.scratch);
        self.choose(at, common, &mut scratch);
        self.take_frames(at, common, &mut scratch);
        self.place_listeners(common, &mut scratch)?;
        // Media time is the grid's: it goes on while nothing is sent (RFC 3550 §5.1).
        let timestamp = (n as u32).wrapping_mul(FRAME_SAMPLES as u32);
        self.mix_and_send(now, timestamp, common, &mut scratch)?;
        self.end_fading();
        if common.mix.share {
            self.merge_quiet();
        }
        self.tell_levels(at, common, &mut scratch);
        common.scratch = scratch;
        Ok(())
    }

    // Who has something to hear, and of these whom somebody can hear: for each listener the loudest or nearest to them, as many as are heard at once.
    fn choose(&mut self, at: Instant, common: &mut Common, scratch: &mut Scratch) {
        let candidates = &mut scratch.candidates;
        candidates.clear();
        let mix = &common.mix;
        for (index, peer) in self.peers.iter_mut().enumerate() {
            let level = match peer.playout.as_mut() {
                Some(playout) if playout.has_audio(at) => {
                    // Who tells no levels is known by how loud they were.
                    let told = playout.next_level(at).map(|level| level.dbov_minus);
                    peer.tells_levels = told.is_some();
                    let level = told.unwrap_or(peer.measured);
                    if peer.standing.update(level) || told.is_none() {
                        candidates.push((index, peer.standing.rank(self.select)));
                    }
                    level
                }
                _ => {
                    peer.standing.absent();
                    SILENCE
                }
            };
            if peer
                .detector
                .update(at, level, mix.speaking_threshold, mix.speaking_release)
            {
                let speaking = peer.detector.speaking();
                let (room, peer) = (self.id, peer.id);
                common.events.push_back(Event::Speaking { room, peer, speaking });
            }
        }
        let most = self.max_talkers.min(common.shed.max_talkers());
        audible::keep(&self.peers, &self.gains, candidates, most, &mut scratch.audible);
    }

    // Decodes the frames of the chosen. Who was chosen until now fades out with one frame more; all others only keep time.
    fn take_frames(&mut self, at: Instant, common: &mut Common, scratch: &mut Scratch) {
        let Scratch {
            candidates,
            talkers,
            frames,
            ..
        } = scratch;
        talkers.clear();
        let mut chosen = candidates.iter().map(|candidate| candidate.0).peekable();
        for (index, peer) in self.peers.iter_mut().enumerate() {
            let heard = chosen.next_if_eq(&index).is_some();
            let was_heard = std::mem::replace(&mut peer.standing.heard, heard);
            let Some(playout) = peer.playout.as_mut() else { continue };
            let fades_out = !heard && was_heard && playout.has_audio(at);
            let faded = std::mem::replace(&mut peer.standing.faded, fades_out);
            if !heard && !fades_out {
                playout.skip(at);
                continue;
            }
            if frames.len() <= talkers.len() {
                frames.push([0.0; FRAME_SAMPLES]);
            }
            let frame = &mut frames[talkers.len()];
            if playout.pop(at, frame) == FrameKind::Silence {
                peer.measured = SILENCE;
                continue;
            }
            if !peer.tells_levels {
                peer.measured = roomtone_audio::level(frame).dbov_minus;
            }
            if fades_out {
                mix::ramp(frame, 1.0, 0.0);
            } else if faded {
                // Heard again at once: nothing was skipped, so nothing has faded in.
                mix::ramp(frame, 0.0, 1.0);
            }
            common.stats.frames_decoded += 1;
            talkers.push(peer.id);
        }
        for faded in &mut self.fading {
            if frames.len() <= talkers.len() {
                frames.push([0.0; FRAME_SAMPLES]);
            }
            // Who is heard again already doesn't end.
            if !talkers.contains(&faded.id) && faded.last_frame(at, &mut frames[talkers.len()]) {
                common.stats.frames_decoded += 1;
                talkers.push(faded.id);
            }
        }
    }

    fn place_listeners(&mut self, common: &mut Common, scratch: &mut Scratch) -> Result<(), AudioError> {
        let Scratch { talkers, row, .. } = scratch;
        self.outputs.begin_tick();
        // Newcomers last, so that they find the outputs of those who are there.
        for newcomers in [false, true] {
            for peer in &mut self.peers {
                if !peer.hears() {
                    peer.rest();
                } else if peer.output.is_none() == newcomers {
                    let channels = peer.channels();
                    self.gains.row(peer.id, channels, talkers.iter().copied(), row);
                    let place = self.outputs.place(peer.output, channels, row, &common.mix)?;
                    peer.output = Some(place);
                }
            }
        }
        self.outputs.end_placing(&common.mix, common.shed.complexity())
    }

    fn mix_and_send(
        &mut self,
        now: Instant,
        timestamp: u32,
        common: &mut Common,
        scratch: &mut Scratch,
    ) -> Result<(), AudioError> {
        let Scratch {
            talkers,
            frames,
            mix,
            packet,
            ..
        } = scratch;
        for (id, slot) in self.outputs.heard() {
            let silent = mix_row(slot, talkers, frames, mix);
            let sent = encode(&mut slot.output, mix, silent, packet, &mut common.stats)?;
            slot.quiet = sent.is_none_or(|(_, level)| level >= QUIET);
            slot.remember(talkers.iter().copied());
            for peer in self.peers.iter_mut().filter(|peer| peer.output == Some(id)) {
                peer.send(now, common, timestamp, sent);
            }
        }
        Ok(())
    }

    fn merge_quiet(&mut self) {
        self.outputs.compare();
        while let Some((from, to)) = self.outputs.merge() {
            for peer in self.peers.iter_mut().filter(|peer| peer.output == Some(from)) {
                peer.output = Some(to);
            }
        }
    }

    fn tell_levels(&mut self, at: Instant, common: &mut Common, scratch: &mut Scratch) {
        if at < self.levels_due {
            return;
        }
        let heard = &mut scratch.heard;
        heard.clear();
        for peer in &mut self.peers {
            let level = peer.detector.take_loudest();
            if level < SILENCE || peer.detector.speaking() {
                heard.push((peer.id, level, peer.detector.speaking()));
            }
        }
        // One empty list after sound tells that it is over.
        if !heard.is_empty() || self.levels_told {
            self.levels_told = !heard.is_empty();
            self.levels_due = at + common.mix.levels_interval;
            common.events.push_back(Event::Levels {
                room: self.id,
                levels: heard.clone(),
            });
        }
    }
}

// The mix of one row. Whether it is silent: nobody is in it.
fn mix_row(slot: &Slot, talkers: &[PeerId], frames: &[Frame], mix: &mut Vec<f32>) -> bool {
    let channels = slot.output.channels();
    mix.clear();
    mix.resize(FRAME_SAMPLES * channels.count(), 0.0);
    let mut silent = true;
    for (index, talker) in talkers.iter().enumerate() {
        let (before, now) = slot.ramp(index, *talker);
        let (from, to) = (before.gain, now.gain);
        if from == 0.0 && to == 0.0 {
            continue;
        }
        silent = false;
        if channels == Channels::Stereo {
            let (from, to) = slot.panned_ramp(index, *talker);
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

// One encode, counted. A packet and its level, or nothing to send.
fn encode<'a>(
    output: &mut Output,
    frame: &mut [f32],
    silent: bool,
    packet: &'a mut Vec<u8>,
    stats: &mut ShardStats,
) -> Result<Option<(&'a [u8], u8)>, AudioError> {
    match output.encode(frame, silent, packet)? {
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
    use crate::config::MixConfig;
    use crate::room::gains::Gains;
    use crate::room::outputs::Outputs;
    use roomtone_audio::analysis::{Tone, tone_dbfs};

    fn heard_by(listener: PeerId, talkers: &[PeerId], frames: &[Frame]) -> (Vec<f32>, bool) {
        let (mut outputs, mut row, mut mix) = (Outputs::default(), Vec::new(), Vec::new());
        Gains::default().row(listener, Channels::Mono, talkers.iter().copied(), &mut row);
        outputs
            .place(None, Channels::Mono, &row, &MixConfig::default())
            .unwrap();
        let slot = outputs.heard().next().unwrap().1;
        let silent = mix_row(slot, talkers, frames, &mut mix);
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
