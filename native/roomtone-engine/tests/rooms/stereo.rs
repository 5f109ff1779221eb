//! Stereo where a room has it: who asks for it hears each talker from their place, who doesn't hears mono.

use crate::common::{ROOM, World};
use roomtone_audio::{Channels, Decoder};
use roomtone_engine::{Action, Command, Distance, Event, GainCell, MixConfig, PeerId, Place, PlaceCell, RoomKind};
use roomtone_testkit::listen::{dbfs, goertzel_amplitude};
use roomtone_testkit::peer::ClientOptions;

/// Offers `stereo=1`.
fn stereo() -> ClientOptions {
    ClientOptions {
        stereo: true,
        ..ClientOptions::default()
    }
}

fn world(mix: MixConfig) -> World {
    let mut world = World::with(mix);
    world.command(Command::new(
        ROOM,
        Action::Open {
            kind: RoomKind::Mix {
                stereo: true,
                auto_gain: false,
            },
        },
    ));
    world
}

fn pan(world: &mut World, listener: PeerId, speaker: PeerId, gain: f32, pan: f32) {
    let cell = GainCell {
        listener,
        speaker,
        gain: Some(gain),
        pan,
    };
    world.command(Command::new(ROOM, Action::SetGains { cells: vec![cell] }));
}

/// Puts people on a line through both ears.
fn put(world: &mut World, people: &[(PeerId, f64)]) {
    let places = people.iter().map(|(peer, x)| PlaceCell {
        peer: *peer,
        place: Some(Place {
            at: [*x, 0.0, 0.0],
            facing: [0.0, 0.0, -1.0],
            everywhere: false,
        }),
    });
    let action = Action::SetPlaces {
        distance: Distance::default(),
        places: places.collect(),
    };
    world.command(Command::new(ROOM, action));
}

/// The sound of the next `ms`, left and right.
fn listen(world: &mut World, listener: PeerId, ms: u64) -> (Vec<f32>, Vec<f32>) {
    world.clients.get_mut(&listener).unwrap().payloads = Some(Vec::new());
    world.run_ms(ms);
    let payloads = world.clients.get_mut(&listener).unwrap().payloads.take().unwrap();
    let mut decoder = Decoder::with_channels(Channels::Stereo).unwrap();
    let mut pcm = Vec::new();
    for payload in payloads {
        decoder.decode(&payload, &mut pcm).unwrap();
    }
    pcm.as_chunks::<2>()
        .0
        .iter()
        .map(|[left, right]| (*left, *right))
        .unzip()
}

/// How loud a speaker is in each ear, relative to how they spoke.
fn sides(world: &World, speaker: PeerId, (left, right): &(Vec<f32>, Vec<f32>)) -> (f32, f32) {
    let client = &world.clients[&speaker];
    // The decoder began within the tone.
    let level = |ear: &[f32]| dbfs(goertzel_amplitude(&ear[ear.len() / 4..], client.hz)) - client.dbfs;
    (level(left), level(right))
}

fn near(heard: f32, wanted: f32) -> bool {
    (heard - wanted).abs() < 0.5
}

#[test]
fn each_is_heard_from_their_place_with_equal_power() {
    let mut world = world(MixConfig {
        bitrate: 128_000,
        private_bitrate: 128_000,
        ..MixConfig::default()
    });
    for id in 1..=3 {
        world.join_talking(id);
    }
    world.join(4, stereo());
    world.connect();
    pan(&mut world, 4, 1, 1.0, -1.0);
    pan(&mut world, 4, 2, 0.5, 1.0);
    world.run_ms(500);
    let heard = listen(&mut world, 4, 1500);
    let (left, right) = sides(&world, 1, &heard);
    assert!(
        near(left, 0.0) && right < -30.0,
        "all the way left: {left:.2} {right:.2}"
    );
    let (left, right) = sides(&world, 2, &heard);
    assert!(
        near(right, -6.02) && left < -30.0,
        "half as loud, right: {left:.2} {right:.2}"
    );
    let (left, right) = sides(&world, 3, &heard);
    assert!(
        near(left, -3.01) && near(right, -3.01),
        "the middle: {left:.2} {right:.2}"
    );
    world.clients[&4].assert_continuous();
}

