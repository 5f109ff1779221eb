//! Participants who come through the built-in TURN server, over UDP, TCP and TLS, whichever shard their room is on; and clients who have
//! another use for it in mind.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, unbounded};
use roomtone_engine::{
    Action, Command, Engine, EngineConfig, Envelope, Event, RoomKind, ShardConfig, StartError, TurnConfig,
    TurnTlsConfig,
};
use roomtone_testkit::fixtures::{OpusTalker, Tone};
use roomtone_testkit::peer::{ClientOptions, ClientPeer, Event as ClientEvent};
use roomtone_transport::{Deframer, Framing};
use rtc::crypto::default_provider;
use rtc::stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME};
use rtc::stun::error_code::ErrorCodeAttribute;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    CLASS_REQUEST, Getter, METHOD_ALLOCATE, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, Message, MessageType,
    Method, Setter, TransactionId,
};
use rtc::stun::textattrs::TextAttribute;
use rtc::turn::proto::PROTO_UDP;
use rtc::turn::proto::channum::ChannelNumber;
use rtc::turn::proto::peeraddr::PeerAddress;
use rtc::turn::proto::reqtrans::RequestedTransport;
#[cfg(target_os = "linux")]
use socket2::{Domain, SockAddr, Socket, Type};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &[u8] = b"of the engine and of these tests";
const CHANNEL: [u8; 2] = [0x40, 0x07];

/// A certificate for 127.0.0.1, and its key, PEM.
fn identity() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn turn_config((certificate, key): &(String, String)) -> TurnConfig {
    TurnConfig {
        tls: Some(TurnTlsConfig {
            bind: "[::]:0".parse().unwrap(),
            certificates: certificate.as_bytes().to_vec(),
            key: key.as_bytes().to_vec(),
        }),
        ..TurnConfig::new(Some("[::]:0".parse().unwrap()), "roomtone", SECRET)
    }
}

fn engine(turn: TurnConfig) -> (Arc<Engine>, Receiver<Envelope>) {
    let (sender, receiver) = unbounded();
    let shard = ShardConfig {
        bind: "[::]:0".parse().unwrap(),
        candidates: vec!["127.0.0.1:0".parse().unwrap()],
        tcp: false,
    };
    let config = EngineConfig {
        shards: vec![shard.clone(), shard],
        turn: Some(turn),
        ..EngineConfig::default()
    };
    let engine = Arc::new(Engine::start(config, sender).unwrap());
    for shard in 0..2 {
        let engine = engine.clone();
        thread::spawn(move || engine.run(shard, Duration::from_secs(3600)));
    }
    let mut started = 0;
    while started < 2 {
        let event = receiver.recv_timeout(PATIENCE).unwrap().event;
        started += usize::from(matches!(event, Event::ShardStarted { .. }));
    }
    (engine, receiver)
}

/// A TURN client: what it says and hears, one message at a time.
enum Wire {
    Tcp(TcpStream, Deframer),
    #[cfg(target_os = "linux")]
    Local(std::os::unix::net::UnixStream, Deframer),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>, Deframer),
    Udp(UdpSocket),
}

impl Wire {
    fn tcp(to: SocketAddr) -> Wire {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        Wire::Tcp(stream, Deframer::new(Framing::Turn))
    }

