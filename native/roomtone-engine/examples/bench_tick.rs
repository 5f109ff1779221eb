//! Costs of a room in the engine alone, without kernel and network: µs of CPU a tick, and a packet, of a room where K of N talk.
//!
//! `cargo run --release -p roomtone-engine --example bench_tick [N [K [SECONDS]]]`. Variables of the environment change the room:
//!
//! | variable | effect |
//! |---|---|
//! | `MIX_ALWAYS=1` | a lone talker is mixed, too |
//! | `REPAIR=1` | all clients agree on RED and NACK |
//! | `COPIES=1` | those who talk send a copy of the packet before in each, as browsers do |
//! | `SPEECH=-38` | those who talk speak at this level, dBov, and the room has automatic gain |
//! | `FOLLOW=1` | a packet of each talker is followed, once a second (`Action::Trace`) |
//!
//! `valgrind --tool=cachegrind --cache-sim=no` counts instructions where a clock is too rough.

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::cell::Cell;
use std::time::Duration;

use common::speech::speaker;
use common::{Moment, ROOM, World};
use cpu_time::ThreadTime;
use roomtone_engine::{Action, Command, MixConfig, RoomKind};
use roomtone_testkit::peer::{ClientOptions, Direction};

thread_local! {
    static BEGUN: Cell<Option<(Moment, ThreadTime)>> = const { Cell::new(None) };
    static RECEIVING: Cell<(u32, Duration)> = const { Cell::new((0, Duration::ZERO)) };
    static TICKING: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn watch(moment: Moment) {
    match (moment, BEGUN.take()) {
        (Moment::Done, Some((Moment::Sound, begun))) => {
            let (count, spent) = RECEIVING.get();
            RECEIVING.set((count + 1, spent + begun.elapsed()));
        }
        (Moment::Done, Some((Moment::Time, begun))) => TICKING.set(TICKING.get() + begun.elapsed()),
        (Moment::Done, _) => {}
        (moment, _) => BEGUN.set(Some((moment, ThreadTime::now()))),
    }
}

fn main() {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [n, k, seconds] = std::array::from_fn(|i| arguments.get(i).copied().unwrap_or([100, 3, 10][i]));
    let mut world = World::with(MixConfig {
        pass_through: std::env::var_os("MIX_ALWAYS").is_none(),
        ..MixConfig::default()
    });
    let speech: Option<f32> = std::env::var("SPEECH").ok().map(|level| level.parse().unwrap());
    if speech.is_some() {
        let (stereo, auto_gain) = (false, true);
        let kind = RoomKind::Mix { stereo, auto_gain };
        world.command(Command::new(ROOM, Action::Open { kind }));
    }
    let copies: usize = std::env::var("COPIES").map_or(0, |copies| copies.parse().unwrap());
    let repair = copies > 0 || std::env::var_os("REPAIR").is_some();
    for id in 1..=n {
        let direction = if id <= k {
            Direction::SendRecv
        } else {
            Direction::RecvOnly
        };
        world.join(
            id,
            ClientOptions {
                direction,
                red: repair.then_some(63),
                red_copies: copies,
                nack: repair,
                ..ClientOptions::default()
            },
        );
        if id <= k {
            world.talk(id, common::TONE_DBFS);
            if let (Some(level), Some(client)) = (speech, world.clients.get_mut(&id)) {
                client.talker = Some(speaker(client.hz, level, id as f32 / k as f32));
            }
        }
    }
    world.connect();
    world.deliver = false;
    // Until a gain has been found.
    world.run_ms(if speech.is_some() { 15_000 } else { 1000 });
    let before = world.shard.stats().clone();
    world.watch = watch;
    for _ in 0..seconds {
        if std::env::var_os("FOLLOW").is_some() {
            for talker in 1..=k {
                let (reference, listener) = (talker, None);
                let action = Action::Trace {
                    talker,
                    listener,
                    reference,
                };
                world.command(Command::new(ROOM, action));
            }
        }
        world.run(Duration::from_secs(1));
    }
    let after = world.shard.stats();
    let us = |spent: Duration| spent.as_secs_f64() * 1e6;
    let (received, receiving) = RECEIVING.get();
    let all = us(receiving + TICKING.get());
    let ticks = (after.ticks - before.ticks) as f64;
    let packets = (after.packets_sent - before.packets_sent) as f64;
    println!(
        "N = {n}, K = {k}: {:.1} µs a tick, {:.2} µs of it for each packet sent; {:.2} µs a packet received; {:.3} ms a \
         participant-second; {} encodes, {} decodes a second",
        us(TICKING.get()) / ticks,
        us(TICKING.get()) / packets,
        us(receiving) / f64::from(received),
        all / 1000.0 / seconds as f64 / n as f64,
        (after.frames_encoded - before.frames_encoded) / seconds,
        (after.frames_decoded - before.frames_decoded) / seconds,
    );
}
