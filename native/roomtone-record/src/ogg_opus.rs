//! An Ogg Opus file (RFC 7845), written page by page and valid after each of them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ogg::PacketWriter;
use ogg::writing::PacketWriteEndInfo;

/// Samples that a player throws away at the beginning: a decoder needs 80 ms to converge (RFC 7845 §4.6), filled with silence here, and an encoder's
/// look-ahead of 6.5 ms delays all that it makes.
const SETTLING: u64 = 3_840;
pub(crate) const LOOKAHEAD: u64 = 312;
/// A page has a second at the most, so that no more is lost than that.
const PAGE_SAMPLES: u64 = 48_000;
/// The vendor string of the comments.
const VENDOR: &str = "Roomtone";

/// Packets of silence: mono, CELT, full band (RFC 6716 §3.1), of 20, 10, 5 and 2.5 ms.
const SILENCE: [(u64, [u8; 3]); 4] = [
    (960, [0xf8, 0xff, 0xfe]),
    (480, [0xf0, 0xff, 0xfe]),
    (240, [0xe8, 0xff, 0xfe]),
    (120, [0xe0, 0xff, 0xfe]),
];

/// The shortest packet of silence, in samples.
pub(crate) const SHORTEST: u64 = 120;

/// Packets one after another, from the first sample of a recording on.
pub(crate) trait Track {
    /// The end of the last packet, in samples from the beginning.
    fn end(&self) -> u64;

    /// Appends a packet of so many samples.
    fn append(&mut self, packet: &[u8], samples: u64) -> io::Result<()>;

    /// Appends silence up to this sample, or a little less: the last 2.5 ms have no packet.
    fn fill(&mut self, until: u64) -> io::Result<()> {
        for (samples, packet) in SILENCE {
            while self.end() + samples <= until {
                self.append(&packet, samples)?;
            }
        }
        Ok(())
    }
}

/// An Ogg Opus stream, as bytes that grow by whole pages.
pub(crate) struct OggPages {
    pages: PacketWriter<'static, Vec<u8>>,
    serial: u32,
    /// The longest page.
    page: u64,
    channels: u8,
    /// The last packet, kept back since it may be the last of all: its bytes and its end.
    held: Option<(Vec<u8>, u64)>,
    /// The samples of all packets.
    samples: u64,
    /// By how many samples they are heard later than they would be after as many samples from the beginning.
    later: i64,
    /// The end of the last whole page.
    page_end: u64,
}

impl OggPages {
    /// A new stream, with its headers. `page`: samples of a page. `comments`: pairs as `("TITLE", "…")`.
    pub(crate) fn new(serial: u32, channels: u8, page: u64, comments: &[(&str, &str)]) -> io::Result<OggPages> {
        let mut stream = OggPages {
            pages: PacketWriter::new(Vec::new()),
            serial,
            page,
            channels,
            held: None,
            samples: 0,
            later: 0,
            page_end: 0,
        };
        stream
            .pages
            .write_packet(opus_head(channels, 0), serial, PacketWriteEndInfo::EndPage, 0)?;
        stream
            .pages
            .write_packet(opus_tags(comments), serial, PacketWriteEndInfo::EndPage, 0)?;
        for n in 1..=SETTLING / 960 {
            stream.put(SILENCE[0].1.to_vec(), n * 960)?;
        }
        Ok(stream)
    }

    /// The whole pages that nobody has taken.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        self.pages.inner_mut()
    }

    // The first page again: players throw away as many samples fewer at the beginning as all are to be heard later.
    fn shift(&mut self, by: i64) -> io::Result<Vec<u8>> {
        self.later += by;
        let mut page = PacketWriter::new(Vec::new());
        let head = opus_head(self.channels, self.later);
        page.write_packet(head, self.serial, PacketWriteEndInfo::EndPage, 0)?;
        Ok(page.into_inner())
    }

    fn put(&mut self, packet: Vec<u8>, position: u64) -> io::Result<()> {
        let Some((held, end)) = self.held.replace((packet, position)) else {
            return Ok(());
        };
        let full = end >= self.page_end + self.page;
        let kind = if full {
            self.page_end = end;
            PacketWriteEndInfo::EndPage
        } else {
            PacketWriteEndInfo::NormalPacket
        };
        self.pages.write_packet(held, self.serial, kind, end)
    }

    /// Makes the rest whole, with the end of the stream. A stream mustn't end before its first sample that is heard (RFC 7845 §4.4).
    fn finish(&mut self) -> io::Result<()> {
        self.fill(SILENCE[0].0)?;
        if let Some((held, end)) = self.held.take() {
            self.pages
                .write_packet(held, self.serial, PacketWriteEndInfo::EndStream, end)?;
        }
        Ok(())
    }
}

