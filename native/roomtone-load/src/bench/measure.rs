//! One measurement: a fresh server, people in, a while of talking, the counters.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::BenchError;
use super::case::{Case, EARS, Kind, System};
use super::crowd::{Crowd, Mode, Newcomer, Script, Watch};
use super::door::{Door, Tokens, person_name, room_name};
use super::janus::Janus;
use super::machine::{Busy, load_average};
use super::quality::Recording;
use super::result::Sample;
use super::roomtone::Roomtone;
use super::speech::Speech;
use super::ticks::Ticks;
use crate::run::{Usage, usage};
use crate::whip::{Session, Whip};
use roomtone_testkit::fixtures::SAMPLE_RATE;
use roomtone_testkit::peer::ClientPeer;

/// Joins under way at the same time.
const JOINS_AT_ONCE: usize = 16;
/// From the last join to the first count.
const SETTLE: Duration = Duration::from_millis(1500);
/// Before a text is judged: what was said before has died away.
const HUSH: Duration = Duration::from_millis(700);
/// After a text: the last of it is on its way.
const ECHO: Duration = Duration::from_millis(600);
/// Radius of the circle in which the people of a spatial room stand, in metres.
const CIRCLE: f64 = 2.5;

/// Who is measured: a server that somebody else has started, or one for each measurement.
#[derive(Clone, Debug)]
pub enum Target {
    /// Of the bench's own making.
    Own,
    /// One that is there.
    Running {
        /// Where WHIP is.
        door: Door,
        /// Its process, if it is on this machine.
        pid: Option<u32>,
    },
}

/// What all measurements share.
pub struct Bench {
    /// Where Roomtone's source is.
    pub repository: PathBuf,
    /// For files.
    pub folder: PathBuf,
    /// What talkers say.
    pub speech: Speech,
    /// Who is measured.
    pub target: Target,
    /// How long.
    pub time: Duration,
}

/// A server for one measurement.
enum Server {
    Roomtone(Box<Roomtone>),
    Janus(Janus),
    Other(Door, Option<u32>),
}

impl Server {
    fn door(&self) -> Door {
        match self {
            Server::Roomtone(server) => Door::Whip {
                base: format!("{}/whip", server.url),
                tokens: Tokens::Signed(server.secret.clone()),
                only_room: None,
            },
            Server::Janus(janus) => Door::Janus(janus.api.clone()),
            Server::Other(door, _) => door.clone(),
        }
    }

    fn usage(&self) -> Option<Usage> {
        match self {
            Server::Roomtone(server) => usage(server.pid),
            Server::Janus(janus) => usage(janus.pid()),
            Server::Other(_, pid) => pid.and_then(usage),
        }
    }

    async fn ticks(&mut self) -> Result<Option<Ticks>, BenchError> {
        match self {
            Server::Roomtone(server) => server.ticks().await.map(Some),
            _ => Ok(None),
        }
    }
}

/// What was counted when a measurement began or ended.
struct Reading {
    at: Instant,
    server: Option<Usage>,
    own: Option<Usage>,
    machine: Option<Busy>,
    ticks: Option<Ticks>,
}

impl Reading {
    async fn take(server: &mut Server) -> Result<Reading, BenchError> {
        Ok(Reading {
            ticks: server.ticks().await?,
            at: Instant::now(),
            server: server.usage(),
            own: usage(std::process::id()),
            machine: Busy::now(),
        })
    }
}

type Sessions = Vec<(Whip, Session)>;

/// How joining went.
#[derive(Default)]
struct Joins {
    times: Vec<Duration>,
    failures: Vec<String>,
    sessions: Sessions,
}

