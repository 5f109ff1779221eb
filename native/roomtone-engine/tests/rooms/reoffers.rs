//! Further offers of a participant: the shard tells a restart from a new connection.

use crate::common::{ROOM, World, reoffer, replacement};
use roomtone_engine::{Action, Command, Event, PeerId};
use roomtone_testkit::peer::{ClientOptions, Identity};

const LISTENER: PeerId = 2;

/// Participant 1 talks to a listener.
fn talking_world() -> World {
    let mut world = World::new();
    world.join_talking(1);
    world.join(LISTENER, ClientOptions::default());
    world.connect();
    world.run_ms(500);
    world.events.clear();
    world
}

fn another_certificate() -> ClientOptions {
    ClientOptions {
        identity: Some(Identity::generate().unwrap()),
        ..ClientOptions::default()
    }
}

/// The participants who were answered since the events were cleared, and the refusals.
fn outcomes(world: &World) -> Vec<(PeerId, Option<&'static str>)> {
    let outcome = |(_, event): &(_, Event)| match event {
        Event::Answer { peer, .. } => Some((*peer, None)),
        Event::Refused { peer, refusal, .. } => Some((*peer, Some(refusal.code()))),
        _ => None,
    };
    world.events.iter().filter_map(outcome).collect()
}

fn leave(world: &mut World, peer: PeerId) {
    world.command(Command::new(ROOM, Action::Leave { peer }));
    world.collect();
}

#[test]
fn another_certificate_makes_a_new_participant_beside_the_present_one() {
    let mut world = talking_world();
    world.begin_anew(1, another_certificate());
    assert_eq!(outcomes(&world), [(replacement(1), None)]);
    world.run_ms(500);
    assert!(world.heard_db(LISTENER, 1, 0.3).abs() < 1.0, "the present one goes on");
    leave(&mut world, 1);
    world.clients.remove(&1);
    world.talk(replacement(1), crate::common::TONE_DBFS);
    world.connect();
    world.run_ms(1_000);
    assert!(world.heard_db(LISTENER, replacement(1), 0.5).abs() < 1.0);
    assert_eq!(world.shard.stats().peers, 2);
}

#[test]
fn a_restarted_client_with_its_old_certificate_keeps_its_participant() {
    let mut world = talking_world();
    let mut fresh = roomtone_testkit::peer::ClientPeer::new(world.now, ClientOptions::default()).unwrap();
    std::mem::swap(&mut fresh, &mut world.clients.get_mut(&1).unwrap().peer);
    let client = world.clients.get_mut(&1).unwrap();
    client.connected = false;
    let offer = client.peer.offer();
    world.reoffer(1, offer);
    assert_eq!(outcomes(&world), [(1, None)]);
    world.connect();
    world.run_ms(1_000);
    assert!(world.heard_db(LISTENER, 1, 0.5).abs() < 1.0);
    assert_eq!(world.shard.stats().peers, 2);
}

#[test]
fn a_new_connection_with_other_m_lines_makes_a_new_participant() {
    let mut world = talking_world();
    world.begin_anew(
        1,
        ClientOptions {
            mid: "voice".to_owned(),
            ..ClientOptions::default()
        },
    );
    assert_eq!(outcomes(&world), [(replacement(1), None)]);
}

#[test]
fn an_ice_restart_with_other_m_lines_is_refused() {
    let mut world = talking_world();
    let now = world.now;
    let offer = world.clients.get_mut(&1).unwrap().peer.restart(now);
    world.reoffer(1, offer.replace("a=mid:0", "a=mid:1").replace("BUNDLE 0", "BUNDLE 1"));
    assert_eq!(outcomes(&world), [(1, Some("media_changed"))]);
    world.run_ms(500);
    assert!(world.heard_db(LISTENER, 1, 0.3).abs() < 1.0, "sound goes on");
}

#[test]
fn a_refused_offer_of_a_new_connection_changes_nothing() {
    let mut world = talking_world();
    let offer = roomtone_testkit::peer::ClientPeer::new(world.now, another_certificate())
        .unwrap()
        .offer();
    let before = world.shard.remembered();
    world.reoffer(1, offer.replace("opus", "speex"));
    world.reoffer(77, offer.clone());
    world.command(Command::new(ROOM + 1, reoffer(1, offer.clone())));
    let taken = Action::Reoffer {
        peer: 1,
        offer,
        replacement: LISTENER,
        speak: true,
        listen: true,
    };
    world.command(Command::new(ROOM, taken));
    world.collect();
    let refused = [(1, "no_opus"), (77, "no_peer"), (1, "no_room"), (1, "peer_exists")];
    assert_eq!(outcomes(&world), refused.map(|(peer, code)| (peer, Some(code))));
    assert_eq!(world.shard.remembered(), before);
}

#[test]
fn an_overloaded_shard_takes_a_replacement_and_no_newcomer() {
    let mut world = talking_world();
    while world.shard.stats().shed_level < 4 {
        world.run_ms(1_000);
        let now = world.now;
        world.shard.handle_load(now, 1.0);
    }
    world.events.clear();
    world.join(3, ClientOptions::default());
    world.clients.remove(&3);
    world.begin_anew(1, another_certificate());
    assert_eq!(outcomes(&world), [(3, Some("overloaded")), (replacement(1), None)]);
}
