//! Rooms on a virtual clock: what each participant hears of the others. One program, since linking one for each file took minutes.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod command_queues;
mod effort;
mod forward;
mod gains;
mod hostile;
mod loudness;
mod migration;
mod music;
mod noise;
mod own_voice;
mod packet_time;
mod pass_through;
mod red;
mod rejoin;
mod reoffers;
mod select;
mod slot_changes;
mod slots;
mod sound;
mod source_participants;
mod sources;
mod stereo;
mod taps;
mod traces;
mod trunk_delay;
mod trunk_relays;
mod trunk_replays;
mod trunks;
mod unheard;
mod weak_listeners;
