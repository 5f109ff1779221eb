//! Sound of a voice room at another rate, and sound of another rate for a voice room.

#![doc = include_str!("../README.md")]

mod from_room;
mod to_room;
mod whole;

pub use from_room::{FromRoom, ROOM_RATES};
pub use to_room::ToRoom;
pub use whole::convert;
