//! Datagrams in a stream of bytes: RFC 4571 framing (ICE-TCP, RFC 6544 section 3), and that of TURN
//! over TCP and TLS (RFC 8656 section 12.5).

use std::fmt;
use std::ops::Range;

/// The largest datagram that is taken out of a stream; WebRTC keeps to 1,500 bytes.
pub const MAX_FRAME: usize = 2048;
/// A frame of the largest size with its header, and the beginning of the next ones.
const CAPACITY: usize = 2 * (MAX_FRAME + 4);

/// How datagrams are marked off in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Two bytes of length before each (RFC 4571).
    Rfc4571,
    /// STUN messages and ChannelData, which carry their own lengths, each padded to four bytes (RFC
    /// 8656 section 12.5).
    Turn,
}

/// A stream that can't be read on: a frame of no known kind, or longer than [`MAX_FRAME`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream holds no frame of a known kind and of at most {MAX_FRAME} bytes")]
pub struct FramingError;

impl Framing {
    /// Where the first datagram of `bytes` is and where the next frame begins; `None` while too
    /// little is there to tell.
    fn first(self, bytes: &[u8]) -> Result<Option<(Range<usize>, usize)>, FramingError> {
        let [a, b, c, d] = match bytes {
            [a, b, ..] if self == Self::Rfc4571 => [*a, *b, 0, 0],
            [a, b, c, d, ..] => [*a, *b, *c, *d],
            _ => return Ok(None),
        };
        let (datagram, end) = match self {
            Self::Rfc4571 => {
                let end = 2 + usize::from(u16::from_be_bytes([a, b]));
                (2..end, end)
            }
            Self::Turn => {
                let length = usize::from(u16::from_be_bytes([c, d]));
                let end = match a {
                    // STUN, whose length is always a multiple of four.
                    0..=3 if length % 4 == 0 => 20 + length,
                    // ChannelData.
                    64..=79 => 4 + length,
                    _ => return Err(FramingError),
                };
                (0..end, end.next_multiple_of(4))
            }
        };
        if datagram.len() > MAX_FRAME {
            return Err(FramingError);
        }
        Ok(Some((datagram, end)))
    }

    /// The bytes before a datagram of this length in the stream, and the number of zeros behind it.
    /// `None` for one that is too long.
    pub fn around(self, length: usize) -> Option<(Option<[u8; 2]>, usize)> {
        let short = u16::try_from(length).ok()?;
        Some(match self {
            Self::Rfc4571 => (Some(short.to_be_bytes()), 0),
            Self::Turn => (None, length.next_multiple_of(4) - length),
        })
    }
}

/// Takes datagrams out of a stream: fill [`space`](Self::space), say how much by
/// [`filled`](Self::filled), and ask for datagrams until there is none.
///
/// Its memory is of a fixed size.
///
/// # Examples
///
/// ```
/// use roomtone_transport::{Deframer, Framing};
///
/// let mut deframer = Deframer::new(Framing::Rfc4571);
/// deframer.space()[..5].copy_from_slice(&[0, 2, b'h', b'i', 0]);
/// deframer.filled(5);
/// assert_eq!(deframer.next_datagram()?.as_deref(), Some(&b"hi"[..]));
/// assert_eq!(deframer.next_datagram()?, None);
/// # Ok::<(), roomtone_transport::FramingError>(())
/// ```
pub struct Deframer {
    framing: Framing,
    bytes: Box<[u8; CAPACITY]>,
    begin: usize,
    end: usize,
}

impl Deframer {
    /// For a stream of which nothing was read yet.
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            bytes: Box::new([0; CAPACITY]),
            begin: 0,
            end: 0,
        }
    }

    /// Room for bytes of the stream; never empty once all datagrams have been taken out.
    pub fn space(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        &mut self.bytes[self.end..]
    }

    /// So many bytes were put into [`space`](Self::space).
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(CAPACITY);
    }

    /// The next datagram that is there as a whole. `None`: more bytes are needed.
    ///
    /// # Errors
    /// [`FramingError`]: nothing more can be taken out of this stream.
    pub fn next_datagram(&mut self) -> Result<Option<&mut [u8]>, FramingError> {
        let waiting = &self.bytes[self.begin..self.end];
        match self.framing.first(waiting)? {
            Some((datagram, next)) if next <= waiting.len() => {
                let start = self.begin;
                self.begin += next;
                Ok(Some(&mut self.bytes[start + datagram.start..start + datagram.end]))
            }
            _ => Ok(None),
        }
    }
}

