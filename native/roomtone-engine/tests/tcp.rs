//! Participants who come by TCP (RFC 6544, RFC 4571), and strangers who do.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use roomtone_engine::{Action, Command, Engine, EngineConfig, Envelope, Event, RoomKind, ShardConfig};
use roomtone_testkit::fixtures::{OpusTalker, Tone};
use roomtone_testkit::peer::{ClientOptions, ClientPeer, Event as ClientEvent};
use roomtone_transport::{Deframer, Framing};

const PATIENCE: Duration = Duration::from_secs(30);

/// Two shards on [::], which IPv4 reaches too, and threads that run them.
fn engine() -> (Arc<Engine>, Receiver<Envelope>) {
    let (sender, receiver) = unbounded();
    let shard = ShardConfig {
        bind: "[::]:0".parse().unwrap(),
        candidates: vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()],
        tcp: true,
    };
    let config = EngineConfig {
        shards: vec![shard.clone(), shard],
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
    let open = Action::Open {
        kind: RoomKind::default(),
    };
    engine.submit(0, Command::new(1, open)).unwrap();
    (engine, receiver)
}

/// A client and its connection.
struct Caller {
    client: ClientPeer,
    stream: TcpStream,
    deframer: Deframer,
    voice: OpusTalker,
    frames: u32,
}

impl Caller {
    fn join(engine: &Engine, events: &Receiver<Envelope>, peer: u64, to: SocketAddr) -> Caller {
        let mut client = ClientPeer::new(Instant::now(), ClientOptions::default()).unwrap();
        let join = Action::Join {
            peer,
            offer: client.offer(),
            speak: true,
            listen: true,
        };
        engine.submit(0, Command::new(1, join)).unwrap();
        let answer = loop {
            let event = events.recv_timeout(PATIENCE).unwrap().event;
            assert!(!matches!(event, Event::Refused { .. }), "{event:?}");
            if let Event::Answer { peer: whose, sdp, .. } = event
                && whose == peer
            {
                break sdp;
            }
        };
        let port = to.port();
        assert!(
            answer.contains(&format!(" {port} typ host tcptype passive\r\n")),
            "{answer}"
        );
        client.accept_answer(Instant::now(), &answer).unwrap();
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        Caller {
            client,
            stream,
            deframer: Deframer::new(Framing::Rfc4571),
            voice: OpusTalker::new(Tone::new(440.0, 0.3), 32_000).unwrap(),
            frames: 0,
        }
    }

    /// All datagrams of the client go by the connection, to any address.
    fn pump(&mut self) -> Vec<ClientEvent> {
        self.client.handle_timeout(Instant::now());
        while let Some((to, data)) = self.client.poll_transmit() {
            if to == self.stream.peer_addr().unwrap() {
                let mut frame = u16::try_from(data.len()).unwrap().to_be_bytes().to_vec();
                frame.extend_from_slice(&data);
                self.stream.write_all(&frame).unwrap();
            }
        }
        match self.stream.read(self.deframer.space()) {
            Ok(0) => panic!("the server closed the connection"),
            Ok(count) => self.deframer.filled(count),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => panic!("{error}"),
        }
        let from = self.stream.peer_addr().unwrap();
        while let Some(datagram) = self.deframer.next_datagram().unwrap() {
            self.client.handle_datagram(Instant::now(), from, datagram);
        }
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Caller, &[ClientEvent]) -> bool) {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let events = self.pump();
            if done(self, &events) {
                return;
            }
        }
        panic!("not {what} within {PATIENCE:?}");
    }

    fn connected(mut self) -> Caller {
        self.until("connected", |_, events| events.contains(&ClientEvent::Connected));
        self
    }
}

/// One talks, the other one listens, until so many more packets have come.
fn hear(talker: &mut Caller, listener: &mut Caller, packets: u64) {
    let (wanted, begin) = (listener.client.stats().packets_received + packets, Instant::now());
    let mut due = begin;
    while listener.client.stats().packets_received < wanted {
        assert!(begin.elapsed() < PATIENCE, "nothing was heard");
        if Instant::now() >= due {
            let packet = talker.voice.next().unwrap();
            let timestamp = talker.frames * 960;
            talker
                .client
                .send_opus(Instant::now(), timestamp, false, Some(packet.level), &packet.payload);
            talker.frames += 1;
            due += Duration::from_millis(20);
        }
        talker.pump();
        listener.pump();
    }
}

#[test]
fn two_who_come_by_tcp_hear_each_other_and_go_on_when_their_room_moves() {
    let (engine, events) = engine();
    let [ipv4, ipv6] = engine.candidates(0).unwrap() else {
        panic!()
    };
    let mut ada = Caller::join(&engine, &events, 10, *ipv4).connected();
    let mut ben = Caller::join(&engine, &events, 11, *ipv6).connected();
    hear(&mut ada, &mut ben, 20);
    hear(&mut ben, &mut ada, 20);
    engine.submit(0, Command::new(1, Action::Move { to: 1 })).unwrap();
    let moved = |envelope: Envelope| matches!(envelope.event, Event::RoomMoved { room: 1, .. });
    while !moved(events.recv_timeout(PATIENCE).unwrap()) {}
    hear(&mut ada, &mut ben, 20);
    engine.stop();
}

/// Whether the server closes the connection within a while.
fn is_closed(mut stream: &TcpStream, within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).unwrap();
    match stream.read(&mut [0; 64]) {
        Ok(0) => true,
        Ok(_) => panic!("an answer to a stranger"),
        Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    }
}

#[test]
fn strangers_are_shut_out() {
    let (engine, _events) = engine();
    let to = engine.candidates(0).unwrap()[0];
    // The system refuses addresses to nobody, so the engine has to.
    let begin = Instant::now();
    let silent: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(to).unwrap()).collect();
    let closed = |stream: &&TcpStream| is_closed(stream, Duration::from_millis(1));
    while silent.iter().filter(closed).count() < 80 - 64 {
        assert!(begin.elapsed() < PATIENCE);
    }
    // Later all are closed.
    if begin.elapsed() < Duration::from_secs(3) {
        assert_eq!(silent.iter().filter(closed).count(), 80 - 64);
    }
    for stream in &silent {
        assert!(is_closed(stream, PATIENCE), "those who say nothing are closed later");
    }
    // A frame too long, one that is no STUN, and a request with a ufrag of nobody's.
    let mut request = vec![0, 0, 0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42];
    request.extend([7; 12]);
    request.extend([0, 6, 0, 3, b'a', b':', b'b', 0]);
    request[1] = u8::try_from(request.len() - 2).unwrap();
    for said in [&[0xff, 0xff, 1][..], b"\0\x04abcd", b"GET / HTTP/1.1\r\n\r\n", &request] {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(said).unwrap();
        let silent = TcpStream::connect(to).unwrap();
        assert!(is_closed(&stream, PATIENCE), "{said:?}");
        assert!(!is_closed(&silent, Duration::from_millis(10)), "at once: {said:?}");
    }
    engine.stop();
}
