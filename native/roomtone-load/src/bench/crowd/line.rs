//! The connection of one participant whose network lets no UDP through to the media port: ICE-TCP (RFC 6544), or the built-in TURN server
//! (RFC 8656) by UDP, TCP or TLS.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomtone_transport::{Deframer, Framing};
use rtc::crypto::{RTCCryptoProvider, default_provider};
use rtc::stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME};
use rtc::stun::error_code::ErrorCodeAttribute;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    CLASS_REQUEST, Getter, METHOD_ALLOCATE, METHOD_CHANNEL_BIND, Message, MessageType, Method, Setter, TransactionId,
};
use rtc::stun::textattrs::TextAttribute;
use rtc::turn::proto::PROTO_UDP;
use rtc::turn::proto::channum::ChannelNumber;
use rtc::turn::proto::peeraddr::PeerAddress;
use rtc::turn::proto::reqtrans::RequestedTransport;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::ring};

use super::port::Incoming;
use crate::bench::case::Way;
use crate::whip::IceServer;

/// The server's answers take no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a read waits for something while the connection is set up.
const GLANCE: Duration = Duration::from_millis(5);
/// A request by UDP that wasn't answered is repeated (RFC 8489, section 6.2.1).
const REPEAT: Duration = Duration::from_millis(500);
/// The channel to the media port.
const CHANNEL: [u8; 2] = [0x40, 0x01];
/// More than any datagram on an Ethernet.
const DATAGRAM: usize = 2048;

/// The connection.
pub struct Line {
    wire: Wire,
    /// The media port, as the answer has it.
    peer: SocketAddr,
    turn: bool,
    frame: Vec<u8>,
    /// The server has closed it.
    closed: bool,
}

enum Wire {
    Udp(UdpSocket, Box<[u8; DATAGRAM]>),
    Tcp(Stream<TcpStream>),
    Tls(Box<Stream<Tls>>),
}

/// A stream and the datagrams in it.
struct Stream<S> {
    stream: S,
    framing: Framing,
    deframer: Deframer,
    /// Bytes that it takes only later.
    unsent: Vec<u8>,
}

struct Tls {
    connection: ClientConnection,
    socket: TcpStream,
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            // Nothing is left of what has come.
            if self.connection.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            self.connection.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl Write for Tls {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let taken = self.connection.writer().write(data)?;
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

impl<S: Read + Write> Stream<S> {
    fn new(stream: S, framing: Framing) -> Stream<S> {
        Stream {
            stream,
            framing,
            deframer: Deframer::new(framing),
            unsent: Vec::new(),
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let around = self.framing.around(message.len());
        let (length, padding) = around.ok_or_else(|| io::Error::other("it is too long"))?;
        self.unsent.extend(length.into_iter().flatten());
        self.unsent.extend_from_slice(message);
        self.unsent.extend(std::iter::repeat_n(0, padding));
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        match self.stream.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Hands over all messages that are there.
    fn receive(&mut self, mut take: impl FnMut(&mut [u8])) -> io::Result<()> {
        self.flush()?;
        loop {
            match self.stream.read(self.deframer.space()) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.deframer.filled(count),
                Err(error) if would_wait(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
            while let Some(message) = self.deframer.next_datagram().map_err(io::Error::other)? {
                take(message);
            }
        }
    }
}

fn would_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Wire {
    /// A connection to the server of a TURN URL.
    fn to_turn(way: Way, url: &str, certificate: Option<&str>) -> Result<Wire, String> {
        let host = url
            .split_once(':')
            .and_then(|(_, rest)| rest.split('?').next())
            .unwrap_or("");
        let address: SocketAddr = host.parse().map_err(|_| format!("{url} has no address and port"))?;
        if way == Way::TurnUdp {
            let socket = UdpSocket::bind((if address.is_ipv4() { "0.0.0.0" } else { "::" }, 0));
            let socket = socket.and_then(|socket| socket.connect(address).map(|()| socket));
            let socket = socket.map_err(in_words(url))?;
            socket.set_read_timeout(Some(GLANCE)).map_err(in_words(url))?;
            return Ok(Wire::Udp(socket, Box::new([0; DATAGRAM])));
        }
        let mut socket = tcp(address).map_err(in_words(url))?;
        if !way.is_tls() {
            socket.set_read_timeout(Some(GLANCE)).map_err(in_words(url))?;
            return Ok(Wire::Tcp(Stream::new(socket, Framing::Turn)));
        }
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(certificate.unwrap_or_default().as_bytes());
        let certificate = certificate.map_err(|error| format!("no certificate to trust: {error}"))?;
        roots.add(certificate).map_err(in_words(url))?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(in_words(url))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), ServerName::from(address.ip()));
        let mut connection = connection.map_err(in_words(url))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).map_err(in_words(url))?;
        }
        socket.set_read_timeout(Some(GLANCE)).map_err(in_words(url))?;
        Ok(Wire::Tls(Box::new(Stream::new(
            Tls { connection, socket },
            Framing::Turn,
        ))))
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            // UDP may lose datagrams anyway.
            Wire::Udp(socket, _) => match socket.send(message) {
                Err(error) if !would_wait(&error) => Err(error),
                _ => Ok(()),
            },
            Wire::Tcp(stream) => stream.send(message),
            Wire::Tls(stream) => stream.send(message),
        }
    }

