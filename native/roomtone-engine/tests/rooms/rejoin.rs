//! A participant who rejoins in mid-tone: the new connection never hears the old one.

use std::time::Duration;

use crate::common::{ROOM, TONE_DBFS, World, replacement, slots};
use roomtone_engine::{Action, Command, PeerId};
use roomtone_testkit::listen::{dbfs, goertzel_amplitude};
use roomtone_testkit::peer::{ClientOptions, Identity};

/// Samples of a frame.
const FRAME: usize = 960;
/// More than what an encoder makes of others, less than any sound of oneself that could be heard.
const LIMIT_DBFS: f32 = -60.0;
/// Rejoins of each scenario: each begins a millisecond later in the room's tick, and after each the room rests.
const REJOINS: u64 = 24;

fn another_certificate() -> ClientOptions {
    ClientOptions {
        identity: Some(Identity::generate().unwrap()),
        ..ClientOptions::default()
    }
}

/// The participant takes up their place again on a new connection, as the application does it: the old one leaves when the new one
/// is answered. The new one talks on, in the same voice, from its first moment.
fn rejoin(world: &mut World, id: PeerId) -> PeerId {
    let new = begin_anew_in_the_same_voice(world, id);
    leave(world, id);
    world.connect();
    new
}

fn begin_anew_in_the_same_voice(world: &mut World, id: PeerId) -> PeerId {
    let (new, hz) = (replacement(id), world.clients[&id].hz);
    world.begin_anew(id, another_certificate());
    world.clients.get_mut(&new).unwrap().hz = hz;
    world.talk(new, TONE_DBFS);
    new
}

fn leave(world: &mut World, id: PeerId) {
    world.command(Command::new(ROOM, Action::Leave { peer: id }));
    world.collect();
    world.clients.remove(&id);
}

/// The loudest frame of this tone in all that a participant has heard, dBFS.
fn loudest_frame(world: &World, listener: PeerId, hz: f32) -> f32 {
    let ear = &world.clients[&listener].ear;
    let frames = ear
        .sources()
        .flat_map(|ssrc| ear.pcm(ssrc).windows(FRAME).step_by(FRAME / 4));
    frames
        .map(|pcm| dbfs(goertzel_amplitude(pcm, hz)))
        .fold(f32::MIN, f32::max)
}

/// The loudest frame of themselves that somebody hears who rejoins again and again, at other phases of the room's tick.
fn loudest_of_oneself(mut world: World, others_talk: bool) -> f32 {
    world.join_talking(1);
    for id in [2, 3] {
        world.join(id, ClientOptions::default());
        if others_talk {
            // Far from the first one's tone, so that their beginning has nothing of it.
            world.clients.get_mut(&id).unwrap().hz = 3_000.0 + 100.0 * id as f32;
            world.talk(id, TONE_DBFS);
        }
    }
    world.connect();
    let (mut me, mut loudest) = (1, f32::MIN);
    for round in 0..REJOINS {
        world.run(Duration::from_millis(200 + 21 * round));
        me = rejoin(&mut world, me);
        world.run_ms(300);
        assert!(
            world.heard_db(2, me, 0.1).abs() < 3.0,
            "the others hear the new connection"
        );
        loudest = loudest.max(loudest_frame(&world, me, world.clients[&me].hz));
    }
    loudest
}

#[test]
fn alone_in_talking_nobody_hears_their_own_tail_after_a_rejoin() {
    let loudest = loudest_of_oneself(World::new(), false);
    assert!(loudest < LIMIT_DBFS, "{loudest:.1} dBFS");
}

#[test]
fn in_a_mix_nobody_hears_their_own_tail_after_a_rejoin() {
    let loudest = loudest_of_oneself(World::mixing(), false);
    assert!(loudest < LIMIT_DBFS, "{loudest:.1} dBFS");
}

#[test]
fn among_others_who_talk_nobody_hears_their_own_tail_after_a_rejoin() {
    for world in [World::new(), World::mixing()] {
        let loudest = loudest_of_oneself(world, true);
        assert!(loudest < LIMIT_DBFS, "{loudest:.1} dBFS");
    }
}

#[test]
fn while_the_old_connection_is_there_neither_hears_the_other() {
    for mut world in [World::new(), World::mixing(), World::forwarding(3)] {
        world.join(1, slots(3));
        world.talk(1, TONE_DBFS);
        world.join(2, slots(3));
        world.connect();
        world.run_ms(500);
        let me = begin_anew_in_the_same_voice(&mut world, 1);
        world.connect();
        world.run_ms(500);
        let hz = world.clients[&1].hz;
        for listener in [1, me] {
            let loudest = loudest_frame(&world, listener, hz);
            assert!(loudest < LIMIT_DBFS, "{listener}: {loudest:.1} dBFS");
        }
        assert!(loudest_frame(&world, 2, hz) > TONE_DBFS - 3.0);
        leave(&mut world, 1);
        world.run_ms(200);
        world.clients.get_mut(&2).unwrap().ear.clear();
        world.run_ms(500);
        assert!(
            world.heard_db(2, me, 0.3).abs() < 1.0,
            "the others hear the new connection"
        );
    }
}

#[test]
fn the_measure_finds_a_frame_of_somebody_else() {
    let mut world = World::new();
    world.join_talking(1);
    world.join(2, ClientOptions::default());
    world.connect();
    world.run_ms(60);
    assert!(loudest_frame(&world, 2, world.clients[&1].hz) > LIMIT_DBFS);
}
