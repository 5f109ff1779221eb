//! Ogg Opus (RFC 7845).

use std::io::{ErrorKind, Read, Seek};

use ogg::reading::OggReadError;
use ogg::{Packet as OggPacket, PacketReader};
use roomtone_audio::{Decoder, MAX_PACKET_BYTES, SAMPLE_RATE, packet};

use crate::budget::Budget;
use crate::{FileError, Packet, Part};

/// The most bytes between two packets of sound: comments, with a picture in them, come before the first.
const MOST_BETWEEN: u64 = 16 << 20;
/// Packets of other streams, and packets that can't be played, one after the other.
const MOST_OTHERS: u32 = 1_000;
const PART_SAMPLES: u32 = SAMPLE_RATE;

/// Whether a file that begins so is Ogg Opus: its first page has one segment, which is the header (RFC 7845 §3).
pub(crate) fn is_opus(head: &[u8]) -> bool {
    head.starts_with(b"OggS") && head.get(28..36) == Some(b"OpusHead".as_slice())
}

/// A file: a stream, or chained streams, one after the other.
pub(crate) struct OpusFile<R: Read + Seek> {
    pages: PacketReader<Budget<R>>,
    stream: Stream,
    /// There if the stream asks for another gain: then its packets can't be taken as they are.
    decoder: Option<Decoder>,
    ended: bool,
}

/// The stream that is being played.
struct Stream {
    serial: u32,
    /// Samples that are still to be left out at its beginning.
    skip: u32,
    /// The factor for its samples.
    gain: f32,
    /// Whether the comments are still to come.
    comments: bool,
}

enum Step {
    Sound(Vec<u8>, u32),
    /// A chained stream begins.
    Stream,
    End,
}

impl<R: Read + Seek> OpusFile<R> {
    pub(crate) fn new(inner: R) -> Result<OpusFile<R>, FileError> {
        let mut pages = PacketReader::new(Budget::new(inner, MOST_BETWEEN));
        let first = pages.read_packet().map_err(broken)?;
        let first = first.ok_or_else(|| FileError::Broken("it is empty".to_owned()))?;
        let stream = Stream::new(&first)?;
        let decoder = decoder_of(&stream)?;
        Ok(OpusFile {
            pages,
            stream,
            decoder,
            ended: false,
        })
    }

    pub(crate) fn next_part(&mut self) -> Result<Option<Part>, FileError> {
        let (mut packets, mut pcm, mut samples) = (Vec::new(), Vec::new(), 0);
        while samples < PART_SAMPLES {
            match self.step()? {
                Step::End => break,
                // A part is of one stream.
                Step::Stream if samples > 0 => break,
                Step::Stream => {}
                Step::Sound(data, length) => {
                    samples += length;
                    let Some(decoder) = &mut self.decoder else {
                        packets.push(Packet { data, samples: length });
                        continue;
                    };
                    let begin = pcm.len();
                    decoder.decode(&data, &mut pcm)?;
                    for sample in &mut pcm[begin..] {
                        *sample *= self.stream.gain;
                    }
                }
            }
        }
        Ok(match (packets.is_empty(), pcm.is_empty()) {
            (false, _) => Some(Part::Packets(packets)),
            (_, false) => Some(Part::Pcm(pcm)),
            _ => None,
        })
    }

    fn step(&mut self) -> Result<Step, FileError> {
        let mut others = 0;
        while !self.ended {
            let packet = match self.pages.read_packet() {
                Ok(Some(packet)) => packet,
                // Whole pages of it were played.
                Ok(None) => break,
                Err(OggReadError::ReadError(error)) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(broken(error)),
            };
            // All streams that are played at the same time begin before the comments of any.
            if packet.first_in_stream() && is_head(&packet.data) && !self.stream.comments {
                self.stream = Stream::new(&packet)?;
                self.decoder = decoder_of(&self.stream)?;
                return Ok(Step::Stream);
            }
            if packet.stream_serial() == self.stream.serial {
                self.pages.get_mut().renew();
                if let Some(samples) = self.stream.plays(&packet.data)? {
                    return Ok(Step::Sound(packet.data, samples));
                }
            }
            others += 1;
            if others > MOST_OTHERS {
                return Err(FileError::Broken("there is too much in it that isn't Opus".to_owned()));
            }
        }
        self.ended = true;
        Ok(Step::End)
    }
}

