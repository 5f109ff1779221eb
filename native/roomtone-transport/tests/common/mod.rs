//! A small WebRTC client and a network between it and an endpoint, both on a virtual clock.

#![allow(dead_code, unused_imports)] // each test file uses a part of it

mod client;
mod link;
mod resumed;
mod short_rsa;

pub use client::{Client, ClientOptions, Profile};
pub use link::{Link, MS};
pub use short_rsa::short_rsa;

use std::time::Instant;

/// A virtual clock has to start somewhere; only differences matter.
#[allow(clippy::disallowed_methods)]
pub fn origin() -> Instant {
    Instant::now()
}
