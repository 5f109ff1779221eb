//! Taps: what a program gets of a room is what a listener would hear, or each talker's packets, and nobody else notices.

use std::time::{Duration, Instant};

use crate::common::{ROOM, TONE_DBFS, World, slots};
use roomtone_audio::analysis::tone_dbfs;
use roomtone_audio::{Channels, Decoder};
use roomtone_engine::{Action, Command, EndReason, Event, PeerId, Refusal, RoomKind, Tap, TapPacket, TapSound};
use roomtone_testkit::peer::ClientOptions;

const TAP: PeerId = 80;
const BATCH: Duration = Duration::from_millis(100);

fn mix() -> TapSound {
    row(1.0, &[])
}

fn row(default_gain: f32, gains: &[(PeerId, f32)]) -> TapSound {
    TapSound::Mix {
        default_gain,
        gains: gains.to_vec(),
        stereo: false,
    }
}

fn open(world: &mut World, peer: PeerId, sound: TapSound) -> Tap {
    let tap = Tap::new(world.now, BATCH);
    let (tap, queue) = (tap.clone(), tap);
    world.command(Command::new(ROOM, Action::JoinTap { peer, tap, sound }));
    world.run_ms(1);
    queue
}

/// A batch, copied, so that it can be given back.
struct Taken {
    number: u64,
    began: Instant,
    media_time: u32,
    speaking: Vec<PeerId>,
    packets: Vec<(TapPacket, Vec<u8>)>,
}

fn batches(tap: &Tap) -> Vec<Taken> {
    let all = std::iter::from_fn(|| {
        let batch = tap.take()?;
        let packets = batch
            .packets
            .iter()
            .map(|packet| (*packet, batch.payload(packet).to_vec()));
        let taken = Taken {
            number: batch.number,
            began: batch.began,
            media_time: batch.media_time,
            speaking: batch.speaking.clone(),
            packets: packets.collect(),
        };
        tap.give_back(batch);
        Some(taken)
    });
    all.collect()
}

/// Lets time pass, and takes what comes meanwhile.
fn listen(world: &mut World, tap: &Tap, ms: u64) -> Vec<Taken> {
    batches(tap);
    let mut all = Vec::new();
    for _ in 0..ms / 100 {
        world.run_ms(100);
        all.extend(batches(tap));
    }
    all
}

/// The sound of a mix, whose packets follow on each other. Pauses are left out.
fn decode(batches: &[Taken], talker: Option<PeerId>) -> Vec<f32> {
    let (mut decoder, mut pcm) = (Decoder::new().unwrap(), Vec::new());
    for batch in batches {
        for (_, payload) in batch.packets.iter().filter(|(packet, _)| packet.talker == talker) {
            decoder.decode(payload, &mut pcm).unwrap();
        }
    }
    pcm
}

/// How loud a participant's tone is in the last half second, against its level.
fn heard_db(world: &World, pcm: &[f32], talker: PeerId) -> f64 {
    let last = &pcm[pcm.len() - 24_000..];
    tone_dbfs(last, f64::from(world.clients[&talker].hz)) - f64::from(TONE_DBFS)
}

fn told(world: &World, wanted: impl Fn(&Event) -> bool) -> usize {
    world.events.iter().filter(|(_, event)| wanted(event)).count()
}

#[test]
fn a_tap_of_the_mix_hears_everybody_at_their_level_and_costs_no_encode() {
    let mut world = World::new();
    for id in 1..=2 {
        world.join_talking(id);
    }
    world.join(3, ClientOptions::default());
    world.connect();
    world.run_ms(1000);
    let before = world.shard.stats();
    world.run_ms(2000);
    let alone = world.shard.stats().frames_encoded - before.frames_encoded;
    let tap = open(&mut world, TAP, mix());
    world.run_ms(1000);
    let before = world.shard.stats();
    let taken = listen(&mut world, &tap, 2000);
    let with_tap = world.shard.stats().frames_encoded - before.frames_encoded;
    assert_eq!(with_tap, alone, "3 hears the same, so the mix is encoded once");
    let pcm = decode(&taken, None);
    for id in 1..=2 {
        let heard = heard_db(&world, &pcm, id);
        assert!(heard.abs() <= 0.5, "{id} at {heard:.2} dB");
    }
    // Batches follow on each other, and tell who speaks.
    assert!(taken.len() >= 19);
    for pair in taken.windows(2) {
        assert_eq!(pair[1].number, pair[0].number + 1);
        assert_eq!(pair[1].media_time, pair[0].media_time.wrapping_add(5 * 960));
        assert_eq!(pair[1].began, pair[0].began + BATCH);
        assert_eq!(pair[1].speaking, [1, 2]);
        assert_eq!(pair[1].packets.len(), 5);
    }
    world.assert_everyone_hears_the_others(&[1, 2], 0.5, 0.5);
    assert_eq!(
        told(&world, |event| matches!(event, Event::Connected { peer: TAP, .. })),
        1
    );
}

