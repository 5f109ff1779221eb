//! Several packets in one, without another encode (RFC 6716 §3.2).

use super::packet::{self, MAX_BYTES, MAX_SAMPLES};

/// The most frames of a packet: 120 ms of the shortest (RFC 6716 §3.2.5).
const MAX_FRAMES: usize = 48;
/// A frame of this length or more has it written in two bytes (RFC 6716 §3.2.1).
const TWO_BYTES: u16 = 252;
/// The code and the configuration are parts of the first byte (RFC 6716 §3.1).
const CODE: u8 = 0b11;

/// Consecutive frames of one stream that are gathered for one packet.
///
/// Each frame keeps its in-band FEC, but a decoder recovers by it only the frame before a packet's first. So FEC mends little of the
/// losses among packets of several frames.
///
/// ```
/// use roomtone_audio::{Packed, packet};
///
/// let mut packed = Packed::new(1200);
/// // Two packets of one frame of 20 ms each.
/// assert!(packed.push(&[0x78, 1, 2, 3]) && packed.push(&[0x78, 4, 5]));
/// let mut out = Vec::new();
/// packed.write(&mut out);
/// assert_eq!(packet::parse(&out).map(|info| info.samples), Ok(1920));
/// ```
#[derive(Debug)]
pub struct Packed {
    /// The first byte of the packets, with code 0.
    toc: u8,
    /// How long all frames last, in samples at 48 kHz.
    samples: u32,
    count: usize,
    lengths: [u16; MAX_FRAMES],
    /// The frames, one behind the other.
    bytes: Vec<u8>,
    most: usize,
}

impl Packed {
    /// Without frames, for packets of at most so many bytes, and of at most [`MAX_BYTES`], as [`packet::parse`] takes them. This is the
    /// only time that it allocates.
    pub fn new(most: usize) -> Packed {
        let most = most.min(MAX_BYTES);
        Packed {
            toc: 0,
            samples: 0,
            count: 0,
            lengths: [0; MAX_FRAMES],
            bytes: Vec::with_capacity(most + MAX_BYTES),
            most,
        }
    }

    /// Adds the frames of a packet. `false`, and nothing has changed, if it isn't Opus, has another configuration or number of channels
    /// than those before it, or the whole would be longer than 120 ms or than the most bytes.
    pub fn push(&mut self, packet: &[u8]) -> bool {
        let toc = packet.first().map_or(0, |first| first & !CODE);
        if self.count > 0 && toc != self.toc {
            return false;
        }
        let before = (self.count, self.bytes.len());
        let (count, lengths, bytes) = (&mut self.count, &mut self.lengths, &mut self.bytes);
        let read = packet::read(packet, |frame| {
            if let Some(length) = lengths.get_mut(*count) {
                // A frame has 1,275 bytes at the most.
                *length = frame.len() as u16;
                bytes.extend_from_slice(frame);
            }
            *count += 1;
        });
        let samples = read.map_or(u32::MAX, |info| self.samples + info.samples);
        if samples > MAX_SAMPLES || self.count > MAX_FRAMES || self.len() > self.most {
            self.count = before.0;
            self.bytes.truncate(before.1);
            return false;
        }
        self.toc = toc;
        self.samples = samples;
        true
    }

    /// Whether there are no frames.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How long the frames last, in samples at 48 kHz.
    pub fn samples(&self) -> u32 {
        self.samples
    }

    /// Forgets the frames.
    pub fn clear(&mut self) {
        self.samples = 0;
        self.count = 0;
        self.bytes.clear();
    }

