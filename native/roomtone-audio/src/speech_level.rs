//! How loud a talker speaks.
//!
//! The level of speech comes from the levels of the talker's frames (RFC 6464), so a talker who is
//! in no mix costs no decode. Only speech counts: frames that are loud for 100 ms at least, which a
//! click isn't, and whose levels move as those of syllables do, which those of a tone, of noise and
//! of most music don't. It is the mean power of the frames that are at most 12 dB softer than the
//! mean of all, as in ITU-T P.56 and ITU-R BS.1770: pauses and soft endings don't count.

/// Bins of 1 dB.
const BINS: usize = 128;
/// Loud frames in a row from which on they may be speech: 100 ms.
pub(crate) const RUN: u32 = 5;
/// Speech moves by this from one frame to the next, dB on average.
const LIVELY: f32 = 1.3;
/// The most that counts of one movement, dB: else the beginning and the end of a tone were speech.
const MOST_MOVEMENT: f32 = 5.0;
/// The share of a frame in the average movement.
const MOVEMENT_SHARE: f32 = 1.0 / 40.0;
/// The level is found anew after so many frames of speech …
const FRESH: u32 = 25;
/// … and the frames before them count for this much: the level is that of the last eight seconds of speech.
const KEPT: f32 = 0.94;
/// The level is known after 50 frames of speech, of which the older half counts for less.
const ENOUGH: f32 = (1.0 + KEPT) * FRESH as f32 - 0.5;
/// Frames softer than the mean of all by this don't count, dB.
const GATE: f32 = 12.0;

/// The level of one talker's speech.
#[derive(Clone, Debug)]
pub(crate) struct SpeechLevel {
    /// How many frames of speech had each level, the older ones for less.
    bins: [f32; BINS],
    /// Those since the level was found.
    fresh: u32,
    run: u32,
    last: u8,
    movement: f32,
    /// dBov.
    level: Option<f32>,
}

impl Default for SpeechLevel {
    fn default() -> Self {
        SpeechLevel {
            bins: [0.0; BINS],
            fresh: 0,
            run: 0,
            last: 0,
            movement: 0.0,
            level: None,
        }
    }
}

impl SpeechLevel {
    /// Takes a frame. Whether it is speech.
    pub(crate) fn take(&mut self, minus_dbov: u8, loud: bool) -> bool {
        if !loud {
            self.run = 0;
            return false;
        }
        let minus_dbov = minus_dbov.min(BINS as u8 - 1);
        if self.run > 0 {
            let movement = f32::from(minus_dbov.abs_diff(self.last)).min(MOST_MOVEMENT);
            self.movement += MOVEMENT_SHARE * (movement - self.movement);
        }
        self.last = minus_dbov;
        self.run = self.run.saturating_add(1);
        if self.run < RUN || self.movement < LIVELY {
            return false;
        }
        self.bins[usize::from(minus_dbov)] += 1.0;
        self.fresh += 1;
        if self.fresh == FRESH {
            self.fresh = 0;
            self.measure();
        }
        true
    }

    /// The level, dBov; `None` before a second of speech.
    pub(crate) fn level(&self) -> Option<f32> {
        self.level
    }

    fn measure(&mut self) {
        if self.bins.iter().sum::<f32>() >= ENOUGH {
            let all = self.mean(BINS);
            let gate = (GATE - all).ceil().clamp(0.0, BINS as f32 - 1.0) as usize;
            self.level = Some(self.mean(gate + 1));
        }
        for bin in &mut self.bins {
            *bin *= KEPT;
        }
    }

    // The mean power of the frames in the `most` loudest bins, dBov.
    fn mean(&self, most: usize) -> f32 {
        let (mut power, mut frames) = (0.0, f32::MIN_POSITIVE);
        for (minus_dbov, count) in self.bins[..most].iter().enumerate() {
            power += count * 10f32.powf(minus_dbov as f32 / -10.0);
            frames += count;
        }
        10.0 * (power / frames).max(1e-13).log10()
    }
}
