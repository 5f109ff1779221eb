//! Noise suppression by RNNoise ([`nnnoiseless`]), for a talker in whose sound it comes and goes.
//!
//! Sound in which noise is suppressed comes 10 ms later. Where it begins in the middle of a voice, the voice is
//! cross-faded to itself of 10 ms before, and from there within 100 ms to what RNNoise leaves of it.
//! Noise is made softer by 30 dB at the most: what RNNoise does to speech is heard less then.

use std::cell::Cell;
use std::fmt;

use nnnoiseless::DenoiseState;

use crate::{FRAME_SAMPLES, Frame};

/// RNNoise's frame: 10 ms, which is the delay as well.
const PART: usize = DenoiseState::FRAME_SIZE;
/// RNNoise takes the range of 16-bit samples.
const SCALE: f32 = 32_768.0;
/// Full scale of eight times the usual: RNNoise squares samples, and never gets rid of what isn't a number.
const MOST: f32 = 8.0;
/// The most of the sound that is taken from RNNoise: the rest of it is as it came, 30 dB softer.
const MOST_SHARE: f32 = 0.97;
/// It changes by this in a frame: within 100 ms.
const STEP: f32 = MOST_SHARE / 5.0;

const _: () = assert!(FRAME_SAMPLES == 2 * PART);

/// The noise suppressor of one talker: about 30 KB.
#[derive(Clone)]
pub struct NoiseSuppressor {
    network: Box<DenoiseState<'static>>,
    /// The last 10 ms that came.
    last: [f32; PART],
    /// Whether what is heard comes 10 ms later than it came.
    delayed: bool,
    /// How much of it is taken from RNNoise.
    share: f32,
    /// Whether RNNoise heard these last 10 ms.
    listens: bool,
}

impl Default for NoiseSuppressor {
    fn default() -> Self {
        NoiseSuppressor {
            network: DenoiseState::new(),
            last: [0.0; PART],
            delayed: false,
            share: 0.0,
            listens: false,
        }
    }
}

impl fmt::Debug for NoiseSuppressor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("NoiseSuppressor");
        debug.field("delayed", &self.delayed).field("share", &self.share);
        debug.finish_non_exhaustive()
    }
}

impl NoiseSuppressor {
    /// Makes what all suppressors of a thread share (the plans of Fourier transforms), which its first frame would make otherwise.
    pub fn prepare_thread() {
        thread_local! {
            static PREPARED: Cell<bool> = const { Cell::new(false) };
        }
        if !PREPARED.replace(true) {
            let sound: Frame = std::array::from_fn(|i| (i % 100) as f32 / 100.0);
            NoiseSuppressor::default().suppress(&sound, &mut [0.0; FRAME_SAMPLES]);
        }
    }

    /// Suppresses the noise in a frame that is heard, if it is `noisy`. A frame that isn't, after others that weren't, stays as it is to
    /// the bit.
    pub fn apply(&mut self, frame: &mut Frame, noisy: bool) {
        let before = self.share;
        match (self.delayed, noisy) {
            (false, false) => return,
            (false, true) => return self.begin(frame),
            (true, false) if before == 0.0 => return self.give_back(frame),
            (true, true) => self.share = (before + STEP).min(MOST_SHARE),
            (true, false) => self.share = (before - STEP).max(0.0),
        }
        let came = *frame;
        let (first, second) = came.split_at(PART);
        frame[..PART].copy_from_slice(&self.last);
        frame[PART..].copy_from_slice(first);
        self.last.copy_from_slice(second);
        let mut left: Frame = [0.0; FRAME_SAMPLES];
        self.suppress(&came, &mut left);
        if !std::mem::replace(&mut self.listens, true) {
            // This is of what it heard long ago.
            left[..PART].copy_from_slice(&frame[..PART]);
        }
        let step = (self.share - before) / FRAME_SAMPLES as f32;
        for (i, (sample, left)) in frame.iter_mut().zip(left).enumerate() {
            *sample += (before + step * (i + 1) as f32) * (left - *sample);
        }
    }

