//! A room in which things happen by chance: what was set, who talks, and what is to be heard therefore.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use roomtone_audio::{Channels, Decoder};
use roomtone_engine::{Action, Command, GainCell, MixConfig, PeerId, RoomKind, Select, Voice};
use roomtone_testkit::fixtures::tone_hz;
use roomtone_testkit::listen::{dbfs, goertzel_amplitude};
use roomtone_testkit::peer::ClientOptions;

use crate::common::client::Client;
use crate::common::voice::Mouth;
use crate::common::{ROOM, World};

/// How loud everybody talks, dBFS: three at twice that stay below the limiter.
pub const VOICE_DBFS: f32 = -38.0;
pub const PANS: [f32; 5] = [-1.0, -0.5, 0.0, 0.3, 1.0];
pub const GAINS: [f32; 7] = [0.0, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0];
const MOST_TALKERS: usize = 3;
/// Samples at the beginning of what a listener hears (and of what they hear again after having been deaf) in which their decoder
/// finds its way.
const BEGINNING: usize = 4 * 960;

/// Enough bits that the codec's own error stays well below the half decibel that is asked for.
pub fn clear() -> MixConfig {
    MixConfig {
        bitrate: 128_000,
        private_bitrate: 128_000,
        ..MixConfig::default()
    }
}

/// A listener's gain for a speaker, and the direction (-1 left, 1 right).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    pub gain: f32,
    pub pan: f32,
}

pub const FULL: Cell = Cell { gain: 1.0, pan: 0.0 };

/// Changes cells; `None` takes one back to the default.
pub fn set_gains(cells: &BTreeMap<(PeerId, PeerId), Option<Cell>>) -> Command {
    let cells = cells
        .iter()
        .map(|((listener, speaker), cell)| GainCell {
            listener: *listener,
            speaker: *speaker,
            gain: cell.map(|cell| cell.gain),
            pan: cell.map_or(0.0, |cell| cell.pan),
        })
        .collect();
    Command::new(ROOM, Action::SetGains { cells })
}

/// The kinds of events in a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody comes, somebody goes (even during a word).
    People,
    /// A voice begins or ceases by itself, and its packets go on.
    Voices,
    /// Packets break off during a word, and come again.
    Gaps,
    Rows,
    Mutes,
    Deafness,
    /// Somebody wants automatic gain, or none: a tone, which is no speech, has none in either case.
    Treatments,
    /// The room moves to the other shard.
    Moves,
    /// Fewer may be heard at once, or all again. Nobody can say who these are, so levels aren't known any more.
    Few,
}

impl Kind {
    /// All after which it is known who hears whom.
    pub const ALL: [Kind; 8] = [
        Kind::People,
        Kind::Voices,
        Kind::Gaps,
        Kind::Rows,
        Kind::Mutes,
        Kind::Deafness,
        Kind::Treatments,
        Kind::Moves,
    ];
}

/// A room, what is set in it, and who talks.
pub struct Scene {
    pub world: World,
    pub seed: u64,
    random: StdRng,
    kinds: Vec<Kind>,
    /// There are fewer people than this.
    pub most: usize,
    /// Whether every second person asks for stereo, in a room that has it.
    stereo: bool,
    /// The shard on which the room is.
    at: usize,
    gains: BTreeMap<(PeerId, PeerId), Cell>,
    mouths: BTreeMap<PeerId, Mouth>,
    talking: BTreeSet<PeerId>,
    muted: BTreeSet<PeerId>,
    pub deaf: BTreeSet<PeerId>,
    next: PeerId,
    /// Samples of each listener's ear from times when their decoder was settling.
    finding: BTreeMap<PeerId, Vec<Range<usize>>>,
    /// Listeners who were deaf and have heard nothing since.
    recovering: BTreeMap<PeerId, usize>,
    /// People who have left, with what they heard.
    pub gone: Vec<Client>,
    /// The events so far, for the search after a failure.
    pub told: Vec<String>,
}

