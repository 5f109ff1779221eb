//! Listeners who lose packets: what they are sent in place of it, and that nobody else notices.

use std::collections::BTreeSet;
use std::f32::consts::{PI, TAU};
use std::time::Duration;

use crate::common::{ROOM, World};
use roomtone_engine::{Action, Command, MixConfig};
use roomtone_testkit::fixtures::{OpusTalker, Source};
use roomtone_testkit::link::{Burst, LinkConfig};
use roomtone_testkit::peer::ClientOptions;

const RED: u8 = 63;
/// Beside the two who talk.
const WEAK: u64 = 3;

fn listener(red: bool) -> ClientOptions {
    ClientOptions {
        red: red.then_some(RED),
        report_interval: Duration::from_secs(1),
        ..ClientOptions::default()
    }
}

fn lossy(loss: f32) -> LinkConfig {
    LinkConfig {
        seed: 5,
        loss,
        ..LinkConfig::default()
    }
}

/// 1 and 2 talk, so that everybody else hears a mix; 3 … `people` listen.
fn room(people: u64, red: bool) -> World {
    let mut world = World::new();
    world.join_talking(1);
    world.join_talking(2);
    for id in WEAK..=people {
        world.join(id, listener(red));
    }
    world.connect();
    world.run_ms(2_000);
    world
}

/// Syllables of a voice: of tones an encoder makes no FEC.
struct Syllables {
    pitch: f32,
    at: usize,
}

impl Source for Syllables {
    fn fill(&mut self, pcm: &mut [f32]) {
        for sample in pcm {
            let time = self.at as f32 / 48_000.0;
            let harmonic = |k: i32| (TAU * self.pitch * k as f32 * time).sin() / k as f32;
            *sample = (PI * 4.0 * time).sin().powi(2) * 0.1 * (1..=12).map(harmonic).sum::<f32>();
            self.at += 1;
        }
    }
}

/// 1 and 2 speak from now on.
fn speak(world: &mut World) {
    for (id, pitch) in [(1, 125.0), (2, 180.0)] {
        let talker = OpusTalker::new(Syllables { pitch, at: 0 }, 64_000).unwrap();
        world.clients.get_mut(&id).unwrap().talker = Some(talker);
    }
    world.run_ms(500);
}

/// The talkers pause and go on: mixes that are alike become one at a quiet moment.
fn pause(world: &mut World) {
    for id in [1, 2] {
        world.clients.get_mut(&id).unwrap().talker = None;
    }
    world.run_ms(1_500);
    for id in [1, 2] {
        world.talk(id, crate::common::TONE_DBFS);
    }
    world.run_ms(1_000);
}

fn lose(world: &mut World, id: u64, loss: f32) {
    world.clients.get_mut(&id).unwrap().to_client.set_config(lossy(loss));
}

/// Everything that a listener was sent from here on is kept.
fn listen(world: &mut World, id: u64) {
    let client = world.clients.get_mut(&id).unwrap();
    client.payloads = Some(Vec::new());
    client.heard.clear();
}

/// The part of the packets that a listener lacks, since [`listen`].
fn lacks(world: &World, id: u64) -> f64 {
    let heard = &world.clients[&id].heard;
    let numbers: BTreeSet<u16> = heard.iter().map(|packet| packet.1).collect();
    let span = heard.last().unwrap().1.wrapping_sub(heard[0].1);
    1.0 - numbers.len() as f64 / (f64::from(span) + 1.0)
}

/// The copies in each packet that a listener got in so many milliseconds, and the mixes encoded a tick.
fn over(world: &mut World, id: u64, ms: u64) -> (f64, f64) {
    let count = |world: &World| {
        let stats = world.clients[&id].peer.stats();
        let shard = world.shard.stats();
        [
            stats.packets_received,
            stats.copies_received,
            shard.frames_encoded,
            shard.ticks,
        ]
    };
    let before = count(world);
    world.run_ms(ms);
    let after = count(world);
    let [packets, copies, encodes, ticks] = [0, 1, 2, 3].map(|at| (after[at] - before[at]) as f64);
    (copies / packets, encodes / ticks)
}

#[test]
fn copies_of_the_mix_follow_the_loss_and_cost_no_encode() {
    let mut world = room(10, true);
    let (copies, encodes) = over(&mut world, WEAK, 1_000);
    assert_eq!((copies, encodes), (0.0, 1.0), "the listeners' mix");
    lose(&mut world, WEAK, 0.05);
    world.run_ms(4_000);
    let (copies, same) = over(&mut world, WEAK, 1_000);
    // Of fifty packets, as many as a report is about here, a tenth may be lost by chance.
    assert!(copies > 0.99 && same == encodes, "{copies} {same}");
    lose(&mut world, WEAK, 0.12);
    world.run_ms(4_000);
    listen(&mut world, WEAK);
    let (copies, _) = over(&mut world, WEAK, 10_000);
    assert!(copies > 1.9, "{copies}");
    let lacking = lacks(&world, WEAK);
    assert!(lacking < 0.01, "of twelve percent {lacking} are missing");
    // Clean again.
    lose(&mut world, WEAK, 0.0);
    world.run_ms(30_000);
    pause(&mut world);
    let (copies, same) = over(&mut world, WEAK, 1_000);
    assert_eq!((copies, same), (0.0, encodes));
    assert_eq!(world.clients[&4].peer.stats().copies_received, 0, "others get none");
}