impl fmt::Debug for Deframer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deframer({:?}, {} bytes)", self.framing, self.end - self.begin)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds a stream in pieces of these sizes.
    fn read(framing: Framing, stream: &[u8], pieces: &[usize]) -> Result<Vec<Vec<u8>>, FramingError> {
        let (mut deframer, mut found, mut rest) = (Deframer::new(framing), Vec::new(), stream);
        let mut sizes = pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
        while !rest.is_empty() {
            let space = deframer.space();
            assert!(!space.is_empty());
            let size = sizes.next().unwrap().clamp(1, rest.len().min(space.len()));
            space[..size].copy_from_slice(&rest[..size]);
            deframer.filled(size);
            rest = &rest[size..];
            while let Some(datagram) = deframer.next_datagram()? {
                found.push(datagram.to_vec());
            }
        }
        Ok(found)
    }

    fn write(framing: Framing, datagrams: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for datagram in datagrams {
            let (before, after) = framing.around(datagram.len()).unwrap();
            stream.extend(before.into_iter().flatten());
            stream.extend(datagram);
            stream.resize(stream.len() + after, 0);
        }
        stream
    }

    fn turn_message() -> impl Strategy<Value = Vec<u8>> {
        let message = |first: u8, header: usize, data: Vec<u8>| {
            let mut bytes = vec![0; header];
            (bytes[0], bytes[2], bytes[3]) = (first, (data.len() >> 8) as u8, data.len() as u8);
            bytes.extend(data);
            bytes
        };
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..1500).prop_map(move |data| message(0x40, 4, data)),
            proptest::collection::vec(any::<[u8; 4]>(), 0..300).prop_map(move |data| message(1, 20, data.concat())),
        ]
    }

    proptest! {
        #[test]
        fn datagrams_come_out_as_they_went_in(
            datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..=MAX_FRAME), 0..8),
            pieces in proptest::collection::vec(1usize..3000, 0..40),
        ) {
            let stream = write(Framing::Rfc4571, &datagrams);
            prop_assert_eq!(read(Framing::Rfc4571, &stream, &pieces), Ok(datagrams));
        }

        #[test]
        fn messages_of_turn_come_out_as_they_went_in(
            messages in proptest::collection::vec(turn_message(), 0..8),
            pieces in proptest::collection::vec(1usize..3000, 0..40),
        ) {
            let stream = write(Framing::Turn, &messages);
            prop_assert_eq!(read(Framing::Turn, &stream, &pieces), Ok(messages));
        }

        #[test]
        fn any_bytes_are_read_or_refused_alike_however_they_are_cut(
            stream in proptest::collection::vec(any::<u8>(), 0..6000),
            pieces in proptest::collection::vec(1usize..3000, 0..40),
            turn in any::<bool>(),
        ) {
            let framing = if turn { Framing::Turn } else { Framing::Rfc4571 };
            let whole = read(framing, &stream, &[]);
            prop_assert_eq!(read(framing, &stream, &pieces).is_ok(), whole.is_ok());
            prop_assert!(whole.unwrap_or_default().iter().all(|datagram| datagram.len() <= MAX_FRAME));
        }
    }

    #[test]
    fn a_frame_that_is_too_long_ends_the_stream_at_its_header() {
        assert_eq!(read(Framing::Rfc4571, &[8, 1], &[]), Err(FramingError));
        assert_eq!(read(Framing::Rfc4571, &[8, 0], &[]), Ok(vec![]));
        assert_eq!(read(Framing::Turn, &[0x40, 0, 8, 0], &[]), Err(FramingError));
        assert_eq!(read(Framing::Turn, b"GET / HTTP/1.1\r\n", &[]), Err(FramingError));
        assert_eq!(
            read(Framing::Turn, &[0, 1, 0, 3], &[]),
            Err(FramingError),
            "not a multiple of four"
        );
    }
}
