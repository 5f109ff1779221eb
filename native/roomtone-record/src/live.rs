//! The mix of a room as an Ogg Opus stream that never ends, for players that listen by HTTP.

use std::io;

use crate::ogg_opus::{OggPages, Track};
use crate::track::{Incoming, TimeLine};

/// The longest page, 200 ms: so much a listener hears later because of it.
const PAGE_SAMPLES: u64 = 9_600;
/// Silence is made this much later than it was, because packets may still come: half a second.
const LATE: i64 = 24_000;

/// A stream for one listener.
pub struct Live {
    pages: OggPages,
    line: TimeLine,
    /// The media time of the next batch, and its place in the stream.
    next: Option<(u32, i64)>,
}

impl Live {
    /// A stream with this title.
    ///
    /// # Errors
    /// None that is known: memory takes what is written.
    pub fn new(stereo: bool, title: &str) -> io::Result<Live> {
        Ok(Live {
            pages: OggPages::new(rand::random(), 1 + u8::from(stereo), PAGE_SAMPLES, &[("TITLE", title)])?,
            line: TimeLine::default(),
            next: None,
        })
    }

    /// Appends a batch of a tap of a mix: its media time (48 kHz), its samples, and its packets with their timestamps. The whole pages
    /// that this makes, with the headers in the first. Time that was lost before it is left out, so that a listener who was behind
    /// isn't any longer.
    ///
    /// # Errors
    /// None that is known: memory takes what is written.
    pub fn append(&mut self, media_time: u32, samples: u32, packets: &[(u32, &[u8])]) -> io::Result<Vec<u8>> {
        let begin = match self.next {
            Some((next, begin)) if next == media_time => begin,
            _ => {
                self.line.restart();
                self.pages.end() as i64
            }
        };
        for (timestamp, payload) in packets {
            let incoming = Incoming {
                payload,
                timestamp: *timestamp,
                level: None,
                arrival: begin + i64::from(timestamp.wrapping_sub(media_time) as i32),
                exact: true,
            };
            self.line.place(&incoming, &mut self.pages)?;
        }
        let end = begin + i64::from(samples);
        self.next = Some((media_time.wrapping_add(samples), end));
        self.pages.fill((end - LATE).max(0) as u64)?;
        Ok(std::mem::take(self.pages.bytes()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Cursor;

    use ogg::PacketReader;
    use roomtone_audio::packet;

    use super::*;

    const FRAME: [u8; 3] = [0xf8, 0xff, 0xfe];

    /// The packets of sound, and the position that the last page gives.
    fn read(bytes: Vec<u8>) -> (Vec<Vec<u8>>, u64) {
        let (mut reader, mut packets, mut position) = (PacketReader::new(Cursor::new(bytes)), Vec::new(), 0);
        while let Some(packet) = reader.read_packet().unwrap() {
            position = packet.absgp_page();
            packets.push(packet.data);
        }
        assert!(packets[0].starts_with(b"OpusHead") && packets[1].starts_with(b"OpusTags"));
        let samples: u64 = packets[2..]
            .iter()
            .map(|data| u64::from(packet::parse(data).unwrap().samples))
            .sum();
        assert_eq!(samples, position, "positions count the samples");
        (packets.split_off(2), position)
    }

    #[test]
    fn packets_and_pauses_keep_their_time_across_a_wrap() {
        let (mut live, mut bytes) = (Live::new(false, "lobby").unwrap(), Vec::new());
        let start = u32::MAX - 48_000;
        for batch in 0..50u32 {
            let at = start.wrapping_add(batch * 9_600);
            let packets: Vec<(u32, &[u8])> = (0..10)
                .filter(|_| !(10..40).contains(&batch))
                .map(|n| (at.wrapping_add(n * 960), FRAME.as_slice()))
                .collect();
            bytes.extend(live.append(at, 9_600, &packets).unwrap());
        }
        let (packets, position) = read(bytes);
        assert!(packets.len() > 400);
        let seconds = position as f64 / 48_000.0;
        assert!((9.8..10.1).contains(&seconds), "{seconds} s of ten");
    }

    #[test]
    fn silence_goes_on_and_lost_time_is_left_out() {
        let (mut live, mut bytes) = (Live::new(true, "lobby").unwrap(), Vec::new());
        for batch in [0, 1, 2, 3, 4, 5, 100, 101, 102, 103, 104] {
            bytes.extend(live.append(batch * 9_600, 9_600, &[]).unwrap());
        }
        let (_, position) = read(bytes);
        let seconds = position as f64 / 48_000.0;
        assert!((1.0..2.3).contains(&seconds), "{seconds} s");
    }
}
