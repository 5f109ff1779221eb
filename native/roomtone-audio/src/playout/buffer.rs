//! The packets of one talker that wait to be played, in the order of their time.
//!
//! Sequence numbers (16 bits) and timestamps (32 bits) are unwrapped against the newest packet, so
//! only this file knows that they wrap.

use super::{InsertOutcome, RtpMeta};
use crate::{AudioLevel, codec::packet::PacketInfo};
use std::collections::VecDeque;

/// A larger step forward in sequence numbers is another stream, not loss (RFC 3550 A.1,
/// MAX_DROPOUT).
const MAX_DROPOUT: i16 = 3000;
/// A larger step back in sequence numbers is another stream, not reordering (MAX_MISORDER); also
/// the length of the history.
const MAX_MISORDER: i16 = 127;
/// The most payload bytes that may wait: 200 ms at Opus' highest rate need 13 kB.
const MAX_BYTES: usize = 64 * 1024;
/// Payload memory is allocated in multiples of this.
const GRANULE: usize = 256;
/// The most bytes of spare payload buffers kept for reuse.
const MAX_SPARE_BYTES: usize = 16 * 1024;

/// A waiting packet.
#[derive(Debug)]
pub(super) struct BufferedPacket {
    /// Unwrapped sequence number.
    pub seq: i64,
    /// Unwrapped timestamp of its first sample.
    pub ts: i64,
    /// Its duration, in samples.
    pub samples: i64,
    /// Samples of one of its Opus frames.
    pub frame_samples: i64,
    /// Its arrival, in samples of our clock.
    pub arrival: i64,
    pub level: Option<AudioLevel>,
    /// First packet after a pause (RFC 3551 §4.1).
    pub marker: bool,
    pub is_dtx: bool,
    pub has_fec: bool,
    /// It was lost, and a later packet carried it.
    pub restored: bool,
    pub payload: Vec<u8>,
}

impl BufferedPacket {
    /// Timestamp right behind it.
    pub fn end(&self) -> i64 {
        self.ts + self.samples
    }
}

#[derive(Debug, Clone, Copy)]
struct Newest {
    seq: i64,
    ts: i64,
}

#[derive(Debug)]
pub(super) struct PacketBuffer {
    packets: VecDeque<BufferedPacket>,
    bytes: usize,
    max_packets: usize,
    spare: Vec<Vec<u8>>,
    spare_bytes: usize,
    newest: Option<Newest>,
    /// Bit k: the packet k before the newest has arrived.
    history: u128,
    /// The sequence number that would prove a jump of the stream.
    expected_after_jump: Option<u16>,
}

impl PacketBuffer {
    pub fn new(max_packets: usize) -> Self {
        Self {
            packets: VecDeque::new(),
            bytes: 0,
            max_packets,
            spare: Vec::new(),
            spare_bytes: 0,
            newest: None,
            history: 0,
            expected_after_jump: None,
        }
    }

    /// Inserts a packet in order. `played_end`: the timestamp up to which the stream has been
    /// played. Returns the outcome and, unless the packet was refused, its unwrapped timestamp.
    pub fn insert(
        &mut self,
        meta: &RtpMeta,
        info: &PacketInfo,
        arrival: i64,
        payload: &[u8],
        played_end: Option<i64>,
    ) -> (InsertOutcome, Option<i64>) {
        let Some(newest) = self.newest else {
            return self.restart(meta, info, arrival, payload, InsertOutcome::Queued);
        };
        let seq_step = meta.seq.wrapping_sub(newest.seq as u16) as i16;
        let ts_step = meta.timestamp.wrapping_sub(newest.ts as u32) as i32;
        let (seq, ts) = (newest.seq + i64::from(seq_step), newest.ts + i64::from(ts_step));
        if (-MAX_MISORDER..=0).contains(&seq_step) && self.history >> -seq_step & 1 == 1 {
            return (InsertOutcome::Duplicate, None);
        }
        // Later packets have later timestamps, otherwise it is another stream under the same SSRC.
        let ordered = if seq_step > 0 { ts_step > 0 } else { ts_step < 0 };
        if !(-MAX_MISORDER..=MAX_DROPOUT).contains(&seq_step) || !ordered {
            // One such packet may be a stray; two in a row are a new stream (RFC 3550 A.1).
            let proven = self.expected_after_jump == Some(meta.seq);
            self.expected_after_jump = Some(meta.seq.wrapping_add(1));
            if !proven {
                return (InsertOutcome::Invalid, None);
            }
            return self.restart(meta, info, arrival, payload, InsertOutcome::Reset);
        }
        self.expected_after_jump = None;
        if seq_step > 0 {
            self.history = self.history.checked_shl(seq_step.unsigned_abs().into()).unwrap_or(0) | 1;
            self.newest = Some(Newest { seq, ts });
        } else {
            self.history |= 1 << -seq_step;
        }
        if played_end.is_some_and(|end| ts + i64::from(info.samples) <= end) {
            return (InsertOutcome::Late, Some(ts));
        }
        (self.enqueue(seq, ts, meta, info, arrival, payload), Some(ts))
    }

