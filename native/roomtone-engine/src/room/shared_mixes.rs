//! The mixes of a room, and the listeners who share each of them.
//!
//! A listener's *row* is their gain and pan for each talker of this tick. Listeners with equal rows (all mono, or all stereo) share
//! a [`SharedMix`]: one mix and one encode. When rows that were equal part, the mix is forked with its encoder's history, so that
//! no decoder notices; when rows have been equal for a while, their mixes become one again at a quiet moment.
//!
//! Listeners whose connections need another encode of the same row ([`Variant`]) share a mix of their own in the same way.

use roomtone_audio::mix::StereoGain;
use roomtone_audio::{AudioError, Channels};

use super::adaptation::{Step, Variant};
use super::feed::Beginning;
use super::gains::GainPan;
use super::mix_encoder::MixEncoder;
use super::mixing::MUSIC_IN_STEREO;
use crate::command::PeerId;
use crate::config::MixConfig;

/// Ticks for which rows must be equal before their mixes become one: shorter than a pause between sentences.
const MERGE_AFTER: u32 = 10;

/// The index of a mix in [`SharedMixes`].
pub(super) type MixId = usize;

/// A mix, its encoder and its row.
pub(super) struct SharedMix {
    pub(super) encoder: MixEncoder,
    /// The gain and pan of each talker of this tick, in the talkers' order.
    pub(super) row: Vec<GainPan>,
    /// The connections it is encoded for.
    variant: Variant,
    /// The lowest bit rate that a listener placed in this tick needs; `None`: as for everybody.
    bitrate: Option<u32>,
    /// The gains of the last tick, from which this tick's are reached by a ramp.
    before: Vec<(PeerId, GainPan)>,
    /// Whether a talker has ended in the last tick: the end of that sound is still in the encoder.
    ended: bool,
    /// The only talker who is heard on it, and for how many ticks that has been so.
    alone: Option<(PeerId, u16)>,
    /// The number of listeners placed in this tick.
    pub(super) listeners: u32,
    /// The mix that it was forked from in this tick.
    parent: Option<MixId>,
    /// It begins in this tick, for listeners who have heard something else until now.
    pub(super) beginning: Option<Beginning>,
    /// Ticks for which its row has been equal to that of a mix before it.
    equal_for: u32,
    /// Whether its frame of this tick was quiet enough to change encoders unnoticed.
    pub(super) quiet: bool,
}

impl SharedMix {
    fn new(encoder: MixEncoder) -> SharedMix {
        SharedMix {
            encoder,
            row: Vec::new(),
            variant: Variant::Full,
            bitrate: None,
            before: Vec::new(),
            ended: false,
            alone: None,
            listeners: 0,
            parent: None,
            beginning: None,
            equal_for: 0,
            quiet: true,
        }
    }

    fn fork(&self, parent: MixId) -> SharedMix {
        SharedMix {
            encoder: self.encoder.clone(),
            row: Vec::new(),
            variant: self.variant,
            bitrate: None,
            before: self.before.clone(),
            ended: self.ended,
            alone: self.alone,
            listeners: 0,
            parent: Some(parent),
            beginning: None,
            equal_for: 0,
            quiet: false,
        }
    }

    /// The gains from which and to which a talker is ramped in this tick. A new talker begins at their gain.
    pub(super) fn ramp(&self, index: usize, talker: PeerId) -> (GainPan, GainPan) {
        let to = self.row[index];
        let from = self
            .before
            .iter()
            .find(|(id, _)| *id == talker)
            .map_or(to, |(_, gain)| *gain);
        (from, to)
    }

    /// Whether both sound alike in this tick.
    fn sounds_as(&self, other: &SharedMix) -> bool {
        self.is_for(other.encoder.channels(), &other.row, other.variant)
    }

    /// Whether it is encoded as such a listener needs it.
    fn is_for(&self, channels: Channels, row: &[GainPan], variant: Variant) -> bool {
        self.encoder.channels() == channels && self.variant == variant && self.row == row
    }

    /// One more listener is placed here.
    fn seat(&mut self, step: Step) {
        self.bitrate = match self.listeners {
            0 => step.bitrate(),
            _ => self.bitrate.min(step.bitrate()),
        };
        self.listeners += 1;
    }

    /// As [`SharedMix::ramp`], for both ears.
    pub(super) fn panned_ramp(&self, index: usize, talker: PeerId) -> (StereoGain, StereoGain) {
        let (from, to) = self.ramp(index, talker);
        let panned = |gain: GainPan| StereoGain::panned(gain.gain, gain.pan);
        (panned(from), panned(to))
    }

    /// Whether a talker was heard on it in the last tick.
    pub(super) fn has(&self, talker: PeerId) -> bool {
        self.before.iter().any(|(id, heard)| *id == talker && heard.gain > 0.0)
    }

