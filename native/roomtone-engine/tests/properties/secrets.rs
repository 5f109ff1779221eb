//! A listener's packets have no trace of a talker whom they may not hear: not quietly, not for a moment, not in the coding of others.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use roomtone_engine::{Action, Command, PeerId, RoomKind};
use roomtone_testkit::listen::{dbfs, goertzel_amplitude};
use roomtone_testkit::peer::ClientOptions;

use crate::common::voice::Mouth;
use crate::common::{Client, ROOM, World};
use crate::scene::{Cell, clear, set_gains};

const VOICE_DBFS: f32 = -30.0;

/// People who all talk, each with their own tone.
fn everybody_talks(world: &mut World, people: PeerId, options: &ClientOptions) -> BTreeMap<PeerId, Mouth> {
    let mut mouths = BTreeMap::new();
    for id in 1..=people {
        world.join(id, options.clone());
        let client = world.clients.get_mut(&id).unwrap();
        client.dbfs = VOICE_DBFS;
        let (mouth, talker) = Mouth::new(client.hz, VOICE_DBFS);
        client.talker = Some(talker);
        mouth.open(true);
        mouths.insert(id, mouth);
    }
    world.connect();
    mouths
}

fn keep_payloads(world: &mut World) {
    for client in world.clients.values_mut() {
        client.payloads = Some(Vec::new());
    }
}

fn gain(gain: f32) -> Option<Cell> {
    Some(Cell { gain, pan: 0.0 })
}

/// All that listeners 3 and 4 got, packet by packet, while others heard 1 as they liked; 1 talks, or holds their tongue.
fn story_of_a_whisper(seed: u64, talks: bool) -> Vec<Vec<Bytes>> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::with(clear());
    let mouths = everybody_talks(&mut world, 6, &ClientOptions::default());
    world.command(set_gains(&BTreeMap::from([((3, 1), gain(0.0)), ((4, 1), gain(0.0))])));
    mouths[&1].open(false);
    // From the same moment on in each story, whenever the handshakes ended; and long after the last of 1 that they may hear.
    let now = world.elapsed().as_millis() as u64;
    world.run_ms(3000 - now);
    keep_payloads(&mut world);
    for _ in 0..12 {
        let open = random.random_bool(0.7);
        mouths[&1].open(talks && open);
        let mut cells = BTreeMap::new();
        for listener in 1..=6 {
            for speaker in 1..=4 {
                let forbidden = speaker == 1 && (listener == 3 || listener == 4);
                // Somebody is heard by each at any time: in silence encoders become one, and then it matters whose history it has.
                let least = if speaker == 2 || speaker == 3 { 1 } else { 0 };
                let level = [0.0, 0.5, 1.0, 2.0][random.random_range(least..4)];
                if !forbidden && random.random_bool(0.3) {
                    cells.insert((listener, speaker), gain(level));
                }
            }
        }
        world.command(set_gains(&cells));
        let pause = random.random_range(20..200);
        world.run_ms(pause);
    }
    [3, 4].map(|id| world.clients[&id].payloads.clone().unwrap()).to_vec()
}

#[test]
fn who_may_not_hear_somebody_gets_the_same_packets_to_the_bit_whether_they_talk_or_not() {
    for seed in crate::seeds(0..6) {
        let (talks, silent) = (story_of_a_whisper(seed, true), story_of_a_whisper(seed, false));
        assert!(talks.iter().all(|packets| packets.len() > 20));
        assert!(talks == silent, "seed {seed}");
    }
}

/// The levels of a tone in each of a listener's packets, dB below how it was spoken: what a decoder makes of each.
fn tone_in_each(client: &Client, packets: &[Bytes], hz: f32) -> Vec<f32> {
    let mut decoder = roomtone_audio::Decoder::new().unwrap();
    let mut levels = Vec::new();
    for packet in packets {
        let mut pcm = Vec::new();
        decoder.decode(packet, &mut pcm).unwrap();
        levels.push(dbfs(goertzel_amplitude(&pcm, hz)) - client.dbfs);
    }
    levels
}

