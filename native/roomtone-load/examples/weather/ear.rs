//! Delay from mouth to ear, by what is heard: a little of what was said is looked for in it, again and again.

use roomtone_audio::analysis::{find_delay, rms};

/// Samples a second of what is compared: enough for voices, and for a quarter of a millisecond.
const RATE: usize = 4_000;
const STEP: usize = 48_000 / RATE;
/// So much of what was said is looked for at a time, so often.
const LENGTH: usize = RATE * 2 / 5;
const EACH: usize = RATE / 5;
/// So much later at the most, more than what the longest outage holds back, and so much earlier, for what a receiver's clock may be off.
const LONGEST: usize = 3 * RATE;
const EARLY: usize = RATE / 50;
/// Two sounds are the same where the normalised correlation is as high as this.
const SAME: f64 = 0.7;
/// A packet is sent when its sound has been said, which takes so long, ms.
pub const PACKET_MS: f64 = 20.0;

/// The delays of a text that is read again and again, and heard: of each spell when it has been heard, in s from the first packet on, and
/// the delay in ms.
pub fn mouth_to_ear(said: &[f32], readings: usize, heard: &[f32]) -> Vec<(f64, f64)> {
    let (said, heard) = (coarse(&said.repeat(readings)), coarse(heard));
    let loud = rms(&said) / 3.0;
    let starts = (0..said.len().saturating_sub(LENGTH)).step_by(EACH);
    let delay = |start: usize| {
        let spell = &said[start..start + LENGTH];
        if rms(spell) < loud {
            return None;
        }
        let from = start.saturating_sub(EARLY);
        let within = heard.get(from..(start + LENGTH + LONGEST).min(heard.len()))?;
        let (place, _) = find_delay(spell, within).filter(|(_, same)| *same >= SAME)?;
        let later = (from + place) as f64 - start as f64;
        let end = (from + place + LENGTH) as f64 / RATE as f64;
        Some((end, later * 1000.0 / RATE as f64 + PACKET_MS))
    };
    starts.filter_map(delay).collect()
}

/// The same sound with fewer samples.
fn coarse(pcm: &[f32]) -> Vec<f32> {
    let mean = |samples: &[f32]| samples.iter().sum::<f32>() / STEP as f32;
    pcm.chunks_exact(STEP).map(mean).collect()
}
