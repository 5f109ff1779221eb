//! Takes the batches of a tap, and makes of each what its consumer asked for.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use roomtone_audio::{Channels, FRAME_DURATION, FRAME_SAMPLES, Limiter, level};
use roomtone_engine::{PeerId, Tap, TapBatch};
use thiserror::Error;

use crate::voice::{Ear, Stream};
use roomtone_resample::{FromRoom, ROOM_RATES};

/// Frames without sound after which a talker is forgotten: 10 s.
const FORGET_AFTER: u32 = 500;
/// The most ticks of silence that stand for lost batches: 30 s.
const MOST_SILENCE: u32 = 1_500;
/// Packets of a tick come up to this long after it began: the room needs time to mix them.
const TICK_LATENESS: Duration = Duration::from_millis(10);
const SILENCE: u8 = 127;

/// The form of the sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Samples, full scale ±1.0.
    F32,
    /// Samples, 16 bits.
    S16,
    /// The packets, as the room has them.
    Opus,
}

/// The sound of the tap, and what is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A tap of a mix.
    Mix,
    /// A tap of talkers, each apart.
    Talkers,
    /// A tap of talkers, mixed by the reader: in a room that makes no mix.
    Sum,
}

/// The wishes of a consumer.
#[derive(Clone, Copy, Debug)]
pub struct ReaderConfig {
    /// The form of the sound.
    pub format: Format,
    /// Samples per second, for PCM: 8,000, 12,000, 16,000, 24,000, 32,000, 44,100 or 48,000.
    pub rate: u32,
    /// Stereo: for PCM of a mix, in a room that mixes in stereo. The sound of talkers is mono.
    pub channels: Channels,
    /// The sound.
    pub source: Source,
    /// Whether the sound of each talker is searched for a voice: for PCM of talkers apart.
    pub voice: bool,
}

/// Why a reader can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The rate isn't one of those.
    #[error("the rate is not one of {ROOM_RATES:?}")]
    Rate,
    /// Talkers are mono, and so is their sum.
    #[error("only a mix can be in stereo")]
    Stereo,
    /// Packets can't be mixed without decoding them.
    #[error("a sum of talkers is PCM")]
    Sum,
    /// Voices are searched in PCM of talkers apart.
    #[error("only talkers apart, as PCM, are searched for a voice")]
    Voice,
    /// Nothing to decode with.
    #[error("there is no memory for a decoder")]
    Memory,
}

/// Sound of one stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Sound {
    /// Continuous samples, full scale ±1.0, interleaved.
    Pcm(Vec<f32>),
    /// Packets with their RTP timestamps (48 kHz), in the order in which they came.
    Packets(Vec<(u32, Vec<u8>)>),
}

/// A talker's sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// The talker.
    pub talker: PeerId,
    /// Their sound.
    pub sound: Sound,
    /// Its level, −dBov (0 loudest, 127 silence).
    pub level: u8,
    /// How surely there is a voice in it, 0 to 1: for a consumer who wants to know.
    pub voice: Option<f32>,
}

/// The sound of some ticks.
#[derive(Clone, Debug)]
pub struct Batch {
    /// When its first tick was.
    pub began: Instant,
    /// The room's media time at its first tick, 48 kHz.
    pub media_time: u32,
    /// Ticks of 20 ms, lost ones included.
    pub ticks: u32,
    /// Batches that were lost before it, because nobody took them.
    pub lost: u64,
    /// Those who spoke.
    pub speaking: Vec<PeerId>,
    /// The mix, or the sum; `None` with talkers apart.
    pub mix: Option<(Sound, u8)>,
    /// The talkers apart: those who have sound.
    pub tracks: Vec<Track>,
}

/// The consumer's end of a tap.
pub struct Reader {
    tap: Tap,
    config: ReaderConfig,
    next: u64,
    /// Of a tap of a mix, as PCM.
    mix: Option<Stream>,
    talkers: BTreeMap<PeerId, Stream>,
    /// Of a sum.
    resampler: Option<FromRoom>,
    /// For a sum: everybody's gain, and the gains of those who have their own.
    default_gain: f32,
    gains: HashMap<PeerId, f32>,
    limiter: Limiter,
    frame: Vec<f32>,
    sum: Vec<f32>,
}

