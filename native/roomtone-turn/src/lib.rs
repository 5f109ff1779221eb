//! A TURN server (RFC 8656) for one purpose: clients whose network lets nothing through but a connection to this server's TURN port reach
//! this server's media path, and nothing else.
//!
//! An allocation is a handle. No port is opened for it, its relayed address is a name, and its only permitted peers are the addresses of
//! the media path; others get 403. So the server can't be made to relay to anybody, whoever has credentials.
//!
//! The crate is sans-IO: a [`Server`] takes datagrams and time, and its responses are polled. Messages are read and written by
//! `rtc::stun` and `rtc::turn`.

#![doc = include_str!("../README.md")]

mod allocation;
mod credentials;
mod request;
mod server;

pub use credentials::password;
pub use server::{NoCrypto, Server, ServerConfig, ServerStats, ToPeer};

/// The number of an allocation, below 2²⁰.
pub type AllocationId = u32;
/// The place of a peer among [`ServerConfig::peers`].
pub type PeerIndex = usize;
