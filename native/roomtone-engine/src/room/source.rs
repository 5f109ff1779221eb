//! A source: a participant without a transport, whose Opus packets come by command, in bursts. They wait in a bounded queue, and the
//! room takes them at the pace at which they are to be heard, as if they came from the network at that moment. So a source is a talker
//! like any other for levels, selection, rows, mix-minus, pass-through and forwarding.

use std::collections::VecDeque;

use roomtone_audio::{FRAME_SAMPLES, MAX_PACKET_BYTES, SAMPLE_RATE, packet};
use roomtone_transport::{Copies, RtpIn};

use crate::command::{PeerId, SourceItem};

/// The most sound that waits, in samples at 48 kHz: 60 s.
const MAX_WAITING: u64 = 60 * SAMPLE_RATE as u64;
/// The most bytes that wait: 60 s at 128 kbit/s.
const MAX_BYTES: usize = 960_000;
/// The most packets and marks that wait: 60 s in packets of 10 ms.
const MAX_ITEMS: usize = 6_000;

/// The queue of a source, and its place on the room's time line.
pub(super) struct Source {
    pub(super) id: PeerId,
    items: VecDeque<Item>,
    /// The packets of the items, one after the other.
    bytes: VecDeque<u8>,
    /// The sound of the items, samples at 48 kHz.
    waiting: u64,
    /// The packet that is being played.
    packet: Vec<u8>,
    sequence: u16,
    /// The media time at which the next packet begins. Counts while `running`.
    begins: u32,
    /// Whether something was played since the queue was empty.
    running: bool,
}

enum Item {
    Packet {
        bytes: usize,
        samples: u32,
        level: Option<u8>,
    },
    Mark(u64),
}

/// The output of a source for a tick.
pub(super) enum Due<'a> {
    /// A packet to be heard.
    Packet(RtpIn<'a>),
    /// Everything before this mark was played.
    Mark(u64),
    /// Everything was played.
    Drained,
}

impl Source {
    /// A source that has nothing to play yet.
    pub(super) fn new(id: PeerId) -> Source {
        Source {
            id,
            items: VecDeque::new(),
            bytes: VecDeque::new(),
            waiting: 0,
            packet: Vec::with_capacity(MAX_PACKET_BYTES),
            sequence: 0,
            begins: 0,
            running: false,
        }
    }

    /// Queues packets and marks. The number of them that weren't taken: the queue is full, or the packet isn't Opus.
    pub(super) fn feed(&mut self, items: &[SourceItem]) -> u32 {
        items.iter().map(|item| u32::from(!self.take(item))).sum()
    }

    fn take(&mut self, item: &SourceItem) -> bool {
        if self.items.len() >= MAX_ITEMS {
            return false;
        }
        match item {
            SourceItem::Mark(mark) => self.items.push_back(Item::Mark(*mark)),
            SourceItem::Packet { data, level } => {
                let Ok(info) = packet::parse(data) else { return false };
                let waiting = self.waiting + u64::from(info.samples);
                if waiting > MAX_WAITING || data.len() > MAX_PACKET_BYTES || self.bytes.len() + data.len() > MAX_BYTES {
                    return false;
                }
                self.waiting = waiting;
                self.bytes.extend(data);
                self.items.push_back(Item::Packet {
                    bytes: data.len(),
                    samples: info.samples,
                    level: level.map(|level| level.min(127)),
                });
            }
        }
        true
    }

    /// Throws away everything that waits, marks included.
    pub(super) fn clear(&mut self) {
        // The tick after tells that nothing is left.
        self.running |= !self.items.is_empty();
        self.items.clear();
        self.bytes.clear();
        self.waiting = 0;
    }

    /// Whether a tick has anything to do with it.
    pub(super) fn has_work(&self) -> bool {
        self.running || !self.items.is_empty()
    }

