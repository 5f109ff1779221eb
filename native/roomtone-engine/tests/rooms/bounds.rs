//! Ends and limits: what a bug costs, consent, refusals, full shards.

use std::time::Duration;

use crate::common::{ROOM, World, reoffer};
use roomtone_engine::{Action, Command, EndReason, Event, FaultScope, RoomKind};
use roomtone_testkit::peer::ClientOptions;
use roomtone_transport::CloseReason;

fn refusal(world: &World) -> Option<&'static str> {
    world.events.iter().rev().find_map(|(_, event)| match event {
        Event::Refused { refusal, .. } => Some(refusal.code()),
        _ => None,
    })
}

#[test]
fn a_bug_in_one_room_costs_that_room_alone() {
    let mut world = World::new();
    world.command(Command::new(
        99,
        Action::Open {
            kind: RoomKind::default(),
        },
    ));
    world.join_talking(1);
    world.join_talking(2);
    world.join_room(99, 3, ClientOptions::default());
    world.connect();
    world.run_ms(500);
    world.command(Command::new(
        99,
        Action::Fault {
            scope: FaultScope::Room,
        },
    ));
    world.run_ms(1000);
    assert_eq!(
        world.events_of(|e| matches!(e, Event::RoomFailed { room: 99 })).len(),
        1
    );
    world.assert_everyone_hears_the_others_in(ROOM, &[1, 2]);
    assert_eq!(world.shard.stats().rooms, 1);
    assert_eq!(world.shard.stats().peers, 2);
    // The room can be opened again.
    world.command(Command::new(
        99,
        Action::Open {
            kind: RoomKind::default(),
        },
    ));
    world.join_room(99, 4, ClientOptions::default());
    world.clients.remove(&3);
    world.connect();
}

#[test]
fn a_peer_who_falls_silent_is_over_after_thirty_seconds() {
    let mut world = World::new();
    world.step = Duration::from_millis(5);
    world.join_talking(1);
    world.join(2, ClientOptions::default());
    world.connect();
    world.clients.get_mut(&2).unwrap().peer.go_silent(true);
    let pulled = world.elapsed();
    world.run(Duration::from_secs(40));
    let (at, event) = world
        .events
        .iter()
        .find(|(_, e)| matches!(e, Event::Disconnected { .. }))
        .expect("the silent one is over");
    assert_eq!(
        *event,
        Event::Disconnected {
            room: ROOM,
            peer: 2,
            reason: EndReason::Transport(CloseReason::ConsentExpired)
        }
    );
    let after = *at - pulled;
    assert!(
        (Duration::from_secs(24)..Duration::from_secs(32)).contains(&after),
        "{after:?}"
    );
    assert_eq!(world.shard.remembered().2, 1);
}

#[test]
fn an_ice_restart_does_not_interrupt_the_sound() {
    let mut world = World::of_two_talkers();
    world.run_ms(1000);
    let now = world.now;
    let offer = world.clients.get_mut(&1).unwrap().peer.restart(now);
    world.reoffer(1, offer);
    world.run_ms(1500);
    world.assert_everyone_hears_the_others(&[1, 2], 1.4, 1.0);
    for client in world.clients.values() {
        client.assert_continuous();
    }
    assert_eq!(world.events_of(|e| matches!(e, Event::Answer { peer: 1, .. })).len(), 2);
    assert_eq!(
        world.events_of(|e| matches!(e, Event::Connected { peer: 1, .. })).len(),
        1
    );
}

#[test]
fn a_peer_may_change_its_address() {
    let mut world = World::of_two_talkers();
    world.run_ms(500);
    world.clients.get_mut(&1).unwrap().address = "198.51.100.77:7777".parse().unwrap();
    let now = world.now;
    let offer = world.clients.get_mut(&1).unwrap().peer.restart(now);
    world.reoffer(1, offer);
    world.run_ms(2000);
    world.assert_everyone_hears_the_others(&[1, 2], 0.5, 1.0);
}

