//! Longer packets for a listener whose client asks for them (`a=ptime`, RFC 8866 §6.4): consecutive Opus packets of one stream go out
//! as one of 40 or 60 ms, without another encode.
//!
//! All that a listener gets comes by here last, mixes and packets that are passed on or forwarded alike. A packet waits for those that
//! follow it, for 20 or 40 ms, and never for longer: where one is missing, a pause or another talk spurt begins, or the configuration of
//! Opus changes, the gathered ones go out as they are.
//!
//! Their sequence numbers go up by one, whatever was lost on its way here: a gap of one would count for more among fewer packets, and
//! the reports of a listener who lost nothing would ask for in-band FEC. Time stamps tell where sound is missing. A packet that was
//! overtaken has no number left, and is left out.

use std::time::{Duration, Instant};

use roomtone_audio::{Packed, SAMPLE_RATE, packet};
use roomtone_transport::{MAX_PAYLOAD, SlotOut};

/// The length of a mix's packets, ms: for a client that asks for no more nothing is gathered.
const SHORTEST: u32 = 20;
const SAMPLES_PER_MS: u32 = SAMPLE_RATE / 1000;
/// So much later than it should come a packet may still be waited for: threads are late by a little.
const LATENESS: Duration = Duration::from_millis(5);

/// The streams of a listener with longer packets.
pub(super) struct Packing {
    streams: Vec<PackedStream>,
    /// A packet that is being made.
    out: Vec<u8>,
    /// Packets go out as they come.
    suspended: bool,
}

/// The gathered packets' header: that of the first, with the level of the loudest.
#[derive(Clone, Copy, Default)]
struct Gathered {
    timestamp: u32,
    marker: bool,
    csrc: Option<u32>,
    level: Option<u8>,
}

struct PackedStream {
    /// How long packets are to be, samples; 0: as they come.
    wanted: u32,
    frames: Packed,
    gathered: Gathered,
    /// When the gathered packets go out at the latest, while there are any.
    due: Option<Instant>,
    /// The numbers of the next packet that comes and of the next that goes out, once there was one.
    next: Option<(u32, u32)>,
}

impl Packing {
    /// For a client that wants packets of so many ms on each of its streams, with the number that follows the highest sent there. `None`
    /// where it wants them as they come.
    pub(super) fn new(wanted: impl Iterator<Item = (u32, Option<u32>)> + Clone) -> Option<Box<Packing>> {
        wanted.clone().any(|(ms, _)| ms > SHORTEST).then(|| {
            let mut packing = Packing {
                streams: Vec::new(),
                out: Vec::with_capacity(MAX_PAYLOAD),
                suspended: false,
            };
            packing.renegotiate(wanted);
            Box::new(packing)
        })
    }

    /// The client wants packets of so many ms from now on. Numbers go on where those of [`Packing::take`] are, and on a stream that is
    /// new here with the one given: one that was on the way must not come again with the same key (RFC 3711 §9.1).
    pub(super) fn renegotiate(&mut self, wanted: impl Iterator<Item = (u32, Option<u32>)>) {
        for (index, (ms, next)) in wanted.enumerate() {
            if index == self.streams.len() {
                self.streams.push(PackedStream::new(next));
            }
            let samples = ms * SAMPLES_PER_MS;
            self.streams[index].wanted = if ms > SHORTEST { samples } else { 0 };
        }
    }

    /// Whether packets go out as they come: while copies or in-band FEC make up for losses, as these are worth the less, and come the
    /// later, the longer a packet is.
    pub(super) fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
    }

    /// Takes a packet of a stream, which [could be sent](roomtone_transport::Endpoint::send_slot) now, and sends what doesn't wait any
    /// longer. Whether the stream takes it: one that was overtaken counts too, though it is left out. So a listener's packets are the same
    /// before they become longer ones, in a call and in its replay, which packs nothing.
    pub(super) fn take(
        &mut self,
        now: Instant,
        slot: usize,
        audio: &SlotOut<'_>,
        mut send: impl FnMut(&SlotOut<'_>) -> bool,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(slot) else {
            return send(audio);
        };
        let wanted = if self.suspended { 0 } else { stream.wanted };
        stream.take(now, wanted, audio, &mut self.out, &mut send)
    }

    /// When [`Packing::send_due`] has something to send.
    pub(super) fn next(&self) -> Option<Instant> {
        self.streams.iter().filter_map(|stream| stream.due).min()
    }

    /// Sends what has waited for long enough, each with its stream.
    pub(super) fn send_due(&mut self, now: Instant, mut send: impl FnMut(usize, &SlotOut<'_>) -> bool) {
        for (slot, stream) in self.streams.iter_mut().enumerate() {
            if stream.due.is_some_and(|due| due <= now) {
                stream.flush(&mut self.out, &mut |audio| send(slot, audio));
            }
        }
    }
}

