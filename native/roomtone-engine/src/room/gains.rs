//! What each listener hears of each speaker: the room's default, and cells that differ from it.

use std::collections::HashMap;

use crate::command::PeerId;

/// The loudest gain that is taken: +20 dB.
pub(crate) const MAX_GAIN: f32 = 10.0;

/// A room's mix policy as the core executes it: plain numbers, decided elsewhere.
#[derive(Debug)]
pub(super) struct Gains {
    default: f32,
    cells: HashMap<PeerId, HashMap<PeerId, f32>>,
}

impl Default for Gains {
    fn default() -> Self {
        Gains {
            default: 1.0,
            cells: HashMap::new(),
        }
    }
}

impl Gains {
    /// What is heard where no cell says otherwise.
    pub(super) fn set_default(&mut self, gain: f32) {
        self.default = sane(gain);
    }

    /// Changes a cell; `None` takes it back to the default.
    pub(super) fn set(&mut self, listener: PeerId, speaker: PeerId, gain: Option<f32>) {
        match gain {
            Some(gain) => {
                self.cells.entry(listener).or_default().insert(speaker, sane(gain));
            }
            None => {
                if let Some(row) = self.cells.get_mut(&listener) {
                    row.remove(&speaker);
                    if row.is_empty() {
                        self.cells.remove(&listener);
                    }
                }
            }
        }
    }

    /// Forgets someone, as a listener and as a speaker.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.cells.remove(&peer);
        self.cells.retain(|_, row| {
            row.remove(&peer);
            !row.is_empty()
        });
    }

    /// A listener's gains for the talkers of a tick. Nobody hears themselves.
    pub(super) fn row(&self, listener: PeerId, talkers: impl Iterator<Item = PeerId>, row: &mut Vec<f32>) {
        let cells = self.cells.get(&listener);
        row.clear();
        row.extend(talkers.map(|talker| {
            if talker == listener {
                return 0.0;
            }
            cells
                .and_then(|cells| cells.get(&talker))
                .copied()
                .unwrap_or(self.default)
        }));
    }
}

fn sane(gain: f32) -> f32 {
    if gain.is_nan() { 0.0 } else { gain.clamp(0.0, MAX_GAIN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(gains: &Gains, listener: PeerId) -> Vec<f32> {
        let mut row = Vec::new();
        gains.row(listener, [1, 2, 3].into_iter(), &mut row);
        row
    }

    #[test]
    fn cells_override_the_default_and_nobody_hears_themselves() {
        let mut gains = Gains::default();
        assert_eq!(row(&gains, 9), [1.0, 1.0, 1.0]);
        assert_eq!(row(&gains, 2), [1.0, 0.0, 1.0]);
        gains.set(9, 1, Some(0.5));
        gains.set(9, 3, Some(0.0));
        gains.set(2, 2, Some(1.0));
        assert_eq!(row(&gains, 9), [0.5, 1.0, 0.0]);
        assert_eq!(row(&gains, 2), [1.0, 0.0, 1.0]);
        gains.set(9, 1, None);
        gains.set_default(0.25);
        assert_eq!(row(&gains, 9), [0.25, 0.25, 0.0]);
    }

    #[test]
    fn who_is_forgotten_leaves_nothing_behind() {
        let mut gains = Gains::default();
        gains.set(1, 2, Some(0.5));
        gains.set(2, 1, Some(0.5));
        gains.forget(1);
        assert!(gains.cells.is_empty());
    }

    #[test]
    fn nonsense_is_cut_to_sense() {
        let mut gains = Gains::default();
        for (given, taken) in [(f32::NAN, 0.0), (-1.0, 0.0), (f32::INFINITY, MAX_GAIN), (0.5, 0.5)] {
            gains.set(9, 1, Some(given));
            assert_eq!(row(&gains, 9)[0], taken);
        }
    }
}
