//! Encoder and decoder together, with libopus itself.

use proptest::prelude::*;
use roomtone_audio::{analysis::*, *};

fn config(application: Application, channels: Channels) -> EncoderConfig {
    EncoderConfig {
        application,
        channels,
        ..Default::default()
    }
}

#[test]
fn tones_keep_their_level() {
    for application in [Application::Voip, Application::Audio] {
        for complexity in [0, 5, 10] {
            for hz in [300.0, 440.0, 1000.0, 2500.0] {
                for db in [-12.0, -26.0] {
                    let mut encoder = Encoder::new(&EncoderConfig {
                        complexity,
                        ..config(application, Channels::Mono)
                    })
                    .unwrap();
                    let mut decoder = Decoder::new().unwrap();
                    let mut tone = Tone::new(hz, from_db(db) as f32);
                    let (mut packet, mut pcm) = (Vec::new(), Vec::new());
                    for _ in 0..60 {
                        encoder.encode(&tone.frame(), &mut packet).unwrap();
                        assert_eq!(decoder.decode(&packet, &mut pcm).unwrap(), 960);
                    }
                    let heard = tone_dbfs(&pcm[19_200..], hz);
                    assert!(
                        (heard - db).abs() < 1.0,
                        "{application:?} cx{complexity} {hz} Hz: {db} → {heard} dBFS"
                    );
                }
            }
        }
    }
}

#[test]
fn a_cloned_encoder_writes_the_same_packets() {
    for (application, channels) in [
        (Application::Voip, Channels::Mono),
        (Application::Audio, Channels::Mono),
        (Application::Voip, Channels::Stereo),
    ] {
        let settings = EncoderConfig {
            fec: true,
            expected_loss_percent: 10,
            ..config(application, channels)
        };
        let mut original = Encoder::new(&settings).unwrap();
        let mut sound = Sound::new(channels);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            original.encode(&sound.next(), &mut a).unwrap();
        }
        let mut twin = original.clone();
        // A third encoder with other use before copies the state into its own memory.
        let mut third = Encoder::new(&settings).unwrap();
        third.encode(&Sound::new(channels).next(), &mut b).unwrap();
        third.clone_from(&original);
        for i in 0..420 {
            let pcm = sound.next();
            original.encode(&pcm, &mut a).unwrap();
            twin.encode(&pcm, &mut b).unwrap();
            assert_eq!(a, b, "{application:?} {channels:?} frame {i}");
            third.encode(&pcm, &mut b).unwrap();
            assert_eq!(a, b, "{application:?} {channels:?} frame {i}");
        }
        // Twins are independent: one doesn't hear the other's input.
        twin.encode(&Sound::new(channels).next(), &mut b).unwrap();
        drop(twin);
        let pcm = sound.next();
        original.encode(&pcm, &mut a).unwrap();
        third.encode(&pcm, &mut b).unwrap();
        assert_eq!(a, b);
        assert_eq!(third.config(), original.config());
    }
}

/// Tone, noise and silence in turn.
struct Sound {
    tone: Tone,
    noise: Noise,
    at: usize,
    channels: Channels,
}

impl Sound {
    fn new(channels: Channels) -> Self {
        Self {
            tone: Tone::new(313.0, 0.3),
            noise: Noise::new(3, 0.05),
            at: 0,
            channels,
        }
    }

    fn next(&mut self) -> Vec<f32> {
        let mut pcm = vec![0.0; FRAME_SAMPLES * self.channels.count()];
        match self.at / 40 % 3 {
            0 => self.tone.fill(&mut pcm),
            1 => self.noise.fill(&mut pcm),
            _ => {}
        }
        self.at += 1;
        pcm
    }
}

#[test]
fn stereo_keeps_its_sides_and_a_mono_decoder_hears_both() {
    let mut encoder = Encoder::new(&EncoderConfig {
        bitrate: 64_000,
        ..config(Application::Audio, Channels::Stereo)
    })
    .unwrap();
    let mut stereo = Decoder::with_channels(Channels::Stereo).unwrap();
    let mut mono = Decoder::new().unwrap();
    let (mut left, mut right) = (Tone::new(440.0, 0.2), Tone::new(1000.0, 0.2));
    let (mut packet, mut both, mut one) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..50 {
        let mut pcm = [0.0; 2 * FRAME_SAMPLES];
        mix::add_panned(&mut pcm, &left.frame(), mix::StereoGain::panned(1.0, -1.0));
        mix::add_panned(&mut pcm, &right.frame(), mix::StereoGain::panned(1.0, 1.0));
        encoder.encode(&pcm, &mut packet).unwrap();
        assert_eq!(stereo.decode(&packet, &mut both).unwrap(), 960);
        assert_eq!(mono.decode(&packet, &mut one).unwrap(), 960);
    }
    let side = |n: usize| both.iter().skip(n).step_by(2).skip(9600).copied().collect::<Vec<f32>>();
    let (l, r) = (side(0), side(1));
    assert!((tone_dbfs(&l, 440.0) - to_db(0.2)).abs() < 1.0 && tone_dbfs(&l, 1000.0) < to_db(0.2) - 20.0);
    assert!((tone_dbfs(&r, 1000.0) - to_db(0.2)).abs() < 1.0 && tone_dbfs(&r, 440.0) < to_db(0.2) - 20.0);
    assert!((tone_dbfs(&one[9600..], 440.0) - to_db(0.1)).abs() < 1.0);
    assert!((tone_dbfs(&one[9600..], 1000.0) - to_db(0.1)).abs() < 1.0);
}

