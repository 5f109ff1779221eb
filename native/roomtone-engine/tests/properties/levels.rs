//! Every listener hears every talker at the gain that was set, and nobody hears themselves, whatever happens.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use roomtone_testkit::peer::ClientOptions;

use crate::common::World;
use crate::scene::{Cell, Kind, Scene, clear, set_gains};

fn story(mut scene: Scene) {
    for _round in 0..3 {
        for _ in 0..8 {
            scene.step();
        }
        scene.check_levels();
    }
    for client in scene.world.clients.values() {
        client.assert_continuous();
    }
}

#[test]
fn whatever_happens_levels_are_row_times_level_and_numbers_go_on() {
    for seed in crate::seeds(0..8) {
        story(Scene::new(seed, World::of_many_with(2, clear()), &Kind::ALL));
    }
}

#[test]
fn whatever_happens_sides_are_as_told_too() {
    for seed in crate::seeds(10..16) {
        story(Scene::in_stereo(seed, World::of_many_with(2, clear()), &Kind::ALL));
    }
}

#[test]
fn however_loud_all_are_no_sample_wraps() {
    for seed in crate::seeds(20..24) {
        let mut random = StdRng::seed_from_u64(seed);
        let talkers = random.random_range(2..=8);
        let mut world = World::with(clear());
        for id in 1..=talkers {
            world.join(id, ClientOptions::default());
            world.talk(id, -random.random_range(0.5f32..6.0));
        }
        let listeners = talkers + 1..=talkers + 3;
        for id in listeners.clone() {
            world.join(id, ClientOptions::default());
        }
        world.connect();
        let mut cells = BTreeMap::new();
        for listener in listeners.clone() {
            for speaker in 1..=talkers {
                let gain = random.random_range(1.0f32..10.0);
                cells.insert((listener, speaker), Some(Cell { gain, pan: 0.0 }));
            }
        }
        world.command(set_gains(&cells));
        world.run_ms(1500);
        for listener in listeners {
            let pcm = world.clients[&listener].ear.recent(1.0);
            let peak = pcm.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
            // The codec may overshoot a little what the limiter kept within full scale.
            assert!((0.5..1.3).contains(&peak), "seed {seed}: {peak}");
            // From full scale to full scale in one sample: only a sample that wrapped does that.
            let step = pcm.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
            assert!(step < 1.2, "seed {seed}: a step of {step}");
            for id in 1..=talkers {
                let heard = world.heard_db(listener, id, 0.8);
                assert!(heard > -40.0, "seed {seed}: {id} is still in it, at {heard:.1} dB");
            }
        }
    }
}
