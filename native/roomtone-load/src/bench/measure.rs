//! One measurement: a fresh server, people in, a while of talking, the counters.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::BenchError;
use super::case::{Case, EARS, Kind, Noise, System, Talk};
use super::conversation::Conversation;
use super::crowd::{Crowd, Mode, Newcomer, Script, Watch};
use super::door::{Door, Entry, Tokens, person_name, room_name};
use super::janus::{AudioBridge, Janus, Role, VideoRoom};
use super::lines::Turns;
use super::machine::{Busy, load_average};
use super::quality::Recording;
use super::result::Sample;
use super::roomtone::Roomtone;
use super::speech::{Speech, Voice};
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
/// Different conversations at the same time; where there are more rooms, several have the same at another time.
const CONVERSATIONS: usize = 8;
/// From one room to the next, in packets: no two of them take turns in step.
const APART: u32 = 37;
/// Radius of the circle in which the people of a spatial room stand, in metres.
const CIRCLE: f64 = 2.5;

/// The server that is measured: one that somebody else has started, or one for each measurement.
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

/// State that all measurements share.
pub struct Bench {
    /// Where Roomtone's source is.
    pub repository: PathBuf,
    /// For files.
    pub folder: PathBuf,
    /// The talkers' speech, over the noise of each case.
    pub speeches: Vec<(Noise, Speech)>,
    /// Decides who takes turns when.
    pub seed: u64,
    /// The server that is measured.
    pub target: Target,
    /// How long.
    pub time: Duration,
}

/// A server for one measurement.
enum Server {
    Roomtone(Box<Roomtone>),
    Janus(Janus, System),
    Other(Door, Option<u32>),
}

impl Server {
    fn door(&self) -> Door {
        match self {
            Server::Roomtone(server) => Door::Whip {
                base: format!("{}/whip", server.url),
                tokens: Tokens::Signed(server.secret.clone()),
                only_room: None,
                certificate: server.certificate.clone(),
            },
            Server::Janus(janus, System::Janus(setting)) => Door::Janus(AudioBridge {
                api: janus.api.clone(),
                setting: *setting,
            }),
            Server::Janus(janus, _) => Door::VideoRoom(VideoRoom { api: janus.api.clone() }),
            Server::Other(door, _) => door.clone(),
        }
    }

    fn usage(&self) -> Option<Usage> {
        match self {
            Server::Roomtone(server) => usage(server.pid),
            Server::Janus(janus, _) => usage(janus.pid()),
            Server::Other(_, pid) => pid.and_then(usage),
        }
    }

    /// Keeps its BEAM busy from now on.
    async fn load(&mut self) -> Result<(), BenchError> {
        match self {
            Server::Roomtone(server) => server.load().await,
            _ => Err(BenchError::Config(
                "only the BEAM of a server that the bench starts itself can be put under load: leave --server out"
                    .into(),
            )),
        }
    }

    async fn ticks(&mut self) -> Result<Option<Ticks>, BenchError> {
        match self {
            Server::Roomtone(server) => server.ticks().await.map(Some),
            _ => Ok(None),
        }
    }
}

/// Counts at the beginning or end of a measurement.
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
    /// Connections of each participant that are there.
    connected: HashMap<usize, usize>,
    failures: Vec<String>,
    sessions: Sessions,
}

impl Joins {
    /// How many participants have all of their connections.
    fn people(&self, case: &Case) -> usize {
        let complete = |(person, count): &(&usize, &usize)| **count == connections(case, **person);
        self.connected.iter().filter(complete).count()
    }
}