impl PackedStream {
    fn new(next: Option<u32>) -> PackedStream {
        PackedStream {
            wanted: 0,
            frames: Packed::new(MAX_PAYLOAD),
            gathered: Gathered::default(),
            due: None,
            next: next.map(|next| (next, next)),
        }
    }

    fn take(
        &mut self,
        now: Instant,
        wanted: u32,
        audio: &SlotOut<'_>,
        out: &mut Vec<u8>,
        send: &mut impl FnMut(&SlotOut<'_>) -> bool,
    ) -> bool {
        let (next, number) = self.next.unwrap_or((audio.sequence, audio.sequence));
        let ahead = audio.sequence.wrapping_sub(next).cast_signed();
        if ahead < 0 {
            return (1..=MAX_PAYLOAD).contains(&audio.payload.len());
        }
        self.next = Some((next, number));
        let info = packet::parse(audio.payload).ok().filter(|info| !info.is_dtx);
        let samples = info.map_or(u32::MAX, |info| info.samples);
        if ahead == 0 && self.follows(audio, samples, wanted) && self.frames.push(audio.payload) {
            let gathered = &mut self.gathered;
            gathered.level = match (gathered.level, audio.level) {
                (Some(before), Some(level)) => Some(before.min(level)),
                (before, level) => before.or(level),
            };
            if self.frames.samples() + samples > wanted {
                self.flush(out, send);
            }
        } else {
            self.flush(out, send);
            // Shorter than two of its kind: there is nothing to wait for.
            let alone = samples > wanted / 2 || !self.frames.push(audio.payload);
            if alone && !self.send(audio, send) {
                return false;
            }
            if !alone {
                self.due = Some(now + duration(wanted - samples) + LATENESS);
                self.gathered = Gathered {
                    timestamp: audio.timestamp,
                    marker: audio.marker,
                    csrc: audio.csrc,
                    level: audio.level,
                };
            }
        }
        if let Some((next, _)) = &mut self.next {
            *next = audio.sequence.wrapping_add(1);
        }
        true
    }

    // Whether a packet with the next number goes on where the gathered ones end, without a pause or a change of talker.
    fn follows(&self, audio: &SlotOut<'_>, samples: u32, wanted: u32) -> bool {
        let gathered = self.frames.samples();
        !self.frames.is_empty()
            && !audio.marker
            && audio.csrc == self.gathered.csrc
            && audio.timestamp == self.gathered.timestamp.wrapping_add(gathered)
            && gathered.saturating_add(samples) <= wanted
    }

    // Sends what was gathered.
    fn flush(&mut self, out: &mut Vec<u8>, send: &mut impl FnMut(&SlotOut<'_>) -> bool) {
        self.due = None;
        if self.frames.is_empty() {
            return;
        }
        out.clear();
        self.frames.write(out);
        self.frames.clear();
        let Gathered {
            timestamp,
            marker,
            csrc,
            level,
        } = self.gathered;
        let audio = SlotOut {
            sequence: 0,
            timestamp,
            marker,
            csrc,
            level,
            payload: out,
        };
        self.send(&audio, send);
    }

    // Sends a packet with the next number, whatever number it has.
    fn send(&mut self, audio: &SlotOut<'_>, send: &mut impl FnMut(&SlotOut<'_>) -> bool) -> bool {
        let Some((_, number)) = &mut self.next else {
            return false;
        };
        let sent = send(&SlotOut {
            sequence: *number,
            ..*audio
        });
        if sent {
            *number = number.wrapping_add(1);
        }
        sent
    }
}

fn duration(samples: u32) -> Duration {
    Duration::from_micros(u64::from(samples) * 1000 / u64::from(SAMPLES_PER_MS))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: u32 = 960;
    /// Of a frame of 20 ms of CELT. One of a byte or less would be silence.
    const TOC: u8 = 31 << 3;

    #[derive(Clone, Debug, PartialEq)]
    struct Sent {
        sequence: u32,
        timestamp: u32,
        marker: bool,
        csrc: Option<u32>,
        level: Option<u8>,
        payload: Vec<u8>,
    }

    impl Sent {
        fn of(audio: &SlotOut<'_>) -> Sent {
            Sent {
                sequence: audio.sequence,
                timestamp: audio.timestamp,
                marker: audio.marker,
                csrc: audio.csrc,
                level: audio.level,
                payload: audio.payload.to_vec(),
            }
        }
    }

    struct Listener {
        packing: Box<Packing>,
        now: Instant,
        sent: Vec<Sent>,
    }

    impl Listener {
        fn new(ms: u32) -> Listener {
            Listener {
                packing: Packing::new([(ms, None)].into_iter()).unwrap(),
                now: Instant::now(),
                sent: Vec::new(),
            }
        }

        fn take(&mut self, audio: &SlotOut<'_>) -> bool {
            let sent = &mut self.sent;
            self.packing.take(self.now, 0, audio, |audio| {
                sent.push(Sent::of(audio));
                true
            })
        }

        // The n-th packet of a stream.
        fn take_nth(&mut self, n: u32) -> bool {
            self.take(&nth(n, &[TOC, 0, n as u8]))
        }

        fn wait(&mut self, ms: u64) {
            self.now += Duration::from_millis(ms);
            let sent = &mut self.sent;
            self.packing.send_due(self.now, |_, audio| {
                sent.push(Sent::of(audio));
                true
            });
        }

        // Sequence number, time in frames and length in frames of all that was sent.
        fn sent(&self) -> Vec<(u32, u32, u32)> {
            let place = |sent: &Sent| {
                let samples = packet::parse(&sent.payload).unwrap().samples;
                (sent.sequence, sent.timestamp / FRAME, samples / FRAME)
            };
            self.sent.iter().map(place).collect()
        }
    }

    fn nth(n: u32, payload: &[u8]) -> SlotOut<'_> {
        SlotOut {
            sequence: n,
            timestamp: n * FRAME,
            marker: false,
            csrc: None,
            level: Some(40),
            payload,
        }
    }

