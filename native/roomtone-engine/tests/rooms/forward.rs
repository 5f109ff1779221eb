//! Rooms that forward: the packets of the most relevant talkers, in slots, as they came.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::{ROOM, TONE_DBFS, World, slots};
use roomtone_engine::{Action, Command, Event, PeerId, SlotCell};
use roomtone_testkit::fixtures::{OpusTalker, Tone};
use roomtone_testkit::link::LinkConfig;
use roomtone_testkit::peer::{ClientOptions, Direction};

/// The last list of slots that a listener got.
fn told(world: &World, listener: PeerId) -> Vec<SlotCell> {
    let lists = world.events.iter().rev().filter_map(|(_, event)| match event {
        Event::Slots { peer, slots, .. } if *peer == listener => Some(slots.clone()),
        _ => None,
    });
    lists.clone().next().unwrap_or_default()
}

fn in_slots(world: &World, listener: PeerId) -> BTreeSet<PeerId> {
    told(world, listener).iter().filter_map(|cell| cell.speaker).collect()
}

fn forget_what_was_heard(world: &mut World) {
    for client in world.clients.values_mut() {
        client.ear.clear();
        client.heard.clear();
        client.heard_from.clear();
    }
}

#[test]
fn each_talker_arrives_as_they_spoke_in_a_slot_of_their_own_and_nobody_hears_themselves() {
    let mut world = World::forwarding(3);
    for id in 1..=3 {
        world.join(id, slots(3));
        world.talk(id, TONE_DBFS);
    }
    world.join(4, slots(3));
    world.connect();
    world.run_ms(1500);
    world.assert_everyone_hears_the_others(&[1, 2, 3], 0.5, 0.5);
    for client in world.clients.values() {
        client.assert_continuous();
    }
    assert_eq!(world.clients[&4].peer.slot_ssrcs().len(), 3);
    let sources: BTreeSet<u32> = world.clients[&4].heard_from.iter().copied().collect();
    let announced: BTreeSet<u32> = world.clients[&4].peer.slot_ssrcs().iter().copied().collect();
    assert_eq!(sources, announced);
    assert_eq!(in_slots(&world, 4), BTreeSet::from([1, 2, 3]));
    assert_eq!(in_slots(&world, 1), BTreeSet::from([2, 3]));
    assert!(told(&world, 4).iter().all(|cell| cell.gain == 1.0));
    let stats = world.shard.stats();
    assert_eq!((stats.frames_decoded, stats.frames_encoded), (0, 0));
}

#[test]
fn a_packet_goes_on_in_the_moment_in_which_it_comes() {
    let mut world = World::forwarding(3);
    world.join(1, slots(3));
    world.talk(1, TONE_DBFS);
    world.join(2, slots(3));
    world.connect();
    world.run_ms(500);
    let before = world.clients[&2].heard.len();
    world.wiretap = Some(Vec::new());
    let mut sent_at = Vec::new();
    for _ in 0..100 {
        world.run_ms(1);
        let tapped = world.wiretap.as_mut().unwrap();
        // RTP, of which 1 sends a packet each 20 ms.
        if tapped
            .iter()
            .any(|(_, bytes)| (128..192).contains(&bytes[0]) && !(192..224).contains(&bytes[1]))
        {
            sent_at.push(world.now);
        }
        tapped.clear();
    }
    let heard: Vec<_> = world.clients[&2].heard[before..].iter().map(|h| h.0).collect();
    assert_eq!(heard, sent_at);
    assert_eq!(heard.len(), 5);
}

