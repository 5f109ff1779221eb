//! How loud a talker's noise is beside their speech.
//!
//! Both come from the levels of the talker's frames (RFC 6464), so a talker without noise costs no
//! decode. Frames that are louder than the background for 100 ms or more are speech, with the 100 ms
//! around them; all others are noise, those with clicks of keys included. The noise is their mean
//! power, without the loudest of each 25 frames: a click now and then is no noise.

use crate::FrameLevel;
use crate::speech_level::{RUN, SpeechLevel};

/// Speech is louder than the talker's least level of the last second by this, dB.
const MARGIN: f32 = 12.0;
/// Speech ends with a frame that is softer than the loudest of the four before it by more than this, dB. A click fades so fast.
const FALL: u8 = 20;
/// Frames before and after speech that are neither: syllables that begin and end softly, and the echo of the room.
const AROUND: usize = 5;
/// Frames before it is known whether they are before speech: those, and the first ones of speech.
const WAITING: usize = AROUND + RUN as usize - 1;
/// Noise counts once there was half a second of it.
const ENOUGH: usize = 25;
/// It is a mean of the last second of noise …
const MOST: usize = 50;
/// … without one frame in so many, the loudest.
const CLICKS: usize = 25;
/// The assumed level of speech until it is known, dBov.
const USUAL_SPEECH: f32 = -26.0;
/// The noise is heard from this signal-to-noise ratio on, dB …
const NOISY: f32 = 24.0;
/// … until there is a better one than this.
const CLEAN: f32 = 27.0;

/// The noise of one talker.
#[derive(Clone, Debug)]
pub struct NoiseGauge {
    speech: SpeechLevel,
    /// The number of frames in a row that are louder than the background, and of those since they were speech.
    run: u32,
    since: usize,
    /// The levels of the last frames, -dBov.
    last: [u8; RUN as usize - 1],
    /// The power of the frames of which it isn't known yet whether speech follows on them, and the place of the oldest.
    waiting: [f32; WAITING],
    at: usize,
    waits: usize,
    /// The power of the last frames of noise, their number, and the place of the next.
    recent: [f32; MOST],
    frames: usize,
    next: usize,
    /// The power of the noise.
    power: f32,
    noisy: bool,
}

impl Default for NoiseGauge {
    fn default() -> Self {
        NoiseGauge {
            speech: SpeechLevel::default(),
            run: 0,
            since: 0,
            last: [127; RUN as usize - 1],
            waiting: [0.0; WAITING],
            at: 0,
            waits: 0,
            recent: [0.0; MOST],
            frames: 0,
            next: 0,
            power: 0.0,
            noisy: false,
        }
    }
}

impl NoiseGauge {
    /// Follows a frame, whether it is heard or not.
    pub fn follow(&mut self, frame: FrameLevel) {
        let loud = -f32::from(frame.minus_dbov) >= frame.noise_dbov + MARGIN;
        self.speech.take(frame.minus_dbov, loud);
        let loudest = self.last.into_iter().fold(127, u8::min);
        let holds = frame.minus_dbov <= loudest.saturating_add(FALL);
        self.run = if loud && holds { self.run.saturating_add(1) } else { 0 };
        self.last.rotate_left(1);
        self.last[RUN as usize - 2] = frame.minus_dbov;
        if self.run >= RUN {
            self.waits = 0;
            self.since = 0;
        } else if self.since < AROUND {
            self.since += 1;
        } else {
            self.wait(10f32.powf(f32::from(frame.minus_dbov) / -10.0));
        }
        self.compare();
    }

    /// Nothing came: their client sends nothing in pauses (DTX). So what waits isn't just before speech.
    pub fn pause(&mut self) {
        self.run = 0;
        self.last.fill(127);
        self.since = (self.since + 1).min(AROUND);
        if self.waits == 0 {
            return;
        }
        for back in (1..=std::mem::take(&mut self.waits)).rev() {
            self.count(self.waiting[(self.at + WAITING - back) % WAITING]);
        }
        self.measure();
        self.compare();
    }

