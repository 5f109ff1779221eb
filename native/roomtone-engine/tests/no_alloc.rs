//! Once a room talks, neither a packet nor a tick allocates.
//!
//! RTCP reports and the levels told to the room do allocate, and how many of them fall due is up to their random intervals
//! (RFC 3550, section 6.2). So what is asked of is each packet and each tick by itself: almost none may allocate, and the few that
//! do have a report to write.

#![allow(clippy::unwrap_used)]

mod common;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use common::speech::{Noisy, speaker};
use common::{Moment, ROOM, World};
use counting_alloc::CountingAlloc;
use roomtone_engine::{Action, Command, GainCell, RoomKind, Tap, TapSound, Voice};
use roomtone_testkit::fixtures::OpusTalker;
use roomtone_testkit::link::LinkConfig;
use roomtone_testkit::peer::ClientOptions;

thread_local! {
    static TALLY: RefCell<Tally> = const { RefCell::new(Tally { packets: Vec::new(), times: Vec::new() }) };
    static BEGUN: Cell<(Moment, u64)> = const { Cell::new((Moment::Done, 0)) };
}

/// The allocations of each packet of sound, and of each time that the shard looked at the clock.
struct Tally {
    packets: Vec<u64>,
    times: Vec<u64>,
}

impl Tally {
    /// Counts from here on, with room for what will come.
    fn begin(world: &mut World) {
        TALLY.with_borrow_mut(|tally| {
            tally.packets = Vec::with_capacity(10_000);
            tally.times = Vec::with_capacity(10_000);
        });
        world.watch = |moment| {
            let now = counting_alloc::allocations();
            let (begun, before) = BEGUN.get();
            TALLY.with_borrow_mut(|tally| match begun {
                Moment::Sound => tally.packets.push(now - before),
                Moment::Time => tally.times.push(now - before),
                Moment::Other | Moment::Done => {}
            });
            BEGUN.set((moment, counting_alloc::allocations()));
        };
    }

    /// The counts.
    fn end(world: &mut World) -> Tally {
        world.watch = |_| {};
        TALLY.with_borrow_mut(|tally| Tally {
            packets: std::mem::take(&mut tally.packets),
            times: std::mem::take(&mut tally.times),
        })
    }
}

/// The lists of levels in two seconds, each of which is allocated. While nothing is mixed, ticks wait for a packet and come with it.
const LEVELS: usize = 11;

fn allocating(counts: &[u64]) -> usize {
    counts.iter().filter(|count| **count > 0).count()
}

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

#[test]
fn the_steady_state_allocates_nothing() {
    let mut world = World::new();
    for id in 1..=6 {
        world.join_talking(id);
    }
    for id in 7..=20 {
        world.join(id, ClientOptions::default());
    }
    world.connect();
    // A mix of their own for some, so that it isn't all one.
    let cell = |listener, speaker, gain| GainCell {
        listener,
        speaker,
        gain: Some(gain),
        pan: 0.0,
    };
    world.command(Command::new(
        ROOM,
        Action::SetGains {
            cells: vec![cell(7, 1, 0.5), cell(8, 1, 0.0), cell(9, 2, 2.0)],
        },
    ));
    world.run_ms(3000);
    world.deliver = false;
    let (ticks, packets) = (world.shard.stats().ticks, world.shard.stats().packets_sent);
    Tally::begin(&mut world);
    world.run_ms(2000);
    let tally = Tally::end(&mut world);
    let stats = world.shard.stats();
    let ticks = (stats.ticks - ticks) as usize;
    assert!(ticks >= 99 && stats.packets_sent - packets >= 20 * 99, "{stats:?}");
    // Six talk, fifty packets a second each: none of them.
    assert!(tally.packets.len() >= 590, "{} packets", tally.packets.len());
    assert_eq!(allocating(&tally.packets), 0, "packets in");
    // In a tenth of the ticks the levels are told; reports of twenty are due some twenty times.
    let some = allocating(&tally.times);
    assert!(some < 40, "{some} of {ticks} ticks allocate: {:?}", tally.times);
}