#[test]
fn where_one_talks_a_tap_is_passed_the_packets() {
    let mut world = World::with_talker_and_listener(1);
    let tap = open(&mut world, TAP, mix());
    let before = world.shard.stats();
    let taken = listen(&mut world, &tap, 2000);
    let stats = world.shard.stats();
    assert_eq!(stats.frames_encoded, before.frames_encoded);
    assert_eq!(stats.frames_decoded, before.frames_decoded);
    let heard = heard_db(&world, &decode(&taken, None), 1);
    assert!(heard.abs() <= 0.5, "at {heard:.2} dB");
    assert!(taken.iter().skip(1).all(|batch| batch.speaking == [1]));
}

#[test]
fn a_row_of_gains_is_heard_at_these_and_can_change() {
    let mut world = World::new();
    for id in 1..=3 {
        world.join_talking(id);
    }
    world.connect();
    let tap = open(&mut world, TAP, row(0.0, &[(1, 1.0), (2, 0.5), (99, 1.0)]));
    let pcm = decode(&listen(&mut world, &tap, 2000), None);
    let heard = |pcm: &[f32]| [1, 2, 3].map(|id| heard_db(&world, pcm, id));
    let [one, two, three] = heard(&pcm);
    assert!(
        one.abs() <= 0.5 && (two + 6.0).abs() <= 0.5 && three < -40.0,
        "{one} {two} {three}"
    );
    let sound = row(1.0, &[(1, 0.0)]);
    world.command(Command::new(ROOM, Action::SetTap { peer: TAP, sound }));
    let pcm = decode(&listen(&mut world, &tap, 2000), None);
    let heard = |pcm: &[f32]| [1, 2, 3].map(|id| heard_db(&world, pcm, id));
    let [one, two, three] = heard(&pcm);
    assert!(
        one < -40.0 && two.abs() <= 0.5 && three.abs() <= 0.5,
        "{one} {two} {three}"
    );
    world.assert_everyone_hears_the_others(&[1, 2, 3], 0.5, 0.5);
}

#[test]
fn a_tap_hears_a_room_whose_people_hear_nobody() {
    let mut world = World::new();
    world.join_talking(1);
    world.join(2, ClientOptions::default());
    world.connect();
    world.command(Command::new(
        ROOM,
        Action::SetPolicy {
            default_gain: 0.0,
            max_talkers: None,
            select: roomtone_engine::Select::Loudest,
        },
    ));
    let tap = open(&mut world, TAP, mix());
    let pcm = decode(&listen(&mut world, &tap, 2000), None);
    let heard = heard_db(&world, &pcm, 1);
    assert!(heard.abs() <= 0.5, "at {heard:.2} dB");
    let leak = world.clients[&2].ear.tone_dbfs(world.clients[&1].hz, 0.5) - TONE_DBFS;
    assert!(leak < -40.0, "2 hears 1 at {leak:.1} dB");
}

#[test]
fn a_tap_of_talkers_gets_each_packet_as_it_came_but_none_of_the_muted() {
    let worlds: [fn() -> World; 3] = [World::new, World::mixing, || World::forwarding(2)];
    for make in worlds {
        let mut world = make();
        for id in 1..=2 {
            world.join(id, slots(2));
            world.talk(id, TONE_DBFS);
        }
        world.connect();
        let all = open(&mut world, TAP, TapSound::Talkers { only: None });
        let one = open(&mut world, TAP + 1, TapSound::Talkers { only: Some(vec![2]) });
        let mut of_all = Vec::new();
        let mut of_one = Vec::new();
        for _ in 0..20 {
            of_all.extend(listen(&mut world, &all, 100));
            of_one.extend(batches(&one));
        }
        for (taken, id, present) in [
            (&of_all, 1, true),
            (&of_all, 2, true),
            (&of_one, 1, false),
            (&of_one, 2, true),
        ] {
            let pcm = decode(taken, Some(id));
            if present {
                let heard = heard_db(&world, &pcm, id);
                assert!(heard.abs() <= 0.5, "{id} at {heard:.2} dB");
                let packets = taken.iter().flat_map(|batch| &batch.packets).map(|(packet, _)| packet);
                let times: Vec<u32> = packets.filter(|p| p.talker == Some(id)).map(|p| p.timestamp).collect();
                assert!(
                    times.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(960)),
                    "none is missing"
                );
            } else {
                assert!(pcm.is_empty());
            }
        }
        assert!(of_one.iter().skip(1).all(|batch| batch.speaking == [2]));
        let (peer, speak) = (2, false);
        world.command(Command::new(ROOM, Action::SetSpeak { peer, speak }));
        world.run_ms(200);
        batches(&one);
        let muted = listen(&mut world, &one, 500);
        assert!(
            muted
                .iter()
                .all(|batch| batch.packets.is_empty() && batch.speaking.is_empty())
        );
        assert_eq!(muted.len(), 5, "a room with a tap ticks in silence, too");
        let only = Some(vec![1]);
        world.command(Command::new(
            ROOM,
            Action::SetTap {
                peer: TAP + 1,
                sound: TapSound::Talkers { only },
            },
        ));
        world.run_ms(200);
        batches(&one);
        let changed = listen(&mut world, &one, 500);
        assert!(changed.iter().all(|batch| batch.packets.len() >= 4));
    }
}