    fn wait(&mut self, power: f32) {
        let oldest = std::mem::replace(&mut self.waiting[self.at], power);
        self.at = (self.at + 1) % WAITING;
        if self.waits < WAITING {
            self.waits += 1;
            return;
        }
        self.count(oldest);
        self.measure();
    }

    fn count(&mut self, power: f32) {
        self.recent[self.next] = power;
        self.next = (self.next + 1) % MOST;
        self.frames = (self.frames + 1).min(MOST);
    }

    fn measure(&mut self) {
        let mut powers = self.recent;
        let powers = &mut powers[..self.frames];
        let most = powers.len() - powers.len() / CLICKS;
        if most < powers.len() {
            powers.select_nth_unstable_by(most, f32::total_cmp);
        }
        self.power = powers[..most].iter().sum::<f32>() / most as f32;
    }

    fn compare(&mut self) {
        if let Some(ratio) = self.ratio_db() {
            self.noisy = ratio < if self.noisy { CLEAN } else { NOISY };
        }
    }

    /// The level of speech above that of noise, dB; `None` before half a second of noise.
    pub fn ratio_db(&self) -> Option<f32> {
        let noise = 10.0 * self.power.max(1e-13).log10();
        let speech = self.speech.level().unwrap_or(USUAL_SPEECH);
        (self.frames >= ENOUGH).then_some(speech - noise)
    }

