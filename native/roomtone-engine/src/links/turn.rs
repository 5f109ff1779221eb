//! TURN in front of the demux: clients' datagrams for the media path go straight to its shards, and those of the shards to the clients.
//! Allocations, credentials and permissions are the business of [`roomtone_turn`]; this is its I/O half.

#![allow(clippy::disallowed_methods)] // this is the I/O half

use std::io;
use std::net::{SocketAddr, TcpListener as PlainListener, UdpSocket as PlainSocket};
use std::os::unix::net::UnixListener;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Receiver;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use roomtone_turn::{Server, ServerConfig};

use super::address::{LinkId, link_address, link_of};
use super::tls_listener::{Secured, TlsListener};
use crate::command::ShardIndex;
use crate::config::TurnConfig;
use crate::pktinfo;

/// Numbers up to here stand for TURN over UDP among the numbers of connections: the number of the address of ours that a client asked, and
/// one more; 0 if it isn't known.
const LAST_UDP: LinkId = pktinfo::MOST;
/// Numbers from here on are paths: an allocation (20 bits) and a peer (11 bits).
const PATHS: LinkId = 1 << 31;
const PEER_BITS: u32 = 11;
/// Datagrams read in one turn of the loop.
const READ_BATCH: usize = 256;
/// The largest datagram looked at.
const DATAGRAM: usize = 2048;

/// The sockets of a node's TURN server, and all that it is made of.
pub(crate) struct TurnParts {
    /// `None`: by TLS only.
    pub(crate) plain: Option<PlainSockets>,
    /// For connections that the HTTP server of this process hands on.
    pub(crate) local: Option<UnixListener>,
    pub(crate) tls: Option<TlsListener>,
    pub(crate) config: TurnConfig,
    /// The addresses of the media path, and the shard behind each.
    pub(crate) peers: Vec<(SocketAddr, ShardIndex)>,
    /// The secret behind its nonces, for the life of the engine.
    pub(crate) nonce_key: [u8; 32],
}

/// UDP and TCP, both on one port.
pub(crate) struct PlainSockets {
    pub(crate) udp: PlainSocket,
    pub(crate) tcp: PlainListener,
}

/// The TURN server of a node, on one of its shards.
pub(super) struct Turn {
    server: Server,
    shard: ShardIndex,
    /// The shard behind each peer.
    owners: Vec<ShardIndex>,
    socket: Option<UdpSocket>,
    /// The same socket, for single datagrams.
    plain_socket: Option<PlainSocket>,
    /// It is an IPv4 socket.
    ipv4: bool,
    /// Connections whose TLS handshake is done.
    secured: Option<Receiver<Secured>>,
    received: Box<[u8; DATAGRAM]>,
    wrapped: Vec<u8>,
}

/// Takes a datagram for the media path: its shard, and the path that it came by.
pub(super) type Take<'t> = &'t mut dyn FnMut(ShardIndex, SocketAddr, &mut [u8]);

/// Whether a number can't be a connection's, as it stands for TURN over UDP.
pub(super) fn is_udp(id: LinkId) -> bool {
    id <= LAST_UDP
}

/// Whether a number is that of a path through the TURN server.
pub(super) fn is_path(id: LinkId) -> bool {
    id & PATHS != 0
}

