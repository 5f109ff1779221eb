//! Automatic gain: how loud a talker speaks, and the gain that makes them as loud as others.
//!
//! The gain moves by 6 dB a second at most upwards and 12 dB a second downwards, and only while the
//! talker speaks. It never lifts a peak above −3 dBFS, nor the talker's noise above −50 dBov.

use crate::speech_level::SpeechLevel;
use crate::{FRAME_SAMPLES, mix};

/// The level of speech that is aimed at, dBov. Browsers bring voices to about −25 to −19.
const TARGET: f32 = -22.0;
/// The most that is added or taken away, dB.
const MOST: f32 = 20.0;
/// Noise isn't lifted above this, dBov, as in WebRTC's AGC2.
const MOST_NOISE: f32 = -50.0;
/// The assumed noise of a new talker, dBov, and how fast it may rise in a frame: 1 dB a second, since somebody who speaks without a
/// pause hides theirs.
const UNKNOWN_NOISE: f32 = -60.0;
const NOISE_RISE: f32 = 0.02;
/// Peaks aren't lifted above this: −3 dBFS, from which on the limiter of a mix works.
const MOST_PEAK: f32 = 0.707_945_8;
/// Once there is a gain it stays until the level is nearer to the target by this, dB.
const HYSTERESIS: f32 = 1.5;
/// A gain that has been reached stays until another one is wanted by this, dB.
const STEADY: f32 = 1.0;
/// The most that a gain changes in a frame, dB: 6 dB a second upwards, as in WebRTC's AGC2, and 12 downwards.
const UP: f32 = 0.12;
const DOWN: f32 = 0.24;
/// Peaks are looked for in steps of 2.5 ms; the gain is lowered a step ahead of a peak.
const STEP: usize = FRAME_SAMPLES / 8;
/// How fast a gain recovers that a peak has lowered: 0.2 dB a frame, in a frame and in a step of it.
const RECOVERY: f32 = 1.023_293;
const RECOVERY_IN_STEP: f32 = 1.002_882;
/// Gains this near to 1 make no difference to be heard, dB. A talker without a gain has none until one is wanted that it moves for.
const UNITY: f32 = 0.25;

/// Facts about a frame, known before it is decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameLevel {
    /// Its level in −dBov (RFC 6464).
    pub minus_dbov: u8,
    /// Whether it is louder than the talker's background.
    pub loud: bool,
    /// The talker's background, dBov.
    pub noise_dbov: f32,
}

/// The level of one talker's speech, and their gain.
#[derive(Clone, Debug)]
pub struct AutoGain {
    speech: SpeechLevel,
    /// dBov.
    noise: f32,
    /// Whether their level is so far off that something is done about it.
    acts: bool,
    /// Whether the gain is on its way to another.
    moves: bool,
    /// Whether there is no gain that could be heard, and none to come.
    unity: bool,
    gain_db: f32,
    /// The linear gain at the end of the last frame that was heard.
    applied: f32,
}

impl Default for AutoGain {
    fn default() -> Self {
        AutoGain {
            speech: SpeechLevel::default(),
            noise: UNKNOWN_NOISE,
            acts: false,
            moves: false,
            unity: true,
            gain_db: 0.0,
            applied: 1.0,
        }
    }
}

impl AutoGain {
    /// Follows a frame, whether it is heard or not. `tolerance`: how far the level may be off without a
    /// gain, dB; `None`: this talker is to have none. Whether it was speech.
    pub fn follow(&mut self, frame: FrameLevel, tolerance: Option<f32>) -> bool {
        let speaks = self.speech.take(frame.minus_dbov, frame.loud);
        self.noise = frame.noise_dbov.min(self.noise + NOISE_RISE);
        let wanted = self.wanted(tolerance);
        if speaks || tolerance.is_none() {
            self.approach(wanted);
        }
        let near = if self.unity { STEADY } else { UNITY };
        self.unity = wanted.abs() < near && self.gain_db.abs() <= UNITY;
        speaks
    }

    fn wanted(&mut self, tolerance: Option<f32>) -> f32 {
        let (Some(level), Some(tolerance)) = (self.speech.level(), tolerance) else {
            self.acts = false;
            return 0.0;
        };
        let off = TARGET - level;
        self.acts = off.abs() > if self.acts { tolerance - HYSTERESIS } else { tolerance };
        if self.acts {
            off.clamp(-MOST, MOST.min((MOST_NOISE - self.noise).max(0.0)))
        } else {
            0.0
        }
    }

