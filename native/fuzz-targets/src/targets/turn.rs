//! The TURN server.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use roomtone_turn::{Server, ServerConfig, password};
use rtc::crypto::default_provider;
use rtc::stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME, AttrType};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{Message, MessageType, Setter, TransactionId};
use rtc::stun::textattrs::TextAttribute;

use super::Target;
use crate::pieces::{Pieces, join};
use crate::session::{START, server_address};

const SECRET: &[u8] = b"a secret of the fuzzer";
const REALM: &str = "fuzz";
const USERNAME: &str = "1700000600:ada";
const WALL: Duration = Duration::from_secs(1_700_000_000);
const MOST: usize = 4;

struct World {
    server: Server,
    now: Instant,
}

impl World {
    fn new() -> World {
        let config = ServerConfig {
            realm: REALM.to_owned(),
            secret: SECRET.to_vec(),
            nonce_key: [7; 32],
            peers: vec![
                server_address(),
                SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 50_001)),
            ],
            max_allocations: MOST,
            max_per_user: 3,
            max_per_address: 3,
            wall_clock: (*START, WALL),
        };
        World {
            server: Server::new(config).expect("there is a crypto provider"),
            now: *START,
        }
    }

    fn hand_over(&mut self, client: SocketAddr, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut bytes = bytes.to_vec();
        if let Some(to) = self.server.handle_packet(self.now, client, &mut bytes) {
            assert!(to.peer < 2, "nobody but the media path");
            let (allocation, peer, data) = (to.allocation, to.peer, to.data.to_vec());
            let mut wrapped = Vec::new();
            if let Some(back) = self.server.wrap(self.now, allocation, peer, &data, &mut wrapped) {
                assert_eq!(back, client);
                assert!(wrapped.len() >= data.len());
            }
        }
        let responses: Vec<_> = std::iter::from_fn(|| self.server.poll_transmit()).collect();
        assert!(responses.len() <= 1, "one response at the most");
        assert!(self.server.stats().allocations <= MOST);
        responses
            .into_iter()
            .map(|(to, response)| {
                assert_eq!(to, client);
                response
            })
            .collect()
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.server.handle_timeout(self.now);
    }
}

/// A client, by the low bits of a piece's kind.
fn client(kind: u8) -> SocketAddr {
    match kind & 3 {
        0 | 1 => SocketAddr::from(([198, 51, 100, 7], 40_000 + u16::from(kind & 1))),
        2 => SocketAddr::from(([203, 0, 113, 9], 40_000)),
        _ => SocketAddr::from(([0x2001, 0xdb8, 1, 0, 0, 0, 0, 9], 40_000)),
    }
}

pub(super) const TURN: Target = Target {
    name: "turn",
    run: |data| {
        let mut world = World::new();
        for piece in Pieces(data).take(32) {
            world.hand_over(client(piece.kind), piece.data);
        }
        assert_eq!(world.server.stats().allocations, 0, "nobody has shown credentials");
    },
    seeds: || {
        let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
        let allocate = [
            &[0, 3, 0, 8, 0x21, 0x12, 0xa4, 0x42][..],
            &[7; 12],
            &[0, 0x19, 0, 4, 17, 0, 0, 0],
        ]
        .concat();
        let channel_data = [0x40, 0, 0, 4, 1, 2, 3, 4];
        vec![
            join([(0, &binding[..]), (0, &allocate[..]), (0, &channel_data[..])]),
            join([(3, &allocate[..])]),
        ]
    },
};