    /// Trusts this certificate and no other.
    fn tls(to: SocketAddr, certificate: &str) -> Wire {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), ServerName::from(to.ip())).unwrap();
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream.sock.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        Wire::Tls(Box::new(stream), Deframer::new(Framing::Turn))
    }

    /// As the HTTP server does it for a client of its own, in a name of which the last part is the client's address.
    #[cfg(target_os = "linux")]
    fn local(server: &str, name: &str) -> io::Result<Wire> {
        let unix = |name: &str| SockAddr::unix(format!("\0{name}"));
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&unix(&format!("{server}/{name}"))?)?;
        socket.connect(&unix(server)?)?;
        socket.set_read_timeout(Some(Duration::from_millis(5)))?;
        Ok(Wire::Local(socket.into(), Deframer::new(Framing::Turn)))
    }

    fn udp(to: SocketAddr) -> Wire {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        Wire::Udp(socket)
    }

    fn send(&mut self, message: &[u8]) {
        let mut padded = message.to_vec();
        padded.resize(message.len().next_multiple_of(4), 0);
        match self {
            Wire::Tcp(stream, _) => stream.write_all(&padded).unwrap(),
            #[cfg(target_os = "linux")]
            Wire::Local(stream, _) => stream.write_all(&padded).unwrap(),
            Wire::Tls(stream, _) => {
                stream.write_all(&padded).unwrap();
                stream.flush().unwrap();
            }
            Wire::Udp(socket) => drop(socket.send(message).unwrap()),
        }
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let quiet = |error: &io::Error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        let stream = |stream: &mut dyn Read, deframer: &mut Deframer| {
            if let Some(message) = deframer.next_datagram().unwrap() {
                return Some(message.to_vec());
            }
            match stream.read(deframer.space()) {
                Ok(0) => panic!("the server closed the connection"),
                Ok(count) => deframer.filled(count),
                Err(error) => assert!(quiet(&error), "{error}"),
            }
            deframer.next_datagram().unwrap().map(|message| message.to_vec())
        };
        match self {
            Wire::Tcp(tcp, deframer) => stream(tcp, deframer),
            #[cfg(target_os = "linux")]
            Wire::Local(local, deframer) => stream(local, deframer),
            Wire::Tls(tls, deframer) => stream(tls, deframer),
            Wire::Udp(socket) => {
                let mut buffer = [0; 2048];
                match socket.recv(&mut buffer) {
                    Ok(length) => Some(buffer[..length].to_vec()),
                    Err(error) => {
                        assert!(quiet(&error), "{error}");
                        None
                    }
                }
            }
        }
    }
}

struct TurnClient {
    wire: Wire,
    username: String,
    nonce: String,
    transactions: u8,
}

impl TurnClient {
    fn new(wire: Wire, person: &str) -> TurnClient {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut client = TurnClient {
            wire,
            username: format!("{}:{person}", now + 600),
            nonce: String::new(),
            transactions: 0,
        };
        let refused = client.ask(METHOD_ALLOCATE, vec![]);
        assert_eq!(code(&refused), 401);
        client.nonce = TextAttribute::get_from_as(&refused, ATTR_NONCE).unwrap().text;
        client
    }

    fn ask(&mut self, method: Method, attributes: Vec<Box<dyn Setter>>) -> Message {
        self.transactions += 1;
        let provider = default_provider().unwrap();
        let mut all: Vec<Box<dyn Setter + '_>> = vec![
            Box::new(TransactionId([self.transactions; 12])),
            Box::new(MessageType::new(method, CLASS_REQUEST)),
        ];
        all.extend(
            attributes
                .into_iter()
                .map(|attribute| attribute as Box<dyn Setter + '_>),
        );
        if !self.nonce.is_empty() {
            let integrity = MessageIntegrity::new_long_term_integrity_with_provider(
                self.username.clone(),
                "roomtone".to_owned(),
                roomtone_turn::password(SECRET, &self.username),
                provider.crypto(),
            );
            all.push(Box::new(TextAttribute::new(ATTR_USERNAME, self.username.clone())));
            all.push(Box::new(TextAttribute::new(ATTR_REALM, "roomtone".to_owned())));
            all.push(Box::new(TextAttribute::new(ATTR_NONCE, self.nonce.clone())));
            all.push(Box::new(integrity.unwrap()));
        }
        let mut request = Message::new();
        request.build(&all).unwrap();
        self.wire.send(&request.raw);
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(bytes) = self.wire.receive() {
                let mut response = Message::new();
                response.unmarshal_binary(&bytes).unwrap();
                assert_eq!(response.transaction_id.0, [self.transactions; 12]);
                return response;
            }
        }
        panic!("no response within {PATIENCE:?}");
    }

    fn allocate(&mut self) -> u16 {
        let udp = Box::new(RequestedTransport { protocol: PROTO_UDP });
        code(&self.ask(METHOD_ALLOCATE, vec![udp]))
    }

    fn bind(&mut self, peer: SocketAddr) -> u16 {
        let number = u16::from_be_bytes(CHANNEL);
        code(&self.ask(
            METHOD_CHANNEL_BIND,
            vec![Box::new(ChannelNumber(number)), address(peer)],
        ))
    }
}

