//! The server: allocations, and what may be done with them.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::crypto::{RTCCryptoProvider, default_provider};
use rtc::stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_EVEN_PORT, ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM,
    ATTR_REQUESTED_ADDRESS_FAMILY, ATTR_REQUESTED_TRANSPORT, ATTR_RESERVATION_TOKEN, ATTR_USERNAME,
    ATTR_XOR_PEER_ADDRESS, AttrType,
};
use rtc::stun::error_code::{
    CODE_ADDR_FAMILY_NOT_SUPPORTED, CODE_ALLOC_MISMATCH, CODE_ALLOC_QUOTA_REACHED, CODE_BAD_REQUEST, CODE_FORBIDDEN,
    CODE_INSUFFICIENT_CAPACITY, CODE_PEER_ADDR_FAMILY_MISMATCH, CODE_STALE_NONCE, CODE_UNAUTHORIZED,
    CODE_UNKNOWN_ATTRIBUTE, CODE_UNSUPPORTED_TRANS_PROTO, CODE_WRONG_CREDENTIALS, ErrorCode,
};
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    CLASS_INDICATION, CLASS_REQUEST, METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION,
    METHOD_DATA, METHOD_REFRESH, METHOD_SEND, Message, MessageType, Setter, TransactionId,
};
use rtc::stun::textattrs::TextAttribute;
use rtc::stun::uattrs::UnknownAttributes;
use rtc::stun::xoraddr::XorMappedAddress;
use rtc::turn::proto::PROTO_UDP;
use rtc::turn::proto::channum::ChannelNumber;
use rtc::turn::proto::data::Data;
use rtc::turn::proto::lifetime::{DEFAULT_LIFETIME, Lifetime};
use rtc::turn::proto::peeraddr::PeerAddress;
use rtc::turn::proto::relayaddr::RelayedAddress;
use rtc::turn::proto::reqfamily::{REQUESTED_FAMILY_IPV6, RequestedAddressFamily};
use rtc::turn::proto::reqtrans::RequestedTransport;

use crate::allocation::Allocation;
use crate::credentials::{Nonces, password, read_username};
use crate::request::Request;
use crate::{AllocationId, PeerIndex};

/// RFC 8656 section 7.2 suggests an hour at most.
const MAX_LIFETIME: Duration = Duration::from_secs(3600);
const NONCE_SECONDS: u64 = 3600;
/// RFC 8656 section 12: the numbers that don't look like another protocol.
const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4fff;
const CHANNEL_HEADER: usize = 4;
/// Numbers of allocations are below this.
const MOST_ALLOCATIONS: u32 = 1 << 20;
/// The dynamic ports (RFC 6335): no relayed address looks like a well-known service.
const FIRST_PORT: u16 = 49_152;
/// How often allocations are looked through for those that have ended.
const SWEEP: Duration = Duration::from_secs(1);

/// Settings of a [`Server`].
#[derive(Clone)]
pub struct ServerConfig {
    /// The realm of the credentials (RFC 8489 section 9.2), a name such as that of the server.
    pub realm: String,
    /// The secret from which passwords are made; see [`password`](crate::password).
    pub secret: Vec<u8>,
    /// Random bytes that sign nonces.
    pub nonce_key: [u8; 32],
    /// Every address of the media path, as clients are told of it in answers: the only peers that there are.
    pub peers: Vec<SocketAddr>,
    /// The most allocations at once.
    pub max_allocations: usize,
    /// The most of one identity.
    pub max_per_user: usize,
    /// The most from one IPv4 address or IPv6 /64.
    pub max_per_address: usize,
    /// An instant, and the time since the Unix epoch then: the expiry of credentials is in wall-clock time.
    pub wall_clock: (Instant, Duration),
}