    fn approach(&mut self, wanted: f32) {
        let by = wanted - self.gain_db;
        if !self.moves && wanted != 0.0 && by.abs() < STEADY {
            return;
        }
        let most = if by > 0.0 { UP } else { DOWN };
        self.moves = by.abs() > most;
        self.gain_db = if self.moves {
            self.gain_db + most.copysign(by)
        } else {
            wanted
        };
    }

    /// Changes a frame that is heard, by a ramp from the gain of the one before. Where nothing is to be
    /// done, the frame stays as it is to the bit.
    pub fn apply(&mut self, frame: &mut [f32]) {
        let before = self.applied;
        let after = self.target().min(before * RECOVERY);
        let most = before.max(after);
        if most > 1.0 && most > allowed(frame) {
            self.applied = limit(frame, before, after);
            return;
        }
        self.applied = after;
        if before != 1.0 || after != 1.0 {
            mix::ramp(frame, before, after);
        }
    }

    /// A frame isn't heard: the next one that is begins at the gain of then.
    pub fn skip(&mut self) {
        self.applied = self.target();
    }

    /// The talker's own packets were heard until now: the next frame goes on from no gain.
    pub fn passed(&mut self) {
        self.applied = 1.0;
    }

    fn target(&self) -> f32 {
        if self.gain_db == 0.0 {
            1.0
        } else {
            10f32.powf(self.gain_db / 20.0)
        }
    }

    /// The gain, dB.
    pub fn gain_db(&self) -> f32 {
        self.gain_db
    }

    /// The linear gain at the end of the last frame that was changed.
    pub fn gain(&self) -> f32 {
        self.applied
    }

    /// Whether there is no gain that could be heard, and none to come: the talker's packets are as good.
    pub fn is_unity(&self) -> bool {
        self.unity
    }

    /// How far the talker's level is from what is aimed at, dB; `None` before a second of speech.
    pub fn off_by(&self) -> Option<f32> {
        self.speech.level().map(|level| level - TARGET)
    }
}

// The most that a gain may be for these samples: sound that is louder already isn't made softer.
fn allowed(samples: &[f32]) -> f32 {
    let peak = samples.iter().fold(0f32, |peak, sample| peak.max(sample.abs()));
    (MOST_PEAK / peak).max(1.0)
}

// Ramps a frame from one gain towards another, step by step, below what the peaks of a step and of the next one allow. A peak in the first
// step comes unforeseen: there each sample lowers the gain for those after it. The gain at the end.
fn limit(frame: &mut [f32], before: f32, after: f32) -> f32 {
    let length = frame.len();
    let mut gain = before;
    for start in (0..length).step_by(STEP) {
        let end = (start + STEP).min(length);
        let aim = before + (after - before) * end as f32 / length as f32;
        let here = allowed(&frame[start..end]);
        let next = allowed(&frame[end..(end + STEP).min(length)]);
        let to = aim.min(here).min(next).min(gain * RECOVERY_IN_STEP);
        let samples = &mut frame[start..end];
        if gain <= here {
            mix::ramp(samples, gain, to);
        } else {
            ramp_below_peaks(samples, gain, to);
        }
        gain = to;
    }
    gain
}