    #[test]
    fn three_packets_go_out_as_one_with_the_first_header_and_the_loudest_level() {
        let mut listener = Listener::new(60);
        for (n, level) in [(7, 50), (8, 30), (9, 60), (10, 50)] {
            let audio = SlotOut {
                marker: n == 7,
                csrc: Some(5),
                level: Some(level),
                ..nth(n, &[TOC, 1, 2])
            };
            assert!(listener.take(&audio));
        }
        let one = Sent {
            sequence: 7,
            timestamp: 7 * FRAME,
            marker: true,
            csrc: Some(5),
            level: Some(30),
            payload: vec![TOC | 3, 3, 1, 2, 1, 2, 1, 2],
        };
        assert_eq!(listener.sent, [one]);
        for n in 11..=12 {
            listener.take(&SlotOut {
                csrc: Some(5),
                ..nth(n, &[TOC, 1, 2])
            });
        }
        assert_eq!(listener.sent(), [(7, 7, 3), (8, 10, 3)]);
    }

    #[test]
    fn packets_that_begin_something_else_end_what_was_gathered() {
        type Change = fn(&mut SlotOut<'_>);
        let begins: [(&str, Change); 5] = [
            ("a talk spurt", |audio| audio.marker = true),
            ("another talker", |audio| audio.csrc = Some(1)),
            ("a pause", |audio| audio.timestamp += FRAME),
            ("stereo", |audio| audio.payload = &[TOC | 4, 0, 1]),
            ("another mode", |audio| audio.payload = &[15 << 3, 0, 1]),
        ];
        for (what, change) in begins {
            let mut listener = Listener::new(60);
            listener.take_nth(0);
            listener.take_nth(1);
            let mut audio = nth(2, &[TOC, 0, 2]);
            change(&mut audio);
            listener.take(&audio);
            listener.wait(45);
            let time = audio.timestamp / FRAME;
            assert_eq!(listener.sent(), [(0, 0, 2), (1, time, 1)], "{what}");
        }
    }

    #[test]
    fn silence_ends_what_was_gathered_and_does_not_wait() {
        let mut listener = Listener::new(60);
        listener.take_nth(0);
        listener.take(&nth(1, &[TOC]));
        assert_eq!(listener.sent(), [(0, 0, 1), (1, 1, 1)]);
        assert_eq!(listener.sent[1].payload, [TOC]);
    }

    #[test]
    fn gathered_packets_wait_for_those_that_follow_and_no_longer() {
        for (ms, wait) in [(40, 25), (60, 45)] {
            let mut listener = Listener::new(ms);
            assert_eq!(listener.packing.next(), None);
            let begun = listener.now;
            listener.take_nth(0);
            assert_eq!(listener.packing.next(), Some(begun + Duration::from_millis(wait)));
            listener.wait(wait - 1);
            assert_eq!(listener.sent, []);
            listener.wait(1);
            assert_eq!(listener.sent(), [(0, 0, 1)]);
            assert_eq!(listener.packing.next(), None);
        }
    }

    #[test]
    fn longer_packets_of_a_talker_are_gathered_up_to_the_wanted_length() {
        let mut listener = Listener::new(60);
        let short = 30 << 3;
        for n in 0..6 {
            listener.take(&SlotOut {
                timestamp: n * 480,
                ..nth(n, &[short, 0, 1])
            });
        }
        assert_eq!(listener.sent(), [(0, 0, 3)], "six of 10 ms");
        let mut listener = Listener::new(60);
        for n in 0..2 {
            listener.take(&SlotOut {
                timestamp: n * 2 * FRAME,
                ..nth(n, &[TOC | 1, 1, 2])
            });
        }
        assert_eq!(listener.sent(), [(0, 0, 2), (1, 2, 2)], "nothing fits to 40 ms");
    }

    #[test]
    fn no_packet_is_longer_than_its_path_takes() {
        let mut listener = Listener::new(60);
        let payload = [&[TOC][..], &[7; 500]].concat();
        for n in 0..6 {
            listener.take(&nth(n, &payload));
        }
        listener.wait(45);
        assert_eq!(listener.sent(), [(0, 0, 2), (1, 2, 2), (2, 4, 2)]);
        let long = [&[TOC][..], &[7; 1199]].concat();
        listener.take(&nth(6, &long));
        listener.take(&nth(7, &long));
        listener.wait(45);
        assert_eq!(listener.sent()[3..], [(3, 6, 1), (4, 7, 1)]);
    }

    #[test]
    fn numbers_go_up_by_one_and_time_stamps_tell_what_is_missing() {
        let mut listener = Listener::new(60);
        for n in [0, 1, 2, 5, 6] {
            assert!(listener.take_nth(n));
        }
        assert!(listener.take_nth(4), "overtaken");
        assert!(listener.take_nth(6), "twice");
        assert!(!listener.take(&nth(6, &[0; MAX_PAYLOAD + 1])), "nor could it be sent");
        assert!(!listener.take(&nth(6, &[])));
        assert!(listener.take_nth(7));
        assert!(listener.take_nth(8));
        assert!(listener.take_nth(11));
        listener.wait(45);
        assert_eq!(listener.sent(), [(0, 0, 3), (1, 5, 3), (2, 8, 1), (3, 11, 1)]);
    }

    #[test]
    fn a_client_that_changes_its_mind_and_one_that_needs_copies_get_packets_as_they_come() {
        let mut listener = Listener::new(60);
        for n in 0..4 {
            listener.take_nth(n);
        }
        listener.packing.suspend(true);
        listener.take_nth(4);
        listener.packing.suspend(false);
        listener.take_nth(5);
        listener.packing.renegotiate([(20, None)].into_iter());
        listener.take_nth(6);
        listener.take_nth(7);
        listener.packing.renegotiate([(40, None)].into_iter());
        listener.take_nth(8);
        listener.take_nth(9);
        let sent = [
            (0, 0, 3),
            (1, 3, 1),
            (2, 4, 1),
            (3, 5, 1),
            (4, 6, 1),
            (5, 7, 1),
            (6, 8, 2),
        ];
        assert_eq!(listener.sent(), sent);
    }

    #[test]
    fn packing_that_begins_in_mid_stream_uses_no_number_again() {
        // 7 was sent, 6 comes late.
        let mut listener = Listener::new(60);
        listener.packing = Packing::new([(60, Some(8))].into_iter()).unwrap();
        for n in [6, 8, 9, 10, 11] {
            listener.take_nth(n);
        }
        listener.wait(45);
        assert_eq!(listener.sent(), [(8, 8, 3), (9, 11, 1)]);
    }

    #[test]
    fn numbers_are_used_once_however_often_packing_begins_and_ends() {
        let changes: [fn(&mut Packing, bool); 2] = [
            |packing, on| packing.renegotiate([(if on { 60 } else { 20 }, Some(9_999))].into_iter()),
            |packing, on| packing.suspend(!on),
        ];
        for change in changes {
            let mut listener = Listener::new(60);
            let mut newest = 0;
            for round in 0..6 {
                change(&mut listener.packing, round % 2 == 0);
                // The first is late, and the last is lost.
                for n in [newest + 1, newest, newest + 2, newest + 3, newest + 4, newest + 5] {
                    listener.take_nth(n);
                }
                newest += 6;
            }
            listener.wait(45);
            let sent = listener.sent();
            for pair in sent.windows(2) {
                assert_eq!(pair[1].0, pair[0].0 + 1, "{sent:?}");
                assert!(pair[1].1 >= pair[0].1 + pair[0].2, "{sent:?}");
            }
            let frames: u32 = sent.iter().map(|sent| sent.2).sum();
            assert_eq!(frames, 30, "{sent:?}");
            assert!((18..24).contains(&sent.len()), "{sent:?}");
        }
    }

    #[test]
    fn a_packet_that_cannot_be_sent_leaves_its_number_to_the_next() {
        let mut listener = Listener::new(60);
        let now = listener.now;
        assert!(!listener.packing.take(now, 0, &nth(0, &[TOC]), |_| false));
        assert!(listener.take(&nth(0, &[TOC])));
        assert_eq!(listener.sent.len(), 1);
    }

    proptest! {
        #[test]
        fn each_frame_goes_out_once_and_in_order_in_packets_without_a_gap(
            steps in proptest::collection::vec((-2i32..6, 0u8..8, 0u64..50), 1..200),
        ) {
            let mut listener = Listener::new(60);
            let (mut newest, mut taken) = (1_000, Vec::new());
            for (step, kind, wait) in steps {
                // As a rule the next one.
                let step = if step > 2 { 1 } else { step };
                let n: i32 = newest + step;
                let payload = [if kind == 0 { TOC | 4 } else { TOC }, (n >> 8) as u8, n as u8];
                let audio = SlotOut { marker: kind == 1, ..nth(n as u32, &payload) };
                let new = taken.last().is_none_or(|last| n > *last);
                prop_assert!(listener.take(&audio));
                if new {
                    taken.push(n);
                    newest = n;
                }
                listener.wait(wait);
            }
            listener.wait(45);
            let first = listener.sent[0].sequence;
            let mut went = Vec::new();
            for (number, sent) in (first..).zip(&listener.sent) {
                prop_assert_eq!(sent.sequence, number);
                let info = packet::parse(&sent.payload).unwrap();
                prop_assert!(info.samples <= 60 * SAMPLES_PER_MS);
                // All frames are of one length.
                let frames = sent.payload[sent.payload.len() - 2 * usize::from(info.frames)..].chunks(2);
                for (at, frame) in frames.enumerate() {
                    let n = i32::from(frame[0]) << 8 | i32::from(frame[1]);
                    prop_assert_eq!(sent.timestamp + at as u32 * FRAME, n as u32 * FRAME);
                    went.push(n);
                }
            }
            prop_assert_eq!(went, taken);
        }
    }
}
