//! Where a listener hears one talker they get that talker's packets as they come; where several talk it is mixed; nobody hears the passage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::{ROOM, TONE_DBFS, World};
use roomtone_audio::analysis::Noise;
use roomtone_engine::{Action, Command, MixConfig, PeerId, RoomKind, ShardStats};
use roomtone_testkit::fixtures::{OpusTalker, Source, Tone};
use roomtone_testkit::listen::{dbfs, goertzel_amplitude};
use roomtone_testkit::peer::ClientOptions;

/// Words over the noise of a microphone, as a schedule of samples says.
struct Words {
    tone: Tone,
    noise: Noise,
    /// Which samples are said, from the first on.
    words: Vec<std::ops::Range<usize>>,
    at: usize,
    /// The schedule stands still until then.
    begun: Arc<AtomicBool>,
    gain: f32,
}

/// A word begins and ends within 5 ms.
const EDGE: f32 = 240.0;

impl Source for Words {
    fn fill(&mut self, pcm: &mut [f32]) {
        self.tone.fill(pcm);
        let mut noise = vec![0.0; pcm.len()];
        self.noise.fill(&mut noise);
        let begun = self.begun.load(Ordering::Relaxed);
        for (sample, noise) in pcm.iter_mut().zip(noise) {
            let said = begun && self.words.iter().any(|word| word.contains(&self.at));
            self.at += usize::from(begun);
            let step = if said { 1.0 } else { -1.0 } / EDGE;
            self.gain = (self.gain + step).clamp(0.0, 1.0);
            *sample = *sample * (1.0 - (std::f32::consts::PI * self.gain).cos()) / 2.0 + noise;
        }
    }
}

fn amplitude(dbfs: f32) -> f32 {
    10f32.powf(dbfs / 20.0)
}

/// Somebody says words (beginning at these milliseconds, for so many) over noise of so many dBov.
fn says(world: &mut World, id: PeerId, words: &[(u64, u64)], noise_dbov: f32, begun: &Arc<AtomicBool>) {
    let client = world.clients.get_mut(&id).unwrap();
    client.dbfs = TONE_DBFS;
    let words = words
        .iter()
        .map(|(from, ms)| *from as usize * 48..(from + ms) as usize * 48);
    let source = Words {
        tone: Tone::new(client.hz, amplitude(TONE_DBFS)),
        // Uniform noise has a third of its peak's power.
        noise: Noise::new(id, amplitude(noise_dbov) * 3f32.sqrt()),
        words: words.collect(),
        at: 0,
        begun: begun.clone(),
        gain: 0.0,
    };
    client.talker = Some(OpusTalker::new(source, 48_000).unwrap());
}

fn stats(world: &World) -> ShardStats {
    world.shard.stats().clone()
}

/// Frames decoded and encoded, packets sent and passed on in this time.
fn work(world: &mut World, ms: u64) -> [u64; 4] {
    let before = stats(world);
    world.run_ms(ms);
    let after = stats(world);
    [
        after.frames_decoded - before.frames_decoded,
        after.frames_encoded - before.frames_encoded,
        after.packets_sent - before.packets_sent,
        after.packets_passed - before.packets_passed,
    ]
}

fn speak(world: &mut World, peer: PeerId, speak: bool) {
    world.command(Command::new(ROOM, Action::SetSpeak { peer, speak }));
}

fn join_all(world: &mut World, people: std::ops::RangeInclusive<PeerId>) {
    people.for_each(|id| world.join(id, ClientOptions::default()));
    world.connect();
}

fn keep_what_is_sent(world: &mut World) {
    for client in world.clients.values_mut() {
        client.sent = Some(BTreeSet::new());
        client.payloads = Some(Vec::new());
    }
}

/// How many of the packets that a listener got are such as a talker sent, and how many aren't.
fn got(world: &World, listener: PeerId, talker: PeerId) -> (usize, usize) {
    let sent = world.clients[&talker].sent.as_ref().unwrap();
    let payloads = world.clients[&listener].payloads.as_ref().unwrap();
    let passed = payloads.iter().filter(|payload| sent.contains(*payload)).count();
    (passed, payloads.len() - passed)
}

