//! The treatment of a talker's voice before others hear it: noise suppression, then automatic gain.
//!
//! Both follow the levels in the talker's packets, so a talker who needs neither isn't decoded for them, and is passed on.

use std::time::Instant;

use roomtone_audio::{AutoGain, Frame, FrameLevel, NoiseGauge, NoiseSuppressor, mix};

use super::loudness::Loudness;
use crate::stats::ShardStats;
use crate::voice::Voice;

/// The treatment of one talker's voice.
#[derive(Default)]
pub(super) struct Treatment {
    voice: Voice,
    /// Whether their noise is to be suppressed.
    suppress: bool,
    /// Whether the shard has too much to do for that.
    sheds: bool,
    /// Made by the first packet of a talker who may have one.
    gain: Option<Box<AutoGain>>,
    /// When it heard speech last, since they may speak.
    evened_at: Option<Instant>,
    /// Made when their noise is to be suppressed; dropped when it isn't any longer, and nothing of that is heard.
    noise: Option<Box<Noise>>,
}

/// The noise of one talker.
#[derive(Default)]
struct Noise {
    gauge: NoiseGauge,
    /// Made when they are found to be noisy.
    suppressor: Option<Box<NoiseSuppressor>>,
}

impl Noise {
    /// Whether nothing is suppressed.
    fn is_idle(&self) -> bool {
        self.suppressor.as_ref().is_none_or(|suppressor| suppressor.is_idle())
    }
}

impl Treatment {
    /// Changes what is done. A gain goes as it came, slowly, and noise comes back within 100 ms.
    pub(super) fn set(&mut self, voice: Voice, suppress: bool) {
        self.voice = voice;
        self.suppress(suppress);
    }

    /// Suppresses noise, or no longer. In music none is.
    pub(super) fn suppress(&mut self, suppress: bool) {
        self.suppress = suppress && !self.is_music();
        if self.suppress && self.noise.is_none() {
            self.noise = Some(Box::default());
        }
        self.forget_noise();
    }

    fn forget_noise(&mut self) {
        if !self.suppress {
            self.noise.take_if(|noise| noise.is_idle());
        }
    }

    /// Whether noise is to be suppressed.
    pub(super) fn suppresses(&self) -> bool {
        self.suppress
    }

    /// Whether they make music.
    pub(super) fn is_music(&self) -> bool {
        self.voice == Voice::Music
    }

    /// A packet of theirs has come.
    pub(super) fn prepare(&mut self, loudness: &Loudness) {
        if self.gain.is_none() && loudness.concerns(self.voice) {
            self.gain = Some(Box::default());
        }
    }

    /// Tells the room how loud they are.
    pub(super) fn compare(&self, at: Instant, loudness: &mut Loudness) {
        if let Some(gain) = &self.gain
            && loudness.concerns(self.voice)
        {
            loudness.compare(at, gain.off_by(), self.evened_at);
        }
    }

    /// Follows a frame, whether it is heard or not. `told`: whether packets have told the levels of frames, and so of the background.
    pub(super) fn follow(&mut self, at: Instant, loudness: &Loudness, told: bool, frame: impl Fn() -> FrameLevel) {
        if let Some(gain) = &mut self.gain
            && gain.follow(frame(), loudness.tolerance(self.voice))
        {
            self.evened_at = Some(at);
        }
        if let Some(noise) = self.noise.as_deref_mut().filter(|_| told) {
            noise.gauge.follow(frame());
            if self.suppress && !self.sheds && noise.gauge.is_noisy() && noise.suppressor.is_none() {
                noise.suppressor = Some(Box::default());
            }
        }
    }

    /// Nothing of theirs has come.
    pub(super) fn pause(&mut self) {
        if let Some(noise) = &mut self.noise {
            noise.gauge.pause();
        }
    }

