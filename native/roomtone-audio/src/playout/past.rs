//! The sound of the latest packets, whether they were played here or forwarded to be played
//! elsewhere: a mix that continues from forwarded packets must know what its listeners have heard.

use super::{BufferedPacket, FRAME, Playout, State, render, stretch};
use crate::{Decoder, FRAME_SAMPLES, Frame, LOOKAHEAD_SAMPLES};

/// Packets kept after their turn.
const KEPT: usize = 8;
/// The duration of recalled sound, if enough is kept: 140 ms.
const RECALLED: i64 = 7 * FRAME;
/// A longer gap than this (60 ms) isn't concealed: the sound before it is unrelated.
const LONGEST_HOLE: i64 = 3 * FRAME;

/// The length compared to find the best place to continue from: 10 ms.
const COMPARED: usize = 480;
/// The range of that place beyond the minimum: a period of 67 Hz, 15 ms.
const CHOICE: usize = 720;
/// The furthest back from which sound can be resumed: 80 ms.
const FURTHEST: usize = 4 * FRAME_SAMPLES;
/// The cross-fade from the sound heard to the sound played: 10 ms.
const BRIDGE: usize = 480;

/// A packet that has had its turn.
#[derive(Debug, Default)]
pub(super) struct Kept {
    ts: i64,
    end: i64,
    pub(super) payload: Vec<u8>,
}

/// The last packets that have had their turn, in the order of their time and without a gap.
#[derive(Debug, Default)]
pub(super) struct Recent {
    packets: [Kept; KEPT],
    /// The number of contiguous packets, counted from the end.
    count: usize,
}

impl Recent {
    /// Takes one more; gives back the memory of the oldest.
    pub(super) fn push(&mut self, mut packet: BufferedPacket) -> Vec<u8> {
        self.count = if self.end() == Some(packet.ts) {
            self.count.min(KEPT - 1) + 1
        } else {
            1
        };
        self.packets.rotate_left(1);
        let newest = &mut self.packets[KEPT - 1];
        (newest.ts, newest.end) = (packet.ts, packet.end());
        std::mem::swap(&mut newest.payload, &mut packet.payload);
        packet.payload
    }

    /// The timestamp right after the newest.
    pub(super) fn end(&self) -> Option<i64> {
        (self.count > 0).then(|| self.packets[KEPT - 1].end)
    }

    /// At most the last `most`, oldest first.
    pub(super) fn last(&self, most: usize) -> &[Kept] {
        &self.packets[KEPT - self.count.min(most)..]
    }
}

/// The recent sound of a talker; see [`Playout::recall`].
#[derive(Debug, Default)]
pub struct Past {
    /// Interleaved, if the decoder was stereo; [`Past::seam`] and [`Past::introduction`] are for
    /// mono.
    pub(super) pcm: Vec<f32>,
    end: i64,
    behind: i64,
    known: i64,
}

impl Past {
    /// The sound, 140 ms or more; zeros stand before it if less has arrived. With the channels of
    /// the decoder that recalled it.
    pub fn sound(&self) -> &[f32] {
        &self.pcm
    }

    /// The RTP timestamp right after it: the end of the newest packet that has arrived.
    pub fn end(&self) -> u32 {
        self.end as u32
    }

    /// From what a mix takes next to the end, in samples.
    pub(super) fn behind(&self) -> i64 {
        self.behind
    }

    /// The number of samples that have arrived.
    pub(super) fn known(&self) -> i64 {
        self.known
    }

    #[cfg(test)]
    pub(super) fn of(pcm: Vec<f32>, behind: i64, known: i64) -> Past {
        let end = 0;
        Past {
            pcm,
            end,
            behind,
            known,
        }
    }

    /// The place from which a mix should continue this sound for listeners who have heard it up to
    /// `unheard` samples before its end. An encoder delays by `lookahead` samples, so the first
    /// samples that its listeners decode from the mix are that much older. The chosen place joins
    /// best to the last that they heard, a whole number of pitch periods before it, and at least a
    /// frame before the end.
    pub fn seam(&self, unheard: usize, lookahead: usize) -> Seam {
        let heard = self.pcm.len().saturating_sub(unheard);
        let behind = usize::try_from(self.behind).unwrap_or(0).saturating_sub(unheard);
        let behind = behind.clamp(FRAME_SAMPLES, FURTHEST);
        let (least, most) = (behind + lookahead, behind + lookahead + CHOICE);
        let lag = stretch::best_lag(&self.pcm[..heard], least, most, COMPARED).unwrap_or(least);
        Seam {
            at: (heard + lookahead).saturating_sub(lag),
        }
    }
}

impl Past {
    /// The sound that leads up to the newest packet, which lasts for `samples`: three frames, with
    /// a fade-in. A decoder that is to continue with that packet should have heard the last of
    /// them, [coded alike](crate::Encoder::imitate) and without
    /// [prediction](crate::Encoder::set_prediction): Opus describes a sound by its difference from
    /// the one before, and after another sound the packet may come out as much as 40 dB too loud.
    /// `None`: the earlier sound is unknown.
    pub fn introduction(&self, samples: usize) -> Option<[Frame; 3]> {
        // An encoder delays its input by this much, so the decoder of the last frame hears this
        // much of the one before it.
        let end = (self.pcm.len() + LOOKAHEAD_SAMPLES).checked_sub(samples)?;
        let heard = self.pcm.get(end.checked_sub(FRAME_SAMPLES + LOOKAHEAD_SAMPLES)?..end)?;
        if self.known <= i64::try_from(samples).ok()? {
            return None;
        }
        let mut frames = [[0.0; FRAME_SAMPLES]; 3];
        let faded = &mut frames.as_flattened_mut()[2 * FRAME_SAMPLES - LOOKAHEAD_SAMPLES..];
        faded.copy_from_slice(heard);
        for (i, sample) in faded[..BRIDGE].iter_mut().enumerate() {
            // With a smooth curve.
            *sample *= (std::f32::consts::FRAC_PI_2 * (i + 1) as f32 / BRIDGE as f32)
                .sin()
                .powi(2);
        }
        Some(frames)
    }
}

