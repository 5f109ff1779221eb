//! Longer packets for listeners whose clients ask for them (`a=ptime`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::common::{ROOM, TONE_DBFS, World, slots};
use roomtone_engine::{Action, Command, Event, PeerId};
use roomtone_testkit::link::LinkConfig;
use roomtone_testkit::peer::ClientOptions;

const FRAME: u32 = 960;
/// A listener with longer packets, and one without.
const ASKING: PeerId = 8;
const PLAIN: PeerId = 9;

type NewRoom = fn() -> World;

/// A room where one who talks is mixed, one where their packets are passed on, and one that forwards.
const ROOMS: [(&str, NewRoom); 3] = [
    ("mixed", World::mixing),
    ("passed", World::new),
    ("forwarded", || World::forwarding(2)),
];

/// So many talkers, and both listeners.
fn room(new: NewRoom, talkers: u64, options: ClientOptions) -> World {
    let mut world = new();
    for id in 1..=talkers {
        world.join(id, slots(options.slots));
    }
    world.join(PLAIN, slots(options.slots));
    world.join(ASKING, options);
    world.connect();
    world
}

fn asking(ms: u32) -> ClientOptions {
    ClientOptions {
        ptime: Some(ms),
        ..slots(2)
    }
}

/// The frames of 20 ms that a listener got on each of their streams: when each was to be played, since the first one of all,
/// and when it came.
fn frames(world: &World, listener: PeerId) -> BTreeMap<(usize, u32), Instant> {
    let client = &world.clients[&listener];
    let mut sources: Vec<u32> = client.peer.slot_ssrcs().to_vec();
    sources.extend(client.heard_from.first().filter(|_| sources.is_empty()).copied());
    let mut begins = BTreeMap::new();
    let mut frames = BTreeMap::new();
    for ((at, _, timestamp, ..), (lasts, from)) in client.heard.iter().zip(client.lasts.iter().zip(&client.heard_from))
    {
        let stream = sources.iter().position(|source| source == from).unwrap();
        let begin = *begins.entry(stream).or_insert(*timestamp);
        for time in (0..*lasts).step_by(FRAME as usize) {
            let time = timestamp.wrapping_sub(begin).wrapping_add(time);
            assert_eq!(frames.insert((stream, time), *at), None, "{listener} got a frame twice");
        }
    }
    frames
}

/// The frames that one of the two got and the other didn't.
fn differ(world: &World) -> Vec<(usize, u32)> {
    let [one, other] = [ASKING, PLAIN].map(|id| frames(world, id).into_keys().collect::<BTreeSet<_>>());
    one.symmetric_difference(&other).copied().collect()
}

/// By how much later, at the most, the frames came to the one who asks than to the other; both got the same.
fn most_delay(world: &World) -> Duration {
    assert_eq!(differ(world), Vec::<(usize, u32)>::new());
    let (late, early) = (frames(world, ASKING), frames(world, PLAIN));
    let delays = late
        .iter()
        .map(|(frame, at)| at.saturating_duration_since(early[frame]));
    delays.max().unwrap()
}

/// How many of a listener's packets are missing.
fn missing(world: &World, listener: PeerId) -> usize {
    let heard = &world.clients[&listener].heard;
    let numbers: BTreeSet<u16> = heard.iter().map(|packet| packet.1.wrapping_sub(heard[0].1)).collect();
    assert_eq!(numbers.len(), heard.len(), "a number came twice");
    usize::from(*numbers.last().unwrap()) + 1 - numbers.len()
}

/// The lengths of so many of a listener's last packets, ms.
fn lengths(world: &World, listener: PeerId, packets: usize) -> BTreeSet<u32> {
    let lasts = world.clients[&listener].lasts.iter().rev().take(packets);
    lasts.map(|lasts| lasts / 48).collect()
}