    /// The next output by the end of the tick of this media time. Called until there is nothing more.
    pub(super) fn next(&mut self, tick: u32) -> Option<Due<'_>> {
        if !self.has_work() {
            return None;
        }
        // Ticks that were left out delay the sound; none is lost, and no burst makes up for them.
        let behind = tick.wrapping_sub(self.begins) as i32 > 0;
        let marker = !self.running || behind;
        if marker {
            self.begins = tick;
        }
        let end = tick.wrapping_add(FRAME_SAMPLES as u32);
        if end.wrapping_sub(self.begins) as i32 <= 0 {
            return None;
        }
        self.running = true;
        match self.items.pop_front() {
            None => {
                self.running = false;
                Some(Due::Drained)
            }
            Some(Item::Mark(mark)) => Some(Due::Mark(mark)),
            Some(Item::Packet { bytes, samples, level }) => {
                self.packet.clear();
                self.packet.extend(self.bytes.drain(..bytes));
                self.waiting -= u64::from(samples);
                let timestamp = self.begins;
                self.begins = timestamp.wrapping_add(samples);
                self.sequence = self.sequence.wrapping_add(1);
                Some(Due::Packet(RtpIn {
                    seq: self.sequence,
                    timestamp,
                    marker,
                    // Nothing but changes of it counts, and a source has one stream.
                    ssrc: self.id as u32,
                    level: level.map(|level| (level, false)),
                    payload: &self.packet,
                    restored_after: None,
                    copies: Copies::default(),
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // 20 ms and 60 ms of CELT, mono (RFC 6716 §3.1), with nothing in it.
    const FRAME: &[u8] = &[31 << 3, 0];
    const THREE_FRAMES: &[u8] = &[(31 << 3) | 3, 3, 0, 0, 0];

    fn packet(data: &[u8]) -> SourceItem {
        SourceItem::Packet {
            data: data.to_vec(),
            level: Some(30),
        }
    }

    fn played(source: &mut Source, ticks: std::ops::Range<u32>) -> Vec<(u32, String)> {
        let mut played = Vec::new();
        for tick in ticks {
            while let Some(due) = source.next(tick * 960) {
                let what = match due {
                    Due::Packet(rtp) => format!("{} {}", rtp.timestamp / 960, rtp.marker),
                    Due::Mark(mark) => format!("mark {mark}"),
                    Due::Drained => "drained".to_owned(),
                };
                played.push((tick, what));
            }
        }
        played
    }

    fn expect(list: &[(u32, &str)]) -> Vec<(u32, String)> {
        list.iter().map(|(tick, what)| (*tick, (*what).to_owned())).collect()
    }

    #[test]
    fn packets_come_when_they_are_due_and_marks_when_all_before_them_was_played() {
        let mut source = Source::new(1);
        assert_eq!(
            source.feed(&[packet(FRAME), packet(THREE_FRAMES), SourceItem::Mark(9), packet(FRAME)]),
            0
        );
        let expected = expect(&[
            (5, "5 true"),
            (6, "6 false"),
            (9, "mark 9"),
            (9, "9 false"),
            (10, "drained"),
        ]);
        assert_eq!(played(&mut source, 5..20), expected);
        assert!(!source.has_work());
        source.feed(&[packet(FRAME)]);
        assert_eq!(played(&mut source, 50..60), expect(&[(50, "50 true"), (51, "drained")]));
    }

    #[test]
    fn ticks_that_are_left_out_delay_the_sound_and_lose_none() {
        let mut source = Source::new(1);
        source.feed(&[packet(FRAME), packet(FRAME), packet(FRAME)]);
        assert_eq!(played(&mut source, 5..6), expect(&[(5, "5 true")]));
        assert_eq!(played(&mut source, 9..11), expect(&[(9, "9 true"), (10, "10 false")]));
    }

    #[test]
    fn a_full_queue_and_what_is_not_opus_are_refused() {
        let mut source = Source::new(1);
        assert_eq!(source.feed(&[packet(&[]), packet(&[0; 1500])]), 2);
        let minute: Vec<SourceItem> = (0..3000).map(|_| packet(FRAME)).collect();
        assert_eq!(source.feed(&minute), 0);
        assert_eq!(source.feed(&[packet(FRAME)]), 1, "60 s wait");
        let marks: Vec<SourceItem> = (0..3001).map(SourceItem::Mark).collect();
        assert_eq!(source.feed(&marks), 1, "6,000 items wait");
    }

    #[test]
    fn clearing_throws_away_what_waits_and_is_followed_by_drained() {
        let mut source = Source::new(1);
        source.feed(&[packet(FRAME), packet(FRAME), SourceItem::Mark(1)]);
        assert_eq!(played(&mut source, 0..1).len(), 1);
        source.clear();
        assert_eq!(played(&mut source, 1..4), expect(&[(1, "drained")]));
        source.feed(&[SourceItem::Mark(2)]);
        source.clear();
        assert_eq!(played(&mut source, 4..6), expect(&[(4, "drained")]));
    }
}
