//! An instrument in stereo, which is played in music mode.

use roomtone_audio::packet::{Mode, parse};
use roomtone_audio::{Channels, Encoder, EncoderConfig, FRAME_SAMPLES};
use roomtone_engine::PeerId;
use roomtone_testkit::fixtures::{Source, Tone};
use roomtone_testkit::listen::{dbfs, goertzel_amplitude};
use roomtone_testkit::peer::Level;

use super::World;

pub const LEFT_HZ: f32 = 440.0;
pub const RIGHT_HZ: f32 = 900.0;
pub const DBFS: f32 = -20.0;

/// A tone on each side.
pub struct Instrument {
    left: Tone,
    right: Tone,
    encoder: Encoder,
    /// The layers of the packet sent last.
    pub mode: Option<Mode>,
    pub timestamp: u32,
    minus_dbov: u8,
}

impl Instrument {
    pub fn new() -> Instrument {
        Instrument::at(DBFS)
    }

    pub fn at(dbfs: f32) -> Instrument {
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
            mode: None,
            timestamp: 0,
            minus_dbov: (3.0 - dbfs) as u8,
        }
    }

    /// One whose packets have the layers and the bandwidth of this first byte (RFC 6716 §3.1).
    pub fn coded_as(toc: u8) -> Instrument {
        let mut instrument = Instrument::new();
        instrument.encoder.imitate(&[toc]).unwrap();
        instrument
    }

    pub fn play(&mut self, world: &mut World, player: PeerId, ms: u64) {
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
            self.mode = Some(parse(&packet).unwrap().mode);
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

/// How loud each tone is in each ear, dB, relative to how an instrument of [`DBFS`] played it: left in the left and right ear, right in the left
/// and right ear.
pub fn sides([left, right]: &[Vec<f32>; 2]) -> [f32; 4] {
    let level = |ear: &[f32], hz| dbfs(goertzel_amplitude(&ear[ear.len() / 4..], hz)) - DBFS;
    [
        level(left, LEFT_HZ),
        level(right, LEFT_HZ),
        level(left, RIGHT_HZ),
        level(right, RIGHT_HZ),
    ]
}
