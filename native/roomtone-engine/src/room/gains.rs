//! What each listener hears of each speaker: the room's default, and cells that differ from it.

use std::collections::HashMap;

use roomtone_audio::Channels;

use crate::command::PeerId;

/// The loudest gain that is taken: +20 dB.
pub(crate) const MAX_GAIN: f32 = 10.0;

/// How a talker is heard: how loud, and from where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Weight {
    /// Linear, 0…[`MAX_GAIN`].
    pub(super) gain: f32,
    /// From −1 (left) to 1 (right).
    pub(super) pan: f32,
}

impl Weight {
    /// Not at all.
    pub(super) const SILENT: Weight = Weight { gain: 0.0, pan: 0.0 };

    /// What is outside of the range is cut to it. What can't be heard has no place: rows are compared.
    pub(super) fn new(gain: f32, pan: f32) -> Weight {
        let gain = if gain.is_nan() { 0.0 } else { gain.clamp(0.0, MAX_GAIN) };
        let pan = if pan.is_nan() { 0.0 } else { pan.clamp(-1.0, 1.0) };
        if gain == 0.0 {
            Weight::SILENT
        } else {
            Weight { gain, pan }
        }
    }

    /// The same from the middle: who hears mono shares a mix with others who do, wherever it would come from.
    fn centred(self) -> Weight {
        Weight { pan: 0.0, ..self }
    }
}

/// A room's mix policy as the core executes it: plain numbers, decided elsewhere.
#[derive(Debug)]
pub(super) struct Gains {
    default: Weight,
    cells: HashMap<PeerId, HashMap<PeerId, Weight>>,
}

impl Default for Gains {
    fn default() -> Self {
        Gains {
            default: Weight::new(1.0, 0.0),
            cells: HashMap::new(),
        }
    }
}

impl Gains {
    /// What is heard where no cell says otherwise.
    pub(super) fn set_default(&mut self, gain: f32) {
        self.default = Weight::new(gain, 0.0);
    }

    /// Changes a cell; `None` takes it back to the default.
    pub(super) fn set(&mut self, listener: PeerId, speaker: PeerId, weight: Option<Weight>) {
        match weight {
            Some(weight) => {
                self.cells.entry(listener).or_default().insert(speaker, weight);
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

    /// How one hears another. Nobody hears themselves.
    pub(super) fn weight(&self, listener: PeerId, speaker: PeerId) -> Weight {
        if listener == speaker {
            return Weight::SILENT;
        }
        let row = self.cells.get(&listener);
        row.and_then(|row| row.get(&speaker)).copied().unwrap_or(self.default)
    }

    /// What a listener hears of whom, where it isn't the default; in no order.
    pub(super) fn special(&self, listener: PeerId) -> impl Iterator<Item = (PeerId, Weight)> {
        let row = self.cells.get(&listener).into_iter().flatten();
        row.map(|(speaker, weight)| (*speaker, *weight))
            .filter(|(_, weight)| *weight != self.default)
    }

    /// How loud everybody is to everybody else where no cell says otherwise.
    pub(super) fn default_gain(&self) -> f32 {
        self.default.gain
    }

    /// Everybody's gain for everybody else, if no cell says otherwise of anybody.
    pub(super) fn plain(&self) -> Option<f32> {
        self.cells.is_empty().then_some(self.default.gain)
    }

    /// How loud a listener hears somebody; nobody hears themselves.
    pub(super) fn of(&self, listener: PeerId, speaker: PeerId) -> f32 {
        if listener == speaker {
            return 0.0;
        }
        let cell = self.cells.get(&listener).and_then(|row| row.get(&speaker));
        cell.unwrap_or(&self.default).gain
    }

    /// How a listener hears the talkers of a tick. Nobody hears themselves.
    pub(super) fn row(
        &self,
        listener: PeerId,
        channels: Channels,
        talkers: impl Iterator<Item = PeerId>,
        row: &mut Vec<Weight>,
    ) {
        let cells = self.cells.get(&listener);
        row.clear();
        row.extend(talkers.map(|talker| {
            if talker == listener {
                return Weight::SILENT;
            }
            let weight = cells
                .and_then(|cells| cells.get(&talker))
                .copied()
                .unwrap_or(self.default);
            match channels {
                Channels::Mono => weight.centred(),
                Channels::Stereo => weight,
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(gains: &Gains, listener: PeerId) -> Vec<f32> {
        heard(gains, listener, Channels::Mono).iter().map(|w| w.gain).collect()
    }

    fn heard(gains: &Gains, listener: PeerId, channels: Channels) -> Vec<Weight> {
        let mut row = Vec::new();
        gains.row(listener, channels, [1, 2, 3].into_iter(), &mut row);
        row
    }

    fn set(gains: &mut Gains, listener: PeerId, speaker: PeerId, gain: Option<f32>) {
        gains.set(listener, speaker, gain.map(|gain| Weight::new(gain, 0.0)));
    }

    #[test]
    fn only_stereo_has_sides() {
        let mut gains = Gains::default();
        gains.set(9, 1, Some(Weight::new(0.5, -1.0)));
        gains.set(9, 2, Some(Weight::new(0.0, 1.0)));
        gains.set(9, 3, Some(Weight::new(2.0, f32::NAN)));
        let pans = |channels| heard(&gains, 9, channels).iter().map(|w| w.pan).collect::<Vec<_>>();
        assert_eq!(pans(Channels::Mono), [0.0, 0.0, 0.0]);
        assert_eq!(pans(Channels::Stereo), [-1.0, 0.0, 0.0], "silence has no side");
    }

    #[test]
    fn cells_override_the_default_and_nobody_hears_themselves() {
        let mut gains = Gains::default();
        assert_eq!(row(&gains, 9), [1.0, 1.0, 1.0]);
        assert_eq!(row(&gains, 2), [1.0, 0.0, 1.0]);
        set(&mut gains, 9, 1, Some(0.5));
        set(&mut gains, 9, 3, Some(0.0));
        set(&mut gains, 2, 2, Some(1.0));
        assert_eq!(row(&gains, 9), [0.5, 1.0, 0.0]);
        assert_eq!(row(&gains, 2), [1.0, 0.0, 1.0]);
        set(&mut gains, 9, 1, None);
        gains.set_default(0.25);
        assert_eq!(row(&gains, 9), [0.25, 0.25, 0.0]);
    }

    #[test]
    fn who_is_forgotten_leaves_nothing_behind() {
        let mut gains = Gains::default();
        set(&mut gains, 1, 2, Some(0.5));
        set(&mut gains, 2, 1, Some(0.5));
        gains.forget(1);
        assert!(gains.cells.is_empty());
    }

    #[test]
    fn nonsense_is_cut_to_sense() {
        let mut gains = Gains::default();
        for (given, taken) in [(f32::NAN, 0.0), (-1.0, 0.0), (f32::INFINITY, MAX_GAIN), (0.5, 0.5)] {
            set(&mut gains, 9, 1, Some(given));
            assert_eq!(row(&gains, 9)[0], taken);
        }
    }
}
