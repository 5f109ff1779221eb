//! Reads the header of an Opus packet without decoding it: RFC 6716 §3 (framing) and §4.2.3–4.2.4
//! (SILK header bits).

use thiserror::Error;

/// The maximum duration of one packet: 120 ms (RFC 6716 §3.4, R5), in samples at 48 kHz.
pub const MAX_SAMPLES: u32 = 5760;

/// The longest accepted packet. A longer one doesn't fit a datagram on any path that we serve, and
/// the limit bounds our memory.
pub const MAX_BYTES: usize = 1500;

/// The layer that coded a packet (RFC 6716 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Linear prediction, up to 8 kHz of audio bandwidth.
    Silk,
    /// SILK below 8 kHz, CELT above.
    Hybrid,
    /// MDCT, the whole band.
    Celt,
}

/// The content of a packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketInfo {
    /// Its duration, in samples per channel at 48 kHz: 120 (2.5 ms) to [`MAX_SAMPLES`] (120 ms).
    pub samples: u32,
    /// Opus frames in it, 1 to 48.
    pub frames: u8,
    /// Samples of each frame at 48 kHz.
    pub frame_samples: u32,
    /// Whether it is coded in stereo.
    pub stereo: bool,
    /// The layer that coded it.
    pub mode: Mode,
    /// Whether its first frame carries a copy of the frame before it (in-band FEC, "LBRR"). SILK
    /// and hybrid only.
    pub has_fec: bool,
    /// It is only a header: the sender went silent, and an intended pause follows (DTX, RFC 6716
    /// §2.1.9).
    pub is_dtx: bool,
}

/// The rule of RFC 6716 §3.4 that a packet breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PacketError {
    /// No TOC byte (R1).
    #[error("it is empty (R1)")]
    Empty,
    /// Longer than [`MAX_BYTES`].
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Its lengths don't add up (R2, R3, R4, R6, R7).
    #[error("the lengths in it don't add up (R2 to R7)")]
    Lengths,
    /// No frame, or more than 120 ms (R5).
    #[error("it holds no frame or more than 120 ms (R5)")]
    Duration,
}

/// Reads the header of a packet and checks its framing.
///
/// # Errors
/// The broken rule. A packet that passes may still decode to noise, but libopus accepts it.
pub fn parse(packet: &[u8]) -> Result<PacketInfo, PacketError> {
    read(packet, |_| {})
}

/// As [`parse`], and gives away the packet's frames in their order. A packet that breaks a rule may have given some.
pub(super) fn read<'p>(packet: &'p [u8], mut each: impl FnMut(&'p [u8])) -> Result<PacketInfo, PacketError> {
    let (&toc, rest) = packet.split_first().ok_or(PacketError::Empty)?;
    if packet.len() > MAX_BYTES {
        return Err(PacketError::TooLong);
    }
    let (mode, frame_samples) = configuration(toc >> 3);
    let stereo = toc & 0b100 != 0;
    let mut first = None;
    let frames = frames(toc & 0b11, rest, |frame| {
        first.get_or_insert(frame);
        each(frame);
    })?;
    let first: &[u8] = first.unwrap_or_default();
    let samples = u32::from(frames) * frame_samples;
    if frames == 0 || samples > MAX_SAMPLES {
        return Err(PacketError::Duration);
    }
    Ok(PacketInfo {
        samples,
        frames,
        frame_samples,
        stereo,
        mode,
        has_fec: has_fec(mode, frame_samples, stereo, first),
        is_dtx: packet.len() <= 2 && first.len() <= 1,
    })
}

/// RFC 6716 §3.1, table 2: the layer and the samples of a frame.
fn configuration(config: u8) -> (Mode, u32) {
    let step = usize::from(config & 0b11);
    match config {
        0..=11 => (Mode::Silk, [480, 960, 1920, 2880][step]),
        12..=15 => (Mode::Hybrid, [480, 960][step & 1]),
        _ => (Mode::Celt, [120, 240, 480, 960][step]),
    }
}

/// The longest frame (RFC 6716 §3.2.1).
const MAX_FRAME: usize = 1275;

/// RFC 6716 §3.2: gives the frames away, and returns their number.
fn frames<'p>(code: u8, rest: &'p [u8], mut each: impl FnMut(&'p [u8])) -> Result<u8, PacketError> {
    let fits = |frame: &[u8]| frame.len() <= MAX_FRAME;
    match code {
        0 if fits(rest) => {
            each(rest);
            Ok(1)
        }
        0 => Err(PacketError::Lengths),
        1 | 2 => {
            let (first, tail) = if code == 1 {
                (rest.len() / 2, rest)
            } else {
                length(rest)?
            };
            let (first, second) = tail.split_at_checked(first).ok_or(PacketError::Lengths)?;
            if !fits(first) || !fits(second) || (code == 1 && first.len() != second.len()) {
                return Err(PacketError::Lengths);
            }
            each(first);
            each(second);
            Ok(2)
        }
        _ => many_frames(rest, each),
    }
}

