//! Automatic gain: voices of any level are heard alike, and those of a usual level stay as they are to the bit.

use crate::common::speech::{PHRASE_S, amplitude_dbfs, speaker};
use crate::common::{ROOM, World, replacement};
use roomtone_engine::{Action, Command, Event, MixConfig, PeerId, PeerStats, RoomKind, Voice};
use roomtone_testkit::fixtures::{OpusTalker, Tone};
use roomtone_testkit::listen::dbfs;
use roomtone_testkit::peer::{ClientOptions, Identity};

/// The level that is aimed at, dBov.
const TARGET: f32 = -22.0;

/// Speakers of these levels, 1 and up, and a listener, 20.
fn world(auto_gain: bool, levels: &[f32]) -> World {
    // Codec noise is not what this is about.
    let mut world = World::with(MixConfig {
        bitrate: 128_000,
        private_bitrate: 128_000,
        ..MixConfig::default()
    });
    let kind = RoomKind::Mix {
        stereo: false,
        auto_gain,
    };
    world.command(Command::new(ROOM, Action::Open { kind }));
    for (id, level) in (1..).zip(levels) {
        world.join(id, ClientOptions::default());
        let client = world.clients.get_mut(&id).unwrap();
        client.talker = Some(speaker(client.hz, *level, id as f32 / levels.len() as f32));
    }
    world.join(20, ClientOptions::default());
    world.connect();
    world
}

/// How loud the listener hears a speaker, dBov while they speak, over the last five phrases.
fn heard(world: &World, speaker: PeerId) -> f32 {
    let pcm = world.clients[&20].ear.recent(5.0 * PHRASE_S);
    let hz = world.clients[&speaker].hz;
    // The mean of the loudness of four syllables of five, which is half their amplitude.
    let mean = dbfs(roomtone_testkit::listen::goertzel_amplitude(&pcm, hz));
    mean - dbfs(0.4) + (TARGET - amplitude_dbfs(TARGET))
}

fn stats(world: &mut World, peer: PeerId) -> PeerStats {
    world.command(Command::new(ROOM, Action::PeerStats { peer, reference: 1 }));
    world.collect();
    match world.events.last() {
        Some((_, Event::PeerStats { stats: Some(stats), .. })) => (**stats).clone(),
        other => panic!("{other:?}"),
    }
}

fn set_voice(world: &mut World, peer: PeerId, voice: Voice) {
    let suppress = false;
    world.command(Command::new(ROOM, Action::SetVoice { peer, voice, suppress }));
}

fn apart(levels: &[f32]) -> f32 {
    let least = levels.iter().copied().fold(f32::INFINITY, f32::min);
    levels.iter().copied().fold(f32::NEG_INFINITY, f32::max) - least
}

#[test]
fn six_voices_at_any_levels_are_heard_within_3_db_of_their_middle() {
    for levels in [
        [-40.0, -34.0, -28.0, -22.0, -16.0, -10.0],
        [-40.0, -27.0, -25.0, -19.0, -17.0, -10.0],
    ] {
        let mut plain = world(false, &levels);
        plain.run_ms(20_000);
        let heard_plain: Vec<f32> = (1..=6).map(|id| heard(&plain, id)).collect();
        assert!((apart(&heard_plain) - 30.0).abs() < 2.0, "{heard_plain:?}");
        let mut even = world(true, &levels);
        even.run_ms(20_000);
        let heard_even: Vec<f32> = (1..=6).map(|id| heard(&even, id)).collect();
        assert!(apart(&heard_even) <= 6.0, "{levels:?} are heard as {heard_even:?}");
        even.clients[&20].assert_continuous();
    }
}

#[test]
fn a_voice_of_a_usual_level_is_passed_on_to_the_bit() {
    for level in [-27.0, -22.0, -17.0] {
        let mut world = world(true, &[level]);
        // Pass-through begins with a pause.
        world.run_ms(2_000);
        world.clients.get_mut(&1).unwrap().sent = Some(Default::default());
        world.clients.get_mut(&20).unwrap().payloads = Some(Vec::new());
        world.run_ms(12_000);
        let sent = world.clients[&1].sent.clone().unwrap();
        let got = world.clients[&20].payloads.clone().unwrap();
        let own = got.iter().filter(|payload| sent.contains(*payload)).count();
        assert!(own > 400 && got.len() - own <= 2, "{own} of {} at {level}", got.len());
        assert_eq!(world.shard.stats().frames_evened, 0);
        assert_eq!(stats(&mut world, 1).auto_gain_db, 0.0);
    }
}

