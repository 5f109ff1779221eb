//! The sound of a room on a virtual clock, as its consumer gets it. Sources talk, so that no client is needed.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomtone_audio::Channels;
use roomtone_audio::analysis::tone_dbfs;
use roomtone_engine::{Action, Command, MixConfig, PeerId, RoomKind, Shard, SourceItem, Tap, TapSound};
use roomtone_tap::{Batch, ConfigError, Format, Reader, ReaderConfig, Sound, Source};
use roomtone_testkit::fixtures::{OpusTalker, Tone};
use roomtone_transport::{Certificate, NtpClock, TransportConfig};

const ROOM: u64 = 1;
const TAP: PeerId = 100;
const DBFS: f64 = -30.0;

struct World {
    now: Instant,
    shard: Shard,
}

impl World {
    fn new(kind: RoomKind, mix: MixConfig) -> World {
        let now = Instant::now();
        let clock = NtpClock::from_unix(now, Duration::from_secs(1_700_000_000));
        let transport = TransportConfig::new(vec!["192.0.2.1:5000".parse().unwrap()], clock);
        let certificate = Arc::new(Certificate::generate().unwrap());
        let shard = Shard::new(now, transport, certificate, mix, 100);
        let mut world = World { now, shard };
        world.command(Action::Open { kind });
        world
    }

    fn command(&mut self, action: Action) {
        self.shard.handle_command(self.now, Command::new(ROOM, action));
    }

    /// A source that talks a tone of its own for so long.
    fn talk(&mut self, peer: PeerId, seconds: usize) {
        self.command(Action::JoinSource { peer, speak: true });
        let tone = Tone::new(hz(peer) as f32, 10f32.powf(DBFS as f32 / 20.0));
        let mut talker = OpusTalker::new(tone, 64_000).unwrap();
        let packet = |_| SourceItem::Packet {
            data: talker.next().unwrap().payload.to_vec(),
            level: Some(33),
        };
        let items = (0..seconds * 50).map(packet).collect();
        self.command(Action::Feed { peer, items });
    }

    fn tap(&mut self, config: ReaderConfig) -> Reader {
        let tap = Tap::new(self.now, Duration::from_millis(100));
        let sound = match config.source {
            Source::Mix => TapSound::Mix {
                default_gain: 1.0,
                gains: Vec::new(),
                stereo: config.channels == Channels::Stereo,
            },
            Source::Talkers | Source::Sum => TapSound::Talkers { only: None },
        };
        let reader = Reader::new(tap.clone(), config).unwrap();
        self.command(Action::JoinTap { peer: TAP, tap, sound });
        reader
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            self.shard.handle_timeout(self.now);
            while self.shard.poll_event().is_some() {}
        }
    }

    fn listen(&mut self, reader: &mut Reader, ms: u64) -> Vec<Batch> {
        let mut batches = Vec::new();
        for _ in 0..ms / 100 {
            self.run(100);
            batches.extend(std::iter::from_fn(|| reader.read()));
        }
        batches
    }
}

fn hz(peer: PeerId) -> f64 {
    400.0 + 250.0 * peer as f64
}

fn config(source: Source, rate: u32) -> ReaderConfig {
    ReaderConfig {
        format: Format::F32,
        rate,
        channels: Channels::Mono,
        source,
        voice: false,
    }
}

fn pcm(sound: &Sound) -> &[f32] {
    match sound {
        Sound::Pcm(pcm) => pcm,
        Sound::Packets(_) => panic!("packets"),
    }
}

fn mix_of(batches: &[Batch]) -> Vec<f32> {
    let parts = batches.iter().flat_map(|batch| pcm(&batch.mix.as_ref().unwrap().0));
    parts.copied().collect()
}

fn track_of(batches: &[Batch], talker: PeerId) -> Vec<f32> {
    let tracks = batches.iter().flat_map(|batch| &batch.tracks);
    let own = tracks.filter(|track| track.talker == talker);
    own.flat_map(|track| pcm(&track.sound)).copied().collect()
}

/// The tones of the measuring functions are at 48 kHz: at another rate they look higher.
fn heard(sound: &[f32], peer: PeerId, rate: u32) -> f64 {
    let last = &sound[sound.len() - rate as usize / 2..];
    tone_dbfs(last, hz(peer) * 48_000.0 / f64::from(rate)) - DBFS
}