    /// Appends the packet to `out`; nothing if there are no frames.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Some((last, others)) = self.lengths().split_last() else {
            return;
        };
        let equal = others.iter().all(|length| length == last);
        match (self.count, equal) {
            (1, _) => out.push(self.toc),
            (2, true) => out.push(self.toc | 1),
            (2, false) => out.push(self.toc | 2),
            (count, true) => out.extend([self.toc | 3, count as u8]),
            (count, false) => out.extend([self.toc | 3, 0x80 | count as u8]),
        }
        for length in others.iter().filter(|_| !equal) {
            if *length < TWO_BYTES {
                out.push(*length as u8);
            } else {
                let first = TWO_BYTES + (length & 3);
                out.extend([first as u8, ((length - first) / 4) as u8]);
            }
        }
        out.extend_from_slice(&self.bytes);
    }

    fn lengths(&self) -> &[u16] {
        self.lengths.get(..self.count).unwrap_or_default()
    }

    // Bytes of the packet.
    fn len(&self) -> usize {
        let Some((last, others)) = self.lengths().split_last() else {
            return 0;
        };
        let written = |length: &u16| 1 + usize::from(*length >= TWO_BYTES);
        let lengths = if others.iter().all(|length| length == last) {
            0
        } else {
            others.iter().map(written).sum()
        };
        1 + usize::from(self.count > 2) + lengths + self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Tone;
    use crate::{Decoder, Encoder, EncoderConfig};
    use proptest::prelude::*;

    /// Frames of 20 ms of CELT: configuration 31.
    const TOC: u8 = 31 << 3;

    fn packed(packets: &[&[u8]]) -> Vec<u8> {
        let mut packed = Packed::new(MAX_BYTES);
        for packet in packets {
            assert!(packed.push(packet), "{packet:?}");
        }
        let mut out = Vec::new();
        packed.write(&mut out);
        assert_eq!(out.len(), packed.len());
        out
    }

    fn frames(packet: &[u8]) -> Vec<&[u8]> {
        let mut frames = Vec::new();
        packet::read(packet, |frame| frames.push(frame)).unwrap();
        frames
    }

    #[test]
    fn the_shortest_code_is_chosen() {
        assert_eq!(packed(&[&[TOC, 1, 2]]), [TOC, 1, 2]);
        assert_eq!(packed(&[&[TOC, 1, 2], &[TOC, 3, 4]]), [TOC | 1, 1, 2, 3, 4]);
        assert_eq!(packed(&[&[TOC, 1], &[TOC, 3, 4]]), [TOC | 2, 1, 1, 3, 4]);
        assert_eq!(packed(&[&[TOC, 1], &[TOC, 2], &[TOC, 3]]), [TOC | 3, 3, 1, 2, 3]);
        assert_eq!(packed(&[&[TOC, 1], &[TOC], &[TOC, 3]]), [TOC | 3, 0x83, 1, 0, 1, 3]);
        let long = [&[TOC][..], &[7; 253]].concat();
        let out = packed(&[&long, &[TOC, 1]]);
        assert_eq!(out[..3], [TOC | 2, 253, 0]);
        assert_eq!(frames(&out), [&[7; 253][..], &[1]]);
    }

    #[test]
    fn packets_of_every_code_are_taken_and_their_padding_is_left_out() {
        let sources: [&[u8]; 6] = [
            &[TOC, 1, 2],
            &[TOC | 1, 3, 4],
            &[TOC | 2, 1, 5, 6, 7],
            &[TOC | 3, 2, 8, 9],
            &[TOC | 3, 0x82, 0, 10],
            &[TOC | 3, 0x41, 2, 11, 0, 0],
        ];
        for first in sources {
            for second in sources {
                let out = packed(&[first, second]);
                assert_eq!(frames(&out), [frames(first), frames(second)].concat());
            }
        }
    }

    #[test]
    fn a_packet_that_does_not_fit_changes_nothing() {
        let mut packed = Packed::new(40);
        assert!(packed.push(&[TOC, 1, 2, 3]));
        for (packet, why) in [
            (&[TOC ^ 4, 1][..], "stereo"),
            (&[TOC ^ 8, 1], "another length of frames"),
            (&[15 << 3, 1], "another mode"),
            (&[], "nothing"),
            (&[TOC | 1, 1, 2, 3], "not Opus"),
            (&[TOC | 3, 7, 1, 2, 3, 4, 5, 6, 7], "140 ms"),
            (&[TOC | 3, 6, 1, 2, 3, 4, 5, 6], "140 ms together"),
            (&[TOC; 38], "too many bytes"),
        ] {
            assert!(!packed.push(packet), "{why}");
            assert_eq!((packed.samples(), packed.len()), (960, 4), "{why}");
        }
        assert!(packed.push(&[TOC | 3, 5, 1, 2, 3, 4, 5]));
        assert_eq!(packed.samples(), MAX_SAMPLES);
        packed.clear();
        let mut out = Vec::new();
        packed.write(&mut out);
        assert!(out.is_empty() && packed.is_empty());
        assert!(packed.push(&[TOC ^ 4, 1]), "and begins anew");
    }

    #[test]
    fn packed_packets_decode_to_the_same_samples() {
        for bitrate in [12_000, 24_000, 96_000] {
            let config = EncoderConfig {
                bitrate,
                ..EncoderConfig::default()
            };
            let (mut encoder, mut tone) = (Encoder::new(&config).unwrap(), Tone::new(440.0, 0.2));
            let mut packets = vec![Vec::new(); 60];
            for packet in &mut packets {
                encoder.encode(&tone.frame(), packet).unwrap();
            }
            let decode = |packets: &[Vec<u8>]| {
                let (mut decoder, mut sound) = (Decoder::new().unwrap(), Vec::new());
                for packet in packets {
                    decoder.decode(packet, &mut sound).unwrap();
                }
                sound
            };
            let (mut whole, mut longer) = (Packed::new(MAX_BYTES), Vec::new());
            for packet in &packets {
                if whole.samples() == 2880 || !whole.push(packet) {
                    let mut out = Vec::new();
                    whole.write(&mut out);
                    longer.push(out);
                    whole.clear();
                    assert!(whole.push(packet));
                }
            }
            let mut out = Vec::new();
            whole.write(&mut out);
            longer.push(out);
            assert!((20..=24).contains(&longer.len()), "{}", longer.len());
            assert_eq!(decode(&packets), decode(&longer), "{bitrate}");
        }
    }

    proptest! {
        #[test]
        fn frames_stay_as_they_are_whatever_comes(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
            toc in 0u8..64,
        ) {
            let mut packed = Packed::new(1200);
            let mut taken = Vec::new();
            for mut packet in packets {
                // Of one configuration, or nothing would ever fit.
                if let Some(first) = packet.first_mut() {
                    *first = (*first & CODE) | toc << 2;
                }
                let samples = packed.samples();
                if packed.push(&packet) {
                    let info = packet::parse(&packet).unwrap();
                    prop_assert_eq!(packed.samples(), samples + info.samples);
                    taken.extend(frames(&packet).into_iter().map(<[u8]>::to_vec));
                }
            }
            let mut out = Vec::new();
            packed.write(&mut out);
            prop_assert!(out.len() <= 1200 && out.len() == packed.len());
            prop_assert_eq!(taken.is_empty(), out.is_empty());
            if !out.is_empty() {
                prop_assert_eq!(packet::parse(&out).map(|info| info.samples), Ok(packed.samples()));
                prop_assert_eq!(frames(&out), taken);
            }
        }
    }
}
