//! Requests as a client of RFC 8656 sends them, and what hostile clients do.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use roomtone_turn::{Server, ServerConfig, ToPeer, password};
use rtc::crypto::default_provider;
use rtc::stun::attributes::{
    ATTR_DONT_FRAGMENT, ATTR_NONCE, ATTR_REALM, ATTR_USERNAME, ATTR_XORMAPPED_ADDRESS, AttrType,
};
use rtc::stun::error_code::ErrorCodeAttribute;
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    CLASS_INDICATION, CLASS_REQUEST, Getter, METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND,
    METHOD_CREATE_PERMISSION, METHOD_REFRESH, METHOD_SEND, Message, MessageType, Method, Setter, TransactionId,
};
use rtc::stun::textattrs::TextAttribute;
use rtc::stun::xoraddr::XorMappedAddress;
use rtc::turn::proto::channum::ChannelNumber;
use rtc::turn::proto::data::Data;
use rtc::turn::proto::lifetime::Lifetime;
use rtc::turn::proto::peeraddr::PeerAddress;
use rtc::turn::proto::relayaddr::RelayedAddress;
use rtc::turn::proto::reqfamily::{REQUESTED_FAMILY_IPV4, REQUESTED_FAMILY_IPV6};
use rtc::turn::proto::reqtrans::RequestedTransport;
use rtc::turn::proto::{PROTO_TCP, PROTO_UDP};

const SECRET: &[u8] = b"between us";
const REALM: &str = "voice.example";
/// Wall-clock time at the beginning.
const WALL: u64 = 1_700_000_000;
const PEERS: [&str; 3] = ["192.0.2.1:50000", "192.0.2.1:50001", "[2001:db8::1]:50000"];

type Attributes<'a> = Vec<Box<dyn Setter + 'a>>;

struct World {
    server: Server,
    now: Instant,
    transactions: u8,
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn peer(text: &str) -> Box<dyn Setter> {
    let address = addr(text);
    Box::new(PeerAddress {
        ip: address.ip(),
        port: address.port(),
    })
}

fn udp() -> Box<dyn Setter> {
    Box::new(RequestedTransport { protocol: PROTO_UDP })
}

impl World {
    fn new() -> World {
        World::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ServerConfig)) -> World {
        let now = Instant::now();
        let mut config = ServerConfig {
            realm: REALM.to_owned(),
            secret: SECRET.to_vec(),
            nonce_key: [7; 32],
            peers: PEERS.iter().map(|text| addr(text)).collect(),
            max_allocations: 100,
            max_per_user: 3,
            max_per_address: 10,
            wall_clock: (now, Duration::from_secs(WALL)),
        };
        change(&mut config);
        World {
            server: Server::new(config).unwrap(),
            now,
            transactions: 0,
        }
    }

    fn message(&mut self, method: Method, attributes: Attributes<'_>) -> Message {
        self.transactions = self.transactions.wrapping_add(1);
        let mut all: Attributes<'_> = vec![
            Box::new(TransactionId([self.transactions; 12])),
            Box::new(MessageType::new(method, CLASS_REQUEST)),
        ];
        all.extend(attributes);
        let mut message = Message::new();
        message.build(&all).unwrap();
        message
    }

    fn hand_over(&mut self, client: &str, bytes: &[u8]) -> Option<Message> {
        let mut bytes = bytes.to_vec();
        assert_eq!(self.server.handle_packet(self.now, addr(client), &mut bytes), None);
        let (to, response) = self.server.poll_transmit()?;
        assert_eq!(to, addr(client));
        assert!(self.server.poll_transmit().is_none(), "one response");
        let mut message = Message::new();
        message.unmarshal_binary(&response).unwrap();
        Some(message)
    }

    /// A request without credentials: the nonce that comes back.
    fn nonce(&mut self, client: &str) -> String {
        let request = self.message(METHOD_ALLOCATE, vec![udp()]);
        let refused = self.hand_over(client, &request.raw).unwrap();
        assert_eq!(code(&refused), 401);
        assert_eq!(TextAttribute::get_from_as(&refused, ATTR_REALM).unwrap().text, REALM);
        TextAttribute::get_from_as(&refused, ATTR_NONCE).unwrap().text
    }

    fn signed(&mut self, caller: &Caller<'_>, method: Method, attributes: Attributes<'_>) -> Vec<u8> {
        let provider = default_provider().unwrap();
        let password = password(SECRET, caller.username);
        let mut all: Attributes<'_> = vec![
            Box::new(TextAttribute::new(ATTR_USERNAME, caller.username.to_owned())),
            Box::new(TextAttribute::new(ATTR_REALM, REALM.to_owned())),
            Box::new(TextAttribute::new(ATTR_NONCE, caller.nonce.clone())),
        ];
        all.extend(attributes);
        let integrity = MessageIntegrity::new_long_term_integrity_with_provider(
            caller.username.to_owned(),
            REALM.to_owned(),
            password,
            provider.crypto(),
        );
        all.push(Box::new(integrity.unwrap()));
        all.push(Box::new(FINGERPRINT));
        self.message(method, all).raw
    }

    fn caller(&mut self, client: &'static str, username: &'static str) -> Caller<'static> {
        let nonce = self.nonce(client);
        Caller {
            client,
            username,
            nonce,
        }
    }

    fn ask(&mut self, caller: &Caller<'_>, method: Method, attributes: Attributes<'_>) -> Message {
        let request = self.signed(caller, method, attributes);
        self.hand_over(caller.client, &request).unwrap()
    }

    fn allocated(&mut self, client: &'static str, username: &'static str) -> Caller<'static> {
        let caller = self.caller(client, username);
        let made = self.ask(&caller, METHOD_ALLOCATE, vec![udp()]);
        assert_eq!(code(&made), 0);
        caller
    }
}

