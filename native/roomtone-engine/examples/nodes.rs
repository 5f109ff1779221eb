//! A room on many media nodes: delay, loss and work of each, on a virtual clock. Engines, trunks and their tree are the real ones. Listeners
//! of a node hear one mix: it is made and encoded, and what it takes to encrypt and send it to each of them is counted instead.
//!
//! `cargo run --release -p roomtone-engine --example nodes [NODES [TALKERS [SECONDS [LOSS_PERCENT]]]]`: 100, 3, 20 and 1 unless given. On the
//! way between two nodes a datagram takes 5 ms and up to 5 more.

#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used)] // a virtual clock has to start somewhere

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use roomtone_audio::Decoder;
use roomtone_audio::analysis::tone_dbfs;
use roomtone_engine::{Action, Command, Key, MixConfig, RoomKind, Shard, SourceItem, Tap, TapSound, TrunkWay};
use roomtone_testkit::fixtures::{OpusTalker, Tone};
use roomtone_transport::{Certificate, NtpClock, TransportConfig};

const ROOM: u64 = 1;
const TAP: u64 = 1_000_000;
/// As `Roomtone.Room.TrunkTree` has it.
const CORE: usize = 17;
const FRAME: Duration = Duration::from_millis(20);
const MS: Duration = Duration::from_millis(1);
const WAY: Duration = Duration::from_millis(5);
const JITTER_MS: u64 = 5;
/// The talker whose delay is measured is heard every second for so many frames.
const BURST_FRAMES: u64 = 10;
const PERIOD_FRAMES: u64 = 50;
const HEARD_DBFS: f64 = -36.0;
/// Between bursts the tone is this soft: still a talker's, whose packets are sent.
const BETWEEN: f32 = 0.004;
const WARM_UP: Duration = Duration::from_secs(3);
/// The CPU that a listener's packets take, in ms a second: docs/benchmarks.md, of a room of 1,000.
const LISTENER_MS: f64 = 0.17;
/// Bytes of a listener's packet on the wire: 80 of Opus (32 kbit/s), RTP, the tag of SRTP, UDP and IP.
const LISTENER_BYTES: f64 = 80.0 + 12.0 + 16.0 + 28.0;

struct Node {
    shard: Shard,
    tap: Tap,
    decoder: Decoder,
    talkers: Vec<Talker>,
    work: Duration,
    bytes_out: usize,
    bytes_in: usize,
    /// How long after each burst it was heard here.
    delays: Vec<Duration>,
    waiting: Option<Instant>,
    /// Frames that were missing, and those that were played, until the measurement began.
    before: (u64, u64),
}

struct Talker {
    id: u64,
    voice: OpusTalker,
    bursts: bool,
    between: OpusTalker,
}

struct Way {
    due: Instant,
    to: usize,
    datagram: Vec<u8>,
}

fn main() {
    let arguments: Vec<f64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let given = |at: usize, otherwise: f64| arguments.get(at).copied().unwrap_or(otherwise);
    let (count, talkers) = (given(0, 100.0) as usize, given(1, 3.0) as usize);
    let (seconds, loss) = (given(2, 20.0), given(3, 1.0) / 100.0);
    if count < 2 || talkers < 1 || talkers > count || count > CORE * CORE {
        eprintln!("nodes: 2 to {} nodes, and 1 talker to one on each", CORE * CORE);
        std::process::exit(2);
    }
    let start = Instant::now();
    let mut nodes: Vec<Node> = (0..count).map(|at| node(start, at)).collect();
    let edges = edges(count);
    for (one, other, relay) in &edges {
        for (at, to) in [(*one, *other), (*other, *one)] {
            let way = TrunkWay {
                to: address(to),
                trunk: trunk(to, at),
                send: key(at, to),
                receive: key(to, at),
                relay: *relay,
            };
            nodes[at].command(
                start,
                Action::OpenTrunk {
                    trunk: trunk(at, to),
                    way,
                },
            );
        }
    }
    let hops: Vec<Vec<(usize, usize)>> = (0..count).map(|from| ways(from, count, &edges)).collect();
    // The talkers are as far from each other as can be: the first on the last node.
    for number in 0..talkers {
        let at = count - 1 - number * (count / talkers);
        let id = number as u64 + 1;
        nodes[at].talk(start, id, number == 0);
        for (to, towards) in (0..count).filter(|to| *to != at).map(|to| (to, hops[at][to].1)) {
            let action = Action::JoinRemote {
                peer: id,
                trunk: trunk(to, towards),
                speak: true,
            };
            nodes[to].command(start, action);
        }
    }
    run(start, &mut nodes, Duration::from_secs_f64(seconds), loss);
    tell(&nodes, &hops[count - 1], &edges, seconds, talkers);
}