/// A datagram that a client sends to the media path.
#[derive(Debug, PartialEq, Eq)]
pub struct ToPeer<'d> {
    /// The client's allocation.
    pub allocation: AllocationId,
    /// Its relayed address: what the media path knows the client by.
    pub relayed: SocketAddr,
    /// The peer, as its place among [`ServerConfig::peers`].
    pub peer: PeerIndex,
    /// The datagram.
    pub data: &'d mut [u8],
}

/// Why a server can't be made.
#[derive(Debug, thiserror::Error)]
#[error("the crypto library has no provider")]
pub struct NoCrypto;

/// Counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Allocations that there are.
    pub allocations: usize,
    /// Allocations made.
    pub made: u64,
    /// Requests refused for want of good credentials, the first one of each client included.
    pub unauthorized: u64,
    /// Requests refused by a quota.
    pub over_quota: u64,
    /// Requests for peers that aren't the media path.
    pub forbidden: u64,
}

/// A TURN server (RFC 8656) whose allocations are handles: no port is opened for them, and their only peer is the media path of this
/// server. See the crate's documentation for an example.
pub struct Server {
    config: ServerConfig,
    provider: Arc<dyn RTCCryptoProvider>,
    nonces: Nonces,
    allocations: HashMap<AllocationId, Allocation>,
    by_client: HashMap<SocketAddr, AllocationId>,
    by_identity: HashMap<String, usize>,
    by_household: HashMap<IpAddr, usize>,
    last: AllocationId,
    responses: VecDeque<(SocketAddr, Vec<u8>)>,
    next_sweep: Option<Instant>,
    stats: ServerStats,
}

/// An authenticated request.
struct Caller {
    client: SocketAddr,
    username: String,
    identity: String,
    key: Vec<u8>,
}

