//! A participant who comes back in mid-sentence, on a new connection, hears nothing of their own voice.

use std::ops::RangeInclusive;

use crate::common::{ROOM, World, replacement};
use roomtone_engine::{Action, Command, MixConfig, PeerId, RoomKind};
use roomtone_testkit::listen::{dbfs, goertzel_amplitude};
use roomtone_testkit::peer::{ClientOptions, Identity};

const MIX: RoomKind = RoomKind::Mix {
    stereo: false,
    auto_gain: false,
};
const STEREO: RoomKind = RoomKind::Mix {
    stereo: true,
    auto_gain: false,
};

/// The participant who comes back.
const PERSON: PeerId = 1;
/// Somebody who only listens, all the time.
const LISTENER: PeerId = 20;
/// How loud they talk, dBFS: so much louder than the others that the codec's noise stays below [`HEARD`].
const LOUD: f32 = -12.0;
const SOFT: f32 = -36.0;
/// A tone at or above this is heard, dBFS.
const HEARD: f32 = -60.0;
/// A tone is measured in windows of 40 ms.
const WINDOW: usize = 1920;

/// The way in which the person comes back.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// A further offer, and the old connection ends with the answer.
    Reoffer,
    /// A further offer, and the old connection goes on for so many milliseconds.
    Beside(u64),
    /// The old connection ends, and the person joins anew.
    Rejoin,
    /// The client ceased so many milliseconds before without a goodbye, and then makes a further offer.
    Vanished(u64),
}

const WAYS: [Way; 6] = [
    Way::Reoffer,
    Way::Beside(30),
    Way::Beside(200),
    Way::Rejoin,
    Way::Vanished(5),
    Way::Vanished(45),
];

#[derive(Clone, Copy, Debug)]
struct Scene {
    kind: RoomKind,
    /// How many talk beside the person.
    others: u64,
    pass_through: bool,
    share: bool,
    way: Way,
}

fn leave(world: &mut World, peer: PeerId) {
    world.command(Command::new(ROOM, Action::Leave { peer }));
    world.collect();
}

/// A new connection of the person who is `before`, and their voice on it.
fn come_back(world: &mut World, before: PeerId, Scene { kind, way, .. }: Scene) -> PeerId {
    let hz = world.clients[&before].hz;
    let options = ClientOptions {
        identity: Some(Identity::generate().unwrap()),
        stereo: kind == STEREO,
        ..ClientOptions::default()
    };
    let number = replacement(before);
    match way {
        Way::Rejoin => {
            leave(world, before);
            world.clients.remove(&before);
            world.join(number, options);
        }
        Way::Reoffer => {
            world.begin_anew(before, options);
            leave(world, before);
        }
        Way::Beside(_) => world.begin_anew(before, options),
        Way::Vanished(ms) => {
            world.clients.get_mut(&before).unwrap().talker = None;
            world.run_ms(ms);
            world.begin_anew(before, options);
            leave(world, before);
        }
    }
    world.clients.get_mut(&number).unwrap().hz = hz;
    world.talk(number, LOUD);
    if let Way::Beside(ms) = way {
        world.run_ms(ms);
        leave(world, before);
    }
    world.clients.remove(&before);
    number
}

/// The loudest that a tone was within anything that a participant heard, dBFS.
fn loudest(world: &World, listener: PeerId, hz: f32) -> f32 {
    let ear = &world.clients[&listener].ear;
    let loudest_of = |source: u32| {
        let mut pcm = ear.pcm(source).to_vec();
        pcm.resize(pcm.len() + WINDOW, 0.0);
        let windows = pcm.windows(WINDOW).step_by(240);
        windows
            .map(|window| dbfs(goertzel_amplitude(window, hz)))
            .fold(-120.0, f32::max)
    };
    ear.sources().map(loudest_of).fold(-120.0, f32::max)
}

/// How loud the person hears themselves after they came back so many milliseconds after a tick, dBFS, where that is heard.
fn own_voice(scene: Scene) -> Vec<(u64, f32)> {
    let mut world = World::with(MixConfig {
        pass_through: scene.pass_through,
        share: scene.share,
        bitrate: 128_000,
        private_bitrate: 128_000,
        ..MixConfig::default()
    });
    let kind = scene.kind;
    world.command(Command::new(ROOM, Action::Open { kind }));
    world.join(PERSON, ClientOptions::default());
    world.talk(PERSON, LOUD);
    for other in (0..scene.others).map(|index| 5 + 4 * index) {
        world.join(other, ClientOptions::default());
        world.talk(other, SOFT);
    }
    world.join(LISTENER, ClientOptions::default());
    world.connect();
    let mut person = PERSON;
    let mut heard = Vec::new();
    for phase in 0..20 {
        world.run_ms(160);
        let since_tick = world.elapsed().as_millis() as u64 % 20;
        world.run_ms((20 - since_tick) + phase);
        person = come_back(&mut world, person, scene);
        world.connect();
        world.run_ms(140);
        let to_others = world.heard_db(LISTENER, person, 0.06);
        assert!(
            to_others.abs() < 3.0,
            "{scene:?}: the others hear them at {to_others:.1} dB"
        );
        let level = loudest(&world, person, world.clients[&person].hz);
        if level > HEARD {
            heard.push((phase, level));
        }
    }
    heard
}

fn assert_nobody_hears_themselves(kind: RoomKind, others: RangeInclusive<u64>, pass_through: bool, share: bool) {
    let mut failures = Vec::new();
    for others in others {
        for way in WAYS {
            let scene = Scene {
                kind,
                others,
                pass_through,
                share,
                way,
            };
            let heard = own_voice(scene);
            if !heard.is_empty() {
                failures.push(format!("{others} others, {way:?}: {heard:.1?}"));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "they hear themselves (ms after a tick, dBFS):\n{}",
        failures.join("\n")
    );
}

#[test]
fn a_mix_has_nothing_of_a_person_who_came_back() {
    assert_nobody_hears_themselves(MIX, 0..=2, false, true);
}

#[test]
fn nobody_is_passed_their_own_packets_after_they_came_back() {
    assert_nobody_hears_themselves(MIX, 0..=2, true, true);
}

#[test]
fn a_private_mix_has_nothing_of_a_person_who_came_back() {
    assert_nobody_hears_themselves(MIX, 1..=1, true, false);
}

#[test]
fn nobody_is_forwarded_their_own_packets_after_they_came_back() {
    let kind = RoomKind::Forward {
        slots: 4,
        stereo: false,
    };
    assert_nobody_hears_themselves(kind, 1..=1, false, true);
}

#[test]
fn a_stereo_mix_has_nothing_of_a_person_who_came_back() {
    assert_nobody_hears_themselves(STEREO, 1..=1, true, true);
}
