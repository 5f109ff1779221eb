//! Voice activity on arrival of a packet: its level (RFC 6464) against the talker's own background noise.
//!
//! This decides which voices a listener gets. [`SpeechDetector`](super::speech_detector::SpeechDetector) decides who is shown as speaking: it
//! waits for a second loud frame, as one alone may be a click; here one is enough, because a word must not lose its beginning.

use std::time::{Duration, Instant};

use roomtone_audio::FrameLevel;

/// The noise gate: a packet at or above this (−dBov) is background that nobody wants to hear.
const GATE: u8 = 80;
/// How long the gate stays open after the last packet that passed it.
const GATE_HOLD: Duration = Duration::from_millis(400);
/// Speech is louder than the talker's noise by this, dB. The noise is a minimum, and fan, street and keys are some dB above theirs.
const MARGIN: f32 = 9.0;
/// How long a talker counts as speaking after the last loud packet: longer than the closure of a stop ("apt"), and than the end of a word that is
/// hardly above the noise.
const HOLD: Duration = Duration::from_millis(200);
/// Sound no louder than the noise by this (dB), or at or below [`QUIET`], is a pause.
const PAUSE_MARGIN: f32 = 4.0;
/// −dBov.
const QUIET: u8 = 60;
/// The noise is the least level of one to two of these: a second holds a pause between two words, and a fan that is turned on is speech for two
/// seconds at the most.
const WINDOW: Duration = Duration::from_secs(1);
/// The assumed noise of a new talker, dBov.
const UNKNOWN_NOISE: f32 = -60.0;
/// The least noise of a talker, dBov: a muted microphone sends none.
const LEAST_NOISE: f32 = -90.0;

/// The voice activity of one talker.
#[derive(Clone, Debug)]
pub(super) struct VoiceActivity {
    /// The least levels (dBov) of the window before this one and of this one, and when this one began.
    least: [f32; 2],
    window: Option<Instant>,
    /// When a packet passed the gate, when one was loud, and when a loud one was played.
    passed_gate_at: Option<Instant>,
    spoke_at: Option<Instant>,
    played_at: Option<Instant>,
}

impl Default for VoiceActivity {
    fn default() -> Self {
        VoiceActivity {
            least: [UNKNOWN_NOISE, f32::INFINITY],
            window: None,
            passed_gate_at: None,
            spoke_at: None,
            played_at: None,
        }
    }
}

impl VoiceActivity {
    /// Takes the level of a packet that has come (−dBov). A packet above `threshold` (−dBov) is always speech.
    pub(super) fn arrived(&mut self, now: Instant, minus_dbov: u8, threshold: u8) {
        if minus_dbov < GATE {
            self.passed_gate_at = Some(now);
        }
        if self.is_loud(minus_dbov, threshold) {
            self.spoke_at = Some(now);
        }
        let level = -f32::from(minus_dbov);
        let begun = *self.window.get_or_insert(now);
        if now.saturating_duration_since(begun) >= WINDOW {
            self.least = [self.least[1], level];
            self.window = Some(now);
        } else {
            self.least[1] = self.least[1].min(level);
        }
    }

    /// Takes the level of a frame that is played now, which came earlier.
    pub(super) fn played(&mut self, now: Instant, minus_dbov: u8, threshold: u8) {
        if self.is_loud(minus_dbov, threshold) {
            self.played_at = Some(now);
        }
    }

    /// They are muted: they don't speak. Their noise is remembered.
    pub(super) fn mute(&mut self) {
        self.passed_gate_at = None;
        self.spoke_at = None;
        self.played_at = None;
    }

    fn noise(&self) -> f32 {
        self.least[0].min(self.least[1]).max(LEAST_NOISE)
    }

    fn is_loud(&self, minus_dbov: u8, threshold: u8) -> bool {
        minus_dbov < threshold || (minus_dbov < GATE && -f32::from(minus_dbov) >= self.noise() + MARGIN)
    }

    /// A frame of this level (−dBov), against their noise.
    pub(super) fn frame_level(&self, minus_dbov: u8, threshold: u8) -> FrameLevel {
        FrameLevel {
            minus_dbov,
            loud: self.is_loud(minus_dbov, threshold),
            noise_dbov: self.noise(),
        }
    }

    /// Whether a packet or frame of this level (−dBov) is a pause of theirs. One above `threshold` never is.
    pub(super) fn is_pause(&self, minus_dbov: u8, threshold: u8) -> bool {
        minus_dbov >= QUIET || (minus_dbov >= threshold && -f32::from(minus_dbov) <= self.noise() + PAUSE_MARGIN)
    }

