//! Limits of what a client may use.

use std::time::Duration;

use rustler::NifMap;

use crate::census::{Network, Rules};

/// Limits of a listener; `PhoenixLite.Limits` has the defaults and says what they are for.
#[derive(Clone, Debug, NifMap)]
pub struct Limits {
    /// Bytes of a request head.
    pub head_bytes: usize,
    /// Headers in a request head.
    pub headers: usize,
    /// From the connection, or the end of the last response, to the end of a request head.
    pub head_timeout_ms: u64,
    /// How long a write may make no progress.
    pub write_timeout_ms: u64,
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time from one address (IPv6: one /64).
    pub connections_per_address: usize,
    /// Connections beyond [`Limits::connections`], for requests whose path begins with one of [`Limits::priority`].
    pub reserve: usize,
    /// Networks that [`Limits::connections_per_address`] doesn't hold for, such as `127.0.0.0/8`.
    pub unlimited: Vec<String>,
    /// Prefixes of the paths that are served first.
    pub priority: Vec<String>,
}

impl Limits {
    /// [`Limits::head_timeout_ms`].
    pub fn head_timeout(&self) -> Duration {
        Duration::from_millis(self.head_timeout_ms)
    }

    /// The rules by which clients may connect. A network that can't be read is left out.
    pub fn rules(&self) -> Rules {
        Rules {
            most: self.connections,
            most_of_one: self.connections_per_address,
            reserve: self.reserve,
            unlimited: self.unlimited.iter().filter_map(|text| Network::parse(text)).collect(),
        }
    }

    /// [`Limits::write_timeout_ms`].
    pub fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }
}

/// Limits of one WebSocket.
#[derive(Clone, Debug, NifMap)]
pub struct SocketLimits {
    /// Bytes of one incoming message, and of one frame.
    pub message_bytes: usize,
    /// How long the client may send nothing at all.
    pub idle_timeout_ms: u64,
    /// Bytes that may wait for the client to read them.
    pub queue_bytes: usize,
    /// Messages that may wait for the client to read them.
    pub queue_messages: usize,
}

impl SocketLimits {
    /// [`SocketLimits::idle_timeout_ms`].
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }
}
