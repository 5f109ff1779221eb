#![doc = include_str!("../README.md")]

mod pieces;
mod session;
mod targets;

pub use targets::{TARGETS, Target, target};