fn worlds() -> Vec<World> {
    let mixing = MixConfig {
        pass_through: false,
        ..MixConfig::default()
    };
    vec![
        World::new(RoomKind::default(), MixConfig::default()),
        World::new(RoomKind::default(), mixing),
    ]
}

#[test]
fn the_mix_is_continuous_pcm_at_the_level_of_each_talker_at_every_rate() {
    for rate in [8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000] {
        for talkers in [1, 2] {
            for mut world in worlds() {
                let mut reader = world.tap(config(Source::Mix, rate));
                world.run(50);
                (1..=talkers).for_each(|peer| world.talk(peer, 4));
                let batches = world.listen(&mut reader, 2_000);
                let sound = mix_of(&batches);
                assert_eq!(sound.len(), batches.len() * rate as usize / 10);
                for peer in 1..=talkers {
                    let db = heard(&sound, peer, rate);
                    assert!(db.abs() <= 0.5, "{peer} of {talkers} at {rate} Hz: {db:.2} dB");
                }
                let last = batches.last().unwrap();
                assert_eq!(last.speaking, (1..=talkers).collect::<Vec<_>>());
                assert!(last.mix.as_ref().unwrap().1 <= 33);
                // After them there is silence, and it goes on.
                world.listen(&mut reader, 3_000);
                let silence = world.listen(&mut reader, 500);
                assert_eq!(silence.len(), 5);
                assert!(mix_of(&silence).iter().all(|sample| sample.abs() < 1e-3));
                assert!(silence.iter().all(|batch| batch.speaking.is_empty()));
            }
        }
    }
}

#[test]
fn talkers_come_apart_and_the_silent_not_at_all() {
    let kinds = [
        RoomKind::default(),
        RoomKind::Forward {
            slots: 1,
            stereo: false,
        },
    ];
    for kind in kinds {
        let mut world = World::new(kind, MixConfig::default());
        let mut reader = world.tap(config(Source::Talkers, 16_000));
        world.talk(1, 4);
        world.talk(2, 4);
        world.talk(3, 0);
        let batches = world.listen(&mut reader, 2_000);
        for (peer, other) in [(1, 2), (2, 1)] {
            let sound = track_of(&batches, peer);
            let (own, of_other) = (heard(&sound, peer, 16_000), heard(&sound, other, 16_000));
            assert!(
                own.abs() <= 0.5 && of_other < -40.0,
                "{peer}: {own:.2} dB, {of_other:.2} dB"
            );
        }
        assert!(
            batches
                .iter()
                .all(|batch| batch.mix.is_none() && batch.tracks.len() <= 2)
        );
        world.listen(&mut reader, 3_000);
        let silence = world.listen(&mut reader, 500);
        assert!(silence.len() == 5 && silence.iter().all(|batch| batch.tracks.is_empty()));
    }
}

#[test]
fn a_whistle_is_no_voice_at_any_rate_and_no_score_comes_unless_it_is_wanted() {
    for (rate, voice) in [(8_000, true), (16_000, true), (48_000, true), (16_000, false)] {
        let mut world = World::new(RoomKind::default(), MixConfig::default());
        let mut reader = world.tap(ReaderConfig {
            voice,
            ..config(Source::Talkers, rate)
        });
        // 1,650 Hz.
        world.talk(5, 4);
        let batches = world.listen(&mut reader, 2_000);
        let scores: Vec<Option<f32>> = batches
            .iter()
            .flat_map(|batch| &batch.tracks)
            .map(|track| track.voice)
            .collect();
        assert!(scores.len() >= 15);
        for score in scores {
            assert_eq!(score.is_some(), voice, "{rate} Hz");
            assert!(score.is_none_or(|score| score < 0.6), "{rate} Hz: {score:?}");
        }
    }
}

#[test]
fn in_a_room_that_forwards_the_reader_mixes_by_gains() {
    let mut world = World::new(
        RoomKind::Forward {
            slots: 1,
            stereo: false,
        },
        MixConfig::default(),
    );
    let mut reader = world.tap(config(Source::Sum, 48_000));
    reader.set_gains(1.0, HashMap::from([(2, 0.5), (3, 0.0)]));
    (1..=3).for_each(|peer| world.talk(peer, 4));
    let sound = mix_of(&world.listen(&mut reader, 2_000));
    let [one, two, three] = [1, 2, 3].map(|peer| heard(&sound, peer, 48_000));
    assert!(
        one.abs() <= 0.5 && (two + 6.0).abs() <= 0.5 && three < -40.0,
        "{one} {two} {three}"
    );
}

