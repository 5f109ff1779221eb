//! Speech as levels see it: syllables of a tone, and pauses.

use std::fs::File;

use roomtone_audio::analysis::{Noise, from_db, rms};
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

/// Somebody who says a line of the demo, over and over, beside a fan.
pub struct Noisy {
    said: Vec<f32>,
    at: usize,
    noise: Noise,
    low: f32,
    fan: f32,
}

/// The level of what [`Noisy`] says, dBov, and the silence after it, s.
pub const SAID_DBOV: f64 = -26.0;
pub const SILENCE_S: f32 = 2.0;

impl Noisy {
    /// Speech above the fan by so many dB; `None`: there is no fan.
    pub fn new(ratio_db: Option<f64>) -> Noisy {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../priv/demo/01.opus");
        let mut packets = ogg::PacketReader::new(File::open(path).unwrap());
        let (mut decoder, mut said) = (roomtone_audio::Decoder::new().unwrap(), Vec::new());
        // The first two are headers.
        for number in 0.. {
            let Some(packet) = packets.read_packet().unwrap() else {
                break;
            };
            if number >= 2 {
                decoder.decode(&packet.data, &mut said).unwrap();
            }
        }
        let loud: Vec<f32> = said
            .chunks(960)
            .filter(|frame| rms(frame) > 0.01)
            .flatten()
            .copied()
            .collect();
        let gain = (from_db(SAID_DBOV) / rms(&loud)) as f32;
        said.iter_mut().for_each(|sample| *sample *= gain);
        said.resize(said.len() + (48_000.0 * SILENCE_S) as usize, 0.0);
        let mut noisy = Noisy {
            said,
            at: 0,
            noise: Noise::new(3, 1.0),
            low: 0.0,
            fan: 1.0,
        };
        let mut fan = vec![0.0; 48_000];
        fan.iter_mut().for_each(|sample| *sample = noisy.blow());
        noisy.fan = ratio_db.map_or(0.0, |ratio| (from_db(SAID_DBOV - ratio) / rms(&fan)) as f32);
        noisy
    }

    /// How long they speak, s, before they are silent.
    pub fn speaks_s(&self) -> f32 {
        self.said.len() as f32 / 48_000.0 - SILENCE_S
    }

    fn blow(&mut self) -> f32 {
        self.low += 0.06 * (self.noise.next_sample() - self.low);
        self.fan * self.low
    }
}

impl Source for Noisy {
    fn fill(&mut self, pcm: &mut [f32]) {
        for sample in pcm {
            *sample = self.said[self.at % self.said.len()] + self.blow();
            self.at += 1;
        }
    }
}
