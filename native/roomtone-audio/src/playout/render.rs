//! Turns the waiting packets into the next 20 ms: decoding, recovery, concealment, and small
//! changes of pace.

use super::{
    BufferedPacket, FRAME, FrameKind, Playout, State,
    stretch::{self, FADE},
};
use crate::{Decoder, FRAME_SAMPLES, Frame, level::sum_of_squares};
use std::time::Instant;

/// Concealed sound has faded to silence after 100 ms: longer concealment sounds like a robot.
pub(super) const CONCEAL_LIMIT: i64 = 4800;
/// The first 20 ms of concealment are at full level.
const CONCEAL_FULL: i64 = 960;
/// Concealment and FEC come in multiples of 2.5 ms.
const GRAIN: i64 = 120;
/// The number of skipped packets that the decoder catches up with before it is heard again.
pub(super) const WARM_UP: usize = 3;
/// Delay is reduced only if the surplus exceeds this (5 ms), otherwise the pace would flutter.
pub(super) const HYSTERESIS: i64 = 240;
/// A larger surplus than this (150 ms) isn't reduced slowly: jump.
const JUMP: i64 = 7200;
/// Ticks for which the delay must be wrong before it changes, in quiet sound, and in loud sound.
const PATIENCE_QUIET: u32 = 10;
const PATIENCE_LOUD: u32 = 25;
/// With this surplus (20 ms) loud sound is shortened sooner, with fewer ticks between two cuts.
const URGENT: i64 = 960;
/// With this surplus (60 ms), which a spike leaves behind, still fewer.
const MORE_URGENT: i64 = 2880;
/// The most that is removed from quiet sound at once (60 ms).
const MAX_QUIET_CUT: i64 = 2880;
/// Quiet: below −50 dBFS, or 26 dB below the speech of this talker.
const QUIET_RMS: f32 = 0.003;
const QUIET_SHARE: f32 = 0.05;

/// The composition of a frame, in samples.
#[derive(Debug, Default)]
struct Tally {
    concealed: i64,
    recovered: i64,
}

impl Playout {
    /// The next 20 ms of the talker at `now`; all zeros if the kind is [`FrameKind::Silence`].
    pub fn pop(&mut self, now: Instant, out: &mut Frame) -> FrameKind {
        let now = self.clock(now);
        let skipped = std::mem::take(&mut self.skipped);
        if self.state == State::Silent {
            match self.start(now).and_then(|index| self.buffer.get(index)) {
                Some(packet) => self.begin(packet.ts),
                None => {
                    out.fill(0.0);
                    return FrameKind::Silence;
                }
            }
            self.tail.clear();
            self.concealed = CONCEAL_LIMIT;
        }
        if self.decoder.is_none() {
            // All memory of a usual tick at once, so that no tick allocates.
            self.fifo.reserve_exact(2 * FRAME_SAMPLES);
            self.tail.reserve_exact(FADE);
        }
        let mut tally = Tally::default();
        if self.state == State::Ending {
            self.fifo.truncate(FRAME_SAMPLES);
            self.fill_hole((FRAME_SAMPLES - self.fifo.len()) as i64, false, &mut tally);
            crate::mix::ramp(&mut self.fifo, 1.0, 0.0);
            self.concealed = CONCEAL_LIMIT;
        } else {
            self.set_pace(now, &mut tally);
            self.fill(now, FRAME_SAMPLES, &mut tally);
        }
        self.fifo.resize(self.fifo.len().max(FRAME_SAMPLES), 0.0);
        out.copy_from_slice(&self.fifo[..FRAME_SAMPLES]);
        self.fifo.drain(..FRAME_SAMPLES);
        self.position += FRAME;
        if skipped {
            stretch::fade_in(out, 0.0);
        }
        self.last_rms = (sum_of_squares(out) / FRAME_SAMPLES as f32).sqrt();
        self.speech_rms = self.last_rms.max(self.speech_rms * 0.998);
        if self.concealed >= CONCEAL_LIMIT {
            self.stop();
        }
        if tally.concealed > 0 {
            self.stats.concealed += 1;
            FrameKind::Concealed
        } else if tally.recovered > 0 {
            self.stats.fec += 1;
            FrameKind::Fec
        } else {
            FrameKind::Decoded
        }
    }

