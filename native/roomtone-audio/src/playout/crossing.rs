//! The sound between a mix of one talker and that talker's own packets: listeners of the mix have
//! heard less than the packets before the next one hold. Most of the rest is skipped, and they hear
//! the end of it first.

use super::{Past, Playout, State, stretch};
use crate::{Channels, Decoder, FRAME_SAMPLES, LOOKAHEAD_SAMPLES};

/// The shortest frame of Opus: the sound is a multiple of it.
const GRAIN: usize = 120;
/// The shortest cross-fade: 5 ms.
const SHORTEST: usize = 240;
/// More than this (80 ms) isn't skipped.
const LONGEST: usize = 3840;
/// The sound that an encoder hears before, so that it comes in warm.
const LEAD_IN: usize = 2 * FRAME_SAMPLES;
/// The sound that an encoder hears after it is unknown yet: synthesised, in whole grains. No more than
/// the overlap of the last frame with the talker's packet is heard of it, 2.5 ms.
const BEYOND: usize = LOOKAHEAD_SAMPLES.next_multiple_of(GRAIN);
/// The length compared to find what can be skipped with the least harm.
const COMPARED: usize = SHORTEST;

/// The sound that listeners of a mix with one talker in it hear before that talker's next packet, so
/// that the packet goes on from it: as input for an encoder, whose delay is taken into account.
#[derive(Debug)]
pub struct Crossing {
    pcm: Vec<f32>,
    channels: Channels,
}

impl Crossing {
    /// The two frames before it, whose packets are thrown away.
    pub fn lead_in(&self) -> impl Iterator<Item = &[f32]> {
        let frame = FRAME_SAMPLES * self.channels.count();
        self.pcm[..LEAD_IN * self.channels.count()].chunks_exact(frame)
    }

    /// Its frames, each of a length that Opus has; the longest are the last.
    pub fn frames(&self) -> impl Iterator<Item = &[f32]> {
        let channels = self.channels.count();
        let mut rest = &self.pcm[LEAD_IN * channels..];
        std::iter::from_fn(move || {
            let samples = rest.len() / channels;
            let short = samples % FRAME_SAMPLES / GRAIN;
            let samples = match short {
                0 => samples.min(FRAME_SAMPLES),
                _ => GRAIN << short.trailing_zeros(),
            };
            let (frame, after) = rest.split_at(samples * channels);
            rest = after;
            (samples > 0).then_some(frame)
        })
    }
}

impl Playout {
    /// The RTP timestamp of the packet that a [crossing](Playout::crossing) would lead to now, found
    /// without decoding. `None`: there is too much between the two, too little has arrived, or
    /// nothing plays.
    pub fn crossing_end(&self) -> Option<u32> {
        let (end, behind, known) = self.extent()?;
        // Of a frame that is withheld, too.
        let needed = needed(between(behind)? + FRAME_SAMPLES);
        let plays = self.state == State::Playing && known >= needed;
        plays.then_some(end as u32)
    }

    /// The sound that listeners of a mix hear before the talker's next packet: a multiple of 120
    /// samples, 240 or more, and at most the multiple nearest to `most`. They have heard this
    /// talker, and nobody else, in mono and up to where the mix takes the talker up next, but for
    /// the last `withheld` samples (a frame at most). Sound that `decoder` decodes in stereo becomes
    /// stereo meanwhile.
    ///
    /// The rest of what has arrived is skipped, a piece without which the sound goes on best, under
    /// a cross-fade. Opus has no frames shorter than 2.5 ms, so up to half of that is gained or lost
    /// by a slight change of speed.
    ///
    /// `None`, before anything is decoded: there is too much between the two (more than 80 ms, of
    /// which the delay of an encoder is 6.5), too little has arrived, or nothing plays. `None`, too,
    /// if the decoder fails.
    pub fn crossing(&self, decoder: &mut Decoder, withheld: usize, most: usize) -> Option<Crossing> {
        self.crossing_end()?;
        let mut past = Past::default();
        if !self.recall(decoder, &mut past) {
            return None;
        }
        decoder.conceal(BEYOND, &mut past.pcm).ok()?;
        past.crossing(decoder.channels(), withheld.min(FRAME_SAMPLES), most)
    }
}