/// The place from which a mix continues the sound of one talker that its listeners have heard; see
/// [`Past::seam`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seam {
    at: usize,
}

impl Seam {
    /// Its distance from the end of the sound, in samples.
    pub fn back(self, past: &Past) -> usize {
        past.pcm.len().saturating_sub(self.at)
    }

    /// The two frames before it, as input for an encoder (its packets for them are thrown away).
    pub fn lead_in(self, past: &Past) -> [Frame; 2] {
        let mut frames = [[0.0; FRAME_SAMPLES]; 2];
        let before = &past.pcm[..self.at];
        let sound = &before[before.len().saturating_sub(2 * FRAME_SAMPLES)..];
        let silent = 2 * FRAME_SAMPLES - sound.len();
        frames.as_flattened_mut()[silent..].copy_from_slice(sound);
        frames
    }

    /// Joins the talker's first frame in the mix to the sound heard: nothing changes if the talker
    /// was [resumed there](Playout::resume).
    pub fn bridge(self, past: &Past, frame: &mut Frame) {
        let heard = &past.pcm[self.at..];
        stretch::cross_fade(&heard[..heard.len().min(BRIDGE)], frame);
    }
}

impl Playout {
    /// Whether the decoder is idle, so that the talker may be resumed from any place in the arrived
    /// sound ([`Playout::resume`]). It isn't idle while frames are popped.
    pub fn is_skipped(&self) -> bool {
        self.skipped || self.state == State::Silent
    }

    fn end(&self) -> Option<i64> {
        let waiting = self.buffer.iter().next_back().map(BufferedPacket::end);
        waiting.or(self.recent.end())
    }

    /// The packets that make up the last 140 ms before `end`: from, to, payload.
    fn known(&self, end: i64) -> impl Iterator<Item = (i64, i64, &[u8])> {
        let waiting = self
            .buffer
            .iter()
            .map(|packet| (packet.ts, packet.end(), &packet.payload[..]));
        let recent = self.recent.last(KEPT).iter();
        let recent = recent.map(|kept| (kept.ts, kept.end, &kept.payload[..]));
        recent.chain(waiting).filter(move |(_, to, _)| *to > end - RECALLED)
    }

    /// The end of the newest packet that has arrived, how far the next frame is behind it, and the
    /// samples that would be recalled.
    pub(super) fn extent(&self) -> Option<(i64, i64, i64)> {
        let end = self.end()?;
        let behind = match self.state {
            State::Playing => end - self.position,
            State::Silent | State::Ending => FRAME,
        };
        let known = self.known(end).map(|(from, to, _)| to - from).sum();
        Some((end, behind, known))
    }

    /// The number of waiting packets.
    pub fn waiting(&self) -> usize {
        self.buffer.iter().len()
    }

    /// Decodes the latest packets, including those that wait, with a free decoder: the sound of a
    /// listener to whom they were forwarded. `false`: nothing is known. The sound has the decoder's
    /// channels.
    pub fn recall(&self, decoder: &mut Decoder, past: &mut Past) -> bool {
        let Some((end, behind, known)) = self.extent() else {
            return false;
        };
        (past.end, past.behind, past.known) = (end, behind, known);
        past.pcm.clear();
        if decoder.reset().is_err() {
            return false;
        }
        let channels = decoder.channels().count();
        let values = |samples: i64| channels * usize::try_from(samples).unwrap_or(0);
        past.pcm.resize(values(RECALLED - known), 0.0);
        let mut at = None;
        for (from, to, payload) in self.known(end) {
            let hole = from - at.unwrap_or(from);
            if hole > LONGEST_HOLE {
                past.pcm.fill(0.0);
            } else if hole > 0 {
                // A failed concealment leaves no sound.
                let _ = decoder.conceal(usize::try_from(hole).unwrap_or(0), &mut past.pcm);
            }
            if decoder.decode(payload, &mut past.pcm).is_err() {
                past.pcm.resize(past.pcm.len() + values(to - from), 0.0);
            }
            at = Some(to);
        }
        true
    }

    /// Resumes the talker `back` samples before the end of the sound just
    /// [recalled](Playout::recall); `decoder` is the one that decoded it, and is swapped for this
    /// one's. The next frame popped begins there and doesn't fade in. Only while
    /// [`Playout::is_skipped`].
    pub fn resume(&mut self, decoder: &mut Decoder, past: &Past, back: usize) {
        let back = back.min(past.pcm.len());
        let end = past.end;
        self.stop();
        while self.buffer.front().is_some_and(|packet| packet.end() <= end) {
            let Some(packet) = self.buffer.take_front() else { break };
            self.stats.played += 1;
            self.pass(&packet);
            self.keep(packet);
        }
        match self.decoder.as_mut() {
            Some(own) => std::mem::swap(own, decoder),
            None => {
                if let Some(own) = render::decoder(&mut self.decoder) {
                    std::mem::swap(own, decoder);
                }
            }
        }
        self.state = State::Playing;
        self.position = end - back as i64;
        self.fifo.extend_from_slice(&past.pcm[past.pcm.len() - back..]);
        self.played_end = Some(self.played_end.map_or(end, |played| played.max(end)));
        self.skipped = false;
        self.cold = false;
    }
}