    /// Moves the delay towards the target if that is inaudible.
    fn set_pace(&mut self, now: i64, tally: &mut Tally) {
        self.ticks_since_cut = self.ticks_since_cut.saturating_add(1);
        if let Some(back) = self.rewind_target(now) {
            self.splice(back);
        }
        self.underrun = false;
        let ready = self.fifo.len() as i64;
        let spare = ready + self.buffer.contiguous_from(self.position + ready) - FRAME;
        let surplus = self.timing.ideal(now, 0) - self.position;
        // Once begun, it is reduced to what the target is, not to where it began.
        let reducing = self.ticks_ahead > 0 && surplus >= GRAIN;
        let ahead = if reducing {
            surplus
        } else {
            self.timing.ideal(now, HYSTERESIS) - self.position
        };
        let behind = -surplus;
        self.ticks_ahead = if ahead >= GRAIN { self.ticks_ahead + 1 } else { 0 };
        self.ticks_behind = if behind >= GRAIN { self.ticks_behind + 1 } else { 0 };

        if ahead >= JUMP
            && let Some(to) = self
                .start(now)
                .and_then(|index| self.buffer.get(index))
                .map(|packet| packet.ts)
            && to > self.position + FRAME
        {
            self.splice(to);
        } else if ahead >= GRAIN && spare >= GRAIN {
            self.shorten(now, ahead, ahead.min(spare), tally);
        } else if self.ticks_behind >= PATIENCE_QUIET
            && self.fifo.is_empty()
            && self.buffer.front().is_some_and(|next| next.ts <= self.position)
            && self.is_quiet(self.last_rms)
        {
            self.lengthen(behind.min(FRAME));
        }
    }

    /// Removes up to `most` samples of the surplus from the sound that comes next.
    fn shorten(&mut self, now: i64, surplus: i64, most: i64, tally: &mut Tally) {
        let quiet = self.is_quiet(self.last_rms);
        let ticks = self.ticks_ahead;
        let (patience, pause) = match surplus {
            MORE_URGENT.. => (PATIENCE_QUIET, 2),
            URGENT.. => (PATIENCE_QUIET, 3),
            _ if quiet => (PATIENCE_QUIET, 10),
            _ => (PATIENCE_LOUD, 10),
        };
        if ticks < patience || (!quiet && self.ticks_since_cut < pause) {
            return;
        }
        let longest = most.min(if quiet {
            MAX_QUIET_CUT
        } else {
            stretch::MAX_LOUD_CUT as i64
        }) as usize;
        // Only catching up with a backlog needs this much.
        let needed = FRAME_SAMPLES + MAX_QUIET_CUT as usize + FRAME_SAMPLES;
        self.fifo.reserve_exact(needed.saturating_sub(self.fifo.len()));
        self.fill(now, FRAME_SAMPLES + longest, tally);
        let mean_square = sum_of_squares(&self.fifo) / self.fifo.len().max(1) as f32;
        let at = FADE;
        let length = if self.is_quiet(mean_square.sqrt()) {
            Some(longest.min(self.fifo.len().saturating_sub(FRAME_SAMPLES)))
        } else {
            stretch::best_cut(
                &self.fifo,
                at,
                longest.min(self.fifo.len().saturating_sub(FRAME_SAMPLES)),
            )
        };
        if let Some(length) = length.filter(|&length| length >= stretch::MIN_CUT) {
            let removed = stretch::cut(&mut self.fifo, at, length);
            self.position += removed as i64;
            self.stats.removed_samples += removed as u64;
            self.ticks_since_cut = 0;
        }
    }

    /// Inserts synthesised background before the next packet.
    fn lengthen(&mut self, samples: i64) {
        let samples = samples.div_euclid(GRAIN) * GRAIN;
        if samples > 0
            && decoder(&mut self.decoder).is_some_and(|d| d.conceal(samples as usize, &mut self.fifo).is_ok())
        {
            self.position -= samples;
            self.stats.inserted_samples += samples as u64;
            self.ticks_behind = 0;
        }
    }

    fn is_quiet(&self, rms: f32) -> bool {
        rms < QUIET_RMS.max(QUIET_SHARE * self.speech_rms)
    }

    /// Jumps to another position; the sound that would have followed fades out under the new.
    fn splice(&mut self, to: i64) {
        self.tail.clear();
        if self.fifo.len() >= FADE {
            self.tail.extend_from_slice(&self.fifo[..FADE]);
        } else if let Some(decoder) = decoder(&mut self.decoder)
            && decoder.conceal(FADE, &mut self.tail).is_ok()
        {
            crate::mix::scale(&mut self.tail, gain_after(self.concealed));
        }
        self.fifo.clear();
        self.position = to;
        self.shed_before(to);
    }

    /// Makes sound until `wanted` samples are ready or the stream has gone silent.
    fn fill(&mut self, now: i64, wanted: usize, tally: &mut Tally) {
        while self.fifo.len() < wanted {
            let at = self.position + self.fifo.len() as i64;
            let missing = (wanted - self.fifo.len()) as i64;
            self.shed_before(at);
            let Some(next) = self.buffer.front() else {
                self.underrun = true;
                self.fill_hole(missing, self.last_is_dtx, tally);
                return;
            };
            let gap = next.ts - at;
            if gap <= 0 {
                self.play_front(now, at, tally);
                continue;
            }
            // In order, or marked as a beginning: nothing is lost, the talker paused.
            let pause = next.marker || next.seq == self.last_seq + 1;
            if pause || gap > CONCEAL_LIMIT {
                self.fill_hole(missing, pause, tally);
                return;
            }
            if gap > next.frame_samples {
                self.conceal((gap - next.frame_samples).min(missing), tally);
            } else if next.has_fec && gap == next.frame_samples {
                self.recover(gap, tally);
            } else {
                self.conceal(gap.min(missing), tally);
            }
        }
    }