#[test]
fn people_in_places_are_heard_by_distance_and_from_their_side() {
    let mut world = world(MixConfig {
        bitrate: 128_000,
        private_bitrate: 128_000,
        ..MixConfig::default()
    });
    for id in 1..=3 {
        world.join_talking(id);
    }
    world.join(4, stereo());
    world.join(5, ClientOptions::default());
    world.connect();
    put(&mut world, &[(4, 0.0), (5, 0.0), (1, -4.0), (2, 1.0)]);
    pan(&mut world, 4, 2, 0.5, 0.0);
    world.run_ms(500);
    let heard = listen(&mut world, 4, 1500);
    let (left, right) = sides(&world, 1, &heard);
    assert!(
        near(left, -12.04) && right < -30.0,
        "four metres to the left: {left:.2} {right:.2}"
    );
    let (left, right) = sides(&world, 2, &heard);
    assert!(
        near(right, -6.02) && left < -30.0,
        "nearby, at half the volume: {left:.2} {right:.2}"
    );
    let (left, right) = sides(&world, 3, &heard);
    assert!(
        near(left, -3.01) && near(right, -3.01),
        "without a place: {left:.2} {right:.2}"
    );
    assert!(near(world.heard_db(5, 1, 1.0), -12.04), "mono listeners hear distances");
    // The next tick has the next place.
    put(&mut world, &[(1, 2.0)]);
    world.run_ms(500);
    let heard = listen(&mut world, 4, 1500);
    let (left, right) = sides(&world, 1, &heard);
    assert!(
        near(right, -6.02) && left < -30.0,
        "two metres to the right: {left:.2} {right:.2}"
    );
    for id in [4, 5] {
        world.clients[&id].assert_continuous();
    }
}

#[test]
fn sides_are_kept_apart_at_the_bit_rate_that_is_usual() {
    let mut world = world(MixConfig::default());
    world.join_talking(1);
    world.join_talking(2);
    world.join(4, stereo());
    world.connect();
    pan(&mut world, 4, 1, 1.0, -1.0);
    pan(&mut world, 4, 2, 1.0, 1.0);
    world.run_ms(500);
    let heard = listen(&mut world, 4, 2000);
    let (left, right) = sides(&world, 1, &heard);
    assert!(left.abs() < 1.0 && left - right > 12.0, "{left:.2} {right:.2}");
    let (left, right) = sides(&world, 2, &heard);
    assert!(right.abs() < 1.0 && right - left > 12.0, "{left:.2} {right:.2}");
}

#[test]
fn whoever_does_not_ask_for_stereo_hears_mono_and_the_answer_says_what_is_sent() {
    let mut world = world(MixConfig::default());
    world.join_talking(1);
    world.join(4, stereo());
    world.join(5, ClientOptions::default());
    world.connect();
    let answers = world.events_of(|event| matches!(event, Event::Answer { .. }));
    let says_stereo: Vec<(PeerId, bool)> = answers
        .iter()
        .filter_map(|event| match event {
            Event::Answer { peer, sdp, .. } => Some((*peer, sdp.contains("sprop-stereo=1"))),
            _ => None,
        })
        .collect();
    assert_eq!(says_stereo, [(1, false), (4, true), (5, false)]);
    for (listener, stereo) in [(4, true), (5, false)] {
        pan(&mut world, listener, 1, 1.0, -1.0);
        world.clients.get_mut(&listener).unwrap().payloads = Some(Vec::new());
        world.run_ms(500);
        let payloads = world.clients.get_mut(&listener).unwrap().payloads.take().unwrap();
        assert!(payloads.len() > 20);
        for payload in payloads {
            assert_eq!(roomtone_audio::packet::parse(&payload).unwrap().stereo, stereo);
        }
    }
    assert!(world.heard_db(5, 1, 0.4).abs() < 0.5, "mono has no sides");
}

