//! The speech of a bench's talkers: four voices, phrases and pauses, with a beep in each pause to measure latency by.
//!
//! The voices come from `espeak-ng` and are kept as WAV files. Where there is none, a small synthesiser babbles instead:
//! as much work for a server, but nothing whose quality could be judged.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::case::Noise;
use roomtone_testkit::fixtures::{
    Burst, Clip, FRAME_SAMPLES, FixtureError, OpusTalker, SAMPLE_RATE, Source, TalkLoop, TalkPacket, Tone, read_wav,
    tone_hz, write_wav,
};
use roomtone_testkit::opus::Decoder;

/// Opus bit rate of every talker.
pub const TALKER_BITRATE: u32 = 32_000;
/// RMS of a voice while it speaks.
const SPEECH_DBFS: f32 = -26.0;
/// Below this a synthesised phrase hasn't begun yet, or is over.
const TRIM_BELOW: f32 = 0.003;
/// Between two phrases, in packets of 20 ms.
const PAUSE_PACKETS: usize = 25;
/// Of the pause: when the beep begins, and how long it is.
const BEEP_AFTER_PACKETS: usize = 12;
const BEEP_SAMPLES: usize = 2_880;
const BEEP_AMPLITUDE: f32 = 0.25;
/// A block of 5 ms with this much of a beep's tone is part of a beep. No voice has as much there, and listeners in a spatial
/// room get no less than 0.4 of the beep's amplitude.
const BEEP_HEARD: f32 = BEEP_AMPLITUDE / 4.0;
const BEEP_BLOCK: usize = 240;
/// Place of the first voice's beep among the tones: 4,150 Hz, within what Opus keeps of a voice and above its strong parts.
const BEEP_TONE: usize = 19;

/// A unit of a conversation that ends within a phrase fades out.
const FADE_SAMPLES: usize = 480;
/// Noise before a unit, for the encoder only: it is awake when the first word comes.
const LEAD_PACKETS: usize = 5;

/// The names of the voices in espeak-ng, and their speed and pitch.
const VOICES: [(&str, &str, &str); 4] = [
    ("en-us", "165", "45"),
    ("en-gb+f3", "175", "55"),
    ("en-us+m3", "155", "35"),
    ("en-gb+f4", "170", "60"),
];

const PHRASES: [&str; 16] = [
    "We can hear you now, go on.",
    "The kettle is on, and the door is open.",
    "Who wants to start with the news of the week?",
    "Three of us were late, because the bridge was shut.",
    "Please turn the music down a little.",
    "That is a good question, and I have no answer.",
    "Half of the garden is still under water.",
    "Let us take the small table by the window.",
    "She wrote the whole thing on the back of a ticket.",
    "It was cheaper to build it twice than to plan it once.",
    "You should have seen the colour of the sky.",
    "Nobody asked for it, but everybody uses it.",
    "The second train leaves at ten past four.",
    "I would rather walk than wait another hour.",
    "Give me the short version first.",
    "All right, then we are agreed.",
];

const JUDGED: [&str; 4] = [
    "The old clock in the hall strikes seven when it is five. We have all grown used to it.",
    "A thin layer of ice had formed on the pond. By noon it was gone, and the ducks came back.",
    "Bring the long ladder and a box of screws. The roof has to be finished before it rains.",
    "Fresh bread smells best in the early morning. The baker gives away what he burns.",
];

/// One voice, as packets and as what was said.
#[derive(Clone, Debug)]
pub struct Voice {
    /// Phrases and pauses.
    pub talk: TalkLoop,
    /// The same with a beep in each pause.
    pub beeping: TalkLoop,
    /// Places in `beeping` of the packets with which a beep begins.
    pub beeps: Arc<[usize]>,
    /// Frequency of the beep.
    pub hz: f32,
    /// A microphone nobody speaks into.
    pub quiet: TalkLoop,
    /// The phrases, without pauses.
    phrases: Arc<[Vec<f32>]>,
    /// RMS of the microphone's noise.
    noise_dbfs: f32,
    index: u32,
    /// A text to judge quality by: packets, …
    pub judged: Arc<[TalkPacket]>,
    /// … what was said, …
    pub said: Arc<[f32]>,
    /// … and what is left of it in the packets: what a server gets to hear.
    pub sent: Arc<[f32]>,
}

/// All voices.
#[derive(Clone, Debug)]
pub struct Speech {
    /// The voices.
    pub voices: Vec<Voice>,
    /// Is it speech, by which quality can be judged?
    pub real: bool,
}

