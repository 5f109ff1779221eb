//! The packets of talkers whom nobody at the other end of a trunk may hear stay on their own node.

use std::time::Duration;

use crate::common::{ROOM, World, gain_cell};
use crate::trunks::{Nodes, TRUNKS, heard_in_row, row_of_three, run_row};
use roomtone_engine::{Action, Command, Distance, PeerId, Place, PlaceCell, Tap, TapSound};
use roomtone_testkit::peer::ClientOptions;

/// Whether 3 and 4, on the second node, hear 1, who talks on the first.
fn hear(nodes: &mut Nodes, gain: f32) {
    let cells = vec![gain_cell(3, 1, gain), gain_cell(4, 1, gain)];
    nodes.command(1, Action::SetGains { cells });
}

/// The packets that stayed on the first node until now.
fn kept(nodes: &Nodes) -> u64 {
    nodes.worlds[0].shard.stats().trunk_packets_unheard
}

fn mute_all(world: &mut World) {
    for client in world.clients.values_mut() {
        client.talker = None;
    }
}

#[test]
fn a_talker_whom_nobody_there_may_hear_sends_a_packet_a_second() {
    for mut nodes in Nodes::of_all_kinds() {
        mute_all(&mut nodes.worlds[1]);
        hear(&mut nodes, 0.0);
        nodes.run_ms(2500);
        nodes.assert_heard(2, 1, 0.0);
        nodes.assert_unheard(4, 1);
        let (carried, before) = (nodes.carried, kept(&nodes));
        nodes.run_ms(10_000);
        assert_eq!(kept(&nodes) - before, 490);
        // A list a second goes the other way, and reports now and then.
        assert!(nodes.carried - carried <= 40, "{}", nodes.carried - carried);
        hear(&mut nodes, 1.0);
        nodes.run_ms(1500);
        nodes.assert_heard(4, 1, 0.0);
    }
}

#[test]
fn the_next_packet_goes_after_somebody_may_hear_its_talker() {
    let mut nodes = Nodes::new(World::mixing, ClientOptions::default);
    for (pause_ms, loses) in [(0, 0), (1_000, 0), (0, 3)] {
        hear(&mut nodes, 0.0);
        nodes.run_ms(3000);
        let talker = nodes.worlds[0].clients.get_mut(&1).unwrap().talker.take();
        if pause_ms == 0 {
            nodes.worlds[0].clients.get_mut(&1).unwrap().talker = talker;
            nodes.loses = loses;
            hear(&mut nodes, 1.0);
            // The list goes three times in 40 ms, and the way there and back takes two steps.
            nodes.run_ms(if loses == 0 { 3 } else { 45 });
        } else {
            // They begin to talk anew, and their first word is whole.
            hear(&mut nodes, 1.0);
            nodes.run_ms(pause_ms);
            nodes.worlds[0].clients.get_mut(&1).unwrap().talker = talker;
        }
        let before = kept(&nodes);
        assert!(before > 0);
        nodes.run_ms(1500);
        assert_eq!(kept(&nodes), before, "pause of {pause_ms} ms, each {loses}. lost");
        nodes.assert_heard(4, 1, 0.0);
        nodes.loses = 0;
    }
}

#[test]
fn a_word_after_a_long_pause_goes_to_all_nodes_again() {
    let mut nodes = Nodes::new(World::mixing, ClientOptions::default);
    hear(&mut nodes, 0.0);
    nodes.run_ms(3000);
    let talker = nodes.worlds[0].clients.get_mut(&1).unwrap().talker.take();
    mute_all(&mut nodes.worlds[1]);
    nodes.run_ms(6000);
    let (carried, before) = (nodes.carried, kept(&nodes));
    nodes.run_ms(5000);
    assert_eq!(nodes.carried, carried, "nothing goes while nobody talks");
    nodes.worlds[0].clients.get_mut(&1).unwrap().talker = talker;
    nodes.run_ms(900);
    assert_eq!(kept(&nodes), before);
}