impl Cell {
    /// Left and right, with equal power.
    pub fn panned(self) -> [f32; 2] {
        let angle = (self.pan + 1.0) * std::f32::consts::FRAC_PI_4;
        [self.gain * angle.cos(), self.gain * angle.sin()]
    }
}

impl Scene {
    /// Four people in a room where only such things happen.
    pub fn new(seed: u64, world: World, kinds: &[Kind]) -> Scene {
        Scene::of(seed, world, kinds, false)
    }

    /// The same, in stereo for every second of them.
    pub fn in_stereo(seed: u64, mut world: World, kinds: &[Kind]) -> Scene {
        world.command(Command::new(
            ROOM,
            Action::Open {
                kind: RoomKind::Mix {
                    stereo: true,
                    auto_gain: seed.is_multiple_of(2),
                },
            },
        ));
        Scene::of(seed, world, kinds, true)
    }

    fn of(seed: u64, world: World, kinds: &[Kind], stereo: bool) -> Scene {
        let mut scene = Scene {
            world,
            seed,
            random: StdRng::seed_from_u64(seed),
            kinds: kinds.to_vec(),
            most: 7,
            stereo,
            at: 0,
            gains: BTreeMap::new(),
            mouths: BTreeMap::new(),
            talking: BTreeSet::new(),
            muted: BTreeSet::new(),
            deaf: BTreeSet::new(),
            next: 1,
            finding: BTreeMap::new(),
            recovering: BTreeMap::new(),
            gone: Vec::new(),
            told: Vec::new(),
        };
        for _ in 0..4 {
            scene.come();
        }
        scene
    }

    pub fn command(&mut self, command: Command) {
        let now = self.world.now;
        self.world.shard_at(self.at).handle_command(now, command);
        self.world.collect();
    }

    pub fn people(&self) -> Vec<PeerId> {
        self.world.clients.keys().copied().collect()
    }

    pub fn anybody(&mut self) -> PeerId {
        let people = self.people();
        people[self.random.random_range(0..people.len())]
    }

    /// How many talk.
    pub fn talkers(&self) -> usize {
        self.talking.len()
    }

    pub fn come(&mut self) {
        let id = self.next;
        self.next += 1;
        // Low ones, so that a click stands out above them.
        let taken = |hz: f32| self.world.clients.values().any(|client| client.hz == hz);
        let hz = (0..).map(tone_hz).find(|hz| !taken(*hz)).unwrap();
        let options = ClientOptions {
            stereo: self.hears_stereo(id),
            ..ClientOptions::default()
        };
        self.world.join(id, options);
        let client = self.world.clients.get_mut(&id).unwrap();
        client.dbfs = VOICE_DBFS;
        client.hz = hz;
        client.payloads = Some(Vec::new());
        let (mouth, talker) = Mouth::new(client.hz, VOICE_DBFS);
        client.talker = Some(talker);
        self.mouths.insert(id, mouth);
        self.finding.entry(id).or_default().push(0..BEGINNING);
        self.world.connect();
    }

    fn hears_stereo(&self, id: PeerId) -> bool {
        self.stereo && id.is_multiple_of(2)
    }

    fn go(&mut self) {
        let who = self.anybody();
        self.command(Command::new(ROOM, Action::Leave { peer: who }));
        self.gone.extend(self.world.clients.remove(&who));
        self.mouths.remove(&who);
        self.talking.remove(&who);
        self.muted.remove(&who);
        self.deaf.remove(&who);
        self.recovering.remove(&who);
        self.gains
            .retain(|(listener, speaker), _| *listener != who && *speaker != who);
    }

    pub fn talk_or_cease(&mut self) {
        let who = self.anybody();
        let begins = !self.talking.contains(&who);
        if begins && self.talking.len() >= MOST_TALKERS {
            return;
        }
        self.mouths[&who].open(begins);
        if begins {
            self.talking.insert(who);
        } else {
            self.talking.remove(&who);
        }
    }