impl Track for OggPages {
    fn end(&self) -> u64 {
        self.samples.saturating_add_signed(self.later)
    }

    fn append(&mut self, packet: &[u8], samples: u64) -> io::Result<()> {
        self.samples += samples;
        self.put(packet.to_vec(), SETTLING + self.samples)
    }
}

/// The file and what is on its way there.
pub(crate) struct OggOpus {
    file: File,
    /// Bytes of the file up to the end of its last whole page.
    written: u64,
    pages: OggPages,
}

impl OggOpus {
    /// A new file, with its headers. `comments`: pairs as `("TITLE", "…")`.
    pub(crate) fn create(path: &Path, serial: u32, channels: u8, comments: &[(&str, &str)]) -> io::Result<OggOpus> {
        let mut file = OggOpus {
            file: File::options().write(true).create_new(true).open(path)?,
            written: 0,
            pages: OggPages::new(serial, channels, PAGE_SAMPLES, comments)?,
        };
        file.flush()?;
        Ok(file)
    }

    /// The stream of the file.
    pub(crate) fn pages(&mut self) -> &mut OggPages {
        &mut self.pages
    }

    /// Lets all of it be heard so many samples later (or earlier, by a negative number), at most half a frame of silence: packets can't stand between
    /// the places of these frames otherwise.
    pub(crate) fn shift(&mut self, by: i64) -> io::Result<()> {
        let page = self.pages.shift(by)?;
        self.file.write_all_at(&page, 0)
    }

    /// The bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.written
    }

    /// Writes all whole pages.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let bytes = self.pages.bytes();
        if bytes.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(bytes);
        match &written {
            Ok(()) => self.written += bytes.len() as u64,
            // Half a page is of no use to anybody.
            Err(_) => cut(&mut self.file, self.written),
        }
        bytes.clear();
        written
    }

    /// Writes everything, and the end of the stream.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.pages.finish()?;
        self.flush()
    }
}

fn cut(file: &mut File, to: u64) {
    use std::io::Seek as _;
    if file
        .set_len(to)
        .and_then(|()| file.seek(io::SeekFrom::Start(to)))
        .is_err()
    {
        log::warn!("a recording whose disk is full ends with a broken page");
    }
}

// RFC 7845 §5.1.
fn opus_head(channels: u8, later: i64) -> Vec<u8> {
    let mut head = b"OpusHead".to_vec();
    head.extend([1, channels]);
    let skipped = (SETTLING + LOOKAHEAD).saturating_add_signed(-later);
    head.extend((skipped as u16).to_le_bytes());
    head.extend(48_000u32.to_le_bytes());
    // No gain, and the channel mapping of mono and stereo.
    head.extend([0, 0, 0]);
    head
}

// RFC 7845 §5.2.
fn opus_tags(comments: &[(&str, &str)]) -> Vec<u8> {
    let mut tags = b"OpusTags".to_vec();
    let mut text = |text: &str| {
        tags.extend((text.len() as u32).to_le_bytes());
        tags.extend(text.as_bytes());
    };
    text(VENDOR);
    let mut list = Vec::new();
    for (key, value) in comments {
        let comment = format!("{key}={value}");
        list.extend((comment.len() as u32).to_le_bytes());
        list.extend(comment.as_bytes());
    }
    tags.extend((comments.len() as u32).to_le_bytes());
    tags.extend(list);
    tags
}
