//! The packet that leads in a talker's first one on a stream that carried other sound until then.
//!
//! Opus codes a sound by how it differs from the one before. A decoder that has heard another talker makes the first packets up to
//! 44 dB too loud, and the error only halves with each packet. So one packet of ours comes first: the same sound as the talker's
//! own packet before, coded in the same way, but without prediction.

use roomtone_audio::{Decoder, Encoder, EncoderConfig, Past, Playout};

/// Bits a second of an introduction: enough that it ends as the talker's own packet did.
const BITRATE: u32 = 64_000;

/// Makes introductions, one at a time: a talker's packet has the same one for all listeners.
#[derive(Default)]
pub(super) struct Introduction {
    encoder: Option<Twins>,
    decoder: Option<Decoder>,
    past: Past,
    packet: Vec<u8>,
    /// For the talker's packet at hand: the level of the introduction (−dBov), or that there is none. `None`: not made yet.
    made: Option<Option<u8>>,
}

/// An encoder that was never used, and the one that is. A reset leaves some of what an encoder was told or found out before; a copy
/// of the unused one doesn't, so an introduction depends on the talker's sound alone.
struct Twins {
    unused: Encoder,
    encoder: Encoder,
}

impl Introduction {
    /// Another packet of a talker is at hand.
    pub(super) fn renew(&mut self) {
        self.made = None;
    }

    /// The introduction of a talker's packet, which lasts for `samples` and is the newest in `playout`; and its level (−dBov). `None`
    /// where nothing is known of the talker's sound before that packet.
    pub(super) fn get(&mut self, playout: Option<&Playout>, payload: &[u8], samples: u32) -> Option<(u8, &[u8])> {
        if self.made.is_none() {
            self.made = Some(playout.and_then(|playout| self.make(playout, payload, samples)));
        }
        let level = self.made.flatten()?;
        Some((level, &self.packet))
    }

    // Fails where the codec can't be had because memory has run out, too.
    fn make(&mut self, playout: &Playout, payload: &[u8], samples: u32) -> Option<u8> {
        if self.decoder.is_none() {
            self.decoder = Decoder::new().ok();
        }
        if !playout.recall(self.decoder.as_mut()?, &mut self.past) {
            return None;
        }
        let [first, second, last] = self.past.introduction(samples as usize)?;
        if self.encoder.is_none() {
            let unused = Encoder::new(&EncoderConfig {
                bitrate: BITRATE,
                complexity: 0,
                ..EncoderConfig::default()
            })
            .ok()?;
            let encoder = unused.clone();
            self.encoder = Some(Twins { unused, encoder });
        }
        let Twins { unused, encoder } = self.encoder.as_mut()?;
        encoder.clone_from(unused);
        encoder.imitate(payload).ok()?;
        encoder.set_prediction(true).ok()?;
        encoder.encode(&first, &mut self.packet).ok()?;
        encoder.encode(&second, &mut self.packet).ok()?;
        encoder.set_prediction(false).ok()?;
        encoder.encode(&last, &mut self.packet).ok()?;
        Some(roomtone_audio::level(&last).dbov_minus)
    }
}