    fn gap(&mut self) {
        let Some(who) = self.talking.iter().next().copied() else {
            return;
        };
        let client = self.world.clients.get_mut(&who).unwrap();
        client.talker = None;
        // A shorter one is the listener's to conceal where packets are passed on, and the ears here don't.
        let pause = self.random.random_range(120..300);
        self.world.run_ms(pause);
        let client = self.world.clients.get_mut(&who).unwrap();
        let (mouth, talker) = Mouth::new(client.hz, VOICE_DBFS);
        client.talker = Some(talker);
        mouth.open(true);
        self.mouths.insert(who, mouth);
    }

    fn change_rows(&mut self) {
        let people = self.people();
        let mut changes = BTreeMap::new();
        for listener in &people {
            for speaker in &people {
                if self.random.random_bool(0.4) {
                    let cell = self.random.random_bool(0.8).then(|| self.cell());
                    changes.insert((*listener, *speaker), cell);
                    self.gains.insert((*listener, *speaker), cell.unwrap_or(FULL));
                }
            }
        }
        self.command(set_gains(&changes));
    }

    fn cell(&mut self) -> Cell {
        let gain = GAINS[self.random.random_range(0..GAINS.len())];
        let pan = if self.stereo {
            PANS[self.random.random_range(0..PANS.len())]
        } else {
            0.0
        };
        Cell { gain, pan }
    }

    fn mute_or_unmute(&mut self) {
        let peer = self.anybody();
        let speak = self.muted.remove(&peer);
        if !speak {
            self.muted.insert(peer);
        }
        self.command(Command::new(ROOM, Action::SetSpeak { peer, speak }));
    }

    fn deafen_or_not(&mut self) {
        let peer = self.anybody();
        let listen = self.deaf.remove(&peer);
        let heard = self.heard_samples(peer);
        if listen {
            self.recovering.insert(peer, heard);
        } else {
            self.deaf.insert(peer);
            self.recovering.remove(&peer);
            let finding = self.finding.entry(peer).or_default();
            finding.push(heard.saturating_sub(960)..usize::MAX);
        }
        self.command(Command::new(ROOM, Action::SetListen { peer, listen }));
    }

    // The decoder of a listener who was deaf settles from the first packet on, whenever that comes.
    fn recover(&mut self) {
        let recovering: Vec<(PeerId, usize)> = self.recovering.iter().map(|(peer, heard)| (*peer, *heard)).collect();
        for (peer, heard) in recovering {
            let now = self.heard_samples(peer);
            if now > heard {
                self.recovering.remove(&peer);
                self.finding.get_mut(&peer).unwrap().last_mut().unwrap().end = now + BEGINNING;
            }
        }
    }

    fn heard_samples(&self, listener: PeerId) -> usize {
        self.world.clients[&listener].ear.recent(600.0).len()
    }

    // Music is left out: in stereo it is louder than a voice.
    fn treat(&mut self) {
        let peer = self.anybody();
        let voice = [Voice::Even, Voice::Plain][self.random.random_range(0..2)];
        // A tone is noise.
        let suppress = false;
        self.command(Command::new(ROOM, Action::SetVoice { peer, voice, suppress }));
    }

    fn move_away(&mut self) {
        let to = 1 - self.at;
        self.command(Command::new(ROOM, Action::Move { to }));
        self.at = to;
    }

    fn change_most(&mut self) {
        let max_talkers = [None, Some(1), Some(2)][self.random.random_range(0..3)];
        self.command(Command::new(
            ROOM,
            Action::SetPolicy {
                default_gain: 1.0,
                max_talkers,
                select: Select::default(),
            },
        ));
    }

