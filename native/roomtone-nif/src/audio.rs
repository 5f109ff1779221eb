//! The media API for Elixir beside rooms: Opus, mixing, resampling, levels, WAV files. `Roomtone.Audio` is its face.
//!
//! Sound crosses the boundary as a binary of `f32`, little-endian, full scale ±1.0, channels interleaved. Everything that takes
//! longer than a millisecond has a twin on a dirty scheduler; the Elixir side chooses by size.

use std::path::Path;
use std::sync::{Mutex, TryLockError};
use std::time::Instant;

use audiopus::Application;
use roomtone_audio::{
    AudioError, Channels, Decoder, Encoder, EncoderConfig, FRAME_DURATION, Limiter, VoiceDetector, mix,
};
use roomtone_resample::{Converter, ROOM_RATES, convert};
use rustler::{Atom, Binary, Env, OwnedBinary, Resource, ResourceArc};

mod atoms {
    rustler::atoms! {
        ok, voip, audio,
        bad_pcm, bad_channels, bad_bitrate, bad_complexity, bad_loss, bad_frame_length, bad_packet, bad_gain, bad_rate,
        bad_tone, bad_wav, too_long, no_memory, in_use, codec, not_found, no_permission, io,
    }
}

/// Samples of one call, all channels together: ten minutes of stereo at 48 kHz, 230 MB.
const MOST_SAMPLES: usize = 2 * 48_000 * 600;
/// Sampling rates that are taken, in Hz.
const RATES: std::ops::RangeInclusive<usize> = 1_000..=384_000;
/// The loudest gain of [`audio_mix`]: +60 dB.
const MAX_GAIN: f64 = 1_000.0;

/// An Opus encoder of one process.
struct EncoderHandle(Mutex<(Encoder, Vec<u8>)>);
#[rustler::resource_impl]
impl Resource for EncoderHandle {}

/// An Opus decoder of one process.
struct DecoderHandle(Mutex<(Decoder, Vec<f32>)>);
#[rustler::resource_impl]
impl Resource for DecoderHandle {}

/// A voice detector of one process, and the way to its rate.
struct VoiceHandle(Mutex<(Converter, VoiceDetector)>);
#[rustler::resource_impl]
impl Resource for VoiceHandle {}

// ---- Opus ------------------------------------------------------------------------------------------------------------

#[rustler::nif]
fn audio_encoder(
    bitrate: u32,
    complexity: u8,
    channels: u8,
    application: Atom,
    fec: bool,
    expected_loss: u8,
) -> Result<ResourceArc<EncoderHandle>, Atom> {
    if !(500..=512_000).contains(&bitrate) {
        return Err(atoms::bad_bitrate());
    }
    if complexity > 10 {
        return Err(atoms::bad_complexity());
    }
    if expected_loss > 100 {
        return Err(atoms::bad_loss());
    }
    let config = EncoderConfig {
        bitrate,
        complexity,
        channels: channels_of(channels)?,
        application: if application == atoms::audio() {
            Application::Audio
        } else {
            Application::Voip
        },
        fec,
        expected_loss_percent: expected_loss,
        ..EncoderConfig::default()
    };
    let encoder = Encoder::new(&config).map_err(|_| atoms::no_memory())?;
    Ok(ResourceArc::new(EncoderHandle(Mutex::new((encoder, Vec::new())))))
}

#[rustler::nif]
fn audio_encode<'a>(env: Env<'a>, handle: ResourceArc<EncoderHandle>, pcm: Binary<'a>) -> Result<Binary<'a>, Atom> {
    encode(env, &handle, &pcm)
}

// A frame of 40 or 60 ms takes more than a millisecond at the highest complexity.
#[rustler::nif(schedule = "DirtyCpu")]
fn audio_encode_dirty<'a>(
    env: Env<'a>,
    handle: ResourceArc<EncoderHandle>,
    pcm: Binary<'a>,
) -> Result<Binary<'a>, Atom> {
    encode(env, &handle, &pcm)
}

fn encode<'a>(env: Env<'a>, handle: &EncoderHandle, pcm: &[u8]) -> Result<Binary<'a>, Atom> {
    let pcm = samples(pcm)?;
    let mut held = lock(&handle.0)?;
    let (encoder, packet) = &mut *held;
    encoder.encode(&pcm, packet).map_err(|error| match error {
        AudioError::FrameLength { .. } => atoms::bad_frame_length(),
        _ => atoms::codec(),
    })?;
    bytes(env, packet)
}

