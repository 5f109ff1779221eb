//! Load shedding: the order of its steps and their return, audibly and in events.

use std::time::Duration;

use bytes::Bytes;
use roomtone_engine::{Event, MixConfig, PeerId, Refusal, Round};
use roomtone_testkit::peer::ClientOptions;

use crate::clicks::{CLICK_IN_NOISE, sharpest};
use crate::common::{TONE_DBFS, World};
use crate::scene::clear;

const ROUND: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);
const LISTENER: PeerId = 9;

/// Five talkers, the first the loudest, each 4 dB above the next; and five listeners, so that their mix is a shared one. A soft tone that never changes would be
/// taken for noise beside the others where packets are passed on.
fn world(mix: MixConfig) -> World {
    let mut world = World::with(MixConfig {
        pass_through: false,
        ..mix
    });
    for id in 1..=10 {
        world.join(id, ClientOptions::default());
    }
    world.connect();
    // From the same moment on in each world, whenever the handshakes ended.
    let now = world.elapsed().as_millis() as u64;
    world.run_ms(2000 - now);
    world
}

fn everybody_talks(world: &mut World) {
    for id in 1..=5 {
        world.talk(id, TONE_DBFS - 4.0 * id as f32);
    }
}

/// Busy, or calm, for some seconds of a clock of its own: nobody has to live through them.
fn seconds(world: &mut World, clock: &mut Duration, count: u32, load: f32) {
    for _ in 0..count {
        *clock += SECOND;
        let now = world.start + *clock;
        world.shard.handle_load(now, load);
    }
}

fn level(world: &World) -> u64 {
    world.shard.stats().shed_level
}

/// The talkers who are heard, after a check that their levels are right.
fn heard(world: &mut World) -> Vec<PeerId> {
    world.run_ms(700);
    world.clients.values_mut().for_each(|client| client.ear.clear());
    world.run_ms(600);
    let db = |id: &PeerId| world.heard_db(LISTENER, *id, 0.5);
    let heard: Vec<PeerId> = (1..=5).filter(|id| db(id) > -20.0).collect();
    for id in &heard {
        assert!(db(id).abs() < 0.5, "{id} at {:.2} dB", db(id));
    }
    heard
}

fn may_join(world: &mut World, id: PeerId) -> bool {
    world.join(id, ClientOptions::default());
    world.clients.remove(&id);
    let refused =
        |event: &&Event| matches!(event, Event::Refused { peer, refusal: Refusal::Overloaded, .. } if *peer == id);
    world.events_of(|event| refused(&event)).is_empty()
}

/// The packets of a listener to the shared mix, and of the loudest talker, whose mix is their own.
fn packets(mix: MixConfig, steps: u32) -> Vec<Vec<Bytes>> {
    let mut world = world(mix);
    let mut clock = SECOND;
    seconds(&mut world, &mut clock, steps, 0.99);
    assert_eq!(level(&world), u64::from(steps));
    for id in [1, LISTENER] {
        world.clients.get_mut(&id).unwrap().payloads = Some(Vec::new());
    }
    everybody_talks(&mut world);
    world.run_ms(500);
    [1, LISTENER]
        .map(|id| world.clients[&id].payloads.clone().unwrap())
        .to_vec()
}

#[test]
fn the_first_steps_are_the_encoders_complexity_and_nothing_else() {
    let with = |complexity: u8| MixConfig {
        // Where a private mix has few bits, complexity is what it has to give.
        private_bitrate: 32_000,
        shared_complexity: complexity,
        private_complexity: complexity.min(6),
        ..MixConfig::default()
    };
    let as_configured = packets(with(10), 0);
    let shed_once = packets(with(10), 1);
    let shed_twice = packets(with(10), 2);
    assert!(as_configured[1].len() > 20);
    // To the bit what encoders of that complexity make, so nothing else has changed.
    assert!(shed_once == packets(with(5), 0), "complexity 5 at most");
    assert!(shed_twice == packets(with(0), 0), "complexity 0");
    for mix in 0..2 {
        assert!(as_configured[mix] != shed_once[mix] && shed_once[mix] != shed_twice[mix]);
    }
}

