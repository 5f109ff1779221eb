//! Rooms that move from shard to shard during a call.

use std::time::Duration;

use crate::common::{ROOM, World, reoffer};
use roomtone_engine::{Action, Command, Event, FaultScope, PeerId, RoomKind};
use roomtone_testkit::peer::ClientOptions;

fn move_to(world: &mut World, from: usize, to: usize) {
    submit(world, from, Command::new(ROOM, Action::Move { to }));
}

fn submit(world: &mut World, shard: usize, command: Command) {
    world.submit(shard, command);
    world.collect();
}

fn moves(world: &World) -> usize {
    world.events_of(|event| matches!(event, Event::RoomMoved { .. })).len()
}

/// The longest time between two packets that a listener got since `from`.
fn longest_gap(world: &World, listener: PeerId, from: Duration) -> Duration {
    let heard = &world.clients[&listener].heard;
    let times = heard.iter().map(|h| h.0).filter(|at| *at >= world.start + from);
    let times: Vec<_> = times.collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
}

#[test]
fn nobody_hears_a_room_move() {
    let mut world = World::of_two();
    for id in 1..=3 {
        world.join_talking(id);
    }
    world.join(4, ClientOptions::default());
    world.connect();
    world.run_ms(1000);
    let from = world.elapsed();
    for round in 0..10 {
        let (here, there) = (round % 2, (round + 1) % 2);
        move_to(&mut world, here, there);
        // At ever other moments of the frame.
        world.run_ms(193 + round as u64);
        assert_eq!(world.shard_at(there).stats().peers, 4);
        assert_eq!(world.shard_at(here).stats().rooms, 0);
    }
    assert_eq!(moves(&world), 10);
    world.assert_everyone_hears_the_others(&[1, 2, 3], 1.0, 1.0);
    for id in 1..=4 {
        let gap = longest_gap(&world, id, from);
        assert!(gap <= Duration::from_millis(40), "{id} heard nothing for {gap:?}");
        world.clients[&id].assert_continuous();
        let spurts = world.clients[&id]
            .heard
            .iter()
            .filter(|h| h.0 > world.start + from && h.3)
            .count();
        assert_eq!(spurts, 0, "{id}: no new talk spurt");
    }
    // The packets themselves, one for each frame.
    let since = |world: &World| world.clients[&4].heard.len();
    let before = since(&world);
    move_to(&mut world, 0, 1);
    world.run_ms(1000);
    assert_eq!(since(&world) - before, 50);
}

#[test]
fn a_forwarding_room_moves_too() {
    let mut world = World::of_two();
    world.command(Command::new(
        ROOM,
        Action::Open {
            kind: RoomKind::Forward {
                slots: 2,
                stereo: false,
            },
        },
    ));
    for id in 1..=3 {
        world.join(
            id,
            ClientOptions {
                slots: 2,
                ..ClientOptions::default()
            },
        );
        world.talk(id, crate::common::TONE_DBFS);
    }
    world.connect();
    world.run_ms(500);
    let before = world.clients[&1].heard.len();
    move_to(&mut world, 0, 1);
    world.run_ms(1000);
    assert_eq!(world.clients[&1].heard.len() - before, 100);
    world.assert_everyone_hears_the_others(&[1, 2, 3], 0.5, 0.5);
    world.clients[&1].assert_continuous();
}

#[test]
fn people_come_and_go_after_a_move_whichever_shard_is_told() {
    let mut world = World::with_talker_and_listener(2);
    move_to(&mut world, 0, 1);
    world.run_ms(100);
    // The old shard hands on what is for the room: a newcomer's offer. Their home is where the room is now.
    world.join_talking(3);
    world.connect();
    world.run_ms(1000);
    world.assert_everyone_hears_the_others(&[1, 3], 0.5, 1.0);
    // An ICE restart of somebody whose home is the old shard.
    let now = world.now;
    let offer = world.clients.get_mut(&2).unwrap().peer.restart(now);
    submit(&mut world, 1, Command::new(ROOM, reoffer(2, offer)));
    world.collect();
    world.run_ms(1000);
    world.assert_everyone_hears_the_others(&[1, 3], 0.5, 1.0);
    // Back again, with somebody at home over there.
    move_to(&mut world, 1, 0);
    world.run_ms(1000);
    world.assert_everyone_hears_the_others(&[1, 3], 0.5, 1.0);
    submit(&mut world, 0, Command::new(ROOM, Action::Leave { peer: 1 }));
    world.run_ms(100);
    assert!(world.clients[&1].closed, "told goodbye");
    world.clients.remove(&1);
    submit(&mut world, 1, Command::new(ROOM, Action::Close));
    world.run_ms(100);
    for index in 0..2 {
        assert_eq!(world.shard_at(index).remembered(), (0, 0, 0), "shard {index}");
        assert_eq!(world.shard_at(index).stats().peers, 0);
    }
    // The number may be used again, on either.
    submit(
        &mut world,
        0,
        Command::new(
            ROOM,
            Action::Open {
                kind: RoomKind::default(),
            },
        ),
    );
    assert_eq!(world.shard_at(0).stats().rooms, 1);
}