#[test]
fn one_who_talks_is_neither_decoded_nor_encoded_and_no_packet_waits() {
    let mut world = World::new();
    join_all(&mut world, 1..=4);
    world.talk(1, TONE_DBFS);
    world.run_ms(500);
    keep_what_is_sent(&mut world);
    let first = world.clients[&2].heard.len();
    assert_eq!(work(&mut world, 2000), [0, 0, 300, 300]);
    for listener in 2..=4 {
        assert_eq!(got(&world, listener, 1), (100, 0));
        world.clients[&listener].assert_continuous();
        let heard = world.heard_db(listener, 1, 1.0);
        assert!(heard.abs() < 0.5, "{heard:.2} dB");
    }
    assert!(world.clients[&1].heard.is_empty(), "nobody hears themselves");
    let phase = world.clients[&1].talk_phase;
    for (at, ..) in &world.clients[&2].heard[first..] {
        // Sent and heard within one turn of a millisecond.
        let since = (*at - world.start).as_micros() as u64 % 20_000;
        assert_eq!(since, phase.as_micros() as u64 % 20_000);
    }
}

#[test]
fn the_first_packet_of_a_talk_spurt_does_not_wait_for_a_tick_either() {
    for phase in 0..20 {
        let mut world = World::new();
        join_all(&mut world, 1..=2);
        world.run_ms(200 + phase);
        world.talk(1, TONE_DBFS);
        let before = world.clients[&2].heard.len();
        world.run_ms(20);
        assert_eq!(world.clients[&2].heard.len(), before + 1);
        assert_eq!(stats(&world).frames_encoded, 0);
    }
}

#[test]
fn a_second_talker_in_mid_word_is_mixed_and_the_first_goes_on() {
    for moment in [0, 3, 8, 12, 17] {
        let mut world = World::new();
        join_all(&mut world, 1..=4);
        world.talk(1, TONE_DBFS);
        world.run_ms(1000 + moment);
        world.talk(2, TONE_DBFS);
        world.run_ms(1500);
        for (listener, talkers) in [(3, vec![1, 2]), (4, vec![1, 2]), (1, vec![2]), (2, vec![1])] {
            for talker in talkers {
                let heard = world.heard_db(listener, talker, 1.0);
                assert!(heard.abs() < 0.5, "{listener} hears {talker} at {heard:.2} dB");
            }
            world.clients[&listener].assert_continuous();
        }
        // 1 and 2 hear one each, still as packets; 3 and 4 share a mix of both.
        let [decoded, encoded, sent, passed] = work(&mut world, 1000);
        assert_eq!((decoded, encoded, sent, passed), (100, 50, 200, 100));
        let pcm = world.clients[&3].ear.recent(60.0);
        for (at, block) in pcm.chunks_exact(960).enumerate().skip(5) {
            let level = dbfs(goertzel_amplitude(block, world.clients[&1].hz)) - TONE_DBFS;
            // In a block of 20 ms the other's beginning counts a little, too.
            assert!(level.abs() < 1.5, "moment {moment}, frame {at}: {level:.2} dB");
        }
    }
}

#[test]
fn in_a_pause_the_only_one_who_still_speaks_is_passed_on_again() {
    let mut world = World::new();
    join_all(&mut world, 1..=3);
    let begun = Arc::new(AtomicBool::new(true));
    let words: Vec<(u64, u64)> = (0..20).map(|i| (i * 500, 400)).collect();
    says(&mut world, 1, &words, -70.0, &begun);
    world.run_ms(1020);
    says(&mut world, 2, &[(0, 600)], -70.0, &begun);
    world.run_ms(400);
    let [decoded, encoded, ..] = work(&mut world, 200);
    assert!(decoded >= 18 && encoded == 10, "both are mixed: {decoded}, {encoded}");
    // 2 has stopped, and is heard no longer after a fifth of a second; then the next pause of 1 will do.
    world.run_ms(1000);
    keep_what_is_sent(&mut world);
    assert_eq!(work(&mut world, 2000)[..2], [0, 0]);
    assert_eq!(got(&world, 3, 1), (100, 0));
    world.clients[&3].assert_continuous();
}

#[test]
fn noise_of_others_does_not_keep_a_room_mixing() {
    for noise in [-72.0, -60.0] {
        let mut world = World::new();
        join_all(&mut world, 1..=6);
        let begun = Arc::new(AtomicBool::new(false));
        let words: Vec<(u64, u64)> = (0..12).map(|i| (i * 400, 250)).collect();
        says(&mut world, 1, &words, noise, &begun);
        for id in 2..=6 {
            says(&mut world, id, &[], noise + id as f32 - 4.0, &begun);
        }
        world.run_ms(3000);
        begun.store(true, Ordering::Relaxed);
        world.run_ms(40);
        keep_what_is_sent(&mut world);
        let [decoded, encoded, sent, passed] = work(&mut world, 4800);
        assert_eq!((decoded, encoded), (0, 0), "noise at {noise} dBov");
        assert!(sent == passed && passed > 5 * 230, "{passed} of {sent}");
        for listener in 2..=6 {
            let (of_1, of_others) = got(&world, listener, 1);
            assert!(of_1 > 230 && of_others <= 2, "{of_1}, {of_others}");
        }
    }
}