#[test]
fn a_slow_consumer_loses_the_oldest_batches_and_is_told_of_a_new_one_once() {
    let mut world = World::with_talker_and_listener(1);
    let tap = open(&mut world, TAP, mix());
    world.run_ms(10_000);
    assert_eq!(
        told(&world, |event| matches!(event, Event::TapReady { peer: TAP, .. })),
        1
    );
    let waiting = batches(&tap);
    assert_eq!(waiting.len(), 20, "2 s wait");
    assert!(waiting[0].number >= 78, "{}", waiting[0].number);
    world.run_ms(200);
    assert_eq!(
        told(&world, |event| matches!(event, Event::TapReady { peer: TAP, .. })),
        2
    );
}

#[test]
fn a_tap_leaves_as_anybody_and_ends_with_its_room() {
    let mut world = World::with_talker_and_listener(1);
    let _taps = [open(&mut world, TAP, mix()), open(&mut world, TAP + 1, mix())];
    open(&mut world, TAP, mix());
    let exists = |event: &Event| {
        matches!(
            event,
            Event::Refused {
                peer: TAP,
                refusal: Refusal::PeerExists,
                ..
            }
        )
    };
    assert_eq!(told(&world, exists), 1);
    world.command(Command::new(ROOM, Action::Leave { peer: TAP }));
    world.run_ms(1);
    world.command(Command::new(ROOM, Action::Close));
    world.run_ms(1);
    for (peer, reason) in [(TAP, EndReason::Left), (TAP + 1, EndReason::RoomClosed)] {
        let ended = Event::Disconnected {
            room: ROOM,
            peer,
            reason,
        };
        assert_eq!(told(&world, |event| *event == ended), 1, "{peer}");
    }
}

#[test]
fn without_taps_a_silent_room_rests_again() {
    let mut world = World::new();
    world.join(1, ClientOptions::default());
    world.connect();
    open(&mut world, TAP, mix());
    let before = world.shard.stats().ticks;
    world.run_ms(1000);
    assert!(world.shard.stats().ticks - before >= 49);
    world.command(Command::new(ROOM, Action::Leave { peer: TAP }));
    world.run_ms(500);
    let before = world.shard.stats().ticks;
    world.run_ms(1000);
    assert_eq!(world.shard.stats().ticks, before);
}

#[test]
fn a_room_that_forwards_has_no_mix_to_tap() {
    let mut world = World::forwarding(2);
    open(&mut world, TAP, mix());
    let refused = |event: &Event| {
        matches!(
            event,
            Event::Refused {
                refusal: Refusal::NotMixed,
                ..
            }
        )
    };
    assert_eq!(told(&world, refused), 1);
}

#[test]
fn in_stereo_a_tap_hears_the_middle_on_both_sides() {
    let mut world = World::new();
    world.command(Command::new(
        ROOM,
        Action::Open {
            kind: RoomKind::Mix {
                stereo: true,
                auto_gain: false,
            },
        },
    ));
    world.join_talking(1);
    world.connect();
    let sound = TapSound::Mix {
        default_gain: 1.0,
        gains: Vec::new(),
        stereo: true,
    };
    let tap = open(&mut world, TAP, sound);
    let taken = listen(&mut world, &tap, 1000);
    let (mut decoder, mut pcm) = (Decoder::with_channels(Channels::Stereo).unwrap(), Vec::new());
    for (_, payload) in taken.iter().flat_map(|batch| &batch.packets) {
        decoder.decode(payload, &mut pcm).unwrap();
    }
    for side in 0..2 {
        let ear: Vec<f32> = pcm.iter().skip(side).step_by(2).copied().collect();
        // Panned by equal power: each side has 3 dB less than a mono listener.
        let heard = heard_db(&world, &ear, 1);
        assert!((heard + 3.0).abs() <= 0.5, "at {heard:.2} dB");
    }
}
