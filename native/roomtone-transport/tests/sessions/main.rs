//! Sessions on a virtual clock: offers, handshakes, streams and what an attacker may try. One program, since linking one for each
//! file took long.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod handshake;
mod hostile;
mod mobility;
mod offers;
mod red;
mod sdp;
mod session;
mod streams;
