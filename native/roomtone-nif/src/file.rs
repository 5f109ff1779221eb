//! Sound files, read part by part, and PCM of other rates that comes in pieces.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Mutex, TryLockError};

use roomtone_audio::{SAMPLE_RATE, packet};
use roomtone_file::{FileError, Part, SoundFile};
use roomtone_resample::Converter;
use rustler::{Atom, Binary, Encoder, Env, OwnedBinary, Resource, ResourceArc, Term};

mod atoms {
    rustler::atoms! {
        ok, end, packets, pcm, in_use,
        bad_rate, bad_pcm, bad_packet,
        not_found, no_permission, io, not_a_file, unknown_format, broken_file, too_many_channels, codec,
    }
}

/// A file that one process reads.
struct FileHandle(Mutex<SoundFile>);

#[rustler::resource_impl]
impl Resource for FileHandle {}

// Dirty: waits for the disk.
#[rustler::nif(schedule = "DirtyIo")]
fn file_open(path: &str) -> Result<ResourceArc<FileHandle>, Atom> {
    let file = SoundFile::open(Path::new(path)).map_err(|error| reason(&error))?;
    Ok(ResourceArc::new(FileHandle(Mutex::new(file))))
}

#[rustler::nif(schedule = "DirtyIo")]
fn file_read(env: Env<'_>, handle: ResourceArc<FileHandle>) -> Result<Term<'_>, Atom> {
    // A handle is one process's. A second one that comes at the same moment gets an error.
    let mut file = match handle.0.try_lock() {
        Ok(file) => file,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Err(atoms::in_use()),
    };
    Ok(match file.next_part().map_err(|error| reason(&error))? {
        None => atoms::end().encode(env),
        Some(Part::Packets(packets)) => {
            let packets: Vec<(Binary<'_>, u32)> = packets
                .iter()
                .map(|packet| (binary(env, &packet.data), packet.samples))
                .collect();
            (atoms::packets(), packets).encode(env)
        }
        Some(Part::Pcm(pcm)) => (atoms::pcm(), pcm_binary(env, &pcm)).encode(env),
    })
}

/// A converter of one process's PCM.
struct RateHandle(Mutex<Converter>);

#[rustler::resource_impl]
impl Resource for RateHandle {}

#[rustler::nif]
fn rate_new(rate: u32) -> Result<ResourceArc<RateHandle>, Atom> {
    let converter = Converter::new(rate, SAMPLE_RATE).ok_or(atoms::bad_rate())?;
    Ok(ResourceArc::new(RateHandle(Mutex::new(converter))))
}

// Dirty: a piece may be half a minute long.
#[rustler::nif(schedule = "DirtyCpu")]
fn rate_push<'a>(
    env: Env<'a>,
    handle: ResourceArc<RateHandle>,
    pcm: Binary<'a>,
    last: bool,
) -> Result<Binary<'a>, Atom> {
    let (samples, []) = pcm.as_chunks::<4>() else {
        return Err(atoms::bad_pcm());
    };
    let samples: Vec<f32> = samples.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    if samples.iter().any(|sample| !sample.is_finite()) {
        return Err(atoms::bad_pcm());
    }
    let mut converter = match handle.0.try_lock() {
        Ok(converter) => converter,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Err(atoms::in_use()),
    };
    let mut out = Vec::new();
    converter.push(&samples, &mut out);
    if last {
        converter.finish(&mut out);
    }
    Ok(pcm_binary(env, &out))
}

#[rustler::nif]
fn packet_samples(packet: Binary<'_>) -> Result<u32, Atom> {
    let info = packet::parse(&packet).map_err(|_| atoms::bad_packet())?;
    if packet.len() > roomtone_audio::MAX_PACKET_BYTES {
        return Err(atoms::bad_packet());
    }
    Ok(info.samples)
}

fn pcm_binary<'a>(env: Env<'a>, pcm: &[f32]) -> Binary<'a> {
    let mut out = OwnedBinary::new(pcm.len() * 4);
    for (to, sample) in out.as_mut_slice().as_chunks_mut::<4>().0.iter_mut().zip(pcm) {
        *to = sample.to_le_bytes();
    }
    out.release(env)
}

fn binary<'a>(env: Env<'a>, data: &[u8]) -> Binary<'a> {
    let mut out = OwnedBinary::new(data.len());
    out.as_mut_slice().copy_from_slice(data);
    out.release(env)
}

fn reason(error: &FileError) -> Atom {
    match error {
        FileError::Io(error) => match error.kind() {
            ErrorKind::NotFound => atoms::not_found(),
            ErrorKind::PermissionDenied => atoms::no_permission(),
            _ => atoms::io(),
        },
        FileError::NotAFile => atoms::not_a_file(),
        FileError::UnknownFormat => atoms::unknown_format(),
        FileError::Broken(_) => atoms::broken_file(),
        FileError::TooManyChannels(_) => atoms::too_many_channels(),
        FileError::Codec(_) => atoms::codec(),
    }
}
