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
/// Delays are equal within this, ms, and a period of a voice's pitch is at most so long.
const EQUAL_MS: f64 = 2.0;
const PERIOD_MS: f64 = 15.0;
/// So far apart the two spells are at the most that are next to one, s.
const NEXT_S: f64 = 0.5;
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
    let delays: Vec<(f64, f64)> = starts.filter_map(delay).collect();
    without_slips(&delays)
}

/// A voice repeats itself with each period of its pitch, and a stretched spell may resemble its neighbour by one of these more than
/// itself. A delay that is off by so little from the two spells next to it, which agree, is such a slip: a buffer that grew would be
/// longer for more than one spell.
fn without_slips(delays: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let slipped = |at: usize| {
        let [before, this, after] = *delays.get(at.wrapping_sub(1)..at + 2)? else {
            return None;
        };
        let next_to_it = after.0 - before.0 < NEXT_S;
        let off = (this.1 - before.1).abs();
        Some(next_to_it && (after.1 - before.1).abs() <= EQUAL_MS && off > EQUAL_MS && off <= PERIOD_MS)
    };
    let kept = (0..delays.len()).filter(|at| slipped(*at) != Some(true));
    kept.map(|at| delays[at]).collect()
}

/// The same sound with fewer samples.
fn coarse(pcm: &[f32]) -> Vec<f32> {
    let mean = |samples: &[f32]| samples.iter().sum::<f32>() / STEP as f32;
    pcm.chunks_exact(STEP).map(mean).collect()
}