impl Bench {
    /// Measures a case once. With recordings of what a listener heard, if the case is judged.
    pub async fn measure(&self, case: &Case, repeat: usize) -> Result<(Sample, Vec<Recording>), BenchError> {
        let load = load_average().unwrap_or(0.0);
        let mut server = self.server(case).await?;
        self.furnish(case, &mut server).await?;
        let before = server.usage();
        let door = server.door();
        let crowd = Crowd::start(door.is_local(), IpAddr::V4(Ipv4Addr::UNSPECIFIED))
            .map_err(|error| BenchError::Config(format!("no thread: {error}")))?;
        let crowd = Arc::new(crowd);
        let begin = Instant::now();
        let mut joins = Joins::default();
        // Who talks comes first: then all others hear something from the start.
        let (talkers, listeners): (Vec<usize>, _) = (0..case.everybody()).partition(|number| is_talker(case, *number));
        for numbers in [talkers, listeners] {
            self.join(case, &door, &crowd, numbers, &mut joins).await;
        }
        let joining = begin.elapsed().as_secs_f64();
        tokio::time::sleep(SETTLE).await;
        let start = Reading::take(&mut server).await?;
        crowd.mark();
        tokio::time::sleep(self.time).await;
        let window = crowd.window().await;
        let end = Reading::take(&mut server).await?;
        let recordings = if case.judged && repeat == 0 && self.speech.real {
            self.record(case, &crowd).await
        } else {
            vec![]
        };
        if matches!(server, Server::Other(..)) {
            for (whip, session) in &joins.sessions {
                // One that was thrown out has no session to end.
                let _ = whip.delete(session).await;
            }
            crowd.leave().await;
        }
        let seconds = (end.at - start.at).as_secs_f64();
        let rate = |start: Option<Usage>, end: Option<Usage>| {
            start
                .zip(end)
                .map(|(start, end)| (end.cpu_seconds - start.cpu_seconds) / seconds)
        };
        let (cpu, own_cpu) = (rate(start.server, end.server), rate(start.own, end.own).unwrap_or(0.0));
        let busy = start.machine.zip(end.machine).map(|(start, end)| end.since(&start));
        let milliseconds = |times: &[Duration]| times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
        let lateness = start
            .ticks
            .zip(end.ticks.as_ref())
            .and_then(|(start, end)| end.since(&start));
        let sample = Sample {
            case: case.clone(),
            repeat,
            at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            load,
            joined: joins.times.len(),
            failures: joins.failures,
            ended: window.ended,
            joins_per_second: joins.times.len() as f64 / joining,
            connect_ms: milliseconds(&joins.times),
            seconds,
            cpu,
            own_cpu,
            others_cpu: busy.map(|busy| (busy - own_cpu - cpu.unwrap_or(0.0)).max(0.0)),
            rss_kb: before.zip(end.server).map(|(before, end)| (before.rss_kb, end.rss_kb)),
            packets: (window.packets_in, window.packets_out),
            lost: window.lost,
            heard: (window.heard, window.late),
            broken: (window.rejected, window.undecodable),
            latency_ms: milliseconds(&window.latencies),
            lateness,
            shed_level: end.ticks.map_or(0, |ticks| ticks.shed_level),
            quality: None,
        };
        Ok((sample, recordings))
    }

    async fn server(&self, case: &Case) -> Result<Server, BenchError> {
        match (&self.target, case.system) {
            (_, System::Janus(setting)) => {
                let janus = Janus::start(&self.folder, setting, case.rooms).await?;
                Ok(Server::Janus(janus))
            }
            (Target::Own, System::Roomtone(_)) => {
                let server = Roomtone::start(&self.repository, &self.folder).await?;
                Ok(Server::Roomtone(Box::new(server)))
            }
            (Target::Running { door, pid }, System::Roomtone(_)) => Ok(Server::Other(door.clone(), *pid)),
        }
    }

    /// Rooms of the default kind open when the first comes in.
    async fn furnish(&self, case: &Case, server: &mut Server) -> Result<(), BenchError> {
        let System::Roomtone(kind) = case.system else {
            return Ok(());
        };
        match server {
            _ if kind == Kind::Mix => Ok(()),
            Server::Roomtone(server) => {
                for room in 0..case.rooms {
                    server.open(&room_name(room), kind.name(), case.slots()).await?;
                }
                let places = if kind == Kind::Spatial { case.everybody() } else { 0 };
                for number in 0..places {
                    let room = room_name(number / case.people);
                    let place = place(number % case.people, case.people);
                    server.place(&room, &person_name(number), place).await?;
                }
                Ok(())
            }
            _ => Err(BenchError::Config(format!(
                "rooms of kind {} are opened by the bench only on a server that it starts itself: leave --server out",
                kind.name()
            ))),
        }
    }

