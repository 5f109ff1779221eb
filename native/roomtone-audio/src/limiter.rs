//! Keeps a mix below full scale, without wrap-around and without the crackle of plain clipping.
//!
//! A frame is known whole before it is sent, so each 2.5 ms of it can look ahead at no cost: the
//! gain that its peak needs is in force at both of its ends, and changes linearly between them.
//! Where nothing is loud the gain is exactly 1 and the samples are unchanged. A peak that still
//! exceeds the ceiling (right at the start of a frame, before the gain has come down) is rounded
//! off by a smooth curve that ends at full scale.

use crate::Channels;

/// Sound below this amplitude (−3 dBFS) is unchanged once the gain is back at 1.
const THRESHOLD: f32 = 0.707_945_8;
/// The gain alone brings the loudest peaks down to this; the curve uses the rest up to 1.0.
const CEILING: f32 = 0.97;
/// Samples per channel of one step of the gain: 2.5 ms.
const STEP: usize = 120;
/// The share of the missing gain that returns in one step: a time constant of about 100 ms.
const RELEASE: f32 = 0.025;
/// Missing gain that counts as none (−80 dB, inaudible): brings the gain back to exactly 1.
const DONE: f32 = 1e-4;

/// A soft limiter for one mix. A clone continues exactly as the original does.
#[derive(Debug, Clone, PartialEq)]
pub struct Limiter {
    gain: f32,
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}

impl Limiter {
    /// A limiter at rest.
    pub const fn new() -> Self {
        Self { gain: 1.0 }
    }

    /// Whether the gain is 1, so that sound below −3 dBFS passes unchanged.
    pub fn is_idle(&self) -> bool {
        self.gain == 1.0
    }

    /// Limits a mono block in place; afterwards every sample is within ±1.0. Consecutive blocks
    /// join without a seam; their length is free (20 ms is usual).
    pub fn process(&mut self, pcm: &mut [f32]) {
        self.process_interleaved(pcm, Channels::Mono);
    }

    /// As [`Limiter::process`], both channels with the same gain, so that the stereo image stays
    /// still.
    pub fn process_interleaved(&mut self, pcm: &mut [f32], channels: Channels) {
        let width = channels.count();
        let loudest = peak(pcm);
        if self.is_idle() && loudest <= THRESHOLD {
            return;
        }
        if !loudest.is_finite() {
            pcm.iter_mut()
                .filter(|sample| !sample.is_finite())
                .for_each(|sample| *sample = 0.0);
        }
        // Each step must know the gain that the next one needs, to be down in time.
        let mut steps = pcm.chunks_mut(STEP * width).peekable();
        let mut needed = steps.peek().map_or(1.0, |step| gain_for(peak(step)));
        while let Some(step) = steps.next() {
            let next = steps.peek().map_or(1.0, |step| gain_for(peak(step)));
            let released = if 1.0 - self.gain < DONE {
                1.0
            } else {
                self.gain + (1.0 - self.gain) * RELEASE
            };
            let goal = needed.min(next).min(released);
            if self.gain != 1.0 || goal != 1.0 {
                apply(step, width, self.gain, goal);
            }
            self.gain = goal;
            needed = next;
        }
    }
}

/// The largest magnitude. Compared as integers: without the sign, floats sort like their bits, a
/// NaN sorts last and so can't hide, and the compiler has SIMD for it.
fn peak(pcm: &[f32]) -> f32 {
    let magnitude = |sample: &f32| (sample.to_bits() & 0x7fff_ffff) as i32;
    f32::from_bits(pcm.iter().map(magnitude).max().unwrap_or(0) as u32)
}

/// The gain that brings a peak under the ceiling, as a smooth function of the peak.
fn gain_for(peak: f32) -> f32 {
    if peak <= THRESHOLD {
        return 1.0;
    }
    let room = CEILING - THRESHOLD;
    (THRESHOLD + room * (1.0 - (-(peak - THRESHOLD) / room).exp())) / peak
}

/// Changes the gain linearly over the step and rounds off what exceeds the ceiling.
fn apply(step: &mut [f32], width: usize, from: f32, to: f32) {
    let slope = (to - from) / (step.len() / width).max(1) as f32;
    for (i, frame) in step.chunks_mut(width).enumerate() {
        let gain = from + slope * (i + 1) as f32;
        for sample in frame {
            *sample = rounded(*sample * gain);
        }
    }
}