#[rustler::nif]
fn audio_decoder(channels: u8) -> Result<ResourceArc<DecoderHandle>, Atom> {
    let decoder = Decoder::with_channels(channels_of(channels)?).map_err(|_| atoms::no_memory())?;
    Ok(ResourceArc::new(DecoderHandle(Mutex::new((decoder, Vec::new())))))
}

#[rustler::nif]
fn audio_decode<'a>(env: Env<'a>, handle: ResourceArc<DecoderHandle>, packet: Binary<'a>) -> Result<Binary<'a>, Atom> {
    decode_with(env, &handle, |decoder, out| decoder.decode(&packet, out))
}

#[rustler::nif]
fn audio_decode_fec<'a>(
    env: Env<'a>,
    handle: ResourceArc<DecoderHandle>,
    packet: Binary<'a>,
    samples: usize,
) -> Result<Binary<'a>, Atom> {
    decode_with(env, &handle, |decoder, out| decoder.decode_fec(&packet, samples, out))
}

#[rustler::nif]
fn audio_conceal(env: Env<'_>, handle: ResourceArc<DecoderHandle>, samples: usize) -> Result<Binary<'_>, Atom> {
    decode_with(env, &handle, |decoder, out| decoder.conceal(samples, out))
}

fn decode_with<'a>(
    env: Env<'a>,
    handle: &DecoderHandle,
    decode: impl FnOnce(&mut Decoder, &mut Vec<f32>) -> Result<usize, AudioError>,
) -> Result<Binary<'a>, Atom> {
    let mut held = lock(&handle.0)?;
    let (decoder, out) = &mut *held;
    out.clear();
    decode(decoder, out).map_err(|error| match error {
        AudioError::FrameLength { .. } => atoms::bad_frame_length(),
        AudioError::Packet(_) | AudioError::Opus { .. } => atoms::bad_packet(),
        _ => atoms::codec(),
    })?;
    pcm_binary(env, out)
}

// ---- Sound as numbers ------------------------------------------------------------------------------------------------