    /// Whether anything but background has come lately.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        within(self.passed_gate_at, now, GATE_HOLD)
    }

    /// Whether they speak.
    pub(super) fn speaks(&self, now: Instant) -> bool {
        within(self.spoke_at, now, HOLD)
    }

    /// Whether they speak, or what is played of them now is still speech.
    pub(super) fn is_audible(&self, now: Instant) -> bool {
        self.speaks(now) || within(self.played_at, now, HOLD)
    }

    /// When they spoke last.
    pub(super) fn spoke_at(&self) -> Option<Instant> {
        self.spoke_at
    }
}

fn within(at: Option<Instant>, now: Instant, time: Duration) -> bool {
    at.is_some_and(|at| now.saturating_duration_since(at) < time)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    const THRESHOLD: u8 = 50;

    struct Talker {
        activity: VoiceActivity,
        now: Instant,
    }

    impl Talker {
        fn new() -> Talker {
            Talker {
                activity: VoiceActivity::default(),
                now: Instant::now(),
            }
        }

        /// Packets of these levels; in which of them they count as speaking.
        fn says(&mut self, levels: impl IntoIterator<Item = u8>) -> Vec<bool> {
            let mut spoke = Vec::new();
            for level in levels {
                self.now += Duration::from_millis(20);
                self.activity.arrived(self.now, level, THRESHOLD);
                spoke.push(self.activity.speaks(self.now));
            }
            spoke
        }
    }

    #[test]
    fn the_first_loud_packet_is_speech_over_noise_of_any_loudness() {
        for noise in [127, 90, 72, 60, 55] {
            let mut talker = Talker::new();
            talker.says((0..200).map(|i| noise - (i % 3) as u8));
            let before = talker.says([noise; 20]);
            assert!(before.iter().all(|spoke| !spoke), "noise at −{noise}");
            assert_eq!(
                talker.says([noise.min(85) - 13, noise]),
                [true, true],
                "noise at −{noise}"
            );
            let after = talker.says([noise; 20]);
            assert_eq!(after.iter().filter(|spoke| **spoke).count(), 8, "noise at −{noise}");
        }
    }

    #[test]
    fn a_noise_that_begins_is_speech_for_two_seconds_at_the_most() {
        for noise in [74, 62, 52] {
            let mut talker = Talker::new();
            talker.says([127; 150]);
            let spoke = talker.says([noise; 120]);
            assert!(spoke[0] && !spoke[115], "noise at −{noise}");
        }
    }

    #[test]
    fn what_is_loud_is_speech_however_steady_it_is() {
        let mut talker = Talker::new();
        assert!(talker.says([45; 500]).iter().all(|spoke| *spoke));
        assert!(!talker.activity.is_pause(45, THRESHOLD));
    }

    #[test]
    fn a_soft_voice_with_syllables_does_not_become_noise() {
        let mut talker = Talker::new();
        talker.says([78; 100]);
        // Four syllables a second, −56 dBov at the loudest.
        let spoke = talker.says((0..500).map(|i| [70, 62, 57, 56, 56, 57, 58, 60, 62, 64, 68, 72][i % 12]));
        assert!(spoke[5..].iter().all(|spoke| *spoke));
    }

    #[test]
    fn the_background_closes_the_gate() {
        let mut talker = Talker::new();
        talker.says([79]);
        assert!(talker.activity.is_open(talker.now));
        talker.says([80; 19]);
        assert!(talker.activity.is_open(talker.now));
        talker.says([80]);
        assert!(!talker.activity.is_open(talker.now));
    }

    #[test]
    fn what_comes_late_to_be_played_is_audible_until_then() {
        let mut talker = Talker::new();
        talker.says([72; 100]);
        talker.says([30, 72]);
        let later = talker.now + Duration::from_millis(190);
        assert!(!talker.activity.is_audible(later));
        talker.activity.played(later, 30, THRESHOLD);
        assert!(talker.activity.is_audible(later + Duration::from_millis(190)));
        assert!(!talker.activity.speaks(later));
    }

    #[test]
    fn a_pause_is_what_is_near_the_noise_or_quiet() {
        let mut talker = Talker::new();
        talker.says([55; 100]);
        assert!(talker.activity.is_pause(52, THRESHOLD) && !talker.activity.is_pause(50, THRESHOLD));
        let mut talker = Talker::new();
        talker.says([75; 100]);
        assert!(talker.activity.is_pause(60, THRESHOLD) && !talker.activity.is_pause(59, THRESHOLD));
    }
}
