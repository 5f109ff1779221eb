//! Shortens sound and joins two sounds, inaudibly.

/// Samples of a cross-fade: 5 ms.
pub(super) const FADE: usize = 240;
/// The shortest piece worth removing, a period of 400 Hz: 2.5 ms.
pub(super) const MIN_CUT: usize = 120;
/// The longest piece removed from voiced sound, a period of 67 Hz: 15 ms.
pub(super) const MAX_LOUD_CUT: usize = 720;

/// Fades `sound` in from a gain of `from` over its first 5 ms.
pub(super) fn fade_in(sound: &mut [f32], from: f32) {
    let len = sound.len().min(FADE);
    crate::mix::ramp(&mut sound[..len], from, 1.0);
}

/// Fades `tail` out over the beginning of `sound`, which fades in.
pub(super) fn cross_fade(tail: &[f32], sound: &mut [f32]) {
    let len = tail.len().min(sound.len());
    let step = 1.0 / len.max(1) as f32;
    for (i, (new, old)) in sound.iter_mut().zip(tail).enumerate() {
        let weight = step * (i + 1) as f32;
        *new = weight * *new + (1.0 - weight) * old;
    }
}

/// Removes `cut` samples from `sound`, `at` samples from its start, with a cross-fade over the
/// seam. Does nothing if there isn't enough sound.
pub(super) fn cut(sound: &mut Vec<f32>, at: usize, cut: usize) -> usize {
    if at + cut + FADE > sound.len() || cut == 0 {
        return 0;
    }
    let step = 1.0 / FADE as f32;
    for i in 0..FADE {
        let weight = step * (i + 1) as f32;
        sound[at + i] = weight * sound[at + cut + i] + (1.0 - weight) * sound[at + i];
    }
    sound.drain(at + FADE..at + FADE + cut);
    cut
}

/// The length of the piece, `MIN_CUT..=longest` samples, that can be removed at `at` with the least
/// harm: a whole number of pitch periods, found as the shift at which the sound is most similar to
/// itself. `None` if it is never similar. If `longest` is below the longest pitch period, the best
/// shift may be a bad one, so it has to be more similar.
pub(super) fn best_cut(sound: &[f32], at: usize, longest: usize) -> Option<usize> {
    let longest = longest.min(MAX_LOUD_CUT).min(sound.len().saturating_sub(at + FADE));
    let least_like = if longest < MAX_LOUD_CUT { 0.9 } else { 0.5 };
    let template = sound.get(at..at + FADE)?;
    let likeness = |shift: usize| {
        let other = &sound[at + shift..at + shift + FADE];
        dot(template, other) / (dot(template, template) * dot(other, other)).sqrt().max(1e-9)
    };
    let coarse = (MIN_CUT..=longest).step_by(8).map(|shift| (shift, likeness(shift)));
    let (near, _) = coarse.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let fine = (near.saturating_sub(7).max(MIN_CUT)..=(near + 7).min(longest)).map(|shift| (shift, likeness(shift)));
    let (shift, like) = fine.max_by(|a, b| a.1.total_cmp(&b.1))?;
    (like > least_like).then_some(shift)
}

/// The lag, `least..=most` samples, at which earlier sound is most similar to the end of `sound`,
/// over the last `window` samples: from there it continues as it would have from the end. `None` if
/// there isn't enough sound.
pub(super) fn best_lag(sound: &[f32], least: usize, most: usize, window: usize) -> Option<usize> {
    let most = most.min(sound.len().checked_sub(window)?);
    let template = &sound[sound.len() - window..];
    let energy = dot(template, template);
    let likeness = |lag: usize| {
        let end = sound.len() - lag;
        let other = &sound[end - window..end];
        dot(template, other) / (energy * dot(other, other)).sqrt().max(1e-9)
    };
    let coarse = (least..=most).step_by(8).map(|lag| (lag, likeness(lag)));
    // The first of equals: nothing is repeated beyond the minimum.
    let best = |a: (usize, f32), b: (usize, f32)| if b.1 > a.1 { b } else { a };
    let (near, _) = coarse.reduce(best)?;
    let fine = (near.saturating_sub(7).max(least)..=(near + 7).min(most)).map(|lag| (lag, likeness(lag)));
    fine.reduce(best).map(|(lag, _)| lag)
}

/// Sum of products, in eight lanes for SIMD.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_chunks, a_tail) = a.as_chunks::<8>();
    let (b_chunks, b_tail) = b.as_chunks::<8>();
    let mut lanes = [0f32; 8];
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f32>() + a_tail.iter().zip(b_tail).map(|(x, y)| x * y).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Tone, max_step};

    #[test]
    fn a_tone_loses_whole_periods_inaudibly() {
        let mut sound = vec![0.0; 2400];
        Tone::new(200.0, 0.5).fill(&mut sound);
        let steepest = max_step(&sound);
        let shift = best_cut(&sound, 240, 700).unwrap();
        assert_eq!(shift % 240, 0, "the period of 200 Hz is 240 samples");
        assert_eq!(cut(&mut sound, 240, shift), shift);
        assert_eq!(sound.len(), 2400 - shift);
        assert!(max_step(&sound) < steepest * 1.02);
    }

    #[test]
    fn too_little_sound_is_left_unchanged() {
        let mut sound = vec![0.5; 500];
        assert_eq!(cut(&mut sound, 240, 120), 0);
        assert_eq!(sound.len(), 500);
        assert_eq!(best_cut(&sound, 400, 700), None);
        assert_eq!(best_cut(&sound, 5000, 700), None);
    }

    #[test]
    fn a_cross_fade_goes_from_one_to_the_other() {
        let mut sound = vec![1.0; 480];
        cross_fade(&[-1.0; FADE], &mut sound);
        assert!(sound[0] < -0.98 && sound[FADE - 1] == 1.0 && sound[FADE] == 1.0);
        assert!(max_step(&sound) < 0.01);
    }
}
