//! The socket loop of one shard: the only place of this crate that reads a clock or touches a socket.

#![allow(clippy::disallowed_methods)] // this is the I/O half

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Sender, TrySendError};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use roomtone_transport::{Certificate, NtpClock, TransportConfig};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use crate::arrival;
use crate::batch;
use crate::command::{Envelope, Event};
use crate::command_queues::CommandQueues;
use crate::config::{MixConfig, ShardConfig};
use crate::control::Control;
use crate::inbox::{BATCH, Inbox};
use crate::links::{self, Links, TurnParts};
use crate::mailboxes::Mailboxes;
use crate::meter::Meter;
use crate::pktinfo;
use crate::shard::Shard;
use crate::shard_message::{Message, ShardMessage};
use crate::shed::Round;
use crate::stats::ShardStats;

/// Datagrams read before timers and commands get their turn again.
const READ_BATCH: usize = 256;
/// They also get it after this time: a packet of sound costs a few microseconds, but one of a handshake about a millisecond.
const READ_TIME: Duration = Duration::from_millis(4);
/// Commands carried out before datagrams get their turn again: an offer costs about half a millisecond.
const COMMAND_BATCH: usize = 16;
/// They also get it after this time, however few commands that was.
const COMMAND_TIME: Duration = Duration::from_millis(2);
/// Events kept for a slow taker. Past this the oldest are dropped, and counted.
const EVENT_BACKLOG: usize = 16_384;
/// The kernel's buffer for a shard: a stall of 100 ms at 1,000 participants is 5,000 packets.
const SOCKET_BUFFER: usize = 4 << 20;
/// Datagrams that follow one another closer than this are read together …
const CLOSE_TOGETHER: Duration = Duration::from_millis(3);
/// … after a sleep of this length, which delays each of them by half of it on average. A thread that wakes up finds its caches filled by
/// others, and that costs more than a datagram does.
const GATHERING: Duration = Duration::from_millis(1);
/// A shorter sleep isn't worth its system call.
const LEAST_SLEEP: Duration = Duration::from_micros(100);
const STATS_INTERVAL: Duration = Duration::from_millis(100);
/// How long what is to be sent waits for room in the socket's buffer.
const FULL_BUFFER: Duration = Duration::from_millis(2);

/// Events of sockets taken at once; more come with the next turn.
const READY: usize = 256;
const SOCKET: Token = Token(links::FIRST_TOKEN);
const WAKER: Token = Token(links::FIRST_TOKEN + 1);

/// How soon another shard's mailbox, which was full, is tried again.
const FULL_MAILBOX: Duration = Duration::from_millis(1);

/// The system refused something that a shard needs to run: most often it has too few file descriptors.
#[derive(Debug, Error)]
#[error("cannot {action}: {cause}")]
pub struct ResourceError {
    action: &'static str,
    #[source]
    cause: io::Error,
}

/// Everything that a driver is made of.
pub(crate) struct Parts<'a> {
    pub(crate) shard: usize,
    pub(crate) epoch: u64,
    pub(crate) config: ShardConfig,
    pub(crate) mix: MixConfig,
    pub(crate) max_peers: usize,
    pub(crate) certificate: Arc<Certificate>,
    pub(crate) socket: &'a UdpSocket,
    pub(crate) listener: Option<&'a TcpListener>,
    /// The TURN server of the node, if it is this shard that has it.
    pub(crate) turn: Option<&'a TurnParts>,
    pub(crate) queues: Arc<CommandQueues>,
    pub(crate) events: Sender<Envelope>,
    pub(crate) stats: Arc<Mutex<ShardStats>>,
    pub(crate) mailboxes: Mailboxes,
}

/// A shard with its sockets.
pub(crate) struct Driver {
    event_loop: EventLoop,
}

