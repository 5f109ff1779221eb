//! A mix for each listener: gains, ramps, who is chosen, and that sharing can't be heard.

use crate::common::{ROOM, World};
use roomtone_engine::{Action, Command, Distance, GainCell, MixConfig, PeerId, Place, PlaceCell, Select};
use roomtone_testkit::peer::ClientOptions;

fn cell(listener: PeerId, speaker: PeerId, gain: Option<f32>) -> GainCell {
    GainCell {
        listener,
        speaker,
        gain,
        pan: 0.0,
    }
}

fn set(world: &mut World, cells: Vec<GainCell>) {
    world.command(Command::new(ROOM, Action::SetGains { cells }));
}

fn db(gain: f32) -> f32 {
    20.0 * gain.log10()
}

// Enough bits that the codec's own error stays well below the half decibel that is asked for.
fn clear() -> MixConfig {
    MixConfig {
        bitrate: 128_000,
        private_bitrate: 128_000,
        ..MixConfig::default()
    }
}

#[test]
fn out_is_a_plus_half_b_plus_a_tenth_of_c() {
    let mut world = World::with(clear());
    for id in 1..=3 {
        world.join_talking(id);
    }
    world.join(4, ClientOptions::default());
    world.join(5, ClientOptions::default());
    world.connect();
    set(&mut world, vec![cell(4, 2, Some(0.5)), cell(4, 3, Some(0.1))]);
    world.run_ms(2000);
    for (speaker, gain) in [(1, 1.0), (2, 0.5), (3, 0.1)] {
        let heard = world.heard_db(4, speaker, 1.0);
        assert!(
            (heard - db(gain)).abs() < 0.5,
            "{speaker} at {heard:.2} dB, not {:.2}",
            db(gain)
        );
        assert!(world.heard_db(5, speaker, 1.0).abs() < 0.5, "mine alone");
    }
}

#[test]
fn what_may_not_be_heard_is_not_in_the_packets() {
    let mut world = World::new();
    world.join_talking(1);
    for id in 2..=4 {
        world.join(id, ClientOptions::default());
    }
    world.connect();
    world.command(Command::new(
        ROOM,
        Action::SetPolicy {
            default_gain: 0.0,
            max_talkers: None,
            select: Select::Loudest,
        },
    ));
    set(&mut world, vec![cell(2, 1, Some(1.0))]);
    world.run_ms(1500);
    assert!(world.heard_db(2, 1, 0.5).abs() < 1.0);
    for id in 3..=4 {
        let sizes: Vec<usize> = world.clients[&id].heard.iter().map(|h| h.4).collect();
        assert!(
            sizes.len() < 40,
            "a whisper to 2 must not be followed by packets to {id}: {}",
            sizes.len()
        );
        assert!(world.heard_db(id, 1, 0.5) < -60.0);
    }
}

#[test]
fn who_is_out_of_range_is_not_in_the_packets() {
    let mut world = World::new();
    world.join_talking(1);
    world.join(2, ClientOptions::default());
    world.join(3, ClientOptions::default());
    world.connect();
    let place = |peer, x| PlaceCell {
        peer,
        place: Some(Place {
            at: [x, 0.0, 0.0],
            facing: [0.0, 0.0, -1.0],
            everywhere: false,
        }),
    };
    let distance = Distance::Linear {
        reference: 1.0,
        max: 10.0,
        rolloff: 1.0,
    };
    let places = vec![place(1, 0.0), place(2, 0.5), place(3, 10.0), place(77, 1.0)];
    world.command(Command::new(ROOM, Action::SetPlaces { distance, places }));
    world.run_ms(1500);
    assert!(world.heard_db(2, 1, 0.5).abs() < 1.0);
    let packets = world.clients[&3].heard.len();
    assert!(packets < 40, "{packets} packets to 3");
    assert!(world.heard_db(3, 1, 0.5) < -60.0);
}

#[test]
fn equal_rows_share_one_encode_and_rows_that_part_fork_without_a_gap() {
    let mut world = World::with(MixConfig {
        pass_through: false,
        ..clear()
    });
    world.join_talking(1);
    world.join_talking(2);
    for id in 3..=12 {
        world.join(id, ClientOptions::default());
    }
    world.connect();
    world.run_ms(1000);
    let encodes_per_tick = |world: &mut World| {
        let before = world.shard.stats().clone();
        world.run_ms(400);
        let after = world.shard.stats().clone();
        (after.frames_encoded - before.frames_encoded) as f64 / (after.ticks - before.ticks) as f64
    };
    assert_eq!(encodes_per_tick(&mut world), 3.0);
    // Five listeners turn 1 down, all alike: one mix more, not five.
    set(&mut world, (3..8).map(|id| cell(id, 1, Some(0.5))).collect());
    assert_eq!(encodes_per_tick(&mut world), 4.0);
    // And back: at a quiet moment they are one again.
    set(&mut world, (3..8).map(|id| cell(id, 1, None)).collect());
    world.run_ms(500);
    for id in 1..=2 {
        world.clients.get_mut(&id).unwrap().talker = None;
    }
    world.run_ms(1000);
    world.talk(1, crate::common::TONE_DBFS);
    world.run_ms(500);
    assert_eq!(
        encodes_per_tick(&mut world),
        1.0,
        "the talker hears nobody, all others the same"
    );
    for client in world.clients.values() {
        client.assert_continuous();
    }
}

