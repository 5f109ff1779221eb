//! The memory of encoders and decoders, owned by us: the one place with `unsafe` in this crate.
//!
//! `audiopus` keeps both behind private pointers. The mixer needs two things from an encoder: a
//! *copy* of the state (a listener who starts to talk continues with a twin of the shared encoder,
//! so that the decoder on the far side sees one continuous stream) and CTLs by number. And
//! `audiopus` can't set a decoder's complexity; from 5 on, a libopus with deep PLC uses it.
//! According to `opus.h` a state is one contiguous block that may be copied with `memcpy` and
//! initialised in the caller's memory (`opus_encoder_get_size`, `opus_encoder_init`). So the block
//! is a boxed slice here, and copying it is ordinary, safe Rust; only the calls into libopus are
//! unsafe.

use super::Channels;
use crate::AudioError;
use audiopus::{Application, ffi};
use std::os::raw::c_int;

/// Words for a state of `bytes`, which libopus told.
fn block(bytes: c_int) -> Result<Box<[u128]>, AudioError> {
    let bytes = usize::try_from(bytes)
        .ok()
        .filter(|&n| n > 0)
        .ok_or(AudioError::Config("channels"))?;
    Ok(vec![0u128; bytes.div_ceil(16)].into_boxed_slice())
}

/// One encoder state. `u128` words, because the block must be aligned as by `malloc` (16 bytes).
#[derive(Debug)]
pub(super) struct EncoderState {
    block: Box<[u128]>,
    channels: Channels,
}

impl Clone for EncoderState {
    fn clone(&self) -> Self {
        Self {
            block: self.block.clone(),
            channels: self.channels,
        }
    }

    /// Copies into the existing memory if it fits.
    fn clone_from(&mut self, source: &Self) {
        if self.block.len() == source.block.len() {
            self.block.copy_from_slice(&source.block);
        } else {
            self.block = source.block.clone();
        }
        self.channels = source.channels;
    }
}

impl EncoderState {
    pub(super) fn new(channels: Channels, application: Application) -> Result<Self, AudioError> {
        // SAFETY: a pure function of its argument, which is 1 or 2.
        #[allow(unsafe_code)]
        let bytes = unsafe { ffi::opus_encoder_get_size(channels.count() as c_int) };
        let mut state = Self {
            block: block(bytes)?,
            channels,
        };
        // SAFETY: the block is writable, aligned to 16 bytes and at least `opus_encoder_get_size` bytes long, as
        // `opus_encoder_init` asks; the block is not shared, since we hold `&mut`.
        #[allow(unsafe_code)]
        let code = unsafe {
            ffi::opus_encoder_init(
                state.pointer(),
                crate::SAMPLE_RATE as c_int,
                channels.count() as c_int,
                application as c_int,
            )
        };
        AudioError::check("make an encoder", code)?;
        Ok(state)
    }

    pub(super) fn channels(&self) -> Channels {
        self.channels
    }

    fn pointer(&mut self) -> *mut ffi::OpusEncoder {
        self.block.as_mut_ptr().cast()
    }

    /// Encodes one frame of 2.5–60 ms into `out`; returns the packet's bytes.
    pub(super) fn encode(&mut self, pcm: &[f32], out: &mut [u8]) -> Result<usize, AudioError> {
        let channels = self.channels.count();
        let samples = pcm.len() / channels;
        if !pcm.len().is_multiple_of(channels) || !super::is_frame_length(samples) {
            return Err(AudioError::FrameLength {
                samples: pcm.len(),
                channels,
            });
        }
        let room = c_int::try_from(out.len()).unwrap_or(c_int::MAX);
        // SAFETY: the state was initialised by `opus_encoder_init` or copied whole from one that was; `pcm` holds
        // `samples * channels` floats (checked above); `out` is writable for `room` bytes; libopus keeps neither pointer.
        #[allow(unsafe_code)]
        let code =
            unsafe { ffi::opus_encode_float(self.pointer(), pcm.as_ptr(), samples as c_int, out.as_mut_ptr(), room) };
        AudioError::check("encode", code).map(|bytes| bytes as usize)
    }