struct EventLoop {
    index: usize,
    epoch: u64,
    shard: Shard,
    poll: Poll,
    ready: Events,
    socket: UdpSocket,
    /// Whether the socket may have more to be read.
    readable: bool,
    inbox: Inbox,
    links: Links,
    events: Sender<Envelope>,
    backlog: VecDeque<Envelope>,
    stats: Arc<Mutex<ShardStats>>,
    stats_due: Instant,
    counters: Counters,
    meter: Meter,
    mailboxes: Mailboxes,
}

#[derive(Default)]
struct Counters {
    received: u64,
    sent: u64,
    sent_bytes: u64,
    failed: u64,
    events_dropped: u64,
}

/// Binds a shard's socket, with a large buffer where the system allows it.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // The system caps these at its own limit without an error; a smaller buffer still works.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    if address.is_ipv6() {
        // `::` is IPv4 too, whatever the system's own default.
        let _ = socket.set_only_v6(false);
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let socket = UdpSocket::from(socket);
    if address.ip().is_unspecified() {
        // Without it the routes choose the address that answers leave by.
        let _ = pktinfo::tell_addresses(&socket);
    }
    Ok(socket)
}

impl Driver {
    /// An empty shard on the cell's socket.
    ///
    /// # Errors
    /// [`ResourceError`] when the system refuses a further descriptor or an epoll instance.
    pub(crate) fn new(parts: Parts<'_>) -> Result<Driver, ResourceError> {
        let cannot = |action| move |cause| ResourceError { action, cause };
        let poll = Poll::new().map_err(cannot("open an epoll instance"))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(cannot("open an event descriptor"))?;
        let socket = parts
            .socket
            .try_clone()
            .map_err(cannot("duplicate the shard's socket"))?;
        // Not for writing: on a local network each datagram that is taken at the other end would wake this thread.
        poll.registry()
            .register(&mut SourceFd(&socket.as_raw_fd()), SOCKET, Interest::READABLE)
            .map_err(cannot("register the shard's socket"))?;
        let now = Instant::now();
        let links = poll
            .registry()
            .try_clone()
            .and_then(|registry| Links::new(now, parts.shard, parts.listener, parts.turn, registry))
            .map_err(cannot("listen for TCP connections"))?;
        parts.queues.control(parts.shard).set_waker(waker);
        let addresses = parts.config.candidates.clone();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut transport = TransportConfig::new(parts.config.candidates, NtpClock::from_unix(now, wall));
        if parts.listener.is_some() {
            transport.tcp_candidates = transport.candidates.clone();
        }
        let mut shard = Shard::new(now, transport, parts.certificate, parts.mix, parts.max_peers)
            .in_engine(parts.shard, parts.queues);
        shard.set_clock(Instant::now);
        shard.announce_restart();
        let mut event_loop = EventLoop {
            index: parts.shard,
            epoch: parts.epoch,
            shard,
            poll,
            ready: Events::with_capacity(READY),
            socket,
            // Datagrams may have come while no driver was there.
            readable: true,
            inbox: Inbox::new(),
            links,
            events: parts.events,
            backlog: VecDeque::new(),
            stats: parts.stats,
            stats_due: now,
            counters: Counters::default(),
            meter: Meter::default(),
            mailboxes: parts.mailboxes,
        };
        event_loop.emit(Event::ShardStarted { addresses });
        Ok(Driver { event_loop })
    }

    /// Runs the shard for about `budget`, or until `control` asks it to leave. If the engine was
    /// stopped, it says goodbye to the participants.
    pub(crate) fn run(&mut self, budget: Duration, control: &Control) {
        self.event_loop.shard.prepare_thread();
        let until = Instant::now() + budget;
        self.event_loop.turn(until, control);
        if control.stopped() {
            self.event_loop.shard.close(Instant::now());
            self.event_loop.mailboxes.deliver(&mut self.event_loop.shard);
            self.event_loop.send();
            self.event_loop.hand_on_events();
        }
    }
}