#[test]
fn a_room_without_stereo_gives_none() {
    let mut world = World::new();
    world.join_talking(1);
    world.join(4, stereo());
    world.connect();
    world.clients.get_mut(&4).unwrap().payloads = Some(Vec::new());
    world.run_ms(500);
    let payloads = world.clients.get_mut(&4).unwrap().payloads.take().unwrap();
    assert!(
        payloads
            .iter()
            .all(|p| !roomtone_audio::packet::parse(p).unwrap().stereo)
    );
}

#[test]
fn who_hears_the_same_from_the_same_side_shares_and_mono_shares_whatever_the_side() {
    let mut world = world(MixConfig {
        pass_through: false,
        ..MixConfig::default()
    });
    world.join_talking(1);
    for id in 2..=5 {
        world.join(id, stereo());
    }
    for id in 6..=9 {
        world.join(id, ClientOptions::default());
    }
    world.connect();
    // 2 and 3 hear 1 from the left, 4 and 5 from the right; of the mono ones each has another side, to no effect.
    for (listener, side) in [(2, -1.0), (3, -1.0), (4, 1.0), (5, 1.0), (6, -1.0), (7, 0.5), (8, 1.0)] {
        pan(&mut world, listener, 1, 1.0, side);
    }
    world.run_ms(500);
    let before = world.shard.stats().clone();
    world.run_ms(400);
    let after = world.shard.stats().clone();
    let encodes = (after.frames_encoded - before.frames_encoded) as f64 / (after.ticks - before.ticks) as f64;
    assert_eq!(encodes, 3.0, "left, right, mono");
}

#[test]
fn walking_around_a_talker_does_not_click() {
    let mut world = world(MixConfig {
        bitrate: 128_000,
        private_bitrate: 128_000,
        ..MixConfig::default()
    });
    world.join_talking(1);
    world.join(4, stereo());
    world.connect();
    pan(&mut world, 4, 1, 1.0, -1.0);
    world.run_ms(500);
    let loudest = |pcm: &[f32]| {
        let settled = &pcm[pcm.len() / 4..];
        settled.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max)
    };
    let steady = loudest(&listen(&mut world, 4, 500).0);
    world.clients.get_mut(&4).unwrap().payloads = Some(Vec::new());
    for step in 0..40 {
        let side = if step % 2 == 0 { 1.0 } else { -1.0 };
        pan(&mut world, 4, 1, 1.0, side);
        world.run_ms(37);
    }
    let payloads = world.clients.get_mut(&4).unwrap().payloads.take().unwrap();
    let mut decoder = Decoder::with_channels(Channels::Stereo).unwrap();
    let mut pcm = Vec::new();
    for payload in payloads {
        decoder.decode(&payload, &mut pcm).unwrap();
    }
    let left: Vec<f32> = pcm.chunks_exact(2).map(|both| both[0]).collect();
    let worst = loudest(&left);
    assert!(worst < steady * 1.8, "a step of {worst} where {steady} is usual");
}

#[test]
fn clients_are_asked_for_what_the_room_can_use() {
    for (kind, wish) in [
        (
            RoomKind::Mix {
                stereo: false,
                auto_gain: false,
            },
            "maxaveragebitrate=40000\r\n",
        ),
        (
            RoomKind::Mix {
                stereo: true,
                auto_gain: false,
            },
            "maxaveragebitrate=40000\r\n",
        ),
        (
            RoomKind::Forward {
                slots: 2,
                stereo: false,
            },
            "maxaveragebitrate=40000\r\n",
        ),
        (
            RoomKind::Forward { slots: 2, stereo: true },
            "maxaveragebitrate=60000;stereo=1\r\n",
        ),
    ] {
        let mut world = World::new();
        world.command(Command::new(ROOM, Action::Open { kind }));
        world.join(1, ClientOptions::default());
        let answer = world.events_of(|event| matches!(event, Event::Answer { .. })).pop();
        let Some(Event::Answer { sdp, .. }) = answer else {
            panic!("no answer")
        };
        assert!(sdp.contains(wish), "{kind:?}: {sdp}");
    }
}
