//! Redundant Opus (RED, RFC 2198) from talkers: what is lost on their way here is heard all the same, by everybody.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::voice::Mouth;
use crate::common::{ROOM, TONE_DBFS, World};
use roomtone_engine::{Action, Command, Event, PeerStats};
use roomtone_testkit::link::LinkConfig;
use roomtone_testkit::peer::ClientOptions;

const RED: u8 = 63;

fn red(copies: usize) -> ClientOptions {
    ClientOptions {
        red: Some(RED),
        red_copies: copies,
        ..ClientOptions::default()
    }
}

/// 1 talks with so many copies, and after a second loses this part of their packets; 2 listens and knows nothing of RED.
fn lossy_talker(mut world: World, copies: usize, loss: f32) -> World {
    let listener = ClientOptions {
        slots: 0,
        ..ClientOptions::default()
    };
    world.join(1, red(copies));
    world.talk(1, TONE_DBFS);
    world.join(2, listener);
    world.connect();
    world.run_ms(1_000);
    let lossy = LinkConfig {
        seed: 11,
        loss,
        ..LinkConfig::default()
    };
    world.clients.get_mut(&1).unwrap().to_server.set_config(lossy);
    world.clients.get_mut(&1).unwrap().sent = Some(BTreeSet::new());
    world.clients.get_mut(&2).unwrap().payloads = Some(Vec::new());
    world.clients.get_mut(&2).unwrap().heard.clear();
    world.run_ms(20_000);
    world
}

fn stats(world: &mut World, peer: u64) -> PeerStats {
    world.command(Command::new(ROOM, Action::PeerStats { peer, reference: 5 }));
    world.collect();
    match world.events.last() {
        Some((_, Event::PeerStats { stats: Some(stats), .. })) => (**stats).clone(),
        other => panic!("no figures: {other:?}"),
    }
}

/// How many packets the listener lacks.
fn missing(world: &World) -> usize {
    let numbers: BTreeSet<u16> = world.clients[&2].heard.iter().map(|packet| packet.1).collect();
    let (first, last) = (world.clients[&2].heard[0].1, world.clients[&2].heard.last().unwrap().1);
    assert_eq!(numbers.len(), world.clients[&2].heard.len(), "a number came twice");
    usize::from(last.wrapping_sub(first)) + 1 - numbers.len()
}

#[test]
fn a_listener_without_red_gets_plain_opus_and_the_restored_packets() {
    for forward in [false, true] {
        let world = || if forward { World::forwarding(1) } else { World::new() };
        let plain = lossy_talker(world(), 0, 0.1);
        let mut world = lossy_talker(world(), 2, 0.1);
        let redundant = missing(&world);
        // Of a thousand packets one is lost with both that carry it.
        assert!(redundant <= 5, "{redundant}");
        if forward {
            assert!(missing(&plain) > 60, "{}", missing(&plain));
        } else {
            // With that much loss a talker without copies is mixed.
            let passed = |world: &World| world.shard.stats().packets_passed;
            assert!(
                passed(&plain) < 600 && passed(&world) > 900,
                "{} {}",
                passed(&plain),
                passed(&world)
            );
        }
        let client = &world.clients[&2];
        let sent = world.clients[&1].sent.as_ref().unwrap();
        let payloads = client.payloads.as_ref().unwrap();
        let foreign = payloads.iter().filter(|payload| !sent.contains(*payload)).count();
        assert!(foreign <= 2, "{foreign} packets are none of the talker's");
        assert_eq!(client.peer.stats().red_received, 0);
        let stats = stats(&mut world, 1);
        assert!(
            stats.lost_in > 60 && stats.restored_in + 5 >= stats.lost_in,
            "{stats:?}"
        );
    }
}

#[test]
fn a_mix_conceals_only_what_no_copy_replaces() {
    let concealed = |copies| {
        let mut world = lossy_talker(World::mixing(), copies, 0.1);
        let stats = stats(&mut world, 1);
        (stats.concealed, stats.restored_in)
    };
    let (plain, none) = concealed(0);
    let (redundant, restored) = concealed(2);
    assert_eq!(none, 0);
    assert!(plain > 60, "{plain}");
    assert!(
        redundant <= 20 && restored > 60,
        "{redundant} of {plain}, {restored} restored"
    );
}

/// 1 talks, with pauses, and loses a twentieth on the way here, and answers requests for what is missing; 2 listens. The figures of 1 in
/// the end, with what was made up in 12 s.
fn asked_talker(latency: u64, talk_back: bool) -> (PeerStats, u64) {
    let mut world = World::mixing();
    let options = ClientOptions {
        nack: true,
        report_interval: Duration::from_secs(1),
        ..ClientOptions::default()
    };
    world.join(1, options);
    let (mouth, talker) = Mouth::new(500.0, TONE_DBFS);
    world.clients.get_mut(&1).unwrap().talker = Some(talker);
    world.join(2, ClientOptions::default());
    if talk_back {
        world.talk(2, TONE_DBFS);
    }
    world.connect();
    let latency = Duration::from_millis(latency);
    let way = |loss| LinkConfig {
        seed: 4,
        latency,
        loss,
        ..LinkConfig::default()
    };
    let client = world.clients.get_mut(&1).unwrap();
    client.to_server.set_config(way(0.0));
    client.to_client.set_config(way(0.0));
    let speak = |world: &mut World, seconds: u32| {
        for _ in 0..seconds {
            mouth.open(true);
            world.run_ms(700);
            mouth.open(false);
            world.run_ms(300);
        }
    };
    speak(&mut world, 8);
    world.clients.get_mut(&1).unwrap().to_server.set_config(way(0.05));
    speak(&mut world, 4);
    let before = stats(&mut world, 1);
    speak(&mut world, 12);
    let mut after = stats(&mut world, 1);
    after.concealed -= before.concealed;
    (after, world.clients[&1].peer.stats().resent)
}

#[test]
fn a_talker_is_asked_for_lost_packets_where_the_round_trip_leaves_time() {
    for talk_back in [false, true] {
        let (near, resent) = asked_talker(15, talk_back);
        assert!(resent > 20, "{resent} of forty");
        let (far, few) = asked_talker(70, talk_back);
        // While nobody reports the round trip, it is measured now and then.
        assert!(few <= 5, "{few}");
        assert!(near.concealed < far.concealed / 2, "{near:?} {far:?}");
    }
}
