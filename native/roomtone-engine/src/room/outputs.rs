//! Which listeners share a mix.
//!
//! A listener's *row* is what they hear of each talker of this tick. Listeners with equal rows (all mono, or all stereo) share an [`Output`]: one mix, one
//! encode. When rows that were equal part, the listener's output is forked, history and all, so that their decoder doesn't
//! notice; when rows have been equal for a while, outputs become one again at a quiet moment.

use roomtone_audio::mix::StereoGain;
use roomtone_audio::{AudioError, Channels};

use super::gains::Weight;
use super::output::Output;
use crate::command::PeerId;
use crate::config::MixConfig;

/// Ticks for which rows must be equal before their outputs become one: shorter than a pause between sentences.
const MERGE_AFTER: u32 = 10;

/// Where an output is in [`Outputs`].
pub(super) type SlotId = usize;

/// An output and who hears what on it.
pub(super) struct Slot {
    pub(super) output: Output,
    /// How each talker of this tick is heard, in the talkers' order.
    pub(super) row: Vec<Weight>,
    /// The gains of the last tick, from which this tick's are reached by a ramp.
    before: Vec<(PeerId, Weight)>,
    /// How many listen; zero before the first one of a tick is placed.
    pub(super) listeners: u32,
    /// Where it was forked from in this tick.
    parent: Option<SlotId>,
    equal_for: u32,
    /// Whether its frame of this tick was quiet enough to change encoders unnoticed.
    pub(super) quiet: bool,
}

impl Slot {
    fn new(output: Output) -> Slot {
        Slot {
            output,
            row: Vec::new(),
            before: Vec::new(),
            listeners: 0,
            parent: None,
            equal_for: 0,
            quiet: true,
        }
    }

    fn fork(&self, parent: SlotId) -> Slot {
        Slot {
            output: self.output.clone(),
            row: Vec::new(),
            before: self.before.clone(),
            listeners: 0,
            parent: Some(parent),
            equal_for: 0,
            quiet: false,
        }
    }

    /// The gains from which and to which a talker is ramped in this tick. Who wasn't there before begins at their gain.
    pub(super) fn ramp(&self, index: usize, talker: PeerId) -> (Weight, Weight) {
        let to = self.row[index];
        let from = self
            .before
            .iter()
            .find(|(id, _)| *id == talker)
            .map_or(to, |(_, weight)| *weight);
        (from, to)
    }

    /// What is heard on both now is the same.
    fn sounds_as(&self, other: &Slot) -> bool {
        self.output.channels() == other.output.channels() && self.row == other.row
    }

    /// As [`Slot::ramp`], for both ears.
    pub(super) fn panned_ramp(&self, index: usize, talker: PeerId) -> (StereoGain, StereoGain) {
        let (from, to) = self.ramp(index, talker);
        let panned = |weight: Weight| StereoGain::panned(weight.gain, weight.pan);
        (panned(from), panned(to))
    }

    /// Remembers this tick's gains for the next.
    pub(super) fn remember(&mut self, talkers: impl Iterator<Item = PeerId>) {
        self.before.clear();
        self.before.extend(talkers.zip(self.row.iter().copied()));
    }
}

/// A room's outputs.
#[derive(Default)]
pub(super) struct Outputs {
    slots: Vec<Option<Slot>>,
}

impl Outputs {
    /// Before the listeners of a tick are placed.
    pub(super) fn begin_tick(&mut self) {
        for slot in self.slots.iter_mut().flatten() {
            slot.listeners = 0;
            slot.parent = None;
        }
    }