    /// Nothing follows (yet): fades out, at once if the talker paused on purpose, otherwise as
    /// concealment does.
    fn fill_hole(&mut self, samples: i64, pause: bool, tally: &mut Tally) {
        let start = self.fifo.len();
        self.conceal(samples, tally);
        if pause {
            crate::mix::ramp(&mut self.fifo[start..], 1.0, 0.0);
            self.concealed = CONCEAL_LIMIT;
        }
    }

    /// Decodes the first waiting packet; `at` is the timestamp at which the sound continues.
    fn play_front(&mut self, now: i64, at: i64, tally: &mut Tally) {
        let Some(packet) = self.buffer.take_front() else { return };
        self.note_wait(now, &packet, self.fifo.len() as i64);
        self.warm_up(packet.ts);
        let start = self.fifo.len();
        let decoded = decoder(&mut self.decoder).and_then(|d| d.decode(&packet.payload, &mut self.fifo).ok());
        self.pass(&packet);
        if decoded.is_none() {
            self.conceal(packet.samples, tally);
        }
        // Overlaps with what was played: its beginning goes.
        let over = usize::try_from(at - packet.ts)
            .unwrap_or(0)
            .min(self.fifo.len() - start);
        self.fifo.drain(start..start + over);
        if decoded.is_some() {
            self.join(start);
        }
        self.keep(packet);
    }

    /// Joins the new sound from `start` on to the last one heard, without a click.
    fn join(&mut self, start: usize) {
        let sound = &mut self.fifo[start..];
        if !self.tail.is_empty() {
            stretch::cross_fade(&self.tail, sound);
            self.tail.clear();
        } else if self.concealed > CONCEAL_FULL {
            stretch::fade_in(sound, gain_after(self.concealed));
        }
        self.concealed = 0;
    }

    /// If packets were skipped, lets the decoder hear the last of them, so that it doesn't continue
    /// from old sound.
    fn warm_up(&mut self, ts: i64) {
        if !std::mem::take(&mut self.cold) || self.recent.end() != Some(ts) {
            return;
        }
        let Some(decoder) = decoder(&mut self.decoder) else {
            return;
        };
        // A fresh decoder adapts sooner than one in another state.
        let _ = decoder.reset();
        let start = self.fifo.len();
        for packet in self.recent.last(WARM_UP) {
            // The sound is thrown away; an undecodable packet warms nothing up.
            let _ = decoder.decode(&packet.payload, &mut self.fifo);
            self.fifo.truncate(start);
        }
    }

    /// Recovers the lost `samples` before the first waiting packet from its copy of them.
    fn recover(&mut self, samples: i64, tally: &mut Tally) {
        let start = self.fifo.len();
        let recovered = match (self.buffer.front(), decoder(&mut self.decoder)) {
            (Some(BufferedPacket { payload, .. }), Some(d)) => {
                d.decode_fec(payload, samples as usize, &mut self.fifo).is_ok()
            }
            _ => false,
        };
        if recovered {
            tally.recovered += samples;
            self.join(start);
        } else {
            self.conceal(samples, tally);
        }
    }

    /// Synthesises `samples`, the quieter the longer nothing has arrived.
    fn conceal(&mut self, samples: i64, tally: &mut Tally) {
        tally.concealed += samples;
        let mut left = samples;
        while left > 0 {
            let piece = left.min(FRAME);
            let start = self.fifo.len();
            let end = start + piece as usize;
            if self.concealed < CONCEAL_LIMIT
                && let Some(decoder) = decoder(&mut self.decoder)
            {
                let grains = (piece + GRAIN - 1) / GRAIN * GRAIN;
                // A failure appends nothing, and the gap is filled with zeros.
                let _ = decoder.conceal(grains as usize, &mut self.fifo);
            }
            // The synthesised sound beyond the end is the beginning of the next.
            self.fifo.resize(self.fifo.len().max(end), 0.0);
            let made = (self.fifo.len() - start) as i64;
            let (from, to) = (gain_after(self.concealed), gain_after(self.concealed + made));
            if from < 1.0 || to < 1.0 {
                crate::mix::ramp(&mut self.fifo[start..], from, to);
            }
            self.concealed += made;
            left -= piece;
        }
    }
}

/// The gain of concealed sound after this many samples of it.
fn gain_after(samples: i64) -> f32 {
    let into = (samples - CONCEAL_FULL) as f32 / (CONCEAL_LIMIT - CONCEAL_FULL) as f32;
    1.0 - into.clamp(0.0, 1.0)
}

/// The decoder, made when first needed. `None` only where memory has run out, and then the speaker is silent.
pub(super) fn decoder(made: &mut Option<Decoder>) -> Option<&mut Decoder> {
    if made.is_none() {
        *made = Decoder::new().ok();
    }
    made.as_mut()
}
