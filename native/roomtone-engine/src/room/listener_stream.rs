//! The RTP stream of a listener in a mixing room: mixes, and talkers' packets that are passed on, on one time line.
//!
//! Sequence numbers and timestamps go on from one to the other. In a talk spurt of mixes timestamps are the room's media time and an offset:
//! whatever was passed on before may have got ahead of that, or be behind it. The next spurt begins at media time again.

use roomtone_audio::FRAME_SAMPLES;

use super::feed::Newest;
use super::forwarded_stream::{ForwardedStream, Header, Rewrite, later};
use crate::command::PeerId;

const FRAME: u32 = FRAME_SAMPLES as u32;

/// A talker's packets follow on a mix without a break where the stream is behind media time by no more than this (40 ms): more would be
/// taken for a pause.
const BEHIND: i32 = -2 * FRAME as i32;

/// A stream that is ahead of media time by more than this (40 ms) gives 20 ms back before a talker's packets follow on its mix.
pub(super) const AHEAD: i32 = 2 * FRAME as i32;

/// For how many ticks no other frame of a mix is withheld (2 s).
const WITHHELD: u16 = 100;

/// A stream that is this far behind media time (300 ms) has paused, whatever the talker's network does, and goes on at media time.
const PAUSED: i32 = -15 * FRAME as i32;

#[derive(Debug, Default)]
pub(super) struct ListenerStream {
    stream: ForwardedStream,
    /// While mixes are sent: what is added to media time.
    offset: Option<u32>,
    /// For so many ticks no frame is withheld; [`WITHHELD`]: that of this tick is.
    withheld: u16,
}

impl ListenerStream {
    /// The header of a mix; `media_time` is its tick's.
    pub(super) fn mixed(&self, media_time: u32) -> Header {
        let (sequence, least) = self.stream.next().unwrap_or((0, media_time));
        let timestamp = match self.offset {
            Some(offset) => later(media_time.wrapping_add(offset), least),
            None => later(media_time, least),
        };
        Header {
            sequence,
            timestamp,
            marker: self.offset.is_none(),
        }
    }

    /// A mix was sent.
    pub(super) fn mix_sent(&mut self, header: &Header, media_time: u32) {
        self.stream.sent_own(header, FRAME);
        self.offset = Some(header.timestamp.wrapping_sub(media_time));
    }

    /// Nothing is sent: what comes next begins a talk spurt.
    pub(super) fn rest(&mut self) {
        self.stream.release();
        self.offset = None;
    }

    /// A talker's packets are passed on from now on.
    pub(super) fn give(&mut self, talker: PeerId) {
        self.stream.give(talker);
        self.offset = None;
    }

    /// A packet of the talker isn't passed on.
    pub(super) fn pause(&mut self) {
        self.stream.pause();
    }

    /// The header of a frame that leads up to a talker's first packet, which is at `media_time` or follows on what was sent.
    pub(super) fn introduced(&self, media_time: u32) -> Header {
        self.stream.introduced(media_time)
    }

    /// It was sent.
    pub(super) fn introduction_sent(&mut self, header: &Header) {
        self.stream.sent_own(header, FRAME);
    }

    /// The header of a talker's packet, if it belongs to what is passed on.
    pub(super) fn passed(&self, ssrc: u32, seq: u16, timestamp: u32, marker: bool, media_time: u32) -> Option<Rewrite> {
        let mut rewrite = self.stream.rewrite(ssrc, seq, timestamp, marker, media_time)?;
        // A spurt begins after a pause, with the talker's marker or without, and nowhere else (RFC 3551 §4.1).
        if let Some((sequence, least)) = self.stream.next()
            && rewrite.header.sequence == sequence
        {
            rewrite.header.marker = rewrite.header.timestamp != least;
        }
        Some(rewrite)
    }

    /// Whether a talker's packets can follow on a mix without a break.
    pub(super) fn may_cross(&self, media_time: u32) -> bool {
        self.offset.is_some() && self.ahead(media_time) >= BEHIND
    }

    /// Withholds the mix's frame of this tick, if the stream is far ahead. The next packet follows on the frame before, 20 ms later: to a
    /// jitter buffer, which has got everything too early until then, that is a packet without delay.
    pub(super) fn withhold(&mut self, media_time: u32) -> bool {
        let withholds = self.withheld == 0 && self.ahead(media_time) > AHEAD;
        if withholds {
            self.withheld = WITHHELD;
        }
        withholds
    }

    /// Whether the frame of this tick is withheld.
    pub(super) fn withholds(&self) -> bool {
        self.withheld == WITHHELD
    }

    /// Whether that of the tick before was.
    pub(super) fn has_withheld(&self) -> bool {
        self.withheld == WITHHELD - 1
    }

    /// A tick begins.
    pub(super) fn begin_tick(&mut self) {
        self.withheld = self.withheld.saturating_sub(1);
    }

    /// The header of a packet between a mix and the talker's packets, right behind what was sent.
    pub(super) fn crossing(&self, media_time: u32) -> Header {
        let (sequence, timestamp) = self.stream.next().unwrap_or((0, media_time));
        Header {
            sequence,
            timestamp,
            marker: false,
        }
    }

