//! A listener gets a talker's packets forwarded, and from some moment on a mix of that talker: one
//! decoder, and the transition is inaudible.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use roomtone_audio::{analysis::*, *};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// A mix that continues from forwarded packets, and its listener.
struct Passage {
    playout: Playout,
    spare: Decoder,
    encoder: Encoder,
    /// The listener's decoder.
    ear: Decoder,
    heard: Vec<f32>,
    /// The beginning of the mix, in samples of the listener's sound.
    seam: usize,
    /// The added delay of the sound from there on.
    inserted: usize,
}

/// Packets `0..passed` of a stream that arrives at `phase` of the tick are forwarded to the
/// listener; the tick after that begins to mix for them. `busy`: the talker is decoded all the
/// time, for others.
fn passage(payloads: &[Vec<u8>], passed: usize, phase: u32, busy: bool, mix: &EncoderConfig) -> Passage {
    let mut playout = Playout::new(PlayoutConfig::default()).unwrap();
    let (mut spare, mut ear) = (Decoder::new().unwrap(), Decoder::new().unwrap());
    let mut encoder = Encoder::new(mix).unwrap();
    let lookahead = encoder.lookahead().unwrap();
    assert_eq!(lookahead, LOOKAHEAD_SAMPLES);
    let (mut heard, mut packet, mut frame) = (Vec::new(), Vec::new(), [0.0; FRAME_SAMPLES]);
    let (mut seam_at, mut inserted, mut mixing) = (0, 0, false);
    let origin = origin();
    let packets = stream(payloads, passed + 50, 960, 0.0, 7, 7_000);
    let mut coming = packets.iter().peekable();
    for tick in 0..passed as u32 + 50 {
        let now = FRAME_DURATION * tick + MS * phase;
        let mut last = 0;
        while let Some(sent) = coming.next_if(|sent| sent.at <= now) {
            playout.insert(origin + sent.at, meta(sent), &sent.payload);
            last = usize::from(sent.seq.wrapping_sub(7)) + 1;
            if !mixing {
                ear.decode(&sent.payload, &mut heard).unwrap();
            }
        }
        if !mixing && last < passed {
            if busy {
                playout.pop(origin + now, &mut frame);
            } else {
                playout.skip(origin + now);
            }
            continue;
        }
        let begins = !std::mem::replace(&mut mixing, true);
        let mut past = Past::default();
        let mut bridge = None;
        if begins {
            seam_at = heard.len();
            assert!(playout.recall(&mut spare, &mut past));
            let seam = past.seam(0, lookahead);
            inserted = seam.back(&past) + lookahead;
            if !busy {
                playout.resume(&mut spare, &past, seam.back(&past));
            }
            for frame in seam.lead_in(&past) {
                encoder.encode(&frame, &mut packet).unwrap();
            }
            encoder.set_prediction(false).unwrap();
            bridge = Some(seam);
        }
        assert!(playout.pop(origin + now, &mut frame).is_sound());
        if let Some(seam) = bridge {
            let before = frame;
            seam.bridge(&past, &mut frame);
            let same = before.iter().zip(&frame).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(busy || same, "what is taken up there goes on there");
        }
        encoder.encode(&frame, &mut packet).unwrap();
        if begins {
            encoder.set_prediction(true).unwrap();
        }
        ear.decode(&packet, &mut heard).unwrap();
    }
    assert_eq!(playout.stats().concealed, 0);
    Passage {
        playout,
        spare,
        encoder,
        ear,
        heard,
        seam: seam_at,
        inserted,
    }
}

fn talker(bitrate: u32, application: Application) -> EncoderConfig {
    EncoderConfig {
        bitrate,
        application,
        ..EncoderConfig::default()
    }
}

fn mixes() -> [EncoderConfig; 3] {
    let few = EncoderConfig {
        bitrate: 96_000,
        complexity: 0,
        signal: Signal::Music,
        ..EncoderConfig::default()
    };
    [few, EncoderConfig::default(), talker(64_000, Application::Audio)]
}

