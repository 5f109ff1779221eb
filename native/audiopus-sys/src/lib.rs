//! Gives `audiopus` a current libopus.
//!
//! The published `audiopus_sys` links whatever libopus the system has; Debian 12's is 1.3.1 of 2019, whose encoder takes half as long
//! again at the complexities that the mixer uses (`docs/benchmarks.md`). This crate has its name, and the workspace's
//! `[patch.crates-io]` puts it in its place. All it does is hand on `opusic-sys`, which builds libopus 1.6 with cmake and links it
//! statically: the release needs no libopus on the machine where it runs.

pub use opusic_sys::*;
