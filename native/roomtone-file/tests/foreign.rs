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