    fn receive(&mut self, mut take: impl FnMut(&mut [u8])) -> io::Result<()> {
        match self {
            Wire::Udp(socket, buffer) => loop {
                match socket.recv(&mut buffer[..]) {
                    Ok(length) => take(&mut buffer[..length]),
                    Err(error) if would_wait(&error) => return Ok(()),
                    Err(error) => return Err(error),
                }
            },
            Wire::Tcp(stream) => stream.receive(take),
            Wire::Tls(stream) => stream.receive(take),
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Wire::Udp(socket, _) => socket.set_nonblocking(true),
            Wire::Tcp(stream) => stream.stream.set_nonblocking(true),
            Wire::Tls(stream) => stream.stream.socket.set_nonblocking(true),
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn in_words<E: Display>(what: &str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

impl Line {
    /// Opens it, for a participant who got this answer and may use these servers. `certificate`: that of the TURN server, PEM. Blocks.
    pub fn open(way: Way, answer: &str, servers: &[IceServer], certificate: Option<&str>) -> Result<Line, String> {
        let peer = media_port(answer, if way == Way::IceTcp { "tcp" } else { "udp" })?;
        let wire = if way == Way::IceTcp {
            Wire::Tcp(Stream::new(
                tcp(peer).map_err(in_words("the media port"))?,
                Framing::Rfc4571,
            ))
        } else {
            let (scheme, transport) = match way {
                Way::TurnUdp => ("turn:", "udp"),
                Way::TurnTcp => ("turn:", "tcp"),
                _ => ("turns:", "tcp"),
            };
            let is_wanted = |server: &&IceServer| {
                server.url.starts_with(scheme) && server.url.ends_with(&format!("?transport={transport}"))
            };
            let server = servers.iter().find(is_wanted);
            let server = server.ok_or_else(|| format!("the server names no {scheme} server by {transport}"))?;
            let mut wire = Wire::to_turn(way, &server.url, certificate)?;
            Allocating::new(&mut wire, server)?.run(peer)?;
            wire
        };
        wire.set_nonblocking().map_err(in_words("the connection"))?;
        Ok(Line {
            wire,
            peer,
            turn: way.is_turn(),
            frame: Vec::new(),
            closed: false,
        })
    }

    /// Sends a datagram to the media port. Those to other addresses have no way.
    pub fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        if to != self.peer || self.closed {
            return;
        }
        let sent = if self.turn {
            self.frame.clear();
            self.frame.extend(CHANNEL);
            self.frame.extend((datagram.len() as u16).to_be_bytes());
            self.frame.extend_from_slice(datagram);
            self.wire.send(&self.frame)
        } else {
            self.wire.send(datagram)
        };
        self.check(sent);
    }

    /// Reads all there is.
    pub fn receive(&mut self, mut take: impl FnMut(Incoming<'_>)) {
        if self.closed {
            return;
        }
        let (from, turn) = (self.peer, self.turn);
        let read = self.wire.receive(|message| {
            let data = match message {
                [a, b, _, _, data @ ..] if turn && [*a, *b] == CHANNEL => data,
                // A response that came twice, maybe.
                _ if turn => return,
                data => data,
            };
            let at = Instant::now();
            let to = None;
            take(Incoming { at, from, to, data });
        });
        self.check(read);
    }

    /// Its participant will notice that nothing comes any more.
    fn check(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            log::warn!("a participant's connection is over: {error}");
            self.closed = true;
        }
    }
}

/// The address of the media port, which the answer's first candidate of this transport has.
fn media_port(answer: &str, transport: &str) -> Result<SocketAddr, String> {
    let candidates = answer.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
    let mut addresses = candidates.filter_map(|candidate| {
        let fields: Vec<&str> = candidate.split_ascii_whitespace().collect();
        let [_, "1", protocol, _, ip, port, ..] = fields[..] else {
            return None;
        };
        let address = SocketAddr::new(ip.parse().ok()?, port.parse().ok()?);
        protocol.eq_ignore_ascii_case(transport).then_some(address)
    });
    addresses
        .next()
        .ok_or_else(|| format!("the answer has no candidate by {transport}"))
}

/// A TURN client until its channel is bound.
struct Allocating<'w> {
    wire: &'w mut Wire,
    provider: Arc<dyn RTCCryptoProvider>,
    username: String,
    password: String,
    /// Of the server, once it has told them.
    realm: String,
    nonce: String,
}

impl Allocating<'_> {
    fn new<'w>(wire: &'w mut Wire, server: &IceServer) -> Result<Allocating<'w>, String> {
        let text = |text: &Option<String>| text.clone().ok_or("the TURN server comes without credentials");
        Ok(Allocating {
            wire,
            provider: default_provider().map_err(in_words("cryptography"))?,
            username: text(&server.username)?,
            password: text(&server.credential)?,
            realm: String::new(),
            nonce: String::new(),
        })
    }

    fn run(mut self, peer: SocketAddr) -> Result<(), String> {
        // The first one only asks for realm and nonce.
        let refused = self.ask(METHOD_ALLOCATE, Vec::new)?;
        let text = |kind| TextAttribute::get_from_as(&refused, kind).map(|attribute| attribute.text);
        self.realm = text(ATTR_REALM).map_err(in_words("no realm"))?;
        self.nonce = text(ATTR_NONCE).map_err(in_words("no nonce"))?;
        let allocated = self.ask(METHOD_ALLOCATE, || {
            vec![Box::new(RequestedTransport { protocol: PROTO_UDP })]
        })?;
        succeeded(&allocated, "no allocation")?;
        let bound = self.ask(METHOD_CHANNEL_BIND, || {
            let (ip, port) = (peer.ip(), peer.port());
            vec![
                Box::new(ChannelNumber(u16::from_be_bytes(CHANNEL))),
                Box::new(PeerAddress { ip, port }),
            ]
        })?;
        succeeded(&bound, "no channel")
    }

    fn ask(&mut self, method: Method, attributes: impl Fn() -> Vec<Box<dyn Setter>>) -> Result<Message, String> {
        let transaction: [u8; 12] = rand::random();
        let mut all: Vec<Box<dyn Setter + '_>> = vec![
            Box::new(TransactionId(transaction)),
            Box::new(MessageType::new(method, CLASS_REQUEST)),
        ];
        all.extend(attributes().into_iter().map(|attribute| attribute as Box<dyn Setter>));
        if !self.nonce.is_empty() {
            let integrity = MessageIntegrity::new_long_term_integrity_with_provider(
                self.username.clone(),
                self.realm.clone(),
                self.password.clone(),
                self.provider.crypto(),
            );
            for (kind, text) in [
                (ATTR_USERNAME, &self.username),
                (ATTR_REALM, &self.realm),
                (ATTR_NONCE, &self.nonce),
            ] {
                all.push(Box::new(TextAttribute::new(kind, text.clone())));
            }
            all.push(Box::new(integrity.map_err(in_words("cryptography"))?));
        }
        let mut request = Message::new();
        request.build(&all).map_err(in_words("a request"))?;
        let begin = Instant::now();
        let mut sent: Option<Instant> = None;
        while begin.elapsed() < PATIENCE {
            // Streams lose nothing.
            let again = |at: Instant| matches!(self.wire, Wire::Udp(..)) && at.elapsed() >= REPEAT;
            if sent.is_none_or(again) {
                self.wire.send(&request.raw).map_err(in_words("the TURN server"))?;
                sent = Some(Instant::now());
            }
            let mut response = None;
            let read = self.wire.receive(|bytes| {
                let mut message = Message::new();
                if message.unmarshal_binary(bytes).is_ok() && message.transaction_id.0 == transaction {
                    response = Some(message);
                }
            });
            read.map_err(in_words("the TURN server"))?;
            if let Some(response) = response {
                return Ok(response);
            }
        }
        Err("the TURN server doesn't answer".into())
    }
}

