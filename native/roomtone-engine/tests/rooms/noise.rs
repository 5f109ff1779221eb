//! Noise suppression: noise beside a voice is softer, the voice isn't, and one without noise is passed on.

use crate::common::speech::{Noisy, SILENCE_S};
use crate::common::{ROOM, World};
use roomtone_audio::analysis::{rms, to_db};
use roomtone_engine::{Action, Command, PeerId, RoomKind, Voice};
use roomtone_testkit::fixtures::OpusTalker;
use roomtone_testkit::peer::ClientOptions;

/// A talker, 1, and a listener, 20. How long the talker speaks before they are silent, ms.
fn world(ratio_db: Option<f64>) -> (World, u64) {
    let mut world = World::new();
    let (stereo, auto_gain) = (false, false);
    let kind = RoomKind::Mix { stereo, auto_gain };
    world.command(Command::new(ROOM, Action::Open { kind }));
    world.join(1, ClientOptions::default());
    let noisy = Noisy::new(ratio_db);
    let speaks = (noisy.speaks_s() * 1000.0) as u64;
    world.clients.get_mut(&1).unwrap().talker = Some(OpusTalker::new(noisy, 64_000).unwrap());
    world.join(20, ClientOptions::default());
    world.connect();
    (world, speaks)
}

fn treat(world: &mut World, peer: PeerId, voice: Voice, suppress: bool) {
    world.command(Command::new(ROOM, Action::SetVoice { peer, voice, suppress }));
}

/// The level of what 20 hears while 1 speaks, and then of the last second of silence, dBov.
fn hear(world: &mut World, speaks: u64) -> (f64, f64) {
    world.run_ms(speaks);
    let said = rms(&world.clients[&20].ear.recent(speaks as f32 / 1000.0));
    world.run_ms((SILENCE_S * 1000.0) as u64);
    let silence = rms(&world.clients[&20].ear.recent(1.0));
    (to_db(said), to_db(silence))
}

#[test]
fn noise_beside_a_voice_is_softer_and_the_voice_is_not() {
    let (mut world, speaks) = world(Some(12.0));
    hear(&mut world, speaks);
    let before = hear(&mut world, speaks);
    assert_eq!(world.shard.stats().frames_suppressed, 0);
    treat(&mut world, 1, Voice::Even, true);
    hear(&mut world, speaks);
    let after = hear(&mut world, speaks);
    assert!((after.0 - before.0).abs() < 1.0, "{after:?} was {before:?}");
    assert!(before.1 - after.1 > 10.0, "{after:?} was {before:?}");
    assert!(world.shard.stats().frames_suppressed > 100);
    treat(&mut world, 1, Voice::Even, false);
    hear(&mut world, speaks);
    let again = hear(&mut world, speaks);
    assert!((again.1 - before.1).abs() < 1.0, "{again:?} was {before:?}");
    world.clients[&20].assert_continuous();
}

#[test]
fn a_voice_without_noise_is_passed_on_to_the_bit() {
    for ratio in [None, Some(30.0)] {
        let (mut world, speaks) = world(ratio);
        treat(&mut world, 1, Voice::Even, true);
        hear(&mut world, speaks);
        world.clients.get_mut(&1).unwrap().sent = Some(Default::default());
        world.clients.get_mut(&20).unwrap().payloads = Some(Vec::new());
        hear(&mut world, speaks);
        let sent = world.clients[&1].sent.clone().unwrap();
        let got = world.clients[&20].payloads.clone().unwrap();
        let own = got.iter().filter(|payload| sent.contains(*payload)).count();
        assert!(own > 200 && got.len() - own <= 4, "{own} of {}", got.len());
        assert_eq!(world.shard.stats().frames_suppressed, 0, "{ratio:?}");
    }
}

#[test]
fn music_keeps_its_noise() {
    let (mut world, speaks) = world(Some(12.0));
    treat(&mut world, 1, Voice::Music, true);
    hear(&mut world, speaks);
    hear(&mut world, speaks);
    assert_eq!(world.shard.stats().frames_suppressed, 0);
}

#[test]
fn suppression_that_comes_and_goes_in_a_room_does_not_click() {
    let sharp = |world: &World| {
        let pcm = world.clients[&20].ear.recent(9.0);
        let sharp = |w: &[f32]| (w[0] - 4.0 * w[1] + 6.0 * w[2] - 4.0 * w[3] + w[4]).abs();
        pcm.windows(5).map(sharp).fold(0.0, f32::max)
    };
    let (mut world, _) = world(Some(12.0));
    world.run_ms(10_000);
    let plain = sharp(&world);
    for round in 0..9 {
        let suppress = round % 2 == 0;
        treat(&mut world, 1, Voice::Even, suppress);
        // Noise is found anew each time.
        world.run_ms(if suppress { 2_330 } else { 330 });
    }
    let suppressed = world.shard.stats().frames_suppressed;
    assert!(suppressed > 100, "{suppressed}");
    let toggled = sharp(&world);
    assert!(toggled < 1.2 * plain, "{toggled} against {plain}");
}
