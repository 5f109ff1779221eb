//! The jitter buffer on a virtual clock.

#[path = "../common/mod.rs"]
mod common;
mod delay;
mod losses;
use common::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use roomtone_audio::{analysis::*, *};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

#[allow(clippy::unwrap_used)]
fn playout() -> Playout {
    Playout::new(PlayoutConfig::default()).unwrap()
}

fn tone_packets() -> Vec<Vec<u8>> {
    encoded_tone(500.0, 0.25, 200, 50, &EncoderConfig::default())
}

fn voice_packets() -> Vec<Vec<u8>> {
    encoded_voice(&EncoderConfig {
        complexity: 2,
        ..Default::default()
    })
}

/// Steps of the tone itself, with a margin for codec and cross-fades; a click is far above.
fn click_limit() -> f32 {
    0.25 * std::f32::consts::TAU * 500.0 / 48_000.0 * 1.6
}

#[test]
fn a_clean_link_adds_little_for_every_phase_of_the_tick() {
    let mut added = 0.0;
    for phase in 0..20 {
        let mut playout = playout();
        let packets = stream(&tone_packets(), 500, 960, 0.0, 65_500, u32::MAX - 100_000);
        let heard = listen(&mut playout, packets, MS * phase, 500);
        assert_eq!(heard.count(FrameKind::Concealed), 0, "phase {phase}");
        assert!(heard.count(FrameKind::Decoded) >= 496, "phase {phase}");
        let stats = playout.stats();
        assert_eq!(
            (stats.lost, stats.late, stats.duplicate, stats.invalid, stats.shed),
            (0, 0, 0, 0, 0)
        );
        // The wait for the tick after the arrival depends on the phase; the rest is ours.
        let tick_wait = f64::from(phase % 20);
        added += millis(stats.current_delay) - tick_wait;
        assert!((tone_dbfs(&heard.pcm[96_000..], 500.0) - to_db(0.25)).abs() < 1.0);
        assert!(
            max_step(&heard.pcm) < click_limit(),
            "phase {phase}: {}",
            max_step(&heard.pcm)
        );
    }
    assert!((0.0..=10.0).contains(&(added / 20.0)), "{} ms on average", added / 20.0);
}

/// One packet of several with one frame each (RFC 6716 section 3.2.5).
fn packed(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut packed = vec![packets[0][0] | 3, 0x80 | packets.len() as u8];
    for packet in &packets[..packets.len() - 1] {
        let len = packet.len() - 1;
        match len {
            ..252 => packed.push(len as u8),
            _ => packed.extend([(252 + len % 4) as u8, ((len - 252 - len % 4) / 4) as u8]),
        }
    }
    for packet in packets {
        assert_eq!(packet[0], packets[0][0], "one frame of the same kind");
        packed.extend(&packet[1..]);
    }
    packed
}

#[test]
fn every_packet_length_plays_without_a_seam() {
    for (millis_10, samples) in [
        (25, 120),
        (50, 240),
        (100, 480),
        (200, 960),
        (400, 1920),
        (600, 2880),
        (1200, 5760),
    ] {
        let config = EncoderConfig {
            application: Application::Audio,
            bitrate: 96_000,
            ..Default::default()
        };
        let per_second = 480_000 / (samples * 10);
        // An encoder makes no packets beyond 60 ms; gateways pack several into one.
        let payloads = match millis_10 {
            1200 => {
                let frames = encoded_tone(500.0, 0.25, 200, 48, &config);
                frames.chunks_exact(6).map(packed).collect()
            }
            _ => encoded_tone(500.0, 0.25, millis_10, per_second as usize, &config),
        };
        for phase in [0, 7, 13] {
            let mut playout = playout();
            let packets = stream(&payloads, 4 * 48_000 / samples as usize, samples, 0.0, 7, 77);
            let heard = listen(&mut playout, packets, MS * phase, 199);
            assert_eq!(heard.count(FrameKind::Concealed), 0, "{samples} samples, phase {phase}");
            let late = heard.kinds.iter().position(|k| k.is_sound()).unwrap();
            assert!(
                late <= 6.max(samples as usize / 960 + 1),
                "{samples}: starts at tick {late}"
            );
            assert!(
                heard.kinds[late..].iter().all(|k| *k == FrameKind::Decoded),
                "{samples}"
            );
            assert!(
                max_step(&heard.pcm[9600..]) < click_limit(),
                "{samples}: {}",
                max_step(&heard.pcm[9600..])
            );
            assert!(
                (tone_dbfs(&heard.pcm[96_000..], 500.0) - to_db(0.25)).abs() < 1.0,
                "{samples}: {}",
                tone_dbfs(&heard.pcm[96_000..], 500.0)
            );
            let wait = millis(playout.stats().current_delay);
            assert!(wait < 46.0, "{samples} samples wait {wait} ms");
        }
    }
}

