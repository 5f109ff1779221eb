//! Settings of an engine, a shard and a mix.

use std::net::SocketAddr;
use std::time::Duration;

use roomtone_audio::Channels;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most that Opus takes, bit/s.
const MAX_BITRATE: u32 = 510_000;

/// How mixes are encoded and heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The most bits a second, on average, that clients are asked to send. Browsers take it as their aim. For stereo 1.5 times as many.
    pub uplink_bitrate: u32,
    /// Whether listeners who hear the same share a mix and its encode. Off only to hear that it makes no difference.
    pub share: bool,
    /// Whether a listener who hears one talker, at their own loudness, gets that talker's packets as they come. Off to measure the mixer alone.
    pub pass_through: bool,
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
            private_bitrate: 96_000,
            private_complexity: 5,
            uplink_bitrate: 40_000,
            share: true,
            pass_through: true,
            speaking_threshold: 50,
            speaking_release: Duration::from_millis(400),
            levels_interval: Duration::from_millis(200),
        }
    }
}

impl MixConfig {
    /// From this bit rate on CELT alone is as good as SILK with a third less, bit/s.
    pub const CELT_BITRATE: u32 = 48_000;

    /// The bit rate, bit/s, with these channels, of a mix that has `bitrate` in mono: the codec codes what two sides have in common
    /// once.
    pub fn bitrate_of(bitrate: u32, channels: Channels) -> u32 {
        match channels {
            Channels::Mono => bitrate,
            Channels::Stereo => (bitrate.saturating_mul(3) / 2).min(MAX_BITRATE),
        }
    }

    /// Checks that the codec takes these settings.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (setting, value, least, most) in [
            ("bitrate", self.bitrate, 6_000, MAX_BITRATE),
            ("private_bitrate", self.private_bitrate, 6_000, MAX_BITRATE),
            ("uplink_bitrate", self.uplink_bitrate, 6_000, MAX_BITRATE),
            ("shared_complexity", self.shared_complexity.into(), 0, 10),
            ("private_complexity", self.private_complexity.into(), 0, 10),
        ] {
            if !(least..=most).contains(&value) {
                return Err(ConfigError {
                    setting,
                    value,
                    least,
                    most,
                });
            }
        }
        Ok(())
    }
}

/// A setting that is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{setting} is {value}, but takes {least} to {most}")]
pub struct ConfigError {
    /// The setting's name.
    pub setting: &'static str,
    /// Its value.
    pub value: u32,
    /// The least that it takes.
    pub least: u32,
    /// The most that it takes.
    pub most: u32,
}

/// One shard: one UDP socket, and TCP on the same port number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardConfig {
    /// Where the socket is bound. Port 0: the system chooses (and the candidates' port 0 is replaced by it).
    pub bind: SocketAddr,
    /// The ICE host candidates to announce.
    pub candidates: Vec<SocketAddr>,
    /// Whether clients whose network lets no UDP through may come by TCP (RFC 6544): the same candidates are announced for it.
    pub tcp: bool,
}

/// A TURN server for clients whose network lets nothing else through.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnConfig {
    /// Where it listens, for UDP and TCP; `None`: for neither.
    pub bind: Option<SocketAddr>,
    /// The abstract name (unix(7)) of a socket by which the HTTP server of this process hands connections on whose TLS it has ended. Each
    /// of them is bound to `<this name>/<a number>/<address and port of the client>`. Linux only.
    pub local: Option<String>,
    /// TLS, for networks that look into what passes.
    pub tls: Option<TurnTlsConfig>,
    /// The realm of its credentials.
    pub realm: String,
    /// The secret from which they are made; see [`roomtone_turn::password`].
    pub secret: Vec<u8>,
    /// The most allocations at once.
    pub max_allocations: usize,
    /// The most of one person.
    pub max_per_user: usize,
    /// The most from one IPv4 address or IPv6 /64.
    pub max_per_address: usize,
}

impl TurnConfig {
    /// With the usual limits: 5,000 allocations, 40 of a person (a browser makes one for each of its addresses and each URL), 400 of an
    /// address.
    pub fn new(bind: Option<SocketAddr>, realm: &str, secret: &[u8]) -> TurnConfig {
        TurnConfig {
            bind,
            local: None,
            tls: None,
            realm: realm.to_owned(),
            secret: secret.to_vec(),
            max_allocations: 5_000,
            max_per_user: 40,
            max_per_address: 400,
        }
    }
}

// The secret must not end up in a log.
impl std::fmt::Debug for TurnConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tls = self.tls.as_ref().map(|tls| tls.bind);
        write!(f, "TurnConfig({:?}, TLS {tls:?})", self.bind)
    }
}

/// TURN over TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnTlsConfig {
    /// Where it listens.
    pub bind: SocketAddr,
    /// The certificates that it shows, PEM: its own first, then those that vouch for it.
    pub certificates: Vec<u8>,
    /// The key of the first one, PEM.
    pub key: Vec<u8>,
}

// The key must not end up in a log.
impl std::fmt::Debug for TurnTlsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TurnTlsConfig({})", self.bind)
    }
}

/// A whole engine.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineConfig {
    /// The shards; at least one.
    pub shards: Vec<ShardConfig>,
    /// A TURN server, on the first shard.
    pub turn: Option<TurnConfig>,
    /// How mixes are encoded and heard.
    pub mix: MixConfig,
    /// The most participants on one shard; more are refused as `shard_full`.
    pub max_peers_per_shard: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            shards: Vec::new(),
            turn: None,
            mix: MixConfig::default(),
            max_peers_per_shard: 10_000,
        }
    }
}