#[test]
fn the_delay_of_the_codec_equals_the_lookahead_of_the_encoder() {
    let mut encoder = Encoder::new(&EncoderConfig::default()).unwrap();
    let mut decoder = Decoder::new().unwrap();
    let sweep = chirp(400.0, 3000.0, 4800, 0.3);
    let mut sound = vec![0.0; 19_200];
    sound[9600..14_400].copy_from_slice(&sweep);
    let (mut packet, mut heard) = (Vec::new(), Vec::new());
    for frame in sound.chunks(960) {
        encoder.encode(frame, &mut packet).unwrap();
        decoder.decode(&packet, &mut heard).unwrap();
    }
    let (at, correlation) = find_delay(&sweep, &heard).unwrap();
    assert!(correlation > 0.8);
    let delay = at as i64 - 9600;
    assert!(
        (delay - encoder.lookahead().unwrap() as i64).abs() <= 3,
        "{delay} {}",
        encoder.lookahead().unwrap()
    );
    assert!(delay < 480);
}

#[test]
fn settings_out_of_range_are_refused_and_named() {
    let refused = |settings: EncoderConfig| Encoder::new(&settings).unwrap_err().to_string();
    assert!(
        refused(EncoderConfig {
            bitrate: 1,
            ..Default::default()
        })
        .contains("bitrate")
    );
    assert!(
        refused(EncoderConfig {
            complexity: 11,
            ..Default::default()
        })
        .contains("complexity")
    );
    assert!(
        refused(EncoderConfig {
            expected_loss_percent: 101,
            ..Default::default()
        })
        .contains("loss")
    );
    let mut encoder = Encoder::new(&EncoderConfig::default()).unwrap();
    let mut out = vec![9];
    for length in [0, 1, 959, 961, 1921, 5760] {
        assert!(encoder.encode(&vec![0.0; length], &mut out).is_err(), "{length}");
        assert!(out.is_empty());
    }
    let mut stereo = Encoder::new(&config(Application::Voip, Channels::Stereo)).unwrap();
    assert!(stereo.encode(&[0.0; 961], &mut out).is_err());
    assert!(stereo.encode(&[0.0; 1920], &mut out).is_ok());
    encoder.set_bitrate(64_000).unwrap();
    encoder.set_complexity(3).unwrap();
    encoder.set_expected_loss(7).unwrap();
    encoder.set_fec(true).unwrap();
    let now = EncoderConfig {
        bitrate: 64_000,
        complexity: 3,
        expected_loss_percent: 7,
        fec: true,
        ..Default::default()
    };
    assert_eq!(*encoder.config(), now);
    encoder.reset().unwrap();
    assert_eq!(*encoder.config(), now);
}

#[test]
fn complexity_and_bitrate_change_without_a_click() {
    let mut encoder = Encoder::new(&EncoderConfig::default()).unwrap();
    let mut decoder = Decoder::new().unwrap();
    let mut tone = Tone::new(500.0, 0.25);
    let (mut packet, mut pcm) = (Vec::new(), Vec::new());
    for i in 0..200u32 {
        encoder.set_complexity((i / 10 % 11) as u8).unwrap();
        encoder
            .set_bitrate(if i / 25 % 2 == 0 { 32_000 } else { 20_000 })
            .unwrap();
        encoder.encode(&tone.frame(), &mut packet).unwrap();
        decoder.decode(&packet, &mut pcm).unwrap();
    }
    let steepest = 0.25 * std::f32::consts::TAU * 500.0 / 48_000.0;
    assert!(max_step(&pcm) < steepest * 1.6, "{}", max_step(&pcm));
}

#[test]
fn overload_and_garbage_into_the_encoder_do_no_harm() {
    let mut encoder = Encoder::new(&EncoderConfig::default()).unwrap();
    let mut decoder = Decoder::new().unwrap();
    let (mut packet, mut pcm) = (Vec::new(), Vec::new());
    for value in [1e9, -1e9, f32::MIN_POSITIVE, 7.0] {
        encoder.encode(&[value; 960], &mut packet).unwrap();
        decoder.decode(&packet, &mut pcm).unwrap();
    }
    assert!(pcm.iter().all(|s| s.abs() <= 2.0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes_decode_to_bounded_numbers_or_an_error(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 1..8), toc in any::<u8>(),
    ) {
        let mut decoder = Decoder::new().unwrap();
        for (i, mut bytes) in packets.into_iter().enumerate() {
            if i % 2 == 0 && let Some(first) = bytes.first_mut() {
                // Half of them with one frame, so that decoding reaches the content.
                *first = toc & 0xfc;
            }
            let mut pcm = vec![0.5];
            let decoded = decoder.decode(&bytes, &mut pcm);
            match decoded {
                Ok(samples) => prop_assert_eq!(pcm.len(), 1 + samples),
                Err(_) => prop_assert_eq!(&pcm, &vec![0.5]),
            }
            let _ = decoder.decode_fec(&bytes, 960, &mut pcm);
            prop_assert!(decoder.conceal(480, &mut pcm).is_ok());
            prop_assert!(pcm.iter().all(|s| s.abs() <= 2.0));
        }
    }
}
