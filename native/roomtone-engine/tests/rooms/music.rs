//! Music mode: nothing is done to a talker's sound, and both of its channels arrive.

use crate::common::instrument::{self, Instrument};
use crate::common::speech::speaker;
use crate::common::voice::Mouth;
use crate::common::{ROOM, World};
use roomtone_engine::{Action, Command, PeerId, RoomKind, Voice};
use roomtone_testkit::peer::ClientOptions;

/// 1 plays, 4 listens in stereo, 5 in mono; 2 is there to speak.
fn world(stereo: bool) -> World {
    let mut world = World::new();
    let kind = RoomKind::Mix {
        stereo,
        auto_gain: true,
    };
    world.command(Command::new(ROOM, Action::Open { kind }));
    world.join(1, ClientOptions::default());
    world.join(2, ClientOptions::default());
    let options = ClientOptions {
        stereo: true,
        ..ClientOptions::default()
    };
    world.join(4, options);
    world.join(5, ClientOptions::default());
    world.connect();
    let (peer, voice) = (1, Voice::Music);
    world.command(Command::new(ROOM, Action::SetVoice { peer, voice }));
    world
}

fn sides(world: &mut World, listener: PeerId) -> [f32; 4] {
    let ears = world.clients.get_mut(&listener).unwrap().ears();
    instrument::sides(&ears)
}

fn keep(world: &mut World, listener: PeerId) {
    world.clients.get_mut(&listener).unwrap().payloads = Some(Vec::new());
}

fn is_apart([left, left_in_right, right_in_left, right]: [f32; 4]) -> bool {
    left.abs() < 0.5 && right.abs() < 0.5 && left_in_right < -25.0 && right_in_left < -25.0
}

#[test]
fn both_channels_arrive_as_they_were_sent() {
    for stereo in [false, true] {
        let mut world = world(stereo);
        let mut instrument = Instrument::new();
        instrument.play(&mut world, 1, 1000);
        for listener in [4, 5] {
            keep(&mut world, listener);
        }
        let encoded = world.shard.stats().frames_encoded;
        instrument.play(&mut world, 1, 2000);
        assert_eq!(world.shard.stats().frames_encoded, encoded, "nothing is mixed");
        for listener in [4, 5] {
            let heard = sides(&mut world, listener);
            assert!(
                is_apart(heard),
                "{listener} hears {heard:?} in a room with stereo: {stereo}"
            );
            world.clients[&listener].assert_continuous();
        }
    }
}

#[test]
fn music_beside_a_voice_is_as_loud_as_alone() {
    let mut world = world(true);
    let mut instrument = Instrument::new();
    instrument.play(&mut world, 1, 1000);
    let client = world.clients.get_mut(&2).unwrap();
    client.talker = Some(speaker(client.hz, -30.0, 0.0));
    instrument.play(&mut world, 1, 500);
    keep(&mut world, 4);
    let encoded = world.shard.stats().frames_encoded;
    instrument.play(&mut world, 1, 2000);
    assert!(world.shard.stats().frames_encoded > encoded + 90, "both are mixed");
    // In the middle of the stereo mix, half of each channel: 6 dB less in its ear than alone, and as much in the other.
    let heard = sides(&mut world, 4);
    assert!(heard.iter().all(|level| (level + 6.0).abs() < 1.0), "{heard:?}");
    // The voice ends. The music has no pause, and both sides come back nonetheless.
    world.clients.get_mut(&2).unwrap().talker = None;
    instrument.play(&mut world, 1, 3000);
    world.clients[&4].assert_continuous();
    keep(&mut world, 4);
    instrument.play(&mut world, 1, 2000);
    let heard = sides(&mut world, 4);
    assert!(is_apart(heard), "{heard:?}");
}

#[test]
fn pauses_of_a_voice_over_music_do_not_end_the_mix() {
    let mut world = world(false);
    let mut instrument = Instrument::new();
    instrument.play(&mut world, 1, 1000);
    let (mouth, talker) = Mouth::new(world.clients[&2].hz, -30.0);
    world.clients.get_mut(&2).unwrap().talker = Some(talker);
    mouth.open(true);
    instrument.play(&mut world, 1, 500);
    let encoded = world.shard.stats().frames_encoded;
    for _ in 0..4 {
        mouth.open(false);
        instrument.play(&mut world, 1, 1500);
        mouth.open(true);
        instrument.play(&mut world, 1, 300);
    }
    assert!(
        world.shard.stats().frames_encoded >= encoded + 4 * 90,
        "one mix goes on"
    );
}

#[test]
fn a_soft_passage_arrives_without_gaps() {
    let mut world = world(false);
    let mut instrument = Instrument::at(-62.0);
    instrument.play(&mut world, 1, 1000);
    for listener in [4, 5] {
        keep(&mut world, listener);
    }
    instrument.play(&mut world, 1, 2000);
    for listener in [4, 5] {
        let heard = world.clients.get_mut(&listener).unwrap().payloads.take().unwrap();
        assert_eq!(heard.len(), 100, "{listener}");
    }
}

#[test]
fn a_voice_in_stereo_without_music_mode_is_mixed() {
    let mut world = world(false);
    let (peer, voice) = (1, Voice::Even);
    world.command(Command::new(ROOM, Action::SetVoice { peer, voice }));
    let mut instrument = Instrument::new();
    instrument.play(&mut world, 1, 1000);
    assert_eq!(world.shard.stats().packets_passed, 0);
    assert!(world.shard.stats().frames_encoded > 30);
}
