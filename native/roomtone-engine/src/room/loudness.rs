//! Automatic gain in a room that mixes: whose level is off by so much that something is done about it.
//!
//! A talker whose level is off by 6 dB or less is left alone: their packets can be passed on. But two of them may be 12 dB apart. Where
//! talkers of a room would be heard more than 6 dB apart, those have a gain who are off by more than 3 dB. Talkers who haven't spoken for a
//! minute don't count.

use std::time::{Duration, Instant};

use crate::voice::Voice;

/// How far off a level may be, dB.
const WIDE: f32 = 6.0;
/// The same where others are off the other way.
const NARROW: f32 = 3.0;
/// Two talkers may be this far apart, dB, and a room that had to be narrow stays so until they are nearer by 1 dB.
const APART: f32 = 6.0;
const APART_STILL: f32 = 5.0;
/// Talkers who have spoken within this are compared.
const LATELY: Duration = Duration::from_secs(60);

/// A room's view of its talkers' levels.
#[derive(Debug)]
pub(super) struct Loudness {
    on: bool,
    narrow: bool,
    /// Of those within the wide tolerance, by how much the softest and the loudest are off in this tick, dB.
    softest: f32,
    loudest: f32,
}

impl Loudness {
    /// Of a room that has automatic gain, or hasn't.
    pub(super) fn new(on: bool) -> Loudness {
        Loudness {
            on,
            narrow: false,
            softest: 0.0,
            loudest: 0.0,
        }
    }

    /// Whether the room has automatic gain.
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// Whether such a voice has a gain.
    pub(super) fn concerns(&self, voice: Voice) -> bool {
        self.on && voice == Voice::Even
    }

    /// How far off the level of such a voice may be, dB; `None`: it has no gain.
    pub(super) fn tolerance(&self, voice: Voice) -> Option<f32> {
        let tolerance = if self.narrow { NARROW } else { WIDE };
        self.concerns(voice).then_some(tolerance)
    }

    /// A talker is off by this, dB, and spoke last at `spoke_at`. Those who are off by more have a gain in any case.
    pub(super) fn compare(&mut self, now: Instant, off_by: Option<f32>, spoke_at: Option<Instant>) {
        let lately = spoke_at.is_some_and(|at| now.saturating_duration_since(at) < LATELY);
        if let Some(off_by) = off_by.filter(|off| lately && off.abs() <= WIDE) {
            self.softest = self.softest.min(off_by);
            self.loudest = self.loudest.max(off_by);
        }
    }

    /// All talkers of a tick have been compared.
    pub(super) fn conclude(&mut self) {
        let apart = std::mem::take(&mut self.loudest) - std::mem::take(&mut self.softest);
        self.narrow = apart > if self.narrow { APART_STILL } else { APART };
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn tolerance(loudness: &mut Loudness, talkers: &[f32]) -> Option<f32> {
        let now = Instant::now();
        for talker in talkers {
            loudness.compare(now, Some(*talker), Some(now));
        }
        loudness.compare(now, None, Some(now));
        loudness.conclude();
        loudness.tolerance(Voice::Even)
    }

    #[test]
    fn talkers_on_one_side_are_left_alone_and_those_on_two_are_not() {
        let mut loudness = Loudness::new(true);
        assert_eq!(tolerance(&mut loudness, &[-6.0, -5.0]), Some(WIDE));
        assert_eq!(
            tolerance(&mut loudness, &[-18.0, 12.0]),
            Some(WIDE),
            "these have a gain already"
        );
        assert_eq!(tolerance(&mut loudness, &[-3.0, 3.5]), Some(NARROW));
        assert_eq!(tolerance(&mut loudness, &[-3.0, 2.5]), Some(NARROW));
        assert_eq!(tolerance(&mut loudness, &[-3.0, 1.5]), Some(WIDE));
    }

    #[test]
    fn a_talker_who_has_been_silent_for_a_minute_does_not_count() {
        let mut loudness = Loudness::new(true);
        let spoke_at = Instant::now();
        for (silent_s, tolerance) in [(59, NARROW), (60, WIDE)] {
            let now = spoke_at + Duration::from_secs(silent_s);
            loudness.compare(now, Some(-5.0), Some(now));
            loudness.compare(now, Some(5.0), Some(spoke_at));
            loudness.compare(now, Some(5.0), None);
            loudness.conclude();
            assert_eq!(loudness.tolerance(Voice::Even), Some(tolerance), "after {silent_s} s");
        }
    }

    #[test]
    fn only_an_even_voice_in_a_room_with_it_has_a_gain() {
        let loudness = Loudness::new(true);
        assert_eq!(loudness.tolerance(Voice::Plain), None);
        assert_eq!(loudness.tolerance(Voice::Music), None);
        assert_eq!(Loudness::new(false).tolerance(Voice::Even), None);
    }
}
