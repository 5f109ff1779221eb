//! Sound in, sound out: who hears whom, how loud, through real DTLS, SRTP and Opus on a virtual clock.

use std::time::Duration;

use crate::common::{ROOM, World};
use roomtone_engine::{Action, Command, Event, MixConfig};
use roomtone_testkit::peer::{ClientOptions, Profiles};

// The codec's noise lies under the sum of all tones, so with many of them it takes bit rate to see how little of their own
// tone is in a talker's mix.
fn everyone_hears_the_others(peers: u64, bitrate: u32, dbfs: f32) {
    let mut world = World::with(MixConfig {
        bitrate,
        private_bitrate: bitrate,
        ..MixConfig::default()
    });
    for id in 1..=peers {
        world.join(id, ClientOptions::default());
        world.talk(id, dbfs);
    }
    world.connect();
    world.run_ms(2500);
    let everybody: Vec<u64> = (1..=peers).collect();
    world.assert_everyone_hears_the_others(&everybody, 1.0, 1.0);
    for client in world.clients.values() {
        client.assert_continuous();
    }
}

#[test]
fn two_hear_each_other_and_not_themselves() {
    everyone_hears_the_others(2, 32_000, -30.0);
}

#[test]
fn five_hear_each_other_and_not_themselves() {
    everyone_hears_the_others(5, 64_000, -30.0);
}

#[test]
fn twenty_hear_each_other_and_not_themselves() {
    everyone_hears_the_others(20, 256_000, -42.0);
}

#[test]
fn aes_cm_carries_sound_as_gcm_does() {
    let mut world = World::new();
    world.join(
        1,
        ClientOptions {
            profiles: Profiles::AesCm,
            ..ClientOptions::default()
        },
    );
    world.join(
        2,
        ClientOptions {
            profiles: Profiles::Gcm,
            ..ClientOptions::default()
        },
    );
    world.talk(1, crate::common::TONE_DBFS);
    world.talk(2, crate::common::TONE_DBFS);
    world.connect();
    world.run_ms(1500);
    world.assert_everyone_hears_the_others(&[1, 2], 0.5, 1.0);
}

#[test]
fn a_peer_without_levels_and_with_an_unannounced_ssrc_is_heard() {
    let mut world = World::new();
    world.join(
        1,
        ClientOptions {
            level_ext: false,
            announce_ssrc: false,
            ..ClientOptions::default()
        },
    );
    world.talk(1, crate::common::TONE_DBFS);
    world.join_talking(2);
    world.connect();
    world.run_ms(1500);
    world.assert_everyone_hears_the_others(&[1, 2], 0.5, 1.0);
    let spoke = world.events_of(|e| {
        matches!(
            e,
            Event::Speaking {
                peer: 1,
                speaking: true,
                ..
            }
        )
    });
    assert_eq!(spoke.len(), 1, "the level is measured where none is told");
}

#[test]
fn mute_silences_at_once_and_unmute_brings_back() {
    let mut world = World::new();
    for id in 1..=3 {
        world.join_talking(id);
    }
    world.connect();
    world.run_ms(1000);
    world.command(Command::new(ROOM, Action::SetSpeak { peer: 1, speak: false }));
    world.run_ms(1500);
    assert!(world.heard_db(2, 1, 1.0) < -40.0, "{}", world.heard_db(2, 1, 1.0));
    assert!(world.heard_db(3, 1, 1.0) < -40.0);
    assert!(world.heard_db(3, 2, 1.0).abs() < 1.0, "the others go on");
    assert!(world.heard_db(1, 2, 1.0).abs() < 1.0, "who is muted still hears");
    world.command(Command::new(ROOM, Action::SetSpeak { peer: 1, speak: true }));
    world.run_ms(1500);
    assert!(world.heard_db(2, 1, 1.0).abs() < 1.0);
    for client in world.clients.values() {
        client.assert_continuous();
    }
}

#[test]
fn deafen_sends_nothing() {
    let mut world = World::of_two_talkers();
    world.run_ms(500);
    world.command(Command::new(ROOM, Action::SetListen { peer: 2, listen: false }));
    world.run_ms(100);
    let before = world.clients[&2].heard.len();
    world.run_ms(1000);
    assert_eq!(world.clients[&2].heard.len(), before);
    assert!(world.heard_db(1, 2, 0.5).abs() < 1.0, "but is heard");
}

#[test]
fn coming_and_going_disturbs_nobody() {
    // The bit rate as above: five tones, and short looks at them.
    let mut world = World::with(MixConfig {
        bitrate: 64_000,
        ..MixConfig::default()
    });
    for id in 1..=4 {
        world.join_talking(id);
    }
    world.join(9, ClientOptions::default()); // listens only
    world.connect();
    world.run_ms(1000);
    for round in 0..5u64 {
        let guest = 20 + round;
        world.join_talking(guest);
        world.run_ms(700);
        let heard = world.heard_db(1, guest, 0.3);
        assert!(heard.abs() < 1.0, "the guest is heard: {heard}");
        world.command(Command::new(ROOM, Action::Leave { peer: guest }));
        world.run_ms(300);
        assert!(world.clients[&guest].closed, "the guest is told goodbye");
        world.clients.remove(&guest);
    }
    world.assert_everyone_hears_the_others(&[1, 2, 3, 4], 0.25, 1.0);
    for client in world.clients.values() {
        client.assert_continuous();
        let gap = client.heard.windows(2).map(|w| w[1].0 - w[0].0).max().unwrap();
        assert!(
            gap <= Duration::from_millis(21),
            "{}: nothing came for {gap:?}",
            client.id
        );
    }
}

