//! Speech as levels see it: syllables of a tone, and pauses.

use roomtone_testkit::fixtures::{OpusTalker, Source, Tone};

/// Samples of a syllable, and of the pause after four of them: 240 ms.
const SYLLABLE: usize = 11_520;
/// Four syllables and a pause: 1.2 s.
pub const PHRASE_S: f32 = 1.2;
/// The level of the syllables below that of the tone's amplitude, dB: its power, and the mean of the fourth power of a sine.
const BELOW_AMPLITUDE: f32 = 6.9;

/// The amplitude of the tone of a voice of this level (dBov while it speaks), dBFS.
pub fn amplitude_dbfs(level: f32) -> f32 {
    level + BELOW_AMPLITUDE
}

struct Speech {
    tone: Tone,
    at: usize,
}

/// Somebody who speaks at this level (dBov), with a tone of this frequency; from this part of a phrase on.
pub fn speaker(hz: f32, level: f32, from: f32) -> OpusTalker {
    let speech = Speech {
        tone: Tone::new(hz, 10f32.powf(amplitude_dbfs(level) / 20.0)),
        at: (from * 5.0 * SYLLABLE as f32) as usize,
    };
    OpusTalker::new(speech, 128_000).unwrap()
}

impl Source for Speech {
    fn fill(&mut self, pcm: &mut [f32]) {
        self.tone.fill(pcm);
        for sample in pcm {
            let (syllable, into) = (self.at / SYLLABLE % 5, self.at % SYLLABLE);
            let loudness = (std::f32::consts::PI * into as f32 / SYLLABLE as f32).sin().powi(2);
            *sample *= if syllable == 4 { 0.0 } else { loudness };
            self.at += 1;
        }
    }
}