#[test]
fn the_loudest_have_the_slots_and_a_louder_one_takes_the_quietest_slot() {
    let mut world = World::forwarding(2);
    for (id, dbfs) in [(1, -20.0), (2, -30.0), (3, -40.0)] {
        world.join(id, slots(2));
        world.talk(id, dbfs);
    }
    world.join(9, slots(2));
    world.connect();
    world.run_ms(1500);
    assert_eq!(in_slots(&world, 9), BTreeSet::from([1, 2]));
    forget_what_was_heard(&mut world);
    world.run_ms(500);
    assert!(world.heard_db(9, 3, 0.4) < -40.0);
    assert!(world.heard_db(9, 1, 0.4).abs() < 0.5 && world.heard_db(9, 2, 0.4).abs() < 0.5);
    // Louder than 2 by less than the preference: nothing changes. By more: 3 is heard, and 1 has stayed where it was.
    world.talk(3, -26.0);
    world.run_ms(1000);
    assert_eq!(in_slots(&world, 9), BTreeSet::from([1, 2]));
    let first = told(&world, 9).iter().position(|cell| cell.speaker == Some(1));
    world.talk(3, -15.0);
    world.run_ms(1000);
    assert_eq!(in_slots(&world, 9), BTreeSet::from([1, 3]));
    assert_eq!(told(&world, 9).iter().position(|cell| cell.speaker == Some(1)), first);
    for client in world.clients.values() {
        client.assert_continuous();
    }
}

#[test]
fn streams_go_on_without_a_gap_whoever_takes_the_slot() {
    let mut world = World::forwarding(1);
    for id in 1..=4 {
        world.join(id, slots(1));
    }
    world.join(9, slots(1));
    world.connect();
    for round in 0..12u64 {
        let talker = 1 + round % 4;
        for id in 1..=4 {
            world.clients.get_mut(&id).unwrap().talker = None;
        }
        world.talk(talker, -20.0 - (round % 3) as f32);
        world.run_ms(313);
    }
    let heard = &world.clients[&9];
    heard.assert_continuous();
    assert_eq!(heard.heard_from.iter().collect::<BTreeSet<_>>().len(), 1);
    let spurts = heard.heard.iter().filter(|packet| packet.3).count();
    assert_eq!(spurts, 12, "a marker for each talker's turn");
    // Nothing jumps ahead of the time that has passed.
    let (first, last) = (heard.heard[0], heard.heard[heard.heard.len() - 1]);
    let media = f64::from(last.2.wrapping_sub(first.2)) / 48_000.0;
    let wall = (last.0 - first.0).as_secs_f64();
    assert!((media - wall).abs() < 0.06, "{media} s of media in {wall} s");
}

#[test]
fn a_clock_that_stands_still_in_pauses_does_not_hold_the_stream_up() {
    let mut world = World::forwarding(1);
    for id in 1..=2 {
        world.join(id, slots(1));
    }
    world.connect();
    let tone = Tone::new(world.clients[&1].hz, 0.1);
    let mut talker = OpusTalker::new(tone, 64_000).unwrap();
    let mut timestamp = 0;
    for spurt in 0..20 {
        for n in 0..25 {
            let packet = talker.next().unwrap();
            let now = world.now;
            let marker = n == 0 && spurt % 2 == 0;
            let client = world.clients.get_mut(&1).unwrap();
            client
                .peer
                .send_opus(now, timestamp, marker, Some(packet.level), &packet.payload);
            timestamp += 960;
            world.run_ms(20);
        }
        world.run(Duration::from_secs(5));
    }
    let heard = &world.clients[&2].heard;
    assert_eq!(heard.len(), 20 * 25);
    for packet in heard {
        let media = f64::from(packet.2.wrapping_sub(heard[0].2)) / 48_000.0;
        let wall = (packet.0 - heard[0].0).as_secs_f64();
        assert!((media - wall).abs() < 0.1, "{media} s of media in {wall} s");
    }
    world.clients[&2].assert_continuous();
}

#[test]
fn what_may_not_be_heard_is_not_sent() {
    let mut world = World::forwarding(3);
    world.join(1, slots(3));
    world.talk(1, TONE_DBFS);
    world.join(2, slots(3));
    world.join(3, slots(3));
    world.connect();
    world.set_gain(2, 1, 0.0);
    forget_what_was_heard(&mut world);
    world.run_ms(500);
    assert!(world.clients[&2].heard.is_empty() && world.clients[&3].heard.len() > 20);
    assert_eq!(in_slots(&world, 2), BTreeSet::new());
    // And back, and away again while the tone goes on.
    world.set_gain(2, 1, 0.5);
    world.run_ms(500);
    assert!(world.clients[&2].heard.len() > 20);
    assert_eq!(told(&world, 2)[0].gain, 0.5);
    world.set_gain(2, 1, 0.0);
    forget_what_was_heard(&mut world);
    world.run_ms(500);
    assert!(world.clients[&2].heard.is_empty());
    assert_eq!(in_slots(&world, 2), BTreeSet::new());
}