impl Past {
    // With sound for `BEYOND` after its end.
    fn crossing(&self, channels: Channels, withheld: usize, most: usize) -> Option<Crossing> {
        let end = (self.pcm.len() / channels.count()).checked_sub(BEYOND)?;
        let between = between(self.behind())? + withheld;
        if self.known() < needed(between) {
            return None;
        }
        let heard = end.checked_sub(between)?;
        let skipped = self.best_skip(channels, heard, between, most.max(SHORTEST))?;
        let sound = whole_grains(between - skipped);
        let shift = (between - skipped) as f32 - sound as f32;
        let mut pcm = Vec::with_capacity((LEAD_IN + sound) * channels.count());
        for at in 0..LEAD_IN + sound {
            // Relative to what was heard last. A decoder hears the input later than it came.
            let at = at as i64 + LOOKAHEAD_SAMPLES as i64 - LEAD_IN as i64;
            let place = (at as f32 / sound as f32).clamp(0.0, 1.0);
            // Begins and ends without a bend.
            let shift = shift * (place - (std::f32::consts::TAU * place).sin() / std::f32::consts::TAU);
            let weight = (std::f32::consts::FRAC_PI_2 * place).sin().powi(2);
            let from = heard as i64 + at;
            let value = |channel| {
                let before = self.sample(channels, from, shift, channel);
                let after = self.sample(channels, from + skipped as i64, shift, channel);
                before + weight * (after - before)
            };
            match channels {
                Channels::Mono => pcm.push(value(0)),
                Channels::Stereo => {
                    let [left, right] = [0, 1].map(value);
                    let (middle, side) = ((left + right) / 2.0, (left - right) / 2.0 * weight);
                    pcm.extend([middle + side, middle - side]);
                }
            }
        }
        Some(Crossing { pcm, channels })
    }

    // How much is skipped, so that between `SHORTEST` and `most` samples are left: where both ends are most similar.
    fn best_skip(&self, channels: Channels, heard: usize, between: usize, most: usize) -> Option<usize> {
        let (least, most) = (between.saturating_sub(most), between - SHORTEST);
        let piece = |skip: usize| {
            let begin = (heard + skip) * channels.count();
            self.pcm.get(begin..begin + COMPARED * channels.count())
        };
        let template = piece(0)?;
        let energy = stretch::dot(template, template);
        let likeness = |skip: usize| {
            let other = piece(skip).unwrap_or_default();
            let like = stretch::dot(template, other) / (energy * stretch::dot(other, other)).sqrt().max(1e-9);
            // Speed is heard, too.
            let (left, sound) = (between - skip, whole_grains(between - skip));
            like - left.abs_diff(sound) as f32 / sound as f32
        };
        // Of those that are nearly equal the first, which leaves the least.
        let best = |a: (usize, f32), b: (usize, f32)| if b.1 > a.1 + 0.02 { b } else { a };
        let coarse = (least..=most).rev().step_by(4).map(|skip| (skip, likeness(skip)));
        let (near, _) = coarse.reduce(best)?;
        let fine = (near.saturating_sub(3).max(least)..=(near + 3).min(most)).rev();
        let fine = fine.map(|skip| (skip, likeness(skip)));
        fine.reduce(best).map(|(skip, _)| skip)
    }