// The trunks, as they come to be when one node opens after the other.
fn edges(count: usize) -> Vec<(usize, usize, bool)> {
    let mut edges = Vec::new();
    for at in 1..count {
        if at < CORE {
            edges.extend((0..at).map(|other| (other, at, false)));
        } else {
            edges.push(((at - CORE) % CORE, at, true));
        }
    }
    edges
}

// For each node: how many trunks it is away from this one, and the node next to it on the way back.
fn ways(from: usize, count: usize, edges: &[(usize, usize, bool)]) -> Vec<(usize, usize)> {
    let mut found = vec![(usize::MAX, from); count];
    found[from] = (0, from);
    let mut places = vec![(from, true)];
    while !places.is_empty() {
        let mut next = Vec::new();
        for (place, any) in places {
            for (one, other, relay) in edges.iter().filter(|(_, _, relay)| any || *relay) {
                for (near, far) in [(*one, *other), (*other, *one)] {
                    if near == place && found[far].0 == usize::MAX {
                        found[far] = (found[place].0 + 1, place);
                        next.push((far, *relay));
                    }
                }
            }
        }
        places = next;
    }
    found
}

fn address(at: usize) -> SocketAddr {
    SocketAddr::new(
        IpAddr::V4(Ipv4Addr::new(10, 0, (at / 250) as u8, (at % 250) as u8 + 1)),
        50_000,
    )
}

fn node_at(address: SocketAddr) -> usize {
    let IpAddr::V4(ip) = address.ip() else {
        unreachable!("all are IPv4")
    };
    usize::from(ip.octets()[2]) * 250 + usize::from(ip.octets()[3]) - 1
}

fn trunk(at: usize, to: usize) -> u32 {
    (at * 1_000 + to) as u32
}

fn key(from: usize, to: usize) -> Key {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&trunk(from, to).to_be_bytes());
    Key::new(bytes)
}

fn node(start: Instant, at: usize) -> Node {
    let clock = NtpClock::from_unix(start, Duration::from_secs(1_700_000_000));
    let transport = TransportConfig::new(vec![address(at)], clock);
    let certificate = Arc::new(Certificate::generate().unwrap());
    let mut node = Node {
        shard: Shard::new(start, transport, certificate, MixConfig::default(), 10_000),
        tap: Tap::new(start, FRAME),
        decoder: Decoder::new().unwrap(),
        talkers: Vec::new(),
        work: Duration::ZERO,
        bytes_out: 0,
        bytes_in: 0,
        delays: Vec::new(),
        waiting: None,
        before: (0, 0),
    };
    node.command(
        start,
        Action::Open {
            kind: RoomKind::default(),
        },
    );
    let sound = TapSound::Mix {
        default_gain: 1.0,
        gains: Vec::new(),
        stereo: false,
    };
    let tap = node.tap.clone();
    node.command(start, Action::JoinTap { peer: TAP, tap, sound });
    node
}

// Frequencies have whole periods in a frame, and are told apart in one.
fn hz(id: u64) -> f32 {
    300.0 + 200.0 * id as f32
}

