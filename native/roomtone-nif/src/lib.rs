//! The boundary between the BEAM and the media engine, for the Elixir module `Roomtone.Native`.
//!
//! Thin: terms are decoded and encoded here, nothing is decided. The rules:
//!
//! * no function blocks a normal scheduler: `run_shard/3` runs on a dirty I/O scheduler, hashing passwords on dirty CPU
//!   schedulers, all others return in microseconds;
//! * messages are sent by one thread of ours (`notifier.rs`), never from a scheduler thread;
//! * a bug inside the engine is caught there and raised here as an Erlang error; nothing unwinds into C.

mod audio;
mod file;
mod nif;
mod notifier;
mod password;
mod record;
mod replay;
mod tap;
mod terms;
mod token;

rustler::init!("Elixir.Roomtone.Native");
