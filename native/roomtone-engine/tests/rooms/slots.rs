//! Rooms that forward: what listeners are told and when, mutes, and bounds.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::{ROOM, TONE_DBFS, World, slots};
use roomtone_engine::{Action, Command, Event, PeerId, Select, SlotCell};
use roomtone_testkit::peer::ClientOptions;

/// A room with so many slots for each, and these who talk.
fn world(count: u32, talkers: impl IntoIterator<Item = PeerId>) -> World {
    let mut world = World::forwarding(count);
    for id in talkers {
        world.join(id, slots(count as usize));
        world.talk(id, TONE_DBFS);
    }
    world
}

/// All that a listener was told, and when.
fn told(world: &World, listener: PeerId) -> Vec<(Duration, Vec<SlotCell>)> {
    let lists = world.events.iter().filter_map(|(at, event)| match event {
        Event::Slots { peer, slots, .. } if *peer == listener => Some((*at, slots.clone())),
        _ => None,
    });
    lists.collect()
}

fn in_slots(world: &World, listener: PeerId) -> BTreeSet<PeerId> {
    let last = told(world, listener).pop().map(|(_, cells)| cells).unwrap_or_default();
    last.iter().filter_map(|cell| cell.speaker).collect()
}

fn set_speak(world: &mut World, peer: PeerId, speak: bool) {
    let room = ROOM;
    world.command(Command::new(room, Action::SetSpeak { peer, speak }));
}

fn set_listen(world: &mut World, peer: PeerId, listen: bool) {
    let room = ROOM;
    world.command(Command::new(room, Action::SetListen { peer, listen }));
}

#[test]
fn a_listener_is_told_once_connected_and_not_before() {
    let mut world = world(2, [1]);
    world.connect();
    world.run_ms(500);
    // Nothing gets through to the newcomer, so they stay on the way in while the other talks.
    world.deliver = false;
    world.join(2, slots(2));
    world.run_ms(500);
    assert_eq!(told(&world, 2), []);
    world.deliver = true;
    world.connect();
    world.run_ms(500);
    let mut events = world.events.iter();
    let connected = events.find(|(_, event)| matches!(event, Event::Connected { peer: 2, .. }));
    assert!(told(&world, 2)[0].0 >= connected.unwrap().0);
    assert_eq!(in_slots(&world, 2), BTreeSet::from([1]));
}

#[test]
fn who_hears_somebody_is_told_again_and_a_silent_room_rests() {
    let mut world = world(2, [1]);
    world.join(2, slots(2));
    world.connect();
    world.run_ms(1000);
    let before = told(&world, 2);
    world.run_ms(4500);
    let lists = told(&world, 2);
    assert_eq!(lists.len(), before.len() + 2, "{lists:?}");
    assert_eq!(lists.last().unwrap().1, before.last().unwrap().1);
    world.clients.get_mut(&1).unwrap().talker = None;
    world.run_ms(3000);
    let rests = |world: &World| (world.shard.stats().ticks, told(world, 2).len());
    let before = rests(&world);
    world.run_ms(5000);
    assert_eq!(rests(&world), before);
}

#[test]
fn an_ice_restart_is_told_the_slots_once_more() {
    let mut world = world(2, [1]);
    world.join(2, slots(2));
    world.connect();
    world.run_ms(500);
    let before = told(&world, 2);
    let now = world.now;
    let offer = world.clients.get_mut(&2).unwrap().peer.restart(now);
    world.reoffer(2, offer);
    world.run_ms(300);
    let lists = told(&world, 2);
    assert_eq!(lists.len(), before.len() + 1);
    assert_eq!(lists.last().unwrap().1, before.last().unwrap().1);
}

#[test]
fn numbers_go_on_after_a_mute_and_after_deafness() {
    let mut world = world(2, [1, 2]);
    world.join(9, slots(2));
    world.connect();
    world.run_ms(500);
    let markers = |world: &World| world.clients[&9].heard.iter().filter(|heard| heard.3).count();
    for round in 1..=3 {
        let before = markers(&world);
        set_speak(&mut world, 1, false);
        world.run_ms(100 + 10 * round);
        set_speak(&mut world, 1, true);
        world.run_ms(200);
        assert_eq!(markers(&world), before + 1, "a talk spurt of who was muted");
        set_listen(&mut world, 9, false);
        world.run_ms(100 + 10 * round);
        set_listen(&mut world, 9, true);
        world.run_ms(200);
        assert_eq!(markers(&world), before + 3, "a talk spurt of each");
    }
    for client in world.clients.values() {
        client.assert_continuous();
    }
}