    /// It was sent; it lasts for so many samples.
    pub(super) fn crossing_sent(&mut self, header: &Header, samples: u32) {
        self.stream.sent_own(header, samples);
    }

    /// The last thing sent ends as this packet of the talker does: the next one follows on it.
    pub(super) fn follow(&mut self, packet: &Newest, media_time: u32) {
        self.stream.follow(packet, media_time);
    }

    /// A talker's packet was sent.
    pub(super) fn pass_sent(&mut self, rewrite: &Rewrite, samples: u32) {
        self.stream.sent(rewrite, samples);
    }

    /// Mixes follow on the talker's packets without a break, or after one if there was one.
    pub(super) fn go_on_mixed(&mut self, media_time: u32) {
        let next = self.stream.next().map(|(_, next)| next);
        self.offset = next
            .filter(|_| !self.has_paused(media_time))
            .map(|next| next.wrapping_sub(media_time));
        self.stream.release();
    }

    /// The talker's own timestamp right behind the newest packet that was passed on.
    pub(super) fn source_end(&self) -> Option<u32> {
        self.stream.source_end()
    }

    /// Whether what was passed on has paused.
    pub(super) fn has_paused(&self, media_time: u32) -> bool {
        self.stream.is_paused() || self.ahead(media_time) <= PAUSED
    }

    /// Whether anything was ever sent.
    pub(super) fn has_begun(&self) -> bool {
        self.stream.next().is_some()
    }

    /// By how many samples what was sent goes beyond media time.
    pub(super) fn ahead(&self, media_time: u32) -> i32 {
        let next = self.stream.next().map_or(media_time, |(_, next)| next);
        next.wrapping_sub(media_time) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u32 = u32::MAX - 4 * FRAME + 1;

    fn header(sequence: u32, frames: u32, marker: bool) -> Header {
        Header {
            sequence,
            timestamp: START.wrapping_add(frames * FRAME),
            marker,
        }
    }

    fn mix(stream: &mut ListenerStream, frame: u32) -> Header {
        let media_time = START.wrapping_add(frame * FRAME);
        let header = stream.mixed(media_time);
        stream.mix_sent(&header, media_time);
        header
    }

    fn pass(stream: &mut ListenerStream, seq: u16, frame: u32) -> Header {
        let media_time = START.wrapping_add(frame * FRAME);
        let timestamp = u32::from(seq) * FRAME + 77;
        let rewrite = stream.passed(5, seq, timestamp, false, media_time).unwrap();
        stream.pass_sent(&rewrite, FRAME);
        rewrite.header
    }

    #[test]
    fn mixes_go_by_media_time_with_a_marker_after_each_pause() {
        let mut stream = ListenerStream::default();
        assert_eq!(mix(&mut stream, 0), header(0, 0, true));
        assert_eq!(mix(&mut stream, 1), header(1, 1, false));
        assert_eq!(mix(&mut stream, 4), header(2, 4, false), "ticks were left out");
        stream.rest();
        assert_eq!(mix(&mut stream, 9), header(3, 9, true));
    }

    #[test]
    fn what_is_passed_on_and_what_is_mixed_are_one_time_line() {
        let mut stream = ListenerStream::default();
        mix(&mut stream, 0);
        mix(&mut stream, 1);
        stream.give(9);
        // They come between the ticks, so the first is a frame early.
        assert_eq!(pass(&mut stream, 50, 1), header(2, 2, false));
        assert_eq!(pass(&mut stream, 51, 2), header(3, 3, false));
        assert_eq!(stream.source_end(), Some(52 * FRAME + 77));
        assert_eq!(stream.ahead(START.wrapping_add(2 * FRAME)), 2 * FRAME as i32);
        stream.go_on_mixed(START.wrapping_add(3 * FRAME));
        assert_eq!(mix(&mut stream, 3), header(4, 4, false));
        assert_eq!(mix(&mut stream, 4), header(5, 5, false));
        stream.rest();
        assert_eq!(mix(&mut stream, 5), header(6, 6, true), "no time twice");
        stream.rest();
        assert_eq!(mix(&mut stream, 8), header(7, 8, true), "and back to media time");
    }

    #[test]
    fn a_talkers_pause_begins_a_spurt_and_their_losses_do_not() {
        let mut stream = ListenerStream::default();
        stream.give(9);
        assert_eq!(pass(&mut stream, 50, 3), header(0, 3, true));
        assert_eq!(pass(&mut stream, 52, 5), header(2, 5, false), "one was lost");
        let media_time = START.wrapping_add(9 * FRAME);
        let rewrite = stream.passed(5, 53, 56 * FRAME + 77, false, media_time).unwrap();
        assert_eq!(rewrite.header, header(3, 9, true), "none was lost, but time has passed");
    }

    #[test]
    fn after_a_long_pause_mixes_begin_at_media_time() {
        let mut stream = ListenerStream::default();
        stream.give(9);
        pass(&mut stream, 50, 0);
        let media_time = START.wrapping_add(16 * FRAME);
        assert!(stream.has_paused(media_time));
        stream.go_on_mixed(media_time);
        assert_eq!(mix(&mut stream, 16), header(1, 16, true));
    }
}
