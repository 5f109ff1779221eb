//! Properties of the jitter buffer with packets of every kind.

mod common;
use common::*;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use roomtone_audio::*;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn playout() -> Playout {
    Playout::new(PlayoutConfig::default()).expect("default limits")
}

/// The possible changes to a packet.
#[derive(Debug, Clone)]
enum Fate {
    Fine(u16),
    Lost,
    Twice(u16, u16),
    Junk(Vec<u8>),
    Jump(u16, u32),
    Forged { seq: u16, timestamp: u32, payload: Vec<u8> },
}

fn fate() -> impl Strategy<Value = Fate> {
    let junk = || proptest::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        20 => (0u16..60).prop_map(Fate::Fine),
        4 => Just(Fate::Lost),
        2 => (0u16..100, 0u16..300).prop_map(|(a, b)| Fate::Twice(a, b)),
        1 => (1000u16..4000).prop_map(Fate::Fine),
        1 => junk().prop_map(Fate::Junk),
        1 => (any::<u16>(), any::<u32>()).prop_map(|(s, t)| Fate::Jump(s, t)),
        1 => (any::<u16>(), any::<u32>(), junk()).prop_map(|(seq, timestamp, payload)| Fate::Forged { seq, timestamp, payload }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    /// For any input: no panic, bounded sound, and once the link is clean again, clean sound with a
    /// small delay.
    #[test]
    fn survives_everything_and_recovers(
        fates in proptest::collection::vec(fate(), 1..200),
        seq in any::<u16>(), timestamp in any::<u32>(), phase in 0u32..20,
        kind in prop::sample::select(vec![(100usize, 480u32), (200, 960), (600, 2880)]),
        skips in any::<u64>(),
    ) {
        let (millis_10, samples) = kind;
        let payloads = encoded_tone(500.0, 0.25, millis_10, 20, &EncoderConfig { complexity: 1, ..Default::default() });
        let total = fates.len() + 8 * 48_000 / samples as usize;
        let mut packets = stream(&payloads, total, samples, 0.0, seq, timestamp);
        let mut extra = Vec::new();
        let (mut seq_jump, mut ts_jump) = (0u16, 0u32);
        let mut lost = std::collections::HashSet::new();
        for (i, packet) in packets.iter_mut().enumerate() {
            packet.seq = packet.seq.wrapping_add(seq_jump);
            packet.timestamp = packet.timestamp.wrapping_add(ts_jump);
            match fates.get(i) {
                None => {}
                Some(Fate::Fine(late)) => packet.at += MS * u32::from(*late),
                Some(Fate::Lost) => { lost.insert(i); }
                Some(Fate::Twice(a, b)) => {
                    let mut twin = packet.clone();
                    packet.at += MS * u32::from(*a);
                    twin.at += MS * u32::from(*b);
                    extra.push(twin);
                }
                Some(Fate::Junk(bytes)) => packet.payload = bytes.clone(),
                Some(Fate::Jump(s, t)) => { seq_jump = seq_jump.wrapping_add(*s); ts_jump = ts_jump.wrapping_add(*t); }
                Some(Fate::Forged { seq, timestamp, payload }) => extra.push(Sent {
                    at: packet.at, seq: *seq, timestamp: *timestamp, marker: false, level: None, payload: payload.clone(),
                }),
            }
        }
        let mut at = 0;
        packets.retain(|_| { at += 1; !lost.contains(&(at - 1)) });
        let end = packets.last().unwrap().at;
        packets.extend(extra);
        packets.sort_by_key(|p| p.at);
        let ticks = (end.as_millis() / 20) as u32 - 4;
        let mut playout = playout();
        let origin = origin();
        let mut next = packets.iter().peekable();
        let mut frame = [0.0; 960];
        let mut last = Vec::new();
        for tick in 0..ticks {
            let now = MS * phase + FRAME_DURATION * tick;
            while let Some(packet) = next.next_if(|p| p.at <= now) {
                playout.insert(origin + packet.at, meta(packet), &packet.payload);
            }
            let expected = playout.has_audio(origin + now);
            playout.next_level(origin + now);
            let clean = tick + 60 >= ticks;
            let kind = if !clean && skips >> (tick % 64) & 1 == 1 { playout.skip(origin + now) } else { playout.pop(origin + now, &mut frame) };
            prop_assert_eq!(expected, kind.is_sound());
            prop_assert!(frame.iter().all(|s| s.abs() <= 2.1));
            if clean {
                last.push(kind);
            }
        }
        prop_assert!(last.iter().all(|k| *k == FrameKind::Decoded), "{:?} {:?}", last, playout.stats());
        let wait = millis(playout.stats().current_delay);
        prop_assert!(wait < 75.0, "{} ms: {:?}", wait, playout.stats());
    }

    /// With loss, reordering and duplicates within the range of the target: each packet is played
    /// once or counts as lost.
    #[test]
    fn books_balance(
        seed in any::<u64>(), seq in any::<u16>(), timestamp in any::<u32>(), loss in 0.0f64..0.3, jitter in 0u64..60_000,
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let payload = encoded_tone(500.0, 0.25, 200, 1, &EncoderConfig::default());
        let mut packets = stream(&payload, 400, 960, 0.0, seq, timestamp);
        for packet in &mut packets {
            packet.at += Duration::from_micros(rng.random_range(0..=jitter));
        }
        let first_and_last = [packets[0].seq, packets[399].seq];
        packets.retain(|p| first_and_last.contains(&p.seq) || !rng.random_bool(loss));
        let sent = packets.len() as u64;
        let twins: Vec<Sent> = packets.iter().filter(|_| rng.random_bool(0.1)).cloned().collect();
        let twice = twins.len() as u64;
        packets.extend(twins);
        let mut playout = playout();
        listen(&mut playout, packets, MS, 440);
        let stats = playout.stats();
        prop_assert_eq!(stats.received, sent + twice);
        prop_assert_eq!(stats.duplicate, twice);
        prop_assert_eq!(stats.played + stats.late + stats.shed, sent, "{:?}", stats);
        prop_assert_eq!((stats.invalid, stats.resets, stats.overflow), (0, 0, 0));
        // Missing at its turn: lost in transit, or late.
        prop_assert!(stats.lost >= 400 - sent && stats.lost <= 400 - sent + stats.late, "{:?}", stats);
    }
}