/// The ways in which a talker ceases to be heard: commands one after the other, with no tick between.
fn hushes() -> Vec<Vec<Command>> {
    let speak = |speak: bool| Command::new(ROOM, Action::SetSpeak { peer: 1, speak });
    let leave = || Command::new(ROOM, Action::Leave { peer: 1 });
    vec![
        vec![set_gains(&BTreeMap::from([((3, 1), gain(0.0))]))],
        vec![speak(false)],
        vec![leave()],
        vec![speak(false), leave()],
        vec![speak(false), speak(true), leave()],
    ]
}

#[test]
fn who_is_hushed_is_in_one_frame_more_and_in_none_after_that() {
    for (which, hush) in hushes().into_iter().enumerate() {
        // At different moments between two ticks.
        for moment in [0, 7, 13] {
            let mut world = World::with(clear());
            everybody_talks(&mut world, 4, &ClientOptions::default());
            // 4 never hears 1, and doesn't at their end either.
            world.command(set_gains(&BTreeMap::from([((4, 1), gain(0.0))])));
            world.run_ms(1000 + moment);
            let hz = world.clients[&1].hz;
            keep_payloads(&mut world);
            world.run_ms(200);
            let before = world.clients[&3].payloads.as_ref().unwrap().len();
            for command in hush.clone() {
                world.command(command);
            }
            world.collect();
            world.run_ms(400);
            let listener = &world.clients[&3];
            let packets = listener.payloads.as_ref().unwrap();
            assert!(packets.len() > before + 15, "2 is heard as before");
            let levels = tone_in_each(listener, packets, hz);
            assert!(levels[before - 1] > -1.0, "heard until then: {levels:.0?}");
            // One frame fades out, and the codec's delay of 6.5 ms carries its end, by then next to nothing, into the next packet.
            assert!(levels[before + 1] < -20.0, "hush {which}: {levels:.0?}");
            for level in &levels[before + 2..] {
                assert!(*level < -40.0, "hush {which}: {levels:.0?}");
            }
            // A decoder that begins while other tones sound needs a while to settle.
            let deaf = &world.clients[&4];
            let levels = tone_in_each(deaf, deaf.payloads.as_ref().unwrap(), hz);
            let settled = &levels[before - 2..];
            assert!(settled.iter().all(|level| *level < -42.0), "hush {which}: {levels:.0?}");
        }
    }
}

/// One talks and is passed on. From the moment at which a listener may not hear them any longer no packet of theirs is sent to that listener, and what ends
/// in the frame after that is only what was sent before.
#[test]
fn who_is_hushed_while_passed_on_is_in_no_packet_more() {
    for (which, hush) in hushes().into_iter().enumerate() {
        for moment in 0..20 {
            let mut world = World::with(clear());
            let mouths = everybody_talks(&mut world, 3, &ClientOptions::default());
            mouths.values().for_each(|mouth| mouth.open(false));
            world.run_ms(1000);
            mouths[&1].open(true);
            world.run_ms(500 + moment);
            for client in world.clients.values_mut() {
                client.sent = Some(BTreeSet::new());
            }
            keep_payloads(&mut world);
            world.run_ms(100);
            let sent = world.clients[&1].sent.clone().unwrap();
            let before = world.clients[&3].payloads.as_ref().unwrap().clone();
            assert!(before.len() == 5 && before.iter().all(|packet| sent.contains(packet)));
            for command in hush.clone() {
                world.command(command);
            }
            world.collect();
            // 1 may speak again after some of these, but isn't there any longer.
            world.run_ms(400);
            let after = &world.clients[&3].payloads.as_ref().unwrap()[before.len()..];
            let said = |packet: &&Bytes| world.clients[&1].sent.as_ref().unwrap().contains(*packet);
            assert_eq!(after.iter().filter(said).count(), 0, "hush {which}, moment {moment}");
            // One that fades out, and a fifth of a second of silence, or less where a mix that rests already is the same.
            assert!(
                (10..=11).contains(&after.len()),
                "hush {which}, moment {moment}: {}",
                after.len()
            );
            let hz = world.clients[&1].hz;
            let all: Vec<Bytes> = before.iter().chain(after).cloned().collect();
            let levels = tone_in_each(&world.clients[&3], &all, hz);
            assert!(
                levels[before.len() + 1] < -20.0,
                "hush {which}, moment {moment}: {levels:.0?}"
            );
            let rest = &levels[before.len() + 2..];
            assert!(
                rest.iter().all(|level| *level < -40.0),
                "hush {which}, moment {moment}: {levels:.0?}"
            );
        }
    }
}