#[test]
fn all_is_given_up_in_its_order_and_comes_back_step_by_step() {
    let mut world = world(clear());
    everybody_talks(&mut world);
    let mut clock = SECOND * 10;
    let all = vec![1, 2, 3, 4, 5];
    let few = vec![1, 2, 3];
    let wanted = |level: u64| if level >= 3 { &few } else { &all };
    for step in 1..=4 {
        seconds(&mut world, &mut clock, 1, 0.95);
        assert_eq!(level(&world), step);
        assert_eq!(heard(&mut world), *wanted(step), "at level {step}");
        assert_eq!(may_join(&mut world, 100 + step), step < 4, "at level {step}");
    }
    for step in (0..4).rev() {
        seconds(&mut world, &mut clock, 6, 0.2);
        assert_eq!(level(&world), step, "one step in five calm seconds");
        assert_eq!(heard(&mut world), *wanted(step), "at level {step}");
        assert!(may_join(&mut world, 200 + step), "at level {step}");
    }
    let told: Vec<u8> = world
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Shed { level } => Some(*level),
            _ => None,
        })
        .collect();
    assert_eq!(told, [1, 2, 3, 4, 3, 2, 1, 0]);
    assert_eq!(world.shard.stats().shed_steps, 4);
    for client in world.clients.values() {
        client.assert_continuous();
    }
}

#[test]
fn complexity_goes_and_comes_without_a_click() {
    let mut world = world(MixConfig::default());
    world.talk(1, TONE_DBFS);
    world.talk(2, TONE_DBFS);
    world.run_ms(500);
    world.clients.values_mut().for_each(|client| client.ear.clear());
    let mut clock = SECOND * 10;
    for load in [0.99, 0.99, 0.1, 0.1, 0.99, 0.99] {
        let seconds_of_it = if load < 0.5 { 6 } else { 1 };
        seconds(&mut world, &mut clock, seconds_of_it, load);
        world.run_ms(237);
    }
    assert_eq!(level(&world), 2);
    for client in world.clients.values() {
        let pcm = client.ear.recent(60.0);
        assert!(pcm.len() > 60_000);
        let (worst, at) = sharpest(&pcm);
        let worst = worst / 10f32.powf(TONE_DBFS / 20.0);
        assert!(worst < CLICK_IN_NOISE, "{}: a click of {worst:.4} at {at}", client.id);
    }
}

/// Rounds of 20 ms of which ticks take this much, while the world goes on.
fn rounds(world: &mut World, count: u32, worked: Duration, ticking: Duration) {
    for _ in 0..count {
        world.run(ROUND);
        let round = Round {
            lasted: ROUND,
            worked,
            ticking,
        };
        let now = world.now;
        world.shard.handle_round(now, round);
    }
}

#[test]
fn ticks_that_take_their_whole_time_are_shed_for_before_the_second_is_over() {
    let mut world = world(clear());
    everybody_talks(&mut world);
    let ms = Duration::from_millis;
    rounds(&mut world, 20, ms(9), ms(8));
    rounds(&mut world, 4, ms(20), ms(19));
    assert_eq!(level(&world), 0, "nothing for an accident");
    rounds(&mut world, 1, ms(20), ms(19));
    assert_eq!(level(&world), 1, "after a tenth of a second");
    rounds(&mut world, 13, ms(20), ms(19));
    assert_eq!(level(&world), 1, "not before it is known what the step has brought");
    rounds(&mut world, 1, ms(20), ms(19));
    assert_eq!(level(&world), 2);
    rounds(&mut world, 14, ms(20), ms(19));
    assert_eq!(level(&world), 3);
    // 33 rounds of them: the last talkers are gone before a second is.
    assert_eq!(heard(&mut world), [1, 2, 3]);
    rounds(&mut world, 50, ms(9), ms(8));
    assert_eq!(level(&world), 3, "one calm second isn't enough");
    let ticks = &world.shard.stats().tick_duration;
    assert!((ms(18)..=ms(20)).contains(&ticks.max()), "{:?}", ticks.max());
    assert_eq!(ticks.count(), 20 + 33 + 50);
}

#[test]
fn late_ticks_are_shed_for_where_the_shard_itself_is_busy() {
    let ms = Duration::from_millis;
    for (worked, wanted) in [(ms(3), 0), (ms(20), 1)] {
        let mut world = world(clear());
        everybody_talks(&mut world);
        world.run_ms(100);
        // It gets to its ticks only each 33 ms.
        world.step = ms(33);
        rounds(&mut world, 12, worked, worked / 4);
        assert_eq!(level(&world), wanted, "with {worked:?} of work in 20 ms");
        assert!(world.shard.stats().tick_lateness.max() >= ms(10));
    }
}