/// For how long a tone is heard at a time, in milliseconds, where it is heard at all.
fn heard_words(pcm: &[f32], hz: f32) -> Vec<usize> {
    const BLOCK: usize = 240;
    // A block of 5 ms, four of them together, so that another tone isn't taken for it.
    let loud: Vec<bool> = pcm
        .windows(4 * BLOCK)
        .step_by(BLOCK / 5)
        .map(|block| dbfs(goertzel_amplitude(block, hz)) - TONE_DBFS > -6.0)
        .collect();
    let runs = loud.chunk_by(|a, b| a == b).filter(|run| run[0]);
    runs.map(|run| run.len()).filter(|ms| *ms > 20).collect()
}

#[test]
fn no_word_loses_more_than_20_ms_of_its_beginning_or_end_over_noise() {
    for noise in [-72.0, -60.0] {
        for offset in [0, 7, 13] {
            let mut world = World::new();
            join_all(&mut world, 1..=4);
            let begun = Arc::new(AtomicBool::new(false));
            // One talks, the other comes in between, into the middle of words, into pauses, right after and long after.
            let first: Vec<(u64, u64)> = [0, 700, 1400, 3000, 3700, 6000].map(|at| (at, 500)).to_vec();
            let second: Vec<(u64, u64)> = [300, 1230, 2200, 4400, 5000, 6600]
                .map(|at| (at + offset, 160))
                .to_vec();
            says(&mut world, 1, &first, noise, &begun);
            says(&mut world, 2, &second, noise, &begun);
            says(&mut world, 3, &[], noise, &begun);
            world.run_ms(3000);
            for client in world.clients.values_mut() {
                client.ear.clear();
            }
            begun.store(true, Ordering::Relaxed);
            world.run_ms(7500);
            let pcm = world.clients[&4].ear.recent(60.0);
            for (talker, words, ms) in [(1, &first, 500), (2, &second, 160)] {
                let heard = heard_words(&pcm, world.clients[&talker].hz);
                assert_eq!(
                    heard.len(),
                    words.len(),
                    "noise at {noise}: {talker} is heard for {heard:?} ms"
                );
                for heard in heard {
                    // A seam makes a word longer, never shorter.
                    assert!(
                        (ms - 20..=ms + 60).contains(&heard),
                        "noise at {noise}: {talker}, {heard} of {ms} ms"
                    );
                }
            }
            world.clients[&4].assert_continuous();
            let stats = stats(&world);
            assert!(
                stats.packets_passed * 2 > stats.packets_sent,
                "{} of {}",
                stats.packets_passed,
                stats.packets_sent
            );
        }
    }
}

/// A word such as "soft": a fricative, a vowel that swells and ebbs, and a fricative, at these milliseconds from the beginning.
const FRICATIVE_MS: usize = 60;
const VOWEL_MS: usize = 260;
const WORD_MS: usize = 2 * FRICATIVE_MS + VOWEL_MS;
/// A fricative is hardly louder than the noise, dB.
const FRICATIVE_OVER_NOISE: f32 = 14.0;
const VOWEL_DBFS: f32 = -26.0;