#[test]
fn refusals_say_why_and_leave_nothing_behind() {
    let mut world = World::new();
    let good = roomtone_testkit::peer::ClientPeer::new(world.now, ClientOptions::default())
        .unwrap()
        .offer();
    let before = world.shard.remembered();
    let cases = [
        (500, good.clone(), "no_room"),
        (ROOM, "hello".to_owned(), "malformed"),
        (ROOM, good.replace("opus", "speex"), "no_opus"),
        (ROOM, good.replace("a=fingerprint", "a=footprint"), "no_fingerprint"),
        (ROOM, good.replace("a=ice-ufrag", "a=ice-nothing"), "no_ice_credentials"),
        (ROOM, format!("{good}{}", "a=x\r\n".repeat(20_000)), "too_large"),
    ];
    for (room, offer, code) in cases {
        world.command(Command::new(
            room,
            Action::Join {
                peer: 1,
                offer,
                speak: true,
                listen: true,
            },
        ));
        world.collect();
        assert_eq!(refusal(&world), Some(code));
        assert_eq!(world.shard.remembered(), before);
    }
    world.command(Command::new(ROOM, reoffer(77, good)));
    world.collect();
    assert_eq!(refusal(&world), Some("no_peer"));
}

#[test]
fn commands_for_what_is_not_there_do_nothing() {
    let mut world = World::new();
    for room in [ROOM, 12345] {
        world.command(Command::new(room, Action::Leave { peer: 1 }));
        world.command(Command::new(room, Action::SetSpeak { peer: 1, speak: true }));
        world.command(Command::new(room, Action::SetListen { peer: 1, listen: true }));
    }
    world.command(Command::new(12345, Action::Close));
    world.collect();
    assert!(world.events.is_empty(), "{:?}", world.events);
    world.command(Command::new(ROOM, Action::PeerStats { peer: 1, reference: 8 }));
    world.collect();
    assert_eq!(
        world.events[0].1,
        Event::PeerStats {
            reference: 8,
            stats: None
        }
    );
}

#[test]
fn closing_a_room_tells_everybody() {
    let mut world = World::of_two_talkers();
    world.run_ms(200);
    world.command(Command::new(ROOM, Action::Close));
    world.run_ms(100);
    assert!(world.clients.values().all(|c| c.closed), "BYE or close_notify");
    let gone = world.events_of(|e| {
        matches!(
            e,
            Event::Disconnected {
                reason: EndReason::RoomClosed,
                ..
            }
        )
    });
    assert_eq!(gone.len(), 2);
    assert_eq!(world.shard.remembered(), (0, 0, 0));
    assert_eq!(world.shard.poll_timeout(), None, "nothing is left to do");
}

#[test]
fn a_stall_of_the_shard_skips_what_is_too_old_and_goes_on() {
    let mut world = World::of_two_talkers();
    world.run_ms(1000);
    world.step = Duration::from_millis(500);
    world.run_ms(500); // nothing ran for half a second
    world.step = Duration::from_millis(1);
    world.run_ms(2000);
    world.assert_everyone_hears_the_others(&[1, 2], 1.0, 1.0);
    for client in world.clients.values() {
        let seqs: Vec<u16> = client.heard.iter().map(|h| h.1).collect();
        assert!(
            seqs.windows(2).all(|w| w[1].wrapping_sub(w[0]) == 1),
            "no sequence number is left out"
        );
    }
}

#[test]
fn a_room_takes_another_kind_only_while_nobody_is_in_it() {
    let answered = |world: &mut World, id| {
        let options = ClientOptions {
            slots: 2,
            ..ClientOptions::default()
        };
        world.join(id, options);
        let sdp = world.events.iter().rev().find_map(|(_, event)| match event {
            Event::Answer { peer, sdp, .. } if *peer == id => Some(sdp.clone()),
            _ => None,
        });
        // A forwarding room takes the additional m-lines, a mixing one rejects them.
        let sdp = sdp.expect("an answer");
        sdp.lines()
            .filter(|line| line.starts_with("m=audio ") && !line.starts_with("m=audio 0 "))
            .count()
    };
    let open = |world: &mut World, kind| world.command(Command::new(ROOM, Action::Open { kind }));
    let forward = RoomKind::Forward {
        slots: 2,
        stereo: false,
    };
    let mut world = World::new();
    assert_eq!(answered(&mut world, 1), 1);
    open(&mut world, forward);
    assert_eq!(answered(&mut world, 2), 1, "1 is in the room");
    for peer in [1, 2] {
        world.command(Command::new(ROOM, Action::Leave { peer }));
    }
    open(&mut world, forward);
    assert_eq!(answered(&mut world, 3), 3);
    open(&mut world, RoomKind::default());
    assert_eq!(answered(&mut world, 4), 3, "3 is in the room");
}
