//! One stream to a listener, whoever is in it: sequence numbers and timestamps that go on.

use roomtone_audio::FRAME_SAMPLES;

use super::feed::Newest;
use crate::command::PeerId;

const FRAME: u32 = FRAME_SAMPLES as u32;

/// A talker's packets that are further apart than this (10 s) are from another stream of theirs.
const LONGEST_JUMP: i32 = 480_000;
/// So are sequence numbers that are further apart than this.
const LONGEST_GAP: i16 = 1_000;
/// A talk spurt that would be this far off media time (80 ms) begins at media time instead: the clock of some talkers stands still
/// while they are silent (RFC 7667 §3.7).
const MOST_DRIFT: u32 = 3_840;
/// A packet that came this much later than its timestamp says (40 ms) begins a talk spurt, with the marker or without.
const STOOD_STILL: i32 = 1_920;

/// One talker's turn in a slot, without a pause.
#[derive(Clone, Copy, Debug)]
struct Turn {
    ssrc: u32,
    /// The first packet of it, as it came and as it went out.
    first: (i64, u32),
    /// The newest sequence number that came, extended.
    newest: i64,
    newest_timestamp: u32,
    /// The media time at which that packet came.
    newest_at: u32,
}

/// A stream, and the talker who is in it.
#[derive(Debug, Default)]
pub(super) struct ForwardedStream {
    pub(super) talker: Option<PeerId>,
    turn: Option<Turn>,
    /// A source, and the offset that is added to its timestamps.
    offset: Option<(u32, u32)>,
    /// The sequence number and timestamp that would follow the newest packet.
    next: Option<(u32, u32)>,
}

/// The fields of an RTP header that change on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) sequence: u32,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
}

impl ForwardedStream {
    /// Another talker has it from now on.
    pub(super) fn give(&mut self, talker: PeerId) {
        self.release();
        self.talker = Some(talker);
    }

    /// Nobody has it any more.
    pub(super) fn release(&mut self) {
        self.talker = None;
        self.turn = None;
        self.offset = None;
    }

    /// A packet of the talker isn't sent on: the next one that is begins a new talk spurt.
    pub(super) fn pause(&mut self) {
        self.turn = None;
    }

    /// The header of the talker's packet in the listener's stream; `None`: the packet is from before their turn. `media_time` is the room's.
    ///
    /// Within a talk spurt timestamps go by the talker's clock. Between two, they go back to media time if that clock has strayed.
    pub(super) fn rewrite(
        &self,
        ssrc: u32,
        seq: u16,
        timestamp: u32,
        marker: bool,
        media_time: u32,
    ) -> Option<Rewrite> {
        if let Some(turn) = self.turn.as_ref().filter(|turn| turn.ssrc == ssrc) {
            let step = seq.wrapping_sub(turn.newest as u16) as i16;
            let jump = timestamp.wrapping_sub(turn.newest_timestamp) as i32;
            if step.unsigned_abs() <= LONGEST_GAP.unsigned_abs() && jump.unsigned_abs() <= LONGEST_JUMP.unsigned_abs() {
                let at = turn.newest + i64::from(step);
                if at < turn.first.0 {
                    return None;
                }
                let offset = self.offset.map_or(0, |(_, offset)| offset);
                let out = timestamp.wrapping_add(offset);
                let sequence = turn.first.1.wrapping_add((at - turn.first.0) as u32);
                let newer = step > 0;
                if newer && has_strayed(out, media_time) {
                    let waited = media_time.wrapping_sub(turn.newest_at) as i32;
                    let stood_still = waited.saturating_sub(jump) >= STOOD_STILL;
                    let skipped = self.next.is_some_and(|(next, time)| next == sequence && time != out);
                    if marker || stood_still || skipped {
                        return Some(self.begin(ssrc, seq, timestamp, media_time));
                    }
                }
                let mut turn = *turn;
                if newer {
                    turn.newest = at;
                    turn.newest_timestamp = timestamp;
                    turn.newest_at = media_time;
                }
                return Some(Rewrite {
                    header: Header {
                        sequence,
                        timestamp: out,
                        marker,
                    },
                    turn,
                    offset,
                });
            }
        }
        Some(self.begin(ssrc, seq, timestamp, media_time))
    }

    fn begin(&self, ssrc: u32, seq: u16, timestamp: u32, media_time: u32) -> Rewrite {
        let (sequence, least) = self.next.unwrap_or((0, media_time));
        // The same talker after a pause goes on by their own clock, if it runs; a new one where the room's has got to.
        let by_own_clock = self
            .offset
            .filter(|(source, _)| *source == ssrc)
            .map(|(_, offset)| timestamp.wrapping_add(offset))
            .filter(|own| own.wrapping_sub(least) as i32 >= 0 && !has_strayed(*own, media_time));
        let out = by_own_clock.unwrap_or(later(media_time, least));
        Rewrite {
            header: Header {
                sequence,
                timestamp: out,
                marker: true,
            },
            turn: Turn {
                ssrc,
                first: (i64::from(seq), sequence),
                newest: i64::from(seq),
                newest_timestamp: timestamp,
                newest_at: media_time,
            },
            offset: out.wrapping_sub(timestamp),
        }
    }

