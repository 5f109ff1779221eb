//! Selection of talkers where more of them talk than a listener hears at once: the loudest, or the nearest.

use crate::common::{ROOM, World};
use roomtone_engine::{Action, Command, GainCell, MixConfig, PeerId, RoomKind, Select};
use roomtone_testkit::peer::ClientOptions;

const LISTENER: PeerId = 9;

const KINDS: [RoomKind; 2] = [
    RoomKind::Mix {
        stereo: false,
        auto_gain: false,
    },
    RoomKind::Forward {
        slots: 1,
        stereo: false,
    },
];

/// A room in which one talker is heard at once. 1 is near the listener and speaks softly, 2 is far and shouts, and stays louder.
fn world(select: Select, kind: RoomKind) -> World {
    let mut world = World::with(MixConfig {
        bitrate: 128_000,
        private_bitrate: 128_000,
        ..MixConfig::default()
    });
    world.command(Command::new(ROOM, Action::Open { kind }));
    world.command(Command::new(
        ROOM,
        Action::SetPolicy {
            default_gain: 1.0,
            max_talkers: Some(1),
            select,
        },
    ));
    let options = || ClientOptions {
        slots: usize::from(matches!(kind, RoomKind::Forward { .. })),
        ..ClientOptions::default()
    };
    for (id, dbfs) in [(1, -45.0), (2, -20.0)] {
        world.join(id, options());
        world.talk(id, dbfs);
        // The talkers would each have the other as the only one they can hear.
        let (room, peer) = (ROOM, id);
        world.command(Command::new(room, Action::SetListen { peer, listen: false }));
    }
    world.join(LISTENER, options());
    stand(&mut world, 1, 0.0);
    stand(&mut world, 2, -12.0);
    world.connect();
    world
}

/// How far from the listener a talker is, in dB.
fn stand(world: &mut World, speaker: PeerId, db: f32) {
    let cell = GainCell {
        listener: LISTENER,
        speaker,
        gain: Some(10f32.powf(db / 20.0)),
        pan: 0.0,
    };
    world.command(Command::new(ROOM, Action::SetGains { cells: vec![cell] }));
}

/// The talkers who are heard at present, by their tones in the ear (the client would apply the gains of slots).
fn heard(world: &mut World) -> Vec<PeerId> {
    world.run_ms(600);
    world.clients.get_mut(&LISTENER).unwrap().ear.clear();
    world.run_ms(400);
    let audible = |speaker: &PeerId| world.heard_db(LISTENER, *speaker, 0.3) > -20.0;
    [1, 2].into_iter().filter(audible).collect()
}

#[test]
fn the_loudest_is_heard_or_the_nearest_as_the_policy_says() {
    for kind in KINDS {
        assert_eq!(heard(&mut world(Select::Loudest, kind)), [2], "{kind:?}");
        assert_eq!(heard(&mut world(Select::Nearest, kind)), [1], "{kind:?}");
    }
}

#[test]
fn the_nearest_is_not_kept_waiting_by_who_was_heard_before() {
    for kind in KINDS {
        let mut world = world(Select::Nearest, kind);
        let near = world.clients.get_mut(&1).unwrap().talker.take();
        assert_eq!(heard(&mut world), [2], "{kind:?}: the only one who talks");
        world.clients.get_mut(&1).unwrap().talker = near;
        assert_eq!(heard(&mut world), [1], "{kind:?}");
        stand(&mut world, 1, -20.0);
        assert_eq!(heard(&mut world), [2], "{kind:?}: 1 went away");
    }
}

#[test]
fn two_who_are_about_as_near_do_not_take_turns() {
    for kind in KINDS {
        let mut world = world(Select::Nearest, kind);
        for id in [1, 2] {
            world.talk(id, -30.0);
            stand(&mut world, id, -6.0);
        }
        let first = heard(&mut world);
        assert_eq!(first.len(), 1, "{kind:?}");
        for step in 0..6 {
            // One and then the other is half a decibel nearer, as when somebody sways.
            stand(&mut world, 1, if step % 2 == 0 { -6.0 } else { -6.5 });
            stand(&mut world, 2, if step % 2 == 0 { -6.5 } else { -6.0 });
            assert_eq!(heard(&mut world), first, "{kind:?}");
        }
    }
}
