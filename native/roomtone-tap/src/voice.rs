//! One stream of packets as continuous PCM, and whether it is a voice.

use std::time::Instant;

use roomtone_audio::{Channels, Decoder, FRAME_SAMPLES, Frame, Playout, PlayoutConfig, RtpMeta, VoiceDetector};
use roomtone_engine::TapPacket;

use roomtone_resample::FromRoom;

/// Decoded sound of a mix that may wait for its tick, in samples of a channel: 60 ms.
const MOST_READY: usize = 3 * FRAME_SAMPLES;

/// A stream at 48 kHz, a frame of 20 ms at a time.
pub(crate) enum Voice {
    /// Mono, of packets that come with jitter: a talker's, or a mix that may be one talker's at times.
    Mono(Box<Playout>),
    /// Stereo, of a mix: a packet comes with the tick that plays it.
    Stereo { decoder: Decoder, ready: Vec<f32> },
}

impl Voice {
    /// `None`: no memory for a decoder.
    pub(crate) fn new(channels: Channels) -> Option<Voice> {
        Some(match channels {
            Channels::Mono => {
                // The room has its own rhythm already: the least delay is enough.
                let config = PlayoutConfig {
                    min_delay: std::time::Duration::ZERO,
                    ..PlayoutConfig::default()
                };
                Voice::Mono(Box::new(Playout::new(config).ok()?))
            }
            Channels::Stereo => Voice::Stereo {
                decoder: Decoder::with_channels(Channels::Stereo).ok()?,
                ready: Vec::new(),
            },
        })
    }

    /// A packet that came by now.
    pub(crate) fn insert(&mut self, packet: &TapPacket, payload: &[u8]) {
        match self {
            Voice::Mono(playout) => {
                let meta = RtpMeta {
                    seq: packet.sequence,
                    timestamp: packet.timestamp,
                    marker: packet.marker,
                    level: None,
                };
                playout.insert(packet.arrival, meta, payload);
            }
            Voice::Stereo { decoder, ready } => {
                // A packet that isn't Opus isn't sound.
                let _ = decoder.decode(payload, ready);
                let most = 2 * MOST_READY;
                if ready.len() > most {
                    ready.drain(..ready.len() - most);
                }
            }
        }
    }

    /// The 20 ms at `now`, interleaved, in `out`; whether there is any sound in them.
    pub(crate) fn frame(&mut self, now: Instant, out: &mut Vec<f32>) -> bool {
        out.clear();
        match self {
            Voice::Mono(playout) => {
                let mut frame: Frame = [0.0; FRAME_SAMPLES];
                let sound = playout.pop(now, &mut frame).is_sound();
                out.extend_from_slice(&frame);
                sound
            }
            Voice::Stereo { ready, .. } => {
                let take = ready.len().min(2 * FRAME_SAMPLES);
                out.extend(ready.drain(..take));
                out.resize(2 * FRAME_SAMPLES, 0.0);
                take > 0
            }
        }
    }
}

/// Tells whether a talker's sound is a voice.
pub(crate) struct Ear {
    /// `None`: the consumer has the detector's rate.
    resampler: Option<FromRoom>,
    detector: VoiceDetector,
    pcm: Vec<f32>,
}

impl Ear {
    pub(crate) fn new(rate: u32) -> Option<Ear> {
        let resampler = if rate == VoiceDetector::RATE {
            None
        } else {
            Some(FromRoom::new(VoiceDetector::RATE, 1)?)
        };
        Some(Ear {
            resampler,
            detector: VoiceDetector::default(),
            pcm: Vec::new(),
        })
    }

    /// The score of 20 ms: as the room has them, and at the consumer's rate.
    pub(crate) fn hear(&mut self, frame: &[f32], at_rate: &[f32]) -> f32 {
        let Some(resampler) = &mut self.resampler else {
            return self.detector.hear(at_rate);
        };
        self.pcm.clear();
        resampler.process(frame, &mut self.pcm);
        self.detector.hear(&self.pcm)
    }
}

/// A talker, or the mix, on the way to the consumer.
pub(crate) struct Stream {
    pub(crate) voice: Voice,
    pub(crate) resampler: FromRoom,
    /// For a consumer who wants to know.
    pub(crate) ear: Option<Ear>,
    /// Frames in a row without sound.
    pub(crate) silent: u32,
}

impl Stream {
    pub(crate) fn new(channels: Channels, rate: u32, ear: Option<Ear>) -> Option<Stream> {
        Some(Stream {
            voice: Voice::new(channels)?,
            resampler: FromRoom::new(rate, channels.count())?,
            ear,
            silent: 0,
        })
    }
}