#[test]
fn an_address_that_changes_after_the_move_is_found_at_home() {
    let mut world = World::with_talker_and_listener(2);
    move_to(&mut world, 0, 1);
    world.run_ms(300);
    // 1 comes from another address from now on: only a check by its ufrag leads to it.
    let client = world.clients.get_mut(&1).unwrap();
    client.address.set_port(client.address.port() + 5000);
    let now = world.now;
    let offer = client.peer.restart(now);
    submit(&mut world, 1, Command::new(ROOM, reoffer(1, offer)));
    world.collect();
    world.run_ms(1500);
    world.assert_everyone_hears_the_others(&[1], 0.5, 1.0);
}

#[test]
fn nowhere_else_to_go_is_no_move() {
    let mut world = World::with_talker_and_listener(2);
    for to in [0, 2, usize::MAX] {
        move_to(&mut world, 0, to);
    }
    submit(&mut world, 0, Command::new(4711, Action::Move { to: 1 }));
    world.run_ms(500);
    assert_eq!(moves(&world), 0);
    world.assert_everyone_hears_the_others(&[1], 0.3, 1.0);
}

#[test]
fn when_the_home_breaks_the_room_that_moved_away_goes_on() {
    let mut world = World::with_talker_and_listener(2);
    move_to(&mut world, 0, 1);
    world.run_ms(500);
    world.replace_shard(0);
    world.run_ms(1000);
    world.assert_everyone_hears_the_others(&[1], 0.5, 1.0);
    submit(&mut world, 0, Command::new(ROOM, Action::Leave { peer: 1 }));
    world.run_ms(100);
    assert!(world.clients[&1].closed, "the next life knows where the room is");
}

#[test]
fn when_a_shard_on_the_way_breaks_the_room_that_moved_on_goes_on() {
    let mut world = World::with_talker_and_listener(3);
    move_to(&mut world, 0, 1);
    world.run_ms(200);
    move_to(&mut world, 1, 2);
    world.run_ms(200);
    world.replace_shard(1);
    world.run_ms(1000);
    world.assert_everyone_hears_the_others(&[1], 0.5, 1.0);
    // By way of each that knows of it.
    for (shard, peer) in [(0, 1), (1, 2)] {
        submit(&mut world, shard, Command::new(ROOM, Action::Leave { peer }));
        world.run_ms(100);
        assert!(world.clients[&peer].closed, "{peer} left by way of {shard}");
    }
    submit(&mut world, 0, Command::new(ROOM, Action::Close));
    world.run_ms(100);
    for index in 0..3 {
        assert_eq!(world.shard_at(index).remembered(), (0, 0, 0), "shard {index}");
    }
}

#[test]
fn when_the_shard_of_a_moved_room_breaks_nothing_of_it_is_left() {
    let mut world = World::of_two();
    world.join_talking(1);
    world.connect();
    move_to(&mut world, 0, 1);
    world.run_ms(200);
    world.replace_shard(1);
    world.run_ms(100);
    assert_eq!(world.shard.remembered(), (0, 0, 0));
    // It is opened again where it was, whichever shard is told, so that all who speak of it mean the same.
    submit(
        &mut world,
        0,
        Command::new(
            ROOM,
            Action::Open {
                kind: RoomKind::default(),
            },
        ),
    );
    assert_eq!(world.shard_at(1).stats().rooms, 1);
    submit(&mut world, 0, Command::new(ROOM, Action::Close));
    assert_eq!(world.shard_at(1).stats().rooms, 0);
    assert_eq!(world.queues.remembered(), (0, 0));
}

#[test]
fn a_bug_in_a_room_that_moved_is_forgotten_everywhere() {
    let mut world = World::of_two();
    world.join_talking(1);
    world.join_talking(2);
    world.connect();
    move_to(&mut world, 0, 1);
    world.run_ms(200);
    submit(
        &mut world,
        0,
        Command::new(
            ROOM,
            Action::Fault {
                scope: FaultScope::Room,
            },
        ),
    );
    world.run_ms(100);
    assert!(
        world
            .events
            .iter()
            .any(|(_, event)| *event == Event::RoomFailed { room: ROOM })
    );
    for index in 0..2 {
        assert_eq!(world.shard_at(index).remembered(), (0, 0, 0), "shard {index}");
    }
}
