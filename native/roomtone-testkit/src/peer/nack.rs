//! Lost packets that are asked for once more (generic NACK, RFC 4585 section 6.2.1): by us, and of us.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Packets of ours that are kept.
const KEPT: usize = 64;
/// More in a row are no loss.
const MAX_IN_A_ROW: u16 = 16;
/// A packet that doesn't come is asked for once more after this time.
const AGAIN: Duration = Duration::from_millis(80);
/// A packet is asked for so often.
const TIMES: u8 = 2;

/// Our last packets, as they went out.
#[derive(Default)]
pub(super) struct History(VecDeque<(u16, Bytes)>);

impl History {
    pub fn keep(&mut self, seq: u16, packet: Bytes) {
        self.0.truncate(KEPT - 1);
        self.0.push_front((seq, packet));
    }

    pub fn get(&self, seq: u16) -> Option<Bytes> {
        let kept = self.0.iter().find(|(number, _)| *number == seq);
        kept.map(|(_, packet)| packet.clone())
    }
}

struct Wanted {
    ssrc: u32,
    seq: u16,
    asked: Option<Instant>,
    times: u8,
}

/// The packets that we miss.
#[derive(Default)]
pub(super) struct Missing(Vec<Wanted>);

impl Missing {
    /// A packet came, and so many before it didn't.
    pub fn came(&mut self, ssrc: u32, seq: u16, gap: u16) {
        let is_over = |wanted: &Wanted| wanted.seq == seq || seq.wrapping_sub(wanted.seq).wrapping_add(64) > 128;
        self.0.retain(|wanted| wanted.ssrc == ssrc && !is_over(wanted));
        if gap <= MAX_IN_A_ROW {
            self.0.extend((1..=gap).rev().map(|back| Wanted {
                ssrc,
                seq: seq.wrapping_sub(back),
                asked: None,
                times: 0,
            }));
        }
    }

    /// The packets to ask for now.
    pub fn due(&mut self, now: Instant) -> Vec<u16> {
        self.0.retain(|wanted| wanted.times < TIMES);
        let due = |wanted: &&mut Wanted| wanted.asked.is_none_or(|at| now >= at + AGAIN);
        let due = self.0.iter_mut().filter(due).map(|wanted| {
            wanted.asked = Some(now);
            wanted.times += 1;
            wanted.seq
        });
        due.collect()
    }
}