#[test]
fn sequence_numbers_and_timestamps_may_wrap_around() {
    let mut world = World::new();
    world.join(
        1,
        ClientOptions {
            first_seq: Some(65_500),
            ..ClientOptions::default()
        },
    );
    world.talk(1, crate::common::TONE_DBFS);
    world.clients.get_mut(&1).unwrap().first_timestamp = u32::MAX - 40_000;
    world.join_talking(2);
    world.connect();
    world.run_ms(3000);
    assert!(
        world.heard_db(2, 1, 2.0).abs() < 1.0,
        "no break at the wrap-around: {}",
        world.heard_db(2, 1, 2.0)
    );
    let stats = peer_stats(&mut world, 1);
    assert_eq!((stats.concealed, stats.late, stats.lost_in), (0, 0, 0));
}

#[test]
fn silence_is_not_sent_and_a_silent_room_does_not_tick() {
    let mut world = World::new();
    for id in 1..=3 {
        world.join(id, ClientOptions::default());
    }
    world.connect();
    world.run_ms(1000);
    assert!(world.clients.values().all(|c| c.heard.is_empty()));
    assert_eq!(world.shard.stats().ticks, 0);
    // Someone speaks, and stops.
    world.talk(1, crate::common::TONE_DBFS);
    world.run_ms(1000);
    world.clients.get_mut(&1).unwrap().talker = None;
    world.run_ms(2000);
    let (ticks, packets) = (world.shard.stats().ticks, world.clients[&2].heard.len());
    world.run_ms(2000);
    assert_eq!(
        (world.shard.stats().ticks, world.clients[&2].heard.len()),
        (ticks, packets)
    );
    // And again: the timestamps have gone on meanwhile.
    world.talk(1, crate::common::TONE_DBFS);
    world.run_ms(1000);
    world.clients[&2].assert_continuous();
    let spurts = world.clients[&2].heard.iter().filter(|h| h.3).count();
    assert_eq!(spurts, 2, "each talk spurt is marked");
    assert!(world.heard_db(2, 1, 0.5).abs() < 1.0);
}

#[test]
fn listeners_share_one_encode_and_talkers_have_their_own() {
    let mut world = World::new();
    for id in 1..=3 {
        world.join_talking(id);
    }
    for id in 4..=20 {
        world.join(id, ClientOptions::default());
    }
    world.connect();
    world.run_ms(500);
    let before = world.shard.stats().clone();
    world.run_ms(1000);
    let after = world.shard.stats().clone();
    let ticks = after.ticks - before.ticks;
    assert_eq!(after.frames_encoded - before.frames_encoded, 4 * ticks);
    assert_eq!(after.frames_decoded - before.frames_decoded, 3 * ticks);
    assert_eq!(after.packets_sent - before.packets_sent, 20 * ticks);
}

#[test]
fn levels_and_speaking_are_told_sparingly() {
    let mut world = World::new();
    for id in 1..=2 {
        world.join_talking(id);
    }
    world.connect();
    world.run_ms(2000);
    world.clients.values_mut().for_each(|c| c.talker = None);
    world.run_ms(2000);
    let levels = world.events_of(|e| matches!(e, Event::Levels { .. }));
    assert!(
        (9..=14).contains(&levels.len()),
        "at most five a second: {}",
        levels.len()
    );
    let Some(Event::Levels { levels: last, .. }) = levels.last() else {
        unreachable!()
    };
    assert!(last.is_empty(), "the last one says that it is over");
    let Event::Levels { levels: some, .. } = levels[4] else {
        unreachable!()
    };
    assert_eq!(some.len(), 2);
    // −30 dBFS is the sine's amplitude; its RMS is 3 dB less.
    assert!(
        some.iter()
            .all(|(_, level, speaking)| (32..=34).contains(level) && *speaking),
        "{some:?}"
    );
    for id in 1..=2 {
        let changes = world.events_of(|e| matches!(e, Event::Speaking { peer, .. } if *peer == id));
        assert_eq!(changes.len(), 2, "began and ceased");
    }
}

#[test]
fn figures_tell_how_long_a_participant_has_been_silent_and_whether_they_were_sending() {
    let mut world = World::new();
    world.join_talking(1);
    world.join(2, ClientOptions::default());
    world.connect();
    world.run_ms(1000);
    let talker = peer_stats(&mut world, 1);
    assert!(
        talker.silent_ms <= 21.0 && talker.silent_after_media,
        "a talker sends a packet every 20 ms: {talker:?}"
    );
    assert!(
        !peer_stats(&mut world, 2).silent_after_media,
        "a listener sends checks and reports"
    );
    let crashed = world.clients.remove(&1);
    world.run_ms(2000);
    let ghost = peer_stats(&mut world, 1);
    assert!(
        ghost.silent_ms >= 1990.0 && ghost.silent_after_media,
        "nothing came for two seconds: {ghost:?}"
    );
    drop(crashed);
}

fn peer_stats(world: &mut World, peer: u64) -> roomtone_engine::PeerStats {
    world.command(Command::new(ROOM, Action::PeerStats { peer, reference: 5 }));
    world.collect();
    match world.events.last() {
        Some((
            _,
            Event::PeerStats {
                reference: 5,
                stats: Some(stats),
            },
        )) => (**stats).clone(),
        other => panic!("no figures: {other:?}"),
    }
}
