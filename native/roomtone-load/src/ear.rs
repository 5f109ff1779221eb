//! An ear that counts the packets which it can't decode.

use std::time::Duration;

use roomtone_testkit::listen::Ear;
use roomtone_testkit::peer::Audio;

pub(crate) struct CountingEar {
    pub(crate) ear: Ear,
    pub(crate) undecodable: u64,
}

impl CountingEar {
    /// Remembers so much sound.
    pub(crate) fn remembering(memory: Duration) -> CountingEar {
        CountingEar {
            ear: Ear::remembering(memory),
            undecodable: 0,
        }
    }

    /// The new samples of a packet; `None` if it can't be decoded, which is counted.
    pub(crate) fn hear(&mut self, audio: &Audio) -> Option<&[f32]> {
        match self.ear.hear(audio) {
            Ok(pcm) => Some(pcm),
            Err(error) => {
                log::debug!("{error}");
                self.undecodable += 1;
                None
            }
        }
    }
}
