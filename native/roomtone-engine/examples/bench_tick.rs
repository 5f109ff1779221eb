//! Costs of a room in the engine alone, without kernel and network: µs of CPU a tick, and a packet, of a room where K of N talk.
//!
//! `cargo run --release -p roomtone-engine --example bench_tick [N [K [SECONDS]]]`. Variables of the environment change the room:
//!
//! | variable | effect |
//! |---|---|
//! | `MIX_ALWAYS=1` | a lone talker is mixed, too |
//! | `REPAIR=1` | all clients agree on RED and NACK |
//! | `COPIES=1` | those who talk send a copy of the packet before in each, as browsers do |
//! | `PTIME=60` | all clients ask for packets of so many ms |
//! | `SPEECH=-38` | those who talk speak at this level, dBov, and the room has automatic gain |
//! | `RECORD=1` | two such rooms take turns, and the inputs of one are recorded (`Action::RecordInputs`), but for the file |
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
use roomtone_engine::{Action, Command, Journal, MixConfig, RoomKind, ShardStats};
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

/// The variables.
struct Options {
    pass_through: bool,
    speech: Option<f32>,
    copies: usize,
    ptime: Option<u32>,
    repair: bool,
    follow: bool,
}

/// A room in which `k` of `n` talk, whose inputs go into a journal.
fn room(n: u64, k: u64, options: &Options, journal: Option<&Journal>) -> World {
    let mut world = World::with(MixConfig {
        pass_through: options.pass_through,
        ..MixConfig::default()
    });
    if options.speech.is_some() {
        let (stereo, auto_gain) = (false, true);
        let kind = RoomKind::Mix { stereo, auto_gain };
        world.command(Command::new(ROOM, Action::Open { kind }));
    }
    if let Some(journal) = journal.cloned() {
        world.command(Command::new(ROOM, Action::RecordInputs { journal }));
    }
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
                red: options.repair.then_some(63),
                red_copies: options.copies,
                ptime: options.ptime,
                nack: options.repair,
                ..ClientOptions::default()
            },
        );
        if id <= k {
            world.talk(id, common::TONE_DBFS);
            if let (Some(level), Some(client)) = (options.speech, world.clients.get_mut(&id)) {
                client.talker = Some(speaker(client.hz, level, id as f32 / k as f32));
            }
        }
    }
    world.connect();
    world.deliver = false;
    world
}

/// A room and what it has cost.
struct Measured {
    name: &'static str,
    world: World,
    journal: Option<Journal>,
    before: ShardStats,
    received: u32,
    receiving: Duration,
    ticking: Duration,
    recorded: usize,
}

impl Measured {
    fn drain(&mut self) {
        while let Some(block) = self.journal.as_ref().and_then(Journal::take) {
            self.recorded += block.len();
            if let Some(journal) = &self.journal {
                journal.give_back(block);
            }
        }
    }

    fn second(&mut self, k: u64, follow: bool) {
        self.world.watch = watch;
        for talker in (1..=k).filter(|_| follow) {
            let (reference, listener) = (talker, None);
            let action = Action::Trace {
                talker,
                listener,
                reference,
            };
            self.world.command(Command::new(ROOM, action));
        }
        self.world.run(Duration::from_secs(1));
        let (received, receiving) = RECEIVING.take();
        self.received += received;
        self.receiving += receiving;
        self.ticking += TICKING.take();
        self.drain();
    }

    fn print(&self, n: u64, k: u64, seconds: u64) {
        let after = self.world.shard.stats();
        let us = |spent: Duration| spent.as_secs_f64() * 1e6;
        let all = us(self.receiving + self.ticking);
        let ticks = (after.ticks - self.before.ticks) as f64;
        let packets = (after.packets_sent - self.before.packets_sent) as f64;
        println!(
            "{}N = {n}, K = {k}: {:.1} µs a tick, {:.2} µs of it for each packet sent; {:.2} µs a packet received; {:.3} ms a \
             participant-second; {} encodes, {} decodes a second",
            self.name,
            us(self.ticking) / ticks,
            us(self.ticking) / packets,
            us(self.receiving) / f64::from(self.received),
            all / 1000.0 / seconds as f64 / n as f64,
            (after.frames_encoded - self.before.frames_encoded) / seconds,
            (after.frames_decoded - self.before.frames_decoded) / seconds,
        );
        if self.journal.is_some() {
            println!(
                "{} bytes of inputs for each packet received",
                self.recorded / self.received as usize
            );
        }
    }
}

fn main() {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [n, k, seconds] = std::array::from_fn(|i| arguments.get(i).copied().unwrap_or([100, 3, 10][i]));
    let copies: usize = std::env::var("COPIES").map_or(0, |copies| copies.parse().unwrap());
    let options = Options {
        pass_through: std::env::var_os("MIX_ALWAYS").is_none(),
        speech: std::env::var("SPEECH").ok().map(|level| level.parse().unwrap()),
        copies,
        ptime: std::env::var("PTIME").ok().map(|ms| ms.parse().unwrap()),
        repair: copies > 0 || std::env::var_os("REPAIR").is_some(),
        follow: std::env::var_os("FOLLOW").is_some(),
    };
    let mut journals = vec![("", None)];
    if std::env::var_os("RECORD").is_some() {
        journals = vec![("not recorded: ", None), ("recorded: ", Some(Journal::new()))];
    }
    let rooms = journals.into_iter().map(|(name, journal)| {
        let world = room(n, k, &options, journal.as_ref());
        // Until a gain has been found.
        let warm = if options.speech.is_some() { 15 } else { 1 };
        let mut drained = Measured {
            name,
            before: world.shard.stats().clone(),
            world,
            journal,
            received: 0,
            receiving: Duration::ZERO,
            ticking: Duration::ZERO,
            recorded: 0,
        };
        (0..warm).for_each(|_| drained.second(k, false));
        Measured {
            before: drained.world.shard.stats().clone(),
            received: 0,
            receiving: Duration::ZERO,
            ticking: Duration::ZERO,
            recorded: 0,
            ..drained
        }
    });
    let mut rooms: Vec<Measured> = rooms.collect();
    // In turns, so that what else the machine does concerns both.
    for _ in 0..seconds {
        for room in &mut rooms {
            room.second(k, options.follow);
        }
    }
    for room in &rooms {
        room.print(n, k, seconds);
    }
}
