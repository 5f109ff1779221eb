//! The way of one packet through the server, stage by stage.
//!
//! The clock of the stages moves by a microsecond each time that it is read, so that their order shows on the virtual clock.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::common::{ROOM, World, slots};
use roomtone_engine::{Action, Command, Event, PeerId, Stage, Trace, Way};
use roomtone_testkit::peer::ClientOptions;

thread_local! {
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
    static READ: Cell<u32> = const { Cell::new(0) };
}

fn clock() -> Instant {
    READ.set(READ.get() + 1);
    NOW.get().unwrap() + Duration::from_micros(u64::from(READ.get()))
}

/// Runs a millisecond at a time, with the stages' clock in step.
fn run_ms(world: &mut World, ms: u64) {
    for _ in 0..ms {
        NOW.set(Some(world.now + world.step));
        READ.set(0);
        world.run(world.step);
    }
}

fn ask(world: &mut World, reference: u64, talker: PeerId, listener: Option<PeerId>) {
    NOW.set(Some(world.now));
    world.command(Command::new(
        ROOM,
        Action::Trace {
            talker,
            listener,
            reference,
        },
    ));
}

fn traces(world: &World) -> Vec<Trace> {
    let trace = |event: &Event| match event {
        Event::Traced { room: ROOM, trace } => Some(*trace.clone()),
        _ => None,
    };
    world.events.iter().filter_map(|(_, event)| trace(event)).collect()
}

fn names(trace: &Trace) -> Vec<Stage> {
    trace.stages().map(|(stage, _)| stage).collect()
}

fn assert_in_order(trace: &Trace) {
    let times: Vec<Duration> = trace.stages().map(|(_, at)| at).collect();
    assert_eq!(times[0], Duration::ZERO);
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{times:?}");
}

/// The stages of a datagram of which the system didn't tell when it came.
const IN: [Stage; 4] = [Stage::Shard, Stage::Room, Stage::Opened, Stage::Buffered];

fn talking(mut world: World, talkers: u64, listeners: u64) -> World {
    for id in 1..=talkers {
        world.join_talking(id);
    }
    for id in talkers + 1..=talkers + listeners {
        world.join(id, ClientOptions::default());
    }
    world.connect();
    world.run_ms(1000);
    world.shard.set_clock(clock);
    world
}

#[test]
fn a_mixed_packet_passes_every_stage_in_order() {
    let mut world = talking(World::mixing(), 2, 3);
    let asked = world.now;
    ask(&mut world, 99, 1, None);
    assert!(world.shard.wants_arrivals(world.now));
    run_ms(&mut world, 300);
    let [trace] = &traces(&world)[..] else {
        panic!("{:?}", traces(&world))
    };
    assert_eq!((trace.reference, trace.talker), (99, 1));
    let rest = [
        Stage::Tick,
        Stage::Decoded,
        Stage::Mixed,
        Stage::Encoded,
        Stage::Sealed,
        Stage::Sent,
    ];
    assert_eq!(names(trace), [&IN[..], &rest[..]].concat());
    assert_in_order(trace);
    // 3, 4 and 5 hear the same; 2 hears 1 alone.
    assert!(matches!(trace.way, Way::Mixed { listeners: 1 | 3 }), "{:?}", trace.way);
    // From the datagram to the datagram: the packet came within 20 ms, and its tick is past it.
    let (told, _) = world
        .events
        .iter()
        .find(|(_, event)| matches!(event, Event::Traced { .. }))
        .unwrap();
    let total = trace.stages().last().unwrap().1;
    let since_asked = *told - (asked - world.start);
    assert!(total <= since_asked, "{total:?} of {since_asked:?}");
    assert!(total >= Duration::from_millis(4), "{total:?}: less than the least wait");
    assert!(trace.into_frame <= Duration::from_millis(20));
}

#[test]
fn the_listener_can_be_chosen() {
    let mut world = talking(World::mixing(), 2, 3);
    for (reference, listener) in [(1, 2), (2, 5), (3, 3)] {
        ask(&mut world, reference, 1, Some(listener));
        run_ms(&mut world, 300);
        let trace = traces(&world).pop().unwrap();
        let listeners = if listener == 2 { 1 } else { 3 };
        assert_eq!((trace.reference, trace.listener), (reference, Some(listener)));
        assert_eq!(trace.way, Way::Mixed { listeners });
        assert_in_order(&trace);
    }
}