    /// The header of an introduction to a packet that comes at `media_time`: a frame before it, or right behind the newest packet.
    pub(super) fn introduced(&self, media_time: u32) -> Header {
        let before = media_time.wrapping_sub(FRAME);
        let (sequence, least) = self.next.unwrap_or((0, before));
        let timestamp = later(before, least);
        Header {
            sequence,
            timestamp,
            marker: timestamp != least || self.next.is_none(),
        }
    }

    /// Whether no packet of the talker was sent since the last pause.
    pub(super) fn is_paused(&self) -> bool {
        self.turn.is_none()
    }

    /// The sequence number and timestamp that follow the newest packet, if there was one.
    pub(super) fn next(&self) -> Option<(u32, u32)> {
        self.next
    }

    /// The talker's own timestamp right behind the newest of their packets that was sent.
    pub(super) fn source_end(&self) -> Option<u32> {
        let ((_, next), (_, offset)) = self.next.zip(self.offset)?;
        Some(next.wrapping_sub(offset))
    }

    /// A packet that isn't a talker's was sent; it lasts for so many samples.
    pub(super) fn sent_own(&mut self, header: &Header, samples: u32) {
        self.next = Some((header.sequence.wrapping_add(1), header.timestamp.wrapping_add(samples)));
    }

    /// The last thing sent ends as this packet of the talker does, as if it had been sent.
    pub(super) fn follow(&mut self, packet: &Newest, media_time: u32) {
        let Some((sequence, next)) = self.next else { return };
        self.offset = Some((packet.ssrc, next.wrapping_sub(packet.end)));
        self.turn = Some(Turn {
            ssrc: packet.ssrc,
            first: (i64::from(packet.seq), sequence.wrapping_sub(1)),
            newest: i64::from(packet.seq),
            newest_timestamp: packet.timestamp,
            newest_at: media_time,
        });
    }

    /// It was sent; `samples` is how long it lasts.
    pub(super) fn sent(&mut self, rewrite: &Rewrite, samples: u32) {
        let Rewrite { header, turn, offset } = rewrite;
        let follows = (
            header.sequence.wrapping_add(1),
            header.timestamp.wrapping_add(samples.max(1)),
        );
        let newer = self
            .next
            .is_none_or(|(next, _)| follows.0.wrapping_sub(next) as i32 > 0);
        if newer {
            self.next = Some(follows);
        }
        self.offset = Some((turn.ssrc, *offset));
        self.turn = Some(*turn);
    }
}

/// The later of two timestamps.
pub(super) fn later(a: u32, b: u32) -> u32 {
    if (a.wrapping_sub(b) as i32) < 0 { b } else { a }
}

fn has_strayed(timestamp: u32, media_time: u32) -> bool {
    (timestamp.wrapping_sub(media_time) as i32).unsigned_abs() > MOST_DRIFT
}

