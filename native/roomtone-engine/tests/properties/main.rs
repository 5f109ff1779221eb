//! Whatever happens in a room: what is true of its sound all the same.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{ROOM, World};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use roomtone_engine::{Command, GainCell, MixConfig, PeerId};
use roomtone_load::peer::ClientOptions;

/// Enough bits that the codec's own error stays well below the half decibel that is asked for.
fn clear() -> MixConfig {
    MixConfig {
        bitrate: 128_000,
        private_bitrate: 128_000,
        ..MixConfig::default()
    }
}

const GAINS: [f32; 7] = [0.0, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0];

fn set(world: &mut World, cells: &BTreeMap<(PeerId, PeerId), Option<f32>>) {
    let cells = cells
        .iter()
        .map(|((listener, speaker), gain)| GainCell {
            listener: *listener,
            speaker: *speaker,
            gain: *gain,
            pan: 0.0,
        })
        .collect();
    world.command(Command::SetGains { room: ROOM, cells });
}

/// A room, what is set in it, and who talks.
struct Scene {
    world: World,
    random: StdRng,
    gains: BTreeMap<(PeerId, PeerId), f32>,
    talking: BTreeSet<PeerId>,
    next: PeerId,
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let mut scene = Scene {
            world: World::with(clear()),
            random: StdRng::seed_from_u64(seed),
            gains: BTreeMap::new(),
            talking: BTreeSet::new(),
            next: 1,
        };
        for _ in 0..4 {
            scene.come();
        }
        scene
    }

    fn people(&self) -> Vec<PeerId> {
        self.world.clients.keys().copied().collect()
    }

    fn come(&mut self) {
        self.world.join(self.next, ClientOptions::default());
        self.next += 1;
        self.world.connect();
    }

    fn go(&mut self) {
        let people = self.people();
        let who = people[self.random.random_range(0..people.len())];
        self.world.command(Command::Leave { room: ROOM, peer: who });
        self.world.clients.remove(&who);
        self.talking.remove(&who);
        self.gains
            .retain(|(listener, speaker), _| *listener != who && *speaker != who);
    }

    fn talk_or_cease(&mut self) {
        let people = self.people();
        let who = people[self.random.random_range(0..people.len())];
        if !self.talking.remove(&who) && self.talking.len() < 3 {
            self.talking.insert(who);
            self.world.talk(who, -38.0);
        } else {
            self.world.clients.get_mut(&who).unwrap().talker = None;
        }
    }

    fn change_rows(&mut self) {
        let people = self.people();
        let mut cells = BTreeMap::new();
        for listener in &people {
            for speaker in &people {
                if self.random.random_bool(0.4) {
                    let gain = GAINS[self.random.random_range(0..GAINS.len())];
                    let gain = self.random.random_bool(0.8).then_some(gain);
                    cells.insert((*listener, *speaker), gain);
                    self.gains.insert((*listener, *speaker), gain.unwrap_or(1.0));
                }
            }
        }
        set(&mut self.world, &cells);
    }

    /// Something happens.
    fn step(&mut self) {
        let people = self.world.clients.len();
        match self.random.random_range(0..8) {
            0 if people < 7 => self.come(),
            1 if people > 3 => self.go(),
            2..=4 => self.talk_or_cease(),
            _ => self.change_rows(),
        }
        // At ever other moments of the frame.
        let pause = self.random.random_range(20..150);
        self.world.run_ms(pause);
    }

    fn gain(&self, listener: PeerId, speaker: PeerId) -> f32 {
        if listener == speaker {
            return 0.0;
        }
        self.gains.get(&(listener, speaker)).copied().unwrap_or(1.0)
    }

    /// Every tone at every listener: row × level, and nothing else.
    fn check_levels(&mut self, seed: u64) {
        self.world.run_ms(400);
        // An ear remembers what came last, also when nothing comes any more.
        self.world.clients.values_mut().for_each(|client| client.ear.clear());
        self.world.run_ms(900);
        for listener in self.people() {
            for speaker in self.people() {
                let heard = self.world.heard_db(listener, speaker, 0.8);
                let gain = self.gain(listener, speaker);
                if gain == 0.0 || !self.talking.contains(&speaker) {
                    // What Opus makes of other tones is found there, 40 dB below these.
                    assert!(
                        heard < -28.0,
                        "seed {seed}: {listener} hears {speaker} at {heard:.1} dB"
                    );
                } else {
                    let wanted = 20.0 * gain.log10();
                    assert!(
                        (heard - wanted).abs() < 0.5,
                        "seed {seed}: {listener} hears {speaker} at {heard:.2} dB, not {wanted:.2}"
                    );
                }
            }
        }
    }
}

