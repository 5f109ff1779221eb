//! Who is heard, decided from levels before anything is decoded.

use super::speaking::SILENCE;

/// A frame at or above this (−dBov) is background, not sound that anybody wants to hear.
const GATE: u8 = 80;

/// Ticks for which the gate stays open after the last frame that passed it.
const HOLD: u16 = 20;

/// By how much (dB) who is heard already is preferred, so that two voices of like loudness don't take turns.
const PREFERENCE: f32 = 6.0;

/// How fast the remembered loudness falls, dB a tick: a pause between words doesn't cost one's place.
const FALL: f32 = 0.5;

/// One speaker's standing.
#[derive(Debug)]
pub(super) struct Standing {
    loudness: f32,
    open_for: u16,
    pub(super) heard: bool,
}

impl Default for Standing {
    fn default() -> Self {
        Standing {
            loudness: -f32::from(SILENCE),
            open_for: 0,
            heard: false,
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

    /// What candidates are ranked by: the louder, the larger.
    pub(super) fn rank(&self) -> f32 {
        self.loudness + if self.heard { PREFERENCE } else { 0.0 }
    }
}

/// Keeps the `most` highest-ranked of the candidates, in their order.
pub(super) fn keep_loudest(candidates: &mut Vec<(usize, f32)>, most: usize) {
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
            let mut candidates: Vec<_> = standings.iter().map(Standing::rank).enumerate().collect();
            keep_loudest(&mut candidates, 2);
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