/// Where packets are forwarded it is known of each whose it is: its bytes are theirs.
#[test]
fn where_packets_are_forwarded_none_goes_to_who_may_not_hear_it() {
    for seed in crate::seeds(0..6) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::of_two();
        world.command(Command::new(
            ROOM,
            Action::Open {
                kind: RoomKind::Forward {
                    slots: 3,
                    stereo: false,
                },
            },
        ));
        let options = ClientOptions {
            slots: 3,
            ..ClientOptions::default()
        };
        let people: PeerId = 5;
        let mouths = everybody_talks(&mut world, people, &options);
        world.run_ms(500);
        let (mut gains, mut muted, mut deaf) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let (mut at, mut heard, mut certain) = (0, 0, 0);
        for client in world.clients.values_mut() {
            client.sent = Some(BTreeSet::new());
        }
        for _ in 0..40 {
            let now = world.now;
            let command = match random.random_range(0..6) {
                0 => {
                    let peer = random.random_range(1..=people);
                    let speak = !muted.insert(peer) && muted.remove(&peer);
                    Command::new(ROOM, Action::SetSpeak { peer, speak })
                }
                1 => {
                    let peer = random.random_range(1..=people);
                    let listen = !deaf.insert(peer) && deaf.remove(&peer);
                    Command::new(ROOM, Action::SetListen { peer, listen })
                }
                2 => {
                    let to = 1 - at;
                    Command::new(ROOM, Action::Move { to })
                }
                3 => {
                    mouths[&random.random_range(1..=people)].open(random.random_bool(0.8));
                    set_gains(&BTreeMap::new())
                }
                _ => {
                    let pair = (random.random_range(1..=people), random.random_range(1..=people));
                    let level = [0.0, 0.0, 0.3, 1.0][random.random_range(0..4)];
                    gains.insert(pair, level);
                    set_gains(&BTreeMap::from([(pair, gain(level))]))
                }
            };
            world.shard_at(at).handle_command(now, command.clone());
            if let Action::Move { to } = command.action {
                at = to;
            }
            world.collect();
            keep_payloads(&mut world);
            let pause = random.random_range(1..120);
            world.run_ms(pause);
            for (listener, client) in &world.clients {
                let payloads = client.payloads.as_ref().unwrap();
                let sources = &client.contributed[client.contributed.len() - payloads.len()..];
                for (packet, source) in payloads.iter().zip(sources) {
                    let may_hear = |speaker: PeerId| {
                        let gain = gains.get(&(*listener, speaker)).copied().unwrap_or(1.0);
                        let closed = muted.contains(&speaker) || deaf.contains(listener);
                        gain > 0.0 && *listener != speaker && !closed
                    };
                    // One silence is like another: then it may be anybody's.
                    let said = |client: &&Client| client.sent.as_ref().unwrap().contains(packet);
                    let mut speakers: Vec<PeerId> =
                        world.clients.values().filter(said).map(|client| client.id).collect();
                    // The room numbers its talkers as they come. An introduction is nobody's packet, and has its talker's number.
                    let talker = PeerId::from(source.unwrap());
                    if speakers.is_empty() {
                        speakers.push(talker);
                    }
                    assert!(
                        speakers.contains(&talker),
                        "seed {seed}: {talker}'s number on a packet of {speakers:?}"
                    );
                    assert!(
                        speakers.iter().any(|speaker| may_hear(*speaker)),
                        "seed {seed}: {listener} got a packet of {speakers:?} after {command:?}"
                    );
                    certain += usize::from(speakers.len() == 1);
                    heard += 1;
                }
            }
        }
        assert!(
            certain > 200 && certain * 2 > heard,
            "seed {seed}: {certain} of {heard} packets say whose they are"
        );
        for client in world.clients.values() {
            client.assert_continuous();
        }
    }
}