/// One word of a synthetic voice: pulses of this pitch through three resonances, with hiss before and after.
fn word(number: usize, pitch: f32, noise: f32) -> Vec<f32> {
    let samples = |ms: usize| ms * 48;
    let mut vowel = vec![0.0f32; samples(VOWEL_MS)];
    let mut past = [[0.0f32; 2]; 3];
    let mut phase = 0.0f32;
    let shift = 0.8 + 0.1 * (number % 5) as f32;
    for (at, sample) in vowel.iter_mut().enumerate() {
        let place = at as f32 / samples(VOWEL_MS) as f32;
        phase += pitch * (1.1 - 0.2 * place) / 48_000.0;
        let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
        phase = phase.fract();
        for (past, hz) in past.iter_mut().zip([550.0, 1500.0, 2600.0]) {
            let radius = 1.0 - 90.0 * std::f32::consts::PI / 48_000.0;
            let turn = 2.0 * radius * (std::f32::consts::TAU * hz * shift / 48_000.0).cos();
            let next = pulse + turn * past[0] - radius * radius * past[1];
            *past = [next, past[0]];
            *sample += next * (std::f32::consts::PI * place).sin();
        }
    }
    to_rms(&mut vowel, VOWEL_DBFS);
    let hiss = |seed: u64| {
        let mut pcm = vec![0.0; samples(FRICATIVE_MS)];
        Noise::new(seed, 1.0).fill(&mut pcm);
        let mut last = 0.0;
        for sample in &mut pcm {
            // More of the high frequencies.
            let now = *sample;
            *sample -= 0.7 * last;
            last = now;
        }
        to_rms(&mut pcm, noise + FRICATIVE_OVER_NOISE);
        pcm
    };
    [hiss(2 * number as u64 + 1), vowel, hiss(2 * number as u64 + 2)].concat()
}

fn rms(pcm: &[f32]) -> f32 {
    (pcm.iter().map(|sample| sample * sample).sum::<f32>() / pcm.len() as f32).sqrt()
}

fn to_rms(pcm: &mut [f32], wanted: f32) {
    let gain = amplitude(wanted) / rms(pcm);
    pcm.iter_mut().for_each(|sample| *sample *= gain);
}

/// Words at these milliseconds over the noise of a microphone.
struct Speech {
    pcm: Vec<f32>,
    noise: Noise,
    at: usize,
    begun: Arc<AtomicBool>,
}

impl Source for Speech {
    fn fill(&mut self, pcm: &mut [f32]) {
        self.noise.fill(pcm);
        if !self.begun.load(Ordering::Relaxed) {
            return;
        }
        let said = self.pcm.get(self.at..).unwrap_or_default();
        pcm.iter_mut().zip(said).for_each(|(sample, said)| *sample += said);
        self.at += pcm.len();
    }
}

/// Where a word is heard (samples), within `around` of where it is expected: at the highest correlation.
fn place_of(word: &[f32], heard: &[f32], expected: usize, around: usize) -> usize {
    // A voice's pitch and resonances are below 3 kHz: each fourth sample is enough to begin with.
    let best = |places: &mut dyn Iterator<Item = usize>, step: usize| {
        let likeness = |at: usize| -> f32 {
            let pairs = word.iter().step_by(step).zip(heard[at..].iter().step_by(step));
            pairs.map(|(a, b)| a * b).sum()
        };
        let scored = places.map(|at| (at, likeness(at)));
        scored.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0
    };
    let places = expected.saturating_sub(around)..(expected + around).min(heard.len() - word.len());
    let near = best(&mut places.step_by(4), 4);
    best(&mut (near.saturating_sub(4)..=near + 4), 1)
}

#[test]
fn speech_loses_no_more_than_20_ms_of_a_words_beginning_or_end_over_noise() {
    const MS: usize = 48;
    for noise in [-72.0, -60.0] {
        for offset in [0, 13] {
            let mut world = World::new();
            join_all(&mut world, 1..=4);
            let begun = Arc::new(AtomicBool::new(false));
            // In turns, with pauses that are shorter and longer than all hold times, so that most words begin or end with a change.
            let turns: [&[usize]; 2] = [&[0, 900, 2600, 5200, 8400], &[450, 1700, 3500, 4100, 6500]];
            let mut words: Vec<(PeerId, usize, Vec<f32>)> = Vec::new();
            for (id, pitch, turns) in [(1, 110.0, turns[0]), (2, 190.0, turns[1])] {
                let mut pcm = vec![0.0; 9500 * MS];
                for (number, at) in turns.iter().enumerate() {
                    let at = at + if id == 2 { offset } else { 0 };
                    let word = word(number + 10 * id as usize, pitch, noise);
                    pcm[at * MS..][..word.len()].copy_from_slice(&word);
                    words.push((id, at, word));
                }
                let source = Speech {
                    pcm,
                    noise: Noise::new(id, amplitude(noise) * 3f32.sqrt()),
                    at: 0,
                    begun: begun.clone(),
                };
                world.talk(id, TONE_DBFS);
                world.clients.get_mut(&id).unwrap().talker = Some(OpusTalker::new(source, 64_000).unwrap());
            }
            says(&mut world, 3, &[], noise, &begun);
            world.run_ms(3000);
            for client in world.clients.values_mut() {
                client.ear.clear();
            }
            begun.store(true, Ordering::Relaxed);
            world.run_ms(9500);
            let heard = world.clients[&4].ear.recent(60.0);
            for (talker, at, word) in words {
                let place = place_of(&word, &heard, (at + 40) * MS, 120 * MS);
                let level = |from: usize| {
                    let range = from * MS..(from + 20) * MS;
                    dbfs(rms(&heard[place..][range.clone()]) / rms(&word[range]))
                };
                // All sound between the first and the last 20 ms is there; Opus doesn't keep a hiss to the dB.
                for from in [20, FRICATIVE_MS - 20, WORD_MS - FRICATIVE_MS, WORD_MS - 40] {
                    let level = level(from);
                    assert!(
                        level > -6.0,
                        "noise at {noise}, offset {offset}: of {talker}'s word at {at} ms the sound from {from} ms on is {level:.1} dB"
                    );
                }
            }
            world.clients[&4].assert_continuous();
            let stats = stats(&world);
            assert!(
                stats.packets_passed > 0 && stats.mode_changes > 4,
                "{}",
                stats.mode_changes
            );
        }
    }
}

