//! The tick: who is heard, one mix for each way of hearing, one encode for each mix, one packet for each listener.

use std::time::{Duration, Instant};

use roomtone_audio::{AudioError, FRAME_SAMPLES, Frame, FrameKind, SAMPLE_RATE, mix};

use super::output::{Encoded, Output};
use super::peer::{Contribution, Peer};
use super::speaking::SILENCE;
use super::{FRAME_TIME, Room};
use crate::command::{Event, PeerId};
use crate::shard::Common;

/// Ticks that are made up for after a stall; older ones are skipped, and their sound with them. Listeners' jitter buffers
/// take a burst of three packets in their stride.
const CATCH_UP: u64 = 3;

/// Ticks without a contribution after which a private mix may be given up: shorter than a pause between sentences.
const RETURN_AFTER: u32 = 10;

/// A mix at or below this (−dBov) is quiet enough to change encoders without anybody noticing.
const QUIET: u8 = 60;

/// Working space of a tick, one for all rooms of a shard.
#[derive(Default)]
pub(crate) struct Scratch {
    frames: Vec<Frame>,
    sum: Vec<f32>,
    mix: Vec<f32>,
    shared_packet: Vec<u8>,
    private_packet: Vec<u8>,
    heard: Vec<(PeerId, u8, bool)>,
}

impl Room {
    /// The instant of the `n`-th tick of this room.
    pub(super) fn tick_time(&self, n: u64) -> Instant {
        // u32 ticks of 20 ms would be 994 days; the multiplication is done in nanoseconds to be free of that bound.
        self.grid + Duration::from_nanos(FRAME_TIME.as_nanos() as u64 * n)
    }