#[test]
fn relevance_is_gain_times_level_for_each_listener() {
    let mut world = World::forwarding(1);
    for (id, dbfs) in [(1, -20.0), (2, -30.0)] {
        world.join(id, slots(1));
        world.talk(id, dbfs);
    }
    world.join(8, slots(1));
    world.join(9, slots(1));
    world.connect();
    world.set_gain(9, 1, 0.05);
    world.run_ms(1000);
    assert_eq!(in_slots(&world, 8), BTreeSet::from([1]));
    assert_eq!(in_slots(&world, 9), BTreeSet::from([2]));
}

#[test]
fn who_offers_one_m_line_hears_one_talker_on_it() {
    let mut world = World::forwarding(3);
    for (id, dbfs) in [(1, -20.0), (2, -40.0)] {
        world.join(id, slots(3));
        world.talk(id, dbfs);
    }
    world.join(9, ClientOptions::default());
    world.connect();
    world.run_ms(1000);
    assert!(world.heard_db(9, 1, 0.5).abs() < 0.5 && world.heard_db(9, 2, 0.5) < -20.0);
    world.clients[&9].assert_continuous();
    assert_eq!(told(&world, 9).len(), 1);
}

#[test]
fn who_only_listens_and_who_only_talks() {
    let mut world = World::forwarding(2);
    let one_way = |direction| ClientOptions { direction, ..slots(2) };
    world.join(
        1,
        ClientOptions {
            slots: 0,
            ..one_way(Direction::SendOnly)
        },
    );
    world.talk(1, TONE_DBFS);
    world.join(2, one_way(Direction::Inactive));
    world.connect();
    world.run_ms(500);
    assert!(world.heard_db(2, 1, 0.3).abs() < 0.5);
    assert!(world.clients[&1].heard.is_empty());
}

#[test]
fn silence_is_not_sent_and_levels_are_found_where_none_are_told() {
    let mut world = World::forwarding(2);
    world.join(1, slots(2));
    world.talk(1, -90.0);
    world.join(
        2,
        ClientOptions {
            level_ext: false,
            ..slots(2)
        },
    );
    world.talk(2, TONE_DBFS);
    world.join(9, slots(1));
    world.connect();
    world.run_ms(1000);
    assert!(world.heard_db(9, 2, 0.5).abs() < 0.5, "{}", world.heard_db(9, 2, 0.5));
    assert_eq!(in_slots(&world, 9), BTreeSet::from([2]));
    assert!(world.clients[&2].heard.is_empty(), "1 is background");
    let speaking = |world: &World, id| {
        world
            .events_of(|e| matches!(e, Event::Speaking { peer, speaking: true, .. } if *peer == id))
            .len()
    };
    assert_eq!((speaking(&world, 1), speaking(&world, 2)), (0, 1));
    world.clients.get_mut(&2).unwrap().talker = None;
    world.run_ms(1000);
    let ended = world.events_of(|e| {
        matches!(
            e,
            Event::Speaking {
                peer: 2,
                speaking: false,
                ..
            }
        )
    });
    assert_eq!(ended.len(), 1);
    world.clients.get_mut(&1).unwrap().talker = None;
    world.run_ms(500);
    let ticks = world.shard.stats().ticks;
    world.run_ms(1000);
    assert_eq!(world.shard.stats().ticks, ticks, "a silent room rests");
}

#[test]
fn what_is_lost_or_late_on_the_way_to_us_is_on_the_way_on() {
    let mut world = World::forwarding(1);
    world.join(1, slots(1));
    world.join(2, slots(1));
    world.connect();
    world.clients.get_mut(&1).unwrap().to_server.set_config(LinkConfig {
        seed: 5,
        loss: 0.1,
        ..LinkConfig::default()
    });
    world.talk(1, TONE_DBFS);
    world.run_ms(4000);
    let heard = &world.clients[&2].heard;
    let stats = world.clients[&2].peer.stats();
    let (received, lost) = (stats.streams[0].received, stats.streams[0].lost);
    assert!(
        received > 150 && lost > 5,
        "{received} came, {lost} are known to be missing"
    );
    for pair in heard.windows(2) {
        let (packets, samples) = (pair[1].1.wrapping_sub(pair[0].1), pair[1].2.wrapping_sub(pair[0].2));
        assert_eq!(samples, 960 * u32::from(packets), "a lost packet is a lost frame");
    }
}