    async fn join(&self, case: &Case, door: &Door, crowd: &Arc<Crowd>, numbers: Vec<usize>, joins: &mut Joins) {
        let turns = Arc::new(Semaphore::new(JOINS_AT_ONCE));
        let slots = case.slots();
        let mut tasks = JoinSet::new();
        for number in numbers {
            let (turns, door, crowd) = (turns.clone(), door.clone(), crowd.clone());
            let (room, script, watches) = (
                number / case.people,
                self.script(case, number),
                self.watches(case, number),
            );
            tasks.spawn(async move {
                let _turn = turns.acquire().await;
                let offered = Instant::now();
                let client = ClientPeer::new(offered, door.client(number, slots)).map_err(|error| error.to_string())?;
                let (answer, session) = door.enter(room, number, &client.offer()).await?;
                let newcomer = Newcomer {
                    number,
                    client,
                    answer,
                    offered,
                    script,
                    watches,
                };
                Ok::<_, String>((crowd.join(newcomer).await?, session))
            });
        }
        while let Some(outcome) = tasks.join_next().await {
            match outcome {
                Ok(Ok((time, session))) => {
                    joins.times.push(time);
                    joins.sessions.extend(session);
                }
                Ok(Err(why)) if joins.failures.contains(&why) => {}
                Ok(Err(why)) => joins.failures.push(why),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
        }
    }

    fn script(&self, case: &Case, number: usize) -> Option<Script> {
        let voices = &self.speech.voices;
        let place = number % case.people;
        // Each voice has one beep: only so many talkers of a room have one of their own.
        let beeps = place < voices.len();
        let voice = &voices[place % voices.len()];
        let talk = if beeps { &voice.beeping } else { &voice.talk };
        is_talker(case, number).then(|| Script {
            talk: talk.clone().starting_at(usize::from(rand::random::<u16>())),
            beeps: if beeps { voice.beeps.clone() } else { [].into() },
            quiet: voice.quiet.clone(),
        })
    }

    /// Whose beeps a participant listens for, if it has ears.
    fn watches(&self, case: &Case, number: usize) -> Option<Vec<Watch>> {
        if !ears(case).contains(&number) {
            return None;
        }
        let first = number - number % case.people;
        let watched = self.speech.voices.iter().take(case.talkers).enumerate();
        Some(
            watched
                .map(|(place, voice)| Watch::new(first + place, voice.hz))
                .filter(|watch| watch.talker != number)
                .collect(),
        )
    }

    /// Each voice says its text while the others keep quiet.
    async fn record(&self, case: &Case, crowd: &Crowd) -> Vec<Recording> {
        let Some(ear) = ears(case).into_iter().next() else {
            return vec![];
        };
        crowd.mode(Mode::Quiet);
        let mut recordings = Vec::new();
        for (index, voice) in self.speech.voices.iter().enumerate() {
            tokio::time::sleep(HUSH).await;
            crowd.forget();
            crowd.say(index % case.talkers, voice.judged.clone()).await;
            tokio::time::sleep(ECHO).await;
            let seconds = voice.said.len() as f32 / SAMPLE_RATE as f32 + (HUSH + ECHO).as_secs_f32();
            recordings.push(Recording {
                said: voice.said.to_vec(),
                sent: voice.sent.to_vec(),
                heard: crowd.heard(ear, seconds).await,
            });
        }
        recordings
    }
}

fn is_talker(case: &Case, number: usize) -> bool {
    number % case.people < case.talkers
}

/// Who listens closely: listeners of the first room, or of the first few.
fn ears(case: &Case) -> Vec<usize> {
    if case.is_idle() {
        return vec![];
    }
    if case.rooms > 1 {
        return (1..=case.rooms.min(EARS)).map(|room| room * case.people - 1).collect();
    }
    let listeners = case.talkers..case.people;
    if listeners.is_empty() {
        (0..case.people.min(EARS)).collect()
    } else {
        listeners.take(EARS).collect()
    }
}

/// A place of one's own in the circle, none near another: as the seeds of a sunflower.
fn place(index: usize, of: usize) -> (f64, f64) {
    let radius = CIRCLE * ((index as f64 + 0.5) / of as f64).sqrt();
    let angle = index as f64 * std::f64::consts::PI * (3.0 - 5f64.sqrt());
    (radius * angle.cos(), radius * angle.sin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ears_are_where_something_is_to_be_heard() {
        let mix = System::Roomtone(Kind::Mix);
        assert_eq!(ears(&Case::room(mix, 10, 3)), [3, 4, 5, 6]);
        assert_eq!(ears(&Case::room(mix, 3, 3)), [0, 1, 2]);
        assert!(ears(&Case::room(mix, 3, 0)).is_empty());
        let rooms = Case {
            rooms: 100,
            ..Case::room(mix, 5, 1)
        };
        assert_eq!(ears(&rooms), [4, 9, 14, 19]);
        assert!(ears(&rooms).iter().all(|ear| !is_talker(&rooms, *ear)));
    }

    #[test]
    fn nobody_stands_where_another_stands() {
        let places: Vec<(f64, f64)> = (0..50).map(|index| place(index, 50)).collect();
        for (index, a) in places.iter().enumerate() {
            assert!(a.0.hypot(a.1) <= CIRCLE);
            assert!(places[..index].iter().all(|b| (a.0 - b.0).hypot(a.1 - b.1) > 0.3));
        }
    }
}
