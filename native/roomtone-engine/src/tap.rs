//! Sound out of a room, for a program: the queue between a tap and its consumer.
//!
//! The room fills batches of packets, in [`TapWriter`]; the consumer takes them from the [`Tap`], on any thread. Neither waits for the other. The
//! batches of a tap are made when it is made and go round, so that writing allocates nothing once they have grown, and memory is bounded.
//! When the consumer is behind, the oldest batch is lost, and the gap in [`TapBatch::number`] shows it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use roomtone_audio::{FRAME_DURATION, FRAME_SAMPLES};
use serde::{Deserialize, Serialize};

use crate::command::PeerId;

/// The sound that waits for a consumer who is behind, unless it asks for more: 2 s.
const MOST_WAITING: Duration = Duration::from_secs(2);
/// The fewest batches that may wait.
const LEAST_QUEUE: usize = 4;
/// The most packets of a batch, and the most bytes: what doesn't fit is counted and lost. Twenty talkers at 128 kbit/s for half a second.
const MOST_PACKETS: usize = 2_000;
const MOST_BYTES: usize = 256 * 1024;

/// The sound that a tap takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TapSound {
    /// The mix for a listener with these gains, in rooms that mix.
    Mix {
        /// The gain of everybody who has none of their own, linear, 0…10.
        default_gain: f32,
        /// Participants with a gain of their own.
        gains: Vec<(PeerId, f32)>,
        /// Whether it is stereo, in a room that is.
        stereo: bool,
    },
    /// The packets of each talker, as they came. Of those who are muted nothing comes.
    Talkers {
        /// Only of these; `None`: of all.
        only: Option<Vec<PeerId>>,
    },
}

/// A packet in a [`TapBatch`].
#[derive(Clone, Copy, Debug)]
pub struct TapPacket {
    /// The talker; `None` for a mix.
    pub talker: Option<PeerId>,
    /// RTP sequence number and timestamp (48 kHz): a mix has a time line of its own, a talker's packets have the talker's.
    pub sequence: u16,
    /// See `sequence`.
    pub timestamp: u32,
    /// Whether it is the first after a pause.
    pub marker: bool,
    /// Its level in −dBov (RFC 6464: 0 loudest, 127 silence), if it is known.
    pub level: Option<u8>,
    /// When it came from the talker, or was mixed.
    pub arrival: Instant,
    begin: u32,
    end: u32,
}

/// The sound of some ticks. Silence has no packets.
#[derive(Debug)]
pub struct TapBatch {
    /// Counts the batches of a tap from 0; those that are missing were lost.
    pub number: u64,
    /// The time of the first tick.
    pub began: Instant,
    /// The room's media time (48 kHz) at the first tick.
    pub media_time: u32,
    /// The number of ticks of 20 ms, those that the room left out included.
    pub ticks: u32,
    /// Packets that didn't fit.
    pub dropped: u32,
    /// Those who counted as speaking during the batch, of those who can be heard on the tap.
    pub speaking: Vec<PeerId>,
    /// The packets, in the order in which they came.
    pub packets: Vec<TapPacket>,
    bytes: Vec<u8>,
}