    /// Something happens.
    pub fn step(&mut self) {
        let kind = self.kinds[self.random.random_range(0..self.kinds.len())];
        self.told.push(format!("{:?} {kind:?}", self.world.elapsed()));
        let people = self.world.clients.len();
        match kind {
            Kind::People if people < 4 || (people < self.most && self.random.random_bool(0.5)) => self.come(),
            Kind::People => self.go(),
            Kind::Voices => self.talk_or_cease(),
            Kind::Gaps => self.gap(),
            Kind::Rows => self.change_rows(),
            Kind::Mutes => self.mute_or_unmute(),
            Kind::Deafness => self.deafen_or_not(),
            Kind::Treatments => self.treat(),
            Kind::Moves => self.move_away(),
            Kind::Few => self.change_most(),
        }
        // At ever other moments of the frame.
        let pause = self.random.random_range(20..150);
        self.world.run_ms(pause);
        self.recover();
    }

    /// The gain and direction at which a listener should hear a speaker now.
    pub fn hears(&self, listener: PeerId, speaker: PeerId) -> Option<Cell> {
        let silent = !self.talking.contains(&speaker) || self.muted.contains(&speaker) || self.deaf.contains(&listener);
        let cell = self.gains.get(&(listener, speaker)).copied().unwrap_or(FULL);
        (listener != speaker && !silent && cell.gain > 0.0).then_some(cell)
    }

    /// Every tone at every listener, in each ear: row × level, and nothing else.
    pub fn check_levels(&mut self) {
        self.world.run_ms(400);
        for client in self.world.clients.values_mut() {
            client.payloads = Some(Vec::new());
        }
        self.world.run_ms(1000);
        for listener in self.people() {
            let ears = self.ears(listener);
            for speaker in self.people() {
                let client = &self.world.clients[&speaker];
                let cell = self.hears(listener, speaker);
                for (side, ear) in ears.iter().enumerate() {
                    let heard = dbfs(goertzel_amplitude(ear, client.hz)) - client.dbfs;
                    let wanted = cell.map_or(0.0, |cell| {
                        if ears.len() == 1 {
                            cell.gain
                        } else {
                            cell.panned()[side]
                        }
                    });
                    let right = if wanted < 0.01 {
                        // Codec noise of the other tones is there, 40 dB below them.
                        heard < -28.0
                    } else {
                        (heard - dbfs(wanted)).abs() < 0.5
                    };
                    let wanted = dbfs(wanted);
                    assert!(
                        right,
                        "seed {}: {listener} hears {speaker} at {heard:.2} dB, not {wanted:.2}, in ear {side} of {}; {:#?}",
                        self.seed,
                        ears.len(),
                        self.told
                    );
                }
            }
        }
    }

    // The sound since payloads are kept, one ear or two, without the beginning in which a fresh decoder settles.
    fn ears(&mut self, listener: PeerId) -> Vec<Vec<f32>> {
        let channels = if self.hears_stereo(listener) {
            Channels::Stereo
        } else {
            Channels::Mono
        };
        let payloads = self.world.clients.get_mut(&listener).unwrap().payloads.take().unwrap();
        let mut decoder = Decoder::with_channels(channels).unwrap();
        let mut pcm = Vec::new();
        for payload in payloads {
            decoder.decode(&payload, &mut pcm).unwrap();
        }
        let count = channels.count();
        let ear = |side: usize| pcm.iter().skip(side).step_by(count).copied().skip(9600).collect();
        (0..count).map(ear).collect()
    }

    /// The sound at a listener, in pieces between which their decoder had to settle.
    pub fn settled(&self, listener: PeerId) -> Vec<Vec<f32>> {
        let pcm = self.world.clients[&listener].ear.recent(600.0);
        let mut pieces = Vec::new();
        let mut from = 0;
        for range in self.finding.get(&listener).into_iter().flatten() {
            pieces.push(pcm[from..range.start.clamp(from, pcm.len())].to_vec());
            from = range.end.clamp(from, pcm.len());
        }
        pieces.push(pcm[from..].to_vec());
        pieces
    }
}