fn address(peer: SocketAddr) -> Box<dyn Setter> {
    Box::new(PeerAddress {
        ip: peer.ip(),
        port: peer.port(),
    })
}

fn code(response: &Message) -> u16 {
    let mut error = ErrorCodeAttribute::default();
    error.get_from(response).map_or(0, |()| error.code.0)
}

/// A participant whose datagrams go by a channel.
struct Caller {
    client: ClientPeer,
    turn: TurnClient,
    peer: SocketAddr,
    voice: OpusTalker,
    frames: u32,
}

impl Caller {
    fn join(engine: &Engine, events: &Receiver<Envelope>, shard: usize, id: u64, mut turn: TurnClient) -> Caller {
        let peer = engine.candidates(shard).unwrap()[0];
        assert_eq!(turn.allocate(), 0);
        assert_eq!(turn.bind(peer), 0);
        let mut client = ClientPeer::new(Instant::now(), ClientOptions::default()).unwrap();
        let join = Action::Join {
            peer: id,
            offer: client.offer(),
            speak: true,
            listen: true,
        };
        engine.submit(shard, Command::new(1, join)).unwrap();
        loop {
            let event = events.recv_timeout(PATIENCE).unwrap().event;
            assert!(!matches!(event, Event::Refused { .. }), "{event:?}");
            if let Event::Answer { peer: whose, sdp, .. } = event
                && whose == id
            {
                client.accept_answer(Instant::now(), &sdp).unwrap();
                break;
            }
        }
        let mut caller = Caller {
            client,
            turn,
            peer,
            voice: OpusTalker::new(Tone::new(440.0, 0.3), 32_000).unwrap(),
            frames: 0,
        };
        let begin = Instant::now();
        while !caller.pump().contains(&ClientEvent::Connected) {
            assert!(begin.elapsed() < PATIENCE, "not connected");
        }
        caller
    }

