//! The engine: shards, and the threads that run them.
//!
//! The caller owns the threads. [`Engine::run`] lends the calling thread to a shard for a while. Between two calls, or after a
//! caller was killed, the shard rests in its cell with everything that is in it, and the next call takes it up. A second call
//! for a shard makes the first one return.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;
use roomtone_transport::Certificate;
use thiserror::Error;

use crate::command::{Command, Envelope};
use crate::command_queues::{CommandQueues, SubmitError};
use crate::config::{EngineConfig, MixConfig, ShardConfig, TurnConfig};
use crate::control::Control;
use crate::driver::{self, Driver, ResourceError};
use crate::links::{self, PlainSockets, TlsListener, TurnParts};
use crate::mailboxes::{Mailbox, Mailboxes};
use crate::panics::panic_message;
use crate::stats::ShardStats;

/// Ports that the system may choose for UDP which TCP can't have.
const PORTS_TRIED: usize = 16;

/// Why an engine can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A shard's socket can't be had.
    #[error("cannot bind {protocol} {address}: {source}")]
    Bind {
        /// UDP or TCP.
        protocol: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// The socket for connections of the HTTP server can't be had.
    #[error("cannot bind the Unix socket @{name}: {source}")]
    BindLocal {
        /// Its abstract name.
        name: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// No shard was asked for.
    #[error("an engine needs at least one shard")]
    NoShards,
    /// The DTLS certificate can't be made.
    #[error("cannot make a DTLS certificate: {0}")]
    Certificate(String),
    /// The certificate or the key of TURN over TLS can't be used.
    #[error("TURN over TLS can't start: {0}")]
    TurnCertificate(String),
}

/// How [`Engine::run`] ended.
#[derive(Debug)]
#[must_use]
pub enum RunOutcome {
    /// The time is up, or another call took over: call again.
    Yielded,
    /// The engine was stopped: don't call again.
    Stopped,
    /// There is no shard of that index.
    NoShard,
    /// The system refused a descriptor or an epoll instance, so the shard can't begin. No room is lost: call again once the system
    /// has some.
    Failed(ResourceError),
    /// A bug. The shard's rooms are gone; the next call begins an empty shard, with a new epoch, on the same socket.
    Panicked(String),
}

struct ShardCell {
    config: ShardConfig,
    control: Arc<Control>,
    stats: Arc<Mutex<ShardStats>>,
    state: Mutex<State>,
}

struct State {
    // `None` once the engine was stopped.
    socket: Option<Arc<UdpSocket>>,
    listener: Option<TcpListener>,
    driver: Option<Driver>,
    epoch: u64,
}

impl State {
    fn shut(&mut self) {
        self.driver = None;
        self.socket = None;
        self.listener = None;
    }
}

/// The shards of one node.
pub struct Engine {
    cells: Vec<ShardCell>,
    queues: Arc<CommandQueues>,
    mailboxes: Arc<Vec<Mailbox>>,
    // `None` without one, and once the engine was stopped.
    turn: Mutex<Option<Arc<TurnParts>>>,
    mix: MixConfig,
    max_peers: usize,
    certificate: Arc<Certificate>,
    events: Sender<Envelope>,
}

impl Engine {
    /// Binds the sockets; nothing runs until [`Engine::run`] is called for each shard. Events go to `events`, which should be
    /// drained quickly: a shard keeps what doesn't fit, but only so much of it.
    ///
    /// # Errors
    /// [`StartError`] when a socket can't be bound, a certificate can't be made, or no shard was asked for.
    pub fn start(config: EngineConfig, events: Sender<Envelope>) -> Result<Engine, StartError> {
        if config.shards.is_empty() {
            return Err(StartError::NoShards);
        }
        let certificate = Certificate::generate().map_err(|e| StartError::Certificate(e.to_string()))?;
        let queues = Arc::new(CommandQueues::new(config.shards.len()));
        let cells = config
            .shards
            .into_iter()
            .enumerate()
            .map(|(shard, config)| ShardCell::bind(config, queues.control(shard).clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let turn = config.turn.map(|turn| turn_parts(turn, &cells)).transpose()?;
        let mailboxes = cells
            .iter()
            .map(|(cell, socket)| Mailbox::new(cell.control.clone(), socket.clone()));
        let mailboxes = Arc::new(mailboxes.collect());
        Ok(Engine {
            cells: cells.into_iter().map(|(cell, _)| cell).collect(),
            queues,
            mailboxes,
            turn: Mutex::new(turn.map(Arc::new)),
            mix: config.mix,
            max_peers: config.max_peers_per_shard,
            certificate: Arc::new(certificate),
            events,
        })
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.cells.len()
    }

    /// A shard's ICE candidates.
    pub fn candidates(&self, shard: usize) -> Option<&[SocketAddr]> {
        self.cells.get(shard).map(|cell| cell.config.candidates.as_slice())
    }

    /// Where the TURN server listens for UDP and TCP; `None` if it doesn't.
    pub fn turn_address(&self) -> Option<SocketAddr> {
        let turn = lock(&self.turn);
        turn.as_ref()?.plain.as_ref()?.udp.local_addr().ok()
    }

    /// Where the TURN server listens for TLS; `None` if it doesn't.
    pub fn turn_tls_address(&self) -> Option<SocketAddr> {
        let turn = lock(&self.turn);
        Some(turn.as_ref()?.tls.as_ref()?.address())
    }

    /// Lends the calling thread to a shard for about `budget`. Blocks.
    pub fn run(&self, shard: usize, budget: Duration) -> RunOutcome {
        let Some(cell) = self.cells.get(shard) else {
            return RunOutcome::NoShard;
        };
        let mut state = cell.take_over();
        let ran = catch_unwind(AssertUnwindSafe(|| -> Result<(), ResourceError> {
            if state.driver.is_none()
                && let Some(socket) = state.socket.as_ref()
            {
                let epoch = state.epoch + 1;
                let driver = self.begin(shard, cell, socket, state.listener.as_ref(), epoch)?;
                state.epoch = epoch;
                state.driver = Some(driver);
            }
            if let Some(driver) = state.driver.as_mut() {
                driver.run(budget, &cell.control);
            }
            Ok(())
        }));
        match ran {
            Ok(_) if cell.control.stopped() => {
                state.shut();
                RunOutcome::Stopped
            }
            Ok(Ok(())) => RunOutcome::Yielded,
            Ok(Err(error)) => RunOutcome::Failed(error),
            Err(panic) => {
                let broken = state.driver.take();
                // A broken driver may panic again while it is dropped. Leaking it is better than taking the caller down.
                if let Err(second) = catch_unwind(AssertUnwindSafe(move || drop(broken))) {
                    std::mem::forget(second);
                }
                RunOutcome::Panicked(panic_message(panic.as_ref()))
            }
        }
    }

    fn begin(
        &self,
        shard: usize,
        cell: &ShardCell,
        socket: &UdpSocket,
        listener: Option<&TcpListener>,
        epoch: u64,
    ) -> Result<Driver, ResourceError> {
        let turn = lock(&self.turn).clone().filter(|_| shard == 0);
        Driver::new(driver::Parts {
            shard,
            epoch,
            config: cell.config.clone(),
            mix: self.mix.clone(),
            max_peers: self.max_peers,
            certificate: self.certificate.clone(),
            socket,
            listener,
            turn: turn.as_deref(),
            queues: self.queues.clone(),
            events: self.events.clone(),
            stats: cell.stats.clone(),
            mailboxes: Mailboxes::new(shard, self.mailboxes.clone()),
        })
    }

    /// Queues a command and wakes the shard's loop. Never waits for a shard. A room's commands are carried out in the order in which
    /// they were submitted, even while it moves. A room that has moved gets them whichever shard is named here.
    ///
    /// # Errors
    /// [`SubmitError`]: the queue is full, there is no such shard, or the engine was stopped.
    pub fn submit(&self, shard: usize, command: Command) -> Result<(), SubmitError> {
        self.queues.submit(shard, command)
    }

    /// A shard's figures as of at most a tenth of a second ago; the length of its queue is as of now.
    pub fn stats(&self, shard: usize) -> Option<ShardStats> {
        let stats = self.cells.get(shard).map(|cell| lock(&cell.stats).clone())?;
        Some(ShardStats {
            commands_waiting: self.queues.waiting(shard) as u64,
            ..stats
        })
    }

    /// Ends every loop and closes the sockets. A shard that is being run says goodbye to its participants first (RTCP BYE, DTLS
    /// close_notify), so its socket is closed a moment later, when its `run` returns [`RunOutcome::Stopped`].
    pub fn stop(&self) {
        self.mailboxes.iter().for_each(Mailbox::shut);
        *lock(&self.turn) = None;
        for cell in &self.cells {
            cell.control.stop();
            if let Ok(mut resting) = cell.state.try_lock() {
                resting.shut();
            }
        }
    }
}

impl ShardCell {
    fn bind(mut config: ShardConfig, control: Arc<Control>) -> Result<(ShardCell, Arc<UdpSocket>), StartError> {
        let (socket, listener) = bind_both(&config)?;
        let port = socket
            .local_addr()
            .map_err(|source| bind_error("UDP", &config, source))?
            .port();
        for candidate in config.candidates.iter_mut().filter(|c| c.port() == 0) {
            candidate.set_port(port);
        }
        let socket = Arc::new(socket);
        let cell = ShardCell {
            config,
            control,
            stats: Arc::default(),
            state: Mutex::new(State {
                socket: Some(socket.clone()),
                listener,
                driver: None,
                epoch: 0,
            }),
        };
        Ok((cell, socket))
    }

    // Waits for the shard, and makes whoever runs it leave.
    fn take_over(&self) -> MutexGuard<'_, State> {
        self.control.while_asking_to_leave(|| lock(&self.state))
    }
}

fn turn_parts(config: TurnConfig, cells: &[(ShardCell, Arc<UdpSocket>)]) -> Result<TurnParts, StartError> {
    let failed = |protocol, address| {
        move |source| StartError::Bind {
            protocol,
            address,
            source,
        }
    };
    let plain = match config.bind {
        Some(bind) => {
            let udp = driver::bind(bind).map_err(failed("TURN over UDP", bind))?;
            let tcp = udp.local_addr().and_then(links::listen);
            let tcp = tcp.map_err(failed("TURN over TCP", bind))?;
            Some(PlainSockets { udp, tcp })
        }
        None => None,
    };
    let local = match &config.local {
        Some(name) => Some(links::listen_locally(name).map_err(|source| StartError::BindLocal {
            name: name.clone(),
            source,
        })?),
        None => None,
    };
    let listener = match (&config.tls, cells.first()) {
        (Some(tls), Some((first, _))) => {
            let acceptor =
                tls_acceptor::acceptor(&tls.certificates, &tls.key, &[]).map_err(StartError::TurnCertificate)?;
            let opened = links::listen(tls.bind)
                .and_then(|listener| TlsListener::open(listener, acceptor, first.control.clone()));
            Some(opened.map_err(failed("TURN over TLS", tls.bind))?)
        }
        _ => None,
    };
    let peers = cells.iter().enumerate().flat_map(|(shard, (cell, _))| {
        let candidates = cell.config.candidates.iter();
        candidates.map(move |candidate| (*candidate, shard))
    });
    Ok(TurnParts {
        plain,
        local,
        tls: listener,
        peers: peers.collect(),
        config,
        nonce_key: rand::random(),
    })
}

fn bind_error(protocol: &'static str, config: &ShardConfig, source: std::io::Error) -> StartError {
    StartError::Bind {
        protocol,
        address: config.bind,
        source,
    }
}

/// UDP, and TCP on the same port number if it is wanted. A port that the system chooses for UDP may be taken for TCP: then it chooses
/// again.
fn bind_both(config: &ShardConfig) -> Result<(UdpSocket, Option<TcpListener>), StartError> {
    let mut refused = Vec::new();
    loop {
        let socket = driver::bind(config.bind).map_err(|source| bind_error("UDP", config, source))?;
        if !config.tcp {
            return Ok((socket, None));
        }
        let listener = socket.local_addr().and_then(links::listen);
        match listener {
            Ok(listener) => return Ok((socket, Some(listener))),
            // Kept meanwhile, so that another one is chosen.
            Err(_) if config.bind.port() == 0 && refused.len() < PORTS_TRIED => refused.push(socket),
            Err(source) => return Err(bind_error("TCP", config, source)),
        }
    }
}

// A panic inside is caught before it can poison, and what the lock guards is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
