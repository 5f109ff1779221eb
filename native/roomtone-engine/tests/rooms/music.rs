//! Music mode: nothing is done to a talker's sound, and both of its channels arrive.

use crate::common::instrument::{self, Instrument};
use crate::common::speech::speaker;
use crate::common::voice::Mouth;
use crate::common::{ROOM, World, gain_cell};
use roomtone_audio::packet::Mode;
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
    let (peer, voice, suppress) = (1, Voice::Music, false);
    world.command(Command::new(ROOM, Action::SetVoice { peer, voice, suppress }));
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
    let (peer, voice, suppress) = (1, Voice::Even, false);
    world.command(Command::new(ROOM, Action::SetVoice { peer, voice, suppress }));
    let mut instrument = Instrument::new();
    instrument.play(&mut world, 1, 1000);
    assert_eq!(world.shard.stats().packets_passed, 0);
    assert!(world.shard.stats().frames_encoded > 30);
}

/// 2 speaks over the music, for so long.
fn speak(world: &mut World, instrument: &mut Instrument, ms: u64) {
    let (mouth, talker) = Mouth::new(world.clients[&2].hz, -30.0);
    world.clients.get_mut(&2).unwrap().talker = Some(talker);
    mouth.open(true);
    instrument.play(world, 1, ms);
    mouth.open(false);
}

/// Frames that are encoded while the instrument plays.
fn encoded(world: &mut World, instrument: &mut Instrument, ms: u64) -> u64 {
    let before = world.shard.stats().frames_encoded;
    instrument.play(world, 1, ms);
    world.shard.stats().frames_encoded - before
}

#[test]
fn music_whose_timestamps_begin_anew_is_passed_on_again() {
    let mut world = world(false);
    let mut instrument = Instrument::new();
    instrument.timestamp = 2_000_000;
    instrument.play(&mut world, 1, 1000);
    speak(&mut world, &mut instrument, 500);
    // The same source, the next sequence number.
    instrument.timestamp = 1_000;
    instrument.play(&mut world, 1, 3000);
    assert_eq!(encoded(&mut world, &mut instrument, 500), 0, "it is mixed for good");
    world.clients[&4].assert_continuous();
}

#[test]
fn music_of_other_layers_than_celt_stays_in_the_mix() {
    for (toc, mode) in [(9 << 3, Mode::Silk), (15 << 3, Mode::Hybrid)] {
        let mut world = world(true);
        let mut instrument = Instrument::coded_as(toc);
        instrument.play(&mut world, 1, 1000);
        assert_eq!(instrument.mode, Some(mode));
        assert_eq!(encoded(&mut world, &mut instrument, 500), 0, "alone it is passed on");
        speak(&mut world, &mut instrument, 500);
        instrument.play(&mut world, 1, 2500);
        assert!(encoded(&mut world, &mut instrument, 500) >= 25, "{mode:?}");
        for listener in [4, 5] {
            world.clients[&listener].assert_continuous();
        }
    }
}

/// A world in which music has been alone in a mix, and when it is passed on again unless something happens.
fn until_passed() -> u64 {
    let (mut world, mut instrument) = alone_in_a_mix();
    let changes = world.shard.stats().mode_changes;
    for ms in (0..1000).step_by(20) {
        instrument.play(&mut world, 1, 20);
        if world.shard.stats().mode_changes > changes {
            return ms;
        }
    }
    panic!("it is never passed on again");
}

fn alone_in_a_mix() -> (World, Instrument) {
    let (mut world, mut instrument) = (world(true), Instrument::new());
    instrument.play(&mut world, 1, 1000);
    speak(&mut world, &mut instrument, 500);
    instrument.play(&mut world, 1, 2000);
    (world, instrument)
}

#[test]
fn music_that_is_muted_before_it_is_passed_on_again_is_not_heard() {
    let until = until_passed();
    let mute = || Action::SetSpeak { peer: 1, speak: false };
    let refuse = || Action::SetGains {
        cells: [4, 5].map(|listener| gain_cell(listener, 1, 0.0)).into(),
    };
    let ends: [&dyn Fn() -> Action; 2] = [&mute, &refuse];
    for (number, end) in ends.iter().enumerate() {
        let (mut world, mut instrument) = alone_in_a_mix();
        // The next tick would be the one.
        instrument.play(&mut world, 1, until);
        world.command(Command::new(ROOM, end()));
        // One frame fades out, and is decoded with the delay of the codec.
        instrument.play(&mut world, 1, 60);
        for listener in [4, 5] {
            world.clients.get_mut(&listener).unwrap().ear.clear();
        }
        instrument.play(&mut world, 1, 1000);
        for listener in [4, 5] {
            let heard = world.clients[&listener].ear.recent(1.0);
            let loudest = heard.iter().fold(0.0f32, |most, sample| most.max(sample.abs()));
            assert!(loudest < 1e-3, "{listener} hears {loudest} after {number}");
        }
    }
}