/// Code 3 (RFC 6716 §3.2.5): a count, optional padding, constant or variable lengths.
fn many_frames<'p>(rest: &'p [u8], mut each: impl FnMut(&'p [u8])) -> Result<u8, PacketError> {
    let (&head, mut rest) = rest.split_first().ok_or(PacketError::Lengths)?;
    let count = head & 0b11_1111;
    if count == 0 || count > 48 {
        return Err(PacketError::Duration);
    }
    if head & 0b100_0000 != 0 {
        let mut padding = 0;
        loop {
            let (&byte, tail) = rest.split_first().ok_or(PacketError::Lengths)?;
            rest = tail;
            padding += usize::from(byte.min(254));
            if byte != 255 {
                break;
            }
        }
        let kept = rest.len().checked_sub(padding).ok_or(PacketError::Lengths)?;
        rest = &rest[..kept];
    }
    if head & 0b1000_0000 == 0 {
        let each_len = rest.len() / usize::from(count);
        if !rest.len().is_multiple_of(usize::from(count)) || each_len > MAX_FRAME {
            return Err(PacketError::Lengths);
        }
        for _ in 0..count {
            let (frame, tail) = rest.split_at(each_len);
            rest = tail;
            each(frame);
        }
        return Ok(count);
    }
    let mut lengths = rest;
    let mut sum = 0;
    for _ in 1..count {
        let (len, tail) = length(rest)?;
        rest = tail;
        sum += len;
    }
    let last = rest.len().checked_sub(sum).ok_or(PacketError::Lengths)?;
    if last > MAX_FRAME {
        return Err(PacketError::Lengths);
    }
    for _ in 1..count {
        let (len, tail) = length(lengths)?;
        lengths = tail;
        let (frame, behind) = rest.split_at_checked(len).ok_or(PacketError::Lengths)?;
        rest = behind;
        each(frame);
    }
    each(rest);
    Ok(count)
}

/// A frame length of one or two bytes (RFC 6716 §3.2.1) and what follows it.
fn length(bytes: &[u8]) -> Result<(usize, &[u8]), PacketError> {
    match *bytes {
        [first, ref tail @ ..] if first < 252 => Ok((usize::from(first), tail)),
        [first, second, ref tail @ ..] => Ok((usize::from(second) * 4 + usize::from(first), tail)),
        _ => Err(PacketError::Lengths),
    }
}

/// The LBRR flag of the mid channel, or of the side channel if stereo: RFC 6716 §4.2.3. The range
/// coder writes these first header bits with a probability of one half each, so they appear
/// unchanged in the frame's first byte.
fn has_fec(mode: Mode, frame_samples: u32, stereo: bool, frame: &[u8]) -> bool {
    let Some(&byte) = frame.first() else { return false };
    if mode == Mode::Celt {
        return false;
    }
    // One VAD bit for each 20 ms (one for 10 ms, too), then the LBRR flag; the side channel's follow the mid channel's.
    let vad_bits = frame_samples.div_ceil(960);
    let bit = |index: u32| byte << index & 0x80 != 0;
    bit(vad_bits) || (stereo && bit(2 * vad_bits + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_those_of_the_table() {
        let ms = |config: u8| parse(&[config << 3, 1, 2, 3]).unwrap().samples as f32 / 48.0;
        assert_eq!([0, 1, 2, 3].map(ms), [10.0, 20.0, 40.0, 60.0]);
        assert_eq!([12, 13, 14, 15].map(ms), [10.0, 20.0, 10.0, 20.0]);
        assert_eq!([16, 17, 18, 19].map(ms), [2.5, 5.0, 10.0, 20.0]);
    }

    #[test]
    fn broken_framing_is_named() {
        assert_eq!(parse(&[]), Err(PacketError::Empty));
        assert_eq!(parse(&[0x08; 1501]), Err(PacketError::TooLong));
        assert_eq!(parse(&[0x09, 1, 2, 3]), Err(PacketError::Lengths));
        assert_eq!(parse(&[0x0b, 0]), Err(PacketError::Duration));
        assert_eq!(
            parse(&[0x0b, 7, 1, 1, 1, 1, 1, 1, 1]),
            Err(PacketError::Duration),
            "7 × 20 ms"
        );
        assert_eq!(parse(&[0x0b]), Err(PacketError::Lengths));
        assert_eq!(parse(&[0x0b, 0x41, 255, 255]), Err(PacketError::Lengths));
    }

    #[test]
    fn a_lone_head_is_a_pause() {
        assert!(parse(&[0x78]).unwrap().is_dtx);
        assert!(!parse(&[0x78, 1, 2]).unwrap().is_dtx);
    }

    proptest! {
        /// libopus itself is the oracle: same verdict, same duration.
        #[test]
        fn agrees_with_libopus(packet in proptest::collection::vec(any::<u8>(), 1..80)) {
            // `nb_samples` checks the count only; a decoder also checks the lengths.
            let mut decoder =
                audiopus::coder::Decoder::new(audiopus::SampleRate::Hz48000, audiopus::Channels::Mono).unwrap();
            let mut pcm = vec![0f32; 5760];
            let theirs = decoder.decode_float(Some(&packet[..]), &mut pcm[..], false).ok();
            let ours = parse(&packet).ok().map(|info| info.samples as usize);
            prop_assert_eq!(ours, theirs);
        }
    }
}