impl Node {
    fn command(&mut self, now: Instant, action: Action) {
        self.shard.handle_command(now, Command::new(ROOM, action));
    }

    fn talk(&mut self, now: Instant, id: u64, bursts: bool) {
        self.command(now, Action::JoinSource { peer: id, speak: true });
        let tone = |amplitude| OpusTalker::new(Tone::new(hz(id), amplitude), 32_000).unwrap();
        self.talkers.push(Talker {
            id,
            voice: tone(0.1),
            bursts,
            between: tone(BETWEEN),
        });
    }

    // Each talker's next frame. True when a burst begins.
    fn feed(&mut self, now: Instant, frame: u64) -> bool {
        let mut begins = false;
        for at in 0..self.talkers.len() {
            let talker = &mut self.talkers[at];
            let in_burst = frame % PERIOD_FRAMES < BURST_FRAMES;
            begins |= talker.bursts && frame.is_multiple_of(PERIOD_FRAMES);
            // Both encoders go on, so that neither begins anew.
            let (sound, pause) = (talker.voice.next().unwrap(), talker.between.next().unwrap());
            let packet = if talker.bursts && !in_burst { pause } else { sound };
            let items = vec![SourceItem::Packet {
                data: packet.payload.to_vec(),
                level: Some(packet.level.minus_dbov),
            }];
            let peer = talker.id;
            self.command(now, Action::Feed { peer, items });
        }
        begins
    }

    // Missing and played so far.
    fn frames(&self) -> (u64, u64) {
        let stats = self.shard.stats();
        (stats.frames_missing, stats.frames_played)
    }

    fn turn(&mut self, now: Instant, measured: bool) {
        let begun = ThreadTime::now();
        while self.shard.poll_timeout().is_some_and(|due| due <= now) {
            self.shard.handle_timeout(now);
        }
        if measured {
            self.work += begun.elapsed();
        }
        while self.shard.poll_event().is_some() {}
    }

    fn hear(&mut self, datagram: &mut [u8], now: Instant, measured: bool) {
        let begun = ThreadTime::now();
        self.shard.handle_datagram(now, address(0), datagram);
        if measured {
            self.work += begun.elapsed();
            self.bytes_in += datagram.len();
        }
    }

    fn listen(&mut self, now: Instant) {
        while let Some(batch) = self.tap.take() {
            for packet in &batch.packets {
                let mut pcm = Vec::new();
                if self.decoder.decode(batch.payload(packet), &mut pcm).is_err() {
                    continue;
                }
                if let Some(begun) = self.waiting
                    && tone_dbfs(&pcm, f64::from(hz(1))) > HEARD_DBFS
                {
                    self.delays.push(now - begun);
                    self.waiting = None;
                }
            }
            self.tap.give_back(batch);
        }
    }
}

fn run(start: Instant, nodes: &mut [Node], time: Duration, loss: f64) {
    let mut ways: BTreeMap<(Instant, u64), Way> = BTreeMap::new();
    let (mut number, mut frame) = (0, 0);
    let (mut now, mut chance) = (start, 1_u64);
    // The same chance in every run (a linear congruential generator).
    let mut random = move || {
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) as f64 / f64::from(1_u32 << 31)
    };
    while now < start + WARM_UP + time {
        now += MS;
        let measured = now > start + WARM_UP;
        if now == start + WARM_UP {
            for node in nodes.iter_mut() {
                node.before = node.frames();
            }
        }
        if now >= start + FRAME * frame as u32 {
            let begins = nodes
                .iter_mut()
                .map(|node| node.feed(now, frame))
                .fold(false, |any, one| any | one);
            if begins && measured {
                nodes.iter_mut().for_each(|node| node.waiting = Some(now));
            }
            frame += 1;
        }
        while let Some(entry) = ways.first_entry().filter(|entry| entry.get().due <= now) {
            let Way { to, mut datagram, .. } = entry.remove();
            nodes[to].hear(&mut datagram, now, measured);
        }
        for node in nodes.iter_mut() {
            node.turn(now, measured);
            for (to, data) in node.shard.outbox().iter() {
                if measured {
                    node.bytes_out += data.len();
                }
                number += 1;
                if random() >= loss {
                    let due = now + WAY + Duration::from_micros((random() * 1_000.0 * JITTER_MS as f64) as u64);
                    let datagram = data.to_vec();
                    ways.insert(
                        (due, number),
                        Way {
                            due,
                            to: node_at(to),
                            datagram,
                        },
                    );
                }
            }
            node.shard.outbox().clear();
            node.listen(now);
        }
    }
}