struct Caller<'a> {
    client: &'static str,
    username: &'a str,
    nonce: String,
}

/// The error code of a response; zero for success.
fn code(response: &Message) -> u16 {
    let mut error = ErrorCodeAttribute::default();
    error.get_from(response).map_or(0, |()| error.code.0)
}

fn get<A: Getter + Default>(response: &Message) -> A {
    let mut value = A::default();
    value.get_from(response).unwrap();
    value
}

const ADA: &str = "1700000600:ada";
const HOME: &str = "198.51.100.7:4242";

#[test]
fn an_allocation_carries_datagrams_both_ways() {
    let mut world = World::new();
    let ada = world.caller(HOME, ADA);
    let made = world.ask(&ada, METHOD_ALLOCATE, vec![udp()]);
    let relayed: RelayedAddress = get(&made);
    assert_eq!(relayed.ip, addr(PEERS[0]).ip());
    let mut mapped = XorMappedAddress::default();
    mapped.get_from_as(&made, ATTR_XORMAPPED_ADDRESS).unwrap();
    assert_eq!(SocketAddr::new(mapped.ip, mapped.port), addr(HOME));
    assert_eq!(get::<Lifetime>(&made), Lifetime(Duration::from_secs(600)));

    // A Send indication without a permission goes nowhere, and neither does what comes back.
    let mut send = Message::new();
    let parts: Attributes<'_> = vec![
        Box::new(MessageType::new(METHOD_SEND, CLASS_INDICATION)),
        peer(PEERS[1]),
        Box::new(Data(b"check".to_vec())),
    ];
    send.build(&parts).unwrap();
    assert_eq!(
        world.server.handle_packet(world.now, addr(HOME), &mut send.raw.clone()),
        None
    );
    assert_eq!(
        code(&world.ask(&ada, METHOD_CREATE_PERMISSION, vec![peer("192.0.2.1:9")])),
        0
    );
    let mut raw = send.raw.clone();
    let sent = world.server.handle_packet(world.now, addr(HOME), &mut raw).unwrap();
    let ToPeer {
        allocation,
        peer: index,
        ..
    } = sent;
    assert_eq!(
        (sent.relayed, index, &*sent.data),
        (SocketAddr::new(relayed.ip, relayed.port), 1, &b"check"[..])
    );

    // Back as a Data indication, and with a channel as ChannelData.
    let mut out = Vec::new();
    assert_eq!(
        world.server.wrap(world.now, allocation, 1, b"answer", &mut out),
        Some(addr(HOME))
    );
    let mut indication = Message::new();
    indication.unmarshal_binary(&out).unwrap();
    assert_eq!(get::<Data>(&indication).0, b"answer");
    assert_eq!(get::<PeerAddress>(&indication).port, 50_001);
    let bind = |number, to| -> Attributes<'static> { vec![Box::new(ChannelNumber(number)), peer(to)] };
    assert_eq!(code(&world.ask(&ada, METHOD_CHANNEL_BIND, bind(0x4001, PEERS[1]))), 0);
    assert_eq!(
        code(&world.ask(&ada, METHOD_CHANNEL_BIND, bind(0x4001, PEERS[1]))),
        0,
        "again"
    );
    assert_eq!(
        world.server.wrap(world.now, allocation, 1, b"answer", &mut out),
        Some(addr(HOME))
    );
    assert_eq!(out, b"\x40\x01\x00\x06answer");
    let mut data = *b"\x40\x01\x00\x03abc\0";
    let sent = world.server.handle_packet(world.now, addr(HOME), &mut data).unwrap();
    assert_eq!((sent.peer, &*sent.data), (1, &b"abc"[..]));
    let mut stray = *b"\x40\x02\x00\x03abc\0";
    assert_eq!(world.server.handle_packet(world.now, addr(HOME), &mut stray), None);

    for (number, to, expected) in [
        (0x4001, PEERS[0], 400),
        (0x4002, PEERS[1], 400),
        (0x3fff, PEERS[0], 400),
        (0x5000, PEERS[0], 400),
        (0x4003, "192.0.2.1:22", 403),
        (0x4003, "127.0.0.1:50000", 403),
    ] {
        assert_eq!(
            code(&world.ask(&ada, METHOD_CHANNEL_BIND, bind(number, to))),
            expected,
            "{number:x} {to}"
        );
    }
    // Channels and permissions end by themselves, the permission first.
    world.now += Duration::from_secs(301);
    assert_eq!(world.server.wrap(world.now, allocation, 1, b"answer", &mut out), None);
    assert_eq!(
        code(&world.ask(&ada, METHOD_REFRESH, vec![Box::new(Lifetime(Duration::ZERO))])),
        0
    );
    assert_eq!(world.server.stats().allocations, 0);
    assert_eq!(code(&world.ask(&ada, METHOD_REFRESH, vec![])), 437);
}