fn ramp_below_peaks(samples: &mut [f32], from: f32, to: f32) {
    let by = (to - from) / samples.len() as f32;
    let mut most = from;
    for (i, sample) in samples.iter_mut().enumerate() {
        most = most.min(allowed(&[*sample]));
        *sample *= most.min(from + by * (i + 1) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;

    /// Levels of syllables, dB below the loudest: four a second, and a pause after each fifth.
    const SYLLABLE: [u8; 12] = [14, 8, 3, 1, 0, 0, 2, 4, 7, 11, 16, 22];

    fn syllables(loudest: u8) -> impl Iterator<Item = u8> {
        (0..).flat_map(move |n| {
            let pause = if n % 5 == 4 { 20 } else { 0 };
            let spoken = SYLLABLE.into_iter().map(move |below| loudest + below + n % 3);
            spoken.chain(std::iter::repeat_n(127, pause))
        })
    }

    /// The level of syllables whose loudest frames have 0 dBov, as it is measured.
    fn level_of_syllables() -> f32 {
        let mut gain = AutoGain::default();
        hear(&mut gain, syllables(40).take(1000), Some(100.0));
        TARGET + gain.off_by().unwrap() + 40.0
    }

    fn hear(gain: &mut AutoGain, levels: impl Iterator<Item = u8>, tolerance: Option<f32>) {
        hear_beside(gain, levels, -90.0, tolerance);
    }

    fn hear_beside(gain: &mut AutoGain, levels: impl Iterator<Item = u8>, noise_dbov: f32, tolerance: Option<f32>) {
        for minus_dbov in levels {
            let loud = minus_dbov < 80 && -f32::from(minus_dbov) >= noise_dbov + 9.0;
            let frame = FrameLevel {
                minus_dbov,
                loud,
                noise_dbov,
            };
            gain.follow(frame, tolerance);
        }
    }

    /// The loudest frames of syllables of this level.
    fn loudest(level: f32) -> u8 {
        (level_of_syllables() - level).round() as u8
    }

    #[test]
    fn voices_of_any_level_are_brought_to_one() {
        for level in [-40.0, -36.0, -30.0, -15.0, -8.0] {
            let mut gain = AutoGain::default();
            hear(&mut gain, syllables(loudest(level)).take(1000), Some(6.0));
            let heard = level + gain.gain_db();
            assert!((heard - TARGET).abs() < 1.5, "{level} is heard at {heard}");
        }
    }

    #[test]
    fn a_voice_within_the_tolerance_stays_as_it_is() {
        for level in [-27.0, -22.0, -17.0] {
            let mut gain = AutoGain::default();
            hear(&mut gain, syllables(loudest(level)).take(1000), Some(6.0));
            assert_eq!(gain.gain_db(), 0.0, "{level}");
            let mut frame: Frame = std::array::from_fn(|i| (i as f32 * 0.1).sin());
            let before = frame;
            gain.apply(&mut frame);
            assert_eq!(frame, before);
            assert!(gain.is_unity());
        }
    }

    #[test]
    fn tones_noise_and_clicks_are_no_speech() {
        let tone = std::iter::repeat_n(50, 2000);
        let bursts = (0..2000).map(|i| match i % 40 {
            0 | 19 => 56,
            1..19 => 50,
            _ => 127,
        });
        let noise = (0..2000).map(|i| 45 + u8::from(i % 7 == 0));
        let clicks = (0..2000).map(|i| [40, 46, 52, 127, 127, 127, 127, 127, 127, 127][i % 10]);
        let levels: [Box<dyn Iterator<Item = u8>>; 4] =
            [Box::new(tone), Box::new(bursts), Box::new(noise), Box::new(clicks)];
        for (n, levels) in levels.into_iter().enumerate() {
            let mut gain = AutoGain::default();
            hear(&mut gain, levels, Some(3.0));
            assert_eq!(gain.gain_db(), 0.0, "{n}");
            assert_eq!(gain.off_by(), None, "{n}");
        }
    }

    #[test]
    fn music_before_a_voice_does_not_count() {
        let mut gain = AutoGain::default();
        hear(&mut gain, std::iter::repeat_n(12, 3000), Some(6.0));
        hear(&mut gain, syllables(loudest(-36.0)).take(1000), Some(6.0));
        assert!((gain.gain_db() - 14.0).abs() < 1.5, "{}", gain.gain_db());
    }

    #[test]
    fn noise_is_not_lifted_above_its_limit() {
        for (noise, most) in [(-45.0, 0.0), (-58.0, 8.0), (-66.0, 16.0)] {
            let mut gain = AutoGain::default();
            hear_beside(&mut gain, syllables(loudest(-38.0)).take(1500), noise, Some(6.0));
            assert!(gain.gain_db() <= most, "{noise}: {}", gain.gain_db());
        }
    }

    #[test]
    fn a_talker_whose_noise_allows_no_gain_has_none() {
        let mut gain = AutoGain::default();
        let mut hear = |noise: f32| {
            hear_beside(&mut gain, syllables(loudest(-32.0)).take(1500), noise, Some(6.0));
            gain.is_unity()
        };
        assert!(hear(-49.0), "no gain is possible");
        assert!(hear(-50.6), "less than a decibel isn't worth a mix");
        assert!(!hear(-53.0));
        assert!(!hear(-50.6));
        assert!(hear(-50.0));
    }

    #[test]
    fn the_level_is_known_after_a_second_of_speech() {
        let mut gain = AutoGain::default();
        let mut spoken = 0;
        for minus_dbov in syllables(30).take(1000) {
            if gain.off_by().is_some() {
                break;
            }
            let frame = FrameLevel {
                minus_dbov,
                loud: minus_dbov < 80,
                noise_dbov: -90.0,
            };
            spoken += u32::from(gain.follow(frame, None));
        }
        assert_eq!(spoken, 50);
    }

    #[test]
    fn a_gain_moves_slowly_and_only_with_speech() {
        let mut gain = AutoGain::default();
        let mut before = 0.0;
        for level in syllables(loudest(-40.0)).take(1000) {
            hear(&mut gain, std::iter::once(level), Some(6.0));
            let by = gain.gain_db() - before;
            assert!(
                (-0.001..=UP + 0.001).contains(&by) && (by == 0.0 || level < 80),
                "{by} at {level}"
            );
            before = gain.gain_db();
        }
        hear(&mut gain, std::iter::repeat_n(127, 500), Some(6.0));
        assert_eq!(gain.gain_db(), before);
    }

    #[test]
    fn a_talker_who_is_to_have_no_gain_loses_it() {
        let mut gain = AutoGain::default();
        hear(&mut gain, syllables(loudest(-40.0)).take(1000), Some(6.0));
        assert!(gain.gain_db() > 15.0 && !gain.is_unity());
        hear(&mut gain, std::iter::repeat_n(127, 200), None);
        assert!(gain.gain_db() == 0.0 && gain.is_unity());
    }

    /// A gain of 20 dB that is in force.
    fn lifting() -> AutoGain {
        AutoGain {
            gain_db: 20.0,
            applied: 10.0,
            ..AutoGain::default()
        }
    }

    fn apply(gain: &mut AutoGain, mut frame: Frame) -> Frame {
        gain.apply(&mut frame);
        frame
    }

    fn peak(frame: &Frame) -> f32 {
        frame.iter().fold(0.0, |peak, sample| peak.max(sample.abs()))
    }

    #[test]
    fn peaks_stay_below_full_scale_and_the_gain_comes_back() {
        let mut gain = lifting();
        let last = |gain: &mut AutoGain, amplitude: f32| apply(gain, [amplitude; FRAME_SAMPLES])[FRAME_SAMPLES - 1];
        assert!((last(&mut gain, 0.01) - 0.1).abs() < 1e-4);
        // A shout.
        for _ in 0..2 {
            let shout = apply(&mut gain, [0.5; FRAME_SAMPLES]);
            assert!(peak(&shout) <= MOST_PEAK + 1e-4, "{}", peak(&shout));
            assert!((shout[FRAME_SAMPLES - 1] - MOST_PEAK).abs() < 1e-4);
        }
        // Sound louder than that already isn't made softer.
        assert_eq!(
            apply(&mut gain, [1.0; FRAME_SAMPLES])[STEP..],
            [1.0; FRAME_SAMPLES - STEP]
        );
        let first = last(&mut gain, 0.01);
        assert!(first < 0.0103, "{first}");
        for _ in 0..110 {
            last(&mut gain, 0.01);
        }
        assert!((last(&mut gain, 0.01) - 0.1).abs() < 1e-4);
    }

    #[test]
    fn an_onset_anywhere_in_a_frame_stays_below_full_scale_without_a_click() {
        for onset in (0..FRAME_SAMPLES).step_by(31) {
            let mut gain = lifting();
            // 150 Hz, which sets in where its wave crosses zero.
            let sound = |at: usize| {
                let amplitude = if at < onset { 0.01 } else { 0.5 };
                amplitude * ((at as f32 - onset as f32) * 150.0 * std::f32::consts::TAU / 48_000.0).sin()
            };
            let mut heard = apply(&mut gain, std::array::from_fn(sound)).to_vec();
            heard.extend(apply(&mut gain, std::array::from_fn(|i| sound(i + FRAME_SAMPLES))));
            let peak = heard.iter().fold(0f32, |peak, sample| peak.max(sample.abs()));
            assert!(peak <= MOST_PEAK + 1e-4, "{peak} at {onset}");
            let steepest = heard.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
            // The wave itself rises by 0.0098 a sample, and by ten times that until the gain has gone down.
            assert!(steepest < 0.1, "{steepest} at {onset}");
        }
    }

    #[test]
    fn a_gain_that_moved_unheard_begins_where_it_is() {
        let mut gain = lifting();
        gain.gain_db = 0.0;
        gain.skip();
        assert_eq!(apply(&mut gain, [0.01; FRAME_SAMPLES]), [0.01; FRAME_SAMPLES]);
        let mut gain = lifting();
        gain.passed();
        assert!((apply(&mut gain, [0.01; FRAME_SAMPLES])[0] - 0.01).abs() < 1e-4);
    }

    #[test]
    fn a_change_is_a_ramp_without_a_step() {
        let mut gain = AutoGain {
            gain_db: -12.0,
            ..AutoGain::default()
        };
        let mut sound = Vec::new();
        for _ in 0..50 {
            gain.gain_db += 0.24;
            let mut frame = [0.5; FRAME_SAMPLES];
            gain.apply(&mut frame);
            sound.extend_from_slice(&frame);
        }
        let steepest = sound.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.001, "{steepest}");
    }
}
