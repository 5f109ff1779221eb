//! Opus packets into the decoder and the jitter buffer.

use std::time::{Duration, Instant};

use roomtone_audio::{
    AudioLevel, Channels, Decoder, FRAME_SAMPLES, MAX_PACKET_BYTES, Packed, Playout, PlayoutConfig, RtpMeta, packet,
};
use roomtone_testkit::fixtures::{OpusTalker, Tone};

use super::Target;
use crate::pieces::{Pieces, join};
use crate::session::START;

/// The longest packet is of 120 ms (RFC 6716 section 2.1.4), at 48 kHz.
const LONGEST: u32 = 5_760;

pub(super) const OPUS_PACKET: Target = Target {
    name: "opus-packet",
    run: |data| {
        if let Ok(info) = packet::parse(data) {
            assert!((1..=LONGEST).contains(&info.samples), "{info:?}");
        }
    },
    seeds: packets,
};

/// Packets of an encoder.
fn packets() -> Vec<Vec<u8>> {
    [8_000, 32_000, 96_000]
        .into_iter()
        .flat_map(|bitrate| {
            let mut talker = OpusTalker::new(Tone::new(440.0, 0.3), bitrate).expect("an encoder can be made");
            (0..3).map(move |_| talker.next().expect("a tone has no end").payload.to_vec())
        })
        .collect()
}

pub(super) const OPUS_PACKING: Target = Target {
    name: "opus-packing",
    // Each piece is a packet, which joins those before it or begins anew.
    run: |data| {
        let mut packed = Packed::new(MAX_PACKET_BYTES);
        let mut out = Vec::new();
        for piece in Pieces(data).take(64) {
            let before = packed.samples();
            if packed.push(piece.data) {
                let own = packet::parse(piece.data).map(|info| info.samples);
                assert_eq!(Ok(packed.samples() - before), own);
            } else {
                assert_eq!(packed.samples(), before);
            }
            out.clear();
            packed.write(&mut out);
            assert!(out.len() <= MAX_PACKET_BYTES);
            if packed.is_empty() {
                assert!(out.is_empty());
            } else {
                assert_eq!(packet::parse(&out).map(|info| info.samples), Ok(packed.samples()));
            }
            if piece.kind >> 7 == 1 {
                packed.clear();
            }
        }
    },
    seeds: || {
        let packets = packets();
        let codes: [&[u8]; 5] = [
            &[0x78, 1, 2],
            &[0x79, 3, 4],
            &[0x7a, 1, 5, 6, 7],
            &[0x7b, 0x41, 2, 8, 0, 0],
            &[0x7b, 0x82, 0, 9],
        ];
        vec![
            join(packets.iter().map(|packet| (0, &packet[..]))),
            join(codes.map(|packet| (0, packet))),
            join(codes.map(|packet| (0x80, packet))),
        ]
    },
};

pub(super) const OPUS_DECODER: Target = Target {
    name: "opus-decoder",
    run: |data| {
        let channels = if data.len() % 2 == 0 {
            Channels::Mono
        } else {
            Channels::Stereo
        };
        let mut decoder = Decoder::with_channels(channels).expect("a decoder can be made");
        let mut out = Vec::new();
        for piece in Pieces(data).take(16) {
            let samples = FRAME_SAMPLES * usize::from(piece.kind % 4);
            let done = match piece.kind >> 6 {
                0 | 1 => decoder.decode(piece.data, &mut out),
                2 => decoder.decode_fec(piece.data, samples, &mut out),
                _ => decoder.conceal(samples, &mut out),
            };
            if let Ok(samples) = done {
                assert!(samples <= LONGEST as usize);
            }
            assert!(out.iter().all(|sample| sample.is_finite()));
            out.clear();
        }
    },
    seeds: || {
        let packets = packets();
        vec![
            join(packets.iter().map(|packet| (0, &packet[..]))),
            join(packets.iter().flat_map(|packet| [(0x81, &packet[..]), (0xc1, &[][..])])),
        ]
    },
};

pub(super) const PLAYOUT: Target = Target {
    name: "playout",
    // Each piece is a packet, with changes of its sequence number, timestamp and arrival, and so many frames played after it.
    run: |data| {
        let mut playout = Playout::new(PlayoutConfig::default()).expect("the default is valid");
        let mut frame = [0.0; FRAME_SAMPLES];
        let mut now: Instant = *START;
        let (mut seq, mut timestamp) = (0u16, 0u32);
        for piece in Pieces(data).take(64) {
            let Some((&[step, units, late, level], payload)) = piece.data.split_first_chunk() else {
                continue;
            };
            seq = seq.wrapping_add_signed(i16::from(step.cast_signed()));
            timestamp = timestamp.wrapping_add_signed(i32::from(units.cast_signed()) * 480);
            now += Duration::from_millis(u64::from(late));
            let meta = RtpMeta {
                seq,
                timestamp,
                marker: piece.kind & 0x80 != 0,
                level: (level < 128).then_some(AudioLevel {
                    dbov_minus: level,
                    voice: piece.kind & 0x40 != 0,
                }),
            };
            playout.insert(now, meta, &payload[..payload.len().min(MAX_PACKET_BYTES)]);
            for _ in 0..piece.kind & 7 {
                now += Duration::from_millis(20);
                let _ = (playout.next_level(now), playout.has_audio(now), playout.is_idle());
                if piece.kind & 8 == 0 {
                    playout.pop(now, &mut frame);
                } else {
                    playout.skip(now);
                }
                assert!(frame.iter().all(|sample| sample.is_finite()));
            }
        }
        let _ = playout.stats();
    },
    seeds: || {
        let packets: Vec<Vec<u8>> = packets()
            .iter()
            .map(|packet| [&[1, 2, 0, 40][..], packet].concat())
            .collect();
        let jump = [&[100, 100, 0, 200][..], &packets[0][4..]].concat();
        vec![
            join(packets.iter().map(|packet| (1, &packet[..]))),
            join(packets.iter().map(|packet| (9, &packet[..]))),
            join([
                (0x81, &packets[0][..]),
                (1, &jump[..]),
                (1, &packets[1][..]),
                (4, &packets[2][..]),
            ]),
        ]
    },
};