#[test]
fn automatic_gain_allocates_nothing() {
    let mut world = World::new();
    let kind = RoomKind::Mix {
        stereo: false,
        auto_gain: true,
    };
    world.command(Command::new(ROOM, Action::Open { kind }));
    for id in 1..=3 {
        world.join(id, ClientOptions::default());
        let client = world.clients.get_mut(&id).unwrap();
        client.talker = Some(speaker(client.hz, -42.0 + 4.0 * id as f32, 0.1));
    }
    world.join(20, ClientOptions::default());
    world.connect();
    world.run_ms(6000);
    world.deliver = false;
    let evened = world.shard.stats().frames_evened;
    Tally::begin(&mut world);
    world.run_ms(3000);
    let tally = Tally::end(&mut world);
    assert!(world.shard.stats().frames_evened > evened + 200);
    let telling = allocating(&tally.packets);
    assert!(telling <= 2 * LEVELS, "{telling} packets: {:?}", tally.packets);
    let some = allocating(&tally.times);
    assert!(some < 40, "{some} ticks allocate: {:?}", tally.times);
}

#[test]
fn noise_suppression_allocates_nothing_once_noise_was_found() {
    let mut world = World::new();
    for id in 1..=3 {
        world.join(id, ClientOptions::default());
        let client = world.clients.get_mut(&id).unwrap();
        client.talker = Some(OpusTalker::new(Noisy::new(Some(12.0)), 64_000).unwrap());
        let (peer, voice, suppress) = (id, Voice::Even, true);
        world.command(Command::new(ROOM, Action::SetVoice { peer, voice, suppress }));
    }
    world.join(20, ClientOptions::default());
    world.connect();
    world.run_ms(6000);
    world.deliver = false;
    let before = world.shard.stats().frames_suppressed;
    Tally::begin(&mut world);
    world.run_ms(3000);
    let tally = Tally::end(&mut world);
    assert!(world.shard.stats().frames_suppressed > before + 200);
    let telling = allocating(&tally.packets);
    assert!(telling <= 2 * LEVELS, "{telling} packets: {:?}", tally.packets);
    let some = allocating(&tally.times);
    assert!(some < 40, "{some} ticks allocate: {:?}", tally.times);
}

#[test]
fn noise_that_is_found_and_mutes_cost_few_allocations() {
    let mut world = World::new();
    for id in [1, 2] {
        world.join(id, ClientOptions::default());
        let client = world.clients.get_mut(&id).unwrap();
        client.talker = Some(OpusTalker::new(Noisy::new(Some(12.0)), 64_000).unwrap());
        let (peer, voice, suppress) = (id, Voice::Even, true);
        world.command(Command::new(ROOM, Action::SetVoice { peer, voice, suppress }));
    }
    world.connect();
    Tally::begin(&mut world);
    world.run_ms(6000);
    let found = Tally::end(&mut world);
    let suppressed = world.shard.stats().frames_suppressed;
    assert!(suppressed > 0);
    // A suppressor has some twenty; the plans of its transforms would be fifty more.
    assert!(found.times.iter().all(|count| *count < 50), "{:?}", found.times);
    Tally::begin(&mut world);
    for speak in [false, true] {
        world.command(Command::new(ROOM, Action::SetSpeak { peer: 1, speak }));
        world.run_ms(1000);
    }
    let muted = Tally::end(&mut world);
    let some = allocating(&muted.times);
    assert!(some < 40, "{some} ticks allocate: {:?}", muted.times);
    assert!(world.shard.stats().frames_suppressed > suppressed + 50);
}

#[test]
fn copies_for_listeners_who_lose_packets_allocate_nothing() {
    let mut world = World::new();
    world.join_talking(1);
    world.join_talking(2);
    let red = ClientOptions {
        red: Some(63),
        ..ClientOptions::default()
    };
    for id in 3..=12 {
        world.join(id, red.clone());
        let lossy = LinkConfig {
            seed: id,
            loss: 0.05,
            ..LinkConfig::default()
        };
        world.clients.get_mut(&id).unwrap().to_client.set_config(lossy);
    }
    world.connect();
    world.run_ms(12_000);
    for id in 3..=12 {
        assert!(world.clients[&id].peer.stats().copies_received > 0, "{id}");
    }
    world.deliver = false;
    Tally::begin(&mut world);
    world.run_ms(2_000);
    let tally = Tally::end(&mut world);
    assert_eq!(allocating(&tally.packets), 0, "packets in");
    let some = allocating(&tally.times);
    assert!(some < 40, "{some} ticks allocate: {:?}", tally.times);
}