#[rustler::nif]
fn audio_mix<'a>(env: Env<'a>, parts: Vec<(Binary<'a>, f64)>, channels: u8, limit: bool) -> Result<Binary<'a>, Atom> {
    mix_parts(env, &parts, channels, limit)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn audio_mix_dirty<'a>(
    env: Env<'a>,
    parts: Vec<(Binary<'a>, f64)>,
    channels: u8,
    limit: bool,
) -> Result<Binary<'a>, Atom> {
    mix_parts(env, &parts, channels, limit)
}

fn mix_parts<'a>(env: Env<'a>, parts: &[(Binary<'a>, f64)], channels: u8, limit: bool) -> Result<Binary<'a>, Atom> {
    let channels = channels_of(channels)?;
    let mut total: Vec<f32> = Vec::new();
    for (part, gain) in parts {
        if !gain.is_finite() || gain.abs() > MAX_GAIN {
            return Err(atoms::bad_gain());
        }
        let pcm = samples(part)?;
        if pcm.len() > total.len() {
            total.resize(pcm.len(), 0.0);
        }
        mix::add_scaled(&mut total[..pcm.len()], &pcm, *gain as f32);
    }
    if !total.len().is_multiple_of(channels.count()) {
        return Err(atoms::bad_pcm());
    }
    if limit {
        Limiter::default().process_interleaved(&mut total, channels);
    }
    pcm_binary(env, &total)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn audio_resample<'a>(env: Env<'a>, pcm: Binary<'a>, from: usize, to: usize, channels: u8) -> Result<Binary<'a>, Atom> {
    if !RATES.contains(&from) || !RATES.contains(&to) {
        return Err(atoms::bad_rate());
    }
    let channels = channels_of(channels)?.count();
    let pcm = samples(&pcm)?;
    if !pcm.len().is_multiple_of(channels) {
        return Err(atoms::bad_pcm());
    }
    if pcm.len().saturating_mul(to) / from > MOST_SAMPLES {
        return Err(atoms::too_long());
    }
    pcm_binary(
        env,
        &convert(pcm, from as u32, to as u32, channels).ok_or(atoms::bad_rate())?,
    )
}

// Root of the mean square and the loudest sample, both linear.
#[rustler::nif]
fn audio_level(pcm: Binary<'_>) -> Result<(f64, f64), Atom> {
    level(&pcm)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn audio_level_dirty(pcm: Binary<'_>) -> Result<(f64, f64), Atom> {
    level(&pcm)
}

fn level(pcm: &[u8]) -> Result<(f64, f64), Atom> {
    let pcm = samples(pcm)?;
    let square: f64 = pcm.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    let peak = pcm.iter().fold(0f32, |peak, sample| peak.max(sample.abs()));
    Ok(((square / pcm.len().max(1) as f64).sqrt(), f64::from(peak)))
}

#[rustler::nif]
fn audio_voice_detector(rate: u32) -> Result<ResourceArc<VoiceHandle>, Atom> {
    if !ROOM_RATES.contains(&rate) {
        return Err(atoms::bad_rate());
    }
    let converter = Converter::new(rate, VoiceDetector::RATE).ok_or(atoms::bad_rate())?;
    let detector = VoiceDetector::default();
    Ok(ResourceArc::new(VoiceHandle(Mutex::new((converter, detector)))))
}

#[rustler::nif]
fn audio_voice(handle: ResourceArc<VoiceHandle>, pcm: Binary<'_>) -> Result<f64, Atom> {
    voice(&handle, &pcm)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn audio_voice_dirty(handle: ResourceArc<VoiceHandle>, pcm: Binary<'_>) -> Result<f64, Atom> {
    voice(&handle, &pcm)
}

fn voice(handle: &VoiceHandle, pcm: &[u8]) -> Result<f64, Atom> {
    let pcm = samples(pcm)?;
    let mut held = lock(&handle.0)?;
    let (converter, detector) = &mut *held;
    let mut converted = Vec::new();
    converter.push(&pcm, &mut converted);
    Ok(f64::from(detector.hear(&converted)))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn audio_tone(env: Env<'_>, hz: f64, amplitude: f64, count: usize, rate: usize) -> Result<Binary<'_>, Atom> {
    if !RATES.contains(&rate) {
        return Err(atoms::bad_rate());
    }
    let audible = (0.0..=rate as f64 / 2.0).contains(&hz) && (0.0..=1.0).contains(&amplitude);
    if !audible {
        return Err(atoms::bad_tone());
    }
    if count > MOST_SAMPLES {
        return Err(atoms::too_long());
    }
    let step = std::f64::consts::TAU * hz / rate as f64;
    let tone: Vec<f32> = (0..count)
        .map(|n| (amplitude * (step * n as f64).sin()) as f32)
        .collect();
    pcm_binary(env, &tone)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn audio_to_s16<'a>(env: Env<'a>, pcm: Binary<'a>) -> Result<Binary<'a>, Atom> {
    let pcm = samples(&pcm)?;
    let mut out = OwnedBinary::new(pcm.len() * 2);
    for (to, sample) in out.as_mut_slice().as_chunks_mut::<2>().0.iter_mut().zip(&pcm) {
        *to = to_s16(*sample).to_le_bytes();
    }
    Ok(out.release(env))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn audio_from_s16<'a>(env: Env<'a>, pcm: Binary<'a>) -> Result<Binary<'a>, Atom> {
    let (pairs, rest) = pcm.as_slice().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(atoms::bad_pcm());
    }
    if pairs.len() > MOST_SAMPLES {
        return Err(atoms::too_long());
    }
    let pcm: Vec<f32> = pairs.iter().map(|pair| from_s16(i16::from_le_bytes(*pair))).collect();
    pcm_binary(env, &pcm)
}

// ---- WAV files -------------------------------------------------------------------------------------------------------

type Wav<'a> = (Binary<'a>, u32, u16);

#[rustler::nif(schedule = "DirtyIo")]
fn audio_read_wav<'a>(env: Env<'a>, path: &str) -> Result<Wav<'a>, Atom> {
    let mut reader = hound::WavReader::open(Path::new(path)).map_err(wav_error)?;
    let spec = reader.spec();
    if spec.channels == 0 || !RATES.contains(&(spec.sample_rate as usize)) {
        return Err(atoms::bad_wav());
    }
    if reader.len() as usize > MOST_SAMPLES {
        return Err(atoms::too_long());
    }
    let pcm: Result<Vec<f32>, hound::Error> = match spec.sample_format {
        hound::SampleFormat::Float => reader.samples::<f32>().collect(),
        hound::SampleFormat::Int => {
            let full = f64::from(2u32).powi(i32::from(spec.bits_per_sample) - 1);
            let scaled = |sample: i32| (f64::from(sample) / full) as f32;
            reader.samples::<i32>().map(|sample| sample.map(scaled)).collect()
        }
    };
    Ok((
        pcm_binary(env, &pcm.map_err(wav_error)?)?,
        spec.sample_rate,
        spec.channels,
    ))
}

#[rustler::nif(schedule = "DirtyIo")]
fn audio_write_wav(path: &str, pcm: Binary<'_>, rate: usize, channels: u16, float: bool) -> Result<Atom, Atom> {
    let pcm = samples(&pcm)?;
    if !RATES.contains(&rate) {
        return Err(atoms::bad_rate());
    }
    if channels == 0 || !pcm.len().is_multiple_of(usize::from(channels)) {
        return Err(atoms::bad_channels());
    }
    let spec = hound::WavSpec {
        channels,
        sample_rate: rate as u32,
        bits_per_sample: if float { 32 } else { 16 },
        sample_format: if float {
            hound::SampleFormat::Float
        } else {
            hound::SampleFormat::Int
        },
    };
    let write = || {
        let mut writer = hound::WavWriter::create(Path::new(path), spec)?;
        for sample in pcm {
            if float {
                writer.write_sample(sample)?;
            } else {
                writer.write_sample(to_s16(sample))?;
            }
        }
        writer.finalize()
    };
    write().map_err(wav_error)?;
    Ok(atoms::ok())
}

fn wav_error(error: hound::Error) -> Atom {
    match error {
        hound::Error::IoError(error) => match error.kind() {
            std::io::ErrorKind::NotFound => atoms::not_found(),
            std::io::ErrorKind::PermissionDenied => atoms::no_permission(),
            std::io::ErrorKind::NotADirectory | std::io::ErrorKind::IsADirectory => atoms::io(),
            // Of `hound` itself: the file ends too early.
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::Other => atoms::bad_wav(),
            _ => atoms::io(),
        },
        _ => atoms::bad_wav(),
    }
}

// ---- Time ------------------------------------------------------------------------------------------------------------

/// Ticks of one measurement.
const MOST_TICKS: usize = 1_000;

// How late (in µs) a thread on a dirty scheduler wakes up for each of `count` ticks of 20 ms: what a shard's loop has to live with.
#[rustler::nif(schedule = "DirtyIo")]
fn audio_tick_lateness(count: usize) -> Result<Vec<u64>, Atom> {
    if count > MOST_TICKS {
        return Err(atoms::too_long());
    }
    let start = Instant::now();
    Ok((1..=count as u32)
        .map(|tick| {
            let due = start + FRAME_DURATION * tick;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            Instant::now().saturating_duration_since(due).as_micros() as u64
        })
        .collect())
}

// ---- Binaries --------------------------------------------------------------------------------------------------------

// A binary of the BEAM has no alignment that one may count on, so samples are copied.
fn samples(pcm: &[u8]) -> Result<Vec<f32>, Atom> {
    let (words, rest) = pcm.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(atoms::bad_pcm());
    }
    if words.len() > MOST_SAMPLES {
        return Err(atoms::too_long());
    }
    let pcm: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    // One that isn't a number would poison whatever it is mixed with.
    if pcm.iter().all(|sample| sample.is_finite()) {
        Ok(pcm)
    } else {
        Err(atoms::bad_pcm())
    }
}

fn pcm_binary<'a>(env: Env<'a>, pcm: &[f32]) -> Result<Binary<'a>, Atom> {
    let mut out = OwnedBinary::new(pcm.len() * 4);
    for (to, sample) in out.as_mut_slice().as_chunks_mut::<4>().0.iter_mut().zip(pcm) {
        *to = sample.to_le_bytes();
    }
    Ok(out.release(env))
}

fn bytes<'a>(env: Env<'a>, data: &[u8]) -> Result<Binary<'a>, Atom> {
    let mut out = OwnedBinary::new(data.len());
    out.as_mut_slice().copy_from_slice(data);
    Ok(out.release(env))
}

fn to_s16(sample: f32) -> i16 {
    (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16
}

fn from_s16(sample: i16) -> f32 {
    f32::from(sample) / f32::from(i16::MAX)
}

fn channels_of(count: u8) -> Result<Channels, Atom> {
    match count {
        1 => Ok(Channels::Mono),
        2 => Ok(Channels::Stereo),
        _ => Err(atoms::bad_channels()),
    }
}

// A handle is one process's. A second one that comes at the same moment gets an error; it never blocks a scheduler.
fn lock<T>(mutex: &Mutex<T>) -> Result<std::sync::MutexGuard<'_, T>, Atom> {
    match mutex.try_lock() {
        Ok(guard) => Ok(guard),
        Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => Err(atoms::in_use()),
    }
}