    /// Whether there is so much noise that it is heard.
    pub fn is_noisy(&self) -> bool {
        self.noisy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Levels of a second of syllables, dB below the loudest, and of the pause after it (500 ms).
    const SYLLABLES: [u8; 50] = {
        let mut levels = [0; 50];
        let mut i = 0;
        while i < levels.len() {
            levels[i] = [12, 7, 3, 1, 0, 0, 1, 3, 6, 10][i % 10];
            i += 1;
        }
        levels
    };
    const PAUSE: usize = 25;

    /// Speech at `loudest` dBov over noise of these levels: ten sentences.
    fn speak(gauge: &mut NoiseGauge, loudest: u8, noise: impl Fn(usize) -> u8) {
        let pause = std::iter::repeat_n(127, PAUSE);
        let sentence = SYLLABLES.into_iter().map(|below| loudest + below).chain(pause);
        let all = (0..10).flat_map(|_| sentence.clone()).enumerate();
        hear(gauge, all.map(|(i, level)| level.min(noise(i))));
    }

    fn hear(gauge: &mut NoiseGauge, levels: impl Iterator<Item = u8>) {
        hear_some(gauge, levels.map(Some));
    }

    /// `None`: nothing came.
    fn hear_some(gauge: &mut NoiseGauge, levels: impl Iterator<Item = Option<u8>>) {
        let mut last = std::collections::VecDeque::from(vec![127u8; 75]);
        for level in levels {
            let Some(minus_dbov) = level else {
                gauge.pause();
                continue;
            };
            last.pop_front();
            last.push_back(minus_dbov);
            let noise_dbov = last
                .iter()
                .fold(0f32, |least, level| least.min(-f32::from(*level)))
                .max(-90.0);
            gauge.follow(FrameLevel {
                minus_dbov,
                loud: -f32::from(minus_dbov) >= noise_dbov + 9.0,
                noise_dbov,
            });
        }
    }

    #[test]
    fn the_ratio_is_that_of_speech_to_steady_noise() {
        // In loud noise soft syllables count as noise, too.
        for (noise, ratios, noisy) in [
            (80, 54..=59, false),
            (52, 27..=30, false),
            (40, 14..=19, true),
            (32, -3..=10, true),
        ] {
            let mut gauge = NoiseGauge::default();
            speak(&mut gauge, 20, |i| noise + (i % 2) as u8);
            let found = gauge.ratio_db().unwrap();
            assert!(
                ratios.contains(&(found.round() as i32)),
                "{found} dB with noise of −{noise} dBov"
            );
            assert_eq!(gauge.is_noisy(), noisy, "−{noise} dBov");
        }
    }

    #[test]
    fn clicks_of_keys_are_noise() {
        let mut gauge = NoiseGauge::default();
        // Of 40 ms, five a second.
        speak(&mut gauge, 20, |i| if i % 10 < 2 { 33 } else { 75 });
        assert!(gauge.is_noisy(), "{:?} dB", gauge.ratio_db());
    }

    #[test]
    fn clicks_that_fade_are_noise() {
        let mut gauge = NoiseGauge::default();
        // Five a second, as Opus leaves them over digital silence: louder than the background for 100 ms.
        speak(&mut gauge, 20, |i| *[33, 38, 52, 63, 74].get(i % 10).unwrap_or(&112));
        assert!(gauge.is_noisy(), "{:?} dB", gauge.ratio_db());
    }

    #[test]
    fn a_click_now_and_then_is_no_noise() {
        for frames in 0..250 {
            let mut gauge = NoiseGauge::default();
            hear(&mut gauge, (0..frames).map(|i| if i == 150 { 30 } else { 75 }));
            assert!(!gauge.is_noisy(), "{frames} frames: {:?} dB", gauge.ratio_db());
        }
    }

    #[test]
    fn soft_sound_just_before_speech_is_no_noise() {
        let mut gauge = NoiseGauge::default();
        let word = || [66; AROUND].into_iter().chain([25; 10]).chain([75; 20]);
        hear(&mut gauge, (0..20).flat_map(|_| word()));
        let found = gauge.ratio_db().unwrap();
        assert!((found - (75.0 + USUAL_SPEECH)).abs() < 0.5, "{found} dB");
    }

    #[test]
    fn noise_is_found_where_nothing_is_sent_in_pauses() {
        // Opus goes on for 200 ms after speech (DTX).
        let pause = || (0..30).map(|i| (i < 10).then_some(127));
        for (noise, noisy) in [(40, true), (75, false)] {
            let mut gauge = NoiseGauge::default();
            let sentence = || SYLLABLES.into_iter().map(|below| Some(20 + below)).chain(pause());
            let all = (0..10).flat_map(|_| sentence());
            hear_some(&mut gauge, all.map(|level| level.map(|level| level.min(noise))));
            assert_eq!(gauge.is_noisy(), noisy, "{:?} dB", gauge.ratio_db());
        }
    }

    #[test]
    fn a_short_word_is_no_noise() {
        let mut gauge = NoiseGauge::default();
        let word = [40, 28, 24, 22, 21, 22, 25, 30, 38, 50];
        let rare = (0..20).flat_map(|_| word.into_iter().chain(std::iter::repeat_n(70, 60)));
        hear(&mut gauge, rare);
        assert!(!gauge.is_noisy(), "{:?} dB", gauge.ratio_db());
    }

    #[test]
    fn noise_is_found_before_anything_is_said_and_forgotten_when_it_ends() {
        let mut gauge = NoiseGauge::default();
        hear(&mut gauge, (0..200).map(|i| 40 + (i % 2)));
        assert!(gauge.is_noisy());
        speak(&mut gauge, 20, |_| 75);
        assert!(!gauge.is_noisy(), "{:?} dB", gauge.ratio_db());
    }

    #[test]
    fn a_ratio_at_the_limit_changes_nothing_again_and_again() {
        let mut gauge = NoiseGauge::default();
        speak(&mut gauge, 20, |_| 40);
        assert!(gauge.is_noisy());
        let mut changes = 0;
        for round in 0..10 {
            let before = gauge.is_noisy();
            speak(&mut gauge, 20, |_| 47 + round % 2);
            changes += u32::from(before != gauge.is_noisy());
        }
        assert!(changes <= 1, "{changes}");
    }
}