impl EventLoop {
    fn turn(&mut self, until: Instant, control: &Control) {
        let mut woken = Instant::now();
        let mut last_datagram: Option<Instant> = None;
        loop {
            control.heed();
            let more_commands = self.take_commands();
            let received = self.counters.received;
            let more_datagrams = self.receive() | self.links.receive(&mut self.shard) | self.take_messages();
            self.mailboxes.deliver_foreign(&mut self.links);
            let now = Instant::now();
            let due = self.shard.poll_timeout().is_some_and(|due| due <= now);
            if due {
                self.shard.handle_timeout(now);
            }
            self.links.handle_timeout(now, &self.shard);
            self.hand_on_events();
            let messages_wait = self.mailboxes.deliver(&mut self.shard);
            self.send();
            if self.shard.handle_sent(now) {
                self.hand_on_events();
            }
            // A room leaves after its events and datagrams.
            if self.backlog.is_empty() {
                self.shard.commit_moves();
            }
            self.publish_stats(now);
            let rest = Instant::now();
            let ticking = if due { rest - now } else { Duration::ZERO };
            let worked = rest - woken;
            let leaves = control.should_leave() || rest >= until;
            // Also a flood must not keep the thread from its owner, nor the meter from seeing it.
            if leaves || more_commands || more_datagrams {
                self.measure(
                    rest,
                    Round {
                        lasted: worked,
                        worked,
                        ticking,
                    },
                );
                woken = rest;
                if leaves {
                    break;
                }
                self.wait(Duration::ZERO);
                continue;
            }
            let mut due = [self.shard.poll_timeout(), self.links.poll_timeout()]
                .into_iter()
                .flatten()
                .fold(until, Instant::min);
            if messages_wait {
                due = due.min(now + FULL_MAILBOX);
            }
            let mut busy = false;
            if self.counters.received != received {
                busy = last_datagram
                    .replace(now)
                    .is_some_and(|last| now - last < CLOSE_TOGETHER);
            }
            let rest = due.saturating_duration_since(rest);
            if busy && rest >= LEAST_SLEEP {
                std::thread::sleep(rest.min(GATHERING));
                // Learns of packets that have come meanwhile.
                self.wait(Duration::ZERO);
            } else {
                self.wait(rest);
            }
            let now = Instant::now();
            self.measure(
                now,
                Round {
                    lasted: now - woken,
                    worked,
                    ticking,
                },
            );
            woken = now;
        }
    }

