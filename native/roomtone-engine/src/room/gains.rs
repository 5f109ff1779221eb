//! The gain and pan of each speaker for each listener: the room's default, and the cells that differ from it.

use std::collections::HashMap;

use roomtone_audio::Channels;

use crate::command::{Distance, PeerId, Place};

use super::places::Places;

/// The loudest gain that is taken: +20 dB.
pub(super) const MAX_GAIN: f32 = 10.0;

/// How a talker is heard: how loud, and from where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct GainPan {
    /// Linear, 0…[`MAX_GAIN`].
    pub(super) gain: f32,
    /// From −1 (left) to 1 (right).
    pub(super) pan: f32,
}

impl GainPan {
    /// Not at all.
    pub(super) const SILENT: GainPan = GainPan { gain: 0.0, pan: 0.0 };

    /// Clamps both to their range; NaN is silence. A gain of 0 has no pan, since rows are compared.
    pub(super) fn new(gain: f32, pan: f32) -> GainPan {
        let gain = if gain.is_nan() { 0.0 } else { gain.clamp(0.0, MAX_GAIN) };
        let pan = if pan.is_nan() { 0.0 } else { pan.clamp(-1.0, 1.0) };
        if gain == 0.0 {
            GainPan::SILENT
        } else {
            GainPan { gain, pan }
        }
    }

    /// The same from the middle: mono listeners share a mix whatever the pans are.
    fn centred(self) -> GainPan {
        GainPan { pan: 0.0, ..self }
    }
}

/// A room's mix policy as the core executes it: plain numbers, decided elsewhere.
#[derive(Debug)]
pub(super) struct Gains {
    default: GainPan,
    cells: HashMap<PeerId, HashMap<PeerId, GainPan>>,
    /// Listeners with a default of their own: taps, which the room's policy doesn't concern.
    defaults: HashMap<PeerId, GainPan>,
    /// Once somebody had a place.
    places: Option<Places>,
}

impl Default for Gains {
    fn default() -> Self {
        Gains {
            default: GainPan::new(1.0, 0.0),
            cells: HashMap::new(),
            defaults: HashMap::new(),
            places: None,
        }
    }
}

impl Gains {
    /// Sets everybody's gain for everybody else, where there is no cell.
    pub(super) fn set_default(&mut self, gain: f32) {
        self.default = GainPan::new(gain, 0.0);
    }