pub(super) const TURN_SIGNED: Target = Target {
    name: "turn-signed",
    // Kinds below 192 are requests of a client with good credentials: a method and attributes. From there on, bytes as they are, or time.
    run: |data| {
        let mut world = World::new();
        let mut nonces: [Option<String>; 4] = Default::default();
        for piece in Pieces(data).take(32) {
            let from = client(piece.kind);
            match piece.kind {
                224.. => world.wait(piece.data.first().map_or(1, |byte| u64::from(*byte) * 4)),
                192.. => drop(world.hand_over(from, piece.data)),
                _ => {
                    let nonce = nonces[usize::from(piece.kind & 3)]
                        .get_or_insert_with(|| nonce(&mut world, from))
                        .clone();
                    if let Some(request) = signed(piece.data, &nonce) {
                        world.hand_over(from, &request);
                    }
                }
            }
        }
    },
    seeds: || {
        let allocate = [3, 0, 0x19, 0, 4, 17, 0, 0, 0];
        // To 192.0.2.1:50000, exclusive or'ed with the magic cookie.
        let peer = [0, 0x12, 0, 8, 0, 1, 0xe2, 0x42, 0xe1, 0x12, 0xa6, 0x43];
        let bind = [&[9, 0, 0x0c, 0, 4, 0x40, 0, 0, 0][..], &peer].concat();
        let permit = [&[8][..], &peer].concat();
        let refresh = [4, 0, 0x0d, 0, 4, 0, 0, 0, 0];
        let send = [
            &[0, 0x16, 0, 20, 0x21, 0x12, 0xa4, 0x42][..],
            &[7; 12],
            &peer,
            &[0, 0x13, 0, 4, 1, 2, 3, 4],
        ]
        .concat();
        let channel_data = [0x40, 0, 0, 4, 1, 2, 3, 4];
        vec![
            join([
                (0, &allocate[..]),
                (0, &bind[..]),
                (192, &channel_data[..]),
                (0, &refresh[..]),
            ]),
            join([
                (0, &allocate[..]),
                (0, &permit[..]),
                (192, &send[..]),
                (224, &[250][..]),
                (192, &send[..]),
            ]),
            join([
                (0, &allocate[..]),
                (1, &allocate[..]),
                (2, &allocate[..]),
                (0, &allocate[..]),
            ]),
            join([(3, &[3, 0, 0x19, 0, 4, 17, 0, 0, 0, 0, 0x17, 0, 4, 2, 0, 0, 0][..])]),
        ]
    },
};

fn nonce(world: &mut World, from: SocketAddr) -> String {
    let allocate = [&[0, 3, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[9; 12]].concat();
    let refused = world.hand_over(from, &allocate);
    let mut message = Message::new();
    let read = refused.first().map(|response| message.unmarshal_binary(response));
    assert!(matches!(read, Some(Ok(()))), "a stranger is told a nonce");
    TextAttribute::get_from_as(&message, ATTR_NONCE)
        .expect("it is there")
        .text
}

static KEY: LazyLock<String> = LazyLock::new(|| password(SECRET, USERNAME));

/// A request of the method in the first byte, with these attributes (kind, length, value).
fn signed(data: &[u8], nonce: &str) -> Option<Vec<u8>> {
    let (&method, mut attributes) = data.split_first()?;
    let mut message = Message::new();
    let mut typ = MessageType::default();
    typ.read_value(u16::from(method & 0x0f));
    message
        .build(&[Box::new(TransactionId([method; 12])), Box::new(typ)])
        .ok()?;
    while let Some((&[a, b, c, d], rest)) = attributes.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([c, d])).min(rest.len());
        message.add(AttrType(u16::from_be_bytes([a, b])), &rest[..length]);
        attributes = &rest[length..];
    }
    for (kind, text) in [(ATTR_USERNAME, USERNAME), (ATTR_REALM, REALM), (ATTR_NONCE, nonce)] {
        TextAttribute::new(kind, text.to_owned()).add_to(&mut message).ok()?;
    }
    let provider = default_provider().ok()?;
    MessageIntegrity::new_long_term_integrity_with_provider(
        USERNAME.to_owned(),
        REALM.to_owned(),
        KEY.clone(),
        provider.crypto(),
    )
    .ok()?
    .add_to(&mut message)
    .ok()?;
    FINGERPRINT.add_to(&mut message).ok()?;
    Some(message.raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_allocate_and_reach_the_media_path() {
        let mut world = World::new();
        let from = client(0);
        let nonce = nonce(&mut world, from);
        let seed = (TURN_SIGNED.seeds)().remove(0);
        let pieces: Vec<_> = Pieces(&seed).collect();
        for piece in &pieces[..2] {
            let response = world
                .hand_over(from, &signed(piece.data, &nonce).expect("a request"))
                .remove(0);
            assert_eq!(response[0], 1, "a success response");
        }
        assert_eq!(world.server.stats().allocations, 1);
        let mut data = pieces[2].data.to_vec();
        assert!(world.server.handle_packet(world.now, from, &mut data).is_some());
    }
}