    fn pump(&mut self) -> Vec<ClientEvent> {
        self.client.handle_timeout(Instant::now());
        while let Some((to, data)) = self.client.poll_transmit() {
            if to == self.peer {
                let mut message = CHANNEL.to_vec();
                message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
                message.extend_from_slice(&data);
                self.turn.wire.send(&message);
            }
        }
        while let Some(mut message) = self.turn.wire.receive() {
            assert_eq!(message[..2], CHANNEL);
            self.client
                .handle_datagram(Instant::now(), self.peer, &mut message[4..]);
        }
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    fn talk(&mut self) {
        let packet = self.voice.next().unwrap();
        let timestamp = self.frames * 960;
        self.client
            .send_opus(Instant::now(), timestamp, false, Some(packet.level), &packet.payload);
        self.frames += 1;
    }
}

/// One talks, the other one listens, until so many more packets have come.
fn hear(talker: &mut Caller, listener: &mut Caller, packets: u64) {
    let (wanted, begin) = (listener.client.stats().packets_received + packets, Instant::now());
    let mut due = begin;
    while listener.client.stats().packets_received < wanted {
        assert!(begin.elapsed() < PATIENCE, "nothing was heard");
        if Instant::now() >= due {
            talker.talk();
            due += Duration::from_millis(20);
        }
        talker.pump();
        listener.pump();
    }
}

fn turn_address(engine: &Engine) -> SocketAddr {
    SocketAddr::new("127.0.0.1".parse().unwrap(), engine.turn_address().unwrap().port())
}

fn tls_address(engine: &Engine) -> SocketAddr {
    SocketAddr::new("127.0.0.1".parse().unwrap(), engine.turn_tls_address().unwrap().port())
}

#[test]
fn two_who_come_by_turn_hear_each_other_on_either_shard_and_when_their_room_moves() {
    let (engine, events) = engine(turn_config(&identity()));
    let to = turn_address(&engine);
    for shard in 0..2 {
        let kind = RoomKind::default();
        engine.submit(shard, Command::new(1, Action::Open { kind })).unwrap();
        let id = 10 * (shard as u64 + 1);
        let mut ada = Caller::join(&engine, &events, shard, id, TurnClient::new(Wire::tcp(to), "ada"));
        let mut ben = Caller::join(&engine, &events, shard, id + 1, TurnClient::new(Wire::udp(to), "ben"));
        hear(&mut ada, &mut ben, 20);
        hear(&mut ben, &mut ada, 20);
        let other = 1 - shard;
        engine
            .submit(shard, Command::new(1, Action::Move { to: other }))
            .unwrap();
        let moved = |envelope: Envelope| matches!(envelope.event, Event::RoomMoved { room: 1, .. });
        while !moved(events.recv_timeout(PATIENCE).unwrap()) {}
        hear(&mut ada, &mut ben, 20);
        hear(&mut ben, &mut ada, 20);
        engine.submit(other, Command::new(1, Action::Close)).unwrap();
    }
    engine.stop();
}

/// A client's socket takes nothing from any other address than the one that it has asked.
#[cfg(target_os = "linux")]
#[test]
fn a_machine_with_several_addresses_answers_from_the_one_that_was_asked() {
    for bind in ["0.0.0.0:0", "[::]:0"] {
        let turn = TurnConfig {
            bind: Some(bind.parse().unwrap()),
            ..turn_config(&identity())
        };
        let (engine, events) = engine(turn);
        let port = engine.turn_address().unwrap().port();
        let kind = RoomKind::default();
        engine.submit(1, Command::new(1, Action::Open { kind })).unwrap();
        // All of 127.0.0.0/8 is this machine; by itself it would answer 127.0.0.1 from 127.0.0.1.
        let [mut ada, mut ben] = [("ada", 2), ("ben", 3)].map(|(name, last)| {
            let to = SocketAddr::from(([127, 0, 0, last], port));
            Caller::join(&engine, &events, 1, last.into(), TurnClient::new(Wire::udp(to), name))
        });
        hear(&mut ada, &mut ben, 20);
        hear(&mut ben, &mut ada, 20);
        engine.stop();
    }
}

#[test]
fn nothing_else_can_be_reached_and_quotas_hold() {
    let (engine, _events) = engine(turn_config(&identity()));
    let to = turn_address(&engine);
    let mut eve = TurnClient::new(Wire::tcp(to), "eve");
    assert_eq!(eve.allocate(), 0);
    let media = engine.candidates(0).unwrap()[0];
    // The TURN server itself is on a media address, but it is no peer.
    for foreign in [to, "127.0.0.1:22".parse().unwrap(), "10.0.0.1:50000".parse().unwrap()] {
        assert_eq!(eve.bind(foreign), 403, "{foreign}");
    }
    assert_eq!(
        code(&eve.ask(METHOD_CREATE_PERMISSION, vec![address("8.8.8.8:53".parse().unwrap())])),
        403
    );
    assert_eq!(eve.bind(media), 0);
    // Junk through the channel makes no state, and nothing comes back.
    for _ in 0..1000 {
        eve.wire.send(&[0x40, 0x07, 0, 4, 0x80, 1, 2, 3]);
    }
    assert!(eve.wire.receive().is_none());
    let mut more: Vec<TurnClient> = (0..39).map(|_| TurnClient::new(Wire::udp(to), "eve")).collect();
    assert!(more.iter_mut().all(|client| client.allocate() == 0));
    let mut last = TurnClient::new(Wire::udp(to), "eve");
    assert_eq!(last.allocate(), 486);
    // A connection that ends takes its allocation along.
    drop(eve);
    let begin = Instant::now();
    while last.allocate() != 0 {
        assert!(begin.elapsed() < PATIENCE, "the place isn't free again");
        thread::sleep(Duration::from_millis(5));
    }
    engine.stop();
}

#[test]
fn two_who_come_by_tls_hear_each_other_where_nothing_else_is_open() {
    let identity = identity();
    let turn = TurnConfig {
        bind: None,
        ..turn_config(&identity)
    };
    let (engine, events) = engine(turn);
    assert_eq!(engine.turn_address(), None);
    let to = tls_address(&engine);
    for shard in 0..2 {
        let kind = RoomKind::default();
        engine.submit(shard, Command::new(1, Action::Open { kind })).unwrap();
        let id = 10 * (shard as u64 + 1);
        let [ada, ben] = ["ada", "ben"].map(|name| TurnClient::new(Wire::tls(to, &identity.0), name));
        let mut ada = Caller::join(&engine, &events, shard, id, ada);
        let mut ben = Caller::join(&engine, &events, shard, id + 1, ben);
        hear(&mut ada, &mut ben, 20);
        hear(&mut ben, &mut ada, 20);
        engine.submit(shard, Command::new(1, Action::Close)).unwrap();
    }
    engine.stop();
    assert_eq!(engine.turn_tls_address(), None);
    assert!(TcpStream::connect(to).is_err(), "the port is free");
}

/// The server of a port for HTTPS in this process, whose clients speak TURN within TLS.
#[cfg(target_os = "linux")]
mod by_the_port_of_https {
    use super::*;