/// A refusal: its code, and a reason in English.
type Refusal = (ErrorCode, &'static str);
type Success<'a> = Vec<Box<dyn Setter + 'a>>;

impl Server {
    /// A server without allocations.
    ///
    /// # Errors
    /// [`NoCrypto`]: the crypto library can't be used.
    pub fn new(config: ServerConfig) -> Result<Server, NoCrypto> {
        Ok(Server {
            provider: default_provider().map_err(|_| NoCrypto)?,
            nonces: Nonces::new(config.nonce_key, NONCE_SECONDS),
            config,
            allocations: HashMap::new(),
            by_client: HashMap::new(),
            by_identity: HashMap::new(),
            by_household: HashMap::new(),
            last: 0,
            responses: VecDeque::new(),
            next_sweep: None,
            stats: ServerStats::default(),
        })
    }

    /// A datagram or a message of a stream came from `client`, which is any name that stands for one client's five-tuple; its address and
    /// port are told to the client as XOR-MAPPED-ADDRESS. Returns what is for the media path; a response is in
    /// [`poll_transmit`](Self::poll_transmit).
    pub fn handle_packet<'d>(&mut self, now: Instant, client: SocketAddr, data: &'d mut [u8]) -> Option<ToPeer<'d>> {
        match data.first()? {
            64..=79 => self.channel_data(now, client, data),
            0..=3 => self.stun(now, client, data),
            _ => None,
        }
    }

    /// The next response, and the client that it is for.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.responses.pop_front()
    }

    /// Puts a datagram of the media path, from the peer of this index, around which the client's protocol is wrapped, into `out`, and tells
    /// the client. `None` where the client doesn't let it through.
    pub fn wrap(
        &self,
        now: Instant,
        allocation: AllocationId,
        peer: PeerIndex,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        let allocation = self
            .allocations
            .get(&allocation)
            .filter(|allocation| allocation.until > now)?;
        let address = *self.config.peers.get(peer)?;
        if !allocation.permits(now, address.ip()) {
            return None;
        }
        out.clear();
        if let Some(number) = allocation.channel_of(now, peer) {
            out.extend(number.to_be_bytes());
            out.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
            out.extend(data);
        } else {
            let mut message = Message::new();
            let transaction = self.transaction()?;
            message
                .build(&[
                    Box::new(transaction),
                    Box::new(MessageType::new(METHOD_DATA, CLASS_INDICATION)),
                    Box::new(PeerAddress {
                        ip: address.ip(),
                        port: address.port(),
                    }),
                    Box::new(Data(data.to_vec())),
                ])
                .ok()?;
            out.extend(&message.raw);
        }
        Some(allocation.client)
    }

    /// The relayed address of an allocation.
    pub fn relayed(&self, allocation: AllocationId) -> Option<SocketAddr> {
        self.allocations.get(&allocation).map(|allocation| allocation.relayed)
    }

    /// Whether a client has an allocation.
    pub fn has_allocation(&self, client: SocketAddr) -> bool {
        self.by_client.contains_key(&client)
    }

    /// A client's connection is closed: so is its allocation.
    pub fn client_gone(&mut self, client: SocketAddr) {
        if let Some(id) = self.by_client.get(&client).copied() {
            self.remove(id);
        }
    }

    /// Ends allocations that weren't refreshed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_sweep.is_none_or(|due| due > now) {
            return;
        }
        let over = self
            .allocations
            .iter()
            .filter(|(_, allocation)| allocation.until <= now);
        let over: Vec<AllocationId> = over.map(|(id, _)| *id).collect();
        over.into_iter().for_each(|id| self.remove(id));
        self.next_sweep = (!self.allocations.is_empty()).then(|| now + SWEEP);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_sweep
    }

    /// Counters.
    pub fn stats(&self) -> ServerStats {
        ServerStats {
            allocations: self.allocations.len(),
            ..self.stats
        }
    }

    fn channel_data<'d>(&mut self, now: Instant, client: SocketAddr, data: &'d mut [u8]) -> Option<ToPeer<'d>> {
        let id = *self.by_client.get(&client)?;
        let (header, rest) = data.split_at_mut_checked(CHANNEL_HEADER)?;
        let number = u16::from_be_bytes([header[0], header[1]]);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let allocation = self.allocations.get(&id).filter(|allocation| allocation.until > now)?;
        let peer = allocation.peer_of(now, number)?;
        Some(ToPeer {
            allocation: id,
            relayed: allocation.relayed,
            peer,
            // Over UDP there may be padding behind it (RFC 8656 section 12.5).
            data: rest.get_mut(..length)?,
        })
    }

    fn stun<'d>(&mut self, now: Instant, client: SocketAddr, data: &'d mut [u8]) -> Option<ToPeer<'d>> {
        let request = Request::read(data)?;
        let kind = request.kind();
        if kind == MessageType::new(METHOD_SEND, CLASS_INDICATION) {
            return self.send_indication(now, client, &request, data);
        }
        if kind.class != CLASS_REQUEST {
            return None;
        }
        let response = if kind.method == METHOD_BINDING {
            self.binding(client, &request)
        } else {
            self.authenticated(now, client, request)
        };
        self.responses.extend(response.map(|response| (client, response)));
        None
    }

    fn send_indication<'d>(
        &mut self,
        now: Instant,
        client: SocketAddr,
        request: &Request,
        data: &'d mut [u8],
    ) -> Option<ToPeer<'d>> {
        let id = *self.by_client.get(&client)?;
        let allocation = self.allocations.get(&id).filter(|allocation| allocation.until > now)?;
        if !request.unknown().is_empty() {
            return None;
        }
        let peer: PeerAddress = request.get(ATTR_XOR_PEER_ADDRESS)??;
        let peer = self.peer_at(SocketAddr::new(peer.ip, peer.port))?;
        if !allocation.permits(now, self.config.peers[peer].ip()) {
            return None;
        }
        let length = request.all(ATTR_DATA).next()?.len();
        let begin = place_of_data(data)?;
        Some(ToPeer {
            allocation: id,
            relayed: allocation.relayed,
            peer,
            data: data.get_mut(begin..begin + length)?,
        })
    }

    fn binding(&self, client: SocketAddr, request: &Request) -> Option<Vec<u8>> {
        let crypto = self.provider.crypto();
        let unknown = request.unknown();
        if !unknown.is_empty() {
            let unknown = Box::new(UnknownAttributes(unknown));
            return request.fail(CODE_UNKNOWN_ATTRIBUTE, "Unknown Attribute", vec![unknown], None, crypto);
        }
        request.succeed(vec![Box::new(mapped(client))], None, crypto)
    }

    fn authenticated(&mut self, now: Instant, client: SocketAddr, mut request: Request) -> Option<Vec<u8>> {
        let caller = match self.authenticate(now, client, &mut request) {
            Ok(caller) => caller,
            Err((code, reason)) => {
                self.stats.unauthorized += 1;
                let mut more: Vec<Box<dyn Setter>> = Vec::new();
                if code != CODE_BAD_REQUEST {
                    let nonce = self.nonces.make(self.wall_seconds(now), client);
                    more.push(Box::new(TextAttribute::new(ATTR_REALM, self.config.realm.clone())));
                    more.push(Box::new(TextAttribute::new(ATTR_NONCE, nonce)));
                }
                return request.fail(code, reason, more, None, self.provider.crypto());
            }
        };
        let provider = self.provider.clone();
        let (crypto, key) = (provider.crypto(), Some(caller.key.as_slice()));
        let mut unknown = request.unknown();
        // Known to exist, and not supported: RFC 8656 section 7.2 has it answered like one that is unknown.
        if request.has(rtc::stun::attributes::ATTR_DONT_FRAGMENT)
            && !unknown.contains(&rtc::stun::attributes::ATTR_DONT_FRAGMENT)
        {
            unknown.push(rtc::stun::attributes::ATTR_DONT_FRAGMENT);
        }
        if !unknown.is_empty() {
            let unknown = Box::new(UnknownAttributes(unknown));
            return request.fail(CODE_UNKNOWN_ATTRIBUTE, "Unknown Attribute", vec![unknown], key, crypto);
        }
        let done = match request.kind().method {
            METHOD_ALLOCATE => self.allocate(now, &caller, &request),
            METHOD_REFRESH => self.refresh(now, &caller, &request),
            METHOD_CREATE_PERMISSION => self.create_permission(now, &caller, &request),
            METHOD_CHANNEL_BIND => self.channel_bind(now, &caller, &request),
            _ => Err((CODE_BAD_REQUEST, "Bad Request")),
        };
        match done {
            Ok(attributes) => request.succeed(attributes, key, crypto),
            Err((code, reason)) => {
                match code {
                    CODE_FORBIDDEN => self.stats.forbidden += 1,
                    CODE_ALLOC_QUOTA_REACHED | CODE_INSUFFICIENT_CAPACITY => self.stats.over_quota += 1,
                    _ => {}
                }
                request.fail(code, reason, Vec::new(), key, crypto)
            }
        }
    }

    // RFC 8489 section 9.2.4.
    fn authenticate(&self, now: Instant, client: SocketAddr, request: &mut Request) -> Result<Caller, Refusal> {
        const UNAUTHORIZED: Refusal = (CODE_UNAUTHORIZED, "Unauthorized");
        if !request.is_signed() {
            return Err(UNAUTHORIZED);
        }
        let text = |kind| request.text(kind).map(str::to_owned);
        let (Some(username), Some(realm), Some(nonce)) = (text(ATTR_USERNAME), text(ATTR_REALM), text(ATTR_NONCE))
        else {
            return Err((CODE_BAD_REQUEST, "Bad Request"));
        };
        let seconds = self.wall_seconds(now);
        if !self.nonces.is_good(&nonce, seconds, client) {
            return Err((CODE_STALE_NONCE, "Stale Nonce"));
        }
        let (expiry, identity) = read_username(&username).ok_or(UNAUTHORIZED)?;
        // An allocation that was made with them in time may go on: a call doesn't end because it is long.
        let own = self
            .own(client)
            .is_some_and(|allocation| allocation.username == username);
        if realm != self.config.realm || (expiry <= seconds && !own) {
            return Err(UNAUTHORIZED);
        }
        let identity = identity.to_owned();
        let crypto = self.provider.crypto();
        let password = password(&self.config.secret, &username);
        let key = MessageIntegrity::long_term_integrity_key(username.clone(), realm, password, crypto)
            .map_err(|_| UNAUTHORIZED)?;
        if !request.is_signed_with(&key, crypto) {
            return Err(UNAUTHORIZED);
        }
        Ok(Caller {
            client,
            username,
            identity,
            key,
        })
    }

    fn allocate(&mut self, now: Instant, caller: &Caller, request: &Request) -> Result<Success<'static>, Refusal> {
        let transaction = request.message().transaction_id;
        if let Some(allocation) = self.own(caller.client).filter(|allocation| allocation.until > now) {
            // A client that didn't get the response asks again.
            return if allocation.transaction == transaction {
                Ok(made(allocation, now))
            } else {
                Err((CODE_ALLOC_MISMATCH, "Allocation Mismatch"))
            };
        }
        self.client_gone(caller.client);
        let bad = (CODE_BAD_REQUEST, "Bad Request");
        let transport: RequestedTransport = request.get(ATTR_REQUESTED_TRANSPORT).flatten().ok_or(bad)?;
        if transport.protocol != PROTO_UDP {
            return Err((CODE_UNSUPPORTED_TRANS_PROTO, "Unsupported Transport Protocol"));
        }
        if request.has(ATTR_RESERVATION_TOKEN) || request.has(ATTR_EVEN_PORT) {
            if request.has(ATTR_RESERVATION_TOKEN)
                && (request.has(ATTR_EVEN_PORT) || request.has(ATTR_REQUESTED_ADDRESS_FAMILY))
            {
                return Err(bad);
            }
            // There are no ports to be reserved.
            return Err((CODE_INSUFFICIENT_CAPACITY, "Insufficient Capacity"));
        }
        let ipv6 = self.wants_ipv6(request)?;
        let family = |peer: &&SocketAddr| peer.ip().to_canonical().is_ipv6() == ipv6;
        // Without a wish it is IPv4 (RFC 8656 section 7.2), or what there is.
        let wished = request.has(ATTR_REQUESTED_ADDRESS_FAMILY);
        let peers = &self.config.peers;
        let ip = match peers.iter().find(family).or(peers.first().filter(|_| !wished)) {
            Some(peer) => peer.ip(),
            None => return Err((CODE_ADDR_FAMILY_NOT_SUPPORTED, "Address Family not Supported")),
        };
        let household = household(caller.client.ip());
        let count = |counts: Option<&usize>| counts.copied().unwrap_or(0);
        if count(self.by_identity.get(&caller.identity)) >= self.config.max_per_user
            || count(self.by_household.get(&household)) >= self.config.max_per_address
        {
            return Err((CODE_ALLOC_QUOTA_REACHED, "Allocation Quota Reached"));
        }
        if self.allocations.len() >= self.config.max_allocations.min(MOST_ALLOCATIONS as usize / 2) {
            return Err((CODE_INSUFFICIENT_CAPACITY, "Insufficient Capacity"));
        }
        let id = self.next_id();
        let until = now + lifetime(request)?.unwrap_or(DEFAULT_LIFETIME).max(DEFAULT_LIFETIME);
        let relayed = SocketAddr::new(ip, FIRST_PORT + (id % u32::from(u16::MAX - FIRST_PORT)) as u16);
        let allocation = Allocation::new(
            caller.client,
            &caller.username,
            &caller.identity,
            transaction,
            relayed,
            until,
        );
        let success = made(&allocation, now);
        self.allocations.insert(id, allocation);
        self.by_client.insert(caller.client, id);
        *self.by_identity.entry(caller.identity.clone()).or_default() += 1;
        *self.by_household.entry(household).or_default() += 1;
        self.stats.made += 1;
        self.next_sweep.get_or_insert(now + SWEEP);
        Ok(success)
    }

    fn refresh(&mut self, now: Instant, caller: &Caller, request: &Request) -> Result<Success<'static>, Refusal> {
        let id = self.allocation_of(now, caller)?;
        let relayed_ipv6 = self.allocations[&id].relayed.ip().to_canonical().is_ipv6();
        if request.has(ATTR_REQUESTED_ADDRESS_FAMILY) && self.wants_ipv6(request)? != relayed_ipv6 {
            return Err((CODE_PEER_ADDR_FAMILY_MISMATCH, "Peer Address Family Mismatch"));
        }
        let lifetime = match lifetime(request)? {
            Some(Duration::ZERO) => {
                self.remove(id);
                Duration::ZERO
            }
            wished => {
                let lifetime = wished.unwrap_or(DEFAULT_LIFETIME).max(DEFAULT_LIFETIME);
                if let Some(allocation) = self.allocations.get_mut(&id) {
                    allocation.until = now + lifetime;
                }
                lifetime
            }
        };
        Ok(vec![Box::new(Lifetime(lifetime))])
    }

    fn create_permission(
        &mut self,
        now: Instant,
        caller: &Caller,
        request: &Request,
    ) -> Result<Success<'static>, Refusal> {
        let id = self.allocation_of(now, caller)?;
        let peers = request
            .all(ATTR_XOR_PEER_ADDRESS)
            .map(|value| peer_address(request, value));
        let peers = peers.collect::<Option<Vec<_>>>().filter(|peers| !peers.is_empty());
        let peers = peers.ok_or((CODE_BAD_REQUEST, "Bad Request"))?;
        for peer in &peers {
            if !self.config.peers.iter().any(|ours| ours.ip() == peer.ip()) {
                return Err((CODE_FORBIDDEN, "Forbidden"));
            }
        }
        if let Some(allocation) = self.allocations.get_mut(&id) {
            peers.iter().for_each(|peer| allocation.permit(now, peer.ip()));
        }
        Ok(Vec::new())
    }

    fn channel_bind(&mut self, now: Instant, caller: &Caller, request: &Request) -> Result<Success<'static>, Refusal> {
        let bad = (CODE_BAD_REQUEST, "Bad Request");
        let id = self.allocation_of(now, caller)?;
        let number: ChannelNumber = request.get(ATTR_CHANNEL_NUMBER).flatten().ok_or(bad)?;
        let peer: PeerAddress = request.get(ATTR_XOR_PEER_ADDRESS).flatten().ok_or(bad)?;
        if !CHANNELS.contains(&number.0) {
            return Err(bad);
        }
        let peer = self
            .peer_at(SocketAddr::new(peer.ip, peer.port))
            .ok_or((CODE_FORBIDDEN, "Forbidden"))?;
        let ip = self.config.peers[peer].ip();
        let allocation = self.allocations.get_mut(&id).ok_or(bad)?;
        if !allocation.bind(now, number.0, peer) {
            return Err(bad);
        }
        allocation.permit(now, ip);
        Ok(Vec::new())
    }

    fn wants_ipv6(&self, request: &Request) -> Result<bool, Refusal> {
        match request.get::<RequestedAddressFamily>(ATTR_REQUESTED_ADDRESS_FAMILY) {
            None => Ok(false),
            Some(Some(family)) => Ok(family == REQUESTED_FAMILY_IPV6),
            Some(None) => Err((CODE_ADDR_FAMILY_NOT_SUPPORTED, "Address Family not Supported")),
        }
    }

    fn own(&self, client: SocketAddr) -> Option<&Allocation> {
        self.by_client.get(&client).and_then(|id| self.allocations.get(id))
    }

    fn allocation_of(&self, now: Instant, caller: &Caller) -> Result<AllocationId, Refusal> {
        match self
            .by_client
            .get(&caller.client)
            .map(|id| (*id, &self.allocations[id]))
        {
            Some((_, allocation)) if allocation.identity != caller.identity => {
                Err((CODE_WRONG_CREDENTIALS, "Wrong Credentials"))
            }
            Some((id, allocation)) if allocation.until > now => Ok(id),
            _ => Err((CODE_ALLOC_MISMATCH, "Allocation Mismatch")),
        }
    }

    fn peer_at(&self, address: SocketAddr) -> Option<PeerIndex> {
        self.config.peers.iter().position(|peer| *peer == address)
    }

    fn remove(&mut self, id: AllocationId) {
        let Some(allocation) = self.allocations.remove(&id) else {
            return;
        };
        self.by_client.remove(&allocation.client);
        fewer(&mut self.by_identity, allocation.identity);
        fewer(&mut self.by_household, household(allocation.client.ip()));
    }

    fn next_id(&mut self) -> AllocationId {
        loop {
            self.last = (self.last + 1) % MOST_ALLOCATIONS;
            if !self.allocations.contains_key(&self.last) {
                return self.last;
            }
        }
    }

    fn transaction(&self) -> Option<TransactionId> {
        let mut id = TransactionId::default();
        self.provider.random().fill(&mut id.0).ok()?;
        Some(id)
    }

    fn wall_seconds(&self, now: Instant) -> u64 {
        let (at, wall) = self.config.wall_clock;
        (wall + now.saturating_duration_since(at)).as_secs()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({} allocations)", self.allocations.len())
    }
}