    /// Whether the shard sheds the suppression of noise: what is heard then comes back within 100 ms.
    pub(super) fn shed(&mut self, sheds: bool) {
        self.sheds = sheds;
    }

    fn is_noisy(&self) -> bool {
        self.suppress && !self.sheds && self.noise.as_ref().is_some_and(|noise| noise.gauge.is_noisy())
    }

    fn suppressor(&mut self) -> Option<&mut NoiseSuppressor> {
        self.noise.as_deref_mut()?.suppressor.as_deref_mut()
    }

    /// Changes a frame that is heard.
    pub(super) fn apply(&mut self, frame: &mut Frame, stats: &mut ShardStats) {
        let noisy = self.is_noisy();
        if let Some(suppressor) = self.suppressor() {
            suppressor.apply(frame, noisy);
            stats.frames_suppressed += u64::from(!suppressor.is_idle());
            self.forget_noise();
        }
        if let Some(gain) = &mut self.gain {
            gain.apply(frame);
            stats.frames_evened += u64::from(gain.gain_db() != 0.0);
        }
    }

    /// Nothing has come to be heard. Whether there is something left of what came before, which fills `frame` then.
    pub(super) fn end(&mut self, frame: &mut Frame) -> bool {
        let rest = self.suppressor().is_some_and(|suppressor| suppressor.end(frame));
        match &mut self.gain {
            Some(gain) if rest => gain.apply(frame),
            _ => self.skip(),
        }
        rest
    }

    /// A frame isn't heard.
    pub(super) fn skip(&mut self) {
        if let Some(gain) = &mut self.gain {
            gain.skip();
        }
        let noisy = self.is_noisy();
        if let Some(suppressor) = self.suppressor() {
            suppressor.skip(noisy);
        }
        self.forget_noise();
    }

    /// Their own packets were heard until now, and frames go on from there.
    pub(super) fn passed(&mut self) {
        if let Some(gain) = &mut self.gain {
            gain.passed();
        }
        if let Some(suppressor) = self.suppressor() {
            suppressor.passed();
        }
    }

    /// Whether nothing is done, so that their packets are as good.
    pub(super) fn is_nothing(&self) -> bool {
        self.gain.as_ref().is_none_or(|gain| gain.is_unity())
            && !self.is_noisy()
            && self.noise.as_ref().is_none_or(|noise| noise.is_idle())
    }

    /// They are muted: that they spoke counts no longer, and none of their sound is kept. Their levels are remembered.
    pub(super) fn mute(&mut self) {
        self.evened_at = None;
        let noisy = self.is_noisy();
        if let Some(noise) = &mut self.noise {
            // Another one, since RNNoise keeps sound for its pitch filter. It is made here rather than in a tick.
            noise.suppressor = noisy.then(|| {
                let mut suppressor = Box::<NoiseSuppressor>::default();
                suppressor.skip(noisy);
                suppressor
            });
        }
        self.forget_noise();
    }

    /// The treatment of their next connection, which goes on from here: its levels are known.
    pub(super) fn hand_over(&self, to: &mut Treatment) {
        to.gain = self.gain.clone();
        if let Some(gain) = &mut to.gain {
            gain.skip();
        }
        if let Some(noise) = &self.noise {
            to.noise = Some(Box::new(Noise {
                gauge: noise.gauge.clone(),
                suppressor: None,
            }));
        }
    }

    /// The treatment of their last frame, which goes on from the frame before. Packets that are passed on have none.
    pub(super) fn ending(&mut self, selected: bool) -> Ending {
        let gain = self.gain.as_ref().filter(|_| selected);
        Ending {
            gain: gain.map_or(1.0, |gain| gain.gain()),
            suppressor: self
                .noise
                .as_mut()
                .and_then(|noise| noise.suppressor.take_if(|_| selected)),
        }
    }

    /// Their automatic gain, dB.
    pub(super) fn gain_db(&self) -> f64 {
        self.gain.as_ref().map_or(0.0, |gain| f64::from(gain.gain_db()))
    }
}

