//! Junk must leave no bytes behind. Counts the live bytes of each thread.

#![allow(clippy::unwrap_used)] // a test that fails here says where

mod common;

use common::{ClientOptions, Link, Profile};
use counting_alloc::{CountingAlloc, live_bytes};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;

/// One kind of junk: made from a random generator and a number.
type Junk = fn(&mut StdRng, u32) -> Vec<u8>;

fn random(rng: &mut StdRng, head: &[u8], least: usize) -> Vec<u8> {
    let mut data = vec![0; rng.random_range(least..300)];
    rng.fill_bytes(&mut data);
    data[..head.len()].copy_from_slice(head);
    data
}

fn record(kind: u8, epoch: u16, number: u32, body: &[u8]) -> Vec<u8> {
    let mut r = vec![kind, 0xFE, 0xFD];
    r.extend(epoch.to_be_bytes());
    r.extend([0, 0]);
    r.extend(number.to_be_bytes());
    r.extend((body.len() as u16).to_be_bytes());
    r.extend(body);
    r
}

const KINDS: [(&str, Junk); 12] = [
    ("random", |rng, _| random(rng, &[], 1)),
    ("stun", |rng, _| random(rng, &[0, 1, 0, 8, 0x21, 0x12, 0xA4, 0x42], 28)),
    ("rtp of a random ssrc", |rng, _| random(rng, &[0x80, 111], 40)),
    ("rtp with a bad tag", |rng, i| {
        let mut p = random(rng, &[0x80, 111], 40);
        p[2..4].copy_from_slice(&(i as u16).to_be_bytes());
        p[8..12].copy_from_slice(&0x1122_3344u32.to_be_bytes());
        p
    }),
    ("rtp with lying headers", |rng, _| {
        let mut p = random(rng, &[0xBF, 111], 12);
        p[8..12].copy_from_slice(&0x1122_3344u32.to_be_bytes());
        p
    }),
    ("rtcp of a random ssrc", |rng, _| random(rng, &[0x80, 201], 40)),
    ("rtcp with a bad tag", |rng, _| {
        let mut p = random(rng, &[0x80, 200, 0, 6, 0x11, 0x22, 0x33, 0x44], 40);
        let at = p.len() - 14;
        p[at] |= 0x80;
        let at = p.len() - 4;
        p[at] |= 0x80;
        p
    }),
    ("dtls handshake", |rng, i| {
        let body = random(rng, &[1, 0, 1, 0, 0, 3, 0, 0, 0, 0, 0, 40], 52);
        record(22, 0, i, &body[..52])
    }),
    ("dtls empty fragments", |_, i| {
        let empty = [1, 0, 1, 0, 0, 3, 0, 0, 0, 0, 0, 0];
        record(22, 0, i, &empty.repeat(80))
    }),
    ("dtls next epoch", |rng, i| {
        record(22, 1 + (i % 3) as u16, i, &random(rng, &[], 20))
    }),
    ("dtls alert", |rng, i| {
        record(21, (i % 3) as u16, i, &random(rng, &[], 20))
    }),
    ("dtls application data", |rng, i| {
        record(23, (i % 3) as u16, i, &random(rng, &[], 20))
    }),
];

/// Live bytes gained while `count` datagrams of a kind are thrown at the endpoint.
fn throw(link: &mut Link, junk: Junk, count: u32) -> isize {
    let from = link.client_address;
    let mut rng = StdRng::seed_from_u64(3);
    let before = live_bytes();
    for i in 0..count {
        let mut datagram = junk(&mut rng, i);
        link.server.handle_datagram(link.now, from, &mut datagram);
        while link.server.poll_transmit().is_some() {}
        assert!(link.server.poll_event().is_none());
    }
    live_bytes() - before
}