/// The header of a packet to be sent, and the stream's state once it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rewrite {
    pub(super) header: Header,
    turn: Turn,
    offset: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(slot: &mut ForwardedStream, ssrc: u32, seq: u16, timestamp: u32, media_time: u32) -> Option<Header> {
        let rewrite = slot.rewrite(ssrc, seq, timestamp, false, media_time)?;
        slot.sent(&rewrite, 960);
        Some(rewrite.header)
    }

    fn header(sequence: u32, timestamp: u32, marker: bool) -> Option<Header> {
        Some(Header {
            sequence,
            timestamp,
            marker,
        })
    }

    #[test]
    fn a_talkers_stream_goes_on_as_it_is_with_its_gaps_and_disorder() {
        let mut slot = ForwardedStream::default();
        slot.give(1);
        assert_eq!(send(&mut slot, 7, 65_534, 5_000, 960), header(0, 960, true));
        assert_eq!(send(&mut slot, 7, 65_535, 5_960, 1920), header(1, 1920, false));
        assert_eq!(
            send(&mut slot, 7, 1, 7_880, 3840),
            header(3, 3840, false),
            "one is missing"
        );
        assert_eq!(
            send(&mut slot, 7, 0, 6_920, 3840),
            header(2, 2880, false),
            "and comes late"
        );
        assert_eq!(send(&mut slot, 7, 2, 8_840, 4800), header(4, 4800, false));
        assert_eq!(send(&mut slot, 7, 65_533, 4_040, 4800), None, "from before the turn");
    }

    #[test]
    fn another_talker_goes_on_where_the_one_before_left_off() {
        let mut slot = ForwardedStream::default();
        slot.give(1);
        send(&mut slot, 7, 10, 5_000, 9_600);
        send(&mut slot, 7, 11, 5_960, 10_560);
        slot.give(2);
        assert_eq!(
            send(&mut slot, 8, 900, 77, 10_560),
            header(2, 11_520, true),
            "never twice the same time"
        );
        assert_eq!(send(&mut slot, 8, 901, 1_037, 12_480), header(3, 12_480, false));
        slot.give(1);
        assert_eq!(
            send(&mut slot, 7, 500, 99_000, 960_000),
            header(4, 960_000, true),
            "time has passed"
        );
    }

    #[test]
    fn after_a_pause_the_same_talker_goes_on_by_their_own_clock() {
        let mut slot = ForwardedStream::default();
        slot.give(1);
        send(&mut slot, 7, 10, 1_000, 960);
        slot.pause();
        // 3 frames later by their clock, 4 by the room's.
        assert_eq!(
            send(&mut slot, 7, 13, 3_880, 4_800),
            header(1, 3_840, true),
            "no gap in the numbers"
        );
    }

    #[test]
    fn a_clock_that_stands_still_in_pauses_is_set_by_media_time() {
        for paused in [false, true] {
            let mut slot = ForwardedStream::default();
            slot.give(1);
            send(&mut slot, 7, 10, 1_000, 960);
            assert_eq!(send(&mut slot, 7, 11, 1_960, 1_920), header(1, 1_920, false));
            if paused {
                slot.pause();
            }
            // Five seconds of nothing.
            let later = 1_920 + 240_000;
            assert_eq!(send(&mut slot, 7, 12, 2_920, later), header(2, later, true));
            assert_eq!(
                send(&mut slot, 7, 13, 3_880, later + 960),
                header(3, later + 960, false)
            );
            assert_eq!(
                send(&mut slot, 7, 11, 1_960, later + 960),
                None,
                "from before the pause"
            );
        }
    }

    #[test]
    fn short_pauses_of_a_standing_clock_do_not_add_up() {
        let mut slot = ForwardedStream::default();
        slot.give(1);
        for spurt in 0..100 {
            // One packet, then 60 ms more than its timestamp says.
            let media_time = 960 + spurt * 3_840;
            let sent = send(&mut slot, 7, spurt as u16, 1_000 + spurt * 960, media_time).unwrap();
            assert!(media_time - sent.timestamp <= MOST_DRIFT, "{spurt}: {sent:?}");
        }
    }

    #[test]
    fn jitter_within_a_spurt_leaves_timestamps_alone() {
        let mut slot = ForwardedStream::default();
        slot.give(1);
        let first = send(&mut slot, 7, 0, 1_000, 96_000).unwrap().timestamp;
        // Packets come up to 60 ms late, and then all at once.
        for (n, late) in [0, 960, 1_920, 2_880, 1_920, 960, 0, 2_880, 1_920, 960, 0]
            .into_iter()
            .enumerate()
        {
            let step = (n as u32 + 1) * 960;
            let sent = send(&mut slot, 7, n as u16 + 1, 1_000 + step, 96_000 + step + late);
            assert_eq!(sent, header(n as u32 + 1, first + step, false));
        }
    }

    #[test]
    fn what_a_stall_of_the_network_puts_ahead_is_given_back_in_a_pause() {
        let mut slot = ForwardedStream::default();
        slot.give(1);
        send(&mut slot, 7, 0, 0, 0);
        // Half a second late, then everything at once.
        for n in 1..=25u32 {
            send(&mut slot, 7, n as u16, n * 960, 24_000);
        }
        let (_, ahead) = slot.next().unwrap();
        assert_eq!(ahead, 24_000 + 25 * 960, "no time twice");
        // A pause of a second by the talker's clock.
        let sent = send(&mut slot, 7, 26, 26 * 960 + 48_000, 25 * 960 + 49_000).unwrap();
        assert_eq!((sent.timestamp, sent.marker), (25 * 960 + 49_000, true));
    }

    #[test]
    fn a_stream_that_jumps_or_begins_anew_is_taken_up_without_a_jump() {
        let mut slot = ForwardedStream::default();
        slot.give(1);
        send(&mut slot, 7, 10, 1_000, 960);
        assert_eq!(send(&mut slot, 7, 11, 2_000_000_000, 1_920), header(1, 1_920, true));
        assert_eq!(
            send(&mut slot, 9, 40_000, 5, 2_880),
            header(2, 2_880, true),
            "another source"
        );
        assert_eq!(send(&mut slot, 9, 20_000, 965, 3_840), header(3, 3_840, true));
    }
}