    fn config(name: &str) -> TurnConfig {
        TurnConfig {
            local: Some(name.to_owned()),
            ..TurnConfig::new(None, "roomtone", SECRET)
        }
    }

    /// No two tests, nor two runs of them at once, have one name.
    fn name(test: &str) -> String {
        format!("roomtone-{test}-{}", std::process::id())
    }

    #[test]
    fn two_whose_connections_are_handed_on_hear_each_other() {
        let name = name("hear");
        let (engine, events) = engine(config(&name));
        let kind = RoomKind::default();
        engine.submit(1, Command::new(1, Action::Open { kind })).unwrap();
        let [mut ada, mut ben] =
            [("ada", 1, "1/192.0.2.1:5000"), ("ben", 2, "2/[2001:db8::1]:5000")].map(|(person, id, whose)| {
                let turn = TurnClient::new(Wire::local(&name, whose).unwrap(), person);
                Caller::join(&engine, &events, 1, id, turn)
            });
        hear(&mut ada, &mut ben, 20);
        hear(&mut ben, &mut ada, 20);
        engine.stop();
    }

    #[test]
    fn limits_count_by_the_address_of_the_client() {
        let name = name("limits");
        let limits = TurnConfig {
            max_per_address: 2,
            ..config(&name)
        };
        let (engine, _events) = engine(limits);
        let mut number = 0;
        let mut come = |address: &str| {
            number += 1;
            let wire = Wire::local(&name, &format!("{number}/{address}")).unwrap();
            let mut client = TurnClient::new(wire, &format!("person {number}"));
            (client.allocate(), client)
        };
        let clients = [
            "192.0.2.1:1",
            "192.0.2.1:2",
            "192.0.2.1:3",
            "192.0.2.2:1",
            "192.0.2.2:2",
        ]
        .map(&mut come);
        assert_eq!(clients.map(|(code, _client)| code), [0, 0, 486, 0, 0]);
        engine.stop();
    }