#[test]
fn a_change_of_gain_does_not_click() {
    let mut world = World::with(clear());
    world.join_talking(1);
    world.join(2, ClientOptions::default());
    world.connect();
    world.run_ms(1000);
    let steady = loudest_step(&world, 2, 0.5);
    let mut worst: f32 = 0.0;
    for (round, gain) in [0.0, 1.0, 0.1, 2.0, 0.0, 1.0].into_iter().enumerate() {
        // At ever other moments of the frame.
        world.run_ms(97 + round as u64);
        set(&mut world, vec![cell(2, 1, Some(gain))]);
        world.run_ms(200);
        worst = worst.max(loudest_step(&world, 2, 0.25));
    }
    // Twice as loud is twice the step of a sine; a click would be many times that.
    assert!(worst < steady * 2.6, "a step of {worst} where {steady} is usual");
}

fn loudest_step(world: &World, listener: PeerId, seconds: f32) -> f32 {
    let pcm = world.clients[&listener].ear.recent(seconds);
    pcm.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max)
}

#[test]
fn only_the_loudest_are_heard_where_the_policy_says_so() {
    let mut world = World::with(clear());
    for (id, dbfs) in [(1, -20.0), (2, -26.0), (3, -32.0), (4, -50.0)] {
        world.join(id, ClientOptions::default());
        world.talk(id, dbfs);
    }
    world.join(9, ClientOptions::default());
    world.command(Command::new(
        ROOM,
        Action::SetPolicy {
            default_gain: 1.0,
            max_talkers: Some(2),
            select: Select::Loudest,
        },
    ));
    world.connect();
    world.run_ms(2000);
    assert!(world.heard_db(9, 1, 1.0).abs() < 0.5 && world.heard_db(9, 2, 1.0).abs() < 0.5);
    assert!(world.heard_db(9, 3, 1.0) < -30.0, "{}", world.heard_db(9, 3, 1.0));
    let decoded = |world: &World| world.shard.stats().frames_decoded;
    let before = (decoded(&world), world.shard.stats().ticks);
    world.run_ms(500);
    assert_eq!(
        decoded(&world) - before.0,
        2 * (world.shard.stats().ticks - before.1),
        "only they are decoded"
    );
    // The loudest falls silent: the next one is heard.
    world.clients.get_mut(&1).unwrap().talker = None;
    world.run_ms(2500);
    assert!(world.heard_db(9, 3, 1.0).abs() < 0.5, "{}", world.heard_db(9, 3, 1.0));
}

#[test]
fn background_noise_is_neither_decoded_nor_sent() {
    let mut world = World::new();
    world.join(1, ClientOptions::default());
    world.talk(1, -90.0);
    world.join(2, ClientOptions::default());
    world.connect();
    world.run_ms(1000);
    assert_eq!(world.shard.stats().frames_decoded, 0);
    assert!(world.clients[&2].heard.is_empty());
}

#[test]
fn each_listener_has_their_own_loudest() {
    // Two rooms in one: 1, 2 and 5 hear each other, 3, 4 and 6 do. One talker at once is heard; 1 is the loudest of all, but not to 4 and 6.
    let mut world = World::with(clear());
    for (id, dbfs) in [(1, -20.0), (2, -26.0), (3, -38.0), (4, -44.0)] {
        world.join(id, ClientOptions::default());
        world.talk(id, dbfs);
    }
    world.join(5, ClientOptions::default());
    world.join(6, ClientOptions::default());
    world.connect();
    world.command(Command::new(
        ROOM,
        Action::SetPolicy {
            default_gain: 1.0,
            max_talkers: Some(1),
            select: Select::Loudest,
        },
    ));
    let side = |id: PeerId| [1, 2, 5].contains(&id);
    let mut apart = Vec::new();
    for listener in 1..=6 {
        apart.extend(
            (1..=4)
                .filter(|id| side(*id) != side(listener))
                .map(|id| cell(listener, id, Some(0.0))),
        );
    }
    set(&mut world, apart);
    world.run_ms(2500);
    for (listener, speaker) in [(5, 1), (2, 1), (1, 2), (6, 3), (4, 3), (3, 4)] {
        let heard = world.heard_db(listener, speaker, 1.0);
        assert!(heard.abs() < 0.5, "{listener} hears {speaker} at {heard:.1} dB");
    }
}

#[test]
fn whom_nobody_can_hear_is_not_decoded() {
    let mut world = World::mixing();
    world.join_talking(1);
    world.connect();
    world.run_ms(500);
    let decoded = |world: &World| world.shard.stats().frames_decoded;
    assert_eq!(decoded(&world), 0, "alone");
    world.join(2, ClientOptions::default());
    world.connect();
    world.run_ms(500);
    let heard = decoded(&world);
    assert!(heard > 0, "heard by 2");
    set(&mut world, vec![cell(2, 1, Some(0.0))]);
    world.run_ms(100);
    let before = decoded(&world);
    world.run_ms(500);
    assert_eq!(decoded(&world), before, "not by 2 any more");
}
