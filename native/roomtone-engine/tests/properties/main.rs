//! Properties of a room's sound that hold whatever happens in it. Events are random; a failure prints the seed.
//! `PROPERTY_SEEDS=100` tries a hundred seeds for each property instead of a few.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod clicks;
mod levels;
mod music;
mod overload;
mod replay;
mod scene;
mod secrets;
mod sharing;

/// The seeds that a property is tried with.
fn seeds(few: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let many = std::env::var("PROPERTY_SEEDS")
        .ok()
        .and_then(|count| count.parse().ok());
    few.start..many.map_or(few.end, |many: u64| few.start + many)
}