#[test]
fn a_stereo_mix_has_two_channels() {
    let mut world = World::new(
        RoomKind::Mix {
            stereo: true,
            auto_gain: false,
        },
        MixConfig::default(),
    );
    let stereo = ReaderConfig {
        channels: Channels::Stereo,
        ..config(Source::Mix, 48_000)
    };
    let mut reader = world.tap(stereo);
    world.talk(1, 4);
    let batches = world.listen(&mut reader, 2_000);
    let sound = mix_of(&batches);
    assert_eq!(sound.len(), batches.len() * 9_600);
    for side in 0..2 {
        let ear: Vec<f32> = sound.iter().skip(side).step_by(2).copied().collect();
        let db = heard(&ear, 1, 48_000);
        assert!((db + 3.0).abs() <= 0.5, "at {db:.2} dB");
    }
}

#[test]
fn lost_batches_are_counted_and_are_silence_so_that_time_goes_on() {
    let mut world = World::new(RoomKind::default(), MixConfig::default());
    let mut reader = world.tap(config(Source::Mix, 48_000));
    world.talk(1, 20);
    let first = world.listen(&mut reader, 1_000);
    let (end, before) = (first.last().unwrap(), first.len());
    let next = end.media_time.wrapping_add(end.ticks * 960);
    world.run(5_000);
    let batch = reader.read().unwrap();
    assert!((28..=32).contains(&batch.lost), "{} lost after {before}", batch.lost);
    assert_eq!(
        (batch.media_time, batch.began),
        (next, end.began + Duration::from_millis(100))
    );
    assert_eq!(u64::from(batch.ticks), 5 * (batch.lost + 1));
    let sound = mix_of(std::slice::from_ref(&batch));
    assert_eq!(sound.len(), batch.ticks as usize * 960);
    // Twenty wait, and then it is up to date.
    let later: Vec<Batch> = std::iter::from_fn(|| reader.read()).collect();
    assert!(later.iter().all(|batch| batch.lost == 0));
    let sound = mix_of(&world.listen(&mut reader, 1_000));
    let db = heard(&sound, 1, 48_000);
    assert!(db.abs() <= 0.5, "{db:.2} dB");
}

#[test]
fn opus_comes_as_the_room_has_it() {
    for source in [Source::Mix, Source::Talkers] {
        let mut world = World::new(RoomKind::default(), MixConfig::default());
        let mut reader = world.tap(ReaderConfig {
            format: Format::Opus,
            ..config(source, 48_000)
        });
        world.talk(1, 3);
        let batches = world.listen(&mut reader, 2_000);
        let sounds = batches.iter().skip(1).map(|batch| match &batch.mix {
            Some((sound, _)) => (sound, batch.tracks.is_empty()),
            None => (&batch.tracks[0].sound, batch.tracks[0].talker == 1),
        });
        let mut times = Vec::new();
        for (sound, right) in sounds {
            assert!(right);
            match sound {
                Sound::Packets(packets) => times.extend(packets.iter().map(|packet| packet.0)),
                Sound::Pcm(_) => panic!("PCM"),
            }
        }
        assert!(times.len() >= 80);
        assert!(times.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(960)));
    }
}

#[test]
fn wishes_that_cannot_be_met_are_refused() {
    let tap = || Tap::new(Instant::now(), Duration::from_millis(100));
    let refused = |config| Reader::new(tap(), config).err();
    assert_eq!(refused(config(Source::Mix, 11_025)), Some(ConfigError::Rate));
    let stereo = ReaderConfig {
        channels: Channels::Stereo,
        ..config(Source::Talkers, 48_000)
    };
    assert_eq!(refused(stereo), Some(ConfigError::Stereo));
    let sum = ReaderConfig {
        format: Format::Opus,
        ..config(Source::Sum, 48_000)
    };
    assert_eq!(refused(sum), Some(ConfigError::Sum));
    for (source, format) in [(Source::Mix, Format::F32), (Source::Talkers, Format::Opus)] {
        let voice = ReaderConfig {
            format,
            voice: true,
            ..config(source, 16_000)
        };
        assert_eq!(refused(voice), Some(ConfigError::Voice));
    }
}