    // The sound `shift` samples after a place, between two of which it is a cubic curve.
    fn sample(&self, channels: Channels, at: i64, shift: f32, channel: usize) -> f32 {
        let whole = shift.floor();
        let part = shift - whole;
        let at = at + whole as i64;
        let value = |at: i64| {
            let index = usize::try_from(at).ok().map(|at| at * channels.count() + channel);
            index.and_then(|index| self.pcm.get(index)).copied().unwrap_or(0.0)
        };
        if part == 0.0 {
            return value(at);
        }
        let [a, b, c, d] = [-1, 0, 1, 2].map(|step| value(at + step));
        let slopes = [(c - a) / 2.0, (d - b) / 2.0];
        let cubic = 2.0 * (b - c) + slopes[0] + slopes[1];
        let square = 3.0 * (c - b) - 2.0 * slopes[0] - slopes[1];
        b + part * (slopes[0] + part * (square + part * cubic))
    }
}

/// The samples between what the listeners of a mix have heard and the talker's next packet, if a
/// crossing can lead over so many; `behind`: from what the mix takes next to that packet.
fn between(behind: i64) -> Option<usize> {
    let between = usize::try_from(behind).ok()?.checked_add(LOOKAHEAD_SAMPLES)?;
    (SHORTEST..=LONGEST).contains(&between).then_some(between)
}

/// The samples that must have arrived.
fn needed(between: usize) -> i64 {
    (between + LEAD_IN) as i64
}