fn tell(nodes: &[Node], hops: &[(usize, usize)], edges: &[(usize, usize, bool)], seconds: f64, talkers: usize) {
    println!(
        "{} nodes, {} trunks, {talkers} talkers, {seconds} s\n",
        nodes.len(),
        edges.len()
    );
    println!("| trunks between the talker and a node | nodes | delay p50, p99 | bursts heard | frames missing |");
    println!("|---|---|---|---|---|");
    let bursts = nodes[hops.iter().position(|way| way.0 == 0).unwrap_or(0)].delays.len();
    for away in 0..=hops.iter().map(|way| way.0).max().unwrap_or(0) {
        let those: Vec<&Node> = nodes
            .iter()
            .zip(hops)
            .filter(|(_, way)| way.0 == away)
            .map(|(node, _)| node)
            .collect();
        let mut delays: Vec<f64> = those
            .iter()
            .flat_map(|node| &node.delays)
            .map(|delay| delay.as_secs_f64() * 1e3)
            .collect();
        delays.sort_by(f64::total_cmp);
        let at = |part: f64| {
            delays
                .get((delays.len() as f64 * part) as usize)
                .copied()
                .unwrap_or(f64::NAN)
        };
        let missing: u64 = those.iter().map(|node| node.frames().0 - node.before.0).sum();
        let played: u64 = those.iter().map(|node| node.frames().1 - node.before.1).sum();
        println!(
            "| {away} | {} | {:.0}, {:.0} ms | {} of {} | {:.2} % |",
            those.len(),
            at(0.5),
            at(0.99),
            delays.len(),
            bursts * those.len(),
            100.0 * missing as f64 / (missing + played).max(1) as f64,
        );
    }
    println!(
        "\n| nodes | trunks of one | in, out by trunks | CPU but for listeners | listeners of a core (80 % of it) |"
    );
    println!("|---|---|---|---|---|");
    let kinds = [
        ("with others under them", true),
        ("with one trunk, or in a small room", false),
    ];
    for (name, relays) in kinds {
        let is_upper = |at: usize| edges.iter().any(|(one, _, relay)| *relay && *one == at);
        let those: Vec<usize> = (0..nodes.len()).filter(|at| is_upper(*at) == relays).collect();
        if those.is_empty() {
            continue;
        }
        let mean = |value: &dyn Fn(usize) -> f64| those.iter().map(|at| value(*at)).sum::<f64>() / those.len() as f64;
        let trunks = mean(&|at| {
            edges
                .iter()
                .filter(|(one, other, _)| *one == at || *other == at)
                .count() as f64
        });
        let kbit = |bytes: usize| bytes as f64 * 8.0 / 1e3 / seconds;
        let (into, out) = (
            mean(&|at| kbit(nodes[at].bytes_in)),
            mean(&|at| kbit(nodes[at].bytes_out)),
        );
        let work = mean(&|at| nodes[at].work.as_secs_f64() * 1e3 / seconds);
        let listeners = ((800.0 - work) / LISTENER_MS).max(0.0);
        println!(
            "| {}, {name} | {trunks:.0} | {into:.0}, {out:.0} kbit/s | {work:.1} ms a second | {listeners:.0}, {:.0} Mbit/s |",
            those.len(),
            listeners * LISTENER_BYTES * 8.0 * 50.0 / 1e6,
        );
    }
}