impl Speech {
    /// Takes the voices from `cache`, or makes them there. Without espeak-ng it is babble.
    pub fn prepare(cache: &Path, noise: Noise) -> Result<Speech, FixtureError> {
        let real = Command::new("espeak-ng").arg("--version").output().is_ok();
        if !real {
            return Speech::babble_over(noise);
        }
        let voices = each_voice(|index| {
            let mut phrases = Vec::new();
            // Each voice begins elsewhere in the list.
            for number in 0..PHRASES.len() {
                let text = PHRASES[(number + index * 5) % PHRASES.len()];
                phrases.push(spoken(cache, VOICES[index], text)?);
            }
            Voice::new(index, phrases, spoken(cache, VOICES[index], JUDGED[index])?, noise)
        })?;
        Ok(Speech { voices, real })
    }

    /// Voices that say nothing, over the usual noise.
    #[cfg(test)]
    pub fn babble() -> Result<Speech, FixtureError> {
        Speech::babble_over(Noise::default())
    }

    /// Voices that say nothing.
    pub fn babble_over(noise: Noise) -> Result<Speech, FixtureError> {
        let voices = each_voice(|index| {
            let phrases: Vec<_> = (0..4).map(|number| babble(index, number, 1.8)).collect();
            Voice::new(index, phrases, babble(index, 9, 4.0), noise)
        })?;
        Ok(Speech { voices, real: false })
    }
}

