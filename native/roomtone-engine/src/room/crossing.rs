//! From a mix with music alone in it to the packets of the musician, without a pause between the two, which music doesn't have.
//!
//! At a tick the listeners of the mix are sent packets of ours instead of its next frame: the first can follow on the mix, and the
//! musician's next packet can follow on the last. They skip what the mix is behind, except for a few milliseconds in which the two
//! sounds change places, and mono becomes stereo.
//!
//! Each time that puts a listener's stream ahead of media time by what is sent, 5 to 20 ms. A stream that has got far ahead gives 20 ms back:
//! the mix's frame of one tick is withheld, and is skipped with the rest at the next.

use std::time::Instant;

use roomtone_audio::packet::{Mode, parse};
use roomtone_audio::{AudioError, Channels, Crossing, Decoder, Encoder, EncoderConfig, FRAME_SAMPLES, Playout};
use roomtone_transport::{MAX_PAYLOAD, SlotOut};

use super::base::RoomBase;
use super::context::ShardContext;
use super::feed::{Feed, Newest};
use super::listener_stream::AHEAD;
use super::mixing::{MUSIC_IN_STEREO, Mixing};
use super::passing::{hears_other, is_unity, takes};

/// For how many ticks music must have been alone in a mix before its packets go on from there (2 s). Each change to a mix and back
/// repeats some of it and skips some, so pauses between the sentences of somebody who speaks over it are no reason.
const ALONE_TICKS: u16 = 100;
/// Bits a second and channel: the shortest frames of Opus need many.
const BITRATE: u32 = 128_000;
/// So much is sent at the most: 20 ms. A stream that is far ahead of media time gets no more ahead than it must.
const MOST: usize = 960;
const LEAST: usize = 240;

/// A packet of ours.
struct Piece {
    payload: Vec<u8>,
    /// −dBov.
    level: u8,
    samples: u32,
}

impl Mixing {
    /// Sends listeners of music that has been alone in their mix what leads to its packets. From then on they are passed these.
    pub(super) fn cross_over(
        &mut self,
        base: &mut RoomBase,
        now: Instant,
        media_time: u32,
        context: &mut ShardContext,
        speaking: &[usize],
    ) {
        for peer in &mut self.peers {
            peer.trend.refused = peer.trend.refused.saturating_sub(1);
            peer.stream.begin_tick();
        }
        for talker in 0..self.peers.len() {
            let state = &self.peers[talker];
            let Some(newest) = state.trend.newest.filter(|_| state.trend.music && state.selected) else {
                continue;
            };
            // A decoder and an encoder are made only where they can be of use.
            let leads_to = state.playout.as_ref().and_then(Playout::crossing_end);
            if state.missing_frames > 0
                || state.trend.pauses > 0
                || state.trend.refused > 0
                || leads_to != Some(newest.end)
            {
                continue;
            }
            // Of those who are ahead by a little, of those who are ahead by more, and both for those from whom a frame was withheld.
            let mut made: [Option<Option<Vec<Piece>>>; 4] = Default::default();
            for index in 0..self.peers.len() {
                if index == talker || !self.may_cross(base, index, talker, media_time, speaking) {
                    continue;
                }
                let stream = &mut self.peers[index].stream;
                if stream.withhold(media_time) {
                    continue;
                }
                let (far, withheld) = (stream.ahead(media_time) > AHEAD, stream.has_withheld());
                let pieces = made[usize::from(far) + 2 * usize::from(withheld)].get_or_insert_with(|| {
                    let playout = self.peers[talker].playout.as_ref()?;
                    let most = if far { LEAST } else { MOST };
                    pieces(playout, &newest, if withheld { FRAME_SAMPLES } else { 0 }, most)
                });
                match pieces {
                    Some(pieces) => {
                        context.stats.mode_changes += 1;
                        self.cross(base, (now, media_time), context, (talker, index), (&newest, pieces));
                    }
                    None => self.peers[talker].trend.refused = ALONE_TICKS,
                }
            }
        }
    }

    // Whether the mix of a listener can end here.
    fn may_cross(&self, base: &RoomBase, listener: usize, talker: usize, media_time: u32, speaking: &[usize]) -> bool {
        let (peer, id) = (&self.peers[listener], base.peers[talker].id);
        let mix = peer.mix.filter(|_| peer.feed == Feed::Mix);
        let Some((ticks, heard)) = mix.and_then(|mix| self.mixes.get(mix)?.alone_for(id)) else {
            return false;
        };
        let full = match base.peers[listener].channels() {
            Channels::Mono => 1.0,
            Channels::Stereo => MUSIC_IN_STEREO,
        };
        ticks >= ALONE_TICKS
            && is_unity(heard.gain / full)
            && heard.pan == 0.0
            && base.peers[listener].hears()
            && takes(base, listener, id, &self.peers[talker].trend)
            && !hears_other(base, listener, talker, speaking)
            && peer.stream.may_cross(media_time)
    }

    fn cross(
        &mut self,
        base: &mut RoomBase,
        (now, media_time): (Instant, u32),
        context: &mut ShardContext,
        (talker, index): (usize, usize),
        (newest, pieces): (&Newest, &[Piece]),
    ) {
        let id = base.peers[talker].id;
        let (listener, peer) = (&mut base.peers[index], &mut self.peers[index]);
        peer.feed = Feed::Passed(id);
        peer.mix = None;
        peer.introduced = true;
        peer.stream.give(id);
        for piece in pieces {
            let header = peer.stream.crossing(media_time);
            let audio = SlotOut {
                sequence: header.sequence,
                timestamp: header.timestamp,
                marker: header.marker,
                csrc: None,
                level: Some(piece.level),
                payload: &piece.payload,
            };
            if listener.send_slot(now, 0, &audio, context) {
                peer.stream.crossing_sent(&header, piece.samples);
                context.stats.packets_sent += 1;
            }
        }
        peer.stream.follow(newest, media_time);
    }
}

// This is rare, so it keeps no memory.
fn pieces(playout: &Playout, newest: &Newest, withheld: usize, most: usize) -> Option<Vec<Piece>> {
    let info = parse(&[newest.toc & !0b11]).ok()?;
    // The others have no frames that are short enough.
    if info.mode != Mode::Celt {
        return None;
    }
    let channels = if info.stereo { Channels::Stereo } else { Channels::Mono };
    let crossing = playout.crossing(&mut Decoder::with_channels(channels).ok()?, withheld, most)?;
    let packets = encode(&crossing, channels, newest.toc).ok()?;
    // One that can't be sent would leave a hole.
    let fit = packets.iter().all(|piece| piece.payload.len() <= MAX_PAYLOAD);
    fit.then_some(packets)
}

fn encode(crossing: &Crossing, channels: Channels, toc: u8) -> Result<Vec<Piece>, AudioError> {
    let mut encoder = Encoder::new(&EncoderConfig {
        channels,
        bitrate: BITRATE * channels.count() as u32,
        complexity: 5,
        ..EncoderConfig::default()
    })?;
    encoder.imitate(&[toc])?;
    let mut thrown_away = Vec::new();
    for frame in crossing.lead_in() {
        encoder.encode(frame, &mut thrown_away)?;
    }
    encoder.set_prediction(false)?;
    let mut packets = Vec::new();
    for frame in crossing.frames() {
        let mut payload = Vec::new();
        encoder.encode(frame, &mut payload)?;
        encoder.set_prediction(true)?;
        let samples = (frame.len() / channels.count()) as u32;
        packets.push(Piece {
            payload,
            level: roomtone_audio::level(frame).dbov_minus,
            samples,
        });
    }
    Ok(packets)
}