fn succeeded(response: &Message, what: &str) -> Result<(), String> {
    let mut error = ErrorCodeAttribute::default();
    match error.get_from(response) {
        Ok(()) => Err(format!("{what}: the TURN server answered {}", error.code.0)),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{SystemTime, UNIX_EPOCH};

    use roomtone_engine::{
        Action, Command, Engine, EngineConfig, Event, RoomKind, ShardConfig, TurnConfig, TurnTlsConfig,
    };
    use roomtone_testkit::peer::{ClientOptions, ClientPeer, Event as ClientEvent};

    use super::*;

    const SECRET: &[u8] = b"of the engine and of this test";
    /// For a machine that does other things, too.
    const LONG: Duration = Duration::from_secs(30);

    /// An engine with a room, its events, and its certificate.
    #[allow(clippy::unwrap_used)] // Clippy takes only what is marked #[test] for a test
    fn engine() -> (
        Arc<Engine>,
        crossbeam_channel::Receiver<roomtone_engine::Envelope>,
        String,
    ) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let bind: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let tls = TurnTlsConfig {
            bind,
            certificates: made.cert.pem().into_bytes(),
            key: made.signing_key.serialize_pem().into_bytes(),
        };
        let turn = TurnConfig::new(Some(bind), "roomtone", SECRET);
        let config = EngineConfig {
            shards: vec![ShardConfig {
                bind,
                candidates: vec![bind],
                tcp: true,
            }],
            turn: Some(TurnConfig { tls: Some(tls), ..turn }),
            ..EngineConfig::default()
        };
        let (sender, events) = crossbeam_channel::unbounded();
        let engine = Arc::new(Engine::start(config, sender).unwrap());
        let runner = engine.clone();
        thread::spawn(move || runner.run(0, Duration::from_secs(3600)));
        // Commands of before are those of an earlier run.
        while !matches!(events.recv_timeout(LONG).unwrap().event, Event::ShardStarted { .. }) {}
        let kind = RoomKind::default();
        engine.submit(0, Command::new(1, Action::Open { kind })).unwrap();
        (engine, events, made.cert.pem())
    }

    #[test]
    fn a_client_connects_by_each_way() {
        let (engine, events, certificate) = engine();
        let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600;
        let username = format!("{until}:ada");
        let server = |url: String| IceServer {
            url,
            username: Some(username.clone()),
            credential: Some(roomtone_turn::password(SECRET, &username)),
        };
        let (plain, tls) = (engine.turn_address().unwrap(), engine.turn_tls_address().unwrap());
        let servers = [
            server(format!("turn:{plain}?transport=udp")),
            server(format!("turn:{plain}?transport=tcp")),
            server(format!("turns:{tls}?transport=tcp")),
        ];
        for (peer, way) in (1..).zip([Way::IceTcp, Way::TurnUdp, Way::TurnTcp, Way::TurnTls]) {
            let mut client = ClientPeer::new(Instant::now(), ClientOptions::default()).unwrap();
            let join = Action::Join {
                peer,
                offer: client.offer(),
                speak: true,
                listen: true,
            };
            engine.submit(0, Command::new(1, join)).unwrap();
            let answer = loop {
                let event = events.recv_timeout(LONG).unwrap().event;
                assert!(!matches!(event, Event::Refused { .. }), "{event:?}");
                if let Event::Answer { sdp, .. } = event {
                    break sdp;
                }
            };
            let mut line = Line::open(way, &answer, &servers, Some(&certificate)).unwrap();
            client.accept_answer(Instant::now(), &answer).unwrap();
            let begin = Instant::now();
            loop {
                client.handle_timeout(Instant::now());
                while let Some((to, data)) = client.poll_transmit() {
                    line.send(to, &data);
                }
                line.receive(|incoming| client.handle_datagram(incoming.at, incoming.from, incoming.data));
                if std::iter::from_fn(|| client.poll_event()).any(|event| event == ClientEvent::Connected) {
                    break;
                }
                assert!(begin.elapsed() < LONG && !line.closed, "not connected by {way}");
                thread::sleep(Duration::from_millis(1));
            }
        }
        engine.stop();
    }

    #[test]
    fn a_way_that_is_not_there_is_an_error_in_words() {
        let answer = "v=0\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n";
        let error = |way, servers: &[IceServer]| Line::open(way, answer, servers, None).err().unwrap();
        assert!(error(Way::IceTcp, &[]).contains("no candidate by tcp"));
        assert!(error(Way::TurnUdp, &[]).contains("no turn: server by udp"));
        let server = IceServer {
            url: "turn:example.com?transport=udp".into(),
            username: None,
            credential: None,
        };
        assert!(error(Way::TurnUdp, &[server]).contains("no address and port"));
    }
}