    // Sound that came in time goes on 10 ms later. RNNoise begins to listen.
    fn begin(&mut self, frame: &mut Frame) {
        self.delayed = true;
        self.listens = true;
        self.suppress(&frame.clone(), &mut [0.0; FRAME_SAMPLES]);
        let (first, second) = frame.split_at_mut(PART);
        self.last.copy_from_slice(second);
        cross_fade(second, first, |by| by);
    }

    // Sound that comes 10 ms later goes on in time.
    fn give_back(&mut self, frame: &mut Frame) {
        self.delayed = false;
        self.listens = false;
        cross_fade(&mut frame[..PART], &self.last, |by| 1.0 - by);
        self.last.fill(0.0);
    }

    // RNNoise's idea of the frame, 10 ms later.
    fn suppress(&mut self, came: &Frame, left: &mut Frame) {
        for (came, left) in came.as_chunks::<PART>().0.iter().zip(left.as_chunks_mut::<PART>().0) {
            let came = came.map(|sample| {
                if sample.is_nan() {
                    0.0
                } else {
                    sample.clamp(-MOST, MOST) * SCALE
                }
            });
            self.network.process_frame(left, &came);
            left.iter_mut().for_each(|sample| *sample /= SCALE);
        }
    }

    /// Their sound ends. Whether the last 10 ms of it are still to be heard, which `frame` is then.
    pub fn end(&mut self, frame: &mut Frame) -> bool {
        let rest = self.delayed && self.last.iter().any(|sample| *sample != 0.0);
        if rest {
            frame.fill(0.0);
            self.apply(frame, self.share > 0.0);
        }
        rest
    }

    /// Nothing of them is heard: the next sound that is begins 10 ms later if it is `noisy` then.
    pub fn skip(&mut self, noisy: bool) {
        self.last.fill(0.0);
        self.listens = false;
        self.delayed = noisy;
        self.share = if noisy { MOST_SHARE } else { 0.0 };
    }

    /// The talker's own packets were heard until now: the next frame goes on from there.
    pub fn passed(&mut self) {
        self.last.fill(0.0);
        self.delayed = false;
        self.listens = false;
        self.share = 0.0;
    }

    /// Whether nothing is suppressed, and what is heard comes in time.
    pub fn is_idle(&self) -> bool {
        !self.delayed
    }
}

