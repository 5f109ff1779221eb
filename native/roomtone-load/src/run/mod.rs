//! A run: participants join a room by WHIP over real sockets, some talk, some listen closely, and all is counted.
//!
//! ```no_run
//! # async fn example() -> Result<(), roomtone_load::run::RunError> {
//! use roomtone_load::run::{RunConfig, run};
//!
//! let config = RunConfig { url: "http://127.0.0.1:4000/whip/lobby".into(), ..RunConfig::default() };
//! let report = run(config, |progress| eprintln!("{progress}"), std::future::pending()).await?;
//! println!("{report}");
//! # Ok(())
//! # }
//! ```

mod cast;
mod hearing;
mod light;
mod process;
mod report;
mod standard;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use hearing::MAX_PROBES;
pub use process::{Usage, usage};
pub use report::{Heard, Percentiles, RunReport, Server};

use crate::whip::{Session, Whip, WhipError};
use cast::Role;
use hearing::{BurstBoard, Hearing};
use roomtone_testkit::fixtures::FixtureError;
use roomtone_testkit::peer::{ClientError, Profiles};

/// The talkers' sound.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Sound {
    /// Each its own sine.
    #[default]
    Tones,
    /// All the same recording, each from another place on.
    Wav(PathBuf),
}

/// Which WebRTC client takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientKind {
    /// Ours: light enough for thousands.
    #[default]
    Light,
    /// The `webrtc` crate's peer connection: another implementation, for a few peers.
    Webrtc,
}

/// The work to do.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// The WHIP endpoint of a room.
    pub url: String,
    /// Bearer token.
    pub token: Option<String>,
    /// Participants, the talkers among them.
    pub peers: usize,
    /// How many of them talk.
    pub talkers: usize,
    /// Participants besides them that send a short tone each second, to measure the added latency.
    pub probes: usize,
    /// How many participants decode and measure what they hear; the others only count packets.
    pub ears: usize,
    /// How long to run once all have joined.
    pub time: Duration,
    /// The talkers' sound.
    pub sound: Sound,
    /// Opus bit rate of the talkers.
    pub bitrate: u32,
    /// The server's process, for CPU and memory.
    pub pid: Option<u32>,
    /// Which client.
    pub client: ClientKind,
    /// SRTP profiles that the light client offers.
    pub profiles: Profiles,
    /// Whether the light client asks for stereo.
    pub stereo: bool,
    /// Joins begun a second; 0 is as fast as `joins_at_once` lets.
    pub join_rate: f64,
    /// Joins, and later leaves, under way at the same time.
    pub joins_at_once: usize,
    /// Local address of the media sockets.
    pub bind: IpAddr,
}

