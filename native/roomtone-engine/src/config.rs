//! Settings of an engine, a shard and a mix.

use std::net::SocketAddr;
use std::time::Duration;

use roomtone_audio::Channels;

/// The most that Opus takes, bit/s.
const MAX_BITRATE: u32 = 510_000;

/// How mixes are encoded and heard.
#[derive(Clone, Debug, PartialEq)]
pub struct MixConfig {
    /// Opus bit rate of a mono mix that many listeners share, bit/s; a stereo mix has half as much again.
    pub bitrate: u32,
    /// Opus complexity (0…10) of a mix that many listeners share: spend where it is shared.
    pub shared_complexity: u8,
    /// Opus bit rate of a mono mix that few hear (a talker's own, mostly), bit/s; a stereo mix has half as much again. From
    /// [`MixConfig::CELT_BITRATE`] on it is encoded with CELT alone, a sixth of the encoder's work at complexity 10.
    pub private_bitrate: u32,
    /// Opus complexity (0…10) of a mix that few hear, where `private_bitrate` is too low for CELT alone.
    pub private_complexity: u8,
    /// What a client is asked to send on average at most, bit/s: their aim, as browsers take it. Half as much again of stereo.
    pub uplink_bitrate: u32,
    /// Whether listeners who hear the same share a mix and its encode. Off only to hear that it makes no difference.
    pub share: bool,
    /// A frame quieter than this (−dBov, RFC 6464) doesn't count as speaking.
    pub speaking_threshold: u8,
    /// How long a participant counts as speaking after the last loud frame.
    pub speaking_release: Duration,
    /// The least time between two `Levels` events of a room.
    pub levels_interval: Duration,
}

impl Default for MixConfig {
    fn default() -> Self {
        MixConfig {
            bitrate: 32_000,
            shared_complexity: 10,
            private_bitrate: 64_000,
            private_complexity: 5,
            uplink_bitrate: 40_000,
            share: true,
            speaking_threshold: 50,
            speaking_release: Duration::from_millis(400),
            levels_interval: Duration::from_millis(200),
        }
    }
}

impl MixConfig {
    /// From this bit rate on CELT alone is as good as SILK with a third less, bit/s.
    pub const CELT_BITRATE: u32 = 48_000;

    /// What becomes of a mono mix's bit rate, bit/s, with these channels: what two sides have in context is coded once.
    pub fn bitrate_of(bitrate: u32, channels: Channels) -> u32 {
        match channels {
            Channels::Mono => bitrate,
            Channels::Stereo => (bitrate.saturating_mul(3) / 2).min(MAX_BITRATE),
        }
    }

    /// Whether the codec can take this.
    ///
    /// # Errors
    /// A sentence that names the setting and what it takes.
    pub fn check(&self) -> Result<(), String> {
        for (name, value) in [
            ("bitrate", self.bitrate),
            ("private_bitrate", self.private_bitrate),
            ("uplink_bitrate", self.uplink_bitrate),
        ] {
            if !(6_000..=MAX_BITRATE).contains(&value) {
                return Err(format!("{name} is {value}, but takes 6000 to 510000 bit/s"));
            }
        }
        for (name, value) in [
            ("shared_complexity", self.shared_complexity),
            ("private_complexity", self.private_complexity),
        ] {
            if value > 10 {
                return Err(format!("{name} is {value}, but takes 0 to 10"));
            }
        }
        Ok(())
    }
}

/// One shard: one UDP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardConfig {
    /// Where the socket is bound. Port 0: the system chooses (and the candidates' port 0 is replaced by it).
    pub bind: SocketAddr,
    /// What is announced as ICE host candidates.
    pub candidates: Vec<SocketAddr>,
}

/// A whole engine.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineConfig {
    /// The shards; at least one.
    pub shards: Vec<ShardConfig>,
    /// How mixes are encoded and heard.
    pub mix: MixConfig,
    /// The most participants on one shard; more are refused as `shard_full`.
    pub max_peers_per_shard: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            shards: Vec::new(),
            mix: MixConfig::default(),
            max_peers_per_shard: 10_000,
        }
    }
}