    /// A CTL that takes one integer.
    pub(super) fn set(&mut self, action: &'static str, request: c_int, value: i32) -> Result<(), AudioError> {
        // SAFETY: initialised state (see `encode`); every request passed by this crate is an `OPUS_SET_*_REQUEST`, which
        // takes exactly one `opus_int32` by value, or `OPUS_RESET_STATE`, which takes none and ignores it.
        #[allow(unsafe_code)]
        let code = unsafe { ffi::opus_encoder_ctl(self.pointer(), request, value) };
        AudioError::check(action, code).map(drop)
    }

    /// A CTL that answers one integer.
    pub(super) fn get(&mut self, action: &'static str, request: c_int) -> Result<i32, AudioError> {
        let mut value: i32 = 0;
        // SAFETY: initialised state (see `encode`); every request passed by this crate is an `OPUS_GET_*_REQUEST`, which
        // writes one `opus_int32` through the pointer, and `value` outlives the call.
        #[allow(unsafe_code)]
        let code = unsafe { ffi::opus_encoder_ctl(self.pointer(), request, &raw mut value) };
        AudioError::check(action, code).map(|_| value)
    }
}

/// One decoder state.
#[derive(Debug)]
pub(super) struct DecoderState {
    block: Box<[u128]>,
    channels: Channels,
}

impl DecoderState {
    pub(super) fn new(channels: Channels) -> Result<Self, AudioError> {
        // SAFETY: a pure function of its argument, which is 1 or 2.
        #[allow(unsafe_code)]
        let bytes = unsafe { ffi::opus_decoder_get_size(channels.count() as c_int) };
        let mut state = Self {
            block: block(bytes)?,
            channels,
        };
        let rate = crate::SAMPLE_RATE as c_int;
        // SAFETY: the block is writable, aligned to 16 bytes and at least `opus_decoder_get_size` bytes long, as
        // `opus_decoder_init` asks; the block is not shared, since we hold `&mut`.
        #[allow(unsafe_code)]
        let code = unsafe { ffi::opus_decoder_init(state.pointer(), rate, channels.count() as c_int) };
        AudioError::check("make a decoder", code)?;
        Ok(state)
    }

    fn pointer(&mut self) -> *mut ffi::OpusDecoder {
        self.block.as_mut_ptr().cast()
    }

    /// Decodes a packet, or its in-band FEC, into `out`, or conceals as many samples as fit there; returns the samples per channel.
    pub(super) fn decode(
        &mut self,
        action: &'static str,
        packet: Option<&[u8]>,
        out: &mut [f32],
        fec: bool,
    ) -> Result<usize, AudioError> {
        let too_long = |_| AudioError::Config("packet");
        let samples = c_int::try_from(out.len() / self.channels.count()).map_err(too_long)?;
        let (data, bytes) = match packet {
            Some(packet) => (packet.as_ptr(), c_int::try_from(packet.len()).map_err(too_long)?),
            None => (std::ptr::null(), 0),
        };
        // SAFETY: the state was initialised by `opus_decoder_init`; `data` is null or readable for `bytes` bytes; `out` is writable
        // for `samples * channels` floats; libopus keeps neither pointer.
        #[allow(unsafe_code)]
        let code =
            unsafe { ffi::opus_decode_float(self.pointer(), data, bytes, out.as_mut_ptr(), samples, c_int::from(fec)) };
        AudioError::check(action, code).map(|samples| samples as usize)
    }

    /// A CTL that takes one integer.
    pub(super) fn set(&mut self, action: &'static str, request: c_int, value: i32) -> Result<(), AudioError> {
        // SAFETY: initialised state (see `decode`); every request passed by this crate is an `OPUS_SET_*_REQUEST`, which
        // takes exactly one `opus_int32` by value, or `OPUS_RESET_STATE`, which takes none and ignores it.
        #[allow(unsafe_code)]
        let code = unsafe { ffi::opus_decoder_ctl(self.pointer(), request, value) };
        AudioError::check(action, code).map(drop)
    }
}
