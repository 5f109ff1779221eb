//! Nothing clicks, whatever happens in a room.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::common::World;
use crate::scene::{Kind, Scene, VOICE_DBFS, clear};

/// Half of the samples in which a click is over: 0.25 ms.
const HALF: usize = 12;

/// The worst that may be found, as a part of a voice's amplitude. Ramps over a frame leave 0.0013 at most; a voice that begins or ends
/// within a period, or gets another gain there, 0.02 at the least and mostly some tenths.
const CLICK: f32 = 0.005;

/// The same where the codec has as few bits as by default: its noise is up to 0.012.
pub const CLICK_IN_NOISE: f32 = 0.025;

/// The part of a sound far above the voices: its fourth differences. They leave 1/600 of a voice (all are below 1.6 kHz), and three times
/// the height of a step. RMS of the worst half a millisecond, and in which sample that begins.
pub fn sharpest(pcm: &[f32]) -> (f32, usize) {
    let power = |w: &[f32]| {
        let sharp = w[0] - 4.0 * w[1] + 6.0 * w[2] - 4.0 * w[3] + w[4];
        sharp * sharp
    };
    let powers: Vec<f32> = pcm.windows(5).map(power).collect();
    let halves: Vec<f32> = powers.chunks(HALF).map(|half| half.iter().sum()).collect();
    let wholes = halves.windows(2).map(|pair| (pair[0] + pair[1]) / (2 * HALF) as f32);
    let worst = wholes.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    worst.map_or((0.0, 0), |(at, power)| (power.sqrt(), at * HALF))
}

// How much was listened to, in samples.
fn check(scene: &Scene, most: f32) -> usize {
    let voice = 10f32.powf(VOICE_DBFS / 20.0);
    let mut listened = 0;
    for listener in scene.people() {
        for (piece, pcm) in scene.settled(listener).iter().enumerate() {
            listened += pcm.len();
            let (worst, at) = sharpest(pcm);
            assert!(
                worst < most * voice,
                "{listener} hears a click of {:.4} at {at} of {} in piece {piece}",
                worst / voice,
                pcm.len()
            );
        }
    }
    listened
}

fn story(mut scene: Scene, most: f32) -> usize {
    while scene.talkers() < 2 {
        scene.talk_or_cease();
    }
    for _ in 0..30 {
        scene.step();
    }
    match catch_unwind(AssertUnwindSafe(|| check(&scene, most))) {
        Ok(listened) => listened,
        Err(failure) => {
            eprintln!("seed {}: {:#?}", scene.seed, scene.told);
            resume_unwind(failure)
        }
    }
}

fn stories(few: Range<u64>, most: f32, make: impl Fn(u64) -> Scene) {
    let seeds = crate::seeds(few);
    let count = seeds.clone().count();
    let listened: usize = seeds.map(|seed| story(make(seed), most)).sum();
    assert!(
        listened > 100_000 * count,
        "{listened} samples were heard in {count} stories"
    );
}

fn clear_stories(few: Range<u64>, kinds: &[Kind]) {
    stories(few, CLICK, |seed| {
        Scene::new(seed, World::of_many_with(2, clear()), kinds)
    });
}

#[test]
fn rows_change_without_a_click() {
    clear_stories(0..5, &[Kind::Rows, Kind::Voices]);
}

#[test]
fn people_come_and_go_without_a_click_also_in_the_midst_of_a_word() {
    clear_stories(10..15, &[Kind::People, Kind::Voices]);
}

#[test]
fn a_mute_is_no_click() {
    clear_stories(20..24, &[Kind::Mutes]);
}

#[test]
fn packets_that_break_off_and_come_again_are_no_click() {
    clear_stories(30..33, &[Kind::Gaps, Kind::Voices]);
}

#[test]
fn who_is_deaf_for_a_while_is_no_click_to_others() {
    clear_stories(40..43, &[Kind::Deafness, Kind::Voices]);
}

#[test]
fn nobody_hears_a_click_when_the_room_moves() {
    clear_stories(50..54, &[Kind::Moves, Kind::Rows, Kind::Voices]);
}

#[test]
fn who_is_heard_changes_without_a_click() {
    clear_stories(90..95, &[Kind::Few, Kind::Voices, Kind::Rows]);
}

#[test]
fn pans_change_without_a_click() {
    let kinds = [Kind::Rows, Kind::Mutes, Kind::People, Kind::Voices];
    stories(60..64, CLICK, |seed| {
        Scene::in_stereo(seed, World::of_many_with(2, clear()), &kinds)
    });
}

#[test]
fn whatever_happens_nothing_clicks() {
    clear_stories(70..82, &Kind::ALL);
}

#[test]
fn a_mix_that_more_or_fewer_hear_is_encoded_otherwise_without_a_click() {
    stories(100..103, CLICK_IN_NOISE, |seed| {
        let kinds = [Kind::People, Kind::Voices, Kind::Voices];
        let mut scene = Scene::new(seed, World::mixing(), &kinds);
        // Around the eight from which on a mix is worth more work.
        scene.most = 11;
        (0..4).for_each(|_| scene.come());
        scene
    });
}
