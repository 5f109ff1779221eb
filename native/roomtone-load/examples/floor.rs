//! The least that a room of N costs on this machine: the packets of a conversation through a bare loop of epoll, `recvmmsg` and `sendmsg`, first
//! as they are, then with SRTP (AES-128-GCM) opened and sealed. No ICE, no jitter buffer, no levels, no BEAM: a server can't take less.
//!
//! `cargo run --release -p roomtone-load --example floor -- [SECONDS [N…]]`
//!
//! All N microphones send 50 packets a second, and those of one talker at a time go on to all others, as in `bench --talk turns` while packets
//! are passed on. The server is a process of its own, so that its caches are as cold as a server's.

#![allow(missing_docs)]

use std::io::{self, BufRead, BufReader, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

type Failure = Box<dyn std::error::Error>;

const PACKET_TIME: Duration = Duration::from_millis(20);
const TURN: Duration = Duration::from_secs(2);
/// How often the other ends read their sockets, as those of the bench do.
const READ_TIME: Duration = Duration::from_millis(5);
/// A header of RTP, and Opus at 32 kbit/s.
const HEADER: usize = 12;
const PAYLOAD: usize = 80;
const TAG: usize = 16;
const DATAGRAM: usize = 2048;
/// The first byte of a datagram.
const RTP: u8 = 128;
const HELLO: u8 = 1;
const MARK: u8 = 2;
const REPORT: u8 = 3;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [serve, sealed] = arguments.as_slice()
        && serve == "serve"
    {
        return Server::bind(sealed == "srtp")?.run();
    }
    let numbers = arguments.iter().map(|word| word.parse());
    let numbers: Vec<u64> = numbers.collect::<Result<_, _>>()?;
    let (seconds, sizes) = numbers.split_first().unwrap_or((&8, &[]));
    let sizes = if sizes.is_empty() { &[2, 5, 10, 100] } else { sizes };
    println!("| N | ms a participant-second | with SRTP | µs a wake-up | with SRTP | wake-ups a second |");
    println!("|---|---|---|---|---|---|");
    for n in sizes {
        let window = Duration::from_secs(*seconds);
        let (plain, srtp) = (measure("plain", *n, window)?, measure("srtp", *n, window)?);
        let each = |cost: &Cost| cost.cpu.as_secs_f64() * 1e3 / *n as f64 / window.as_secs_f64();
        let turn = |cost: &Cost| cost.cpu.as_secs_f64() * 1e6 / cost.turns as f64;
        println!(
            "| {n} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} |",
            each(&plain),
            each(&srtp),
            turn(&plain),
            turn(&srtp),
            srtp.turns as f64 / window.as_secs_f64(),
        );
    }
    Ok(())
}

/// CPU time of a server's thread, and how often it woke up.
struct Cost {
    cpu: Duration,
    turns: u64,
}

fn key() -> Result<LessSafeKey, Failure> {
    let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).map_err(|_| "no key")?;
    Ok(LessSafeKey::new(key))
}

fn nonce(packet: &[u8]) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&packet[2..10]);
    Nonce::assume_unique_for_key(nonce)
}

struct Server {
    socket: UdpSocket,
    state: UdpSocketState,
    key: Option<LessSafeKey>,
    people: Vec<SocketAddr>,
    begun: Option<(ThreadTime, u64)>,
    turns: u64,
}

