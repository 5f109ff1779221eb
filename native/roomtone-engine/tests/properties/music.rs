//! Music that others speak over is mixed, and passed on again when they have ended: without a click, and as loud as before.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use roomtone_engine::{Action, Command, MixConfig, PeerId, RoomKind, Voice};
use roomtone_testkit::listen::{dbfs, goertzel_amplitude};
use roomtone_testkit::peer::ClientOptions;

use crate::clicks::{CLICK_IN_NOISE, sharpest};
use crate::common::client::Client;
use crate::common::instrument::{Instrument, LEFT_HZ, RIGHT_HZ};
use crate::common::voice::Mouth;
use crate::common::{ROOM, World};
use crate::scene::{VOICE_DBFS, clear};

const MUSICIAN: PeerId = 1;
const SPEAKER: PeerId = 2;
/// In a room that has stereo, the second listener asks for it.
const LISTENERS: [PeerId; 2] = [3, 4];

struct Stage {
    world: World,
    instrument: Instrument,
    mouth: Mouth,
    random: StdRng,
}

fn stage(seed: u64, stereo: bool) -> Stage {
    // The other layer of Opus in every second one.
    let mix = match seed % 2 {
        0 => clear(),
        _ => MixConfig {
            private_bitrate: 32_000,
            ..MixConfig::default()
        },
    };
    let mut world = World::with(mix);
    let auto_gain = false;
    let kind = RoomKind::Mix { stereo, auto_gain };
    world.command(Command::new(ROOM, Action::Open { kind }));
    for id in [MUSICIAN, SPEAKER].into_iter().chain(LISTENERS) {
        let stereo = stereo && id == LISTENERS[1];
        let options = ClientOptions {
            stereo,
            ..ClientOptions::default()
        };
        world.join(id, options);
    }
    world.connect();
    let (peer, voice) = (MUSICIAN, Voice::Music);
    let suppress = false;
    world.command(Command::new(ROOM, Action::SetVoice { peer, voice, suppress }));
    let speaker = world.clients.get_mut(&SPEAKER).unwrap();
    let (mouth, talker) = Mouth::new(speaker.hz, VOICE_DBFS);
    speaker.talker = Some(talker);
    let mut random = StdRng::seed_from_u64(seed);
    // At any moment between two ticks.
    world.run_ms(random.random_range(0..20));
    Stage {
        world,
        instrument: Instrument::at(VOICE_DBFS),
        mouth,
        random,
    }
}

impl Stage {
    fn play(&mut self, ms: u64) {
        self.instrument.play(&mut self.world, MUSICIAN, ms);
    }

    /// Frames that are encoded meanwhile.
    fn encoded(&mut self, ms: u64) -> u64 {
        let before = self.world.shard.stats().frames_encoded;
        self.play(ms);
        self.world.shard.stats().frames_encoded - before
    }

    /// Somebody speaks over the music, and ends.
    fn interrupt(&mut self) {
        self.mouth.open(true);
        let ms = self.random.random_range(300..800);
        assert!(self.encoded(ms) > 5, "both are mixed");
        self.mouth.open(false);
        let ms = self.random.random_range(2600..2900);
        self.play(ms);
        assert_eq!(self.encoded(200), 0, "the music is passed on again");
    }
}

#[test]
fn music_goes_to_a_mix_and_back_without_a_click() {
    for (seed, stereo) in crate::seeds(0..4).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut stage = stage(seed, stereo);
        stage.play(500);
        for listener in LISTENERS {
            stage.world.clients.get_mut(&listener).unwrap().payloads = Some(Vec::new());
        }
        (0..2).for_each(|_| stage.interrupt());
        let voice = 10f32.powf(VOICE_DBFS / 20.0);
        for listener in LISTENERS {
            let client = stage.world.clients.get_mut(&listener).unwrap();
            client.assert_continuous();
            let mono = client.ear.recent(600.0);
            for (ear, pcm) in [&mono].into_iter().chain(&client.ears()).enumerate() {
                let (worst, at) = sharpest(&pcm[9600..]);
                assert!(
                    worst < CLICK_IN_NOISE * voice,
                    "seed {seed}, stereo: {stereo}: {listener} hears a click of {:.4} at {at} in ear {ear}",
                    worst / voice
                );
            }
        }
    }
}

/// By how much a listener's stream has got ahead of the time since the first packet at the most, in ms.
fn got_ahead(client: &Client) -> f64 {
    let (begin, _, first, ..) = client.heard[0];
    let ahead = client.heard.iter().map(|(at, _, timestamp, ..)| {
        let sent = f64::from(timestamp.wrapping_sub(first)) / 48.0;
        sent - (*at - begin).as_secs_f64() * 1000.0
    });
    ahead.fold(0.0, f64::max)
}

#[test]
fn music_is_passed_on_again_after_each_of_twenty_interruptions() {
    let mut stage = stage(20, true);
    stage.play(500);
    for listener in LISTENERS {
        stage.world.clients.get_mut(&listener).unwrap().payloads = Some(Vec::new());
    }
    (0..20).for_each(|_| stage.interrupt());
    let voice = 10f32.powf(VOICE_DBFS / 20.0);
    for listener in LISTENERS {
        let client = stage.world.clients.get_mut(&listener).unwrap();
        client.assert_continuous();
        let ahead = got_ahead(client);
        assert!(ahead < 90.0, "{listener}: {ahead:.0} ms");
        for pcm in client.ears() {
            let (worst, at) = sharpest(&pcm[9600..]);
            assert!(
                worst < CLICK_IN_NOISE * voice,
                "{listener} hears a click of {:.4} at {at}",
                worst / voice
            );
        }
    }
}

#[test]
fn music_is_as_loud_in_a_mix_as_before_and_after_it() {
    for (seed, stereo) in crate::seeds(10..12).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut stage = stage(seed, stereo);
        stage.play(500);
        (0..2).for_each(|_| stage.interrupt());
        let listener = LISTENERS[0];
        stage.world.clients.get_mut(&listener).unwrap().ear.clear();
        stage.interrupt();
        let pcm = stage.world.clients[&listener].ear.recent(600.0);
        // Half of each channel. While a piece is repeated or skipped a tone changes its phase, but not its loudness.
        let soft = 10f32.powf((VOICE_DBFS - 6.02) / 20.0);
        let (mut out_of_phase, mut blocks) = (0, 0);
        for (at, block) in pcm.chunks_exact(1920).enumerate() {
            let rms = (block.iter().map(|sample| sample * sample).sum::<f32>() / block.len() as f32).sqrt();
            let least = dbfs(rms / soft);
            assert!(
                least > -1.5,
                "seed {seed}, stereo: {stereo}: {least:.2} dB after {} ms",
                at * 40
            );
            let level = |hz| dbfs(goertzel_amplitude(block, hz) / soft);
            blocks += 1;
            out_of_phase += usize::from([LEFT_HZ, RIGHT_HZ].iter().any(|hz| level(*hz).abs() > 1.0));
        }
        assert!(
            blocks > 70 && out_of_phase <= 4,
            "seed {seed}, stereo: {stereo}: {out_of_phase} of {blocks}"
        );
    }
}