#[test]
fn a_tone_continues_at_its_level_and_without_a_click() {
    for hz in [150.0, 440.0, 700.0] {
        for from in [talker(32_000, Application::Voip), talker(64_000, Application::Audio)] {
            let payloads = encoded_tone(hz, 0.1, 200, 50, &from);
            for mix in mixes() {
                for (passed, phase) in [(30, 0), (31, 3), (30, 8), (33, 15)] {
                    for busy in [false, true] {
                        let Passage {
                            heard, seam, inserted, ..
                        } = passage(&payloads, passed, phase, busy, &mix);
                        let what = format!(
                            "{hz} Hz, {} → {} bit/s, phase {phase}, busy {busy}",
                            from.bitrate, mix.bitrate
                        );
                        assert!((960..=4800).contains(&inserted), "{what}: {inserted} samples inserted");
                        let around = &heard[seam - 960..seam + 1920];
                        // A jump of only its amplitude would be fifty times as much at 150 Hz, ten
                        // times at 700.
                        let anyway = max_step(&heard[seam - 9600..seam - 960]).max(max_step(&heard[seam + 9600..]));
                        assert!(max_step(around) < 2.0 * anyway, "{what}: {}", max_step(around) / anyway);
                        if !busy {
                            // Two copies of one tone that aren't in phase partly cancel out while
                            // one fades into the other.
                            for part in heard[seam - 1920..seam + 4800].chunks_exact(960) {
                                let level = tone_dbfs(part, hz) - to_db(0.1);
                                assert!(level.abs() < 1.0, "{what}: {level:.2} dB");
                            }
                        }
                        let level = tone_dbfs(&heard[seam + 9600..seam + 33_600], hz) - to_db(0.1);
                        assert!(level.abs() < 0.5, "{what}: {level:.2} dB afterwards");
                    }
                }
            }
        }
    }
}

/// RMS of fourth differences, for each millisecond: a click is sharp.
fn sharpness(pcm: &[f32]) -> Vec<f32> {
    let sharp = |w: &[f32]| w[0] - 4.0 * w[1] + 6.0 * w[2] - 4.0 * w[3] + w[4];
    let differences: Vec<f32> = pcm.windows(5).map(sharp).collect();
    differences.chunks_exact(48).map(|ms| rms(ms) as f32).collect()
}

#[test]
fn a_voice_continues_and_is_no_sharper_than_otherwise() {
    let from = talker(40_000, Application::Voip);
    let payloads = encoded_voice(&from);
    for mix in mixes() {
        for passed in 30..42 {
            for busy in [false, true] {
                let Passage { heard, seam, .. } = passage(&payloads, passed, 6, busy, &mix);
                let around = sharpness(&heard[seam - 480..seam + 960]);
                let anyway = sharpness(&heard[seam + 9600..]);
                let worst = |sharp: &[f32]| sharp.iter().fold(0.0f32, |worst, one| worst.max(*one));
                assert!(
                    worst(&around) < 1.5 * worst(&anyway),
                    "{passed}, busy {busy}: {} against {}",
                    worst(&around),
                    worst(&anyway)
                );
            }
        }
    }
}

#[test]
fn the_sound_before_the_first_packet_is_silence() {
    let payloads = encoded_tone(440.0, 0.1, 200, 50, &EncoderConfig::default());
    for passed in [1, 2] {
        let Passage { heard, seam, .. } = passage(&payloads, passed, 8, false, &mixes()[0]);
        assert_eq!(seam, 960 * passed);
        let level = tone_dbfs(&heard[seam + 4800..seam + 24_000], 440.0) - to_db(0.1);
        assert!(level.abs() < 0.5, "{level:.2} dB");
    }
}

#[test]
fn nothing_is_recalled_of_a_talker_without_packets() {
    let playout = Playout::new(PlayoutConfig::default()).unwrap();
    let mut past = Past::default();
    assert!(!playout.recall(&mut Decoder::new().unwrap(), &mut past));
    assert!(playout.is_skipped() && playout.waiting() == 0);
}

#[test]
fn gaps_and_packets_of_any_length_are_recalled_within_bounds() {
    for (millis_10, samples) in [(25, 120u32), (100, 480), (600, 2880)] {
        let config = talker(64_000, Application::Audio);
        let payloads = encoded_tone(500.0, 0.25, millis_10, 50, &config);
        for lost in 0..4 {
            let mut playout = Playout::new(PlayoutConfig::default()).unwrap();
            let mut packets = stream(&payloads, 24_000 / samples as usize, samples, 0.0, 1, u32::MAX - 9_000);
            let end = packets.last().unwrap().timestamp.wrapping_add(samples);
            packets.retain(|packet| packet.seq % 8 >= lost);
            let end = if lost == 0 {
                end
            } else {
                packets.last().unwrap().timestamp.wrapping_add(samples)
            };
            listen(&mut playout, packets, MS * 5, 26);
            let mut past = Past::default();
            assert!(playout.recall(&mut Decoder::new().unwrap(), &mut past));
            assert_eq!(past.end(), end, "{samples} samples, {lost} of 8 lost");
            assert!((6720..30_000).contains(&past.sound().len()), "{}", past.sound().len());
            let seam = past.seam(0, 312);
            assert!((960..=4560).contains(&seam.back(&past)), "{}", seam.back(&past));
            seam.lead_in(&past);
            seam.bridge(&past, &mut [0.0; FRAME_SAMPLES]);
        }
    }
}

