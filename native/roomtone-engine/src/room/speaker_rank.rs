//! The active speakers of a room: how talkers are ranked, from levels, before anything is decoded.
//!
//! Both kinds of room use the same rank: a room that mixes takes the level of each frame, a room that forwards that of each packet.

use std::time::{Duration, Instant};

use super::speech_detector::SILENCE;
use crate::command::Select;

/// The noise gate: a frame at or above this (−dBov) is background that nobody wants to hear.
const GATE: u8 = 80;

/// How long the gate stays open after the last frame that passed it.
const HOLD: Duration = Duration::from_millis(400);

/// How fast the remembered loudness decays, dB a second: a pause between words doesn't cost a talker their place.
const DECAY: f32 = 25.0;

/// The advantage (dB) of a talker who is selected already, so that two voices of like loudness don't take turns.
const PREFERENCE: f32 = 6.0;

/// The same where the nearest are selected: a factor of 1.12 in distance, and 20 dB of level. So two talkers at about the same
/// distance don't take turns either, but a voice still comes before somebody's fan.
const NEAR_PREFERENCE: f32 = 1.0;

/// The weight of a dB of level where the nearest are selected. Voices differ by 40 dB at most, so level decides only between
/// talkers whose gains are within 2 dB.
const NEAR_LEVEL: f32 = 0.05;

/// How loud a talker has been lately.
#[derive(Clone, Debug)]
pub(super) struct SpeakerRank {
    /// dBov at `measured_at`; it decays from there.
    loudness: f32,
    measured_at: Option<Instant>,
    passed_gate_at: Option<Instant>,
}

impl Default for SpeakerRank {
    fn default() -> Self {
        SpeakerRank {
            loudness: -f32::from(SILENCE),
            measured_at: None,
            passed_gate_at: None,
        }
    }
}

impl SpeakerRank {
    /// Takes the level of a frame (−dBov).
    pub(super) fn update(&mut self, now: Instant, minus_dbov: u8) {
        self.loudness = self.loudness(now).max(-f32::from(minus_dbov));
        self.measured_at = Some(now);
        if minus_dbov < GATE {
            self.passed_gate_at = Some(now);
        }
    }

    /// Whether the gate is open: a frame passed it within the hold time.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.passed_gate_at
            .is_some_and(|at| now.saturating_duration_since(at) < HOLD)
    }

    /// The time since the last level, if there was one.
    pub(super) fn measured_before(&self, now: Instant) -> Option<Duration> {
        self.measured_at.map(|at| now.saturating_duration_since(at))
    }

    /// The rank, dB, before the listener's gain: the higher, the more the talker is worth hearing. `selected`: they are heard already.
    pub(super) fn rank(&self, now: Instant, select: Select, selected: bool) -> f32 {
        select.rank(self.loudness(now), selected)
    }

    fn loudness(&self, now: Instant) -> f32 {
        let since = self.measured_before(now).unwrap_or_default();
        (self.loudness - DECAY * since.as_secs_f32()).max(-f32::from(SILENCE))
    }
}

impl Select {
    fn rank(self, loudness: f32, selected: bool) -> f32 {
        let (level, preference) = match self {
            Select::Loudest => (loudness, PREFERENCE),
            Select::Nearest => (loudness * NEAR_LEVEL, NEAR_PREFERENCE),
        };
        level + if selected { preference } else { 0.0 }
    }
}

/// Keeps the `most` highest-ranked of the candidates, in their order.
pub(super) fn keep_highest(candidates: &mut Vec<(usize, f32)>, most: usize) {
    if candidates.len() <= most {
        return;
    }
    candidates.select_nth_unstable_by(most, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    candidates.truncate(most);
    candidates.sort_unstable_by_key(|candidate| candidate.0);
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(20);

    #[test]
    fn background_closes_the_gate_after_the_hold_time_and_sound_opens_it_at_once() {
        let start = Instant::now();
        let mut rank = SpeakerRank::default();
        let mut open_after = |tick: u32, level| {
            rank.update(start + TICK * tick, level);
            rank.is_open(start + TICK * tick)
        };
        assert!(!open_after(0, 90));
        assert!(open_after(1, 40));
        for tick in 2..21 {
            assert!(open_after(tick, 90), "{tick}");
        }
        assert!(!open_after(21, 90));
    }

    #[test]
    fn loudness_decays_by_half_a_decibel_a_tick_down_to_silence() {
        let start = Instant::now();
        let mut rank = SpeakerRank::default();
        assert_eq!(rank.loudness(start), -127.0);
        rank.update(start, 30);
        for tick in 1..=20u8 {
            rank.update(start + TICK * tick.into(), 127);
        }
        assert!((rank.loudness(start + TICK * 20) + 40.0).abs() < 0.01);
        assert_eq!(rank.loudness(start + Duration::from_secs(60)), -127.0);
    }

    #[test]
    fn among_the_nearest_level_decides_only_at_about_the_same_distance() {
        let rank = |gain_db: f32, loudness: f32, selected| Select::Nearest.rank(loudness, selected) + gain_db;
        assert!(rank(0.0, -55.0, false) > rank(-3.0, -15.0, false), "quiet, but nearer");
        assert!(
            rank(-1.0, -15.0, false) > rank(0.0, -55.0, false),
            "hardly farther away, and much louder"
        );
        assert!(
            rank(0.0, -40.0, true) > rank(0.5, -32.0, false),
            "selected, so it stays"
        );
        assert!(rank(0.0, -60.0, true) < rank(0.0, -30.0, false), "but a fan doesn't");
        assert!(Select::Loudest.rank(-15.0, false) - 12.0 > Select::Loudest.rank(-40.0, true));
    }

    #[test]
    fn the_loudest_are_kept_and_two_alike_do_not_take_turns() {
        let start = Instant::now();
        let mut talkers: Vec<(SpeakerRank, bool)> = (0..4).map(|_| Default::default()).collect();
        let mut changes = 0;
        let mut before = Vec::new();
        for tick in 0..100u8 {
            let now = start + TICK * tick.into();
            // 0 and 1 take turns in being 3 dB louder than the other; 2 is much louder, 3 much quieter than both.
            let levels = [30 + 3 * (tick % 2), 33 - 3 * (tick % 2), 15, 60];
            for ((rank, _), level) in talkers.iter_mut().zip(levels) {
                rank.update(now, level);
            }
            let ranks = talkers
                .iter()
                .map(|(rank, selected)| rank.rank(now, Select::Loudest, *selected));
            let mut candidates: Vec<(usize, f32)> = ranks.enumerate().collect();
            keep_highest(&mut candidates, 2);
            let kept: Vec<usize> = candidates.iter().map(|c| c.0).collect();
            for (i, (_, selected)) in talkers.iter_mut().enumerate() {
                *selected = kept.contains(&i);
            }
            assert!(kept.contains(&2) && !kept.contains(&3), "{kept:?}");
            changes += usize::from(kept != before);
            before = kept;
        }
        assert_eq!(changes, 1, "the first choice stays");
    }
}