#[test]
fn a_mute_in_mid_word_is_in_force_at_once_and_fades_out() {
    for moment in 0..20 {
        let mut world = World::new();
        join_all(&mut world, 1..=3);
        world.talk(1, TONE_DBFS);
        world.run_ms(1000 + moment);
        keep_what_is_sent(&mut world);
        world.run_ms(100);
        let passed = stats(&world).packets_passed;
        let (of_1, _) = got(&world, 2, 1);
        speak(&mut world, 1, false);
        world.run_ms(400);
        assert_eq!(stats(&world).packets_passed, passed, "not one packet more");
        let (still, mixed) = got(&world, 2, 1);
        // A frame that fades out, and the silence in which decoders come to rest.
        assert_eq!((still, mixed), (of_1, 11), "moment {moment}");
        world.clients[&2].assert_continuous();
        speak(&mut world, 1, true);
        world.run_ms(600);
        let (again, _) = got(&world, 2, 1);
        assert!(again > of_1 + 25, "and after the unmute they are passed on again");
        let heard = world.heard_db(2, 1, 0.5);
        assert!(heard.abs() < 0.5, "{heard:.2} dB");
    }
}

#[test]
fn a_volume_that_changes_in_mid_word_makes_it_a_mix_for_that_listener_alone() {
    let mut world = World::new();
    join_all(&mut world, 1..=4);
    world.talk(1, TONE_DBFS);
    world.run_ms(1000);
    world.set_gain(2, 1, 0.5);
    world.run_ms(1200);
    let heard = world.heard_db(2, 1, 1.0);
    assert!((heard - dbfs(0.5)).abs() < 0.5, "{heard:.2} dB");
    assert_eq!(work(&mut world, 1000), [50, 50, 150, 100]);
    // Hardly another volume at all.
    world.set_gain(3, 1, 1.02);
    assert_eq!(work(&mut world, 1000), [50, 50, 150, 100]);
    world.set_gain(4, 1, 0.0);
    world.run_ms(400);
    let silent = world.clients[&4].heard.len();
    assert_eq!(work(&mut world, 1000), [50, 50, 100, 50]);
    assert_eq!(world.clients[&4].heard.len(), silent);
    for client in world.clients.values() {
        client.assert_continuous();
    }
}

#[test]
fn a_talker_who_leaves_or_breaks_off_in_mid_word_fades_out() {
    for (leaves, pass_through) in [(true, true), (false, true), (false, false)] {
        for moment in [0, 4, 9, 16] {
            let mut world = World::with(MixConfig {
                pass_through,
                ..MixConfig::default()
            });
            join_all(&mut world, 1..=3);
            world.talk(1, TONE_DBFS);
            world.run_ms(1000 + moment);
            let hz = world.clients[&1].hz;
            if leaves {
                world.command(Command::new(ROOM, Action::Leave { peer: 1 }));
                world.clients.remove(&1);
            } else {
                world.clients.get_mut(&1).unwrap().talker = None;
            }
            world.run_ms(600);
            world.clients[&2].assert_continuous();
            let pcm = world.clients[&2].ear.recent(60.0);
            let steepest = amplitude(TONE_DBFS) * std::f32::consts::TAU * hz / 48_000.0;
            let step = pcm.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
            // Opus conceals a tone that breaks off less smoothly than the tone was; a voice that is cut off steps by ten times as much.
            assert!(
                step < 5.0 * steepest,
                "leaves: {leaves}, pass-through: {pass_through}, {}",
                step / steepest
            );
            let end = &pcm[pcm.len() - 4800..];
            assert!(end.iter().all(|sample| sample.abs() < 0.001), "and is silent");
            let (ticks, sent) = (stats(&world).ticks, stats(&world).packets_sent);
            world.run_ms(1000);
            assert!(stats(&world).packets_sent == sent && stats(&world).ticks <= ticks + 30);
        }
    }
}