#[test]
fn a_resumed_talker_plays_on_and_gives_the_delay_back() {
    let payloads = encoded_tone(300.0, 0.1, 200, 50, &EncoderConfig::default());
    let mut passage = passage(&payloads, 30, 6, false, &mixes()[0]);
    let stats = passage.playout.stats();
    assert!(stats.lost == 0 && stats.late == 0, "{stats:?}");
    assert!(stats.current_delay < Duration::from_millis(60), "{stats:?}");
    // All parts are still complete.
    let mut packet = Vec::new();
    passage.encoder.encode(&[0.0; FRAME_SAMPLES], &mut packet).unwrap();
    passage.ear.decode(&packet, &mut passage.heard).unwrap();
    passage.spare.conceal(960, &mut passage.heard).unwrap();
}

/// The level of each frame's tone in dB, from a decoder that has heard `before`; the packets come
/// with or without an introduction.
fn joined(before: &[Vec<u8>], packets: &[Vec<u8>], at: usize, introduced: bool, hz: f64) -> Vec<f64> {
    let mut ear = Decoder::new().unwrap();
    let mut heard = Vec::new();
    for packet in before {
        ear.decode(packet, &mut heard).unwrap();
    }
    if introduced {
        let mut playout = Playout::new(PlayoutConfig::default()).unwrap();
        let origin = origin();
        for (i, sent) in stream(packets, at + 1, 960, 0.0, 1, 1).iter().enumerate() {
            playout.insert(origin + sent.at, meta(sent), &sent.payload);
            if i < at {
                playout.skip(origin + sent.at);
            }
        }
        let mut past = Past::default();
        assert!(playout.recall(&mut Decoder::new().unwrap(), &mut past));
        let mut encoder = Encoder::new(&EncoderConfig {
            bitrate: 64_000,
            complexity: 0,
            ..EncoderConfig::default()
        })
        .unwrap();
        encoder.imitate(&packets[at]).unwrap();
        let [first, second, last] = past.introduction(960).unwrap();
        let mut packet = Vec::new();
        encoder.encode(&first, &mut packet).unwrap();
        encoder.encode(&second, &mut packet).unwrap();
        encoder.set_prediction(false).unwrap();
        encoder.encode(&last, &mut packet).unwrap();
        assert_eq!(packet[0] >> 3, packets[at][0] >> 3, "coded alike");
        ear.decode(&packet, &mut heard).unwrap();
    }
    let start = heard.len();
    for packet in &packets[at..] {
        ear.decode(packet, &mut heard).unwrap();
    }
    heard[start..]
        .chunks_exact(960)
        .map(|frame| tone_dbfs(frame, hz) - to_db(0.1))
        .collect()
}

/// Noise, and a tone that begins within it.
fn noise_and_tone(config: &EncoderConfig, noise: f32, hz: f64, imitate: Option<u8>) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(config).unwrap();
    if let Some(config) = imitate {
        encoder.imitate(&[config << 3]).unwrap();
    }
    let (mut noise, mut tone) = (Noise::new(3, noise), Tone::new(hz, 0.1));
    (0..40)
        .map(|i| {
            let mut frame = [0.0; FRAME_SAMPLES];
            noise.fill(&mut frame);
            if i >= 20 {
                mix::add(&mut frame, &tone.frame());
            }
            let mut packet = Vec::new();
            encoder.encode(&frame, &mut packet).unwrap();
            packet
        })
        .collect()
}

#[test]
fn an_introduced_talker_is_as_loud_from_the_first_packet_on_as_to_their_own_listener() {
    let hz = 550.0;
    for config in [9, 11, 13, 15, 19, 23, 27, 31] {
        let from = talker(48_000, Application::Voip);
        let packets = noise_and_tone(&from, 4e-4, hz, Some(config));
        let own = joined(&[], &packets, 0, false, hz);
        let mut worst_without = 0.0f64;
        for before in [
            vec![],
            noise_and_tone(&from, 4e-4, 800.0, Some(31)),
            noise_and_tone(&from, 4e-4, 800.0, Some(15)),
            encoded_voice(&talker(32_000, Application::Voip)),
        ] {
            for at in [19, 20, 21, 25] {
                let with = joined(&before, &packets, at, true, hz);
                let without = joined(&before, &packets, at, false, hz);
                for (i, level) in with.iter().enumerate() {
                    let wrong = level - own[at + i];
                    // A frame of noise contains hardly any of the tone.
                    assert!(
                        own[at + i] < -20.0 || wrong.abs() < 3.5,
                        "configuration {config}, packet {at}, frame {i}: {wrong:.1} dB"
                    );
                    if own[at + i] > -20.0 {
                        worst_without = worst_without.max((without[i] - own[at + i]).abs());
                    }
                }
            }
        }
        println!("configuration {config}: without, wrong by {worst_without:.1} dB");
    }
}