    fn restart(
        &mut self,
        meta: &RtpMeta,
        info: &PacketInfo,
        arrival: i64,
        payload: &[u8],
        outcome: InsertOutcome,
    ) -> (InsertOutcome, Option<i64>) {
        while let Some(packet) = self.take_front() {
            self.recycle(packet.payload);
        }
        let (seq, ts) = (i64::from(meta.seq), i64::from(meta.timestamp));
        self.newest = Some(Newest { seq, ts });
        self.history = 1;
        self.expected_after_jump = None;
        self.enqueue(seq, ts, meta, info, arrival, payload);
        (outcome, Some(ts))
    }

    fn enqueue(
        &mut self,
        seq: i64,
        ts: i64,
        meta: &RtpMeta,
        info: &PacketInfo,
        arrival: i64,
        payload: &[u8],
    ) -> InsertOutcome {
        let mut own = self.spare.pop().unwrap_or_default();
        self.spare_bytes -= own.capacity();
        own.clear();
        // In coarse steps, so that packets of varying sizes soon fit each other's memory.
        own.reserve_exact(payload.len().next_multiple_of(GRANULE));
        own.extend_from_slice(payload);
        self.bytes += own.len();
        let at = self
            .packets
            .iter()
            .rposition(|packet| packet.ts < ts)
            .map_or(0, |before| before + 1);
        let packet = BufferedPacket {
            seq,
            ts,
            samples: i64::from(info.samples),
            frame_samples: i64::from(info.frame_samples),
            arrival,
            level: meta.level,
            marker: meta.marker,
            is_dtx: info.is_dtx,
            has_fec: info.has_fec,
            restored: false,
            payload: own,
        };
        self.packets.insert(at, packet);
        let mut outcome = InsertOutcome::Queued;
        while self.packets.len() > self.max_packets || self.bytes > MAX_BYTES {
            if let Some(oldest) = self.take_front() {
                self.recycle(oldest.payload);
            }
            outcome = InsertOutcome::Overflow;
        }
        outcome
    }

    /// The packet at `ts`, if it waits, came inside a later one.
    pub fn mark_restored(&mut self, ts: i64) {
        if let Some(packet) = self.packets.iter_mut().find(|packet| packet.ts == ts) {
            packet.restored = true;
        }
    }

    pub fn front(&self) -> Option<&BufferedPacket> {
        self.packets.front()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &BufferedPacket> + ExactSizeIterator {
        self.packets.iter()
    }

    pub fn get(&self, index: usize) -> Option<&BufferedPacket> {
        self.packets.get(index)
    }

    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    pub fn take_front(&mut self) -> Option<BufferedPacket> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.payload.len();
        Some(packet)
    }

    /// Takes a payload's memory for reuse by the next packet.
    pub fn recycle(&mut self, payload: Vec<u8>) {
        if payload.capacity() > 0 && self.spare_bytes + payload.capacity() <= MAX_SPARE_BYTES {
            self.spare_bytes += payload.capacity();
            self.spare.push(payload);
        }
    }

    /// The length of continuous sound from `from` on, in samples.
    pub fn contiguous_from(&self, from: i64) -> i64 {
        let mut end = from;
        for packet in &self.packets {
            if packet.ts > end {
                break;
            }
            end = end.max(packet.end());
        }
        end - from
    }
}
