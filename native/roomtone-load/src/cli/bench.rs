//! `roomtone-load bench`: what rooms cost.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use roomtone_load::bench::{
    BenchConfig, BenchError, Case, Door, JanusSetting, Kind, Noise, Plan, Results, System, Talk, Target, Tokens, Way,
    chart, run, table,
};

use super::{interrupted, runtime, seconds};

#[derive(Args)]
#[command(after_help = "Examples:\n  \
    roomtone-load bench --table --against janus        all that docs/benchmarks.md has (bin/bench does this)\n  \
    roomtone-load bench --n 10,100 --talkers 3         one kind of room at two sizes\n  \
    roomtone-load bench --talk turns --n 2,5,10 --against janus   conversations, with the same turns on both\n  \
    roomtone-load bench --kind forward --n 10,50 --against janus-videoroom\n  \
    roomtone-load bench --beam-load                    lateness of ticks while the BEAM is busy\n  \
    roomtone-load bench --n 100 --way udp,ice-tcp,turn-tls   the ways through firewalls, beside UDP\n  \
    roomtone-load bench --kind spatial --n 50 --svg cost.svg --json cost.json\n  \
    roomtone-load bench --n 20 --server http://10.0.0.7:4000/whip/lobby --token \"$TOKEN\"")]
pub struct Bench {
    /// Participants of a room: one size or several
    #[arg(long, short = 'n', value_delimiter = ',', default_value = "10,50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    n: Vec<u32>,
    /// How many of them talk; 0: all are muted, and the server is idle [default: 3; all of them with --talk turns]
    #[arg(long, short = 'k')]
    talkers: Option<usize>,
    /// How they talk
    #[arg(long, value_enum, default_value_t = TalkMode::All)]
    talk: TalkMode,
    /// Signal of a talker's microphone when they don't speak: noise of this level in dBFS, as browsers do, or "dtx", a packet in 400 ms
    #[arg(long, allow_hyphen_values = true, value_name = "DBFS|dtx", default_value = "-72")]
    noise: Noise,
    /// Decides who takes turns when: the same number, the same conversations
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rooms of that size at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rooms: u32,
    /// How Roomtone's rooms are mixed
    #[arg(long, value_enum, default_value_t = RoomKind::Mix)]
    kind: RoomKind,
    /// How their packets travel: udp, ice-tcp, turn-udp, turn-tcp, turn-tls (a port of its own) or turn-https (the port of HTTPS); one way
    /// or several
    #[arg(long, value_delimiter = ',', default_value = "udp")]
    way: Vec<Way>,
    /// How long each measurement counts, once all have joined
    #[arg(long, short, default_value_t = 8.0, value_parser = seconds)]
    seconds: f64,
    /// How often each case is measured; the table has the medians
    #[arg(long, short, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Measure this, too, with the same people
    #[arg(long, value_enum)]
    against: Option<Other>,
    /// Measure only what --against names
    #[arg(long, requires = "against")]
    only_against: bool,
    /// The whole table of docs/benchmarks.md; takes about half an hour
    #[arg(long, conflicts_with_all = ["n", "talkers", "talk", "rooms", "kind", "way", "server", "quick"])]
    table: bool,
    /// A look, in about a minute: two sizes and a spatial room, once each
    #[arg(long, conflicts_with_all = ["n", "talkers", "talk", "rooms", "kind", "way", "server"])]
    quick: bool,
    /// How late ticks are while the BEAM is as busy as can be with other things, beside the same room of 50 at rest
    #[arg(long, conflicts_with_all = ["n", "talkers", "talk", "rooms", "kind", "way", "server", "table", "quick", "against"])]
    beam_load: bool,
    /// Keep the samples in this file, and those so far after each step
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Go on with the samples that are in --json
    #[arg(long, requires = "json")]
    resume: bool,
    /// Draw cost against size
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Measure nothing: table and chart of the samples that are in --json
    #[arg(long, requires = "json")]
    show: bool,
    /// Measure this server instead of starting one: its address with --secret, or the WHIP address of one room with --token
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Its TOKEN_SECRET, to sign tokens for everybody
    #[arg(long, env = "TOKEN_SECRET", hide_env_values = true, requires = "server")]
    secret: Option<String>,
    /// A token for that room
    #[arg(
        long,
        env = "ROOMTONE_TOKEN",
        hide_env_values = true,
        requires = "server",
        conflicts_with = "secret"
    )]
    token: Option<String>,
    /// Its process, if it runs on this machine: for CPU and memory
    #[arg(long, requires = "server")]
    pid: Option<u32>,
    /// Where Roomtone's source is
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    repository: PathBuf,
    /// For logs, voices and recordings
    #[arg(long, default_value = "tmp/bench", value_name = "FOLDER")]
    folder: PathBuf,
    /// Talkers babble instead of speaking: needs no espeak-ng, and quality isn't judged
    #[arg(long)]
    babble: bool,
    /// No progress on standard error
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoomKind {
    /// Everybody hears everybody
    Mix,
    /// Everybody hears by distance, each from another place
    Spatial,
    /// Packets are handed on
    Forward,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum TalkMode {
    /// All at the same time
    All,
    /// In turns, as in a conversation: one 80 % of the time, two 10 %, nobody 10 %
    Turns,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Other {
    /// Janus's AudioBridge, with its defaults, and at the same bit rate as Roomtone: Debian's package `janus`
    Janus,
    /// Janus's VideoRoom, which forwards: for --kind forward
    JanusVideoroom,
}

impl Bench {
    fn config(&self) -> Result<BenchConfig, BenchError> {
        self.check()?;
        let janus = self.against == Some(Other::Janus);
        let sizes: Vec<usize> = self.n.iter().map(|n| *n as usize).collect();
        let mut cases = match (self.table, self.quick, self.beam_load) {
            (true, ..) => Plan::table(janus),
            (_, true, _) => Plan::quick(janus),
            (.., true) => Plan::beam_load(),
            _ => Plan::by(&self.way, &self.cases(&sizes)),
        };
        if self.only_against {
            cases.retain(|case| case.system.is_janus());
        }
        cases.iter_mut().for_each(|case| case.noise = self.noise);
        Ok(BenchConfig {
            plan: Plan {
                cases,
                repeats: if self.quick { 1 } else { self.repeat as usize },
                time: Duration::from_secs_f64(if self.quick {
                    self.seconds.min(5.0)
                } else {
                    self.seconds
                }),
            },
            target: self.target()?,
            repository: self.repository.clone(),
            folder: self.folder.clone(),
            babble: self.babble,
            seed: self.seed,
            keep: self.json.clone(),
            resume: self.resume,
        })
    }

    fn check(&self) -> Result<(), BenchError> {
        let wrong = |why: &str| Err(BenchError::Config(why.into()));
        let forwards = matches!(self.kind, RoomKind::Forward);
        match self.against {
            Some(Other::JanusVideoroom) if self.table || self.quick => wrong(
                "--against janus-videoroom doesn't go with --table and --quick: the table has it with --against janus",
            ),
            Some(Other::JanusVideoroom) if !forwards => {
                wrong("--against janus-videoroom forwards, and is measured beside --kind forward")
            }
            Some(Other::Janus) if forwards && !self.table && !self.quick => {
                wrong("--against janus mixes, and isn't measured beside --kind forward: take --against janus-videoroom")
            }
            _ => Ok(()),
        }
    }

    /// The cases that --n, --talkers and the like ask for.
    fn cases(&self, sizes: &[usize]) -> Vec<Case> {
        let kind = match self.kind {
            RoomKind::Mix => Kind::Mix,
            RoomKind::Spatial => Kind::Spatial,
            RoomKind::Forward => Kind::Forward,
        };
        let mut systems = vec![System::Roomtone(kind)];
        match self.against {
            Some(Other::Janus) => {
                systems.extend([System::Janus(JanusSetting::Default), System::Janus(JanusSetting::Equal)]);
            }
            Some(Other::JanusVideoroom) => systems.push(System::VideoRoom),
            None => {}
        }
        let rooms = self.rooms as usize;
        if self.talk == TalkMode::All {
            return Plan::sizes(&systems, sizes, self.talkers.unwrap_or(3), rooms);
        }
        let mut cases = Plan::turns(&systems, sizes);
        for case in &mut cases {
            case.rooms = rooms;
            case.talkers = self.talkers.unwrap_or(case.people).min(case.people);
            case.judged = !case.is_idle();
            debug_assert_eq!(case.talk, Talk::Turns);
        }
        cases
    }

    fn target(&self) -> Result<Target, BenchError> {
        let Some(url) = &self.server else {
            return Ok(Target::Own);
        };
        let wrong = |why: &str| BenchError::Config(format!("--server {url}: {why}"));
        let url = url.trim_end_matches('/');
        let (tokens, base, only_room) = match (url.split_once("/whip/"), &self.secret) {
            (None, Some(secret)) => (Tokens::Signed(secret.clone()), format!("{url}/whip"), None),
            (Some((base, room)), secret) => {
                if self.rooms > 1 {
                    return Err(wrong(
                        "that is one room: for several give the server's address and --secret",
                    ));
                }
                let tokens = secret.clone().map_or(Tokens::Same(self.token.clone()), Tokens::Signed);
                (tokens, format!("{base}/whip"), Some(room.to_owned()))
            }
            (None, None) => return Err(wrong("--secret is missing; or give the address of a room and --token")),
        };
        let door = Door::Whip {
            base,
            tokens,
            only_room,
            certificate: None,
        };
        Ok(Target::Running { door, pid: self.pid })
    }

    pub fn execute(&self) -> ExitCode {
        let fail = |error: &dyn std::fmt::Display| {
            eprintln!("roomtone-load: {error}");
            ExitCode::from(2)
        };
        let results = if self.show {
            self.kept()
        } else {
            let runtime = match runtime(2) {
                Ok(runtime) => runtime,
                Err(code) => return code,
            };
            let progress = |news: &roomtone_load::bench::News<'_>| {
                if !self.quiet {
                    eprintln!("{news}");
                }
            };
            let stop = interrupted("ending, with what there is…");
            self.config()
                .and_then(|config| runtime.block_on(run(config, progress, stop)))
        };
        let results = match results {
            Ok(results) => results,
            Err(error) => return fail(&error),
        };
        // A reader that has gone away (`| head`) doesn't change the verdict.
        let _ = writeln!(std::io::stdout(), "{}", table(&results));
        if let Some(path) = &self.svg {
            let drawn = chart(&results).map_err(|error| error.to_string());
            if let Err(error) = drawn.and_then(|svg| write(path, &svg)) {
                return fail(&error);
            }
        }
        let good = !results.samples.is_empty() && results.summaries().iter().all(|summary| summary.good);
        if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn kept(&self) -> Result<Results, BenchError> {
        let path = self.json.as_deref().unwrap_or(Path::new(""));
        let failed = |why: String| BenchError::Results {
            path: path.display().to_string(),
            why,
        };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| failed(format!("these are no results: {error}")))
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