#[test]
fn bursts_are_bridged_as_far_as_the_copies_reach() {
    let mut world = room(3, true);
    let burst = LinkConfig {
        seed: 9,
        burst_loss: Some(Burst {
            enter: 0.06,
            leave: 0.5,
        }),
        ..LinkConfig::default()
    };
    world.clients.get_mut(&WEAK).unwrap().to_client.set_config(burst);
    world.run_ms(5_000);
    listen(&mut world, WEAK);
    let lost = |world: &World| world.clients[&WEAK].peer.stats().streams[0].lost;
    let before = lost(&world);
    world.run_ms(20_000);
    let raw = (lost(&world) - before) as f64 / 1_000.0;
    let lacking = lacks(&world, WEAK);
    assert!(raw > 0.07 && lacking < raw / 2.5, "{raw} lost, {lacking} missing");
}

#[test]
fn what_is_passed_on_and_forwarded_carries_copies_too() {
    for forward in [false, true] {
        let mut world = if forward { World::forwarding(1) } else { World::new() };
        world.join_talking(1);
        world.join(2, listener(true));
        world.connect();
        world.run_ms(1_000);
        lose(&mut world, 2, 0.07);
        world.run_ms(6_000);
        listen(&mut world, 2);
        world.clients.get_mut(&1).unwrap().sent = Some(BTreeSet::new());
        let encoded = world.shard.stats().frames_encoded;
        let (copies, _) = over(&mut world, 2, 10_000);
        assert!(copies > 0.9, "forward {forward}: {copies}");
        let lacking = lacks(&world, 2);
        assert!(lacking < 0.03, "forward {forward}: {lacking}");
        assert_eq!(world.shard.stats().frames_encoded, encoded, "not one encode");
        let sent = world.clients[&1].sent.as_ref().unwrap();
        let payloads = world.clients[&2].payloads.as_ref().unwrap();
        let foreign = payloads.iter().filter(|payload| !sent.contains(*payload)).count();
        assert!(foreign <= 3, "{foreign} packets are none of the talker's");
    }
}

/// Two rooms of fifty with the same sound: in one a listener without RED loses packets.
#[test]
fn one_bad_listener_of_fifty_costs_one_encode_and_the_others_hear_the_same_bytes() {
    let mut heard = Vec::new();
    for loss in [0.0, 0.15] {
        let mut world = room(50, false);
        speak(&mut world);
        world.set_gain(4, 1, 0.5);
        for id in 1..=50 {
            listen(&mut world, id);
        }
        let (_, before) = over(&mut world, WEAK, 1_000);
        lose(&mut world, WEAK, loss);
        world.run_ms(5_000);
        let (_, now) = over(&mut world, WEAK, 1_000);
        assert_eq!(now - before, if loss > 0.0 { 1.0 } else { 0.0 });
        let payloads = |id: u64| world.clients[&id].payloads.clone().unwrap();
        let others: Vec<_> = (1..=50).filter(|id| *id != WEAK).map(payloads).collect();
        assert!(others.iter().all(|packets| packets.len() >= 340));
        let fec = |packets: &[bytes::Bytes]| {
            let late = &packets[packets.len() - 50..];
            late.iter()
                .filter(|packet| roomtone_audio::packet::parse(packet).unwrap().has_fec)
                .count()
        };
        assert!(others.iter().all(|packets| fec(packets) == 0));
        let weak = fec(&payloads(WEAK));
        assert!(if loss > 0.0 { weak > 15 } else { weak == 0 }, "{weak}");
        heard.push(others);
    }
    assert!(heard[0] == heard[1], "what the others hear differs");
}

