//! Hostile datagrams of strangers and participants: memory stays flat, sound stays whole.

use std::net::SocketAddr;

use crate::common::{ROOM, World};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use roomtone_engine::{Action, Command, Event};
use roomtone_testkit::peer::ClientOptions;

fn talking_world() -> World {
    let mut world = World::of_two_talkers();
    world.run_ms(500);
    world
}

fn stranger(n: u32) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, (n % 250) as u8], 20_000 + (n % 20_000) as u16))
}

// Runs `attack` a hundred times in each of a thousand milliseconds, while two people talk.
fn attacked(mut attack: impl FnMut(&mut World, u32)) {
    let mut world = talking_world();
    let remembered = world.shard.remembered();
    let mut n = 0;
    for _ in 0..1000 {
        for _ in 0..100 {
            attack(&mut world, n);
            n += 1;
        }
        world.run_ms(1);
    }
    assert_eq!(
        world.shard.remembered(),
        remembered,
        "strangers made the shard remember something"
    );
    world.assert_everyone_hears_the_others(&[1, 2], 0.8, 1.0);
    for client in world.clients.values() {
        assert!(!client.closed);
        client.assert_continuous();
    }
}

fn inject(world: &mut World, from: SocketAddr, mut bytes: Vec<u8>) {
    let now = world.now;
    world.shard.handle_datagram(now, from, &mut bytes);
    world.collect();
}

#[test]
fn random_bytes_from_strangers() {
    let mut random = StdRng::seed_from_u64(1);
    attacked(|world, n| {
        let mut bytes = vec![0; random.random_range(0..300)];
        random.fill_bytes(&mut bytes);
        inject(world, stranger(n), bytes);
    });
}

#[test]
fn plausible_first_bytes_from_strangers() {
    let mut random = StdRng::seed_from_u64(2);
    attacked(|world, n| {
        let mut bytes = vec![0; random.random_range(12..200)];
        random.fill_bytes(&mut bytes);
        bytes[0] = [0, 1, 20, 22, 23, 128, 144, 191][n as usize % 8];
        inject(world, stranger(n), bytes);
    });
}

#[test]
fn random_bytes_with_a_participants_source_address() {
    let mut random = StdRng::seed_from_u64(3);
    attacked(|world, n| {
        let from = world.clients[&1].address;
        let mut bytes = vec![0; random.random_range(1..300)];
        random.fill_bytes(&mut bytes);
        // Not DTLS here: its records have a test of their own.
        bytes[0] = [0, 1, 2, 64, 128, 129, 144, 191, 255][n as usize % 9];
        inject(world, from, bytes);
    });
}

#[test]
fn a_flood_of_dtls_with_a_participants_source_address() {
    let mut random = StdRng::seed_from_u64(4);
    attacked(|world, n| {
        let from = world.clients[&2].address;
        // A handshake record with empty fragments of ever other messages, and sometimes plain noise behind the type.
        let mut bytes = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 12, 1, 0, 1, 0];
        bytes.extend((n as u16).to_be_bytes());
        bytes.extend([0, 0, 0, 0, 0, 0]);
        if n % 3 == 0 {
            random.fill_bytes(&mut bytes[13..]);
        }
        inject(world, from, bytes);
    });
}

#[test]
fn replayed_and_damaged_copies_of_real_packets() {
    let mut world = talking_world();
    let mut random = StdRng::seed_from_u64(5);
    let remembered = world.shard.remembered();
    let packets_in = |world: &mut World| {
        world.command(Command::new(ROOM, Action::PeerStats { peer: 1, reference: 1 }));
        world.collect();
        let Some((_, Event::PeerStats { stats: Some(stats), .. })) = world.events.last() else {
            panic!("no figures")
        };
        (stats.packets_in, stats.rejected)
    };
    let (before, rejected_before) = packets_in(&mut world);
    // An attacker sees the wire, and can send in anybody's name.
    world.wiretap = Some(Vec::new());
    for _ in 0..1000 {
        world.run_ms(1);
        for (from, data) in world.wiretap.replace(Vec::new()).unwrap_or_default() {
            inject(&mut world, from, data.clone());
            inject(&mut world, from, data.clone());
            let mut damaged = data.clone();
            let at = random.random_range(0..damaged.len());
            damaged[at] ^= 1 << random.random_range(0..8);
            inject(&mut world, from, damaged);
            inject(&mut world, from, data[..random.random_range(0..data.len())].to_vec());
        }
    }
    let (after, rejected) = packets_in(&mut world);
    assert_eq!(after - before, 50, "each packet counts once");
    assert!(rejected > rejected_before, "and its copies are refused");
    assert_eq!(world.shard.remembered(), remembered);
    world.assert_everyone_hears_the_others(&[1, 2], 0.8, 1.0);
}

#[test]
fn validly_encrypted_but_hostile_rtp_and_rtcp() {
    let mut world = talking_world();
    world.join(3, ClientOptions::default());
    world.connect();
    let mut random = StdRng::seed_from_u64(6);
    let remembered = world.shard.remembered();
    let ssrc = world.clients[&3].peer.ssrc();
    for n in 0..3000u32 {
        let mut packet = vec![0; random.random_range(12..400)];
        random.fill_bytes(&mut packet);
        let bad = world.clients.get_mut(&3).unwrap();
        if n % 4 == 0 {
            packet[0] = 0x80 | (packet[0] & 0x1f);
            packet[1] = 200 + (packet[1] % 8);
            bad.peer.send_rtcp_raw(&packet);
        } else {
            // Version 2, their SSRC, the right payload type, then whatever: extensions, CSRCs, padding, Opus.
            packet[0] = 0x80 | (packet[0] & 0x3f);
            packet[1] = (packet[1] & 0x80) | 111;
            packet[2..4].copy_from_slice(&(n as u16).to_be_bytes());
            packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
            bad.peer.send_rtp_raw(&packet);
        }
        if n % 10 == 0 {
            world.run_ms(1);
        }
    }
    world.run_ms(500);
    assert_eq!(world.shard.remembered(), remembered);
    // They may be heard (they are in the room), so the levels are not compared; but nobody is thrown out, nothing wraps.
    world.command(Command::new(ROOM, Action::SetSpeak { peer: 3, speak: false }));
    world.run_ms(1500);
    world.assert_everyone_hears_the_others(&[1, 2], 0.8, 1.0);
    assert!(world.clients.values().all(|c| !c.closed));
    assert!(world.events_of(|e| matches!(e, Event::RoomFailed { .. })).is_empty());
}

#[test]
fn offers_that_are_no_offers() {
    let mut world = World::new();
    let good = roomtone_testkit::peer::ClientPeer::new(world.now, ClientOptions::default())
        .unwrap()
        .offer();
    let mut random = StdRng::seed_from_u64(7);
    let before = world.shard.remembered();
    for n in 0..2000u64 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..random.random_range(1..20) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..3) {
                0 => bytes[at] = random.random(),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, random.random()),
            }
        }
        let offer = String::from_utf8_lossy(&bytes).into_owned();
        world.command(Command::new(
            ROOM,
            Action::Join {
                peer: 1000 + n,
                offer,
                speak: true,
                listen: true,
            },
        ));
        world.command(Command::new(ROOM, Action::Leave { peer: 1000 + n }));
        world.shard.outbox().clear();
        while let Some(event) = world.shard.poll_event() {
            assert!(!matches!(event, Event::RoomFailed { .. }), "an offer broke the room");
        }
    }
    assert_eq!(world.shard.remembered(), before);
}
