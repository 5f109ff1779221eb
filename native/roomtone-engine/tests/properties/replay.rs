//! A room whose inputs were recorded is played again: each listener is sent the same, bit for bit.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use roomtone_engine::{
    Action, Command, Event, FaultScope, Journal, JournalEnd, MixConfig, PeerId, Replay, ReplayCounts, ReplayError,
    RoomKind, SourceItem, Tap, TapSound, Voice,
};
use roomtone_testkit::fixtures::{OpusTalker, Tone};
use roomtone_testkit::link::{Link, LinkConfig};
use roomtone_testkit::peer::{ClientOptions, Identity};

use crate::common::client::Client;
use crate::common::speech::Noisy;
use crate::common::{ROOM, World, slots};
use crate::scene::{Kind, Scene};
use crate::seeds;

/// A packet as a client gets it: SSRC, sequence number, timestamp, marker, Opus.
type Packet = (u32, u16, u32, bool, Vec<u8>);

fn record(world: &mut World) -> Journal {
    let journal = Journal::new();
    world.command(Command::new(
        ROOM,
        Action::RecordInputs {
            journal: journal.clone(),
        },
    ));
    world.collect();
    journal
}

/// All blocks that came so far, given back.
fn take(journal: &Journal, blocks: &mut Vec<Vec<u8>>) {
    while let Some(block) = journal.take() {
        blocks.push(block.clone());
        journal.give_back(block);
    }
}

/// Ends the room, and with it the recording.
fn close(world: &mut World, journal: &Journal, blocks: &mut Vec<Vec<u8>>) {
    world.command(Command::new(ROOM, Action::Close));
    world.run_ms(50);
    take(journal, blocks);
    assert_eq!(journal.ended(), Some(JournalEnd::Room));
}

#[allow(clippy::disallowed_methods)] // a virtual clock has to start somewhere
fn fresh() -> Replay {
    Replay::new(Instant::now()).unwrap()
}

fn replay(blocks: &[Vec<u8>]) -> (BTreeMap<PeerId, Vec<Packet>>, ReplayCounts) {
    let mut heard: BTreeMap<PeerId, Vec<Packet>> = BTreeMap::new();
    let mut replay = fresh();
    for block in blocks {
        let taken = replay.read(block, |packet| {
            heard.entry(packet.listener).or_default().push((
                packet.ssrc,
                packet.sequence,
                packet.timestamp,
                packet.marker,
                packet.payload.to_vec(),
            ));
        });
        taken.unwrap();
    }
    (heard, replay.counts())
}

fn got(client: &Client) -> Vec<Packet> {
    let payloads = client.payloads.as_ref().unwrap();
    let heard = client.heard.iter().zip(&client.heard_from).zip(payloads);
    heard
        .map(|(((_, seq, timestamp, marker, _), ssrc), payload)| (*ssrc, *seq, *timestamp, *marker, payload.to_vec()))
        .collect()
}

fn keep_payloads(world: &mut World) {
    for client in world.clients.values_mut() {
        client.payloads.get_or_insert_with(Vec::new);
    }
}

/// Each client got what the replay sends, up to what was on its way to them at the end.
fn assert_same<'a>(
    clients: impl Iterator<Item = &'a Client>,
    replayed: &BTreeMap<PeerId, Vec<Packet>>,
    told: &[String],
) -> usize {
    let mut packets = 0;
    for client in clients {
        let got = got(client);
        let sent = replayed.get(&client.id).map_or(&[][..], Vec::as_slice);
        // The first packets may come before they have the keys.
        let first = got.first().and_then(|first| sent.iter().position(|sent| sent == first));
        let sent = &sent[first.unwrap_or(0)..];
        let same = sent.iter().zip(&got).take_while(|(sent, got)| sent == got).count();
        assert!(
            first.unwrap_or(0) <= 3 && same == got.len() && sent.len() - same <= 3,
            "{}: packet {same} of {} differs, {} replayed; {told:#?}",
            client.id,
            got.len(),
            sent.len(),
        );
        packets += got.len();
    }
    packets
}

fn check(counts: &ReplayCounts, told: &[String]) {
    assert!(counts.compared > 0, "{counts:?}");
    assert_eq!(counts.different, 0, "{counts:?}; {told:#?}");
}