#[test]
fn a_listener_who_asks_hears_the_same_in_fewer_packets_a_little_later() {
    for (name, new) in ROOMS {
        for ms in [40, 60] {
            let mut world = room(new, 1, asking(ms));
            world.talk(1, TONE_DBFS);
            world.run_ms(2_000);
            let heard = world.heard_db(ASKING, 1, 0.5);
            assert!(heard.abs() <= 0.5, "{name}, {ms} ms: {heard} dB");
            let before = [ASKING, PLAIN].map(|id| world.clients[&id].heard.len());
            world.run_ms(1_500);
            let packets = [0, 1].map(|at| world.clients[&[ASKING, PLAIN][at]].heard.len() - before[at]);
            assert!((74..=76).contains(&packets[1]), "{name}: {packets:?}");
            let few = 1_500 / ms as usize;
            assert!(
                (few - 1..=few + 1).contains(&packets[0]),
                "{name}, {ms} ms: {packets:?}"
            );
            assert_eq!(lengths(&world, ASKING, packets[0]), BTreeSet::from([ms]), "{name}");
            assert_eq!(lengths(&world, PLAIN, packets[1]), BTreeSet::from([20]), "{name}");
            world.clients.get_mut(&1).unwrap().talker = None;
            world.run_ms(600);
            let most = Duration::from_millis(u64::from(ms) - 15);
            assert!(most_delay(&world) <= most, "{name}, {ms} ms");
            let line = "a=ptime:20\r\n";
            let told = |event: &Event| matches!(event, Event::Answer { peer: ASKING, sdp, .. } if sdp.contains(line));
            assert_eq!(world.events_of(told).len(), 1, "{name}");
            for client in world.clients.values() {
                client.assert_continuous();
            }
        }
    }
}

#[test]
fn nothing_is_stuck_when_a_talker_stops_is_muted_or_leaves() {
    let ends: [fn(&mut World); 3] = [
        |world| world.clients.get_mut(&1).unwrap().talker = None,
        |world| {
            let (peer, speak) = (1, false);
            world.command(Command::new(ROOM, Action::SetSpeak { peer, speak }));
        },
        |world| world.command(Command::new(ROOM, Action::Leave { peer: 1 })),
    ];
    for (name, new) in ROOMS {
        for (number, end) in ends.iter().enumerate() {
            let mut world = room(new, 1, asking(60));
            for spurt in 0..2 {
                world.talk(1, TONE_DBFS);
                world.run_ms(300 + 20 * spurt);
                world.clients.get_mut(&1).unwrap().talker = None;
                world.run_ms(600);
                assert!(most_delay(&world) <= Duration::from_millis(45), "{name}, {number}");
            }
            world.talk(1, TONE_DBFS);
            world.run_ms(300);
            end(&mut world);
            world.run_ms(600);
            assert!(most_delay(&world) <= Duration::from_millis(45), "{name}, {number}");
            assert_eq!(missing(&world, ASKING), 0, "{name}, {number}");
        }
    }
}

/// 1 talks, and this happens to their packets.
fn troubled(new: NewRoom, loss: f32, reorder_every: Option<u32>) -> World {
    let mut world = room(new, 1, asking(60));
    world.talk(1, TONE_DBFS);
    world.run_ms(1_000);
    let config = LinkConfig {
        seed: 3,
        latency: Duration::from_millis(25),
        loss,
        reorder_every,
        ..LinkConfig::default()
    };
    world.clients.get_mut(&1).unwrap().to_server.set_config(config);
    world.run_ms(8_000);
    world.clients.get_mut(&1).unwrap().talker = None;
    world.run_ms(600);
    world
}

#[test]
fn packets_that_a_talker_loses_are_missing_in_time_and_not_in_numbers() {
    let world = troubled(|| World::forwarding(2), 0.05, None);
    assert!(most_delay(&world) <= Duration::from_millis(45));
    let [lost, none] = [PLAIN, ASKING].map(|id| missing(&world, id));
    assert!(lost > 10 && none == 0, "{lost} {none}");
}

#[test]
fn overtaken_packets_neither_come_twice_nor_disturb_the_order() {
    for (name, new) in &ROOMS[1..] {
        let world = troubled(*new, 0.02, Some(9));
        assert_eq!(missing(&world, ASKING), 0, "{name}");
        let client = &world.clients[&ASKING];
        for pair in client.heard.windows(2) {
            assert!(pair[1].1.wrapping_sub(pair[0].1) < 100, "{name}: out of order");
            assert!(
                (pair[1].2.wrapping_sub(pair[0].2)).cast_signed() > 0,
                "{name}: back in time"
            );
        }
        let [got, all] = [ASKING, PLAIN].map(|id| frames(&world, id).len());
        assert!(got > all * 4 / 5, "{name}: {got} of {all} frames");
        let packets = client.heard.len();
        assert!(packets < got * 2 / 3, "{name}: {packets} packets of {got} frames");
    }
}