// `share`: how much is the other sound, from the part of the way that is done.
fn cross_fade(sound: &mut [f32], other: &[f32], share: impl Fn(f32) -> f32) {
    for (i, (sample, other)) in sound.iter_mut().zip(other).enumerate() {
        *sample += share((i + 1) as f32 / PART as f32) * (*other - *sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Noise, Tone, rms, to_db};

    /// A fan: low noise.
    fn fan(frames: usize) -> Vec<Frame> {
        let (mut noise, mut low) = (Noise::new(7, 1.0), 0.0);
        let mut frame = || {
            std::array::from_fn(|_| {
                low += 0.06 * (noise.next_sample() - low);
                0.1 * low
            })
        };
        (0..frames).map(|_| frame()).collect()
    }

    fn tones(frames: usize) -> Vec<Frame> {
        let mut tones = [150.0, 300.0, 450.0].map(|hz| Tone::new(hz, 0.1));
        let mut frame = || std::array::from_fn(|_| tones.iter_mut().map(Tone::next_sample).sum());
        (0..frames).map(|_| frame()).collect()
    }

    fn heard(suppressor: &mut NoiseSuppressor, frames: &[Frame], noisy: impl Fn(usize) -> bool) -> Vec<f32> {
        let heard = frames.iter().enumerate().flat_map(|(i, frame)| {
            let mut frame = *frame;
            suppressor.apply(&mut frame, noisy(i));
            frame
        });
        heard.collect()
    }

    // A fourth difference: what is smooth has little of it.
    fn sharpest(pcm: &[f32]) -> f32 {
        let sharp = |w: &[f32]| (w[0] - 4.0 * w[1] + 6.0 * w[2] - 4.0 * w[3] + w[4]).abs();
        pcm.windows(5).map(sharp).fold(0.0, f32::max)
    }

    #[test]
    fn a_talker_without_noise_stays_as_they_are_to_the_bit() {
        let frames = tones(50);
        let heard = heard(&mut NoiseSuppressor::default(), &frames, |_| false);
        assert!(heard == frames.concat());
    }

    #[test]
    fn noise_falls_by_10_to_31_db() {
        let frames = fan(250);
        let heard = heard(&mut NoiseSuppressor::default(), &frames, |_| true);
        let fell = to_db(rms(&frames.concat()[144_000..])) - to_db(rms(&heard[144_000..]));
        assert!((10.0..31.0).contains(&fell), "{fell} dB");
    }

    #[test]
    fn suppression_that_comes_and_goes_does_not_click() {
        let frames = tones(200);
        let heard = heard(&mut NoiseSuppressor::default(), &frames, |i| i / 20 % 2 == 1);
        let (plain, toggled) = (sharpest(&frames.concat()), sharpest(&heard));
        assert!(toggled < plain + 0.002, "{toggled} against {plain}");
    }

    #[test]
    fn what_is_heard_comes_10_ms_later_only_while_noise_is_suppressed() {
        let frames = tones(60);
        let heard = heard(&mut NoiseSuppressor::default(), &frames, |i| (10..20).contains(&i));
        let came = frames.concat();
        assert!(heard[..10 * FRAME_SAMPLES] == came[..10 * FRAME_SAMPLES]);
        assert!(heard[27 * FRAME_SAMPLES..] == came[27 * FRAME_SAMPLES..]);
        assert!(heard[20 * FRAME_SAMPLES..] != came[20 * FRAME_SAMPLES..]);
    }

    #[test]
    fn sound_that_ends_is_heard_to_its_end() {
        let mut suppressor = NoiseSuppressor::default();
        let mut frames = tones(30);
        crate::mix::ramp(&mut frames[29], 1.0, 0.0);
        heard(&mut suppressor, &frames, |_| true);
        let mut rest = [1.0; FRAME_SAMPLES];
        assert!(suppressor.end(&mut rest));
        let (sound, silence) = (rms(&rest[..PART]), rms(&rest[PART..]));
        assert!(sound > 0.0 && silence < sound, "{sound}, {silence}");
        assert!(!suppressor.end(&mut rest));
        // The next spurt begins in silence, not with what was heard before.
        suppressor.skip(true);
        let mut next = tones(1)[0];
        suppressor.apply(&mut next, true);
        assert!(next[..PART].iter().all(|sample| *sample == 0.0));
    }

    #[test]
    fn sound_of_before_a_pause_is_not_heard_after_it() {
        let pauses: [fn(&mut NoiseSuppressor); 3] = [
            |suppressor| {
                heard(suppressor, &tones(10), |_| false);
                suppressor.skip(false);
            },
            |suppressor| suppressor.passed(),
            |suppressor| suppressor.skip(false),
        ];
        for (number, pause) in pauses.into_iter().enumerate() {
            let mut suppressor = NoiseSuppressor::default();
            heard(&mut suppressor, &tones(10), |_| true);
            pause(&mut suppressor);
            suppressor.skip(true);
            let mut next = [0.0; FRAME_SAMPLES];
            suppressor.apply(&mut next, true);
            assert!(next[..PART].iter().all(|sample| *sample == 0.0), "{number}");
        }
    }

    #[test]
    fn the_next_sound_after_others_were_passed_on_begins_in_time() {
        let mut suppressor = NoiseSuppressor::default();
        suppressor.skip(true);
        suppressor.passed();
        let frame = tones(1)[0];
        let mut heard = frame;
        suppressor.apply(&mut heard, true);
        assert!(heard[..PART] == frame[..PART]);
    }

    #[test]
    fn sound_that_is_no_number_or_far_above_full_scale_leaves_nothing_behind() {
        let mut suppressor = NoiseSuppressor::default();
        let loud: Vec<Frame> = (0..20)
            .map(|i| [[3e38, -3e38, f32::NAN, f32::INFINITY][i % 4]; FRAME_SAMPLES])
            .collect();
        heard(&mut suppressor, &loud, |_| true);
        let after = heard(&mut suppressor, &fan(50), |_| true);
        assert!(after[FRAME_SAMPLES..].iter().all(|sample| sample.is_finite()));
        assert!(after[5 * FRAME_SAMPLES..].iter().all(|sample| sample.abs() < 1.0));
    }
}