#[test]
fn a_tap_of_talkers_takes_those_whom_nobody_else_hears() {
    let mut nodes = Nodes::new(World::mixing, ClientOptions::default);
    let tap = Tap::new(nodes.worlds[1].now, Duration::from_millis(20));
    let (peer, sound) = (50, TapSound::Talkers { only: Some(vec![1]) });
    nodes.command(1, Action::JoinTap { peer, tap, sound });
    hear(&mut nodes, 0.0);
    nodes.run_ms(3000);
    assert_eq!(kept(&nodes), 0);
    let sound = TapSound::Talkers { only: Some(vec![3]) };
    nodes.command(1, Action::SetTap { peer, sound });
    nodes.run_ms(3000);
    assert!(kept(&nodes) > 0);
    let sound = TapSound::Talkers { only: None };
    nodes.command(1, Action::SetTap { peer, sound });
    nodes.run_ms(3);
    let before = kept(&nodes);
    nodes.run_ms(1000);
    assert_eq!(kept(&nodes), before);
}

/// The datagrams that go by the trunk, either way, in ten seconds of a large space: everybody's place is a number of metres.
fn datagrams_with(places: [(PeerId, f64); 4]) -> u64 {
    let mut nodes = Nodes::new(World::mixing, ClientOptions::default);
    let cell = |(peer, x): (PeerId, f64)| PlaceCell {
        peer,
        place: Some(Place {
            at: [x, 0.0, 0.0],
            facing: [0.0, 0.0, -1.0],
            everywhere: false,
        }),
    };
    for at in 0..2 {
        let places = places.iter().copied().map(cell).collect();
        let distance = Distance::Linear {
            reference: 1.0,
            max: 20.0,
            rolloff: 1.0,
        };
        nodes.command(at, Action::SetPlaces { distance, places });
    }
    nodes.run_ms(2500);
    let sent = |nodes: &Nodes| -> u64 {
        let stats = nodes.worlds.iter().map(|world| world.shard.stats());
        stats.map(|stats| stats.trunk_datagrams_out).sum()
    };
    let before = sent(&nodes);
    nodes.run_ms(10_000);
    sent(&nodes) - before
}

#[test]
fn between_groups_that_are_far_apart_almost_nothing_goes_by_a_trunk() {
    let near = datagrams_with([(1, 0.0), (2, 0.0), (3, 0.0), (4, 0.0)]);
    let halves = datagrams_with([(1, 0.0), (2, 0.0), (3, 100.0), (4, 0.0)]);
    let apart = datagrams_with([(1, 0.0), (2, 0.0), (3, 100.0), (4, 100.0)]);
    println!("in 10 s: {near} datagrams near, {halves} with one group on both nodes, {apart} far apart");
    assert!(near >= 1000, "{near}");
    assert!((500..600).contains(&halves), "{halves}");
    assert!(apart <= 70, "{apart}");
}

#[test]
fn a_node_that_passes_on_takes_talkers_who_are_heard_only_beyond_it() {
    let mut worlds = row_of_three(true);
    let set = |world: &mut World, listener: PeerId, gain: f32| {
        let cells = vec![gain_cell(listener, 1, gain)];
        world.command(Command::new(ROOM, Action::SetGains { cells }));
    };
    let kept = |worlds: &[World; 3], at: usize| worlds[at].shard.stats().trunk_packets_unheard;
    set(&mut worlds[1], 2, 0.0);
    run_row(&mut worlds, 3000);
    assert_eq!((kept(&worlds, 0), kept(&worlds, 1)), (0, 0));
    assert!(heard_in_row(&worlds, 2, 0).abs() <= 0.5);
    assert!(heard_in_row(&worlds, 1, 0) < -30.0);

    set(&mut worlds[2], 3, 0.0);
    run_row(&mut worlds, 4000);
    assert!(kept(&worlds, 0) > 0, "the first node knows it from the second");
    assert!(heard_in_row(&worlds, 2, 0) < -30.0);

    set(&mut worlds[2], 3, 1.0);
    run_row(&mut worlds, 5);
    let before = (kept(&worlds, 0), kept(&worlds, 1));
    run_row(&mut worlds, 1500);
    assert_eq!((kept(&worlds, 0), kept(&worlds, 1)), before);
    assert!(heard_in_row(&worlds, 2, 0).abs() <= 0.5);
    assert!(heard_in_row(&worlds, 1, 0) < -30.0);
}

#[test]
fn the_list_of_a_trunk_that_is_closed_ends() {
    let mut nodes = Nodes::new(World::mixing, ClientOptions::default);
    hear(&mut nodes, 0.0);
    nodes.run_ms(3000);
    assert!(kept(&nodes) > 0);
    nodes.command(1, Action::CloseTrunk { trunk: TRUNKS[1] });
    nodes.run_ms(3500);
    // Nobody tells the first node anything any more.
    let before = kept(&nodes);
    nodes.run_ms(1000);
    assert_eq!(kept(&nodes), before);
}
