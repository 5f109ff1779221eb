//! TCP on a shard's port number, and TURN. The former is ICE-TCP, passive (RFC 6544). A connection carries datagrams (RFC 4571), and the shard takes them as it
//! takes those of UDP: the protocols above don't know the difference.
//!
//! Nothing here waits. A connection that takes no more bytes loses datagrams, and one that isn't a participant's, or no longer, is
//! closed.

#![allow(clippy::disallowed_methods)] // this is the I/O half

mod address;
mod link;
mod local;
mod stream;
mod tls;
mod tls_listener;
mod turn;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener as PlainListener};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream, UnixListener};
use mio::{Interest, Registry, Token};
use roomtone_transport::Framing;
use socket2::{Domain, Protocol, Socket, Type};

use crate::command::ShardIndex;
use crate::shard::Shard;
use address::{LinkId, link_address};
pub(crate) use address::{link_of, udp_address};
use link::{Link, Over};
pub(crate) use local::listen as listen_locally;
use stream::Stream;
use tls::Tls;
pub(crate) use tls_listener::TlsListener;
use turn::Turn;
pub(crate) use turn::{PlainSockets, TurnParts};

/// Connections of a shard.
const MOST: usize = 10_000;
/// Of one address (of IPv6, one /64): an office whose firewall lets no UDP out.
const MOST_OF_ONE: usize = 256;
/// Those among them on which ICE hasn't succeeded yet.
const STRANGERS: usize = 1_000;
const STRANGERS_OF_ONE: usize = 64;
/// How long a connection may be there without being a participant's.
const STRANGER: Duration = Duration::from_secs(5);
/// How long nothing may be heard: ICE sends something every few seconds.
const IDLE: Duration = Duration::from_secs(30);
const SWEEP: Duration = Duration::from_secs(1);
/// The system's buffer for each direction. Sound that waits is sound that is late.
const SOCKET_BUFFER: usize = 32 << 10;
/// Connections accepted in one turn of the loop.
const ACCEPT_BATCH: usize = 64;
/// Reads of one connection before others get their turn.
const READ_BATCH: usize = 4;
const LISTENER: Token = Token(usize::MAX);
const TURN_LISTENER: Token = Token(usize::MAX - 1);
const TURN_SOCKET: Token = Token(usize::MAX - 2);
const LOCAL_LISTENER: Token = Token(usize::MAX - 3);
/// Tokens from here on are not those of connections; the ones below those above are free for the caller of [`Links::new`].
pub(crate) const FIRST_TOKEN: usize = usize::MAX - 15;
const BACKLOG: i32 = 512;

/// Listens for TCP where a shard's UDP socket is.
pub(crate) fn listen(address: SocketAddr) -> io::Result<PlainListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Without it, connections of an earlier server would keep the port for a minute.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        let _ = socket.set_only_v6(false);
    }
    // Connections have those of their listener.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The connections of a shard.
pub(crate) struct Links {
    shard: ShardIndex,
    registry: Registry,
    /// With what it carries.
    listeners: Vec<(TcpListener, Framing)>,
    /// For TURN by the port of HTTPS.
    local: Option<UnixListener>,
    turn: Option<Turn>,
    /// TURN's socket may have more to be read.
    turn_unread: bool,
    /// Datagrams for other shards.
    foreign: Vec<(ShardIndex, SocketAddr, Vec<u8>)>,
    /// There may be connections to accept …
    accept_again: bool,
    /// … for which the system has no descriptor; the next sweep tries again.
    out_of_descriptors: bool,
    links: HashMap<LinkId, Link>,
    last: LinkId,
    /// Connections that have more to be read.
    unread: Vec<LinkId>,
    next_sweep: Instant,
}

impl Links {
    /// Registers its sockets with `registry`, whose events are for [`Links::handle_event`].
    pub(crate) fn new(
        now: Instant,
        shard: ShardIndex,
        listener: Option<&PlainListener>,
        turn: Option<&TurnParts>,
        registry: Registry,
    ) -> io::Result<Links> {
        let mut listeners = Vec::new();
        let ice = listener.map(|listener| (listener, LISTENER, Framing::Rfc4571));
        let turns = turn.and_then(|turn| Some((&turn.plain.as_ref()?.tcp, TURN_LISTENER, Framing::Turn)));
        for (listener, token, framing) in ice.into_iter().chain(turns) {
            let mut listener = TcpListener::from_std(listener.try_clone()?);
            registry.register(&mut listener, token, Interest::READABLE)?;
            listeners.push((listener, framing));
        }
        let local = match turn.and_then(|turn| turn.local.as_ref()) {
            Some(listener) => {
                let mut listener = UnixListener::from_std(listener.try_clone()?);
                registry.register(&mut listener, LOCAL_LISTENER, Interest::READABLE)?;
                Some(listener)
            }
            None => None,
        };
        let turn = turn
            .map(|parts| Turn::new(now, shard, parts, &registry, TURN_SOCKET))
            .transpose()?;
        Ok(Links {
            shard,
            registry,
            // Connections may have come while no driver was there.
            accept_again: !listeners.is_empty() || local.is_some(),
            out_of_descriptors: false,
            listeners,
            local,
            turn_unread: turn.as_ref().is_some_and(Turn::has_socket),
            turn,
            foreign: Vec::new(),
            links: HashMap::new(),
            last: 0,
            unread: Vec::new(),
            next_sweep: now + SWEEP,
        })
    }

