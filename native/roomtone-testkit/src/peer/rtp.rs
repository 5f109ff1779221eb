//! RTP packets (RFC 3550) with the level extension (RFC 6464), and the statistics of a received stream.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Audio, Level, StreamStats};

const CLOCK_RATE: u32 = 48_000;
const ONE_BYTE_EXTENSIONS: u16 = 0xBEDE;

pub(super) struct Outgoing<'a> {
    pub payload_type: u8,
    pub marker: bool,
    pub seq: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub level: Option<(u8, Level)>,
    pub payload: &'a [u8],
}

/// Writes a plain RTP packet into `out`, which is emptied first.
pub(super) fn write(packet: &Outgoing<'_>, out: &mut Vec<u8>) {
    out.clear();
    out.push(0x80 | if packet.level.is_some() { 0x10 } else { 0 });
    out.push((u8::from(packet.marker) << 7) | (packet.payload_type & 0x7f));
    out.extend_from_slice(&packet.seq.to_be_bytes());
    out.extend_from_slice(&packet.timestamp.to_be_bytes());
    out.extend_from_slice(&packet.ssrc.to_be_bytes());
    if let Some((id, level)) = packet.level {
        out.extend_from_slice(&ONE_BYTE_EXTENSIONS.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        // One element of one byte (length field 0), padded to the word.
        out.extend_from_slice(&[id << 4, (u8::from(level.voice) << 7) | level.minus_dbov.min(127), 0, 0]);
    }
    out.extend_from_slice(packet.payload);
}

/// Takes a plain RTP packet apart; `None` if it isn't one.
pub(super) fn read(packet: &Bytes, level_ext_id: Option<u8>) -> Option<Audio> {
    let fixed = packet.get(..12)?;
    if fixed[0] >> 6 != 2 {
        return None;
    }
    let mut start = 12 + 4 * usize::from(fixed[0] & 0x0f);
    let csrc = packet
        .get(12..start)?
        .first_chunk()
        .map(|first| u32::from_be_bytes(*first));
    let mut end = packet.len();
    let mut level = None;
    if fixed[0] & 0x10 != 0 {
        let head = packet.get(start..start + 4)?;
        let profile = u16::from_be_bytes([head[0], head[1]]);
        let length = 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
        let body = packet.get(start + 4..start + 4 + length)?;
        if profile == ONE_BYTE_EXTENSIONS {
            level = level_ext_id.and_then(|id| find_level(body, id));
        }
        start += 4 + length;
    }
    if fixed[0] & 0x20 != 0 {
        let padding = usize::from(*packet.last()?);
        if padding == 0 {
            return None;
        }
        end = end.checked_sub(padding)?;
    }
    if start > end {
        return None;
    }
    Some(Audio {
        seq: u16::from_be_bytes([fixed[2], fixed[3]]),
        timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
        marker: fixed[1] & 0x80 != 0,
        ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        csrc,
        payload_type: fixed[1] & 0x7f,
        level,
        payload: packet.slice(start..end),
    })
}

fn find_level(mut body: &[u8], wanted: u8) -> Option<Level> {
    while let Some(&head) = body.first() {
        if head == 0 {
            body = &body[1..];
            continue;
        }
        let (id, length) = (head >> 4, usize::from(head & 0x0f) + 1);
        if id == 15 {
            return None;
        }
        let value = body.get(1..1 + length)?;
        if id == wanted {
            return Some(Level {
                minus_dbov: value[0] & 0x7f,
                voice: value[0] & 0x80 != 0,
            });
        }
        body = &body[1 + length..];
    }
    None
}

/// Reception of one source: RFC 3550 appendix A.1, A.3 and A.8 without the probation of new sources, since only
/// authenticated packets get here.
pub(super) struct Stream {
    stats: StreamStats,
    base: i64,
    highest: i64,
    first: (Instant, u32),
    transit: Option<i64>,
    jitter: f64,
    expected_prior: i64,
    received_prior: u64,
    /// Middle 32 bits of the newest sender report's NTP time, and when it came.
    pub sender_report: Option<(u32, Instant)>,
}

/// The fields of a reception report block that come from counting.
pub(super) struct Block {
    pub ssrc: u32,
    pub fraction_lost: u8,
    pub cumulative_lost: u32,
    pub highest_seq: u32,
    pub jitter: u32,
}

impl Stream {
    pub fn new(now: Instant, packet: &Audio) -> Stream {
        let seq = i64::from(packet.seq);
        Stream {
            stats: StreamStats {
                ssrc: packet.ssrc,
                first_seq: packet.seq,
                ..StreamStats::default()
            },
            base: seq,
            highest: seq - 1,
            first: (now, packet.timestamp),
            transit: None,
            jitter: 0.0,
            expected_prior: 0,
            received_prior: 0,
            sender_report: None,
        }
    }

    pub fn ssrc(&self) -> u32 {
        self.stats.ssrc
    }

    pub fn received(&mut self, now: Instant, packet: &Audio) {
        self.stats.received += 1;
        let ahead = i64::from(packet.seq.wrapping_sub(self.highest as u16) as i16);
        if ahead > 0 {
            self.stats.seq_gaps += u64::from(ahead > 1);
            self.highest += ahead;
        } else {
            self.stats.duplicates_or_late += 1;
            self.base = self.base.min(self.highest + ahead);
        }
        let arrival = now.saturating_duration_since(self.first.0).as_secs_f64() * f64::from(CLOCK_RATE);
        // Relative to the first packet, so that a wrap-around of the timestamp is harmless.
        let transit = arrival as i64 - i64::from(packet.timestamp.wrapping_sub(self.first.1) as i32);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit - before).abs() as f64;
            // A pause (DTX) isn't jitter of the network; RFC 3550 takes it as it comes, and so does every receiver.
            self.jitter += (difference - self.jitter) / 16.0;
        }
    }

    fn expected(&self) -> i64 {
        self.highest - self.base + 1
    }

    pub fn stats(&self) -> StreamStats {
        StreamStats {
            lost: self.expected() - self.stats.received as i64,
            highest_seq: self.highest as u32,
            jitter: Duration::from_secs_f64(self.jitter / f64::from(CLOCK_RATE)),
            ..self.stats.clone()
        }
    }

    /// The report block since the one before.
    pub fn report(&mut self) -> Block {
        let expected = self.expected() - self.expected_prior;
        let received = self.stats.received - self.received_prior;
        self.expected_prior = self.expected();
        self.received_prior = self.stats.received;
        let lost = expected - received as i64;
        Block {
            ssrc: self.stats.ssrc,
            fraction_lost: if expected > 0 && lost > 0 {
                ((lost * 256) / expected).min(255) as u8
            } else {
                0
            },
            cumulative_lost: (self.expected() - self.stats.received as i64).clamp(0, 0x7f_ffff) as u32,
            highest_seq: self.highest as u32,
            jitter: self.jitter as u32,
        }
    }
}

