//! The speech detector (VAD): whether a participant counts as speaking, from the levels of their frames.

use std::time::{Duration, Instant};

/// The level of digital silence (RFC 6464: −127 dBov or less).
pub(crate) const SILENCE: u8 = 127;

/// Loud frames in a row after which a participant counts as speaking: one alone is a click.
const ATTACK: u8 = 2;

/// Follows the levels of one participant's frames.
#[derive(Debug)]
pub(crate) struct SpeechDetector {
    speaking: bool,
    loud_frames: u8,
    last_loud: Option<Instant>,
    loudest: u8,
}

impl Default for SpeechDetector {
    fn default() -> Self {
        SpeechDetector {
            speaking: false,
            loud_frames: 0,
            last_loud: None,
            loudest: SILENCE,
        }
    }
}

impl SpeechDetector {
    /// Takes the level of this tick's frame (−dBov; [`SILENCE`] if there was none). True if `speaking` has changed.
    pub(crate) fn update(&mut self, now: Instant, minus_dbov: u8, threshold: u8, release: Duration) -> bool {
        self.loudest = self.loudest.min(minus_dbov);
        if minus_dbov < threshold {
            self.loud_frames = self.loud_frames.saturating_add(1);
            self.last_loud = Some(now);
        } else {
            self.loud_frames = 0;
        }
        let was = self.speaking;
        if self.loud_frames >= ATTACK {
            self.speaking = true;
        } else if self
            .last_loud
            .is_none_or(|loud| now.saturating_duration_since(loud) >= release)
        {
            self.speaking = false;
        }
        was != self.speaking
    }

    /// Whether the participant speaks.
    pub(crate) fn speaking(&self) -> bool {
        self.speaking
    }

    /// The loudest level since the last call.
    pub(crate) fn take_loudest(&mut self) -> u8 {
        std::mem::replace(&mut self.loudest, SILENCE)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn run(detector: &mut SpeechDetector, start: Instant, levels: &[u8]) -> Vec<bool> {
        let tick = Duration::from_millis(20);
        (0u32..)
            .zip(levels)
            .map(|(i, level)| {
                detector.update(start + tick * i, *level, 50, Duration::from_millis(100));
                detector.speaking()
            })
            .collect()
    }

    #[test]
    fn a_click_is_not_speech_and_a_pause_between_words_does_not_end_it() {
        let mut detector = SpeechDetector::default();
        assert_eq!(run(&mut detector, Instant::now(), &[127, 30, 127, 127]), [false; 4]);
        let heard = run(
            &mut detector,
            Instant::now() + Duration::from_secs(1),
            &[30, 30, 90, 90, 90, 30, 90],
        );
        assert_eq!(heard, [false, true, true, true, true, true, true]);
    }

    #[test]
    fn silence_ends_it_after_the_release_time() {
        let mut detector = SpeechDetector::default();
        let heard = run(&mut detector, Instant::now(), &[20, 20, 127, 127, 127, 127, 127, 127]);
        assert_eq!(heard, [false, true, true, true, true, true, false, false]);
        assert_eq!(detector.take_loudest(), 20);
        assert_eq!(detector.take_loudest(), SILENCE);
    }
}
