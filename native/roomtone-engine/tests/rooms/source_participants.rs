//! Participants without a transport: they are heard as anybody is, in rooms that mix and in rooms that forward.

use std::time::Duration;

use crate::common::{ROOM, TONE_DBFS, World, slots};
use roomtone_engine::{Action, Command, Event, PeerId, Refusal, RoomId, SourceItem};
use roomtone_testkit::fixtures::{OpusTalker, Tone};
use roomtone_testkit::peer::ClientOptions;

const BOT: PeerId = 90;
const HZ: f32 = 1250.0;

fn feed(world: &mut World, items: Vec<SourceItem>) {
    world.command(Command::new(ROOM, Action::Feed { peer: BOT, items }));
}

/// So many frames of a tone.
fn tone(frames: usize) -> Vec<SourceItem> {
    let mut talker = OpusTalker::new(Tone::new(HZ, 10f32.powf(TONE_DBFS / 20.0)), 64_000).unwrap();
    (0..frames)
        .map(|_| SourceItem::Packet {
            data: talker.next().unwrap().payload.to_vec(),
            level: Some(33),
        })
        .collect()
}

fn with_source(mut world: World, options: fn() -> ClientOptions) -> World {
    for id in 1..=2 {
        world.join(id, options());
    }
    world.connect();
    world.command(Command::new(ROOM, Action::JoinSource { peer: BOT, speak: true }));
    world.run_ms(5);
    world
}

fn heard_db(world: &World, listener: PeerId, seconds: f32) -> f32 {
    world.clients[&listener].ear.tone_dbfs(HZ, seconds) - TONE_DBFS
}

fn events(world: &World, wanted: fn(&Event) -> bool) -> Vec<(Duration, Event)> {
    world
        .events
        .iter()
        .filter(|(_, event)| wanted(event))
        .cloned()
        .collect()
}

fn assert_heard(world: &World, seconds: f32) {
    for listener in 1..=2 {
        let heard = heard_db(world, listener, seconds);
        assert!(heard.abs() <= 0.5, "{listener} hears the source at {heard:.2} dB");
    }
}

// The voice fades out, and for a while nothing of it comes after that.
fn assert_silent_from_now(world: &mut World) {
    world.run_ms(300);
    for client in world.clients.values_mut() {
        client.ear.clear();
    }
    world.run_ms(1200);
    for listener in 1..=2 {
        let heard = heard_db(world, listener, 0.5);
        assert!(heard < -40.0, "{listener} hears the source at {heard:.1} dB");
    }
}

fn all_ways() -> Vec<World> {
    vec![
        with_source(World::new(), ClientOptions::default),
        with_source(World::mixing(), ClientOptions::default),
        with_source(World::forwarding(2), || slots(2)),
    ]
}

#[test]
fn a_burst_is_played_at_the_pace_of_the_room_and_heard_at_its_own_level() {
    for mut world in all_ways() {
        feed(&mut world, tone(100));
        let fed = world.elapsed();
        feed(&mut world, vec![SourceItem::Mark(5)]);
        world.run_ms(1500);
        assert_heard(&world, 0.5);
        assert!(events(&world, |event| matches!(event, Event::SourcePlayed { .. })).is_empty());
        world.run_ms(3000);
        let played = events(&world, |event| matches!(event, Event::SourcePlayed { .. }));
        let (room, peer) = (ROOM, BOT);
        assert_eq!(played.len(), 1);
        assert_eq!(played[0].1, Event::SourcePlayed { room, peer, mark: 5 });
        let took = (played[0].0 - fed).as_millis();
        assert!((2000..=2040).contains(&took), "2 s of sound took {took} ms");
        assert_eq!(
            events(&world, |event| matches!(event, Event::SourceDrained { .. })).len(),
            1
        );
        let speaking = events(&world, |event| matches!(event, Event::Speaking { peer: BOT, .. }));
        assert_eq!(speaking.len(), 2, "it began to speak and ceased: {speaking:?}");
        let ticks = world.shard.stats().ticks;
        world.run_ms(500);
        assert_eq!(world.shard.stats().ticks, ticks, "nothing is left to do");
    }
}

#[test]
fn a_source_speaks_beside_people_and_is_not_in_the_way_of_mix_minus() {
    let mut world = with_source(World::new(), ClientOptions::default);
    world.talk(1, TONE_DBFS);
    feed(&mut world, tone(150));
    world.run_ms(2500);
    assert_heard(&world, 0.5);
    world.assert_everyone_hears_the_others(&[1], 0.5, 0.5);
}

#[test]
fn a_muted_source_is_not_heard_and_its_time_goes_on() {
    for mut world in all_ways() {
        feed(&mut world, tone(200));
        world.run_ms(500);
        world.command(Command::new(
            ROOM,
            Action::SetSpeak {
                peer: BOT,
                speak: false,
            },
        ));
        assert_silent_from_now(&mut world);
        world.command(Command::new(ROOM, Action::SetSpeak { peer: BOT, speak: true }));
        world.run_ms(1500);
        assert_heard(&world, 0.5);
        world.run_ms(1000);
        assert_eq!(
            events(&world, |event| matches!(event, Event::SourceDrained { .. })).len(),
            1
        );
    }
}

#[test]
fn clearing_silences_a_source_at_once_and_it_can_speak_again() {
    for mut world in all_ways() {
        feed(&mut world, tone(500));
        feed(&mut world, vec![SourceItem::Mark(1)]);
        world.run_ms(1000);
        world.command(Command::new(ROOM, Action::ClearSource { peer: BOT }));
        world.run_ms(40);
        assert_eq!(
            events(&world, |event| matches!(event, Event::SourceDrained { .. })).len(),
            1
        );
        assert_silent_from_now(&mut world);
        feed(&mut world, tone(100));
        world.run_ms(1500);
        assert_heard(&world, 0.5);
        assert!(events(&world, |event| matches!(event, Event::SourcePlayed { .. })).is_empty());
    }
}

#[test]
fn what_a_source_cannot_take_is_told() {
    let mut world = with_source(World::new(), ClientOptions::default);
    let refused = |world: &World| -> Vec<(RoomId, PeerId, u32)> {
        let events = world.events.iter().filter_map(|(_, event)| match event {
            Event::SourceRefused { room, peer, items } => Some((*room, *peer, *items)),
            _ => None,
        });
        events.collect()
    };
    feed(&mut world, tone(3002));
    world.command(Command::new(
        99,
        Action::Feed {
            peer: BOT,
            items: tone(2),
        },
    ));
    let items = tone(3);
    world.command(Command::new(ROOM, Action::Feed { peer: 1, items }));
    world.command(Command::new(ROOM, Action::JoinSource { peer: BOT, speak: true }));
    world.run_ms(1);
    assert_eq!(refused(&world), [(ROOM, BOT, 2), (99, BOT, 2), (ROOM, 1, 3)]);
    let exists = events(&world, |event| {
        matches!(
            event,
            Event::Refused {
                refusal: Refusal::PeerExists,
                ..
            }
        )
    });
    assert_eq!(exists.len(), 1);
    world.command(Command::new(ROOM, Action::Leave { peer: BOT }));
    world.run_ms(100);
    let left = events(&world, |event| matches!(event, Event::Disconnected { peer: BOT, .. }));
    assert_eq!(left.len(), 1);
}
