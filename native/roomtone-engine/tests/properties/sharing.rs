//! Whether listeners who hear the same share a mix and its encode, or each has their own: it sounds the same.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use roomtone_engine::{Action, Command, MixConfig, PeerId};
use roomtone_testkit::listen::{dbfs, goertzel_amplitude};
use roomtone_testkit::peer::ClientOptions;

use crate::common::voice::Mouth;
use crate::common::{ROOM, World};
use crate::scene::{Cell, set_gains};

const PEOPLE: PeerId = 6;
const TALKERS: PeerId = 3;
/// One of these hears a voice at -34 dBFS at the least: never quiet enough for an output to become another.
const GAINS: [f32; 4] = [0.6, 1.0, 1.5, 2.0];
const VOICE_DBFS: f32 = -30.0;

/// A world, and all of what each has heard in it.
struct Story {
    world: World,
    random: StdRng,
    mouths: BTreeMap<PeerId, Mouth>,
    /// Whether each talks now.
    open: BTreeMap<PeerId, bool>,
}

impl Story {
    /// `bitrate`: of every mix, so that a shared one is encoded as others are.
    fn new(seed: u64, share: bool, bitrate: u32) -> Story {
        let complexity = if bitrate < MixConfig::CELT_BITRATE { 5 } else { 0 };
        let mut story = Story {
            world: World::with(MixConfig {
                share,
                pass_through: false,
                bitrate,
                private_bitrate: bitrate,
                private_complexity: complexity,
                shared_complexity: complexity,
                ..MixConfig::default()
            }),
            random: StdRng::seed_from_u64(seed),
            mouths: BTreeMap::new(),
            open: BTreeMap::new(),
        };
        for id in 1..=PEOPLE {
            story.join(id);
        }
        story.world.connect();
        // Everybody's ear begins in the same moment, whenever the handshakes ended.
        let now = story.world.elapsed().as_millis() as u64;
        story.world.run_ms(2000 - now);
        for id in 1..=TALKERS {
            story.talk(id, true);
        }
        story.world.run_ms(300);
        story
    }

    fn join(&mut self, id: PeerId) {
        self.world.join(id, ClientOptions::default());
        let client = self.world.clients.get_mut(&id).unwrap();
        client.dbfs = VOICE_DBFS;
        let (mouth, talker) = Mouth::new(client.hz, VOICE_DBFS);
        client.talker = (id <= TALKERS).then_some(talker);
        self.mouths.insert(id, mouth);
    }

    fn talk(&mut self, id: PeerId, open: bool) {
        self.mouths[&id].open(open);
        self.open.insert(id, open);
    }

    /// Everybody gets another row; or all but 5, who from now on hears of everybody what 4 hears, with the history of another row.
    fn rows(&mut self, two_alike: bool) {
        let mut cells = BTreeMap::new();
        for listener in 1..=PEOPLE {
            for speaker in 1..=TALKERS {
                let gain = GAINS[self.random.random_range(0..GAINS.len())];
                cells.insert((listener, speaker), Some(Cell { gain, pan: 0.0 }));
            }
        }
        if two_alike {
            for speaker in 1..=TALKERS {
                cells.insert((5, speaker), cells[&(4, speaker)]);
            }
        }
        self.world.command(set_gains(&cells));
    }

    /// All hear all alike.
    fn equal_rows(&mut self) {
        let pairs = (1..=PEOPLE + 1).flat_map(|listener| (1..=TALKERS).map(move |speaker| ((listener, speaker), None)));
        self.world.command(set_gains(&pairs.collect()));
    }

    /// Somebody pauses, or goes on; two talk at any time, so that each listener hears somebody.
    fn pause_or_go_on(&mut self) {
        let id = self.random.random_range(1..=TALKERS);
        let resting = self.open.iter().find(|(_, open)| !**open).map(|(id, _)| *id);
        match resting {
            Some(resting) => self.talk(resting, true),
            None => self.talk(id, false),
        }
    }

    fn everybody(&mut self, open: bool) {
        for id in 1..=TALKERS {
            self.talk(id, open);
        }
    }

    /// The sound at each listener since then.
    fn heard(&mut self) -> BTreeMap<PeerId, Vec<f32>> {
        let heard = |client: &mut crate::common::Client| {
            let pcm = client.ear.recent(60.0);
            client.ear.clear();
            pcm
        };
        self.world
            .clients
            .iter_mut()
            .map(|(id, client)| (*id, heard(client)))
            .collect()
    }