/// Counts the packets that are missing, for who receives by other means than a [`ClientPeer`](super::ClientPeer).
#[derive(Default)]
pub struct TrackLoss(Vec<Stream>);

impl TrackLoss {
    /// A packet came.
    pub fn received(&mut self, now: Instant, packet: &Audio) {
        if !self.0.iter().any(|stream| stream.ssrc() == packet.ssrc) {
            self.0.push(Stream::new(now, packet));
        }
        if let Some(stream) = self.0.iter_mut().find(|stream| stream.ssrc() == packet.ssrc) {
            stream.received(now, packet);
        }
    }

    /// Packets expected less packets received, of all sources.
    pub fn lost(&self) -> i64 {
        self.0.iter().map(|stream| stream.stats().lost).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audio(seq: u16, timestamp: u32) -> Audio {
        Audio {
            seq,
            timestamp,
            marker: false,
            ssrc: 7,
            csrc: None,
            payload_type: 111,
            level: None,
            payload: Bytes::new(),
        }
    }

    #[test]
    fn writes_what_it_reads() {
        let mut out = Vec::new();
        for level in [
            None,
            Some(Level {
                minus_dbov: 30,
                voice: true,
            }),
            Some(Level {
                minus_dbov: 127,
                voice: false,
            }),
        ] {
            let packet = Outgoing {
                payload_type: 111,
                marker: true,
                seq: 65_535,
                timestamp: u32::MAX,
                ssrc: 9,
                level: level.map(|level| (14, level)),
                payload: b"opus",
            };
            write(&packet, &mut out);
            let back = read(&Bytes::copy_from_slice(&out), Some(14)).unwrap();
            assert_eq!(
                (back.seq, back.timestamp, back.ssrc, back.marker),
                (65_535, u32::MAX, 9, true)
            );
            assert_eq!(back.level, level);
            assert_eq!(&back.payload[..], b"opus");
            for cut in 0..out.len() {
                let _ = read(&Bytes::copy_from_slice(&out[..cut]), Some(14));
            }
        }
    }

    #[test]
    fn counts_across_the_wrap_around() {
        let now = Instant::now();
        let mut stream = Stream::new(now, &audio(65_533, 0));
        // 65533 65534 (65535 lost) 0 2 1 2
        for (i, seq) in [65_533u16, 65_534, 0, 2, 1, 2].into_iter().enumerate() {
            stream.received(now + Duration::from_millis(20 * i as u64), &audio(seq, 960 * i as u32));
        }
        let stats = stream.stats();
        assert_eq!(stats.received, 6);
        assert_eq!(stats.highest_seq, 65_536 + 2);
        assert_eq!(stats.duplicates_or_late, 2);
        assert_eq!(stats.seq_gaps, 2);
        // Six numbers expected, six packets came, one of them twice: RFC 3550 can't tell.
        assert_eq!(stats.lost, 0);
        assert_eq!(stats.jitter, Duration::ZERO);
    }

    #[test]
    fn fraction_lost_is_of_the_interval() {
        let now = Instant::now();
        let mut stream = Stream::new(now, &audio(0, 0));
        (0..10u16).for_each(|seq| stream.received(now, &audio(seq, 0)));
        assert_eq!(stream.report().fraction_lost, 0);
        (10..20u16)
            .filter(|seq| seq % 2 == 1)
            .for_each(|seq| stream.received(now, &audio(seq, 0)));
        let block = stream.report();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (128, 5));
    }
}