/// The nearest multiple of what Opus can code.
fn whole_grains(samples: usize) -> usize {
    (samples + GRAIN / 2) / GRAIN * GRAIN
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::analysis::{Tone, max_step};
    use crate::{Encoder, EncoderConfig};
    use std::time::{Duration, Instant};

    const LENGTH: usize = 6720;

    /// A tone on the left (Hz), and one on the right, of which a mix has taken all but the last `behind` samples.
    fn past(hz: [f64; 2], behind: usize) -> Past {
        let ears = hz.map(|hz| {
            let mut pcm = vec![0.0; LENGTH + BEYOND];
            Tone::new(hz, 0.1).fill(&mut pcm);
            pcm
        });
        let pcm = ears[0].iter().zip(&ears[1]).flat_map(|(left, right)| [*left, *right]);
        Past::of(pcm.collect(), behind as i64, LENGTH as i64)
    }

    fn ear(crossing: &Crossing, channel: usize) -> Vec<f32> {
        crossing.pcm.iter().skip(channel).step_by(2).copied().collect()
    }

    #[test]
    fn the_sound_goes_on_to_the_next_packet_without_a_step() {
        for behind in [
            0,
            50,
            700,
            960,
            961,
            1007,
            1100,
            1920,
            2500,
            LONGEST - LOOKAHEAD_SAMPLES,
        ] {
            for (withheld, most) in [(0, 240), (0, 960), (FRAME_SAMPLES, 240), (FRAME_SAMPLES, 960)] {
                let past = past([300.0, 300.0], behind);
                let Some(crossing) = past.crossing(Channels::Stereo, withheld, most) else {
                    panic!("{behind}, {withheld}, {most}")
                };
                let mut pcm = ear(&crossing, 0);
                let sound = pcm.len() - LEAD_IN;
                assert!(
                    sound.is_multiple_of(GRAIN) && sound <= most.max(360),
                    "{behind}: {sound}"
                );
                // Then comes the sound after that which an encoder has heard.
                let mut packet = Tone::new(300.0, 0.1);
                let mut after = vec![0.0; LENGTH + 2000];
                packet.fill(&mut after);
                pcm.extend(&after[LENGTH + LOOKAHEAD_SAMPLES..]);
                let steepest = max_step(&after);
                let step = max_step(&pcm) / steepest;
                assert!(step < 1.5, "{behind}, {most}: {step}");
            }
        }
    }

    #[test]
    fn frames_are_of_lengths_that_opus_has_and_the_longest_come_last() {
        for behind in (0..2960).step_by(7) {
            let crossing = past([300.0, 310.0], behind)
                .crossing(Channels::Stereo, 0, 1500)
                .unwrap();
            let lengths: Vec<usize> = crossing.frames().map(|frame| frame.len() / 2).collect();
            assert!(
                lengths.iter().all(|samples| [120, 240, 480, 960].contains(samples)),
                "{lengths:?}"
            );
            assert!(lengths.is_sorted() && crossing.lead_in().count() == 2, "{lengths:?}");
            let sound: usize = lengths.iter().sum();
            assert_eq!(sound + LEAD_IN, crossing.pcm.len() / 2);
        }
    }

    #[test]
    fn both_sides_open_from_the_middle() {
        let crossing = past([300.0, 700.0], 1920).crossing(Channels::Stereo, 0, 960).unwrap();
        let (left, right) = (ear(&crossing, 0), ear(&crossing, 1));
        let heard = LEAD_IN - LOOKAHEAD_SAMPLES;
        assert_eq!(left[..heard], right[..heard], "until now it was mono");
        let apart = |at: usize| (left[at] - right[at]).abs();
        let most = |range: std::ops::Range<usize>| range.map(apart).fold(0.0, f32::max);
        assert!(most(heard..heard + 40) < 0.02 && most(left.len() - 200..left.len()) > 0.1);
    }

    #[test]
    fn nothing_is_made_of_what_is_unknown_or_too_far_away() {
        let far = past([300.0; 2], LONGEST).crossing(Channels::Stereo, 0, 960);
        assert!(far.is_none());
        let mut short = past([300.0; 2], 960);
        short = Past::of(std::mem::take(&mut short.pcm), 960, 3000);
        assert!(short.crossing(Channels::Stereo, 0, 960).is_none());
        assert!(Past::default().crossing(Channels::Mono, 0, 960).is_none());
        let nobody = Playout::new(crate::PlayoutConfig::default()).unwrap();
        assert!(nobody.crossing(&mut Decoder::new().unwrap(), 0, 960).is_none());
    }

    /// A playout of a tone whose packets wait for this delay.
    fn playing(delay_ms: u64) -> Playout {
        let config = crate::PlayoutConfig {
            min_delay: Duration::from_millis(delay_ms),
            ..crate::PlayoutConfig::default()
        };
        let (mut playout, mut encoder) = (
            Playout::new(config).unwrap(),
            Encoder::new(&EncoderConfig::default()).unwrap(),
        );
        let (mut tone, mut now) = (Tone::new(300.0, 0.1), Instant::now());
        for seq in 0..50u16 {
            let (mut frame, mut payload, mut heard) = ([0.0; FRAME_SAMPLES], Vec::new(), [0.0; FRAME_SAMPLES]);
            tone.fill(&mut frame);
            encoder.encode(&frame, &mut payload).unwrap();
            let meta = crate::RtpMeta {
                seq,
                timestamp: u32::from(seq) * FRAME_SAMPLES as u32,
                marker: false,
                level: None,
            };
            playout.insert(now, meta, &payload);
            now += Duration::from_millis(10);
            playout.pop(now, &mut heard);
            now += Duration::from_millis(10);
        }
        playout
    }

    #[test]
    fn a_deep_jitter_buffer_is_told_without_decoding() {
        let mut decoder = Decoder::with_channels(Channels::Stereo).unwrap();
        for (delay_ms, end) in [(5, Some(50 * 960)), (40, Some(50 * 960)), (120, None)] {
            let playout = playing(delay_ms);
            assert_eq!(playout.crossing_end(), end, "{delay_ms}");
            assert_eq!(
                playout.crossing(&mut decoder, 0, 960).is_some(),
                end.is_some(),
                "{delay_ms}"
            );
        }
    }

    #[test]
    fn nothing_leads_from_a_stream_to_the_one_that_takes_its_place() {
        let mut playout = playing(5);
        for seq in 5_000..5_002 {
            let meta = crate::RtpMeta {
                seq,
                timestamp: u32::from(seq),
                marker: false,
                level: None,
            };
            // Silence of 20 ms.
            playout.insert(Instant::now(), meta, &[0xf8, 0xff, 0xfe]);
        }
        assert_eq!(playout.stats().resets, 1);
        assert_eq!(playout.crossing_end(), None);
    }
}