impl Default for RunConfig {
    fn default() -> Self {
        RunConfig {
            url: String::new(),
            token: None,
            peers: 10,
            talkers: 3,
            probes: 1,
            ears: 4,
            time: Duration::from_secs(10),
            sound: Sound::Tones,
            bitrate: 32_000,
            pid: None,
            client: ClientKind::Light,
            profiles: Profiles::Both,
            stereo: false,
            join_rate: 0.0,
            joins_at_once: 16,
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
    /// A recording can't be used.
    #[error(transparent)]
    Fixture(#[from] FixtureError),
    /// The server can't be talked to.
    #[error(transparent)]
    Whip(#[from] WhipError),
}

/// Why one participant didn't join.
#[derive(Debug, thiserror::Error)]
enum JoinError {
    #[error(transparent)]
    Whip(#[from] WhipError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("no media socket: {0}")]
    Socket(#[from] std::io::Error),
    #[error("{0}")]
    Media(String),
    #[error("interrupted")]
    Interrupted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Phase {
    Joining,
    Steady,
    Leaving,
}

/// Where a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// Participants that there shall be.
    pub wanted: usize,
    /// That have joined.
    pub joined: usize,
    /// That couldn't.
    pub failed: usize,
    /// RTP packets received a second, since the progress before.
    pub packets_in_per_second: f64,
    /// RTP packets sent a second.
    pub packets_out_per_second: f64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:6.1} s  {}/{} joined",
            self.elapsed.as_secs_f64(),
            self.joined,
            self.wanted
        )?;
        if self.failed > 0 {
            write!(f, ", {} failed", self.failed)?;
        }
        write!(
            f,
            "  in {:.0}/s  out {:.0}/s",
            self.packets_in_per_second, self.packets_out_per_second
        )
    }
}

/// State that all participants share.
struct Shared {
    config: RunConfig,
    whip: Whip,
    board: BurstBoard,
    joins: Semaphore,
    phase: watch::Receiver<Phase>,
    joined: AtomicUsize,
    failed: AtomicUsize,
    talking: AtomicUsize,
    packets_in: AtomicU64,
    packets_out: AtomicU64,
    first_offer: Mutex<Option<Instant>>,
    last_join: Mutex<Option<Instant>>,
    first_failure: Mutex<Option<WhipError>>,
}

impl Shared {
    fn offering(&self, at: Instant) {
        self.first_offer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(at);
    }

    fn joined(&self, at: Instant) {
        *self.last_join.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        self.joined.fetch_add(1, Relaxed);
    }

    /// Everybody leaves at the same moment: a few at a time, as in joining, or a server that counts connections refuses.
    async fn delete(&self, session: &Session) -> Result<(), WhipError> {
        let _turn = self.joins.acquire().await;
        self.whip.delete(session).await
    }

    /// How many have joined or failed.
    fn settled(&self) -> usize {
        self.joined.load(Relaxed) + self.failed.load(Relaxed)
    }

    /// Has the first one failed in a way in which all will?
    fn hopeless(&self) -> bool {
        let first = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
        self.joined.load(Relaxed) == 0 && first.as_ref().is_some_and(WhipError::is_for_everyone)
    }
}

/// The fate of a participant.
struct Outcome {
    name: String,
    tone: Option<(f32, f32)>,
    is_talker: bool,
    result: Result<Took, JoinError>,
}

/// Counts of a participant that joined, while all were there.
#[derive(Default)]
struct Took {
    connect: Duration,
    /// From the offer; where somebody was talking already.
    first_audio: Option<Duration>,
    packets_in: u64,
    packets_out: u64,
    lost: i64,
    rejected: u64,
    hearing: Option<Hearing>,
    /// It was thrown out before the end.
    ended: Option<String>,
}

/// Runs until the time is over or `stop` is ready; then everybody leaves.
pub async fn run(
    config: RunConfig,
    mut progress: impl FnMut(&Progress),
    stop: impl Future<Output = ()>,
) -> Result<RunReport, RunError> {
    check(&config)?;
    let whip = Whip::new(&config.url, config.token.as_deref())?;
    let roles = cast::cast(&config)?;
    let wanted = roles.len();
    let (phases, phase) = watch::channel(Phase::Joining);
    let before = config.pid.and_then(usage);
    let shared = Arc::new(Shared {
        whip,
        board: BurstBoard::new(config.probes),
        joins: Semaphore::new(config.joins_at_once.max(1)),
        phase,
        joined: AtomicUsize::new(0),
        failed: AtomicUsize::new(0),
        talking: AtomicUsize::new(0),
        packets_in: AtomicU64::new(0),
        packets_out: AtomicU64::new(0),
        first_offer: Mutex::default(),
        last_join: Mutex::default(),
        first_failure: Mutex::default(),
        config,
    });
    let config = &shared.config;
    let mut tasks = JoinSet::new();
    let spawner = spawn_all(&shared, roles, &mut tasks);
    let mut watcher = Watcher {
        shared: &shared,
        start: Instant::now(),
        last: Instant::now(),
        counted: (0, 0),
        wanted,
    };
    let mut steady = None;
    let mut measured = None;
    let conduct = async {
        let mut spawner = std::pin::pin!(spawner);
        loop {
            tokio::select! {
                () = &mut spawner => break,
                () = watcher.wait(Duration::from_millis(50), &mut progress) => {}
            }
        }
        while shared.settled() < wanted && !shared.hopeless() {
            watcher.wait(Duration::from_millis(50), &mut progress).await;
        }
        if shared.joined.load(Relaxed) == 0 {
            return;
        }
        // The newest have only just joined: let the first sound come.
        watcher.wait(Duration::from_millis(300), &mut progress).await;
        phases.send_replace(Phase::Steady);
        let start = (Instant::now(), config.pid.and_then(usage), usage(std::process::id()));
        steady = Some(start);
        while start.0.elapsed() < config.time {
            let left = config.time.saturating_sub(start.0.elapsed());
            watcher.wait(left.min(Duration::from_millis(100)), &mut progress).await;
        }
        measured = Some((Instant::now(), config.pid.and_then(usage), usage(std::process::id())));
    };
    let interrupted = tokio::select! {
        () = conduct => false,
        () = stop => true,
    };
    let measured = measured.unwrap_or_else(|| (Instant::now(), config.pid.and_then(usage), usage(std::process::id())));
    phases.send_replace(Phase::Leaving);
    let mut outcomes = Vec::with_capacity(wanted);
    while let Some(outcome) = tasks.join_next().await {
        match outcome {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }
    outcomes.sort_by_key(|(index, _): &(usize, Outcome)| *index);
    let outcomes: Vec<Outcome> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    let first_failure = shared
        .first_failure
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    if let Some(error) = first_failure.filter(|_| shared.joined.load(Relaxed) == 0) {
        return Err(error.into());
    }
    Ok(report::sum_up(
        &shared,
        outcomes,
        report::Timing {
            before,
            steady,
            measured,
            interrupted,
        },
    ))
}

fn check(config: &RunConfig) -> Result<(), RunError> {
    let wrong = |why: &str| Err(RunError::Config(why.to_owned()));
    if config.peers == 0 {
        return wrong("no peers: --peers must be at least 1");
    }
    if config.talkers > config.peers {
        return wrong("more talkers than peers: the talkers are among the peers");
    }
    if config.probes > MAX_PROBES {
        return wrong("too many probes: one or two measure as well as eight, and more have no tones");
    }
    if config.pid.is_some_and(|pid| usage(pid).is_none()) {
        return wrong("no process with that --pid (or no /proc)");
    }
    // A socket each, a connection for signalling each, and some to spare.
    let needed = 2 * (config.peers + config.probes) as u64 + 64;
    match rlimit::increase_nofile_limit(needed) {
        Ok(limit) if limit < needed => Err(RunError::Config(format!(
            "{} peers need {needed} open files, and this system gives {limit}: raise it with `ulimit -n {needed}`",
            config.peers
        ))),
        _ => Ok(()),
    }
}

async fn spawn_all(shared: &Arc<Shared>, roles: Vec<Role>, tasks: &mut JoinSet<(usize, Outcome)>) {
    let rate = shared.config.join_rate;
    let pause = (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate));
    let talkers = roles.iter().filter(|role| role.talk.is_some()).count();
    for (index, role) in roles.into_iter().enumerate() {
        // Talkers come first: the others' time to the first sound means something only if there is sound.
        while role.talk.is_none() && shared.settled() < talkers && !shared.hopeless() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let shared = shared.clone();
        tasks.spawn(async move { (index, participate(shared, role).await) });
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    }
}

async fn participate(shared: Arc<Shared>, role: Role) -> Outcome {
    let (name, tone, is_talker) = (role.name.clone(), role.tone, role.talk.is_some());
    let result = match shared.config.client {
        ClientKind::Light => light::participate(&shared, role).await,
        ClientKind::Webrtc => standard::participate(&shared, role).await,
    };
    if let Err(error) = &result {
        shared.failed.fetch_add(1, Relaxed);
        if let JoinError::Whip(error) = error {
            let mut first = shared.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| error.clone());
        }
    }
    Outcome {
        name,
        tone,
        is_talker,
        result,
    }
}

struct Watcher<'a> {
    shared: &'a Shared,
    start: Instant,
    last: Instant,
    counted: (u64, u64),
    wanted: usize,
}

impl Watcher<'_> {
    async fn wait(&mut self, time: Duration, progress: &mut impl FnMut(&Progress)) {
        tokio::time::sleep(time).await;
        let passed = self.last.elapsed();
        if passed < Duration::from_secs(1) {
            return;
        }
        let counted = (
            self.shared.packets_in.load(Relaxed),
            self.shared.packets_out.load(Relaxed),
        );
        progress(&Progress {
            elapsed: self.start.elapsed(),
            wanted: self.wanted,
            joined: self.shared.joined.load(Relaxed),
            failed: self.shared.failed.load(Relaxed),
            packets_in_per_second: (counted.0 - self.counted.0) as f64 / passed.as_secs_f64(),
            packets_out_per_second: (counted.1 - self.counted.1) as f64 / passed.as_secs_f64(),
        });
        self.last = Instant::now();
        self.counted = counted;
    }
}