    /// When [`Links::handle_timeout`] should be called next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        (!self.links.is_empty() || self.accept_again || self.turn.is_some()).then_some(self.next_sweep)
    }

    /// Something can be read or written, or there is a connection to accept. Others' events are left alone.
    pub(crate) fn handle_event(&mut self, event: &Event) {
        match event.token() {
            LISTENER | TURN_LISTENER | LOCAL_LISTENER => self.accept_again = true,
            TURN_SOCKET => self.turn_unread = true,
            Token(FIRST_TOKEN..) => {}
            Token(id) => {
                let id = id as LinkId;
                if event.is_writable() && self.links.get_mut(&id).is_some_and(|link| link.flush().is_err()) {
                    self.close(id);
                }
                if event.is_readable()
                    && let Some(link) = self.links.get_mut(&id)
                    && !link.unread
                {
                    link.unread = true;
                    self.unread.push(id);
                }
            }
        }
    }

    /// Accepts, reads and writes what can be. True when there may be more to do.
    pub(crate) fn receive(&mut self, shard: &mut Shard) -> bool {
        let secured = self.turn.as_ref().is_some_and(Turn::has_secured);
        if self.accept_again && !self.out_of_descriptors {
            self.accept();
        }
        if secured {
            self.take_secured();
        }
        if self.turn_unread
            && let Some(turn) = &mut self.turn
        {
            let mut take = deliver(self.shard, shard, &mut self.foreign);
            self.turn_unread = turn.receive(&mut take);
        }
        let unread = std::mem::take(&mut self.unread);
        for id in unread {
            match self.read(id, shard) {
                Ok(true) => self.unread.push(id),
                Ok(false) => {}
                Err(Over) => self.close(id),
            }
        }
        !self.unread.is_empty()
            || self.turn_unread
            || (self.accept_again && !self.out_of_descriptors)
            || self.turn.as_ref().is_some_and(Turn::has_secured)
    }

    // True when there may be more.
    fn read(&mut self, id: LinkId, shard: &mut Shard) -> Result<bool, Over> {
        let Some(link) = self.links.get_mut(&id) else {
            return Ok(false);
        };
        for _ in 0..READ_BATCH {
            if !link.read(Instant::now())? {
                link.unread = false;
                return Ok(false);
            }
            let address = link.address;
            let greeted = link.greeted;
            if let (Framing::Turn, Some(turn)) = (link.framing(), &mut self.turn) {
                let mut take = deliver(self.shard, shard, &mut self.foreign);
                while let Some(message) = link.next_datagram()? {
                    turn.handle(address, message, &mut take);
                }
                while let Some((_, response)) = turn.poll_transmit() {
                    link.send(&response)?;
                }
                link.greeted = turn.knows(address);
                continue;
            }
            while let Some(datagram) = link.next_datagram()? {
                // A stranger who begins with anything else isn't worth waiting for.
                if !greeted && !shard.context.routes.knows_ufrag_of(datagram) {
                    return Err(Over);
                }
                shard.handle_datagram(Instant::now(), address, datagram);
            }
            link.greeted = shard.context.routes.knows(address);
        }
        Ok(true)
    }

    fn accept(&mut self) {
        self.accept_again = false;
        for at in 0..self.listeners.len() {
            self.accept_again |= self.accept_from(at);
        }
        self.accept_again |= self.accept_locally();
    }

    // True when there may be more.
    fn accept_from(&mut self, at: usize) -> bool {
        for _ in 0..ACCEPT_BATCH {
            let (listener, framing) = &self.listeners[at];
            match listener.accept() {
                Ok((stream, peer)) => {
                    let framing = *framing;
                    self.admit(Stream::Tcp(stream), peer, framing, None);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.out_of_descriptors = true;
                    break;
                }
            }
        }
        true
    }

    // True when there may be more.
    fn accept_locally(&mut self) -> bool {
        for _ in 0..ACCEPT_BATCH {
            let Some(listener) = &self.local else {
                return false;
            };
            match local::accept(listener) {
                Ok(Some((stream, client))) => self.admit(Stream::Local(stream), client, Framing::Turn, None),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.out_of_descriptors = true;
                    break;
                }
            }
        }
        true
    }

    /// Connections with TLS, whose handshakes were done elsewhere.
    fn take_secured(&mut self) {
        for _ in 0..ACCEPT_BATCH {
            let Some(secured) = self.turn.as_ref().and_then(Turn::next_secured) else {
                return;
            };
            let stream = Stream::Tcp(TcpStream::from_std(secured.stream));
            self.admit(stream, secured.peer, Framing::Turn, Some(Tls::new(secured.tls)));
        }
    }

    fn admit(&mut self, mut stream: Stream, peer: SocketAddr, framing: Framing, tls: Option<Tls>) {
        let household = household(peer.ip());
        let of_one = || {
            self.links
                .values()
                .filter(|link| household == self::household(link.address.ip()))
        };
        let strangers = |links: &mut dyn Iterator<Item = &Link>| links.filter(|link| !link.greeted).count();
        if self.links.len() >= MOST
            || of_one().count() >= MOST_OF_ONE
            || strangers(&mut self.links.values()) >= STRANGERS
            || strangers(&mut of_one()) >= STRANGERS_OF_ONE
        {
            // Dropping the stream closes it.
            return;
        }
        stream.prepare();
        let id = self.next_id();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self
            .registry
            .register(&mut stream, Token(id as usize), interest)
            .is_ok()
        {
            let address = link_address(peer, self.shard, id);
            // The first message may have come with the end of the handshake.
            let unread = tls.is_some();
            let mut link = Link::new(Instant::now(), stream, framing, address).with_tls(tls);
            link.unread = unread;
            self.unread.extend(unread.then_some(id));
            self.links.insert(id, link);
        }
    }

    fn next_id(&mut self) -> LinkId {
        loop {
            self.last = self.last.wrapping_add(1);
            if !turn::is_udp(self.last) && !turn::is_path(self.last) && !self.links.contains_key(&self.last) {
                return self.last;
            }
        }
    }

    fn close(&mut self, id: LinkId) {
        if let Some(mut link) = self.links.remove(&id) {
            let _ = self.registry.deregister(link.stream());
            if let Some(turn) = &mut self.turn {
                turn.gone(link.address);
            }
        }
    }

    /// Sends a datagram by the connection that `to` names. False if that is gone, or takes no more.
    pub(crate) fn send(&mut self, id: LinkId, to: SocketAddr, datagram: &[u8]) -> bool {
        if turn::is_path(id) {
            return self.send_by_turn(id, to, datagram);
        }
        match self.links.get_mut(&id) {
            // An earlier driver of this shard may have had a connection of the same number.
            Some(link) if link.address == to => match link.send(datagram) {
                Ok(sent) => sent,
                Err(Over) => {
                    self.close(id);
                    false
                }
            },
            _ => false,
        }
    }

    fn send_by_turn(&mut self, id: LinkId, to: SocketAddr, datagram: &[u8]) -> bool {
        // Taken out, as its buffer is borrowed meanwhile.
        let Some(mut turn) = self.turn.take() else {
            return false;
        };
        let sent = match turn.wrap(id, to, datagram) {
            Some(client) if Turn::is_over_udp(client) => turn.send_udp(client, turn.wrapped()),
            Some(client) => match link_of(client) {
                Some((_, link)) => self.send(link, client, turn.wrapped()),
                None => false,
            },
            None => false,
        };
        self.turn = Some(turn);
        sent
    }

    /// The datagrams that came for other shards, and the paths that they came by.
    pub(crate) fn take_foreign(&mut self) -> std::vec::Drain<'_, (ShardIndex, SocketAddr, Vec<u8>)> {
        self.foreign.drain(..)
    }

    /// Closes connections that are nobody's, or silent.
    pub(crate) fn handle_timeout(&mut self, now: Instant, shard: &Shard) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP;
        self.out_of_descriptors = false;
        if let Some(turn) = &mut self.turn {
            turn.handle_timeout(now);
        }
        let over = |link: &Link| {
            let age = now.saturating_duration_since(link.accepted);
            match (link.framing(), &self.turn) {
                // An allocation that isn't refreshed ends by itself.
                (Framing::Turn, Some(turn)) => age >= STRANGER && !turn.knows(link.address),
                _ => {
                    let strange = age >= STRANGER && !shard.context.routes.knows(link.address);
                    strange || now.saturating_duration_since(link.heard) >= IDLE
                }
            }
        };
        let gone: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| over(link))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.close(id);
        }
    }
}

/// Hands a datagram to the shard, or puts it aside for another one.
fn deliver<'a>(
    own: ShardIndex,
    shard: &'a mut Shard,
    foreign: &'a mut Vec<(ShardIndex, SocketAddr, Vec<u8>)>,
) -> impl FnMut(ShardIndex, SocketAddr, &mut [u8]) + 'a {
    move |owner, path, data| {
        if owner == own {
            shard.handle_datagram(Instant::now(), path, data);
        } else {
            foreign.push((owner, path, data.to_vec()));
        }
    }
}

/// One household: an IPv4 address, or an IPv6 /64, all addresses of which a client has.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX))),
        v4 => v4,
    }
}