fn rounded(sample: f32) -> f32 {
    let size = sample.abs();
    if size <= CEILING {
        sample
    } else {
        let room = 1.0 - CEILING;
        (CEILING + room * (1.0 - (-(size - CEILING) / room).exp())).copysign(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Tone, max_step, rms, tone_dbfs};
    use proptest::prelude::*;

    fn tones(amplitudes: &[f32], seconds: f32) -> Vec<f32> {
        let mut out = vec![0.0; (seconds * 48_000.0) as usize];
        for (i, &amplitude) in amplitudes.iter().enumerate() {
            let mut tone = vec![0.0; out.len()];
            Tone::new(300.0 + 170.0 * i as f64, amplitude).fill(&mut tone);
            crate::mix::add(&mut out, &tone);
        }
        out
    }

    #[test]
    fn quiet_sound_is_unchanged() {
        let sound = tones(&[0.2, 0.3, 0.2], 1.0);
        let mut out = sound.clone();
        let mut limiter = Limiter::new();
        out.chunks_mut(960).for_each(|frame| limiter.process(frame));
        assert_eq!(out, sound);
    }

    #[test]
    fn a_loud_crowd_is_limited_smoothly_and_released_again() {
        let sound = tones(&[0.6; 10], 1.0);
        let mut out = sound.clone();
        let mut limiter = Limiter::new();
        out.chunks_mut(960).for_each(|frame| limiter.process(frame));
        assert!(out.iter().all(|s| s.abs() <= 1.0));
        assert!(
            max_step(&out) <= max_step(&sound),
            "no step steeper than in the sound itself"
        );
        assert!(rms(&out) > 0.1, "it is still audible");
        assert!(!limiter.is_idle());
        // The tones keep their proportions: the gain changes, nothing clips.
        let tail = &out[24_000..];
        let levels: Vec<f64> = (0..10).map(|i| tone_dbfs(tail, 300.0 + 170.0 * f64::from(i))).collect();
        let spread = levels.iter().fold(f64::MIN, |a, &b| a.max(b)) - levels.iter().fold(f64::MAX, |a, &b| a.min(b));
        assert!(spread < 1.5, "{levels:?}");
        // Silence afterwards brings the gain back to exactly 1.
        for _ in 0..75 {
            limiter.process(&mut [0.0; 960]);
        }
        assert!(limiter.is_idle());
    }

    #[test]
    fn a_constant_overload_does_not_pump() {
        let mut out = tones(&[1.5], 2.0);
        let mut limiter = Limiter::new();
        out.chunks_mut(960).for_each(|frame| limiter.process(frame));
        let level = |range: std::ops::Range<usize>| tone_dbfs(&out[range], 300.0);
        assert!((level(24_000..48_000) - level(72_000..96_000)).abs() < 0.05);
        // A sine that is only turned down has no harmonics.
        assert!(
            tone_dbfs(&out[48_000..], 900.0) < -50.0,
            "{}",
            tone_dbfs(&out[48_000..], 900.0)
        );
    }

    #[test]
    fn a_burst_at_the_seam_of_two_frames_does_not_click() {
        let mut limiter = Limiter::new();
        let mut quiet = tones(&[0.1], 0.02);
        limiter.process(&mut quiet);
        let mut loud = vec![0.0; 960];
        let mut tone = Tone::new(300.0, 4.0);
        tone.fill(&mut loud);
        let steepest = max_step(&loud);
        limiter.process(&mut loud);
        assert!(loud.iter().all(|s| s.abs() <= 1.0));
        assert!(max_step(&loud) <= steepest);
    }

    #[test]
    fn a_burst_within_a_frame_is_anticipated() {
        let mut pcm = vec![0.0; 960];
        Tone::new(400.0, 4.0).fill(&mut pcm[600..]);
        Limiter::new().process(&mut pcm);
        assert!(
            peak(&pcm) <= CEILING * 1.0001,
            "the gain alone suffices, without the curve: {}",
            peak(&pcm)
        );
        assert!(peak(&pcm) > 0.9);
    }

    #[test]
    fn stereo_moves_as_one() {
        let (mut left, mut right) = (vec![0.0; 960], vec![0.0; 960]);
        Tone::new(400.0, 2.0).fill(&mut left);
        Tone::new(500.0, 0.1).fill(&mut right);
        let mut both: Vec<f32> = left.iter().zip(&right).flat_map(|(l, r)| [*l, *r]).collect();
        let mut limiter = Limiter::new();
        limiter.process_interleaved(&mut both, Channels::Stereo);
        // The right channel, which is never near the limit, got the same gain as the left one.
        let gain: Vec<f32> = both
            .chunks(2)
            .zip(&right)
            .filter(|(_, r)| r.abs() > 0.01)
            .map(|(b, r)| b[1] / r)
            .collect();
        assert!(gain.iter().skip(300).all(|&g| (0.3..0.7).contains(&g)), "{gain:?}");
        assert!(both.iter().all(|s| s.abs() <= 1.0));
    }

    proptest! {
        #[test]
        fn never_beyond_full_scale(blocks in proptest::collection::vec(proptest::collection::vec(-30f32..30.0, 0..1200), 1..6)) {
            let mut limiter = Limiter::new();
            for mut block in blocks {
                let mut twin = limiter.clone();
                let mut copy = block.clone();
                limiter.process(&mut block);
                twin.process(&mut copy);
                prop_assert_eq!(&block, &copy);
                prop_assert!(block.iter().all(|s| s.abs() <= 1.0));
            }
        }

        #[test]
        fn junk_comes_out_as_numbers(at in 0usize..960, junk in prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN])) {
            let mut pcm = [0.25f32; 960];
            pcm[at] = junk;
            let mut limiter = Limiter::new();
            limiter.process(&mut pcm);
            prop_assert!(pcm.iter().all(|s| s.abs() <= 1.0));
            let mut quiet = [0.1f32; 960];
            for _ in 0..80 {
                quiet = [0.1; 960];
                limiter.process(&mut quiet);
            }
            prop_assert_eq!(quiet, [0.1; 960]);
        }
    }
}
