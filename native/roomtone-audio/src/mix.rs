//! Adds sounds: plain loops that the compiler turns into SIMD.
//!
//! Blocks have equal lengths (a stereo destination twice the source's, interleaved left, right); if
//! they differ, a debug build panics and a release build uses the shorter length. A ramp reaches
//! its end on the last sample, so the next block continues without a step.

/// `dst += src`.
pub fn add(dst: &mut [f32], src: &[f32]) {
    debug_assert_eq!(dst.len(), src.len());
    dst.iter_mut().zip(src).for_each(|(d, s)| *d += s);
}

/// `dst += gain · src`.
pub fn add_scaled(dst: &mut [f32], src: &[f32], gain: f32) {
    debug_assert_eq!(dst.len(), src.len());
    dst.iter_mut().zip(src).for_each(|(d, s)| *d += gain * s);
}

/// `dst += gain · src`; the gain changes linearly over the block, from `from` (exclusive) to `to`
/// (inclusive).
pub fn add_ramped(dst: &mut [f32], src: &[f32], from: f32, to: f32) {
    debug_assert_eq!(dst.len(), src.len());
    let step = (to - from) / src.len().max(1) as f32;
    for (i, (d, s)) in dst.iter_mut().zip(src).enumerate() {
        *d += (from + step * (i + 1) as f32) * s;
    }
}

/// `dst −= src`: for mix-minus, the mix of everybody except one.
pub fn sub(dst: &mut [f32], src: &[f32]) {
    debug_assert_eq!(dst.len(), src.len());
    dst.iter_mut().zip(src).for_each(|(d, s)| *d -= s);
}

/// `dst −= gain · src`.
pub fn sub_scaled(dst: &mut [f32], src: &[f32], gain: f32) {
    add_scaled(dst, src, -gain);
}

/// `dst *= gain`.
pub fn scale(dst: &mut [f32], gain: f32) {
    dst.iter_mut().for_each(|d| *d *= gain);
}

/// `dst *= gain`; the gain changes linearly over the block, from `from` (exclusive) to `to`
/// (inclusive).
pub fn ramp(dst: &mut [f32], from: f32, to: f32) {
    let step = (to - from) / dst.len().max(1) as f32;
    for (i, d) in dst.iter_mut().enumerate() {
        *d *= from + step * (i + 1) as f32;
    }
}

/// The gain of a mono source for each ear.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StereoGain {
    /// Linear gain on the left.
    pub left: f32,
    /// Linear gain on the right.
    pub right: f32,
}

impl StereoGain {
    /// Inaudible.
    pub const SILENT: Self = Self { left: 0.0, right: 0.0 };

    /// The same in both ears: a doubled mono mix.
    pub const fn centre(gain: f32) -> Self {
        Self {
            left: gain,
            right: gain,
        }
    }

    /// Equal-power panning: `pan` from −1.0 (left) over 0.0 (centre, −3 dB in each ear) to 1.0
    /// (right), clamped to that range; a NaN is the centre. left² + right² = gain² for every pan.
    pub fn panned(gain: f32, pan: f32) -> Self {
        let pan = if pan.is_nan() { 0.0 } else { pan.clamp(-1.0, 1.0) };
        let (right, left) = ((pan + 1.0) * std::f32::consts::FRAC_PI_4).sin_cos();
        Self {
            left: gain * left,
            right: gain * right,
        }
    }
}

/// Adds a mono block to a stereo one.
pub fn add_panned(dst: &mut [f32], src: &[f32], gain: StereoGain) {
    debug_assert_eq!(dst.len(), 2 * src.len());
    for (d, s) in dst.as_chunks_mut::<2>().0.iter_mut().zip(src) {
        d[0] += gain.left * s;
        d[1] += gain.right * s;
    }
}

/// Adds a mono block to a stereo one; the gains change linearly over the block.
pub fn add_panned_ramped(dst: &mut [f32], src: &[f32], from: StereoGain, to: StereoGain) {
    debug_assert_eq!(dst.len(), 2 * src.len());
    let count = src.len().max(1) as f32;
    let (left, right) = ((to.left - from.left) / count, (to.right - from.right) / count);
    for (i, (d, s)) in dst.as_chunks_mut::<2>().0.iter_mut().zip(src).enumerate() {
        let at = (i + 1) as f32;
        d[0] += (from.left + left * at) * s;
        d[1] += (from.right + right * at) * s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mix_minus_is_the_sum_without_the_own_voice() {
        let (a, b) = ([0.25, -0.5, 0.125], [0.5, 0.25, -0.75]);
        let mut sum = [0.0; 3];
        add(&mut sum, &a);
        add(&mut sum, &b);
        sub(&mut sum, &a);
        assert_eq!(sum, b);
        sub_scaled(&mut sum, &b, 0.5);
        assert_eq!(sum, b.map(|s| 0.5 * s));
        scale(&mut sum, 2.0);
        assert_eq!(sum, b);
    }

    #[test]
    fn a_ramp_ends_on_its_goal_and_never_steps() {
        let mut out = [0.0; 960];
        add_ramped(&mut out, &[1.0; 960], 0.0, 1.0);
        assert!((out[959] - 1.0).abs() < 1e-6 && out[0] > 0.0);
        assert!(out.windows(2).all(|w| (w[1] - w[0] - 1.0 / 960.0).abs() < 1e-6));
        let mut same = [1.0; 960];
        ramp(&mut same, 0.0, 1.0);
        assert_eq!(same, out);
    }

    #[test]
    fn panning_reaches_both_ends() {
        let left = StereoGain::panned(1.0, -1.0);
        assert!((left.left - 1.0).abs() < 1e-6 && left.right.abs() < 1e-6);
        let right = StereoGain::panned(1.0, 9.0);
        assert!((right.right - 1.0).abs() < 1e-6 && right.left.abs() < 1e-6);
        assert_eq!(StereoGain::panned(1.0, f32::NAN), StereoGain::panned(1.0, 0.0));
        let mut out = [0.0; 6];
        add_panned(&mut out, &[1.0, 2.0, 3.0], StereoGain { left: 1.0, right: 0.5 });
        assert_eq!(out, [1.0, 0.5, 2.0, 1.0, 3.0, 1.5]);
        let mut out = [0.0; 4];
        add_panned_ramped(
            &mut out,
            &[1.0, 1.0],
            StereoGain::SILENT,
            StereoGain { left: 1.0, right: 0.5 },
        );
        assert_eq!(out, [0.5, 0.25, 1.0, 0.5]);
    }

    proptest! {
        #[test]
        fn panning_keeps_the_power(gain in 0f32..4.0, pan in -1f32..1.0) {
            let g = StereoGain::panned(gain, pan);
            prop_assert!((g.left.hypot(g.right) - gain).abs() < 1e-5);
        }

        #[test]
        fn a_ramp_between_equal_gains_is_a_plain_gain(gain in -2f32..2.0, pcm in proptest::collection::vec(-1f32..1.0, 1..200)) {
            let (mut a, mut b) = (vec![0.0; pcm.len()], vec![0.0; pcm.len()]);
            add_scaled(&mut a, &pcm, gain);
            add_ramped(&mut b, &pcm, gain, gain);
            prop_assert_eq!(a, b);
        }
    }
}