#[test]
fn others_are_no_peers() {
    let mut world = World::new();
    let ada = world.allocated(HOME, ADA);
    for foreign in [
        "8.8.8.8:53",
        "127.0.0.1:50000",
        "10.0.0.1:50000",
        "[::1]:50000",
        "[2001:db8::2]:50000",
    ] {
        assert_eq!(
            code(&world.ask(&ada, METHOD_CREATE_PERMISSION, vec![peer(foreign)])),
            403,
            "{foreign}"
        );
        let both = vec![peer(PEERS[0]), peer(foreign)];
        assert_eq!(
            code(&world.ask(&ada, METHOD_CREATE_PERMISSION, both)),
            403,
            "{foreign} behind ours"
        );
    }
    assert_eq!(code(&world.ask(&ada, METHOD_CREATE_PERMISSION, vec![])), 400);
    assert_eq!(world.server.stats().forbidden, 10);
}

#[test]
fn credentials_are_checked() {
    let mut world = World::new();
    let mut ada = world.caller(HOME, ADA);
    for username in ["1699999999:ada", "1700000000:ada", "ada", ":ada", "later:ada"] {
        ada.username = username;
        assert_eq!(code(&world.ask(&ada, METHOD_ALLOCATE, vec![udp()])), 401, "{username}");
    }
    ada.username = ADA;
    // A signature of another secret.
    let mut forged = world.signed(&ada, METHOD_ALLOCATE, vec![udp()]);
    let place = forged.len() - 8 - 20;
    forged[place] ^= 1;
    let length = forged.len();
    forged.truncate(length - 8);
    let shorter = u16::from_be_bytes([forged[2], forged[3]]) - 8;
    forged[2..4].copy_from_slice(&shorter.to_be_bytes());
    assert_eq!(
        world.hand_over(HOME, &forged).map(|response| code(&response)),
        Some(401)
    );
    // Another client's nonce, and one that is too old.
    let request = world.signed(&ada, METHOD_ALLOCATE, vec![udp()]);
    let stale = world.hand_over("198.51.100.8:4242", &request).unwrap();
    assert_eq!(code(&stale), 438);
    assert!(TextAttribute::get_from_as(&stale, ATTR_NONCE).is_ok(), "with a new one");
    assert_eq!(code(&world.ask(&ada, METHOD_ALLOCATE, vec![udp()])), 0);
    world.now += Duration::from_secs(3601);
    assert_eq!(code(&world.ask(&ada, METHOD_REFRESH, vec![])), 438);
    // Somebody else's credentials don't change an allocation.
    let mut world = World::new();
    let mut ada = world.allocated(HOME, ADA);
    ada.username = "1700000600:eve";
    assert_eq!(code(&world.ask(&ada, METHOD_REFRESH, vec![])), 441);
    // Expired ones go on with the allocation that they made, and make none.
    ada.username = ADA;
    world.now += Duration::from_secs(599);
    assert_eq!(code(&world.ask(&ada, METHOD_REFRESH, vec![])), 0);
    world.now += Duration::from_secs(500);
    assert_eq!(code(&world.ask(&ada, METHOD_REFRESH, vec![])), 0);
    ada.client = "198.51.100.7:4243";
    ada.nonce = world.nonce(ada.client);
    assert_eq!(code(&world.ask(&ada, METHOD_ALLOCATE, vec![udp()])), 401);
    // USERNAME, REALM and NONCE belong to a signature.
    let provider = default_provider().unwrap();
    let key = MessageIntegrity::new_raw_integrity_with_provider(*b"key", provider.crypto());
    let request = world.message(METHOD_ALLOCATE, vec![udp(), Box::new(key)]);
    assert_eq!(
        world.hand_over(HOME, &request.raw).map(|response| code(&response)),
        Some(400)
    );
}

