//! A voice that begins and ceases without a click of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use roomtone_testkit::fixtures::{OpusTalker, Source, Tone};

/// How long it takes to reach full level, and silence, samples.
const FADE: f32 = 1920.0;

/// Lets a voice sound, or cease. Silence is sent as what it is, as a browser does with a muted microphone.
#[derive(Clone)]
pub struct Mouth(Arc<AtomicBool>);

struct Voice {
    tone: Tone,
    open: Mouth,
    gain: f32,
}

impl Mouth {
    /// A talker who is silent at first, and the mouth to open.
    pub fn new(hz: f32, dbfs: f32) -> (Mouth, OpusTalker) {
        let mouth = Mouth(Arc::new(AtomicBool::new(false)));
        let voice = Voice {
            tone: Tone::new(hz, 10f32.powf(dbfs / 20.0)),
            open: mouth.clone(),
            gain: 0.0,
        };
        (mouth, OpusTalker::new(voice, 128_000).unwrap())
    }

    pub fn open(&self, open: bool) {
        self.0.store(open, Ordering::Relaxed);
    }
}

impl Source for Voice {
    fn fill(&mut self, pcm: &mut [f32]) {
        self.tone.fill(pcm);
        let step = if self.open.0.load(Ordering::Relaxed) { 1.0 } else { -1.0 } / FADE;
        for sample in pcm {
            self.gain = (self.gain + step).clamp(0.0, 1.0);
            // The corners of a straight ramp can be heard where all else is pure.
            *sample *= (1.0 - (std::f32::consts::PI * self.gain).cos()) / 2.0;
        }
    }
}