impl Stream {
    // RFC 7845 §5.1.
    fn new(packet: &OggPacket) -> Result<Stream, FileError> {
        let head = &packet.data;
        let &[
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            version,
            channels,
            skip_low,
            skip_high,
            _,
            _,
            _,
            _,
            gain_low,
            gain_high,
            family,
            ..,
        ] = head.as_slice()
        else {
            return Err(FileError::Broken("its header is too short".to_owned()));
        };
        if !is_head(head) || version > 15 || channels == 0 {
            return Err(FileError::Broken("its header isn't that of Opus".to_owned()));
        }
        // Family 0 has one stream of Opus in mono or stereo; others may have several streams.
        if family != 0 || channels > 2 {
            return Err(FileError::TooManyChannels(channels.into()));
        }
        let gain = i16::from_le_bytes([gain_low, gain_high]);
        Ok(Stream {
            serial: packet.stream_serial(),
            skip: u32::from(u16::from_le_bytes([skip_low, skip_high])),
            gain: 10f32.powf(f32::from(gain) / (20.0 * 256.0)),
            comments: true,
        })
    }

    // The samples of a packet that is to be heard.
    fn plays(&mut self, data: &[u8]) -> Result<Option<u32>, FileError> {
        if self.comments {
            self.comments = false;
            return Ok(None);
        }
        if data.len() > MAX_PACKET_BYTES {
            return Err(FileError::Broken(format!(
                "a packet of it has more than {MAX_PACKET_BYTES} bytes"
            )));
        }
        // As after a loss.
        let Ok(info) = packet::parse(data) else { return Ok(None) };
        // A packet whose end is to be heard is heard whole.
        if info.samples <= self.skip {
            self.skip -= info.samples;
            return Ok(None);
        }
        self.skip = 0;
        Ok(Some(info.samples))
    }
}

fn is_head(data: &[u8]) -> bool {
    data.starts_with(b"OpusHead")
}

fn decoder_of(stream: &Stream) -> Result<Option<Decoder>, FileError> {
    Ok(if stream.gain == 1.0 {
        None
    } else {
        Some(Decoder::new()?)
    })
}