#[test]
fn a_listener_is_told_at_most_five_times_a_second_and_of_every_last_change() {
    let mut world = World::forwarding(1);
    for id in 1..=2 {
        world.join(id, slots(1));
        world.talk(id, TONE_DBFS);
    }
    world.connect();
    for step in 0..100u32 {
        world.set_gain(2, 1, 0.1 + step as f32 / 200.0);
        world.run_ms(20);
    }
    let times: Vec<Duration> = world
        .events
        .iter()
        .filter(|(_, event)| matches!(event, Event::Slots { peer: 2, .. }))
        .map(|(at, _)| *at)
        .collect();
    assert!(
        times
            .windows(2)
            .all(|pair| pair[1] - pair[0] >= Duration::from_millis(199))
    );
    assert!(times.len() >= 9, "{}", times.len());
    world.run_ms(300);
    assert!((told(&world, 2)[0].gain - 0.595).abs() < 0.001);
    // A talker who leaves is in no slot.
    world.command(Command::new(ROOM, Action::Leave { peer: 1 }));
    world.run_ms(300);
    assert_eq!(in_slots(&world, 2), BTreeSet::new());
}

#[test]
fn a_mute_is_at_once_and_a_deaf_listener_gets_nothing() {
    let mut world = World::forwarding(1);
    world.join(1, slots(1));
    world.talk(1, TONE_DBFS);
    world.join(2, slots(1));
    world.join(3, slots(1));
    world.connect();
    world.run_ms(300);
    world.command(Command::new(ROOM, Action::SetListen { peer: 3, listen: false }));
    forget_what_was_heard(&mut world);
    world.run_ms(300);
    assert!(world.clients[&2].heard.len() > 10 && world.clients[&3].heard.is_empty());
    world.command(Command::new(ROOM, Action::SetSpeak { peer: 1, speak: false }));
    forget_what_was_heard(&mut world);
    world.run_ms(300);
    assert!(world.clients[&2].heard.is_empty());
    world.command(Command::new(ROOM, Action::SetSpeak { peer: 1, speak: true }));
    world.run_ms(300);
    assert!(world.heard_db(2, 1, 0.2).abs() < 0.5);
    world.clients[&2].assert_continuous();
}

#[test]
fn an_ice_restart_keeps_the_slots_and_other_m_lines_are_refused() {
    let mut world = World::forwarding(2);
    world.join(1, slots(2));
    world.talk(1, TONE_DBFS);
    world.join(2, slots(2));
    world.connect();
    world.run_ms(300);
    let now = world.now;
    let offer = world.clients.get_mut(&2).unwrap().peer.restart(now);
    let fewer = offer.replace("a=mid:slot1", "a=mid:other").replace(" slot1", " other");
    world.reoffer(2, fewer);
    let changed = |event: &Event| matches!(event, Event::Refused { refusal, .. } if refusal.code() == "media_changed");
    assert_eq!(world.events_of(changed).len(), 1);
    world.reoffer(2, offer);
    world.run_ms(500);
    assert!(world.heard_db(2, 1, 0.3).abs() < 0.5);
    world.clients[&2].assert_continuous();
}

#[test]
fn nobody_is_told_of_slots_before_they_are_connected() {
    let mut world = World::forwarding(2);
    world.join(1, slots(2));
    world.talk(1, TONE_DBFS);
    world.connect();
    world.run_ms(300);
    world.join(2, slots(2));
    world.connect();
    world.run_ms(500);
    let at = |wanted: &dyn Fn(&Event) -> bool| {
        let found = world.events.iter().position(|(_, event)| wanted(event));
        found.expect("it happened")
    };
    let connected = at(&|event| matches!(event, Event::Connected { peer: 2, .. }));
    let told = at(&|event| matches!(event, Event::Slots { peer: 2, .. }));
    assert!(connected < told);
    assert_eq!(in_slots(&world, 2), BTreeSet::from([1]));
}