#[test]
fn a_queue_on_the_way_takes_bits_from_that_listener_alone() {
    let mut world = room(12, true);
    let bytes = |world: &mut World, id: u64| {
        let before = world.clients[&id].peer.stats().bytes_received;
        world.run_ms(2_000);
        world.clients[&id].peer.stats().bytes_received - before
    };
    // The round trip is known after our first report.
    world.run_ms(8_000);
    let usual = bytes(&mut world, 4);
    let full = LinkConfig {
        latency: Duration::from_millis(500),
        ..lossy(0.15)
    };
    world.clients.get_mut(&WEAK).unwrap().to_client.set_config(full);
    world.run_ms(8_000);
    // Reports fall due at random.
    let settled = (0..20).any(|_| matches!(over(&mut world, WEAK, 1_000), (copies, 2.0) if copies > 1.5));
    assert!(settled, "copies, and a mix of fewer bits");
    listen(&mut world, WEAK);
    let (copies, encodes) = over(&mut world, WEAK, 2_000);
    assert_eq!(encodes, 2.0, "one more");
    let payloads = world.clients[&WEAK].payloads.clone().unwrap();
    let mean = payloads.iter().map(|packet| packet.len()).sum::<usize>() / payloads.len();
    assert!(mean < 45 && copies > 1.5, "{mean} bytes, {copies} copies");
    let same = bytes(&mut world, 4);
    assert!(same.abs_diff(usual) < usual / 10, "{same} of {usual}");
    world.clients.get_mut(&WEAK).unwrap().to_client.set_config(lossy(0.0));
    world.run_ms(40_000);
    pause(&mut world);
    assert_eq!(over(&mut world, WEAK, 1_000), (0.0, 1.0));
}

#[test]
fn a_listener_who_rejoins_begins_without_copies() {
    let mut world = World::with(MixConfig::default());
    world.join_talking(1);
    world.join(2, listener(true));
    world.connect();
    lose(&mut world, 2, 0.2);
    world.run_ms(5_000);
    assert!(world.clients[&2].peer.stats().copies_received > 0);
    world.command(Command::new(ROOM, Action::Leave { peer: 2 }));
    world.clients.remove(&2);
    world.join(4, listener(true));
    world.connect();
    world.run_ms(2_000);
    assert_eq!(world.clients[&4].peer.stats().copies_received, 0);
}

#[test]
fn losses_on_both_ways_at_once_are_mended_on_each() {
    let mut world = World::new();
    let talker = ClientOptions {
        red: Some(RED),
        red_copies: 2,
        ..ClientOptions::default()
    };
    world.join(1, talker);
    world.talk(1, crate::common::TONE_DBFS);
    world.join(WEAK, listener(true));
    world.connect();
    world.run_ms(1_000);
    world.clients.get_mut(&1).unwrap().to_server.set_config(lossy(0.1));
    lose(&mut world, WEAK, 0.1);
    world.run_ms(6_000);
    listen(&mut world, WEAK);
    world.run_ms(10_000);
    let lacking = lacks(&world, WEAK);
    assert!(lacking < 0.04, "of a fifth {lacking} are missing");
}

fn asking() -> ClientOptions {
    ClientOptions {
        nack: true,
        ..listener(false)
    }
}

#[test]
fn a_listener_who_asks_for_lost_packets_gets_them_once_more() {
    for forward in [false, true] {
        let mut world = if forward { World::forwarding(1) } else { World::new() };
        world.join_talking(1);
        if !forward {
            world.join_talking(2);
        }
        world.join(WEAK, asking());
        world.connect();
        let client = world.clients.get_mut(&WEAK).unwrap();
        let way = |loss| LinkConfig {
            latency: Duration::from_millis(20),
            ..lossy(loss)
        };
        client.to_server.set_config(way(0.0));
        client.to_client.set_config(way(0.05));
        world.run_ms(2_000);
        listen(&mut world, WEAK);
        world.run_ms(20_000);
        let asked = world.clients[&WEAK].peer.stats().asked;
        assert!(asked > 30, "forward {forward}: {asked}");
        let lacking = lacks(&world, WEAK);
        assert!(
            lacking < 0.01,
            "forward {forward}: of a twentieth {lacking} are missing"
        );
    }
}

#[test]
fn whoever_asks_for_everything_again_and_again_gets_little_more() {
    for agreed in [true, false] {
        let mut world = World::new();
        world.join_talking(1);
        world.join_talking(2);
        world.join(WEAK, if agreed { asking() } else { listener(false) });
        world.connect();
        world.run_ms(1_000);
        let seconds = 2;
        for _ in 0..seconds * 100 {
            let client = world.clients.get_mut(&WEAK).unwrap();
            let (newest, stream) = (client.heard.last().unwrap().1, *client.heard_from.last().unwrap());
            let mut nack = vec![0x81, 205, 0, 10];
            nack.extend(client.peer.ssrc().to_be_bytes());
            nack.extend(stream.to_be_bytes());
            for back in (0..8u16).map(|pair| 17 * pair + 16) {
                nack.extend(newest.wrapping_sub(back).to_be_bytes());
                nack.extend([0xFF, 0xFF]);
            }
            for _ in 0..20 {
                client.peer.send_rtcp_raw(&nack);
            }
            world.run_ms(10);
        }
        // The second coming of a packet is refused as a replay.
        let twice = world.clients[&WEAK].peer.stats().rejected;
        let most = if agreed { 2 * (50 * seconds + 32) } else { 0 };
        assert!(twice <= most && (twice > 0) == agreed, "agreed {agreed}: {twice}");
    }
}