fn broken(error: OggReadError) -> FileError {
    match error {
        OggReadError::ReadError(error) if error.kind() != ErrorKind::Other => FileError::Io(error),
        error => FileError::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ogg::PacketWriter;
    use ogg::writing::PacketWriteEndInfo;

    use super::*;

    // 20 ms of CELT, mono (RFC 6716 §3.1); the last byte tells packets apart.
    fn frame(n: u8) -> Vec<u8> {
        vec![31 << 3, n]
    }

    fn head(channels: u8, skip: u16, gain: i16, family: u8) -> Vec<u8> {
        let mut head = b"OpusHead\x01".to_vec();
        head.push(channels);
        head.extend(skip.to_le_bytes());
        head.extend(48_000u32.to_le_bytes());
        head.extend(gain.to_le_bytes());
        head.push(family);
        head
    }

    /// A stream of these packets, after its headers.
    fn stream(serial: u32, head: Vec<u8>, packets: &[Vec<u8>]) -> Vec<u8> {
        let mut writer = PacketWriter::new(Vec::new());
        let mut put = |data: Vec<u8>, kind, at| writer.write_packet(data, serial, kind, at).expect("memory takes it");
        put(head, PacketWriteEndInfo::EndPage, 0);
        put(b"OpusTags".to_vec(), PacketWriteEndInfo::EndPage, 0);
        for (n, packet) in packets.iter().enumerate() {
            let last = n + 1 == packets.len();
            let kind = match (last, n % 10 == 9) {
                (true, _) => PacketWriteEndInfo::EndStream,
                (_, true) => PacketWriteEndInfo::EndPage,
                _ => PacketWriteEndInfo::NormalPacket,
            };
            put(packet.clone(), kind, (n as u64 + 1) * 960);
        }
        writer.into_inner()
    }

    fn frames(range: std::ops::Range<u8>) -> Vec<Vec<u8>> {
        range.map(frame).collect()
    }

    fn parts(bytes: Vec<u8>) -> Result<Vec<Part>, FileError> {
        let mut file = OpusFile::new(Cursor::new(bytes))?;
        std::iter::from_fn(|| file.next_part().transpose()).collect()
    }

    fn packets(bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let parts = parts(bytes).expect("it can be read");
        let parts = parts.into_iter().map(|part| match part {
            Part::Packets(packets) => packets,
            Part::Pcm(_) => panic!("decoded"),
        });
        parts.flatten().map(|packet| packet.data).collect()
    }

    #[test]
    fn packets_come_as_they_are_a_second_at_a_time() {
        let bytes = stream(1, head(1, 312, 0, 0), &frames(0..120));
        let parts = parts(bytes.clone()).unwrap();
        let lengths: Vec<usize> = parts
            .iter()
            .map(|part| match part {
                Part::Packets(packets) => packets.len(),
                Part::Pcm(_) => 0,
            })
            .collect();
        assert_eq!(lengths, [50, 50, 20]);
        assert_eq!(packets(bytes), frames(0..120));
    }

    #[test]
    fn packets_that_are_to_be_left_out_are() {
        assert_eq!(packets(stream(1, head(2, 3_840, 0, 0), &frames(0..9))), frames(4..9));
        assert_eq!(packets(stream(1, head(2, 3_839, 0, 0), &frames(0..9))), frames(3..9));
    }

    #[test]
    fn chained_streams_follow_on_each_other() {
        let mut bytes = stream(1, head(1, 0, 0, 0), &frames(0..7));
        bytes.extend(stream(2, head(2, 960, 0, 0), &frames(7..20)));
        let expected = [frames(0..7), frames(8..20)].concat();
        assert_eq!(packets(bytes), expected);
    }

    #[test]
    fn a_gain_is_applied_to_samples() {
        use roomtone_testkit::fixtures::{OpusTalker, Tone};
        let mut talker = OpusTalker::new(Tone::new(450.0, 0.1), 64_000).unwrap();
        let sound: Vec<Vec<u8>> = (0..50).map(|_| talker.next().unwrap().payload.to_vec()).collect();
        for (gain, expected) in [(6 * 256, 17), (-6 * 256, 29)] {
            let parts = parts(stream(1, head(1, 312, gain, 0), &sound)).unwrap();
            let [Part::Pcm(pcm)] = parts.as_slice() else {
                panic!("one second as samples: {}", parts.len())
            };
            assert_eq!(pcm.len(), 48_000);
            assert_eq!(
                roomtone_audio::level(&pcm[9_600..]).dbov_minus,
                expected,
                "a tone of -23 dBov"
            );
        }
    }

    #[test]
    fn a_file_that_was_cut_off_ends_at_its_last_whole_page() {
        let bytes = stream(1, head(1, 312, 0, 0), &frames(0..100));
        for length in (bytes.len() / 2..bytes.len()).step_by(7) {
            let packets = packets(bytes[..length].to_vec());
            assert!(
                !packets.is_empty() && packets.len().is_multiple_of(10),
                "{}",
                packets.len()
            );
            assert_eq!(packets, frames(0..packets.len() as u8));
        }
    }

    #[test]
    fn broken_files_end_with_an_error() {
        let good = stream(1, head(1, 312, 0, 0), &frames(0..100));
        let mut bytes = good.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        assert!(matches!(parts(bytes), Err(FileError::Broken(_))), "a wrong checksum");
        assert!(matches!(
            parts(stream(1, head(3, 0, 0, 1), &[])),
            Err(FileError::TooManyChannels(3))
        ));
        assert!(matches!(
            parts(stream(1, b"OpusHead".to_vec(), &[])),
            Err(FileError::Broken(_))
        ));
        assert!(matches!(
            parts(stream(1, head(0, 0, 0, 0), &[])),
            Err(FileError::Broken(_))
        ));
        assert!(matches!(parts(Vec::new()), Err(FileError::Broken(_))));
        let long = vec![[&[31 << 3][..], &[0; 1_300]].concat()];
        assert!(matches!(
            parts(stream(1, head(1, 0, 0, 0), &long)),
            Err(FileError::Broken(_))
        ));
        let invalid = vec![vec![]; 2_000];
        assert!(matches!(
            parts(stream(1, head(1, 0, 0, 0), &invalid)),
            Err(FileError::Broken(_))
        ));
        // One packet of all pages.
        let endless = vec![vec![0; 20 << 20]];
        assert!(matches!(
            parts(stream(1, head(1, 0, 0, 0), &endless)),
            Err(FileError::Broken(_))
        ));
    }
}