    /// Makes the room tick from the next point of its grid on, if it rests.
    pub(super) fn keep_ticking(&mut self, now: Instant) {
        if self.next_tick.is_none() {
            let since = now.saturating_duration_since(self.grid).as_nanos() as u64;
            self.next_tick = Some(since / FRAME_TIME.as_nanos() as u64 + 1);
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
            if late > FRAME_TIME * CATCH_UP as u32 {
                let behind = (late.as_nanos() / FRAME_TIME.as_nanos()) as u64;
                self.next_tick = Some(n + behind - (CATCH_UP - 1));
                continue;
            }
            self.next_tick = Some(n + 1);
            common.stats.tick_lateness.record(late);
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
        self.levels_told
            || self.shared.as_ref().is_some_and(|output| !output.resting())
            || self.peers.iter().any(Peer::is_active)
    }

    fn tick(&mut self, at: Instant, now: Instant, n: u64, common: &mut Common) -> Result<(), AudioError> {
        #[cfg(debug_assertions)]
        assert!(!self.fault, "a fault was asked for");

        let mut scratch = std::mem::take(&mut common.scratch);
        let contributors = self.gather(at, common, &mut scratch);
        // Media time is the grid's: it goes on while nothing is sent (RFC 3550 §5.1).
        let timestamp = (n as u32).wrapping_mul(FRAME_SAMPLES as u32);
        self.mix_and_send(now, timestamp, contributors, common, &mut scratch)?;
        self.tell_levels(at, common, &mut scratch);
        common.scratch = scratch;
        Ok(())
    }

    // Takes a frame from everybody who is to be heard. How many contribute to the mix.
    fn gather(&mut self, at: Instant, common: &mut Common, scratch: &mut Scratch) -> usize {
        let mut used = 0;
        let mix = &common.mix;
        for peer in &mut self.peers {
            if scratch.frames.len() <= used {
                scratch.frames.push([0.0; FRAME_SAMPLES]);
            }
            let level = take_frame(peer, at, &mut scratch.frames[used]);
            peer.contribution = match level {
                Some(_) => {
                    common.stats.frames_decoded += 1;
                    used += 1;
                    Contribution::Frame(used - 1)
                }
                None => Contribution::Nothing,
            };
            peer.quiet_ticks = if level.is_some() {
                0
            } else {
                peer.quiet_ticks.saturating_add(1)
            };
            let level = level.unwrap_or(SILENCE);
            if peer
                .detector
                .update(at, level, mix.speaking_threshold, mix.speaking_release)
            {
                let speaking = peer.detector.speaking();
                common.events.push_back(Event::Speaking {
                    room: self.id,
                    peer: peer.id,
                    speaking,
                });
            }
        }
        used
    }

    fn mix_and_send(
        &mut self,
        now: Instant,
        timestamp: u32,
        contributors: usize,
        common: &mut Common,
        scratch: &mut Scratch,
    ) -> Result<(), AudioError> {
        let Scratch {
            frames,
            sum,
            mix: own,
            shared_packet,
            private_packet,
            ..
        } = scratch;
        sum.clear();
        sum.resize(FRAME_SAMPLES, 0.0);
        for frame in &frames[..contributors] {
            mix::add(sum, frame);
        }
        self.part_talkers(common)?;
        self.rejoin_quiet(common, contributors, sum)?;

        for peer in &mut self.peers {
            let Some(output) = peer.private.as_mut() else { continue };
            let theirs = match peer.contribution {
                Contribution::Frame(index) => Some(&frames[index]),
                Contribution::Nothing => None,
            };
            let silent = contributors == usize::from(theirs.is_some());
            mix_minus(own, sum, theirs);
            let packet = encode(output, own, silent, private_packet, common)?;
            peer.send(now, common, timestamp, packet);
        }

        if self.peers.iter().any(|peer| peer.private.is_none() && peer.hears()) {
            if self.shared.is_none() {
                self.shared = Some(Output::new(&common.mix, true)?);
            }
            if let Some(output) = self.shared.as_mut() {
                let packet = encode(output, sum, contributors == 0, shared_packet, common)?;
                for peer in self
                    .peers
                    .iter_mut()
                    .filter(|peer| peer.private.is_none() && peer.hears())
                {
                    peer.send(now, common, timestamp, packet);
                }
            }
        } else {
            self.shared = None;
        }
        Ok(())
    }

    // Who is in the mix of the others gets one of their own, with the history of the one they heard until now.
    fn part_talkers(&mut self, common: &Common) -> Result<(), AudioError> {
        for peer in &mut self.peers {
            if !peer.hears() {
                peer.private = None;
            } else if peer.private.is_none() && peer.contribution != Contribution::Nothing {
                peer.private = Some(match self.shared.as_ref() {
                    Some(shared) => shared.fork(&common.mix)?,
                    None => Output::new(&common.mix, false)?,
                });
            }
        }
        Ok(())
    }

    // Who hasn't been in the mix for a while goes back to the shared one, at a quiet moment.
    fn rejoin_quiet(&mut self, common: &Common, contributors: usize, sum: &[f32]) -> Result<(), AudioError> {
        if contributors > 0 && roomtone_audio::level(sum).dbov_minus < QUIET {
            return Ok(());
        }
        for peer in self.peers.iter_mut().filter(|peer| peer.quiet_ticks >= RETURN_AFTER) {
            if let Some(mut output) = peer.private.take()
                && self.shared.is_none()
            {
                // Nobody hears a shared mix: theirs, which is the mix of everybody now, becomes it.
                output.share(&common.mix)?;
                self.shared = Some(output);
            }
        }
        Ok(())
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

// The sum less one's own part in it. Of a sum of one, exactly nothing is left.
fn mix_minus(mix: &mut Vec<f32>, sum: &[f32], own: Option<&Frame>) {
    mix.clear();
    mix.extend_from_slice(sum);
    if let Some(own) = own {
        mix::sub(mix, own);
    }
}

// The participant's next frame and its level (−dBov); `None` if there is nothing of them to hear.
fn take_frame(peer: &mut Peer, at: Instant, frame: &mut Frame) -> Option<u8> {
    let playout = peer.playout.as_mut()?;
    if !playout.has_audio(at) {
        playout.skip(at);
        return None;
    }
    let told = playout.next_level(at);
    match playout.pop(at, frame) {
        FrameKind::Silence => None,
        _ => Some(told.unwrap_or_else(|| roomtone_audio::level(frame)).dbov_minus),
    }
}

// One encode, counted. A packet and its level, or nothing to send.
fn encode<'a>(
    output: &mut Output,
    frame: &mut [f32],
    silent: bool,
    packet: &'a mut Vec<u8>,
    common: &mut Common,
) -> Result<Option<(&'a [u8], u8)>, AudioError> {
    match output.encode(frame, silent, packet)? {
        Encoded::Nothing => Ok(None),
        Encoded::Packet(level) => {
            common.stats.frames_encoded += 1;
            Ok(Some((packet.as_slice(), level)))
        }
    }
}

const _: () = assert!(FRAME_TIME.as_millis() as usize * SAMPLE_RATE as usize == FRAME_SAMPLES * 1000);

#[cfg(test)]
mod tests {
    use super::*;
    use roomtone_audio::analysis::{Tone, tone_dbfs};

    // Before the encoder: whatever the others say, one's own voice is at least 60 dB down in one's own mix.
    #[test]
    fn nothing_of_oneself_is_left_in_a_mix_minus() {
        let hz = |i: usize| 300.0 + 100.0 * i as f32;
        let frames: Vec<Frame> = (0..20).map(|i| Tone::new(hz(i), 0.05).frame()).collect();
        let mut sum = vec![0.0; FRAME_SAMPLES];
        frames.iter().for_each(|frame| mix::add(&mut sum, frame));
        let mut own = Vec::new();
        for me in 0..20 {
            mix_minus(&mut own, &sum, Some(&frames[me]));
            let spoken = tone_dbfs(&frames[me], hz(me));
            for other in 0..20 {
                let heard = tone_dbfs(&own, hz(other)) - spoken;
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
        let frame = Tone::new(440.0, 0.9).frame();
        let mut sum = vec![0.0; FRAME_SAMPLES];
        mix::add(&mut sum, &frame);
        let mut own = Vec::new();
        mix_minus(&mut own, &sum, Some(&frame));
        assert!(own.iter().all(|sample| *sample == 0.0));
    }
}