#[test]
fn requests_are_refused_as_the_rfc_has_it() {
    let mut world = World::new();
    let ada = world.caller(HOME, ADA);
    assert_eq!(code(&world.ask(&ada, METHOD_REFRESH, vec![])), 437);
    assert_eq!(
        code(&world.ask(&ada, METHOD_CREATE_PERMISSION, vec![peer(PEERS[0])])),
        437
    );
    assert_eq!(code(&world.ask(&ada, METHOD_ALLOCATE, vec![])), 400);
    let tcp: Box<dyn Setter> = Box::new(RequestedTransport { protocol: PROTO_TCP });
    assert_eq!(code(&world.ask(&ada, METHOD_ALLOCATE, vec![tcp])), 442);
    struct Bare(AttrType);
    impl Setter for Bare {
        fn add_to(&self, message: &mut Message) -> rtc::shared::error::Result<()> {
            message.add(self.0, &[]);
            Ok(())
        }
    }
    for kind in [ATTR_DONT_FRAGMENT, AttrType(0x0033)] {
        let refused = world.ask(&ada, METHOD_ALLOCATE, vec![udp(), Box::new(Bare(kind))]);
        assert_eq!(code(&refused), 420);
    }
    let family: Box<dyn Setter> = Box::new(REQUESTED_FAMILY_IPV6);
    let made = world.ask(&ada, METHOD_ALLOCATE, vec![udp(), family]);
    assert!(get::<RelayedAddress>(&made).ip.is_ipv6());
    assert_eq!(
        code(&world.ask(&ada, METHOD_ALLOCATE, vec![udp()])),
        437,
        "there is one already"
    );
    let family: Box<dyn Setter> = Box::new(REQUESTED_FAMILY_IPV4);
    assert_eq!(code(&world.ask(&ada, METHOD_REFRESH, vec![family])), 443);

    let mut world = World::with(|config| config.peers.truncate(2));
    let ada = world.caller(HOME, ADA);
    let family: Box<dyn Setter> = Box::new(REQUESTED_FAMILY_IPV6);
    assert_eq!(code(&world.ask(&ada, METHOD_ALLOCATE, vec![udp(), family])), 440);
    // The same request again: its response was lost.
    let request = world.signed(&ada, METHOD_ALLOCATE, vec![udp()]);
    let first: RelayedAddress = get(&world.hand_over(HOME, &request).unwrap());
    assert_eq!(get::<RelayedAddress>(&world.hand_over(HOME, &request).unwrap()), first);
    // STUN alone is for everybody.
    let binding = world.message(METHOD_BINDING, vec![]);
    let bound = world.hand_over("198.51.100.9:1", &binding.raw).unwrap();
    assert_eq!(get::<XorMappedAddress>(&bound).port, 1);
}

#[test]
fn quotas_hold_and_are_given_back() {
    let mut world = World::with(|config| config.max_allocations = 6);
    let clients: Vec<&'static str> = (1..=20).map(|n| &*format!("198.51.100.7:{n}").leak()).collect();
    let made: Vec<_> = clients[..3].iter().map(|client| world.allocated(client, ADA)).collect();
    let more = world.caller(clients[3], ADA);
    assert_eq!(
        code(&world.ask(&more, METHOD_ALLOCATE, vec![udp()])),
        486,
        "of one person"
    );
    for client in &clients[4..7] {
        world.allocated(client, &*format!("1700000600:{client}").leak());
    }
    let more = world.caller(clients[8], "1700000600:zoe");
    assert_eq!(
        code(&world.ask(&more, METHOD_ALLOCATE, vec![udp()])),
        508,
        "of the node"
    );
    assert_eq!(
        code(&world.ask(&made[0], METHOD_REFRESH, vec![Box::new(Lifetime(Duration::ZERO))])),
        0
    );
    world.server.client_gone(addr(clients[1]));
    let again = world.caller(clients[3], ADA);
    assert_eq!(code(&world.ask(&again, METHOD_ALLOCATE, vec![udp()])), 0);
    assert_eq!(world.server.stats().allocations, 5);
    world.now += Duration::from_secs(601);
    world.server.handle_timeout(world.now);
    assert_eq!(world.server.stats().allocations, 0);
    assert_eq!(world.server.poll_timeout(), None);

    let mut world = World::with(|config| config.max_per_address = 2);
    for n in 0..2 {
        world.allocated(
            &*format!("[2001:db8:1:2::{n}]:5").leak(),
            &*format!("1700000600:q{n}").leak(),
        );
    }
    let more = world.caller("[2001:db8:1:2:ffff::9]:5", ADA);
    assert_eq!(
        code(&world.ask(&more, METHOD_ALLOCATE, vec![udp()])),
        486,
        "of one network"
    );
}