    #[test]
    fn a_connection_whose_name_tells_no_address_is_closed() {
        let name = name("nameless");
        let (engine, _events) = engine(config(&name));
        for whose in ["1/nobody", "2/192.0.2.1", "3/192.0.2.1:70000", "4/"] {
            let Wire::Local(mut stream, _) = Wire::local(&name, whose).unwrap() else {
                unreachable!()
            };
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "{whose}");
        }
        // Another process can't say whose its connection is.
        let python = "import socket, sys\n\
            s = socket.socket(socket.AF_UNIX)\n\
            s.bind('\\0' + sys.argv[1] + '/5/192.0.2.1:5000')\n\
            s.connect('\\0' + sys.argv[1])\n\
            s.settimeout(30)\n\
            print(len(s.recv(16)))";
        match std::process::Command::new("python3")
            .args(["-c", python, &name])
            .output()
        {
            Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0", "{output:?}"),
            Err(error) => eprintln!("skipped for want of python3: {error}"),
        }
        let mut ada = TurnClient::new(Wire::local(&name, "6/192.0.2.1:5000").unwrap(), "ada");
        assert_eq!(ada.allocate(), 0);
        engine.stop();
    }

    #[test]
    fn a_name_that_is_taken_is_an_error_and_is_free_after_a_stop() {
        let name = name("taken");
        let (first, _events) = engine(config(&name));
        let again = || {
            let config = EngineConfig {
                shards: vec![ShardConfig {
                    bind: "127.0.0.1:0".parse().unwrap(),
                    candidates: Vec::new(),
                    tcp: false,
                }],
                turn: Some(config(&name)),
                ..EngineConfig::default()
            };
            Engine::start(config, unbounded().0)
        };
        let error = again().err().unwrap();
        assert!(matches!(error, StartError::BindLocal { .. }), "{error}");
        assert!(error.to_string().contains(&name), "{error}");
        first.stop();
        let begin = Instant::now();
        while again().is_err() {
            assert!(begin.elapsed() < PATIENCE, "the name isn't free again");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn handshakes_that_come_to_nothing_keep_nobody_out() {
    let identity = identity();
    let (engine, _events) = engine(turn_config(&identity));
    let to = tls_address(&engine);
    // Silent ones, fewer than one address may have, and ones that speak something else.
    let silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(to).unwrap()).collect();
    for junk in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3],
        &[0; 300],
    ] {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(junk).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // An alert at most, and the end.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 64, "{rest:?}");
    }
    // TLS, and in it neither STUN nor ChannelData.
    let Wire::Tls(mut eve, _) = Wire::tls(to, &identity.0) else {
        unreachable!()
    };
    eve.sock.set_read_timeout(Some(PATIENCE)).unwrap();
    eve.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    eve.flush().unwrap();
    assert!(!matches!(eve.read(&mut [0; 16]), Ok(1..)), "it closes");
    let mut ada = TurnClient::new(Wire::tls(to, &identity.0), "ada");
    assert_eq!(ada.allocate(), 0);
    // TURN is told what can't be, whatever it is sent by.
    assert_eq!(ada.bind(to), 403);
    drop(silent);
    engine.stop();
}

#[test]
fn a_key_of_another_certificate_is_an_error_in_words() {
    let identity = (identity().0, identity().1);
    let config = EngineConfig {
        shards: vec![ShardConfig {
            bind: "127.0.0.1:0".parse().unwrap(),
            candidates: Vec::new(),
            tcp: false,
        }],
        turn: Some(turn_config(&identity)),
        ..EngineConfig::default()
    };
    let error = Engine::start(config, unbounded().0).err().unwrap();
    assert!(matches!(error, StartError::TurnCertificate(_)));
    assert!(error.to_string().contains("isn't that of the certificate"), "{error}");
}