fn random_room(seed: u64, stereo: bool, mix: MixConfig) {
    let mut world = World::of_many_with(2, mix);
    let journal = record(&mut world);
    let mut kinds = Kind::ALL.to_vec();
    kinds.push(Kind::Few);
    let mut scene = if stereo {
        Scene::in_stereo(seed, world, &kinds)
    } else {
        Scene::new(seed, world, &kinds)
    };
    let mut blocks = Vec::new();
    for _ in 0..70 {
        scene.step();
        take(&journal, &mut blocks);
    }
    close(&mut scene.world, &journal, &mut blocks);
    let (heard, counts) = replay(&blocks);
    check(&counts, &scene.told);
    let clients = scene.world.clients.values().chain(&scene.gone);
    let packets = assert_same(clients, &heard, &scene.told);
    assert!(packets > 300, "seed {seed}: {packets} packets prove little");
}

#[test]
fn a_replay_sends_each_listener_the_same_whatever_happened() {
    for seed in seeds(0..3) {
        random_room(seed, seed % 2 == 1, MixConfig::default());
    }
}

#[test]
fn a_replay_of_a_room_that_passes_nothing_through_is_the_same() {
    let mix = MixConfig {
        pass_through: false,
        ..MixConfig::default()
    };
    for seed in seeds(20..21) {
        random_room(seed, false, mix.clone());
    }
}

// Losses on both ways, so that jitter buffers stretch and conceal, and copies, FEC and lower bit rates come; and another room on the
// same shard, whose sound uses the same working space.
#[test]
fn a_replay_has_the_losses_and_the_answers_to_them() {
    let mut world = World::new();
    let journal = record(&mut world);
    world.command(Command::new(
        2,
        Action::Open {
            kind: RoomKind::default(),
        },
    ));
    for id in 1..=4 {
        world.join_talking(id);
    }
    for id in 11..=12 {
        world.join_room(2, id, ClientOptions::default());
        world.talk(id, -30.0);
    }
    world.connect();
    for (id, client) in &mut world.clients {
        let lossy = |seed| LinkConfig {
            seed,
            latency: Duration::from_millis(30),
            jitter: Duration::from_millis(20),
            loss: 0.12,
            ..LinkConfig::default()
        };
        client.to_server = Link::new(lossy(*id));
        client.to_client = Link::new(lossy(100 + id));
    }
    let mut blocks = Vec::new();
    for second in 0..20 {
        // One after the other and all at once: packets that are passed on, and mixes.
        for id in 1..=4 {
            if second % 5 == 0 || second % 4 + 1 == id {
                world.talk(id, -30.0);
            } else {
                world.clients.get_mut(&id).unwrap().talker = None;
            }
        }
        world.run_ms(1_000);
        take(&journal, &mut blocks);
    }
    close(&mut world, &journal, &mut blocks);
    let (heard, counts) = replay(&blocks);
    check(&counts, &[]);
    for id in 1..=4 {
        assert!(heard[&id].len() > 300, "{id}: {} packets", heard[&id].len());
    }
    assert!(!heard.contains_key(&11), "of the other room there is nothing");
}

#[test]
fn a_replay_sheds_load_when_the_shard_did() {
    let mut world = World::mixing();
    let journal = record(&mut world);
    for id in 1..=5 {
        world.join_talking(id);
    }
    world.connect();
    keep_payloads(&mut world);
    let mut blocks = Vec::new();
    for second in 0..8 {
        let load = if second < 5 { 0.95 } else { 0.1 };
        world.shard.handle_load(world.now, load);
        world.run_ms(1_000);
        take(&journal, &mut blocks);
    }
    assert!(
        !world
            .events_of(|event| matches!(event, Event::Shed { level: 3.. }))
            .is_empty()
    );
    close(&mut world, &journal, &mut blocks);
    let (heard, counts) = replay(&blocks);
    check(&counts, &[]);
    let packets = assert_same(world.clients.values(), &heard, &[]);
    assert!(packets > 1_000);
}