#[test]
fn junk_leaves_nothing_behind() {
    for profile in [Profile::Srtp_Aead_Aes_128_Gcm, Profile::Srtp_Aes128_Cm_Hmac_Sha1_80] {
        let mut link = Link::connected(ClientOptions {
            profiles: vec![profile],
            ..Default::default()
        });
        for (name, junk) in KINDS {
            // The first datagrams pass before the caps close, and buffers grow once.
            let first = throw(&mut link, junk, 200);
            assert!(first < 48 * 1024, "{name}: {first} bytes");
            let gained = throw(&mut link, junk, 100_000);
            assert!(gained <= 512, "{name}: {gained} bytes gained by 100,000 datagrams");
        }
        let stats = link.server.stats();
        assert!(stats.streams <= 1 && stats.addresses == 1, "{stats:?}");
        assert!(!link.server.is_closed());
    }
    // The same before the handshake: caps only.
    for (name, junk) in KINDS {
        let mut link = Link::new(ClientOptions::default());
        let check = link.client.check(true, false);
        let from = link.client_address;
        link.inject(from, &check);
        link.pump();
        let before = live_bytes();
        let mut rng = StdRng::seed_from_u64(4);
        for i in 0..20_000 {
            let mut datagram = junk(&mut rng, i);
            link.server.handle_datagram(link.now, from, &mut datagram);
            while link.server.poll_transmit().is_some() {}
            while link.server.poll_event().is_some() {}
        }
        let gained = live_bytes() - before;
        assert!(gained < 48 * 1024, "{name}: {gained} bytes before the handshake");
    }
}

/// A client that has the keys can begin streams without end.
#[test]
fn streams_without_end_leave_nothing_behind() {
    for profile in [Profile::Srtp_Aead_Aes_128_Gcm, Profile::Srtp_Aes128_Cm_Hmac_Sha1_80] {
        let mut link = Link::connected(ClientOptions {
            profiles: vec![profile],
            ..Default::default()
        });
        let from = link.client_address;
        let flood = |link: &mut Link, seconds: u32| {
            // Sealed before anything is counted: the client's own memory grows with each stream.
            let packets: Vec<Vec<u8>> = (0..seconds * 20)
                .map(|_| {
                    link.client.options.ssrc += 1;
                    let packet = link.client.rtp_packet(1, 0, None, &[1; 20]);
                    link.client.seal_rtp(&packet)
                })
                .collect();
            let before = live_bytes();
            for second in packets.chunks(20) {
                link.now += std::time::Duration::from_secs(1);
                for packet in second {
                    let mut datagram = packet.clone();
                    link.server.handle_datagram(link.now, from, &mut datagram);
                }
            }
            live_bytes() - before
        };
        let first = flood(&mut link, 200);
        assert!(first < 64 * 1024, "{first} bytes");
        let gained = flood(&mut link, 2_000);
        assert!(gained <= 512, "{gained} bytes gained by 40,000 streams");
        assert!(link.server.stats().streams <= 32);
    }
}

/// Hellos of handshakes that lead nowhere, beside a connection.
#[test]
fn hellos_without_end_leave_nothing_behind() {
    let mut link = Link::connected(ClientOptions::default());
    let from = link.client_address;
    let mut other = link.client.started_again(link.now, ClientOptions::default());
    other.start_dtls(link.now);
    let hello = other.poll_transmit().unwrap();
    let mut rng = StdRng::seed_from_u64(8);
    let mut flood = |link: &mut Link, count: u32| {
        let before = live_bytes();
        for _ in 0..count {
            let mut datagram = hello.clone();
            rng.fill_bytes(&mut datagram[27..59]);
            link.now += std::time::Duration::from_millis(100);
            link.server.handle_datagram(link.now, from, &mut datagram);
            link.server
                .handle_timeout(link.now.min(link.start + std::time::Duration::from_secs(29)));
            while link.server.poll_transmit().is_some() {}
            while link.server.poll_event().is_some() {}
        }
        live_bytes() - before
    };
    let first = flood(&mut link, 100);
    assert!(first < 48 * 1024, "{first} bytes");
    let gained = flood(&mut link, 5_000);
    assert!(gained <= 1024, "{gained} bytes gained by 5,000 hellos");
    assert!(!link.server.is_closed());
}

#[test]
fn a_quiet_peer_is_small() {
    let before = live_bytes();
    let links: Vec<Link> = (0..8).map(|_| Link::connected(ClientOptions::default())).collect();
    let mut servers = vec![];
    let mut rest = vec![];
    for link in links {
        let Link { server, client, .. } = link;
        servers.push(server);
        rest.push(client);
    }
    drop(rest);
    let each = (live_bytes() - before) / servers.len() as isize;
    println!("{each} bytes a connected peer");
    assert!(each < 40 * 1024, "{each} bytes a connected peer");
}
