//! Heap that a participant needs in the engine alone, libopus and ring included: bytes that glibc counts as in use, of all that a
//! shard allocates and frees while N listeners, and then K talkers, join and stay for some seconds.
//!
//! `cargo run --release -p roomtone-engine --example bench_memory [N [K [SECONDS]]]`

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::cell::Cell;
use std::time::Duration;

use common::{Moment, World};
use roomtone_testkit::peer::{ClientOptions, Direction};

thread_local! {
    static BEFORE: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
}

/// Bytes of the heap that are in use.
#[allow(unsafe_code)]
fn in_use() -> usize {
    // SAFETY: it takes no arguments, and reads the allocator's counters under its lock.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

fn watch(moment: Moment) {
    match moment {
        Moment::Done => HELD.set(HELD.get() + in_use() as i64 - BEFORE.get() as i64),
        _ => BEFORE.set(in_use()),
    }
}

fn main() {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [listeners, talkers, seconds] = std::array::from_fn(|i| arguments.get(i).copied().unwrap_or([100, 40, 10][i]));
    let mut world = World::new();
    world.watch = watch;
    // So that the shared parts aren't counted as somebody's.
    come(&mut world, 1..=1, Direction::RecvOnly);
    come(&mut world, 2..=3, Direction::SendRecv);
    world.run(Duration::from_secs(seconds));
    for (who, count, direction) in [
        ("listener", listeners, Direction::RecvOnly),
        ("talker", talkers, Direction::SendRecv),
    ] {
        let before = HELD.get();
        let first = world.clients.len() as u64 + 1;
        come(&mut world, first..=first + count - 1, direction);
        let connected = HELD.get();
        world.run(Duration::from_secs(seconds));
        let kb = |bytes: i64| bytes as f64 / 1000.0 / count as f64;
        println!(
            "a {who}: {:.1} kB of heap once connected, {:.1} kB {seconds} s later",
            kb(connected - before),
            kb(HELD.get() - before)
        );
    }
}

fn come(world: &mut World, ids: std::ops::RangeInclusive<u64>, direction: Direction) {
    for id in ids {
        world.join(
            id,
            ClientOptions {
                direction,
                ..ClientOptions::default()
            },
        );
        if direction == Direction::SendRecv {
            world.talk(id, common::TONE_DBFS);
        }
    }
    world.connect();
}