#[test]
fn each_slot_of_a_forwarding_room_has_packets_of_one_talker() {
    let mut world = room(|| World::forwarding(2), 3, asking(60));
    // More talkers than slots, and who is loudest changes.
    for round in 0..9u64 {
        for id in 1..=3 {
            world.talk(id, -20.0 - 12.0 * ((id + round) % 3) as f32);
        }
        world.run_ms(611);
    }
    for id in 1..=3 {
        world.clients.get_mut(&id).unwrap().talker = None;
    }
    world.run_ms(200);
    assert!(most_delay(&world) <= Duration::from_millis(45));
    let talkers = |id| world.clients[&id].contributed.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(talkers(ASKING), talkers(PLAIN));
    assert_eq!(talkers(ASKING).len(), 3);
    world.clients[&ASKING].assert_continuous();
}

#[test]
fn packets_are_short_while_copies_or_fec_make_up_for_losses() {
    for red in [Some(63), None] {
        let options = ClientOptions {
            red,
            report_interval: Duration::from_secs(1),
            ..asking(60)
        };
        let mut world = room(World::mixing, 1, options);
        world.talk(1, TONE_DBFS);
        world.run_ms(2_000);
        let lossy = LinkConfig {
            seed: 5,
            loss: 0.08,
            ..LinkConfig::default()
        };
        let link = |world: &mut World, config| {
            world.clients.get_mut(&ASKING).unwrap().to_client.set_config(config);
        };
        link(&mut world, lossy);
        world.run_ms(8_000);
        let copies = world.clients[&ASKING].peer.stats().copies_received;
        world.run_ms(4_000);
        assert_eq!(lengths(&world, ASKING, 150), BTreeSet::from([20]), "{red:?}");
        let copies = world.clients[&ASKING].peer.stats().copies_received - copies;
        if red.is_some() {
            assert!(copies > 150, "{copies}");
        }
        link(&mut world, LinkConfig::default());
        world.run_ms(13_000);
        assert_eq!(lengths(&world, ASKING, 15), BTreeSet::from([60]), "{red:?}");
    }
}

fn ask_anew(world: &mut World, asked: u32, ms: u32) {
    let now = world.now;
    let offer = world.clients.get_mut(&ASKING).unwrap().peer.restart(now);
    let line = |ms| format!("a=ptime:{ms}\r\n");
    world.reoffer(ASKING, offer.replace(&line(asked), &line(ms)));
}

#[test]
fn longer_packets_that_are_asked_for_amid_losses_wait_for_their_end() {
    let options = ClientOptions {
        red: Some(63),
        report_interval: Duration::from_secs(1),
        ..asking(20)
    };
    let mut world = room(World::mixing, 1, options);
    world.talk(1, TONE_DBFS);
    let link = |world: &mut World, loss| {
        let config = LinkConfig {
            seed: 5,
            loss,
            ..LinkConfig::default()
        };
        world.clients.get_mut(&ASKING).unwrap().to_client.set_config(config);
    };
    link(&mut world, 0.08);
    world.run_ms(5_000);
    ask_anew(&mut world, 20, 60);
    // Until the next report.
    world.run_ms(500);
    assert_eq!(lengths(&world, ASKING, 15), BTreeSet::from([20]));
    link(&mut world, 0.0);
    world.run_ms(13_000);
    assert_eq!(lengths(&world, ASKING, 15), BTreeSet::from([60]));
}

#[test]
fn a_further_offer_changes_the_length() {
    let mut world = room(World::new, 1, asking(60));
    world.talk(1, TONE_DBFS);
    world.run_ms(1_000);
    for ms in [20, 40, 60, 40] {
        ask_anew(&mut world, 60, ms);
        world.run_ms(500);
        assert_eq!(lengths(&world, ASKING, 5), BTreeSet::from([ms]));
    }
    assert!(world.heard_db(ASKING, 1, 1.0).abs() <= 0.5);
    world.clients.get_mut(&1).unwrap().talker = None;
    world.run_ms(200);
    assert_eq!(missing(&world, ASKING), 0);
    most_delay(&world);
    world.clients[&ASKING].assert_continuous();
    // They leave with packets on the way.
    world.talk(1, TONE_DBFS);
    world.run_ms(500);
    world.run_ms(7);
    world.command(Command::new(ROOM, Action::Leave { peer: ASKING }));
    world.run_ms(500);
    assert_eq!(world.shard.stats().peers, 2);
}