impl TapBatch {
    fn new(now: Instant) -> TapBatch {
        TapBatch {
            number: 0,
            began: now,
            media_time: 0,
            ticks: 0,
            dropped: 0,
            speaking: Vec::new(),
            packets: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// The Opus packet (RFC 6716).
    pub fn payload(&self, packet: &TapPacket) -> &[u8] {
        self.bytes
            .get(packet.begin as usize..packet.end as usize)
            .unwrap_or_default()
    }

    fn begin(&mut self, number: u64, began: Instant, media_time: u32) {
        self.number = number;
        self.began = began;
        self.media_time = media_time;
        self.ticks = 0;
        self.dropped = 0;
        self.speaking.clear();
        self.packets.clear();
        self.bytes.clear();
    }
}

/// A tap's queue: the consumer's end, and what a command brings to the room.
#[derive(Clone)]
pub struct Tap(Arc<Shared>);

struct Shared {
    ticks: u32,
    full: (Sender<TapBatch>, Receiver<TapBatch>),
    spare: (Sender<TapBatch>, Receiver<TapBatch>),
    /// Whether the consumer looks by itself.
    polled: bool,
    /// Whether the consumer wants to hear of the next batch.
    armed: AtomicBool,
}

impl Tap {
    /// A queue of batches of this length, 20 to 500 ms; it is rounded to whole ticks of 20 ms. `now` is any time in the past.
    pub fn new(now: Instant, batch: Duration) -> Tap {
        Tap::with_waiting(now, batch, MOST_WAITING)
    }

    /// As [`Tap::new`], with so much sound that waits for a consumer who is behind, at most 60 s.
    pub fn with_waiting(now: Instant, batch: Duration, waiting: Duration) -> Tap {
        Tap::made(now, batch, waiting, false)
    }

    /// As [`Tap::with_waiting`], for a consumer who looks from time to time: no [`Event::TapReady`](crate::Event::TapReady) tells of a
    /// batch.
    pub fn polled(now: Instant, batch: Duration, waiting: Duration) -> Tap {
        Tap::made(now, batch, waiting, true)
    }

    fn made(now: Instant, batch: Duration, waiting: Duration, polled: bool) -> Tap {
        let ticks = (batch.as_millis() / FRAME_DURATION.as_millis()).clamp(1, 25) as u32;
        let waiting = waiting.min(Duration::from_secs(60));
        let waiting = (waiting.as_millis() / (FRAME_DURATION.as_millis() * u128::from(ticks))) as usize;
        let waiting = waiting.max(LEAST_QUEUE);
        let shared = Shared {
            ticks,
            full: bounded(waiting),
            // And one that the writer fills, and one that the consumer reads.
            spare: bounded(waiting + 2),
            polled,
            armed: AtomicBool::new(!polled),
        };
        for _ in 0..waiting + 2 {
            let _ = shared.spare.0.try_send(TapBatch::new(now));
        }
        Tap(Arc::new(shared))
    }

    /// The ticks of 20 ms in a batch.
    pub fn ticks(&self) -> u32 {
        self.0.ticks
    }

    /// The oldest batch that waits. If there is none, the room sends [`Event::TapReady`](crate::Event::TapReady) with the next one, once,
    /// unless the tap is [polled](Tap::polled).
    pub fn take(&self) -> Option<TapBatch> {
        let full = &self.0.full.1;
        full.try_recv().ok().or_else(|| {
            if self.0.polled {
                return None;
            }
            self.0.armed.store(true, Ordering::SeqCst);
            // One that came in between might not have been told of.
            let batch = full.try_recv().ok()?;
            self.0.armed.store(false, Ordering::SeqCst);
            Some(batch)
        })
    }

    /// Gives a batch back to be filled anew.
    pub fn give_back(&self, batch: TapBatch) {
        let _ = self.0.spare.0.try_send(batch);
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap")
            .field("ticks", &self.0.ticks)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Tap {
    fn eq(&self, other: &Tap) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A packet as the room writes it.
#[derive(Clone, Copy)]
pub(crate) struct Written<'a> {
    pub(crate) talker: Option<PeerId>,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) level: Option<u8>,
    pub(crate) payload: &'a [u8],
}

/// The room's end of a tap.
pub(crate) struct TapWriter {
    tap: Tap,
    /// The batch that is being filled; `None` until the first tick.
    batch: Option<TapBatch>,
    number: u64,
    /// Ticks without a batch to fill, because the consumer gives none back.
    without: u32,
}

impl TapWriter {
    pub(crate) fn new(tap: Tap) -> TapWriter {
        TapWriter {
            tap,
            batch: None,
            number: 0,
            without: 0,
        }
    }

    /// Takes a packet. Before the first tick there is no batch for it.
    pub(crate) fn write(&mut self, now: Instant, packet: &Written<'_>) {
        let Some(batch) = &mut self.batch else { return };
        let (begin, end) = (batch.bytes.len(), batch.bytes.len() + packet.payload.len());
        if batch.packets.len() >= MOST_PACKETS || end > MOST_BYTES {
            batch.dropped += 1;
            return;
        }
        batch.bytes.extend_from_slice(packet.payload);
        batch.packets.push(TapPacket {
            talker: packet.talker,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            level: packet.level,
            arrival: now,
            begin: begin as u32,
            end: end as u32,
        });
    }

    /// The tick of this media time is done; `since`: the ticks that have passed since the last one, itself included. Whether the consumer
    /// wants to hear that a batch is ready.
    pub(crate) fn tick(
        &mut self,
        at: Instant,
        media_time: u32,
        since: u32,
        speaking: impl Iterator<Item = PeerId>,
    ) -> bool {
        let mut told = false;
        if let Some(batch) = &mut self.batch {
            for peer in speaking {
                if !batch.speaking.contains(&peer) {
                    batch.speaking.push(peer);
                }
            }
            batch.ticks += since;
            if batch.ticks >= self.tap.0.ticks {
                told = self.finish();
            }
        }
        if self.batch.is_none() {
            self.batch = self.empty();
            if let Some(batch) = &mut self.batch {
                batch.begin(
                    self.number,
                    at + FRAME_DURATION,
                    media_time.wrapping_add(FRAME_SAMPLES as u32),
                );
                self.number += 1;
                self.without = 0;
            } else {
                self.without += since;
                self.number += u64::from(self.without / self.tap.0.ticks);
                self.without %= self.tap.0.ticks;
            }
        }
        told
    }

    // The batch goes to the consumer; a full queue loses its oldest.
    fn finish(&mut self) -> bool {
        let shared = &self.tap.0;
        if let Some(mut batch) = self.batch.take() {
            while let Err(refused) = shared.full.0.try_send(batch) {
                batch = refused.into_inner();
                match shared.full.1.try_recv() {
                    Ok(oldest) => self.tap.give_back(oldest),
                    // The consumer has just taken it.
                    Err(_) => continue,
                }
            }
        }
        shared.armed.swap(false, Ordering::SeqCst)
    }

    // A spare batch, or the oldest that waits. The consumer may keep all of them: then there is none.
    fn empty(&self) -> Option<TapBatch> {
        let shared = &self.tap.0;
        shared.spare.1.try_recv().or_else(|_| shared.full.1.try_recv()).ok()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    const FRAME: u32 = 960;

    fn packet(sequence: u16) -> Written<'static> {
        Written {
            talker: None,
            sequence,
            timestamp: u32::from(sequence) * FRAME,
            marker: false,
            level: Some(30),
            payload: &[31 << 3, 0],
        }
    }

    /// Ticks with a packet each; how often the consumer is told.
    fn ticks(writer: &mut TapWriter, begun: Instant, range: std::ops::Range<u32>) -> usize {
        let mut told = 0;
        for n in range {
            writer.write(begun, &packet(n as u16));
            told += usize::from(writer.tick(begun + FRAME_DURATION * n, n * FRAME, 1, [7, 7].into_iter()));
        }
        told
    }

    #[test]
    fn a_batch_is_whole_ticks_and_is_told_once_to_a_consumer_who_waits() {
        let begun = Instant::now();
        let tap = Tap::new(begun, Duration::from_millis(100));
        let mut writer = TapWriter::new(tap.clone());
        // The first tick begins the first batch.
        assert_eq!(ticks(&mut writer, begun, 0..5), 0);
        assert!(tap.take().is_none());
        assert_eq!(ticks(&mut writer, begun, 5..11), 1, "two batches, told of once");
        for number in 0..2u64 {
            let batch = tap.take().expect("a batch");
            let first = 1 + number as u32 * 5;
            assert_eq!(
                (batch.number, batch.ticks, batch.media_time),
                (number, 5, first * FRAME)
            );
            assert_eq!(batch.began, begun + FRAME_DURATION * first);
            assert_eq!(batch.speaking, [7]);
            let sequences: Vec<u16> = batch.packets.iter().map(|packet| packet.sequence).collect();
            assert_eq!(sequences, (first as u16..first as u16 + 5).collect::<Vec<_>>());
            assert!(batch.packets.iter().all(|packet| batch.payload(packet) == [31 << 3, 0]));
            tap.give_back(batch);
        }
        assert!(tap.take().is_none());
        assert_eq!(ticks(&mut writer, begun, 11..16), 1);
    }

    #[test]
    fn a_consumer_who_looks_by_itself_is_not_told() {
        let begun = Instant::now();
        let tap = Tap::polled(begun, Duration::from_millis(100), Duration::from_secs(2));
        let mut writer = TapWriter::new(tap.clone());
        assert_eq!(ticks(&mut writer, begun, 0..6), 0);
        assert!(tap.take().is_some() && tap.take().is_none());
        assert_eq!(ticks(&mut writer, begun, 6..11), 0);
        assert_eq!(tap.take().map(|batch| batch.number), Some(1));
    }

    #[test]
    fn a_consumer_who_is_behind_loses_the_oldest_and_sees_how_many() {
        let begun = Instant::now();
        let tap = Tap::new(begun, Duration::from_millis(500));
        let mut writer = TapWriter::new(tap.clone());
        ticks(&mut writer, begun, 0..251);
        let first = tap.take().expect("a batch");
        assert_eq!(first.number, 6, "ten are full, four are kept");
        // A consumer who gives nothing back costs no more than what there is.
        let kept: Vec<TapBatch> = std::iter::from_fn(|| tap.take()).collect();
        assert_eq!(kept.len(), 3);
        ticks(&mut writer, begun, 251..1000);
        let more: Vec<u64> = std::iter::from_fn(|| tap.take()).map(|batch| batch.number).collect();
        assert!(more.len() <= 2 && more.iter().all(|number| *number > 9), "{more:?}");
    }

    #[test]
    fn what_does_not_fit_into_a_batch_is_counted() {
        let begun = Instant::now();
        let tap = Tap::new(begun, Duration::from_millis(20));
        let mut writer = TapWriter::new(tap.clone());
        ticks(&mut writer, begun, 0..1);
        for n in 0..2999 {
            writer.write(begun, &packet(n));
        }
        ticks(&mut writer, begun, 1..2);
        let batch = tap.take().expect("a batch");
        assert_eq!((batch.packets.len(), batch.dropped), (MOST_PACKETS, 1000));
    }
}