/// The treatment of a voice that ends.
pub(super) struct Ending {
    /// Linear.
    gain: f32,
    suppressor: Option<Box<NoiseSuppressor>>,
}

impl Ending {
    /// Fades the last frame out. `came`: whether there is one. Whether anything is heard.
    pub(super) fn apply(&mut self, frame: &mut Frame, came: bool) -> bool {
        let heard = match &mut self.suppressor {
            Some(suppressor) if came => {
                let noisy = !suppressor.is_idle();
                suppressor.apply(frame, noisy);
                true
            }
            Some(suppressor) => suppressor.end(frame),
            None => came,
        };
        if heard {
            mix::ramp(frame, self.gain, 0.0);
        }
        heard
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::unwrap_used)]
mod tests {
    use roomtone_audio::FRAME_SAMPLES;

    use super::*;

    /// A talker beside a fan, who is heard.
    fn noisy() -> Treatment {
        let mut treatment = Treatment::default();
        treatment.set(Voice::Plain, true);
        hum(&mut treatment);
        assert!(treatment.is_noisy());
        hear(&mut treatment, 10);
        treatment
    }

    /// A fan is heard for two seconds.
    fn hum(treatment: &mut Treatment) {
        hum_at_levels(treatment, true);
    }

    fn hum_at_levels(treatment: &mut Treatment, told: bool) {
        let loudness = Loudness::new(false);
        let level = FrameLevel {
            minus_dbov: 40,
            loud: false,
            noise_dbov: -40.0,
        };
        for _ in 0..100 {
            treatment.follow(Instant::now(), &loudness, told, || level);
        }
    }

    fn hear(treatment: &mut Treatment, frames: usize) {
        for _ in 0..frames {
            let mut frame = std::array::from_fn(|i| 0.1 * (i as f32 / 20.0).sin());
            treatment.apply(&mut frame, &mut ShardStats::default());
        }
    }

    /// The next frame that is heard, of silence.
    fn next(treatment: &mut Treatment) -> Frame {
        let mut frame = [0.0; FRAME_SAMPLES];
        treatment.apply(&mut frame, &mut ShardStats::default());
        frame
    }

    #[test]
    fn noise_is_not_suppressed_while_that_is_shed() {
        let mut treatment = noisy();
        assert!(!treatment.is_nothing());
        treatment.shed(true);
        hear(&mut treatment, 7);
        assert!(treatment.is_nothing());
        treatment.shed(false);
        assert!(!treatment.is_nothing());
    }

    #[test]
    fn nobody_is_noisy_whose_packets_tell_no_level() {
        let mut treatment = Treatment::default();
        treatment.set(Voice::Plain, true);
        hum_at_levels(&mut treatment, false);
        assert!(!treatment.is_noisy());
    }

    #[test]
    fn noise_is_forgotten_once_it_is_not_suppressed() {
        let mut treatment = Treatment::default();
        treatment.set(Voice::Plain, true);
        hum(&mut treatment);
        treatment.set(Voice::Plain, false);
        assert!(treatment.noise.is_none(), "nothing was suppressed");
        let mut treatment = noisy();
        treatment.set(Voice::Plain, false);
        assert!(treatment.noise.is_some(), "it comes back slowly");
        hear(&mut treatment, 7);
        assert!(treatment.noise.is_none());
    }

    #[test]
    fn sound_of_before_a_mute_is_not_heard_after_it() {
        // Also right after a frame that faded out, when they aren't selected any longer.
        for selected in [true, false] {
            let mut treatment = noisy();
            if selected {
                treatment.ending(selected);
            }
            treatment.mute();
            assert!(treatment.suppressor().is_some(), "a tick would have to make it");
            for _ in 0..5 {
                assert!(next(&mut treatment).iter().all(|sample| *sample == 0.0), "{selected}");
            }
        }
    }
}