    /// Waits until there is something to read, another thread wakes this one, or `patience` is over.
    fn wait(&mut self, patience: Duration) {
        match self.poll.poll(&mut self.ready, Some(patience)) {
            Ok(()) => {}
            // A signal: the next turn finds nothing new, and waits again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => {
                log::error!("a shard can't wait for its sockets: {error}");
                // It reads them anyway, and doesn't take a whole core for that.
                self.readable = true;
                std::thread::sleep(patience.min(GATHERING));
                return;
            }
        }
        for event in &self.ready {
            if event.token() == SOCKET {
                self.readable = true;
            }
            self.links.handle_event(event);
        }
    }

    fn measure(&mut self, now: Instant, turn: Round) {
        let measured = self.meter.add(turn);
        if let Some(round) = measured.round {
            self.shard.handle_round(now, round);
        }
        if let Some(load) = measured.load {
            self.shard.handle_load(now, load);
        }
    }

    // True when there may be more.
    fn take_commands(&mut self) -> bool {
        let begun = Instant::now();
        for _ in 0..COMMAND_BATCH {
            if !self.shard.take_work(Instant::now()) {
                return false;
            }
            if begun.elapsed() >= COMMAND_TIME {
                break;
            }
        }
        true
    }

    // True when there may be more.
    fn receive(&mut self) -> bool {
        let mut now = Instant::now();
        let begun = now;
        for _ in 0..READ_BATCH {
            if self.inbox.is_empty() {
                if !self.readable {
                    return false;
                }
                // The system tells when it took in the datagram that was read last, and only of that one.
                let traced = self.shard.wants_arrivals(now);
                match self.inbox.fill(&self.socket, if traced { 1 } else { BATCH }) {
                    Ok(drained) => self.readable = !drained,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.readable = false;
                        return false;
                    }
                    // An ICMP error of an earlier datagram shows up here; it says nothing about the next one.
                    Err(_) => continue,
                }
                if traced && let Some(at) = arrival::of_last(&self.socket) {
                    self.shard.handle_arrival(at);
                }
            }
            let Some((from, datagram)) = self.inbox.pop() else {
                continue;
            };
            self.counters.received += 1;
            self.shard.handle_datagram(now, from, datagram);
            now = Instant::now();
            if now - begun >= READ_TIME {
                break;
            }
        }
        self.readable || !self.inbox.is_empty()
    }

    // True when there may be more.
    fn take_messages(&mut self) -> bool {
        for _ in 0..READ_BATCH {
            match self.mailboxes.receive() {
                Some((_, ShardMessage(Message::Transmit { to, data }))) => {
                    let sent = self.mailboxes.send_by_link(&mut self.links, Some((to, &data)));
                    self.counters.failed += u64::from(sent == Some(false));
                }
                Some((from, message)) => self.shard.handle_message(Instant::now(), from, message),
                None => return false,
            }
        }
        true
    }

    fn send(&mut self) {
        let for_others = self.mailboxes.send_for_others(&mut self.shard, &mut self.links);
        self.counters.sent += for_others.sent;
        self.counters.sent_bytes += for_others.bytes;
        self.counters.failed += for_others.failed;
        let outbox = self.shard.outbox();
        let (mut at, mut full, mut waits_since) = (0, false, None);
        while at < outbox.len() {
            if let Some(sent) = self.mailboxes.send_by_link(&mut self.links, outbox.get(at)) {
                self.counters.sent += u64::from(sent);
                self.counters.failed += u64::from(!sent);
                at += 1;
                continue;
            }
            if full {
                self.counters.failed += 1;
                at += 1;
                continue;
            }
            match batch::send(&self.socket, outbox, at) {
                Ok(sent) => {
                    self.counters.sent += sent as u64;
                    self.counters.sent_bytes += batch::bytes(outbox, at, sent);
                    at += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // The socket's buffer is full. Sound that waits is sound that is late: wait a moment only, then drop what is left.
                    let since = *waits_since.get_or_insert_with(Instant::now);
                    let patience = FULL_BUFFER.saturating_sub(since.elapsed());
                    full = patience.is_zero() || !batch::wait_for_room(&self.socket, patience);
                }
                Err(_) => {
                    self.counters.failed += 1;
                    at += 1;
                }
            }
        }
        outbox.clear();
    }

    fn hand_on_events(&mut self) {
        while let Some(event) = self.shard.poll_event() {
            self.emit(event);
        }
        while let Some(envelope) = self.backlog.pop_front() {
            match self.events.try_send(envelope) {
                Ok(()) => {}
                Err(TrySendError::Full(envelope)) => {
                    self.backlog.push_front(envelope);
                    break;
                }
                // Nobody will ever listen again: the engine is going down.
                Err(TrySendError::Disconnected(_)) => self.backlog.clear(),
            }
        }
    }

    fn emit(&mut self, event: Event) {
        if self.backlog.len() >= EVENT_BACKLOG {
            self.backlog.pop_front();
            self.counters.events_dropped += 1;
        }
        self.backlog.push_back(Envelope {
            shard: self.index,
            epoch: self.epoch,
            event,
        });
    }

    fn publish_stats(&mut self, now: Instant) {
        if now < self.stats_due {
            return;
        }
        self.stats_due = now + STATS_INTERVAL;
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        *stats = self.shard.stats();
        stats.epoch = self.epoch;
        stats.datagrams_out = self.counters.sent;
        stats.bytes_out = self.counters.sent_bytes;
        stats.send_failures = self.counters.failed;
        stats.events_dropped = self.counters.events_dropped;
        stats.load = self.meter.load();
    }
}
