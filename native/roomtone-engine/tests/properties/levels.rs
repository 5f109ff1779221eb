//! Whatever happens, each hears each as told, and nobody themselves.

use std::collections::BTreeMap;

use roomtone_load::peer::ClientOptions;

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
    let mut world = World::with(clear());
    for id in 1..=8 {
        world.join(id, ClientOptions::default());
        world.talk(id, -1.0);
    }
    world.join(9, ClientOptions::default());
    world.connect();
    let loud = Cell { gain: 4.0, pan: 0.0 };
    let cells: BTreeMap<_, _> = (1..=8).map(|speaker| ((9, speaker), Some(loud))).collect();
    world.command(set_gains(&cells));
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