#[test]
fn in_a_mix_what_follows_deafness_is_a_talk_spurt_too() {
    let mut world = World::new();
    world.join_talking(1);
    world.join(9, ClientOptions::default());
    world.connect();
    world.run_ms(500);
    set_listen(&mut world, 9, false);
    world.run_ms(300);
    let before = world.clients[&9].heard.len();
    set_listen(&mut world, 9, true);
    world.run_ms(300);
    let since = &world.clients[&9].heard[before..];
    assert!(since.len() > 10 && since[0].3);
    world.clients[&9].assert_continuous();
}

#[test]
fn fewer_talkers_at_once_empty_slots_that_are_taken() {
    let mut world = world(4, 1..=4);
    world.join(9, slots(4));
    world.connect();
    world.run_ms(1000);
    assert_eq!(in_slots(&world, 9).len(), 4);
    let set_most = |world: &mut World, max_talkers| {
        world.command(Command::new(
            ROOM,
            Action::SetPolicy {
                default_gain: 1.0,
                max_talkers,
                select: Select::Loudest,
            },
        ));
        world.run_ms(500);
    };
    set_most(&mut world, Some(2));
    assert_eq!(in_slots(&world, 9).len(), 2);
    let before = world.clients[&9].heard.len();
    world.run_ms(1000);
    assert_eq!(world.clients[&9].heard.len() - before, 100);
    set_most(&mut world, None);
    assert_eq!(in_slots(&world, 9).len(), 4);
    // Too much to do: the shard takes one step after the other.
    for _ in 0..3 {
        let now = world.now;
        world.shard.handle_load(now, 0.99);
    }
    world.run_ms(500);
    assert_eq!(in_slots(&world, 9).len(), 3);
}

#[test]
fn who_sends_more_than_sound_needs_is_not_forwarded_beyond_it() {
    let mut world = world(1, [1]);
    world.join(9, slots(1));
    world.connect();
    world.run_ms(500);
    assert_eq!(world.shard.stats().packets_refused, 0);
    let before = world.clients[&9].heard.len();
    let mut talker = world.clients.get_mut(&1).unwrap().talker.take().unwrap();
    let packet = talker.next().unwrap();
    for step in 0..2000u32 {
        let now = world.now;
        let client = world.clients.get_mut(&1).unwrap();
        let first = client.first_timestamp.wrapping_add(client.media_time);
        for part in 0..2 {
            let timestamp = first.wrapping_add(960 * (2 * step + part));
            client
                .peer
                .send_opus(now, timestamp, false, Some(packet.level), &packet.payload);
        }
        world.run_ms(1);
    }
    let passed = world.clients[&9].heard.len() - before;
    assert!((800..1500).contains(&passed), "{passed} of 4000 in two seconds");
    assert!(world.shard.stats().packets_refused > 2500);
}

#[test]
fn packets_too_long_to_forward_are_counted() {
    let mut world = world(1, [1]);
    world.join(9, slots(1));
    world.connect();
    world.run_ms(500);
    let mut talker = world.clients.get_mut(&1).unwrap().talker.take().unwrap();
    let level = talker.next().unwrap().level;
    world.run_ms(100);
    let before = world.clients[&9].heard.len();
    for (n, bytes) in [1200, 1201, 1200, 1250].into_iter().enumerate() {
        // One frame of 20 ms (RFC 6716 section 3.1), whatever is in it.
        let mut payload = vec![0x55; bytes];
        payload[0] = 31 << 3;
        let now = world.now;
        let client = world.clients.get_mut(&1).unwrap();
        let timestamp = client.first_timestamp.wrapping_add(client.media_time + 960 * n as u32);
        client.peer.send_opus(now, timestamp, false, Some(level), &payload);
        world.run_ms(20);
    }
    let heard = world.clients[&9].heard[before..].iter();
    assert_eq!(heard.map(|packet| packet.4).collect::<Vec<_>>(), [1200, 1200]);
    assert_eq!(world.shard.stats().packets_oversized, 2);
    world.command(Command::new(ROOM, Action::PeerStats { peer: 9, reference: 1 }));
    world.collect();
    let stats = world.events.iter().rev().find_map(|(_, event)| match event {
        Event::PeerStats { stats, .. } => stats.clone(),
        _ => None,
    });
    assert_eq!(stats.unwrap().oversized, 2);
}