#[test]
fn passing_on_allocates_nothing() {
    let mut world = World::new();
    world.join_talking(1);
    for id in 2..=20 {
        world.join(id, ClientOptions::default());
    }
    world.connect();
    world.run_ms(3000);
    world.deliver = false;
    let before = world.shard.stats().packets_passed;
    Tally::begin(&mut world);
    world.run_ms(2000);
    let tally = Tally::end(&mut world);
    assert_eq!(world.shard.stats().packets_passed - before, 19 * 100);
    let telling = allocating(&tally.packets);
    assert!(telling <= LEVELS, "{telling} packets: {:?}", tally.packets);
    let some = allocating(&tally.times);
    assert!(some < 40, "{some} of {} looks at the clock allocate", tally.times.len());
}

#[test]
fn forwarding_allocates_nothing() {
    let mut world = World::new();
    world.command(Command::new(
        ROOM,
        Action::Open {
            kind: RoomKind::Forward {
                slots: 3,
                stereo: false,
            },
        },
    ));
    let slots = ClientOptions {
        slots: 3,
        ..ClientOptions::default()
    };
    for id in 1..=10 {
        world.join(id, slots.clone());
    }
    // One more than there are slots: somebody's packets are always weighed and left.
    for id in 1..=4 {
        world.talk(id, -20.0 - id as f32);
    }
    world.connect();
    world.run_ms(3000);
    world.deliver = false;
    let packets = world.shard.stats().packets_sent;
    Tally::begin(&mut world);
    world.run_ms(2000);
    let tally = Tally::end(&mut world);
    // Three for each of seven listeners and of the talkers, who hear the other three.
    assert_eq!(world.shard.stats().packets_sent - packets, 10 * 3 * 100);
    assert!(tally.packets.len() >= 390, "{} packets", tally.packets.len());
    let telling = allocating(&tally.packets);
    assert!(telling <= LEVELS, "{telling} packets: {:?}", tally.packets);
    let some = allocating(&tally.times);
    assert!(
        some < 50,
        "{some} of {} looks at the clock allocate: {:?}",
        tally.times.len(),
        tally.times
    );
}

#[test]
fn taps_allocate_nothing() {
    let mut world = World::new();
    for id in 1..=3 {
        world.join_talking(id);
    }
    world.connect();
    let sounds = [
        TapSound::Talkers { only: None },
        TapSound::Mix {
            default_gain: 1.0,
            gains: vec![(1, 0.5)],
            stereo: false,
        },
    ];
    let mut taps = Vec::new();
    for (peer, sound) in (80..).zip(sounds) {
        let tap = Tap::new(world.now, Duration::from_millis(100));
        taps.push(tap.clone());
        world.command(Command::new(ROOM, Action::JoinTap { peer, tap, sound }));
    }
    // Until each batch has grown.
    world.run_ms(6000);
    world.deliver = false;
    Tally::begin(&mut world);
    world.run_ms(2000);
    let tally = Tally::end(&mut world);
    assert!(tally.packets.len() >= 290, "{} packets", tally.packets.len());
    assert_eq!(allocating(&tally.packets), 0, "packets in");
    let some = allocating(&tally.times);
    assert!(some < 20, "{some} ticks allocate: {:?}", tally.times);
    assert!(taps.iter().all(|tap| tap.take().is_some()));
}

#[test]
fn longer_packets_allocate_nothing() {
    let rooms: [fn() -> World; 3] = [World::new, World::mixing, || World::forwarding(1)];
    for (number, new) in rooms.into_iter().enumerate() {
        let mut world = new();
        world.join_talking(1);
        for id in 2..=20 {
            let ptime = Some(if id % 2 == 0 { 40 } else { 60 });
            let options = ClientOptions {
                ptime,
                ..ClientOptions::default()
            };
            world.join(id, options);
        }
        world.connect();
        world.run_ms(3000);
        world.deliver = false;
        Tally::begin(&mut world);
        world.run_ms(2000);
        let tally = Tally::end(&mut world);
        assert!(tally.packets.len() >= 98, "{number}: {} packets", tally.packets.len());
        let telling = allocating(&tally.packets);
        assert!(telling <= LEVELS, "{number}: {telling} packets: {:?}", tally.packets);
        let some = allocating(&tally.times);
        assert!(
            some < 40,
            "{number}: {some} of {} looks at the clock allocate",
            tally.times.len()
        );
    }
}