fn fewer<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let std::collections::hash_map::Entry::Occupied(mut entry) = counts.entry(key) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

fn mapped(client: SocketAddr) -> XorMappedAddress {
    XorMappedAddress {
        ip: client.ip().to_canonical(),
        port: client.port(),
    }
}

/// The response to the request that made an allocation.
fn made(allocation: &Allocation, now: Instant) -> Success<'static> {
    vec![
        Box::new(RelayedAddress {
            ip: allocation.relayed.ip(),
            port: allocation.relayed.port(),
        }),
        Box::new(Lifetime(allocation.until.saturating_duration_since(now))),
        Box::new(mapped(allocation.client)),
    ]
}

/// The lifetime that a request asks for, at most the longest; `None` where it leaves that open.
fn lifetime(request: &Request) -> Result<Option<Duration>, Refusal> {
    match request.get::<Lifetime>(ATTR_LIFETIME) {
        None => Ok(None),
        Some(Some(Lifetime(wished))) => Ok(Some(wished.min(MAX_LIFETIME))),
        Some(None) => Err((CODE_BAD_REQUEST, "Bad Request")),
    }
}

/// One of several XOR-PEER-ADDRESS; the codec reads the first of a message only.
fn peer_address(request: &Request, value: &[u8]) -> Option<SocketAddr> {
    let mut alone = Message::new();
    alone.transaction_id = request.message().transaction_id;
    alone.write_header();
    alone.add(ATTR_XOR_PEER_ADDRESS, value);
    let mut address = XorMappedAddress::default();
    address.get_from_as(&alone, ATTR_XOR_PEER_ADDRESS).ok()?;
    Some(SocketAddr::new(address.ip, address.port))
}

/// Where the value of the first DATA attribute begins. The message was read before, so its lengths are right.
fn place_of_data(message: &[u8]) -> Option<usize> {
    let mut at = 20;
    loop {
        let head = message.get(at..at + 4)?;
        if AttrType(u16::from_be_bytes([head[0], head[1]])) == ATTR_DATA {
            return Some(at + 4);
        }
        at += 4 + usize::from(u16::from_be_bytes([head[2], head[3]])).next_multiple_of(4);
    }
}

/// One household: an IPv4 address, or an IPv6 /64, all addresses of which a client has.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX))),
        v4 => v4,
    }
}