#[test]
fn whatever_happens_levels_are_row_times_level_and_numbers_go_on() {
    for seed in 0..3 {
        let mut scene = Scene::new(seed);
        for _round in 0..3 {
            for _ in 0..8 {
                scene.step();
            }
            scene.check_levels(seed);
        }
        for client in scene.world.clients.values() {
            client.assert_continuous();
        }
    }
}

#[test]
fn whatever_happens_nothing_clicks() {
    for seed in 10..12 {
        let mut scene = Scene::new(seed);
        scene.talk_or_cease();
        scene.talk_or_cease();
        for _ in 0..25 {
            scene.step();
        }
        // Three tones at once, each twice as loud as it is spoken, as steep as the highest of them.
        let steepest = 10f32.powf(-38.0 / 20.0) * std::f32::consts::TAU / 48_000.0;
        let hz = scene.world.clients.values().map(|client| client.hz).fold(0.0, f32::max);
        let usual = 3.0 * 2.0 * steepest * hz;
        for client in scene.world.clients.values() {
            let pcm = client.ear.recent(60.0);
            let step = pcm.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
            assert!(
                step < 1.5 * usual,
                "seed {seed}: {} hears a step of {step}, of {usual} at most",
                client.id
            );
        }
    }
}

/// What each heard, frame by frame, of the same story with and without sharing.
fn story(seed: u64, share: bool) -> BTreeMap<PeerId, Vec<f32>> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::with(MixConfig {
        share,
        // As otherwise what is shared is encoded with more care.
        private_bitrate: 32_000,
        private_complexity: 5,
        shared_complexity: 5,
        ..MixConfig::default()
    });
    let people: u64 = 6;
    for id in 1..=people {
        world.join(id, ClientOptions::default());
    }
    world.connect();
    // Everybody's ear begins in the same moment, whenever the handshakes ended.
    world.run_ms(2000 - world.elapsed().as_millis() as u64 % 20);
    for id in 1..=3 {
        world.talk(id, -30.0);
    }
    for _ in 0..10 {
        let mut cells = BTreeMap::new();
        for listener in 1..=people {
            for speaker in 1..=3 {
                if random.random_bool(0.2) {
                    cells.insert((listener, speaker), Some(GAINS[random.random_range(0..GAINS.len())]));
                }
            }
        }
        set(&mut world, &cells);
        world.run_ms(200);
    }
    if share {
        let stats = world.shard.stats();
        assert!(stats.frames_encoded < stats.packets_sent, "nothing was shared");
    } else {
        assert_eq!(world.shard.stats().frames_encoded, world.shard.stats().packets_sent);
    }
    let heard = |client: &common::Client| client.ear.recent(60.0);
    world.clients.iter().map(|(id, client)| (*id, heard(client))).collect()
}

#[test]
fn sharing_cannot_be_heard() {
    for seed in 0..2 {
        let (shared, alone) = (story(seed, true), story(seed, false));
        for (listener, with) in &shared {
            let without = &alone[listener];
            let length = with.len().min(without.len());
            assert!(length > 48_000, "{length} samples");
            let ends = |pcm: &[f32]| pcm[pcm.len() - length..].to_vec();
            let (with, without) = (ends(with), ends(without));
            let power = |pcm: &[f32]| pcm.iter().map(|s| f64::from(s * s)).sum::<f64>();
            let difference: Vec<f32> = with.iter().zip(&without).map(|(a, b)| a - b).collect();
            let db = 10.0 * (power(&difference) / power(&with)).log10();
            assert!(db < -60.0, "seed {seed}: {listener} hears a difference of {db:.1} dB");
        }
    }
}

#[test]
fn however_loud_all_are_no_sample_wraps() {
    let mut world = World::with(clear());
    for id in 1..=8 {
        world.join(id, ClientOptions::default());
        world.talk(id, -1.0);
    }
    world.join(9, ClientOptions::default());
    world.connect();
    let cells = (1..=8).map(|speaker| ((9, speaker), Some(4.0))).collect();
    set(&mut world, &cells);
    world.run_ms(1500);
    let pcm = world.clients[&9].ear.recent(1.0);
    let peak = pcm.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    // The codec may overshoot a little what the limiter kept within full scale.
    assert!((0.5..1.3).contains(&peak), "{peak}");
    // From full scale to full scale in one sample: only a sample that wrapped does that.
    let step = pcm.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
    assert!(step < 1.2, "a step of {step}");
    for id in 1..=8 {
        assert!(world.heard_db(9, id, 0.8) > -30.0, "{id} is still in it");
    }
}