    /// Changes a cell; `None` takes it back to the default.
    pub(super) fn set(&mut self, listener: PeerId, speaker: PeerId, cell: Option<GainPan>) {
        match cell {
            Some(cell) => {
                self.cells.entry(listener).or_default().insert(speaker, cell);
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

    /// Sets a listener's row: their gain for everybody else, whatever the room's is, and the cells that differ from it.
    pub(super) fn set_row(
        &mut self,
        listener: PeerId,
        default: GainPan,
        cells: impl Iterator<Item = (PeerId, GainPan)>,
    ) {
        self.defaults.insert(listener, default);
        self.cells.remove(&listener);
        for (speaker, cell) in cells {
            self.set(listener, speaker, Some(cell));
        }
    }

    /// Sets how distance weakens sound between those who have a place.
    pub(super) fn set_distance(&mut self, distance: Distance) {
        self.places.get_or_insert_default().set_distance(distance);
    }

    /// How distance weakens sound, once that was set.
    pub(super) fn distance(&self) -> Option<Distance> {
        self.places.as_ref().map(Places::distance)
    }

    /// Puts a participant somewhere, or takes their place away.
    pub(super) fn set_place(&mut self, peer: PeerId, place: Option<Place>) {
        self.places.get_or_insert_default().set(peer, place);
    }

    // The gain of a speaker for whom a listener has no cell.
    fn default_of(&self, listener: PeerId) -> GainPan {
        if self.defaults.is_empty() {
            return self.default;
        }
        self.defaults.get(&listener).copied().unwrap_or(self.default)
    }

    /// Two participants are one person, one of them on the way out: neither hears the other, until either is forgotten.
    pub(super) fn set_same_person(&mut self, one: PeerId, other: PeerId) {
        self.set(one, other, Some(GainPan::SILENT));
        self.set(other, one, Some(GainPan::SILENT));
    }

    /// Removes a participant, as a listener and as a speaker.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.cells.remove(&peer);
        self.defaults.remove(&peer);
        if let Some(places) = &mut self.places {
            places.forget(peer);
        }
        self.cells.retain(|_, row| {
            row.remove(&peer);
            !row.is_empty()
        });
    }

    /// How a listener hears a speaker. Nobody hears themselves.
    pub(super) fn of(&self, listener: PeerId, speaker: PeerId) -> GainPan {
        let cell = self.cell(listener, speaker);
        match &self.places {
            Some(places) => places.heard(listener, speaker, cell),
            None => cell,
        }
    }

    /// The gain at which a listener hears a speaker.
    pub(super) fn gain(&self, listener: PeerId, speaker: PeerId) -> f32 {
        let GainPan { gain, .. } = self.cell(listener, speaker);
        match &self.places {
            Some(places) => places.gain(listener, speaker, gain),
            None => gain,
        }
    }

    fn cell(&self, listener: PeerId, speaker: PeerId) -> GainPan {
        if listener == speaker {
            return GainPan::SILENT;
        }
        let row = self.cells.get(&listener);
        row.and_then(|row| row.get(&speaker))
            .copied()
            .unwrap_or_else(|| self.default_of(listener))
    }

    /// The speakers for whom a listener has a gain other than the default, in no order.
    pub(super) fn special(&self, listener: PeerId) -> impl Iterator<Item = (PeerId, GainPan)> {
        let row = self.cells.get(&listener).into_iter().flatten();
        row.map(|(speaker, cell)| (*speaker, *cell))
            .filter(|(_, cell)| *cell != self.default)
    }

    /// Everybody's gain for everybody else, where there is no cell.
    pub(super) fn default_gain(&self) -> f32 {
        self.default.gain
    }

    /// Everybody's gain for everybody else, if there are no cells at all.
    pub(super) fn plain(&self) -> Option<f32> {
        let plain = self.places.as_ref().is_none_or(Places::is_empty)
            && self.cells.is_empty()
            && self.defaults.values().all(|default| *default == self.default);
        plain.then_some(self.default.gain)
    }

    /// A listener's row: how they hear each talker of a tick. Nobody hears themselves (mix-minus).
    pub(super) fn row(
        &self,
        listener: PeerId,
        channels: Channels,
        talkers: impl Iterator<Item = PeerId>,
        row: &mut Vec<GainPan>,
    ) {
        let cells = self.cells.get(&listener);
        let default = self.default_of(listener);
        row.clear();
        row.extend(talkers.map(|talker| {
            if talker == listener {
                return GainPan::SILENT;
            }
            let cell = cells.and_then(|cells| cells.get(&talker)).copied().unwrap_or(default);
            match (channels, &self.places) {
                (Channels::Mono, None) => cell.centred(),
                (Channels::Stereo, None) => cell,
                (Channels::Mono, Some(places)) => GainPan::new(places.gain(listener, talker, cell.gain), 0.0),
                (Channels::Stereo, Some(places)) => places.heard(listener, talker, cell),
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

    fn heard(gains: &Gains, listener: PeerId, channels: Channels) -> Vec<GainPan> {
        let mut row = Vec::new();
        gains.row(listener, channels, [1, 2, 3].into_iter(), &mut row);
        row
    }

    fn set(gains: &mut Gains, listener: PeerId, speaker: PeerId, gain: Option<f32>) {
        gains.set(listener, speaker, gain.map(|gain| GainPan::new(gain, 0.0)));
    }

    #[test]
    fn only_stereo_has_sides() {
        let mut gains = Gains::default();
        gains.set(9, 1, Some(GainPan::new(0.5, -1.0)));
        gains.set(9, 2, Some(GainPan::new(0.0, 1.0)));
        gains.set(9, 3, Some(GainPan::new(2.0, f32::NAN)));
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
    fn distance_counts_on_top_of_cells_until_the_place_is_forgotten() {
        let mut gains = Gains::default();
        let place = |x| {
            Some(Place {
                at: [x, 0.0, 0.0],
                facing: [0.0, 0.0, -1.0],
                everywhere: false,
            })
        };
        for (peer, x) in [(9, 0.0), (1, 10.0), (2, 1.0)] {
            gains.set_place(peer, place(x));
        }
        assert_eq!(gains.plain(), None);
        assert_eq!(row(&gains, 9), [0.1, 1.0, 1.0], "3 has no place");
        set(&mut gains, 9, 2, Some(0.1));
        set(&mut gains, 9, 1, Some(0.0));
        assert_eq!(row(&gains, 9), [0.0, 0.1, 1.0]);
        assert_eq!(heard(&gains, 9, Channels::Stereo)[1], GainPan { gain: 0.1, pan: 1.0 });
        assert_eq!(gains.of(9, 2), GainPan { gain: 0.1, pan: 1.0 });
        assert_eq!(gains.gain(9, 2), 0.1);
        assert_eq!(gains.of(2, 2), GainPan::SILENT);
        for peer in [1, 2, 9] {
            gains.forget(peer);
        }
        assert_eq!(gains.plain(), Some(1.0));
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