    /// Encodes of a tick, over some time.
    fn encodes(&mut self, ms: u64) -> u64 {
        let count = |world: &World| (world.shard.stats().frames_encoded, world.shard.stats().ticks);
        let before = count(&self.world);
        self.world.run_ms(ms);
        let after = count(&self.world);
        let (encodes, ticks) = (after.0 - before.0, after.1 - before.1);
        assert_eq!(encodes % ticks, 0, "as many in each tick");
        encodes / ticks
    }
}

/// How far two sounds are apart, in dB of the first.
fn difference(with: &[f32], without: &[f32]) -> f64 {
    assert_eq!(with.len(), without.len());
    let power = |pcm: &mut dyn Iterator<Item = f32>| pcm.map(|s| f64::from(s * s)).sum::<f64>();
    let apart = power(&mut with.iter().zip(without).map(|(a, b)| a - b));
    10.0 * (apart / power(&mut with.iter().copied())).max(1e-20).log10()
}

// While sound goes on: rows that part and are equal again, talkers who pause, people who come and go.
fn before_any_merge(seed: u64, bitrate: u32) -> [Story; 2] {
    let mut stories = [true, false].map(|share| {
        let mut story = Story::new(seed, share, bitrate);
        for round in 0..12 {
            match round {
                0 | 6 => story.rows(false),
                3 | 9 => story.rows(true),
                5 => story.world.command(Command::new(ROOM, Action::Leave { peer: PEOPLE })),
                8 => {
                    story.join(PEOPLE + 1);
                    story.world.connect();
                }
                _ => story.pause_or_go_on(),
            }
            let pause = story.random.random_range(50..400);
            story.world.run_ms(pause);
        }
        story
    });
    let [with, without] = stories.each_mut().map(Story::heard);
    for listener in 1..PEOPLE {
        let db = difference(&with[&listener], &without[&listener]);
        assert!(
            db < -60.0,
            "seed {seed}, {bitrate} bit/s: {listener} hears a difference of {db:.1} dB"
        );
    }
    let [with, without] = stories.each_ref().map(|story| story.world.shard.stats());
    assert!(with.frames_encoded < with.packets_sent, "nothing was shared");
    assert_eq!(without.frames_encoded, without.packets_sent, "each has their own");
    stories
}

#[test]
fn sharing_cannot_be_heard() {
    for seed in crate::seeds(0..3) {
        before_any_merge(seed, 32_000);
        before_any_merge(seed, 64_000);
    }
}

/// After a silence who hears the same has one encoder, which has the history of one of those that there were. It takes other decisions than the others
/// would have taken, and what differs is the codec's own noise: as far below the sound as that is at this bit rate, and the same levels.
#[test]
fn after_a_silence_it_sounds_the_same_too() {
    for (bitrate, noise) in [(32_000, -18.0), (64_000, -30.0)] {
        for seed in crate::seeds(10..13) {
            let mut stories = before_any_merge(seed, bitrate);
            let mut encodes = Vec::new();
            let heard = stories.each_mut().map(|story| {
                story.everybody(false);
                story.equal_rows();
                story.world.run_ms(1000);
                for id in 1..TALKERS {
                    story.talk(id, true);
                }
                story.world.run_ms(200);
                story.heard();
                // A talker who pauses hears what listeners hear, and parts from them again.
                encodes.push(story.encodes(500));
                story.talk(TALKERS, true);
                story.world.run_ms(200);
                encodes.push(story.encodes(500));
                story.heard()
            });
            assert_eq!(encodes, [3, 4, 6, 6], "seed {seed}");
            let [with, without] = heard;
            for listener in (1..=PEOPLE + 1).filter(|id| *id != PEOPLE) {
                let (with, without) = (&with[&listener], &without[&listener]);
                let db = difference(with, without);
                assert!(
                    db < noise,
                    "seed {seed}, {bitrate} bit/s: {listener} hears a difference of {db:.1} dB"
                );
                for speaker in (1..=TALKERS).filter(|speaker| *speaker != listener) {
                    let hz = stories[0].world.clients[&speaker].hz;
                    let level = |pcm: &[f32]| dbfs(goertzel_amplitude(&pcm[pcm.len() / 2..], hz));
                    let (with, without) = (level(with), level(without));
                    assert!(
                        (with - without).abs() < 0.5 && (with - VOICE_DBFS).abs() < 1.0,
                        "seed {seed}, {bitrate} bit/s: {listener} hears {speaker} at {with:.2}, without sharing {without:.2}"
                    );
                }
            }
        }
    }
}
