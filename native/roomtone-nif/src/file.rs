//! Sound files, read part by part.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Mutex, TryLockError};

use roomtone_file::{FileError, Part, SoundFile};
use rustler::{Atom, Binary, Encoder, Env, OwnedBinary, Resource, ResourceArc, Term};

mod atoms {
    rustler::atoms! {
        ok, end, packets, pcm, in_use,
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
        Some(Part::Pcm(pcm)) => {
            let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            (atoms::pcm(), binary(env, &bytes)).encode(env)
        }
    })
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
