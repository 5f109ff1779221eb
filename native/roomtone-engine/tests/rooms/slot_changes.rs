//! Rooms that forward: one packet of ours introduces a talker who comes into another's slot.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{ROOM, World, slots};
use bytes::Bytes;
use roomtone_engine::{Action, Command, PeerId};
use roomtone_testkit::fixtures::{OpusTalker, Source, Tone};
use roomtone_testkit::opus::Decoder;

const LISTENER: PeerId = 9;
const LOUD: f32 = -10.0;
const SOFT: f32 = -30.0;

/// A room with one slot, in which talkers talk at these loudnesses (dBFS) and the listener listens.
fn world(talkers: &[(PeerId, f32)]) -> World {
    let mut world = World::forwarding(1);
    world.join(LISTENER, slots(1));
    world.clients.get_mut(&LISTENER).unwrap().payloads = Some(Vec::new());
    for (id, dbfs) in talkers {
        world.join(*id, slots(1));
        world.talk(*id, *dbfs);
        world.clients.get_mut(id).unwrap().sent = Some(BTreeSet::new());
    }
    world
}

fn level(pcm: &[f32]) -> f32 {
    10.0 * (pcm.iter().map(|sample| sample * sample).sum::<f32>() / pcm.len() as f32).log10()
}

/// Nearly silent at first, then a tone.
struct Onset {
    tone: Tone,
    quiet_frames: usize,
}

impl Source for Onset {
    fn fill(&mut self, pcm: &mut [f32]) {
        self.tone.fill(pcm);
        if self.quiet_frames > 0 {
            self.quiet_frames -= 1;
            pcm.iter_mut().for_each(|sample| *sample *= 0.0003);
        }
    }
}

fn onset(world: &World, talker: PeerId, dbfs: f32, quiet_frames: usize, bitrate: u32) -> OpusTalker {
    let tone = Tone::new(world.clients[&talker].hz, 10f32.powf(dbfs / 20.0));
    OpusTalker::new(Onset { tone, quiet_frames }, bitrate).unwrap()
}

/// By how many dB frames of these packets are off at one decoder, for each packet that is in `right` the level that it should have.
fn errors<'a>(payloads: impl Iterator<Item = &'a Bytes>, right: &BTreeMap<Bytes, f32>) -> Vec<f32> {
    let mut decoder = Decoder::new().unwrap();
    let mut errors = Vec::new();
    for payload in payloads {
        let heard = level(decoder.decode(payload).unwrap());
        if let Some(right) = right.get(payload) {
            errors.push(heard - right);
        }
    }
    errors
}

fn sent(world: &World) -> BTreeSet<Bytes> {
    let sent = world.clients.values().filter_map(|client| client.sent.as_ref());
    sent.flatten().cloned().collect()
}

/// The number of packets that the listener got and no talker sent.
fn introductions(world: &World) -> usize {
    let sent = sent(world);
    let payloads = world.clients[&LISTENER].payloads.as_ref().unwrap();
    payloads.iter().filter(|payload| !sent.contains(*payload)).count()
}

#[test]
fn a_talker_in_anothers_slot_is_not_too_loud_at_first() {
    const QUIET_FRAMES: usize = 60;
    for bitrate in [16_000, 24_000, 40_000, 64_000] {
        let mut world = world(&[(1, LOUD), (2, SOFT)]);
        world.clients.get_mut(&2).unwrap().talker = None;
        world.connect();
        world.clients.get_mut(&1).unwrap().talker = Some(onset(&world, 1, LOUD, 0, bitrate));
        world.clients.get_mut(&2).unwrap().talker = Some(onset(&world, 2, SOFT, QUIET_FRAMES, bitrate));
        world.run_ms(800);
        world.clients.get_mut(&1).unwrap().talker = None;
        world.run_ms(1_000);
        // The same packets at a decoder that has heard nobody else.
        let mut own = onset(&world, 2, SOFT, QUIET_FRAMES, bitrate);
        let (mut decoder, mut right) = (Decoder::new().unwrap(), BTreeMap::new());
        for n in 0..90 {
            let payload = own.next().unwrap().payload;
            let level = level(decoder.decode(&payload).unwrap());
            if n >= QUIET_FRAMES {
                right.insert(payload, level);
            }
        }
        let sent = sent(&world);
        let listener = &world.clients[&LISTENER];
        let payloads = listener.payloads.as_ref().unwrap();
        let introduced = errors(payloads.iter(), &right);
        let bare = errors(payloads.iter().filter(|payload| sent.contains(*payload)), &right);
        assert!(introduced.len() > 20, "{} packets", introduced.len());
        assert!(introduced.iter().all(|error| *error < 1.0), "{introduced:.1?} dB");
        assert!(bare[0] > 10.0, "without an introduction: {bare:.1?} dB");
        listener.assert_continuous();
        assert_eq!(
            listener.heard.iter().filter(|packet| packet.3).count(),
            2,
            "a marker for each turn"
        );
        assert!(introductions(&world) <= 2, "one for each turn");
    }
}

#[test]
fn an_introduction_tells_nothing_from_before_the_listener_might_hear_the_talker() {
    let mut world = world(&[(1, -20.0)]);
    world.set_gain(LISTENER, 1, 0.0);
    world.connect();
    world.run_ms(500);
    for _ in 0..5 {
        world.set_gain(LISTENER, 1, 1.0);
        world.run_ms(300);
        world.set_gain(LISTENER, 1, 0.0);
        world.run_ms(300);
    }
    assert!(world.clients[&LISTENER].heard.len() > 50);
    assert_eq!(introductions(&world), 0);
    for speak in [false, true] {
        world.command(Command::new(ROOM, Action::SetSpeak { peer: 1, speak }));
        world.set_gain(LISTENER, 1, 1.0);
        world.run_ms(300);
    }
    assert_eq!(introductions(&world), 0);
}
