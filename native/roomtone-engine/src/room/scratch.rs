//! The working space of a tick: one for all rooms of a shard, so that ticks don't allocate.

use roomtone_audio::Frame;

use super::feed::PassScratch;
use super::gains::GainPan;
use super::introduction::Introduction;
use crate::command::PeerId;

/// Buffers that every tick fills anew.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Peers (by index) who may be heard in this tick, and their rank in dB.
    pub(super) candidates: Vec<(usize, f32)>,
    pub(super) audible: AudibleScratch,
    pub(super) talkers: Vec<PeerId>,
    /// For each talker whether they weren't heard in the last tick.
    pub(super) begins: Vec<bool>,
    /// For each talker whether they make music.
    pub(super) music: Vec<bool>,
    /// One frame for each talker; a larger room may have left more.
    pub(super) frames: Vec<Frame>,
    pub(super) row: Vec<GainPan>,
    pub(super) mix: Vec<f32>,
    pub(super) packet: Vec<u8>,
    pub(super) levels: Vec<(PeerId, u8, bool)>,
    pub(super) pass: PassScratch,
    pub(super) introduction: Introduction,
}

/// Working space of [`super::audible::keep`].
#[derive(Default)]
pub(super) struct AudibleScratch {
    pub(super) kept: Vec<bool>,
    pub(super) ranked: Vec<(usize, f32)>,
}