impl Bench {
    /// Measures a case once. With recordings of what a listener heard, if the case is judged.
    pub async fn measure(&self, case: &Case, repeat: usize) -> Result<(Sample, Vec<Recording>), BenchError> {
        let load = load_average().unwrap_or(0.0);
        let conversations = self.conversations(case, repeat);
        let cast = self.cast(case, &conversations)?;
        let mut server = self.server(case).await?;
        self.furnish(case, &mut server).await?;
        let before = server.usage();
        let door = server.door();
        let crowd = Crowd::start(door.is_local(), IpAddr::V4(Ipv4Addr::UNSPECIFIED))
            .map_err(|error| BenchError::Config(format!("no thread: {error}")))?;
        let crowd = Arc::new(crowd);
        let begin = Instant::now();
        let mut joins = Joins::default();
        for entries in entries(case) {
            self.join(case, &cast, &door, &crowd, entries, &mut joins).await;
        }
        let joining = begin.elapsed().as_secs_f64();
        if case.burdened {
            server.load().await?;
        }
        crowd.begin(Instant::now() + SETTLE);
        tokio::time::sleep(SETTLE).await;
        let start = Reading::take(&mut server).await?;
        crowd.mark();
        tokio::time::sleep(self.time).await;
        let window = crowd.window().await;
        let end = Reading::take(&mut server).await?;
        let recordings = if case.judged && repeat == 0 && self.speech(case).real {
            let mut recordings = self.record(case, &crowd).await;
            recordings.extend(self.record_together(case, &crowd).await);
            recordings
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
            .as_ref()
            .zip(end.ticks.as_ref())
            .and_then(|(start, end)| end.since(start));
        let passed = start
            .ticks
            .as_ref()
            .zip(end.ticks.as_ref())
            .and_then(|(start, end)| end.passed(start));
        let sample = Sample {
            case: case.clone(),
            repeat,
            at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            load,
            joined: joins.people(case),
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
            alone_ms: milliseconds(&window.alone),
            together_ms: milliseconds(&window.together),
            shares: conversations.first().map(Conversation::shares),
            passed,
            lateness,
            burden: end.ticks.as_ref().and_then(Ticks::burden),
            shed_level: end.ticks.map_or(0, |ticks| ticks.shed_level),
            quality: None,
        };
        Ok((sample, recordings))
    }

    async fn server(&self, case: &Case) -> Result<Server, BenchError> {
        match (&self.target, case.system) {
            (_, system @ (System::Janus(_) | System::VideoRoom)) => {
                let janus = Janus::start(&self.folder, case).await?;
                Ok(Server::Janus(janus, system))
            }
            (Target::Own, System::Roomtone(_)) => {
                let server = Roomtone::start(&self.repository, &self.folder, case.way).await?;
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

    fn speech(&self, case: &Case) -> &Speech {
        let of_noise = self.speeches.iter().find(|speech| speech.0 == case.noise);
        &of_noise.unwrap_or(&self.speeches[0]).1
    }

    /// The same for all systems; another in each repetition.
    fn conversations(&self, case: &Case, repeat: usize) -> Vec<Conversation> {
        if case.talk == Talk::All || case.is_idle() {
            return vec![];
        }
        let frames = (self.time.as_secs_f64() * 50.0).round().max(1.0) as u32;
        let number = |room: usize| self.seed + (repeat * CONVERSATIONS + room) as u64;
        (0..case.rooms.min(CONVERSATIONS))
            .map(|room| Conversation::typical(case.talkers, frames, number(room)))
            .collect()
    }

    /// The parts of the talkers in the conversations, by conversation and place.
    fn cast(&self, case: &Case, conversations: &[Conversation]) -> Result<Vec<Vec<Turns>>, BenchError> {
        let voices = &self.speech(case).voices;
        let part = |conversation: &Conversation, place: usize| {
            Turns::new(conversation, place, &voices[place % voices.len()], place < voices.len())
        };
        let parts = conversations.iter().map(|conversation| {
            let parts: Result<Vec<Turns>, _> = (0..case.talkers).map(|place| part(conversation, place)).collect();
            Ok(parts?)
        });
        parts.collect()
    }

    async fn join(
        &self,
        case: &Case,
        cast: &[Vec<Turns>],
        door: &Door,
        crowd: &Arc<Crowd>,
        entries: Vec<Entry>,
        joins: &mut Joins,
    ) {
        let turns = Arc::new(Semaphore::new(JOINS_AT_ONCE));
        let slots = case.slots();
        let mut tasks = JoinSet::new();
        for entry in entries {
            let (turns, door, crowd) = (turns.clone(), door.clone(), crowd.clone());
            let way = case.way;
            let (script, watches) = (self.script(case, cast, &entry), self.watches(case, &entry));
            tasks.spawn(async move {
                let _turn = turns.acquire().await;
                let (number, person, offered) = (entry.number, entry.person, Instant::now());
                let client = ClientPeer::new(offered, door.client(person, slots)).map_err(|error| error.to_string())?;
                let (answer, session) = door.enter(&entry, &client.offer()).await?;
                let line = door.line(way, &answer, session.as_ref()).await?;
                let newcomer = Newcomer {
                    number,
                    client,
                    answer,
                    line,
                    offered,
                    script,
                    watches,
                };
                Ok::<_, String>((person, crowd.join(newcomer).await?, session))
            });
        }
        while let Some(outcome) = tasks.join_next().await {
            match outcome {
                Ok(Ok((person, time, session))) => {
                    joins.times.push(time);
                    *joins.connected.entry(person).or_default() += 1;
                    joins.sessions.extend(session);
                }
                Ok(Err(why)) if joins.failures.contains(&why) => {}
                Ok(Err(why)) => joins.failures.push(why),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
        }
    }

    /// The sound that the connection sends, if that is its part.
    fn script(&self, case: &Case, cast: &[Vec<Turns>], entry: &Entry) -> Option<Script> {
        if !is_talker(case, entry.person) || matches!(entry.role, Some(Role::Subscribe(_))) {
            return None;
        }
        let voices = &self.speech(case).voices;
        let (room, place) = (entry.room, entry.person % case.people);
        // Each voice has one beep: only so many talkers of a room have one of their own.
        let beeps = place < voices.len();
        let voice = &voices[place % voices.len()];
        let talk = if beeps { &voice.beeping } else { &voice.talk };
        let turns = (!cast.is_empty()).then(|| &cast[room % cast.len()]);
        let turns = turns.and_then(|parts| parts.get(place)).cloned();
        Some(Script {
            talk: talk.clone().starting_at(usize::from(rand::random::<u16>())),
            beeps: if beeps { voice.beeps.clone() } else { [].into() },
            quiet: voice.quiet.clone().starting_at(usize::from(rand::random::<u16>())),
            turns: turns.map(|turns| turns.shifted(room as u32 * APART)),
            dtx: case.noise == Noise::Dtx,
        })
    }

    /// The talkers whose beeps a connection listens for, if it has ears.
    fn watches(&self, case: &Case, entry: &Entry) -> Option<Vec<Watch>> {
        if !ears(case).contains(&entry.person) || matches!(entry.role, Some(Role::Publish(_))) {
            return None;
        }
        let first = entry.room * case.people;
        let watched = self.speech(case).voices.iter().take(case.talkers).enumerate();
        Some(
            watched
                .map(|(place, voice)| Watch::new(first + place, voice.hz))
                .filter(|watch| watch.talker != entry.person)
                .collect(),
        )
    }

    /// Each voice says its text while the others keep quiet.
    async fn record(&self, case: &Case, crowd: &Crowd) -> Vec<Recording> {
        let Some(ear) = ears(case).into_iter().next() else {
            return vec![];
        };
        let ear_number = receiving(case, ear);
        let speakers: Vec<usize> = (0..case.talkers).filter(|talker| *talker != ear).collect();
        if speakers.is_empty() {
            return vec![];
        }
        crowd.mode(Mode::Quiet);
        let mut recordings = Vec::new();
        for (index, voice) in self.speech(case).voices.iter().enumerate() {
            tokio::time::sleep(HUSH).await;
            crowd.forget();
            let speaker = speakers[index % speakers.len()];
            crowd.say(vec![(speaker, voice.judged.clone())]).await;
            tokio::time::sleep(ECHO).await;
            let seconds = voice.said.len() as f32 / SAMPLE_RATE as f32 + (HUSH + ECHO).as_secs_f32();
            recordings.push(Recording {
                said: vec![voice.said.clone()],
                sent: vec![voice.sent.clone()],
                heard: crowd.heard(ear_number, seconds).await,
            });
        }
        recordings
    }

    /// As many voices as there are talkers say their texts at the same time.
    async fn record_together(&self, case: &Case, crowd: &Crowd) -> Option<Recording> {
        let ear = ears(case).into_iter().next()?;
        let speakers = (0..case.talkers).filter(|talker| *talker != ear);
        let pairs: Vec<(usize, &Voice)> = speakers.zip(&self.speech(case).voices).collect();
        if case.talk == Talk::Turns || pairs.len() < 2 {
            return None;
        }
        crowd.mode(Mode::Quiet);
        tokio::time::sleep(HUSH).await;
        crowd.forget();
        let texts = pairs.iter().map(|(speaker, voice)| (*speaker, voice.judged.clone()));
        crowd.say(texts.collect()).await;
        tokio::time::sleep(ECHO).await;
        let longest = pairs.iter().map(|pair| pair.1.said.len()).max().unwrap_or(0);
        let seconds = longest as f32 / SAMPLE_RATE as f32 + (HUSH + ECHO).as_secs_f32();
        Some(Recording {
            said: pairs.iter().map(|pair| pair.1.said.clone()).collect(),
            sent: pairs.iter().map(|pair| pair.1.sent.clone()).collect(),
            heard: crowd.heard(receiving(case, ear), seconds).await,
        })
    }
}

fn is_talker(case: &Case, number: usize) -> bool {
    number % case.people < case.talkers
}

/// How many connections a participant has.
fn connections(case: &Case, person: usize) -> usize {
    match case.system {
        System::VideoRoom if is_talker(case, person) && case.talkers > 1 => 2,
        _ => 1,
    }
}

/// The number of the connection over which somebody hears.
fn receiving(case: &Case, person: usize) -> usize {
    match connections(case, person) {
        1 => person,
        _ => case.everybody() + person,
    }
}

/// All connections, in the order in which they are made: who talks comes first, so that all others hear something from the start, and
/// can subscribe to it.
fn entries(case: &Case) -> Vec<Vec<Entry>> {
    let entry = |number: usize, person: usize, role: Option<Role>| Entry {
        number,
        person,
        room: person / case.people,
        role,
    };
    let (talkers, listeners): (Vec<usize>, Vec<usize>) =
        (0..case.everybody()).partition(|person| is_talker(case, *person));
    if case.system != System::VideoRoom {
        let all = |people: Vec<usize>| people.into_iter().map(|person| entry(person, person, None)).collect();
        return vec![all(talkers), all(listeners)];
    }
    let publish = |person: usize| entry(person, person, Some(Role::Publish(person % case.people)));
    let subscribe = |person: usize| {
        let others = (0..case.talkers).filter(|talker| *talker != person % case.people);
        entry(receiving(case, person), person, Some(Role::Subscribe(others.collect())))
    };
    let hearing = talkers.iter().filter(|person| connections(case, **person) > 1);
    vec![
        talkers.iter().copied().map(publish).collect(),
        hearing.chain(&listeners).copied().map(subscribe).collect(),
    ]
}

/// The close listeners: those of the first room, or of the first few.
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
    fn a_forwarder_of_janus_has_a_second_connection_for_what_talkers_hear() {
        let case = Case::room(System::VideoRoom, 5, 2);
        let [first, second] = entries(&case).try_into().unwrap();
        let roles = |entries: &[Entry]| -> Vec<(usize, usize, Role)> {
            let role = |entry: &Entry| (entry.number, entry.person, entry.role.clone().unwrap());
            entries.iter().map(role).collect()
        };
        assert_eq!(roles(&first), [(0, 0, Role::Publish(0)), (1, 1, Role::Publish(1))]);
        let both = || Role::Subscribe(vec![0, 1]);
        assert_eq!(
            roles(&second),
            [
                (5, 0, Role::Subscribe(vec![1])),
                (6, 1, Role::Subscribe(vec![0])),
                (2, 2, both()),
                (3, 3, both()),
                (4, 4, both())
            ]
        );
        assert_eq!((receiving(&case, 1), receiving(&case, 4)), (6, 4));
        let mut joins = Joins::default();
        for entry in first.iter().chain(&second[1..]) {
            *joins.connected.entry(entry.person).or_default() += 1;
        }
        assert_eq!(joins.people(&case), 4, "the first doesn't hear");
        // The only talker hears nobody; elsewhere one connection is enough.
        assert_eq!(entries(&Case::room(System::VideoRoom, 3, 1)).concat().len(), 3);
        assert_eq!(
            entries(&Case::room(System::Roomtone(Kind::Mix), 5, 2)).concat().len(),
            5
        );
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