#[test]
fn a_talker_who_tells_no_levels_is_passed_on_too() {
    let mut world = World::new();
    world.join(
        1,
        ClientOptions {
            level_ext: false,
            ..ClientOptions::default()
        },
    );
    join_all(&mut world, 2..=3);
    world.talk(1, TONE_DBFS);
    world.run_ms(500);
    let [_, encoded, sent, passed] = work(&mut world, 1000);
    assert_eq!((encoded, sent, passed), (0, 100, 100));
}

#[test]
fn packets_that_a_client_may_not_take_are_mixed() {
    // A stereo listener hears the middle 3 dB softer in each ear than a mono packet would be.
    let mut world = World::new();
    let kind = RoomKind::Mix {
        stereo: true,
        auto_gain: false,
    };
    world.command(Command::new(ROOM, Action::Open { kind }));
    join_all(&mut world, 1..=2);
    world.join(
        3,
        ClientOptions {
            stereo: true,
            ..ClientOptions::default()
        },
    );
    // So few bits that no talker's packets fit.
    join_all(&mut world, 4..=4);
    let offer = world.clients[&4].peer.offer();
    let few = offer.replace("useinbandfec=1", "useinbandfec=1;maxaveragebitrate=6000");
    assert_ne!(offer, few);
    world.reoffer(4, few);
    world.connect();
    world.talk(1, TONE_DBFS);
    world.run_ms(500);
    keep_what_is_sent(&mut world);
    world.run_ms(1000);
    assert_eq!(got(&world, 2, 1), (50, 0));
    assert_eq!(got(&world, 3, 1), (0, 50));
    assert_eq!(got(&world, 4, 1), (0, 50));
    // A talker who sends far more than a voice needs.
    let client = world.clients.get_mut(&1).unwrap();
    let tone = Tone::new(client.hz, amplitude(TONE_DBFS));
    client.talker = Some(OpusTalker::new(tone, 256_000).unwrap());
    world.run_ms(1500);
    keep_what_is_sent(&mut world);
    world.run_ms(1000);
    assert_eq!(got(&world, 2, 1), (0, 50));
    let heard = world.heard_db(2, 1, 0.8);
    assert!(heard.abs() < 0.5, "{heard:.2} dB");
}

#[test]
fn a_room_that_moves_passes_on_as_before() {
    let mut world = World::of_two();
    join_all(&mut world, 1..=3);
    world.talk(1, TONE_DBFS);
    world.run_ms(1000);
    keep_what_is_sent(&mut world);
    world.command(Command::new(ROOM, Action::Move { to: 1 }));
    world.run_ms(1000);
    assert_eq!(got(&world, 2, 1), (50, 0));
    world.clients[&2].assert_continuous();
}

#[test]
fn without_pass_through_all_is_mixed() {
    let mut world = World::with(MixConfig {
        pass_through: false,
        ..MixConfig::default()
    });
    join_all(&mut world, 1..=3);
    world.talk(1, TONE_DBFS);
    world.run_ms(500);
    assert_eq!(work(&mut world, 1000), [50, 50, 100, 0]);
}

#[test]
fn people_who_come_while_one_is_passed_on_hear_them_from_the_next_packet_on() {
    let mut world = World::new();
    join_all(&mut world, 1..=2);
    world.talk(1, TONE_DBFS);
    world.run_ms(1000);
    let before: BTreeMap<PeerId, usize> = world
        .clients
        .iter()
        .map(|(id, client)| (*id, client.heard.len()))
        .collect();
    join_all(&mut world, 3..=3);
    world.run_ms(500);
    keep_what_is_sent(&mut world);
    world.run(Duration::from_secs(1));
    assert_eq!(got(&world, 3, 1), (50, 0));
    assert!(world.clients[&2].heard.len() > before[&2] + 50);
}
