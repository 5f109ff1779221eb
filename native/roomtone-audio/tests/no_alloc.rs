//! In the steady state a tick allocates nothing: a counting allocator checks it.

mod common;
use common::*;
use roomtone_audio::*;
use std::time::Duration;

use counting_alloc::{CountingAlloc, allocations};

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

#[test]
fn the_steady_state_allocates_nothing() {
    let payloads = encoded_voice(&EncoderConfig {
        fec: true,
        expected_loss_percent: 10,
        ..Default::default()
    });
    // A link with losses, occasional jitter and a drifting clock: all code paths, not only the
    // simple one.
    let mut packets = stream(&payloads, 3000, 960, 200.0, 65_000, u32::MAX - 500_000);
    packets
        .iter_mut()
        .enumerate()
        .filter(|(i, _)| i / 700 % 2 == 0)
        .for_each(|(i, p)| p.at += Duration::from_micros(i as u64 * 7919 % 50_000));
    packets.retain(|p| p.seq % 50 != 7);
    packets.sort_by_key(|p| p.at);
    let mut next = packets.iter().peekable();

    let mut playout = Playout::new(PlayoutConfig::default()).expect("default limits");
    let mut encoder = Encoder::new(&EncoderConfig::default()).expect("default settings");
    let mut private = encoder.clone();
    let (mut limiter, mut out) = (Limiter::new(), Vec::new());
    let (mut frame, mut sum) = ([0.0; FRAME_SAMPLES], [0.0; FRAME_SAMPLES]);
    let origin = origin();
    let mut before = 0;
    let mut warm = PlayoutStats::default();
    for tick in 0..2900u32 {
        // By then every kind of condition has occurred; buffers have reached their final size.
        if tick == 1450 {
            before = allocations();
            warm = playout.stats();
        }
        let now = FRAME_DURATION * tick;
        while let Some(packet) = next.next_if(|p| p.at <= now) {
            playout.insert(origin + packet.at, meta(packet), &packet.payload);
        }
        playout.next_level(origin + now);
        if tick % 300 < 60 {
            playout.skip(origin + now);
        } else {
            playout.pop(origin + now, &mut frame);
        }
        // One encoded frame in ten is enough to detect an allocation.
        if tick % 10 == 0 {
            sum.fill(0.0);
            mix::add_ramped(&mut sum, &frame, 0.0, 8.0);
            limiter.process(&mut sum);
            encoder.encode(&sum, &mut out).expect("20 ms");
            private.clone_from(&encoder);
        }
    }
    let stats = playout.stats();
    // One is due when the first piece is cut out of the sound to catch up.
    let due = u64::from(warm.removed_samples == 0 && stats.removed_samples > 0);
    assert_eq!(allocations() - before, due, "{stats:?}");
    assert!(
        stats.concealed > warm.concealed && stats.lost > warm.lost && stats.removed_samples > 0,
        "{stats:?}"
    );
}

#[test]
fn a_peer_that_never_speaks_costs_next_to_nothing() {
    let before = allocations();
    let mut playout = Playout::new(PlayoutConfig::default()).expect("default limits");
    let mut frame = [0.0; FRAME_SAMPLES];
    for tick in 0..10 {
        assert_eq!(
            playout.pop(origin() + FRAME_DURATION * tick, &mut frame),
            FrameKind::Silence
        );
    }
    assert_eq!(allocations() - before, 0);
    assert!(size_of::<Playout>() < 1024, "{}", size_of::<Playout>());
}

#[test]
fn the_memory_of_waiting_packets_is_bounded() {
    let mut playout = Playout::new(PlayoutConfig::default()).expect("default limits");
    let payload = vec![0x08; 1200];
    let mut overflows = 0;
    for i in 0..20_000u32 {
        let packet = RtpMeta {
            seq: i as u16,
            timestamp: i * 960,
            marker: false,
            level: None,
        };
        overflows += u32::from(playout.insert(origin(), packet, &payload) == InsertOutcome::Overflow);
    }
    assert!(overflows > 19_000);
    // Full: from here on nothing grows.
    let before = allocations();
    for i in 20_000..40_000u32 {
        let packet = RtpMeta {
            seq: i as u16,
            timestamp: i * 960,
            marker: false,
            level: None,
        };
        playout.insert(origin(), packet, &payload);
    }
    assert_eq!(allocations() - before, 0);
}