#[global_allocator]
static ALLOCATOR: counting_alloc::CountingAlloc = counting_alloc::CountingAlloc;

#[test]
fn floods_take_no_memory_beyond_the_quotas() {
    const FLAT: isize = 64 * 1024;
    let mut world = World::with(|config| {
        config.max_allocations = 500;
        config.max_per_user = 40;
        config.max_per_address = 400;
    });
    // Of ten addresses and a hundred people.
    let clients: Vec<(&'static str, &'static str)> = (0..3000)
        .map(|n| {
            let client: &str = format!("203.0.113.{}:{}", n % 10, 1024 + n).leak();
            let username: &str = format!("1700000600:p{}", n % 100).leak();
            (client, username)
        })
        .collect();
    let mut live = Vec::new();
    for round in 0..3 {
        for (client, username) in &clients {
            let caller = world.caller(client, username);
            let answer = code(&world.ask(&caller, METHOD_ALLOCATE, vec![udp()]));
            assert!([0, 437, 486, 508].contains(&answer), "{answer} in round {round}");
        }
        assert_eq!(world.server.stats().allocations, 500);
        live.push(counting_alloc::live_bytes());
    }
    assert!(live[2] - live[0] < FLAT, "allocations by the thousand: {live:?}");

    // Strangers without credentials, and with forged ones.
    let before = counting_alloc::live_bytes();
    for (client, username) in &clients {
        let mut caller = world.caller(client, username);
        caller.nonce.replace_range(..1, "!");
        assert!([401, 438].contains(&code(&world.ask(&caller, METHOD_ALLOCATE, vec![udp()]))));
    }
    let grown = counting_alloc::live_bytes() - before;
    assert!(grown < FLAT, "strangers: {grown} bytes");

    // One client that binds every channel there is, and floods all of them.
    let mut world = World::new();
    let ada = world.allocated(HOME, ADA);
    let before = counting_alloc::live_bytes();
    let bound = (0x4000..=0x4fff).filter(|number| {
        let attributes: Attributes<'_> = vec![Box::new(ChannelNumber(*number)), peer(PEERS[0])];
        code(&world.ask(&ada, METHOD_CHANNEL_BIND, attributes)) == 0
    });
    assert_eq!(bound.count(), 1, "a peer has one channel");
    let mut carried = 0;
    for n in 0..20_000u16 {
        let [high, low] = (0x4000 | n & 0x0fff).to_be_bytes();
        let mut data = [high, low, 0, 4, 0x80, 1, 2, 3];
        carried += usize::from(world.server.handle_packet(world.now, addr(HOME), &mut data).is_some());
        assert!(world.server.poll_transmit().is_none());
    }
    assert_eq!(carried, 5, "on the channel that is bound");
    let grown = counting_alloc::live_bytes() - before;
    assert!(grown < FLAT, "channels: {grown} bytes");
}

proptest! {
    #[test]
    fn any_bytes_are_taken(packets in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..200), any::<bool>(), any::<u16>()), 1..20)) {
        let mut world = World::new();
        let ada = world.allocated(HOME, ADA);
        let good = world.signed(&ada, METHOD_CHANNEL_BIND, vec![Box::new(ChannelNumber(0x4001)), peer(PEERS[0])]);
        for (bytes, bend, place) in packets {
            // Bytes of no kind, or a good message with some of it overwritten.
            let mut packet = if bend { good.clone() } else { bytes.clone() };
            if bend {
                let at = usize::from(place) % packet.len();
                let count = bytes.len().min(packet.len() - at).min(6);
                packet[at..at + count].copy_from_slice(&bytes[..count]);
            }
            let _ = world.server.handle_packet(world.now, addr(HOME), &mut packet);
            while world.server.poll_transmit().is_some() {}
        }
        prop_assert_eq!(world.server.stats().allocations, 1);
    }
}
