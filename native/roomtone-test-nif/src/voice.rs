//! The sound that a participant sends.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use roomtone_testkit::fixtures::{FRAME_SAMPLES, FixtureError, SAMPLE_RATE, Source as _, Tone, level_of};
use roomtone_testkit::opus::Encoder;
use roomtone_testkit::peer::Level;

/// How loud a tone is, amplitude of the sine: −26 dBFS, so that ten tones together stay below the limiter.
pub(crate) const TONE_AMPLITUDE: f32 = 0.05;
/// Enough for Opus to keep a tone's level within a tenth of a decibel.
const BITRATE: u32 = 64_000;
/// A sound begins and ends with a ramp, because a click would be heard as every other tone: 10 ms.
const RAMP: usize = 480;
/// How much of what was said is remembered, samples.
const MEMORY: usize = 3 * SAMPLE_RATE as usize;

/// Something to say.
pub(crate) enum Sound {
    /// The participant's own tone.
    Tone,
    /// A recording.
    Clip(Vec<f32>),
}

struct Utterance {
    tone: Option<Tone>,
    clip: Vec<f32>,
    at: usize,
    length: usize,
}

/// How a voice can be recognised.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By the frequency of its tone.
    Tone,
    /// By its samples.
    Clip,
}

/// A voice: silent but for what it is told to say.
pub(crate) struct Voice {
    /// The frequency of the participant's tone.
    pub(crate) hz: f32,
    encoder: Encoder,
    pcm: [f32; FRAME_SAMPLES],
    queue: VecDeque<Utterance>,
    kind: Option<Kind>,
    said: VecDeque<f32>,
}

impl Voice {
    pub(crate) fn new(hz: f32) -> Result<Voice, String> {
        Ok(Voice {
            hz,
            encoder: Encoder::new(BITRATE)?,
            pcm: [0.0; FRAME_SAMPLES],
            queue: VecDeque::new(),
            kind: None,
            said: VecDeque::new(),
        })
    }

    /// Says this for so long after everything that it was told before; a recording ends when it is over.
    pub(crate) fn say(&mut self, sound: Sound, length: Option<Duration>) {
        let wanted = length.map(|length| (length.as_secs_f64() * f64::from(SAMPLE_RATE)) as usize);
        let utterance = match sound {
            Sound::Tone => {
                self.kind = Some(Kind::Tone);
                Utterance {
                    tone: Some(Tone::new(self.hz, TONE_AMPLITUDE)),
                    clip: Vec::new(),
                    at: 0,
                    length: wanted.unwrap_or(0),
                }
            }
            Sound::Clip(clip) => {
                self.kind = Some(Kind::Clip);
                Utterance {
                    tone: None,
                    at: 0,
                    length: wanted.map_or(clip.len(), |wanted| wanted.min(clip.len())),
                    clip,
                }
            }
        };
        self.queue.push_back(utterance);
    }

    /// Forgets what it hasn't said yet.
    pub(crate) fn hush(&mut self) {
        self.queue.clear();
    }

    /// The next 20 ms.
    pub(crate) fn next(&mut self) -> Result<(Bytes, Level), FixtureError> {
        self.pcm.fill(0.0);
        let mut filled = 0;
        while let Some(utterance) = self.queue.front_mut().filter(|_| filled < FRAME_SAMPLES) {
            filled += utterance.fill(&mut self.pcm[filled..]);
            if utterance.at >= utterance.length {
                self.queue.pop_front();
            }
        }
        self.said.extend(self.pcm);
        let forget = self.said.len().saturating_sub(MEMORY);
        self.said.drain(..forget);
        let payload = self.encoder.encode(&self.pcm).map_err(FixtureError::Opus)?;
        Ok((payload, level_of(&self.pcm)))
    }

    /// How the last that it was told to say can be recognised.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// The last seconds of what it said.
    pub(crate) fn said(&self, seconds: f32) -> Vec<f32> {
        let wanted = (seconds * SAMPLE_RATE as f32) as usize;
        let skip = self.said.len().saturating_sub(wanted);
        self.said.iter().skip(skip).copied().collect()
    }
}

impl Utterance {
    /// Fills the beginning of `pcm`; returns how much.
    fn fill(&mut self, pcm: &mut [f32]) -> usize {
        let count = pcm.len().min(self.length - self.at);
        let pcm = &mut pcm[..count];
        match self.tone.as_mut() {
            Some(tone) => tone.fill(pcm),
            None => pcm.copy_from_slice(&self.clip[self.at..self.at + count]),
        }
        for (index, sample) in (self.at..).zip(pcm.iter_mut()) {
            let edge = index.min(self.length - 1 - index);
            if edge < RAMP {
                *sample *= (edge as f32 + 0.5) / RAMP as f32;
            }
        }
        self.at += count;
        count
    }
}
