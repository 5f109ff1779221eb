//! The sound of the last packets that came, whether they were played here or passed on to be played elsewhere: where a mix
//! goes on from packets that its listeners got as they came, it must know what they have heard.

use super::{BufferedPacket, FRAME, Playout, State, render, stretch};
use crate::{Decoder, FRAME_SAMPLES, Frame, LOOKAHEAD_SAMPLES};

/// Packets that are kept after their turn.
const KEPT: usize = 8;
/// Sound that is recalled, if so much is kept: 140 ms.
const RECALLED: i64 = 7 * FRAME;
/// A hole longer than this (60 ms) isn't concealed: what came before it is another matter.
const LONGEST_HOLE: i64 = 3 * FRAME;

/// The length that is compared to find the best place to go on from: 10 ms.
const COMPARED: usize = 480;
/// How much further back that place may be than it has to: a period of 67 Hz, 15 ms.
const CHOICE: usize = 720;
/// The furthest back that sound is taken up again: 80 ms.
const FURTHEST: usize = 4 * FRAME_SAMPLES;
/// A passage from what was heard to what is played: 10 ms.
const BRIDGE: usize = 480;

/// A packet that has had its turn.
#[derive(Debug, Default)]
pub(super) struct Kept {
    ts: i64,
    end: i64,
    pub(super) payload: Vec<u8>,
}

/// The last packets that have had their turn, in the order of their time and without a hole between them.
#[derive(Debug, Default)]
pub(super) struct Recent {
    packets: [Kept; KEPT],
    /// How many of them, from the end on, belong together.
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

    /// The timestamp right behind the newest.
    pub(super) fn end(&self) -> Option<i64> {
        (self.count > 0).then(|| self.packets[KEPT - 1].end)
    }

    /// At most the last `most`, oldest first.
    pub(super) fn last(&self, most: usize) -> &[Kept] {
        &self.packets[KEPT - self.count.min(most)..]
    }
}

/// The last sound of a speaker; see [`Playout::recall`].
#[derive(Debug, Default)]
pub struct Past {
    pcm: Vec<f32>,
    end: i64,
    behind: i64,
    /// How much of it has come.
    known: i64,
}

impl Past {
    /// The sound, 140 ms or more; where less has come there are zeros before it.
    pub fn sound(&self) -> &[f32] {
        &self.pcm
    }

    /// The RTP timestamp right behind it: the end of the newest packet that has come.
    pub fn end(&self) -> u32 {
        self.end as u32
    }

    /// Where a mix should go on from this sound for who has heard it up to `unheard` samples before its end. An encoder delays by
    /// `lookahead` samples, so the first that its listeners decode of the mix is that much older; what is chosen is the place at which that
    /// follows best on the last that they heard, a whole number of pitch periods before it, and at least a frame before the end.
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
    /// The three frames before the newest packet, which lasts for `samples`. A decoder that is to go on with that packet should have heard the last
    /// of them, [coded alike](crate::Encoder::imitate) and without [prediction](crate::Encoder::set_prediction): Opus describes a sound by how it differs
    /// from the one before, and on another's it may come out as much as 40 dB too loud. It fades in. `None`: nothing is known of what came before.
    pub fn introduction(&self, samples: usize) -> Option<[Frame; 3]> {
        // An encoder delays what it is given by so much, so the last frame's decoder hears this much of the one before it.
        let end = (self.pcm.len() + LOOKAHEAD_SAMPLES).checked_sub(samples)?;
        let heard = self.pcm.get(end.checked_sub(FRAME_SAMPLES + LOOKAHEAD_SAMPLES)?..end)?;
        if self.known <= i64::try_from(samples).ok()? {
            return None;
        }
        let mut frames = [[0.0; FRAME_SAMPLES]; 3];
        let faded = &mut frames.as_flattened_mut()[2 * FRAME_SAMPLES - LOOKAHEAD_SAMPLES..];
        faded.copy_from_slice(heard);
        for (i, sample) in faded[..BRIDGE].iter_mut().enumerate() {
            // Without corners.
            *sample *= (std::f32::consts::FRAC_PI_2 * (i + 1) as f32 / BRIDGE as f32)
                .sin()
                .powi(2);
        }
        Some(frames)
    }
}

/// Where a mix goes on from what its listeners have heard of one speaker; see [`Past::seam`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seam {
    at: usize,
}

impl Seam {
    /// By how many samples it is before the end of the sound.
    pub fn back(self, past: &Past) -> usize {
        past.pcm.len().saturating_sub(self.at)
    }

    /// The two frames before it, for an encoder to hear (what it makes of them is thrown away).
    pub fn lead_in(self, past: &Past) -> [Frame; 2] {
        let mut frames = [[0.0; FRAME_SAMPLES]; 2];
        let before = &past.pcm[..self.at];
        let sound = &before[before.len().saturating_sub(2 * FRAME_SAMPLES)..];
        let silent = 2 * FRAME_SAMPLES - sound.len();
        frames.as_flattened_mut()[silent..].copy_from_slice(sound);
        frames
    }

    /// Lets the speaker's first frame in the mix follow on what was heard: nothing changes where the speaker was taken up
    /// [there](Playout::resume).
    pub fn bridge(self, past: &Past, frame: &mut Frame) {
        let heard = &past.pcm[self.at..];
        stretch::cross_fade(&heard[..heard.len().min(BRIDGE)], frame);
    }
}

impl Playout {
    /// Is the decoder idle, so that the speaker may be taken up from any place of what has come ([`Playout::resume`])? It is not
    /// while frames are popped.
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

    /// How many packets wait for their turn.
    pub fn waiting(&self) -> usize {
        self.buffer.iter().len()
    }

    /// Decodes the last packets that came, those that wait included, with a decoder that is free for it: what a listener to whom they
    /// were passed on has heard. `false`: nothing is known.
    pub fn recall(&self, decoder: &mut Decoder, past: &mut Past) -> bool {
        let Some(end) = self.end() else { return false };
        past.end = end;
        past.behind = match self.state {
            State::Playing => end - self.position,
            State::Silent | State::Ending => FRAME,
        };
        past.pcm.clear();
        if decoder.reset().is_err() {
            return false;
        }
        let known = self.known(end).map(|(from, to, _)| to - from).sum::<i64>();
        past.known = known;
        past.pcm.resize(usize::try_from(RECALLED - known).unwrap_or(0), 0.0);
        let mut at = None;
        for (from, to, payload) in self.known(end) {
            let hole = from - at.unwrap_or(from);
            if hole > LONGEST_HOLE {
                past.pcm.fill(0.0);
            } else if hole > 0 {
                // Sound that can't be concealed is left out.
                let _ = decoder.conceal(usize::try_from(hole).unwrap_or(0), &mut past.pcm);
            }
            if decoder.decode(payload, &mut past.pcm).is_err() {
                past.pcm
                    .resize(past.pcm.len() + usize::try_from(to - from).unwrap_or(0), 0.0);
            }
            at = Some(to);
        }
        true
    }

    /// Takes the speaker up `back` samples before the end of what was [recalled](Playout::recall) just now; `decoder` is the one that did
    /// it, and is exchanged for this one's. The next frame popped begins there and doesn't fade in. Only while [`Playout::is_skipped`].
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