#[test]
fn a_soft_voice_ends_pass_through_until_its_owner_wants_none_of_it() {
    let mut world = world(true, &[-38.0]);
    world.run_ms(15_000);
    assert!((heard(&world, 1) - TARGET).abs() < 1.5, "{}", heard(&world, 1));
    let gain = stats(&mut world, 1).auto_gain_db;
    assert!((gain - 16.0).abs() < 1.5, "{gain} dB");
    assert!(!stats(&mut world, 20).passed_through);
    assert!(world.shard.stats().frames_evened > 300);
    set_voice(&mut world, 1, Voice::Plain);
    world.run_ms(10_000);
    assert!((heard(&world, 1) + 38.0).abs() < 1.0, "{}", heard(&world, 1));
    assert_eq!(stats(&mut world, 1).auto_gain_db, 0.0);
    assert!(stats(&mut world, 20).passed_through);
    world.clients[&20].assert_continuous();
}

#[test]
fn somebody_muted_does_not_keep_a_gain_on_others() {
    let mut world = world(true, &[-26.0, -18.0]);
    world.run_ms(10_000);
    assert!(stats(&mut world, 1).auto_gain_db > 2.0);
    world.command(Command::new(ROOM, Action::SetSpeak { peer: 2, speak: false }));
    world.run_ms(6_000);
    assert_eq!(stats(&mut world, 1).auto_gain_db, 0.0);
    assert!(stats(&mut world, 20).passed_through);
}

#[test]
fn a_new_connection_keeps_its_persons_gain() {
    let mut world = world(true, &[-38.0]);
    world.run_ms(12_000);
    let gain = stats(&mut world, 1).auto_gain_db;
    assert!(gain > 14.0, "{gain} dB");
    let options = ClientOptions {
        identity: Some(Identity::generate().unwrap()),
        ..ClientOptions::default()
    };
    world.begin_anew(1, options);
    let kept = stats(&mut world, replacement(1)).auto_gain_db;
    assert_eq!(kept, gain);
}

#[test]
fn a_tone_is_no_speech() {
    let mut world = world(true, &[-22.0]);
    let client = world.clients.get_mut(&1).unwrap();
    client.talker = Some(OpusTalker::new(Tone::new(client.hz, 0.005), 64_000).unwrap());
    world.run_ms(8_000);
    assert_eq!(stats(&mut world, 1).auto_gain_db, 0.0);
}

#[test]
fn a_gain_that_comes_and_goes_does_not_click() {
    let mut world = world(true, &[-34.0]);
    let loudest = 10f32.powf(amplitude_dbfs(TARGET) / 20.0);
    for voice in [Voice::Even, Voice::Plain, Voice::Even] {
        set_voice(&mut world, 1, voice);
        world.run_ms(6_000);
        let pcm = world.clients[&20].ear.recent(5.9);
        let sharp = |w: &[f32]| (w[0] - 4.0 * w[1] + 6.0 * w[2] - 4.0 * w[3] + w[4]).abs();
        let worst = pcm.windows(5).map(sharp).fold(0.0, f32::max);
        // A step of a decibel leaves 0.3 of the amplitude.
        assert!(worst < 0.03 * loudest, "{voice:?}: {:.4}", worst / loudest);
    }
}

#[test]
fn a_gain_multiplies_those_of_the_policy() {
    let mut world = world(true, &[-36.0]);
    world.set_gain(20, 1, 0.5);
    world.run_ms(15_000);
    assert!((heard(&world, 1) - (TARGET - 6.0)).abs() < 1.5, "{}", heard(&world, 1));
}

// Mutes a speaker in the middle of a syllable; how much louder their last 40 ms were than their words, dB.
fn mute_in_mid_word(world: &mut World, speaker: PeerId) -> f32 {
    let before = peak(&world.clients[&20].ear.recent(PHRASE_S));
    let mut waited = 0;
    while peak(&world.clients[&20].ear.recent(0.02)) < 0.7 * before {
        world.run_ms(20);
        waited += 20;
        assert!(waited < 3_000, "no syllable");
    }
    world.command(Command::new(
        ROOM,
        Action::SetSpeak {
            peer: speaker,
            speak: false,
        },
    ));
    world.run_ms(40);
    dbfs(peak(&world.clients[&20].ear.recent(0.04))) - dbfs(before)
}

#[test]
fn somebody_muted_in_mid_word_ends_at_their_gain() {
    let mut world = world(true, &[-38.0]);
    world.run_ms(12_000);
    let ends = mute_in_mid_word(&mut world, 1);
    assert!((-6.0..=1.0).contains(&ends), "{ends} dB");
}

#[test]
fn a_gain_that_went_unheard_is_not_heard_again() {
    let mut world = world(true, &[-38.0]);
    world.run_ms(12_000);
    world.command(Command::new(
        ROOM,
        Action::SetListen {
            peer: 20,
            listen: false,
        },
    ));
    set_voice(&mut world, 1, Voice::Plain);
    world.run_ms(10_000);
    world.command(Command::new(ROOM, Action::SetListen { peer: 20, listen: true }));
    world.run_ms(4_000);
    assert!(stats(&mut world, 20).passed_through);
    let ends = mute_in_mid_word(&mut world, 1);
    assert!((-6.0..=1.0).contains(&ends), "{ends} dB");
}

fn peak(pcm: &[f32]) -> f32 {
    pcm.iter().fold(0.0, |peak, sample| peak.max(sample.abs()))
}