    /// Where a listener with this row hears it; `at` is where they were in the last tick.
    pub(super) fn place(
        &mut self,
        at: Option<SlotId>,
        channels: Channels,
        row: &[Weight],
        config: &MixConfig,
    ) -> Result<SlotId, AudioError> {
        let at = at.filter(|id| {
            let slot = self.slots.get(*id).and_then(Option::as_ref);
            slot.is_some_and(|slot| slot.output.channels() == channels)
        });
        let found = match at {
            Some(id) => self.claim(id, row, config.share),
            None if !config.share => None,
            None => self.find(|slot| slot.listeners > 0 && slot.output.channels() == channels && slot.row == row),
        };
        let id = match (found, at) {
            (Some(id), _) => id,
            (None, Some(parent)) => {
                let fork = self.slots[parent].as_ref().map(|slot| slot.fork(parent));
                self.insert(fork.expect("at was filtered to be taken"))
            }
            (None, None) => {
                let output = Output::new(config, channels)?;
                self.insert(Slot::new(output))
            }
        };
        let slot = self.slots[id].as_mut().expect("just found or made");
        if slot.listeners == 0 {
            slot.row.clear();
            slot.row.extend_from_slice(row);
        }
        slot.listeners += 1;
        Ok(id)
    }

    // Their own slot if it has this row or nobody has claimed it yet in this tick; else a fork of it with this row.
    fn claim(&self, id: SlotId, row: &[Weight], share: bool) -> Option<SlotId> {
        match self.slots[id].as_ref() {
            Some(slot) if slot.listeners == 0 => Some(id),
            _ if !share => None,
            Some(slot) if slot.row == row => Some(id),
            _ => self.find(|slot| slot.parent == Some(id) && slot.row == row),
        }
    }

    fn find(&self, wanted: impl Fn(&Slot) -> bool) -> Option<SlotId> {
        self.slots.iter().position(|slot| slot.as_ref().is_some_and(&wanted))
    }

    fn insert(&mut self, slot: Slot) -> SlotId {
        match self.slots.iter().position(Option::is_none) {
            Some(free) => {
                self.slots[free] = Some(slot);
                free
            }
            None => {
                self.slots.push(Some(slot));
                self.slots.len() - 1
            }
        }
    }

    /// After all listeners are placed: outputs that nobody hears are gone, the others spend what their audience is worth.
    /// `most` is the Opus complexity that the shard can afford.
    pub(super) fn end_placing(&mut self, config: &MixConfig, most: u8) -> Result<(), AudioError> {
        for place in &mut self.slots {
            match place {
                Some(slot) if slot.listeners == 0 => *place = None,
                Some(slot) => slot.output.spend(config, slot.listeners, most)?,
                None => {}
            }
        }
        while self.slots.last().is_some_and(Option::is_none) {
            self.slots.pop();
        }
        Ok(())
    }

    /// The outputs that somebody hears.
    pub(super) fn heard(&mut self) -> impl Iterator<Item = (SlotId, &mut Slot)> {
        self.slots
            .iter_mut()
            .enumerate()
            .filter_map(|(id, slot)| slot.as_mut().map(|slot| (id, slot)))
    }

    /// The next pair of outputs that can become one: listeners of the first should move to the second. The first is gone.
    pub(super) fn merge(&mut self) -> Option<(SlotId, SlotId)> {
        for id in 1..self.slots.len() {
            let Some(slot) = self.slots[id].as_ref() else { continue };
            if slot.equal_for < MERGE_AFTER || !slot.quiet {
                continue;
            }
            let other = self.slots[..id]
                .iter()
                .position(|other| other.as_ref().is_some_and(|other| other.quiet && other.sounds_as(slot)));
            if let Some(other) = other {
                self.slots[id] = None;
                return Some((id, other));
            }
        }
        None
    }

    /// Counts for how long each row has been equal to that of an output before it.
    pub(super) fn compare(&mut self) {
        for id in 1..self.slots.len() {
            let (before, rest) = self.slots.split_at_mut(id);
            if let Some(slot) = rest[0].as_mut() {
                let equal = before.iter().flatten().any(|other| other.sounds_as(slot));
                slot.equal_for = if equal { slot.equal_for.saturating_add(1) } else { 0 };
            }
        }
    }

    /// Whether there is more to send or to merge.
    pub(super) fn busy(&self) -> bool {
        let mut outputs = self.slots.iter().flatten();
        match (outputs.next(), outputs.next()) {
            (None, _) => false,
            (Some(one), None) => !one.output.resting(),
            _ => true,
        }
    }

    /// How many hear an output.
    pub(super) fn listeners(&self, id: SlotId) -> u32 {
        self.slots
            .get(id)
            .and_then(Option::as_ref)
            .map_or(0, |slot| slot.listeners)
    }
}
