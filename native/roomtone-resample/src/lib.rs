//! Sound of a voice room at another rate, and sound of another rate for a voice room.

#![doc = include_str!("../README.md")]

mod converter;
mod from_room;
mod whole;

pub use converter::Converter;
pub use from_room::{FromRoom, ROOM_RATES};
pub use whole::convert;