    /// Whether nobody else was, or is still to be heard of.
    pub(super) fn has_nobody_but(&self, talker: PeerId) -> bool {
        !self.ended && self.before.iter().all(|(id, heard)| *id == talker || heard.gain == 0.0)
    }

    /// For how many ticks a talker has been the only one who is heard on it, and their gain in the last one.
    pub(super) fn alone_for(&self, talker: PeerId) -> Option<(u16, GainPan)> {
        let (_, ticks) = self.alone.filter(|(id, _)| *id == talker && !self.ended)?;
        let (_, gain) = self.before.iter().find(|(id, _)| *id == talker)?;
        Some((ticks, *gain))
    }

    /// Remembers this tick's gains for the next.
    pub(super) fn remember(&mut self, talkers: impl Iterator<Item = PeerId> + Clone) {
        let (row, before) = (&self.row, &self.before);
        let was_heard = |talker: PeerId| before.iter().any(|(id, heard)| *id == talker && heard.gain > 0.0);
        let mut still = 0;
        let mut ended = false;
        for (talker, now) in talkers.clone().zip(row) {
            still += usize::from(was_heard(talker));
            ended |= now.gain == 0.0 && was_heard(talker);
        }
        self.ended = ended || still < before.iter().filter(|(_, heard)| heard.gain > 0.0).count();
        self.before.clear();
        self.before.extend(talkers.zip(self.row.iter().copied()));
        let mut heard = self.before.iter().filter(|(_, heard)| heard.gain > 0.0);
        self.alone = match (heard.next(), heard.next()) {
            (Some((talker, _)), None) => {
                let before = self.alone.filter(|(id, _)| id == talker);
                Some((*talker, before.map_or(1, |(_, ticks)| ticks.saturating_add(1))))
            }
            _ => None,
        };
    }
}

/// A room's mixes.
#[derive(Default)]
pub(super) struct SharedMixes {
    mixes: Vec<Option<SharedMix>>,
}

impl SharedMixes {
    /// Call this before the listeners of a tick are placed.
    pub(super) fn begin_tick(&mut self) {
        for mix in self.mixes.iter_mut().flatten() {
            mix.listeners = 0;
            mix.parent = None;
            mix.beginning = None;
        }
    }

    /// The mix for a listener with this row, whose connection is at this step; `at` is their mix of the last tick.
    pub(super) fn place(
        &mut self,
        at: Option<MixId>,
        channels: Channels,
        row: &[GainPan],
        step: Step,
        config: &MixConfig,
    ) -> Result<MixId, AudioError> {
        let at = at.filter(|id| {
            let mix = self.mixes.get(*id).and_then(Option::as_ref);
            mix.is_some_and(|mix| mix.encoder.channels() == channels)
        });
        let found = match at {
            Some(id) => self.claim(id, row, step.variant(), config.share),
            None if !config.share => None,
            // The end of a voice that a newcomer has never heard could be their own, of the connection before this one.
            None => self.find(|mix| mix.listeners > 0 && !mix.ended && mix.is_for(channels, row, step.variant())),
        };
        let id = match (found, at) {
            (Some(id), _) => id,
            (None, Some(parent)) => {
                let fork = self.mixes[parent].as_ref().map(|mix| mix.fork(parent));
                self.insert(fork.expect("at was filtered to be taken"))
            }
            (None, None) => {
                let encoder = MixEncoder::new(config, channels)?;
                self.insert(SharedMix::new(encoder))
            }
        };
        let mix = self.mixes[id].as_mut().expect("just found or made");
        if mix.listeners == 0 {
            mix.row.clear();
            mix.row.extend_from_slice(row);
            mix.variant = step.variant();
        }
        mix.seat(step);
        Ok(id)
    }

    /// The mix of a listener with this row who has heard something else until now: one that begins in this tick. `goes_on`: the talkers
    /// whose sound of this tick continues that of the last.
    pub(super) fn begin(
        &mut self,
        beginning: Beginning,
        channels: Channels,
        (row, step): (&[GainPan], Step),
        goes_on: impl Iterator<Item = PeerId>,
        config: &MixConfig,
    ) -> Result<MixId, AudioError> {
        let alike = |mix: &SharedMix| mix.beginning == Some(beginning) && mix.is_for(channels, row, step.variant());
        let id = match self.find(alike).filter(|_| config.share) {
            Some(id) => id,
            None => {
                let mut mix = SharedMix::new(MixEncoder::new(config, channels)?);
                mix.beginning = Some(beginning);
                mix.row.extend_from_slice(row);
                mix.variant = step.variant();
                // Others fade in, if they don't begin just now anyway.
                mix.before.extend(goes_on.map(|talker| (talker, GainPan::SILENT)));
                if let Beginning::After(left, _) = beginning {
                    mix.before.retain(|(talker, _)| *talker != left);
                    // Only packets of music are passed on to stereo listeners.
                    let gain = match channels {
                        Channels::Mono => 1.0,
                        Channels::Stereo => MUSIC_IN_STEREO,
                    };
                    mix.before.push((left, GainPan::new(gain, 0.0)));
                }
                self.insert(mix)
            }
        };
        self.mixes[id].as_mut().expect("just found or made").seat(step);
        Ok(id)
    }