impl Server {
    fn bind(sealed: bool) -> Result<Server, Failure> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let state = UdpSocketState::new((&socket).into())?;
        let _ = state.set_recv_buffer_size((&socket).into(), 4 << 20);
        println!("{}", socket.local_addr()?);
        Ok(Server {
            state,
            socket,
            key: sealed.then(key).transpose()?,
            people: Vec::new(),
            begun: None,
            turns: 0,
        })
    }

    fn run(mut self) -> Result<(), Failure> {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(8);
        poll.registry()
            .register(&mut SourceFd(&self.socket.as_raw_fd()), Token(0), Interest::READABLE)?;
        let mut bytes = vec![0; BATCH_SIZE * DATAGRAM];
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        loop {
            poll.poll(&mut events, None)?;
            self.turns += 1;
            loop {
                let mut buffers: Vec<IoSliceMut<'_>> = bytes.chunks_mut(DATAGRAM).map(IoSliceMut::new).collect();
                let read = match self.state.recv((&self.socket).into(), &mut buffers, &mut meta) {
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                };
                for (meta, bytes) in meta[..read].iter().zip(bytes.chunks_mut(DATAGRAM)) {
                    if self.take(meta.addr, &mut bytes[..meta.len])? {
                        return Ok(());
                    }
                }
                if read < BATCH_SIZE {
                    break;
                }
            }
        }
    }

    // Whether it was the last.
    fn take(&mut self, from: SocketAddr, datagram: &mut [u8]) -> Result<bool, Failure> {
        match datagram[0] {
            HELLO => self.people.push(from),
            MARK => self.begun = Some((ThreadTime::now(), self.turns)),
            REPORT => {
                let (begun, turns) = self.begun.ok_or("not begun")?;
                println!("{} {}", begun.elapsed().as_nanos(), self.turns - turns);
                return Ok(true);
            }
            _ => self.pass_on(from, datagram)?,
        }
        Ok(false)
    }

    fn pass_on(&mut self, from: SocketAddr, datagram: &mut [u8]) -> Result<(), Failure> {
        let nonce_in = nonce(datagram);
        let (header, sealed) = datagram.split_at_mut(HEADER);
        if let Some(key) = &self.key {
            key.open_in_place(nonce_in, Aad::from(&*header), sealed)
                .map_err(|_| "not opened")?;
        }
        // The marker bit: the talker whose turn it is.
        if header[1] & 128 == 0 {
            return Ok(());
        }
        let mut out = [0; HEADER + PAYLOAD + TAG];
        for (at, to) in self.people.iter().enumerate().filter(|(_, to)| **to != from) {
            out[..HEADER].copy_from_slice(header);
            out[HEADER..HEADER + PAYLOAD].copy_from_slice(&sealed[..PAYLOAD]);
            out[8] = at as u8;
            if let Some(key) = &self.key {
                let nonce = nonce(&out);
                let (header, rest) = out.split_at_mut(HEADER);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), &mut rest[..PAYLOAD]);
                rest[PAYLOAD..].copy_from_slice(tag.map_err(|_| "not sealed")?.as_ref());
            }
            let transmit = Transmit {
                destination: *to,
                ecn: None,
                contents: &out,
                segment_size: None,
                src_ip: None,
            };
            self.state.try_send((&self.socket).into(), &transmit)?;
        }
        Ok(())
    }
}

fn measure(kind: &str, n: u64, window: Duration) -> Result<Cost, Failure> {
    let mut server = Command::new(std::env::current_exe()?)
        .args(["serve", kind])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(server.stdout.take().ok_or("no output")?).lines();
    let mut line = || lines.next().ok_or("the server has ended")?.map_err(Failure::from);
    let to: SocketAddr = line()?.parse()?;
    let key = key()?;
    let sockets = (0..n).map(|_| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        socket.send_to(&[HELLO], to)?;
        io::Result::Ok(socket)
    });
    let sockets: Vec<UdpSocket> = sockets.collect::<Result<_, _>>()?;
    let begin = Instant::now() + Duration::from_millis(200);
    // Evenly spread over the 20 ms, in an order of no meaning.
    let phase = |at: usize| PACKET_TIME.mul_f64((at as f64 * 0.618_033_988_749_894_9).fract());
    let mut due: Vec<Instant> = (0..sockets.len()).map(|at| begin + phase(at)).collect();
    let mut marked = false;
    let mut read_at = begin;
    loop {
        let now = Instant::now();
        // The first second isn't counted.
        if now >= begin + Duration::from_secs(1) && !marked {
            marked = true;
            sockets[0].send_to(&[MARK], to)?;
        }
        if now >= begin + Duration::from_secs(1) + window {
            break;
        }
        for (at, due) in due.iter_mut().enumerate().filter(|(_, due)| **due <= now) {
            let frame = ((*due - begin).as_nanos() / PACKET_TIME.as_nanos()) as u32;
            let turn = ((*due - begin).as_nanos() / TURN.as_nanos()) as usize;
            let mut packet = [0; HEADER + PAYLOAD + TAG];
            packet[0] = RTP;
            packet[1] = if turn % sockets.len() == at { 128 | 111 } else { 111 };
            packet[2..6].copy_from_slice(&frame.to_be_bytes());
            packet[6] = at as u8;
            let nonce = nonce(&packet);
            let (header, rest) = packet.split_at_mut(HEADER);
            let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), &mut rest[..PAYLOAD]);
            rest[PAYLOAD..].copy_from_slice(tag.map_err(|_| "not sealed")?.as_ref());
            sockets[at].send_to(&packet, to)?;
            *due += PACKET_TIME;
        }
        if now >= read_at {
            read_at = now + READ_TIME;
            let mut buffer = [0; DATAGRAM];
            for socket in &sockets {
                while socket.recv(&mut buffer).is_ok() {}
            }
        }
        let next = due.iter().copied().min().unwrap_or(read_at).min(read_at);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    sockets[0].send_to(&[REPORT], to)?;
    let report = line()?;
    server.wait()?;
    let (cpu, turns) = report.split_once(' ').ok_or("no report")?;
    Ok(Cost {
        cpu: Duration::from_nanos(cpu.parse()?),
        turns: turns.parse()?,
    })
}