#[test]
fn pauses_are_silent_and_speech_resumes_whole() {
    // 1 s of speech, a packet with only a header, 1.3 s of nothing (sequence continues, time
    // jumps), and so on.
    let speech = tone_packets();
    let mut packets = Vec::new();
    let (mut seq, mut timestamp) = (40_000u16, 4_000_000_000u32);
    for burst in 0..12u32 {
        let start = Duration::from_millis(u64::from(burst) * 2320);
        for i in 0..51u32 {
            let payload = if i < 50 {
                speech[i as usize].clone()
            } else {
                vec![speech[0][0] & 0xfc]
            };
            let at = start + FRAME_DURATION * (i + 1);
            packets.push(Sent {
                at,
                seq,
                timestamp,
                marker: i == 0,
                level: None,
                payload,
            });
            seq = seq.wrapping_add(1);
            timestamp = timestamp.wrapping_add(960);
        }
        timestamp = timestamp.wrapping_add(48_000 * 13 / 10);
    }
    let mut playout = playout();
    let heard = listen(&mut playout, packets, MS * 15, 12 * 116);
    let stats = playout.stats();
    assert_eq!((stats.lost, stats.shed, stats.resets), (0, 0, 0), "{stats:?}");
    // One frame for each pause to fade out, and otherwise nothing synthesised.
    assert!(
        heard.count(FrameKind::Concealed) <= 12,
        "{}",
        heard.count(FrameKind::Concealed)
    );
    assert!(heard.count(FrameKind::Silence) >= 12 * 62);
    assert_eq!(heard.count(FrameKind::Decoded), 12 * 51);
    assert!(max_step(&heard.pcm) < click_limit(), "{}", max_step(&heard.pcm));
}

#[test]
fn an_unannounced_mute_fades_within_a_tenth_of_a_second() {
    let mut playout = playout();
    let heard = listen(&mut playout, stream(&tone_packets(), 100, 960, 0.0, 1, 1), MS * 5, 120);
    let last = heard.kinds.iter().rposition(|k| *k == FrameKind::Decoded).unwrap();
    let silent = heard.kinds[last..]
        .iter()
        .position(|k| *k == FrameKind::Silence)
        .unwrap();
    assert!(silent <= 6, "{silent}");
    assert!(playout.is_idle());
    assert!(max_step(&heard.pcm) < click_limit());
}

#[test]
fn skipping_keeps_in_step_and_resumes_without_a_click() {
    let packets = stream(&tone_packets(), 400, 960, 0.0, 1, 1);
    let mut playout = playout();
    let origin = origin();
    let mut frame = [0.0; 960];
    let mut heard = Vec::new();
    let mut next = packets.iter().peekable();
    for tick in 0..395u32 {
        let now = MS * 8 + FRAME_DURATION * tick;
        while let Some(packet) = next.next_if(|p| p.at <= now) {
            playout.insert(origin + packet.at, meta(packet), &packet.payload);
        }
        if tick / 25 % 2 == 1 {
            assert_eq!(
                playout.next_level(origin + now),
                Some(AudioLevel {
                    dbov_minus: 23,
                    voice: true
                })
            );
            assert_eq!(playout.skip(origin + now), FrameKind::Decoded, "tick {tick}");
            heard.extend_from_slice(&[0.0; 960]);
        } else {
            let kind = playout.pop(origin + now, &mut frame);
            assert!(kind == FrameKind::Decoded || tick < 3);
            if (tick + 1) / 25 % 2 == 1 {
                mix::ramp(&mut frame, 1.0, 0.0);
            }
            heard.extend_from_slice(&frame);
        }
    }
    let stats = playout.stats();
    assert_eq!((stats.lost, stats.concealed, stats.shed), (0, 0, 0), "{stats:?}");
    assert!(millis(stats.current_delay) < 30.0);
    assert!(max_step(&heard) < click_limit(), "{}", max_step(&heard));
    for piece in [51, 101, 151, 201] {
        let back = &heard[piece * 960..][..9600];
        assert!(
            (tone_dbfs(back, 500.0) - to_db(0.25)).abs() < 1.0,
            "{piece}: {}",
            tone_dbfs(back, 500.0)
        );
    }
}

#[test]
fn levels_are_known_without_decoding() {
    let mut playout = playout();
    let origin = origin();
    assert_eq!(playout.next_level(origin), Some(AudioLevel::SILENCE));
    assert!(!playout.has_audio(origin) && playout.is_idle());
    let payload = &tone_packets()[0];
    let level = Some(AudioLevel {
        dbov_minus: 40,
        voice: true,
    });
    playout.insert(
        origin,
        RtpMeta {
            seq: 1,
            timestamp: 0,
            marker: true,
            level,
        },
        payload,
    );
    assert!(!playout.has_audio(origin), "not before it has waited for the delay");
    assert!(playout.has_audio(origin + MS * 10));
    assert_eq!(playout.next_level(origin + MS * 10), level);
    assert_eq!(playout.skip(origin + MS * 10), FrameKind::Decoded);
    playout.insert(
        origin + MS * 20,
        RtpMeta {
            seq: 2,
            timestamp: 960,
            marker: false,
            level: None,
        },
        payload,
    );
    assert_eq!(playout.next_level(origin + MS * 30), None, "this one has no level");
}