#[test]
fn a_replay_of_a_forwarding_room_is_the_same_in_each_slot() {
    let mut world = World::forwarding(2);
    let journal = record(&mut world);
    for id in 1..=4 {
        world.join(id, slots(if id == 4 { 0 } else { 2 }));
    }
    world.connect();
    keep_payloads(&mut world);
    let mut blocks = Vec::new();
    for round in 0..12 {
        for id in 1..=4 {
            match (round + id) % 3 {
                0 => world.clients.get_mut(&id).unwrap().talker = None,
                more => world.talk(id, -30.0 - 3.0 * more as f32),
            }
        }
        let [listener, speaker] = [1 + round % 4, 1 + (round + 1) % 4];
        world.set_gain(listener, speaker, [0.0, 1.0, 0.5][round as usize % 3]);
        world.run_ms(700);
        take(&journal, &mut blocks);
    }
    close(&mut world, &journal, &mut blocks);
    let (heard, counts) = replay(&blocks);
    check(&counts, &[]);
    // Slots are streams of their own, and the order between them isn't kept on the way.
    for client in world.clients.values() {
        let (mut got, mut sent) = (got(client), heard[&client.id].clone());
        got.sort();
        sent.sort();
        let missing = sent.iter().filter(|packet| got.binary_search(packet).is_err()).count();
        assert!(
            got.iter().all(|packet| sent.binary_search(packet).is_ok()) && missing <= 4,
            "{}: {missing} of {} differ",
            client.id,
            sent.len()
        );
        assert!(got.len() > 100, "{}", got.len());
    }
}

// A packet that was overtaken is left out of longer ones, and counts all the same.
#[test]
fn a_replay_has_each_packet_of_which_longer_ones_were_made() {
    let rooms: [fn() -> World; 2] = [World::new, || World::forwarding(2)];
    for new in rooms {
        let mut world = new();
        let journal = record(&mut world);
        world.join_talking(1);
        let asking = ClientOptions {
            ptime: Some(60),
            ..slots(2)
        };
        world.join(2, asking);
        world.connect();
        world.clients.get_mut(&1).unwrap().to_server = Link::new(LinkConfig {
            seed: 3,
            latency: Duration::from_millis(25),
            loss: 0.02,
            reorder_every: Some(9),
            ..LinkConfig::default()
        });
        let mut blocks = Vec::new();
        for _ in 0..5 {
            world.run_ms(1_000);
            take(&journal, &mut blocks);
        }
        close(&mut world, &journal, &mut blocks);
        let (heard, counts) = replay(&blocks);
        check(&counts, &[]);
        let packets = world.clients[&2].heard.len();
        assert!((50..130).contains(&packets), "{packets} packets");
        assert!(heard[&2].len() > 2 * packets, "{} of {packets}", heard[&2].len());
    }
}

#[test]
fn a_replay_has_sources_taps_traces_and_people_who_begin_anew() {
    let mut world = World::new();
    let journal = record(&mut world);
    world.join_talking(1);
    world.join(2, ClientOptions::default());
    world.connect();
    world.command(Command::new(ROOM, Action::JoinSource { peer: 7, speak: true }));
    let tap = Tap::new(world.start, Duration::from_millis(100));
    let sound = TapSound::Mix {
        default_gain: 1.0,
        gains: vec![(1, 0.5)],
        stereo: false,
    };
    world.command(Command::new(ROOM, Action::JoinTap { peer: 8, tap, sound }));
    keep_payloads(&mut world);
    let mut talker = OpusTalker::new(Tone::new(700.0, 0.1), 64_000).unwrap();
    let mut blocks = Vec::new();
    for round in 0..6 {
        let items = (0..30)
            .map(|_| SourceItem::Packet {
                data: talker.next().unwrap().payload.to_vec(),
                level: Some(20),
            })
            .collect();
        world.command(Command::new(ROOM, Action::Feed { peer: 7, items }));
        let trace = Action::Trace {
            talker: 1,
            listener: None,
            reference: round,
        };
        world.command(Command::new(ROOM, trace));
        world.run_ms(450);
        if round == 3 {
            world.command(Command::new(ROOM, Action::ClearSource { peer: 7 }));
            let options = ClientOptions {
                identity: Some(Identity::generate().unwrap()),
                ..ClientOptions::default()
            };
            world.begin_anew(1, options);
            world.talk(1_001, -25.0);
            world.connect();
            world.command(Command::new(ROOM, Action::Leave { peer: 1 }));
            world.clients.remove(&1);
            keep_payloads(&mut world);
        }
        world.run_ms(300);
        take(&journal, &mut blocks);
    }
    close(&mut world, &journal, &mut blocks);
    let (heard, counts) = replay(&blocks);
    check(&counts, &[]);
    let packets = assert_same(world.clients.values(), &heard, &[]);
    assert!(packets > 200, "{packets}");
}

