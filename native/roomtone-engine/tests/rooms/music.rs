//! Music mode: nothing is done to a talker's sound, and both of its channels arrive.

use crate::common::speech::speaker;
use crate::common::{ROOM, World};
use roomtone_audio::{Channels, Decoder, Encoder, EncoderConfig, FRAME_SAMPLES};
use roomtone_engine::{Action, Command, PeerId, RoomKind, Voice};
use roomtone_testkit::fixtures::{Source, Tone};
use roomtone_testkit::listen::{dbfs, goertzel_amplitude};
use roomtone_testkit::peer::{ClientOptions, Level};

const LEFT_HZ: f32 = 440.0;
const RIGHT_HZ: f32 = 900.0;
const DBFS: f32 = -20.0;

/// A tone on each side.
struct Instrument {
    left: Tone,
    right: Tone,
    encoder: Encoder,
    timestamp: u32,
    minus_dbov: u8,
}

impl Instrument {
    fn new() -> Instrument {
        Instrument::at(DBFS)
    }

    fn at(dbfs: f32) -> Instrument {
        let amplitude = 10f32.powf(dbfs / 20.0);
        let config = EncoderConfig {
            channels: Channels::Stereo,
            bitrate: 128_000,
            ..EncoderConfig::default()
        };
        Instrument {
            left: Tone::new(LEFT_HZ, amplitude),
            right: Tone::new(RIGHT_HZ, amplitude),
            encoder: Encoder::new(&config).unwrap(),
            timestamp: 0,
            minus_dbov: (3.0 - dbfs) as u8,
        }
    }

    fn play(&mut self, world: &mut World, player: PeerId, ms: u64) {
        for _ in 0..ms / 20 {
            let [mut left, mut right] = [[0.0; FRAME_SAMPLES]; 2];
            self.left.fill(&mut left);
            self.right.fill(&mut right);
            let both: Vec<f32> = left
                .iter()
                .zip(&right)
                .flat_map(|(left, right)| [*left, *right])
                .collect();
            let mut packet = Vec::new();
            self.encoder.encode(&both, &mut packet).unwrap();
            self.timestamp += FRAME_SAMPLES as u32;
            let level = Level {
                minus_dbov: self.minus_dbov,
                voice: true,
            };
            let now = world.now;
            let peer = &mut world.clients.get_mut(&player).unwrap().peer;
            peer.send_opus(now, self.timestamp, false, Some(level), &packet);
            world.run_ms(20);
        }
    }
}

/// 1 plays, 4 listens in stereo, 5 in mono; 2 is there to speak.
fn world(stereo: bool) -> World {
    let mut world = World::new();
    let kind = RoomKind::Mix {
        stereo,
        auto_gain: true,
    };
    world.command(Command::new(ROOM, Action::Open { kind }));
    world.join(1, ClientOptions::default());
    world.join(2, ClientOptions::default());
    let options = ClientOptions {
        stereo: true,
        ..ClientOptions::default()
    };
    world.join(4, options);
    world.join(5, ClientOptions::default());
    world.connect();
    let (peer, voice) = (1, Voice::Music);
    world.command(Command::new(ROOM, Action::SetVoice { peer, voice }));
    world
}

/// How loud each tone was in each ear since listeners' packets are kept, dB, relative to how it was played: left in the left and right
/// ear, right in the left and right ear.
fn sides(world: &mut World, listener: PeerId) -> [f32; 4] {
    let payloads = world.clients.get_mut(&listener).unwrap().payloads.take().unwrap();
    let mut decoder = Decoder::with_channels(Channels::Stereo).unwrap();
    let mut pcm = Vec::new();
    for payload in payloads {
        decoder.decode(&payload, &mut pcm).unwrap();
    }
    let (left, right): (Vec<f32>, Vec<f32>) = pcm.as_chunks::<2>().0.iter().map(|[l, r]| (*l, *r)).unzip();
    let level = |ear: &[f32], hz| dbfs(goertzel_amplitude(&ear[ear.len() / 4..], hz)) - DBFS;
    [
        level(&left, LEFT_HZ),
        level(&right, LEFT_HZ),
        level(&left, RIGHT_HZ),
        level(&right, RIGHT_HZ),
    ]
}

fn keep(world: &mut World, listener: PeerId) {
    world.clients.get_mut(&listener).unwrap().payloads = Some(Vec::new());
}

fn is_apart([left, left_in_right, right_in_left, right]: [f32; 4]) -> bool {
    left.abs() < 0.5 && right.abs() < 0.5 && left_in_right < -25.0 && right_in_left < -25.0
}

#[test]
fn both_channels_arrive_as_they_were_sent() {
    for stereo in [false, true] {
        let mut world = world(stereo);
        let mut instrument = Instrument::new();
        instrument.play(&mut world, 1, 1000);
        for listener in [4, 5] {
            keep(&mut world, listener);
        }
        let encoded = world.shard.stats().frames_encoded;
        instrument.play(&mut world, 1, 2000);
        assert_eq!(world.shard.stats().frames_encoded, encoded, "nothing is mixed");
        for listener in [4, 5] {
            let heard = sides(&mut world, listener);
            assert!(
                is_apart(heard),
                "{listener} hears {heard:?} in a room with stereo: {stereo}"
            );
            world.clients[&listener].assert_continuous();
        }
    }
}

#[test]
fn music_beside_a_voice_is_as_loud_as_alone() {
    let mut world = world(true);
    let mut instrument = Instrument::new();
    instrument.play(&mut world, 1, 1000);
    let client = world.clients.get_mut(&2).unwrap();
    client.talker = Some(speaker(client.hz, -30.0, 0.0));
    instrument.play(&mut world, 1, 500);
    keep(&mut world, 4);
    let encoded = world.shard.stats().frames_encoded;
    instrument.play(&mut world, 1, 2000);
    assert!(world.shard.stats().frames_encoded > encoded + 90, "both are mixed");
    // In the middle of the stereo mix, half of each channel: 6 dB less in its ear than alone, and as much in the other.
    let heard = sides(&mut world, 4);
    assert!(heard.iter().all(|level| (level + 6.0).abs() < 1.0), "{heard:?}");
    // The voice ends. The music stays in the mix until it pauses, and then both sides are back.
    world.clients.get_mut(&2).unwrap().talker = None;
    instrument.play(&mut world, 1, 5000);
    world.clients[&4].assert_continuous();
    world.run_ms(1000);
    instrument.timestamp += 48_000;
    instrument.play(&mut world, 1, 1000);
    keep(&mut world, 4);
    instrument.play(&mut world, 1, 2000);
    let heard = sides(&mut world, 4);
    assert!(is_apart(heard), "{heard:?}");
}

#[test]
fn a_soft_passage_arrives_without_gaps() {
    let mut world = world(false);
    let mut instrument = Instrument::at(-62.0);
    instrument.play(&mut world, 1, 1000);
    for listener in [4, 5] {
        keep(&mut world, listener);
    }
    instrument.play(&mut world, 1, 2000);
    for listener in [4, 5] {
        let heard = world.clients.get_mut(&listener).unwrap().payloads.take().unwrap();
        assert_eq!(heard.len(), 100, "{listener}");
    }
}

#[test]
fn a_voice_in_stereo_without_music_mode_is_mixed() {
    let mut world = world(false);
    let (peer, voice) = (1, Voice::Even);
    world.command(Command::new(ROOM, Action::SetVoice { peer, voice }));
    let mut instrument = Instrument::new();
    instrument.play(&mut world, 1, 1000);
    assert_eq!(world.shard.stats().packets_passed, 0);
    assert!(world.shard.stats().frames_encoded > 30);
}
