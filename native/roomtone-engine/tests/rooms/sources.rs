//! Rooms that forward: each packet says whose it is, and listeners know beforehand how to play whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{ROOM, TONE_DBFS, World, slots};
use roomtone_engine::{Action, Command, Event, GainCell, PeerId, SlotCell, SourceCell};
use roomtone_testkit::peer::ClientOptions;

fn set_gains(world: &mut World, listener: PeerId, gains: &[(PeerId, Option<f32>)]) {
    let cell = |(speaker, gain): &(PeerId, Option<f32>)| GainCell {
        listener,
        speaker: *speaker,
        gain: *gain,
        pan: if *speaker % 2 == 0 { 0.5 } else { 0.0 },
    };
    world.command(Command::new(
        ROOM,
        Action::SetGains {
            cells: gains.iter().map(cell).collect(),
        },
    ));
}

/// The last list that a listener got, and how many they got.
fn told(world: &World, listener: PeerId) -> (Vec<SlotCell>, Vec<SourceCell>, f32, usize) {
    let lists = world.events.iter().filter_map(|(_, event)| match event {
        Event::Slots {
            peer,
            slots,
            others,
            rest,
            ..
        } if *peer == listener => Some((slots.clone(), others.clone(), *rest)),
        _ => None,
    });
    let (slots, others, rest) = lists.clone().next_back().unwrap_or_default();
    (slots, others, rest, lists.count())
}

/// The contributing sources of what a listener gets in the next while.
fn sources(world: &mut World, listener: PeerId, ms: u64) -> BTreeSet<Option<u32>> {
    world.clients.get_mut(&listener).unwrap().contributed.clear();
    world.run_ms(ms);
    world.clients[&listener].contributed.iter().copied().collect()
}

#[test]
fn each_packet_says_whose_it_is_by_a_number_that_the_room_gave() {
    let mut world = World::forwarding(1);
    for id in [1, 2, 9] {
        world.join(id, slots(1));
    }
    world.connect();
    let mut numbers = BTreeMap::new();
    for id in [1, 2, 1, 2] {
        world.talk(id, TONE_DBFS);
        world.run_ms(600);
        let heard = sources(&mut world, 9, 300);
        assert_eq!(heard.len(), 1, "{heard:?}");
        let source = heard.first().unwrap().unwrap();
        assert_eq!(*numbers.entry(id).or_insert(source), source, "the same in each turn");
        let cell = told(&world, 9).0[0];
        assert_eq!((cell.speaker, cell.source), (Some(id), source));
        world.clients.get_mut(&id).unwrap().talker = None;
        world.run_ms(600);
    }
    assert_ne!(numbers[&1], numbers[&2]);
    let ssrcs: Vec<u32> = world.clients.values().map(|client| client.peer.ssrc()).collect();
    assert!(
        numbers.values().all(|number| !ssrcs.contains(number)),
        "not what a client chose"
    );
    // It survives what forgets a talker otherwise.
    for speak in [false, true] {
        let (room, peer) = (ROOM, 1);
        world.command(Command::new(room, Action::SetSpeak { peer, speak }));
    }
    world.talk(1, TONE_DBFS);
    world.run_ms(600);
    assert_eq!(sources(&mut world, 9, 300), BTreeSet::from([Some(numbers[&1])]));
    // In a mix nobody is named.
    let mut mixed = World::new();
    mixed.join_talking(1);
    mixed.join(9, ClientOptions::default());
    mixed.connect();
    assert_eq!(sources(&mut mixed, 9, 500), BTreeSet::from([None]));
}

#[test]
fn a_listener_knows_how_to_play_somebody_before_they_say_a_word() {
    let mut world = World::forwarding(2);
    for id in 1..=4 {
        world.join(id, slots(2));
    }
    world.join(9, slots(2));
    world.connect();
    world.run_ms(300);
    let (_, others, rest, before) = told(&world, 9);
    assert_eq!((others, rest), (vec![], 1.0), "all alike");
    set_gains(&mut world, 9, &[(1, Some(0.5)), (2, Some(0.1)), (3, Some(0.0))]);
    world.run_ms(300);
    let (slots, others, rest, now) = told(&world, 9);
    assert_eq!(now, before + 1);
    assert!(slots.iter().all(|slot| slot.speaker.is_none()));
    assert_eq!(rest, 1.0);
    let told_of: Vec<_> = others.iter().map(|cell| (cell.speaker, cell.gain, cell.pan)).collect();
    // A talker at gain 0 never comes.
    assert_eq!(told_of, [(2, 0.1, 0.5), (1, 0.5, 0.0)]);
    world.talk(2, TONE_DBFS);
    let mut heard = sources(&mut world, 9, 400);
    assert_eq!(
        heard.pop_first(),
        Some(Some(others[0].source)),
        "the number that was told of"
    );
    set_gains(&mut world, 9, &[(1, None), (2, None)]);
    world.run_ms(300);
    assert_eq!((told(&world, 9).1, told(&world, 9).2), (vec![], 1.0));
}

#[test]
fn of_many_the_softest_are_told_and_nobody_else_is_played_too_loud() {
    let mut world = World::forwarding(1);
    for id in 1..=100 {
        world.join(id, slots(1));
    }
    world.join(900, slots(1));
    world.connect();
    let gains: Vec<_> = (1..=100).map(|id| (id, Some(id as f32 / 200.0))).collect();
    set_gains(&mut world, 900, &gains);
    world.run_ms(300);
    let (_, others, rest, _) = told(&world, 900);
    assert_eq!(others.len(), 64);
    assert!(others.iter().all(|cell| cell.gain <= 0.32));
    assert_eq!(rest, 0.325, "the least of all others");
    world.command(Command::new(
        ROOM,
        Action::SetPolicy {
            default_gain: 0.0,
            max_talkers: None,
            select: roomtone_engine::Select::Loudest,
        },
    ));
    let few: Vec<_> = gains.iter().skip(10).map(|(id, _)| (*id, Some(0.0))).collect();
    set_gains(&mut world, 900, &few);
    world.run_ms(300);
    let (_, others, rest, _) = told(&world, 900);
    assert_eq!((others.len(), rest), (10, 0.0), "nobody else can come");
}