#[test]
fn a_replay_suppresses_the_noise_that_was_suppressed() {
    let mut world = World::new();
    let journal = record(&mut world);
    world.join(1, ClientOptions::default());
    let noisy = OpusTalker::new(Noisy::new(Some(12.0)), 64_000).unwrap();
    world.clients.get_mut(&1).unwrap().talker = Some(noisy);
    world.join(2, ClientOptions::default());
    world.connect();
    keep_payloads(&mut world);
    let mut blocks = Vec::new();
    // Music has no noise suppressed, and the wish for it outlives that.
    for (voice, suppress) in [
        (Voice::Even, true),
        (Voice::Music, true),
        (Voice::Plain, true),
        (Voice::Even, false),
    ] {
        world.command(Command::new(
            ROOM,
            Action::SetVoice {
                peer: 1,
                voice,
                suppress,
            },
        ));
        world.run_ms(2_500);
        take(&journal, &mut blocks);
    }
    assert!(world.shard.stats().frames_suppressed > 100);
    close(&mut world, &journal, &mut blocks);
    let (heard, counts) = replay(&blocks);
    check(&counts, &[]);
    assert!(assert_same(world.clients.values(), &heard, &[]) > 300);
}

#[test]
fn a_room_that_failed_fails_again() {
    let mut world = World::of_two_talkers();
    let refused = record(&mut world);
    assert_eq!(refused.ended(), Some(JournalEnd::Used), "somebody has been in already");
    let mut world = World::new();
    let journal = record(&mut world);
    let again = record(&mut world);
    assert_eq!(again.ended(), Some(JournalEnd::Used));
    world.join_talking(1);
    world.connect();
    world.run_ms(500);
    let scope = FaultScope::Room;
    world.command(Command::new(ROOM, Action::Fault { scope }));
    world.run_ms(100);
    assert_eq!(journal.ended(), Some(JournalEnd::Room));
    let mut replay = fresh();
    let mut ended = Ok(());
    while let Some(block) = journal.take() {
        ended = replay.read(&block, |_| {});
    }
    assert!(
        matches!(ended, Err(ReplayError::RoomFailed { at }) if at > Duration::from_millis(500)),
        "{ended:?}"
    );
}

#[test]
fn a_room_at_rest_hands_over_its_last_inputs() {
    let mut world = World::new();
    let journal = record(&mut world);
    world.join(1, ClientOptions::default());
    world.connect();
    world.run_ms(2_000);
    world.command(Command::new(ROOM, Action::Leave { peer: 1 }));
    world.run_ms(300);
    let mut blocks = Vec::new();
    take(&journal, &mut blocks);
    let (_, counts) = replay(&blocks);
    assert!(counts.lasted > Duration::from_secs(2), "{counts:?}");
}

#[test]
fn a_recording_that_was_changed_is_refused_or_played_and_never_panics() {
    let mut world = World::new();
    let journal = record(&mut world);
    for id in 1..=3 {
        world.join_talking(id);
    }
    world.connect();
    world.run_ms(400);
    let mut blocks = Vec::new();
    take(&journal, &mut blocks);
    let whole = blocks.concat();
    for n in 0..200usize {
        let mut bytes = whole.clone();
        let at = (n * 7_919) % bytes.len();
        bytes[at] = bytes[at].wrapping_add(1 + (n % 250) as u8);
        bytes.truncate(bytes.len() - n);
        let mut replay = fresh();
        let _ = replay.read(&bytes, |_| {});
    }
    let mut replay = fresh();
    assert!(replay.read(&whole[40..], |_| {}).is_err());
}