impl Reader {
    /// A reader of the batches of `tap`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(tap: Tap, config: ReaderConfig) -> Result<Reader, ConfigError> {
        if !ROOM_RATES.contains(&config.rate) {
            return Err(ConfigError::Rate);
        }
        if config.source != Source::Mix && config.channels == Channels::Stereo {
            return Err(ConfigError::Stereo);
        }
        if config.source == Source::Sum && config.format == Format::Opus {
            return Err(ConfigError::Sum);
        }
        if config.voice && (config.source != Source::Talkers || config.format == Format::Opus) {
            return Err(ConfigError::Voice);
        }
        let (mut mix, mut resampler) = (None, None);
        match (config.source, config.format) {
            (_, Format::Opus) | (Source::Talkers, _) => {}
            (Source::Mix, _) => mix = Some(Stream::new(config.channels, config.rate, None).ok_or(ConfigError::Memory)?),
            (Source::Sum, _) => resampler = Some(FromRoom::new(config.rate, 1).ok_or(ConfigError::Memory)?),
        }
        Ok(Reader {
            tap,
            config,
            next: 0,
            mix,
            talkers: BTreeMap::new(),
            resampler,
            default_gain: 1.0,
            gains: HashMap::new(),
            limiter: Limiter::default(),
            frame: Vec::new(),
            sum: Vec::new(),
        })
    }

    /// The tap that it reads.
    pub fn tap(&self) -> &Tap {
        &self.tap
    }

    /// The form of the sound.
    pub fn format(&self) -> Format {
        self.config.format
    }

    /// For a sum: everybody's gain (linear), and the gains of those who have their own.
    pub fn set_gains(&mut self, default: f32, gains: HashMap<PeerId, f32>) {
        self.default_gain = default;
        self.gains = gains;
    }

    /// The next batch. If there is none, the engine sends `TapReady` once there is.
    pub fn read(&mut self) -> Option<Batch> {
        let batch = self.tap.take()?;
        let lost = batch.number.saturating_sub(self.next);
        self.next = batch.number + 1;
        let read = self.render(&batch, lost);
        self.tap.give_back(batch);
        Some(read)
    }

    fn render(&mut self, batch: &TapBatch, lost: u64) -> Batch {
        let mut read = Batch {
            began: batch.began,
            media_time: batch.media_time,
            ticks: batch.ticks,
            lost,
            speaking: batch.speaking.clone(),
            mix: None,
            tracks: Vec::new(),
        };
        if self.config.format == Format::Opus {
            self.collect(batch, &mut read);
            return read;
        }
        // Silence stands for the time that nobody has taken.
        let ticks = lost.saturating_mul(u64::from(self.tap.ticks()));
        let silence = ticks.min(u64::from(MOST_SILENCE)) as u32;
        let before = FRAME_DURATION * silence;
        read.began = batch.began.checked_sub(before).unwrap_or(batch.began);
        read.media_time = batch.media_time.wrapping_sub(silence * FRAME_SAMPLES as u32);
        read.ticks += silence;
        self.play(batch, silence, &mut read);
        read
    }

    // The packets as they are.
    fn collect(&self, batch: &TapBatch, read: &mut Batch) {
        let (mut mix, mut loudest) = (Vec::new(), SILENCE);
        for packet in &batch.packets {
            let payload = (packet.timestamp, batch.payload(packet).to_vec());
            let level = packet.level.unwrap_or(SILENCE);
            let Some(talker) = packet.talker else {
                mix.push(payload);
                loudest = loudest.min(level);
                continue;
            };
            match read.tracks.iter_mut().find(|track| track.talker == talker) {
                Some(track) => {
                    track.level = track.level.min(level);
                    if let Sound::Packets(packets) = &mut track.sound {
                        packets.push(payload);
                    }
                }
                None => read.tracks.push(Track {
                    talker,
                    sound: Sound::Packets(vec![payload]),
                    level,
                    voice: None,
                }),
            }
        }
        if self.config.source == Source::Mix {
            read.mix = Some((Sound::Packets(mix), loudest));
        }
    }

    // Plays the batch tick by tick.
    fn play(&mut self, batch: &TapBatch, silence: u32, read: &mut Batch) {
        let samples = self.config.rate as usize / 50 * self.config.channels.count();
        let mut mix = vec![0.0; silence as usize * samples];
        let mut tracks: BTreeMap<PeerId, (Vec<f32>, bool, Option<f32>)> = BTreeMap::new();
        let mut packets = batch.packets.iter().peekable();
        for tick in 0..batch.ticks {
            let now = batch.began + FRAME_DURATION * tick + TICK_LATENESS;
            let last = tick + 1 == batch.ticks;
            while let Some(packet) = packets.next_if(|packet| last || packet.arrival <= now) {
                if let Some(stream) = self.stream(packet.talker) {
                    stream.voice.insert(packet, batch.payload(packet));
                }
            }
            if let Some(stream) = &mut self.mix {
                stream.voice.frame(now, &mut self.frame);
                stream.resampler.process(&self.frame, &mut mix);
            }
            self.sum.clear();
            self.sum.resize(FRAME_SAMPLES, 0.0);
            for (talker, stream) in &mut self.talkers {
                let sound = stream.voice.frame(now, &mut self.frame);
                stream.silent = if sound { 0 } else { stream.silent.saturating_add(1) };
                if self.resampler.is_some() {
                    let gain = self.gains.get(talker).copied().unwrap_or(self.default_gain);
                    roomtone_audio::mix::add_scaled(&mut self.sum, &self.frame, gain);
                } else {
                    let (pcm, any, voice) = tracks.entry(*talker).or_default();
                    *any |= sound;
                    // They may have begun within the batch.
                    pcm.resize((silence + tick) as usize * samples, 0.0);
                    let begin = pcm.len();
                    stream.resampler.process(&self.frame, pcm);
                    if let Some(ear) = &mut stream.ear {
                        let score = ear.hear(&self.frame, &pcm[begin..]);
                        *voice = Some(score.max(voice.unwrap_or(0.0)));
                    }
                }
            }
            if let Some(resampler) = &mut self.resampler {
                self.limiter.process_interleaved(&mut self.sum, Channels::Mono);
                resampler.process(&self.sum, &mut mix);
            }
        }
        self.talkers.retain(|_, stream| stream.silent < FORGET_AFTER);
        if self.config.source != Source::Talkers {
            let loud = level(&mix).dbov_minus;
            read.mix = Some((Sound::Pcm(mix), loud));
        }
        for (talker, (pcm, any, voice)) in tracks {
            let level = level(&pcm).dbov_minus;
            // The filter's last samples come after the sound.
            if any || level < SILENCE {
                read.tracks.push(Track {
                    talker,
                    sound: Sound::Pcm(pcm),
                    level,
                    voice,
                });
            }
        }
    }

    fn stream(&mut self, talker: Option<PeerId>) -> Option<&mut Stream> {
        let Some(talker) = talker else { return self.mix.as_mut() };
        if !self.talkers.contains_key(&talker) {
            let rate = self.config.rate;
            let ear = if self.config.voice { Some(Ear::new(rate)?) } else { None };
            self.talkers.insert(talker, Stream::new(Channels::Mono, rate, ear)?);
        }
        self.talkers.get_mut(&talker)
    }
}
