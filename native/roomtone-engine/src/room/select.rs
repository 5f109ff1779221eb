//! Who is heard, decided from levels before anything is decoded.

use super::speaking::SILENCE;
use crate::command::Select;

/// A frame at or above this (−dBov) is background, not sound that anybody wants to hear.
const GATE: u8 = 80;

/// Ticks for which the gate stays open after the last frame that passed it.
const HOLD: u16 = 20;

/// By how much (dB) who is heard already is preferred, so that two voices of like loudness don't take turns.
const PREFERENCE: f32 = 6.0;

/// The same among the nearest. A factor of 1.12 in distance, and 20 dB of level: two who stand alike don't take turns either,
/// but a voice does come before somebody's fan.
const NEAR_PREFERENCE: f32 = 1.0;

/// What a dB of level counts among the nearest. Voices differ by 40 dB at most, so this is for those who are within 2 dB of each other.
const NEAR_LEVEL: f32 = 0.05;

impl Select {
    /// What a talker of this loudness (dBov) is ranked by, in dB; their gain comes on top. `heard`: they are already.
    pub(super) fn rank(self, loudness: f32, heard: bool) -> f32 {
        let (level, preference) = match self {
            Select::Loudest => (loudness, PREFERENCE),
            Select::Nearest => (loudness * NEAR_LEVEL, NEAR_PREFERENCE),
        };
        level + if heard { preference } else { 0.0 }
    }
}

/// How fast the remembered loudness falls, dB a tick: a pause between words doesn't cost one's place.
const FALL: f32 = 0.5;

/// One speaker's standing.
#[derive(Debug)]
pub(super) struct Standing {
    loudness: f32,
    open_for: u16,
    pub(super) heard: bool,
    /// Whether their last frame faded out.
    pub(super) faded: bool,
}

impl Default for Standing {
    fn default() -> Self {
        Standing {
            loudness: -f32::from(SILENCE),
            open_for: 0,
            heard: false,
            faded: false,
        }
    }
}

impl Standing {
    /// Takes the level of the frame that would be played now (−dBov), or that of the last one where the sender tells none.
    /// Whether the frame is worth hearing.
    pub(super) fn update(&mut self, dbov_minus: u8) -> bool {
        self.loudness = (self.loudness - FALL).max(-f32::from(dbov_minus));
        self.open_for = if dbov_minus < GATE {
            HOLD
        } else {
            self.open_for.saturating_sub(1)
        };
        self.open_for > 0
    }

    /// Nothing came of them in this tick.
    pub(super) fn absent(&mut self) {
        self.loudness = (self.loudness - FALL).max(-f32::from(SILENCE));
        self.open_for = self.open_for.saturating_sub(1);
    }

    /// What candidates are ranked by: the larger, the more they are worth hearing.
    pub(super) fn rank(&self, select: Select) -> f32 {
        select.rank(self.loudness, self.heard)
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
mod tests {
    use super::*;

    #[test]
    fn background_closes_the_gate_after_a_while_and_sound_opens_it_at_once() {
        let mut standing = Standing::default();
        assert!(!standing.update(90));
        assert!(standing.update(40));
        for _ in 1..HOLD {
            assert!(standing.update(90));
        }
        assert!(!standing.update(90));
    }

    fn ranks(standings: &[Standing], select: Select) -> Vec<(usize, f32)> {
        standings
            .iter()
            .map(|standing| standing.rank(select))
            .enumerate()
            .collect()
    }

    #[test]
    fn among_the_nearest_level_decides_only_between_those_who_are_about_as_near() {
        let rank = |gain_db: f32, loudness: f32, heard| Select::Nearest.rank(loudness, heard) + gain_db;
        assert!(rank(0.0, -55.0, false) > rank(-3.0, -15.0, false), "quiet, but nearer");
        assert!(
            rank(-1.0, -15.0, false) > rank(0.0, -55.0, false),
            "hardly farther away, and much louder"
        );
        assert!(rank(0.0, -40.0, true) > rank(0.5, -32.0, false), "who is heard stays");
        assert!(
            rank(0.0, -60.0, true) < rank(0.0, -30.0, false),
            "but not for being a fan"
        );
        assert!(Select::Loudest.rank(-15.0, false) - 12.0 > Select::Loudest.rank(-40.0, true));
    }

    #[test]
    fn the_loudest_are_kept_and_two_alike_do_not_take_turns() {
        let mut standings: Vec<Standing> = (0..4).map(|_| Standing::default()).collect();
        let mut changes = 0;
        let mut before = Vec::new();
        for tick in 0..100 {
            // 0 and 1 take turns in being 3 dB louder than the other; 2 is much louder, 3 much quieter than both.
            for (i, level) in [30 + 3 * (tick % 2), 33 - 3 * (tick % 2), 15, 60]
                .into_iter()
                .enumerate()
            {
                standings[i].update(level);
            }
            let mut candidates = ranks(&standings, Select::Loudest);
            keep_highest(&mut candidates, 2);
            let kept: Vec<usize> = candidates.iter().map(|c| c.0).collect();
            for (i, standing) in standings.iter_mut().enumerate() {
                standing.heard = kept.contains(&i);
            }
            assert!(kept.contains(&2) && !kept.contains(&3), "{kept:?}");
            changes += usize::from(kept != before);
            before = kept;
        }
        assert_eq!(changes, 1, "the first choice stays");
    }
}