    /// A mix.
    pub(super) fn get(&self, id: MixId) -> Option<&SharedMix> {
        self.mixes.get(id).and_then(Option::as_ref)
    }

    // Their own mix if it has this row or nobody has claimed it yet in this tick; else a fork of it with this row.
    fn claim(&self, id: MixId, row: &[GainPan], variant: Variant, share: bool) -> Option<MixId> {
        match self.mixes[id].as_ref() {
            Some(mix) if mix.listeners == 0 => Some(id),
            _ if !share => None,
            Some(mix) if mix.row == row && mix.variant == variant => Some(id),
            _ => self.find(|mix| mix.parent == Some(id) && mix.row == row && mix.variant == variant),
        }
    }

    fn find(&self, wanted: impl Fn(&SharedMix) -> bool) -> Option<MixId> {
        self.mixes.iter().position(|mix| mix.as_ref().is_some_and(&wanted))
    }

    fn insert(&mut self, mix: SharedMix) -> MixId {
        match self.mixes.iter().position(Option::is_none) {
            Some(free) => {
                self.mixes[free] = Some(mix);
                free
            }
            None => {
                self.mixes.push(Some(mix));
                self.mixes.len() - 1
            }
        }
    }

    /// Call this after all listeners are placed: mixes without listeners end, the others get the profile that their number of
    /// listeners is worth. `most` is the Opus complexity that the shard can afford.
    pub(super) fn end_placing(&mut self, config: &MixConfig, most: u8) -> Result<(), AudioError> {
        for place in &mut self.mixes {
            match place {
                Some(mix) if mix.listeners == 0 => *place = None,
                Some(mix) => {
                    mix.encoder
                        .spend(config, mix.listeners, (mix.variant, mix.bitrate), most)?;
                }
                None => {}
            }
        }
        while self.mixes.last().is_some_and(Option::is_none) {
            self.mixes.pop();
        }
        Ok(())
    }

    /// The mixes that have listeners.
    pub(super) fn active(&mut self) -> impl Iterator<Item = (MixId, &mut SharedMix)> {
        self.mixes
            .iter_mut()
            .enumerate()
            .filter_map(|(id, mix)| mix.as_mut().map(|mix| (id, mix)))
    }

    /// Ends a mix that can become one with another: its listeners, who have the first of the pair, should move to the second.
    pub(super) fn merge(&mut self) -> Option<(MixId, MixId)> {
        for id in 1..self.mixes.len() {
            let Some(mix) = self.mixes[id].as_ref() else { continue };
            if mix.equal_for < MERGE_AFTER || !mix.quiet {
                continue;
            }
            let other = self.mixes[..id]
                .iter()
                .position(|other| other.as_ref().is_some_and(|other| other.quiet && other.sounds_as(mix)));
            if let Some(other) = other {
                self.mixes[id] = None;
                return Some((id, other));
            }
        }
        None
    }

    /// Counts for how long each row has been equal to that of a mix before it.
    pub(super) fn compare(&mut self) {
        for id in 1..self.mixes.len() {
            let (before, rest) = self.mixes.split_at_mut(id);
            if let Some(mix) = rest[0].as_mut() {
                let equal = before.iter().flatten().any(|other| other.sounds_as(mix));
                mix.equal_for = if equal { mix.equal_for.saturating_add(1) } else { 0 };
            }
        }
    }

    /// Whether there is more to send or to merge.
    pub(super) fn busy(&self) -> bool {
        let mut mixes = self.mixes.iter().flatten();
        match (mixes.next(), mixes.next()) {
            (None, _) => false,
            (Some(one), None) => !one.encoder.resting(),
            _ => true,
        }
    }

    /// Whether nothing is sent of any mix.
    pub(super) fn resting(&self) -> bool {
        self.mixes.iter().flatten().all(|mix| mix.encoder.resting())
    }

    /// The number of listeners of a mix.
    pub(super) fn listeners(&self, id: MixId) -> u32 {
        self.mixes
            .get(id)
            .and_then(Option::as_ref)
            .map_or(0, |mix| mix.listeners)
    }
}
