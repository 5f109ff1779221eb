//! Tones keep their level, length and phase at another rate.

use roomtone_audio::analysis::Tone;
use roomtone_resample::{Converter, FromRoom, ROOM_RATES, convert};

#[test]
fn a_tone_keeps_its_level_and_its_length_at_every_rate() {
    for rate in ROOM_RATES {
        let mut resampler = FromRoom::new(rate, 1).unwrap();
        let (mut tone, mut out) = (Tone::new(440.0, 0.1), Vec::new());
        for _ in 0..50 {
            resampler.process(&tone.frame(), &mut out);
        }
        assert_eq!(out.len(), rate as usize);
        let settled = &out[out.len() / 2..];
        let square: f32 = settled.iter().map(|sample| sample * sample).sum::<f32>() / settled.len() as f32;
        let level = 10.0 * square.log10();
        assert!((level + 23.01).abs() < 0.1, "{rate} Hz: {level} dB");
    }
    assert!(FromRoom::new(11_025, 1).is_none());
}

/// A tone of 440 Hz with an amplitude of 0.1.
fn tone(rate: u32, samples: usize) -> Vec<f32> {
    let step = std::f32::consts::TAU * 440.0 / rate as f32;
    (0..samples)
        .map(|n| 0.1 * (step * (n % rate as usize) as f32).sin())
        .collect()
}

#[test]
fn a_tone_in_pieces_keeps_its_level_length_and_phase() {
    for rate in [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000] {
        let (mut converter, mut out) = (Converter::new(rate, 48_000).unwrap(), Vec::new());
        // Twice, since it begins anew after the end.
        for _ in 0..2 {
            out.clear();
            for (n, piece) in tone(rate, rate as usize).chunks(331).enumerate() {
                converter.push(piece, &mut out);
                assert!(n > 0 || out.len() < 4_000);
            }
            converter.finish(&mut out);
            assert_eq!(out.len(), 48_000, "{rate} Hz");
            let expected = tone(48_000, 48_000);
            let worst = out[2_400..45_600]
                .iter()
                .zip(&expected[2_400..45_600])
                .map(|(got, wanted)| (got - wanted).abs())
                .fold(0.0, f32::max);
            // An odd number of samples in a block moves it by half of one.
            assert!(worst < 0.015, "{rate} Hz: {worst} beside a tone of 0.1");
        }
    }
    for (from, to) in [(999, 48_000), (384_001, 48_000), (48_000, 999)] {
        assert!(Converter::new(from, to).is_none(), "{from} Hz to {to} Hz");
    }
}

#[test]
fn pieces_at_a_lower_rate_keep_their_length_and_do_not_alias() {
    for rate in [24_000, 44_100, 48_000] {
        let mut converter = Converter::new(rate, 16_000).unwrap();
        let high: Vec<f32> = (0..rate)
            .map(|n| 0.5 * (std::f32::consts::TAU * 10_500.0 * n as f32 / rate as f32).sin())
            .collect();
        for (sound, level) in [(tone(rate, rate as usize), -23.0), (high, -200.0)] {
            let mut out = Vec::new();
            sound.chunks(331).for_each(|piece| converter.push(piece, &mut out));
            converter.finish(&mut out);
            assert_eq!(out.len(), 16_000, "{rate} Hz");
            let middle = &out[1_600..14_400];
            let square: f32 = middle.iter().map(|sample| sample * sample).sum::<f32>() / middle.len() as f32;
            let heard = 10.0 * square.log10();
            assert!(heard < (level + 0.1f32).max(-60.0), "{rate} Hz: {heard} dB");
            assert!(heard > level - 0.1, "{rate} Hz: {heard} dB");
        }
    }
}

#[test]
fn a_whole_sound_keeps_its_level_and_its_length() {
    for (from, to) in [(48_000, 16_000), (16_000, 48_000), (44_100, 48_000)] {
        let sound = convert(tone(from, from as usize), from, to, 1).unwrap();
        assert!(
            sound.len().abs_diff(to as usize) <= 1,
            "{from} Hz to {to} Hz: {}",
            sound.len()
        );
        let middle = &sound[sound.len() / 10..sound.len() * 9 / 10];
        let square: f32 = middle.iter().map(|sample| sample * sample).sum::<f32>() / middle.len() as f32;
        let level = 10.0 * square.log10();
        assert!((level + 23.01).abs() < 0.1, "{from} Hz to {to} Hz: {level} dB");
    }
    assert!(convert(vec![0.0; 3], 48_000, 16_000, 2).is_none());
    assert!(convert(vec![0.0; 4], 0, 16_000, 2).is_none());
    assert!(convert(vec![0.0; 4], 48_000, 16_000, 0).is_none());
}