/// At the same time: encoding takes a while.
fn each_voice(make: impl Fn(usize) -> Result<Voice, FixtureError> + Sync) -> Result<Vec<Voice>, FixtureError> {
    let make = &make;
    std::thread::scope(|scope| {
        let voices: Vec<_> = (0..VOICES.len())
            .map(|index| scope.spawn(move || make(index)))
            .collect();
        let made = voices.into_iter().map(|voice| match voice.join() {
            Ok(voice) => voice,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        made.collect()
    })
}

impl Voice {
    fn new(index: usize, phrases: Vec<Vec<f32>>, judged: Vec<f32>, noise: Noise) -> Result<Voice, FixtureError> {
        let add_noise = |pcm: &mut [f32]| add_noise(pcm, noise.dbfs(), index as u32);
        let hz = tone_hz(BEEP_TONE - index);
        let (mut plain, mut beeping, mut beeps) = (Vec::new(), Vec::new(), Vec::new());
        for phrase in &phrases {
            let mut part = phrase.clone();
            let packets = part.len().div_ceil(FRAME_SAMPLES) + PAUSE_PACKETS;
            let beep_at = packets - PAUSE_PACKETS + BEEP_AFTER_PACKETS;
            part.resize(packets * FRAME_SAMPLES, 0.0);
            plain.extend_from_slice(&part);
            beeps.push(beeping.len() / FRAME_SAMPLES + beep_at);
            let mut beep = Burst::new(hz, BEEP_AMPLITUDE, BEEP_SAMPLES as u64, u64::MAX, 0);
            beep.fill(&mut part[beep_at * FRAME_SAMPLES..][..BEEP_SAMPLES]);
            beeping.append(&mut part);
        }
        add_noise(&mut plain);
        add_noise(&mut beeping);
        let mut quiet = vec![0.0; 50 * FRAME_SAMPLES];
        add_noise(&mut quiet);
        // Half a second of quiet around what is judged.
        let mut said = vec![0.0; 25 * FRAME_SAMPLES];
        said.extend(judged);
        said.resize((said.len().div_ceil(FRAME_SAMPLES) + 25) * FRAME_SAMPLES, 0.0);
        add_noise(&mut said);
        let (judged, sent) = encoded(&said)?;
        let looped = |pcm: Vec<f32>| {
            let packets = pcm.len() / FRAME_SAMPLES;
            TalkLoop::encode(Clip::new(pcm), TALKER_BITRATE, packets)
        };
        Ok(Voice {
            talk: looped(plain)?,
            beeping: looped(beeping)?,
            beeps: beeps.into(),
            hz,
            quiet: looped(quiet)?,
            phrases: phrases.into(),
            noise_dbfs: noise.dbfs(),
            index: index as u32,
            judged: judged.into(),
            said: said.into(),
            sent: sent.into(),
        })
    }

    /// Uninterrupted speech of so many packets, from the beginning of a phrase on, with beeps in these packets.
    pub fn unit(&self, phrase: usize, packets: usize, beeps: &[usize]) -> Result<Arc<[TalkPacket]>, FixtureError> {
        let lead = LEAD_PACKETS * FRAME_SAMPLES;
        let length = packets * FRAME_SAMPLES;
        let mut pcm = vec![0.0; lead];
        let first = phrase % self.phrases.len();
        let phrases = self.phrases.iter().cycle().skip(first);
        pcm.extend(phrases.flatten().take(length));
        let (whole, fade) = (pcm.len(), FADE_SAMPLES.min(length));
        for (step, sample) in pcm[whole - fade..].iter_mut().enumerate() {
            *sample *= 1.0 - step as f32 / fade as f32;
        }
        for packet in beeps {
            let from = lead + packet * FRAME_SAMPLES;
            let to = (from + BEEP_SAMPLES).min(whole);
            let mut beep = vec![0.0; to.saturating_sub(from)];
            Tone::new(self.hz, BEEP_AMPLITUDE).fill(&mut beep);
            let voice = pcm.iter_mut().skip(from);
            voice.zip(&beep).for_each(|(sample, beep)| *sample += beep);
        }
        add_noise(&mut pcm, self.noise_dbfs, self.index);
        Ok(encoded(&pcm)?.0.split_off(LEAD_PACKETS).into())
    }
}

/// Packets of some sound, and what they decode to.
fn encoded(pcm: &[f32]) -> Result<(Vec<TalkPacket>, Vec<f32>), FixtureError> {
    let mut talker = OpusTalker::new(Clip::new(pcm.to_vec()), TALKER_BITRATE)?;
    let mut decoder = Decoder::new().map_err(FixtureError::Opus)?;
    let (mut packets, mut sent) = (Vec::new(), Vec::with_capacity(pcm.len()));
    for _ in 0..pcm.len() / FRAME_SAMPLES {
        let packet = talker.next()?;
        sent.extend_from_slice(decoder.decode(&packet.payload).map_err(FixtureError::Opus)?);
        packets.push(packet);
    }
    Ok((packets, sent))
}

/// Is there some of this beep in these samples?
pub fn beep_in(pcm: &[f32], hz: f32) -> bool {
    let step = std::f32::consts::TAU * hz / SAMPLE_RATE as f32;
    pcm.chunks_exact(BEEP_BLOCK).any(|block| {
        let (mut cos, mut sin) = (0.0f32, 0.0f32);
        for (i, sample) in block.iter().enumerate() {
            let (s, c) = (step * i as f32).sin_cos();
            cos += sample * c;
            sin += sample * s;
        }
        2.0 * cos.hypot(sin) / block.len() as f32 > BEEP_HEARD
    })
}

fn spoken(cache: &Path, (voice, speed, pitch): (&str, &str, &str), text: &str) -> Result<Vec<f32>, FixtureError> {
    let path = cache.join(format!("{voice}-{speed}-{pitch}-{:08x}.wav", hash(text)));
    if !path.exists() {
        synthesise(&path, voice, speed, pitch, text).map_err(|why| FixtureError::Wav {
            path: path.display().to_string(),
            why,
        })?;
    }
    read_wav(&path)
}

/// The cached sound is at 48 kHz, trimmed and of the right level; the file appears whole or not at all.
fn synthesise(path: &Path, voice: &str, speed: &str, pitch: &str, text: &str) -> Result<(), String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let unfinished: PathBuf = path.with_extension(format!("{}.part", std::process::id()));
    let output = Command::new("espeak-ng")
        .args(["-v", voice, "-s", speed, "-p", pitch, "-w"])
        .arg(&unfinished)
        .arg(text)
        .output()
        .map_err(|error| format!("espeak-ng: {error}"))?;
    if !output.status.success() {
        return Err(format!("espeak-ng: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let mut pcm = read_wav(&unfinished).map_err(|error| error.to_string())?;
    let loud = |sample: &f32| sample.abs() > TRIM_BELOW;
    let first = pcm.iter().position(loud).unwrap_or(0);
    let last = pcm.iter().rposition(loud).map_or(pcm.len(), |last| last + 1);
    pcm = pcm[first..last].to_vec();
    to_level(&mut pcm, SPEECH_DBFS);
    write_wav(&unfinished, &pcm).map_err(|error| error.to_string())?;
    std::fs::rename(&unfinished, path).map_err(|error| error.to_string())
}

/// FNV-1a: the same on every machine and with every version.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn to_level(pcm: &mut [f32], dbfs: f32) {
    let power = pcm.iter().map(|s| f64::from(*s) * f64::from(*s)).sum::<f64>() / pcm.len().max(1) as f64;
    if power > 0.0 {
        let gain = (10f64.powf(f64::from(dbfs) / 20.0) / power.sqrt()) as f32;
        // Speech has peaks of 18 dB above its level: none is cut here.
        pcm.iter_mut()
            .for_each(|sample| *sample = (*sample * gain).clamp(-1.0, 1.0));
    }
}

/// The noise that a microphone always has.
fn add_noise(pcm: &mut [f32], dbfs: f32, seed: u32) {
    // White noise of this amplitude has an RMS of amplitude ÷ √3.
    let amplitude = 10f32.powf(dbfs / 20.0) * 3f32.sqrt();
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    for sample in pcm {
        *sample += random(&mut state) * amplitude;
    }
}

/// Xorshift, −1 to 1.
fn random(state: &mut u32) -> f32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state as f32 / (u32::MAX / 2) as f32 - 1.0
}

/// Pulses of a voice through three resonances that change with each syllable.
fn babble(voice: usize, number: usize, seconds: f32) -> Vec<f32> {
    let rate = SAMPLE_RATE as f32;
    let mut state = (voice * 31 + number * 7 + 1) as u32;
    let mut pcm = vec![0.0; (seconds * rate) as usize];
    let mut past = [[0.0f32; 2]; 3];
    let mut formants = [0.0f32; 3];
    let (mut phase, syllable) = (0.0f32, (0.18 * rate) as usize);
    for (index, sample) in pcm.iter_mut().enumerate() {
        if index % syllable == 0 {
            formants = [500.0, 1500.0, 2500.0].map(|centre: f32| centre * (1.0 + 0.35 * random(&mut state)));
        }
        let at = (index % syllable) as f32 / syllable as f32;
        phase += (100.0 + 30.0 * voice as f32) * (1.1 - 0.2 * at) / rate;
        let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
        phase = phase.fract();
        for (past, hz) in past.iter_mut().zip(formants) {
            let radius = 1.0 - 80.0 / rate * std::f32::consts::PI;
            let turn = 2.0 * radius * (std::f32::consts::TAU * hz / rate).cos();
            let next = pulse + turn * past[0] - radius * radius * past[1];
            *past = [next, past[0]];
            *sample += next * (std::f32::consts::PI * at).sin();
        }
    }
    to_level(&mut pcm, SPEECH_DBFS);
    pcm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn babble_is_speech_like_sound_with_beeps_where_it_says() {
        let speech = Speech::babble().unwrap();
        assert_eq!((speech.voices.len(), speech.real), (4, false));
        let voice = &speech.voices[1];
        let mut decoder = Decoder::new().unwrap();
        let mut talk = voice.beeping.clone();
        let mut found = Vec::new();
        let mut was = false;
        for place in 0..4 * (90 + PAUSE_PACKETS) {
            assert_eq!(talk.position(), place);
            let packet = talk.next();
            let is = beep_in(decoder.decode(&packet.payload).unwrap(), voice.hz);
            if is && !was {
                found.push(place);
            }
            was = is;
        }
        assert_eq!(found[..], voice.beeps[..]);
        assert_eq!(voice.said.len(), voice.sent.len());
        assert_eq!(voice.judged.len() * FRAME_SAMPLES, voice.said.len());
        let quiet = voice.quiet.clone().next();
        assert!((70..=74).contains(&quiet.level.minus_dbov), "{:?}", quiet.level);
    }

    #[test]
    fn a_unit_is_speech_of_its_length_with_beeps_where_they_belong() {
        let speech = Speech::babble_over(Noise::Dbfs(-60)).unwrap();
        let voice = &speech.voices[2];
        let packets = voice.unit(1, 120, &[20, 90]).unwrap();
        assert_eq!(packets.len(), 120);
        let mut decoder = Decoder::new().unwrap();
        let beeping: Vec<usize> = (0..120)
            .filter(|at| beep_in(decoder.decode(&packets[*at].payload).unwrap(), voice.hz))
            .collect();
        let begins = |at: usize| beeping.contains(&at) && !beeping.contains(&(at - 1));
        assert!(begins(20) && begins(90), "{beeping:?}");
        assert!(beeping.iter().all(|at| (20..24).contains(at) || (90..94).contains(at)));
        let loud = packets.iter().filter(|packet| packet.level.voice).count();
        assert!(loud > 60, "{loud} packets of speech");
        let quiet = voice.quiet.clone().next().level;
        assert!((58..=62).contains(&quiet.minus_dbov), "{quiet:?}");
        // Another phrase is other speech; one packet is enough for a unit.
        assert_ne!(voice.unit(2, 120, &[]).unwrap(), voice.unit(1, 120, &[]).unwrap());
        assert_eq!(voice.unit(0, 1, &[0]).unwrap().len(), 1);
    }

    #[test]
    fn a_voice_is_no_beep_and_the_quietest_beep_is_one() {
        let mut pcm = babble(0, 1, 2.0);
        assert!(!beep_in(&pcm, tone_hz(BEEP_TONE)));
        let mut beep = vec![0.0; 960];
        Tone::new(tone_hz(BEEP_TONE), 0.4 * BEEP_AMPLITUDE).fill(&mut beep);
        pcm.iter_mut().zip(&beep).for_each(|(sample, beep)| *sample += beep);
        assert!(beep_in(&pcm[..960], tone_hz(BEEP_TONE)));
    }
}