#[test]
fn a_packet_that_is_passed_on_is_neither_decoded_nor_mixed() {
    let mut world = talking(World::new(), 1, 2);
    ask(&mut world, 1, 1, None);
    run_ms(&mut world, 300);
    let [trace] = &traces(&world)[..] else {
        panic!("{:?}", traces(&world))
    };
    assert_eq!(trace.way, Way::Passed);
    assert_eq!(names(trace), [&IN[..], &[Stage::Sealed, Stage::Sent]].concat());
    assert_in_order(trace);
}

#[test]
fn a_forwarded_packet_has_no_tick() {
    let mut world = World::forwarding(2);
    for id in 1..=3 {
        world.join(id, slots(2));
    }
    world.talk(1, crate::common::TONE_DBFS);
    world.connect();
    world.run_ms(1000);
    world.shard.set_clock(clock);
    ask(&mut world, 1, 1, Some(3));
    run_ms(&mut world, 300);
    let [trace] = &traces(&world)[..] else {
        panic!("{:?}", traces(&world))
    };
    assert_eq!((trace.way, trace.listener), (Way::Forwarded, Some(3)));
    assert_eq!(names(trace), [&IN[..3], &[Stage::Sealed, Stage::Sent]].concat());
    assert_in_order(trace);
}

#[test]
fn the_kernels_time_comes_first_where_it_is_known() {
    let mut world = talking(World::new(), 1, 1);
    ask(&mut world, 1, 1, None);
    let kernel = world.now;
    while traces(&world).is_empty() {
        world.shard.handle_arrival(kernel);
        run_ms(&mut world, 1);
    }
    let trace = traces(&world).pop().unwrap();
    assert_eq!(names(&trace)[..2], [Stage::Kernel, Stage::Shard]);
    assert_in_order(&trace);
}

#[test]
fn nothing_is_told_when_nobody_looks() {
    let mut world = talking(World::new(), 2, 2);
    READ.set(0);
    world.run_ms(500);
    assert_eq!(READ.get(), 0, "the clock was read");
    assert!(traces(&world).is_empty());
    assert!(!world.shard.wants_arrivals(world.now));
    // One question, one answer.
    ask(&mut world, 1, 1, None);
    run_ms(&mut world, 1000);
    assert_eq!(traces(&world).len(), 1);
    READ.set(0);
    world.run_ms(500);
    assert_eq!(READ.get(), 0, "the clock was read after the answer");
}

#[test]
fn a_packet_that_nobody_hears_goes_nowhere() {
    let mut world = talking(World::new(), 2, 0);
    world.set_gain(2, 1, 0.0);
    world.run_ms(100);
    ask(&mut world, 1, 1, None);
    run_ms(&mut world, 400);
    let [trace] = &traces(&world)[..] else {
        panic!("{:?}", traces(&world))
    };
    assert_eq!((trace.way, trace.listener), (Way::Nowhere, None));
    assert!(!names(trace).contains(&Stage::Sent));
}

#[test]
fn questions_are_bounded_and_those_about_the_absent_forgotten() {
    let mut world = talking(World::new(), 2, 1);
    ask(&mut world, 1, 77, None);
    for reference in 2..=40 {
        ask(&mut world, reference, 1, None);
    }
    run_ms(&mut world, 300);
    let told: Vec<u64> = traces(&world).iter().map(|trace| trace.reference).collect();
    assert_eq!(told, (33..=40).collect::<Vec<_>>());
}

#[test]
fn a_talker_who_is_muted_ends_their_traces() {
    let mut world = talking(World::new(), 2, 1);
    ask(&mut world, 1, 1, None);
    let mute = Action::SetSpeak { peer: 1, speak: false };
    world.command(Command::new(ROOM, mute));
    run_ms(&mut world, 50);
    let [trace] = &traces(&world)[..] else {
        panic!("{:?}", traces(&world))
    };
    assert_eq!(trace.way, Way::Nowhere);
    assert_eq!(names(trace), []);
}
