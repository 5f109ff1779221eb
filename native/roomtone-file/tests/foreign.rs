//! Files of other encoders: see the fixtures' README.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use roomtone_audio::{Decoder, level};
use roomtone_file::{FileError, Part, SoundFile};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// All of a file, decoded.
fn sound(name: &str) -> Vec<f32> {
    let (mut file, mut decoder) = (SoundFile::open(&fixture(name)).unwrap(), Decoder::new().unwrap());
    let mut pcm = Vec::new();
    while let Some(part) = file.next_part().unwrap() {
        match part {
            Part::Pcm(part) => pcm.extend(part),
            Part::Packets(packets) => {
                for packet in packets {
                    let samples = decoder.decode(&packet.data, &mut pcm).unwrap();
                    assert_eq!(samples as u32, packet.samples);
                }
            }
        }
    }
    pcm
}

/// The second of −23 dBov, but for what a codec adds at its ends.
fn assert_tone(name: &str) {
    let pcm = sound(name);
    let seconds = pcm.len() as f32 / 48_000.0;
    assert!((1.0..1.1).contains(&seconds), "{name}: {seconds} s");
    let middle = &pcm[9_600..38_400];
    let crossings = middle.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
    assert!((262..=266).contains(&crossings), "{name}: {crossings} periods in 0.6 s");
    assert_eq!(level(middle).dbov_minus, 23, "{name}");
}

#[test]
fn opus_in_mono_and_stereo() {
    assert_tone("tone.opus");
    assert_tone("tone-stereo.opus");
}

#[test]
fn files_that_are_decoded() {
    for name in [
        "tone.flac",
        "tone-flac.ogg",
        "tone.mp3",
        "tone-16-kHz.mp3",
        "tone-vorbis.ogg",
        "tone.wav",
    ] {
        assert_tone(name);
    }
}

#[test]
fn a_file_that_was_cut_off_ends_there_and_a_broken_one_does_no_harm() {
    let folder = std::env::temp_dir().join(format!("roomtone-file-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("file");
    for name in [
        "tone.opus",
        "tone.flac",
        "tone-flac.ogg",
        "tone.mp3",
        "tone-vorbis.ogg",
        "tone.wav",
    ] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() * 9 / 10]).unwrap();
        let played = play(&path);
        // Ogg has pages of up to a second, so nothing may be left.
        let ogg = bytes.starts_with(b"OggS");
        let samples = if ogg { played.unwrap_or(0) } else { played.unwrap() };
        let (seconds, least) = (samples as f32 / 48_000.0, if ogg { 0.0 } else { 0.5 });
        assert!((least..1.0).contains(&seconds), "{name}: {seconds} s");
        for n in 0..200 {
            let mut broken = bytes.clone();
            let at = n * bytes.len() / 200;
            broken[at] ^= 0xa5;
            std::fs::write(&path, &broken).unwrap();
            // An error, or sound of about the same length.
            if let Ok(samples) = play(&path) {
                assert!(samples < 20 * 48_000, "{name}, byte {at}: {samples}");
            }
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// The length of a file, in samples.
fn play(path: &Path) -> Result<usize, FileError> {
    let (mut file, mut samples) = (SoundFile::open(path)?, 0);
    while let Some(part) = file.next_part()? {
        samples += match part {
            Part::Pcm(pcm) => {
                assert!(pcm.len() < 10 * 48_000, "a part is about a second");
                pcm.len()
            }
            Part::Packets(packets) => packets.iter().map(|packet| packet.samples as usize).sum(),
        };
    }
    Ok(samples)
}

#[test]
fn what_is_no_sound_file_is_refused() {
    assert!(matches!(
        SoundFile::open(&fixture("README.md")),
        Err(FileError::UnknownFormat)
    ));
    assert!(matches!(SoundFile::open(&fixture("nothing")), Err(FileError::Io(_))));
    assert!(matches!(SoundFile::open(&fixture("")), Err(FileError::NotAFile)));
    assert!(matches!(
        SoundFile::open(Path::new("/dev/zero")),
        Err(FileError::NotAFile)
    ));
}