impl Turn {
    pub(super) fn new(
        now: Instant,
        shard: ShardIndex,
        parts: &TurnParts,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Turn> {
        let mut peers = parts.peers.clone();
        peers.truncate(1 << PEER_BITS);
        let server = Server::new(ServerConfig {
            realm: parts.config.realm.clone(),
            secret: parts.config.secret.clone(),
            nonce_key: parts.nonce_key,
            peers: peers.iter().map(|(address, _)| *address).collect(),
            max_allocations: parts.config.max_allocations,
            max_per_user: parts.config.max_per_user,
            max_per_address: parts.config.max_per_address,
            wall_clock: (now, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
        })
        .map_err(io::Error::other)?;
        let (socket, plain_socket) = match &parts.plain {
            Some(plain) => {
                let mut socket = UdpSocket::from_std(plain.udp.try_clone()?);
                registry.register(&mut socket, token, Interest::READABLE)?;
                (Some(socket), Some(plain.udp.try_clone()?))
            }
            None => (None, None),
        };
        Ok(Turn {
            server,
            shard,
            owners: peers.iter().map(|(_, owner)| *owner).collect(),
            socket,
            ipv4: plain_socket
                .as_ref()
                .is_some_and(|socket| socket.local_addr().is_ok_and(|address| address.is_ipv4())),
            plain_socket,
            secured: parts.tls.as_ref().map(TlsListener::secured),
            received: Box::new([0; DATAGRAM]),
            wrapped: Vec::new(),
        })
    }

    /// Whether it takes UDP.
    pub(super) fn has_socket(&self) -> bool {
        self.socket.is_some()
    }

    /// Whether a connection with TLS waits to be taken.
    pub(super) fn has_secured(&self) -> bool {
        self.secured.as_ref().is_some_and(|secured| !secured.is_empty())
    }

    /// The next connection with TLS.
    pub(super) fn next_secured(&self) -> Option<Secured> {
        self.secured.as_ref()?.try_recv().ok()
    }

    /// Reads datagrams of clients. True when there may be more.
    pub(super) fn receive(&mut self, take: Take<'_>) -> bool {
        let mut received = std::mem::replace(&mut self.received, Box::new([0; DATAGRAM]));
        let mut more = true;
        for _ in 0..READ_BATCH {
            let Some(socket) = &self.plain_socket else {
                more = false;
                break;
            };
            match pktinfo::receive(socket, &mut received[..]) {
                Ok((length, from)) => {
                    let ours = pktinfo::number_of(from).map_or(0, |number| number + 1);
                    let client = link_address(from, self.shard, ours);
                    self.handle(client, &mut received[..length], take);
                    while let Some((client, response)) = self.server.poll_transmit() {
                        self.send_udp(client, &response);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    more = false;
                    break;
                }
                // An ICMP error of an earlier datagram.
                Err(_) => {}
            }
        }
        self.received = received;
        more
    }

    /// A datagram or message of a client. Responses are in [`Turn::poll_transmit`].
    pub(super) fn handle(&mut self, client: SocketAddr, data: &mut [u8], take: Take<'_>) {
        if let Some(to) = self.server.handle_packet(Instant::now(), client, data)
            && let (Some(owner), Ok(peer)) = (self.owners.get(to.peer), u32::try_from(to.peer))
        {
            let path = link_address(to.relayed, self.shard, PATHS | to.allocation << PEER_BITS | peer);
            take(*owner, path, to.data);
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.server.poll_transmit()
    }

    /// Wraps a datagram to the path `to` for its client: see [`Turn::wrapped`]. `None` where the path is gone.
    pub(super) fn wrap(&mut self, id: LinkId, to: SocketAddr, datagram: &[u8]) -> Option<SocketAddr> {
        let allocation = (id & !PATHS) >> PEER_BITS;
        let peer = id & ((1 << PEER_BITS) - 1);
        // An earlier driver of this shard may have had an allocation of the same number.
        if link_address(self.server.relayed(allocation)?, self.shard, id) != to {
            return None;
        }
        let wrapped = &mut self.wrapped;
        self.server
            .wrap(Instant::now(), allocation, peer as usize, datagram, wrapped)
    }

    /// The bytes that go to the client.
    pub(super) fn wrapped(&self) -> &[u8] {
        &self.wrapped
    }

    /// Sends to a client from the address of ours that it asked.
    pub(super) fn send_udp(&self, client: SocketAddr, data: &[u8]) -> bool {
        let (Some(socket), Some((_, id))) = (&self.plain_socket, link_of(client)) else {
            return false;
        };
        let to = match id.checked_sub(1) {
            Some(number) => pktinfo::path(client.ip(), client.port(), number),
            // On an IPv6 socket IPv4 addresses have their IPv6 form; on an IPv4 one their own.
            None if self.ipv4 => SocketAddr::new(client.ip().to_canonical(), client.port()),
            None => SocketAddr::new(client.ip(), client.port()),
        };
        pktinfo::send(socket, to, data).is_ok()
    }

    /// Whether a client may keep its connection.
    pub(super) fn knows(&self, client: SocketAddr) -> bool {
        self.server.has_allocation(client)
    }

    pub(super) fn gone(&mut self, client: SocketAddr) {
        self.server.client_gone(client);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.server.handle_timeout(now);
    }

    pub(super) fn is_over_udp(client: SocketAddr) -> bool {
        link_of(client).is_some_and(|(_, id)| is_udp(id))
    }
}
