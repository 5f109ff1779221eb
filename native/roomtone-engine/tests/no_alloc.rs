//! Once a room talks, neither a packet nor a tick allocates: counted in an allocator of this test's own.

#![allow(clippy::unwrap_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{Moment, ROOM, World};
use roomtone_engine::{Command, GainCell};
use roomtone_load::peer::ClientOptions;

struct Counting;

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // During a thread's end there is nothing to count.
    let _ = WATCHED.try_with(|watched| {
        if watched.get() {
            COUNT.set(COUNT.get() + 1);
        }
    });
}

// SAFETY: every call is handed on to the system's allocator as it is; counting touches no memory that it manages.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise, handed on.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
    world.command(Command::SetGains {
        room: ROOM,
        cells: vec![cell(7, 1, 0.5), cell(8, 1, 0.0), cell(9, 2, 2.0)],
    });
    world.run_ms(3000);
    world.deliver = false;
    world.watch = |moment| WATCHED.set(moment != Moment::Done);
    let (ticks, packets) = (world.shard.stats().ticks, world.shard.stats().packets_sent);
    world.run_ms(2000);
    world.watch = |_| {};
    let stats = world.shard.stats();
    assert!(
        stats.ticks - ticks >= 99 && stats.packets_sent - packets >= 20 * 99,
        "{stats:?}"
    );
    // 600 packets came, 2,000 went. What is left are the RTCP reports that were due, and the levels told five times a second.
    let left = COUNT.get();
    assert!(left < 120, "{left} allocations in 100 ticks");
}

#[test]
fn forwarding_allocates_nothing() {
    let mut world = World::new();
    world.command(Command::SetKind {
        room: ROOM,
        stereo: false,
        slots: Some(3),
    });
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
    world.watch = |moment| WATCHED.set(moment != Moment::Done);
    let packets = world.shard.stats().packets_sent;
    world.run_ms(2000);
    world.watch = |_| {};
    // Three for each of seven listeners and of the talkers, who hear the other three.
    assert_eq!(world.shard.stats().packets_sent - packets, 10 * 3 * 100);
    // RTCP reports, of four streams each, and levels.
    let left = COUNT.get();
    assert!(left < 250, "{left} allocations for 3,000 packets");
}
