//! The formats of an m-line: its Opus, and RED around that.

use sdp_types::{Attribute, Media};

use super::grammar::{brief, format_value, value, values};
use super::offer::Numbers;

/// How long packets are where nobody asks for longer ones, ms.
pub(super) const PACKET_MS: u32 = 20;

/// RED (RFC 2198) of nothing but the m-line's Opus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Red {
    pub(super) payload_type: u8,
    /// The offerer prefers it to plain Opus: it comes first.
    pub(super) preferred: bool,
}

/// Opus as an m-line describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opus {
    pub(super) payload_type: u8,
    pub(super) red: Option<Red>,
    /// Lost packets may be asked for (`a=rtcp-fb` with `nack`, RFC 4585).
    pub(super) nack: bool,
    pub(super) stereo: bool,
    pub(super) max_average_bitrate: Option<u32>,
    /// How long packets to the offerer are to be: 20, 40 or 60 ms.
    pub(super) packet_ms: u32,
}

impl Opus {
    pub(super) fn numbers(&self, level: Option<u8>) -> Numbers {
        Numbers {
            opus: self.payload_type,
            red: self.red.map(|red| red.payload_type),
            level,
            nack: self.nack,
        }
    }
}

/// Opus of an m-line; without it, what the line lacks.
pub(super) fn find_opus(media: &Media) -> Result<Opus, String> {
    let attributes = &media.attributes;
    let mut lacks = "has no Opus at 48 kHz (a=rtpmap with opus/48000/2)".to_owned();
    for format in media.fmt.split_whitespace() {
        let Some(payload_type) = payload_type(format) else {
            continue;
        };
        let codec = format_value(attributes, "rtpmap", format).unwrap_or_default();
        if !codec.eq_ignore_ascii_case("opus/48000/2") {
            let codec = codec.to_ascii_lowercase();
            if codec == "opus/48000" || codec.starts_with("opus/48000/") {
                lacks = format!(
                    "has a=rtpmap:{payload_type} {}; /2 is missing: Opus is always opus/48000/2 (RFC 7587 section 7)",
                    brief(&codec)
                );
            }
            continue;
        }
        let mut opus = Opus {
            payload_type,
            red: find_red(media, payload_type),
            nack: takes_nack(attributes, format),
            stereo: false,
            max_average_bitrate: None,
            packet_ms: packet_ms(attributes),
        };
        let parameters = format_value(attributes, "fmtp", format).unwrap_or_default();
        for parameter in parameters.split(';') {
            match parameter.trim().split_once('=') {
                Some(("stereo", value)) => opus.stereo = value.trim() == "1",
                Some(("maxaveragebitrate", value)) => {
                    opus.max_average_bitrate = value.trim().parse().ok();
                }
                _ => {}
            }
        }
        return Ok(opus);
    }
    Err(lacks)
}

fn payload_type(format: &str) -> Option<u8> {
    // 64–95 would look like RTCP once the marker bit is set (RFC 5761 section 4).
    let fits = |number: &u8| *number < 128 && !(64..96).contains(number);
    format.parse().ok().filter(fits)
}

/// RED whose blocks are all of this payload type: `a=fmtp` has to name it, once for each block (RFC
/// 2198 section 5).
fn find_red(media: &Media, opus: u8) -> Option<Red> {
    let mut preferred = true;
    for format in media.fmt.split_whitespace() {
        let Some(payload_type) = payload_type(format) else {
            continue;
        };
        if payload_type == opus {
            preferred = false;
            continue;
        }
        let codec = format_value(&media.attributes, "rtpmap", format).unwrap_or_default();
        let blocks = format_value(&media.attributes, "fmtp", format).unwrap_or_default();
        let is_opus = |block: &str| block.trim().parse() == Ok(opus);
        if codec.eq_ignore_ascii_case("red/48000/2") && blocks.split('/').all(is_opus) {
            return Some(Red {
                payload_type,
                preferred,
            });
        }
    }
    None
}

/// Of 20, 40 and 60 ms the longest that is no longer than an m-line asks for (`a=ptime`, RFC 8866
/// section 6.4) and takes (`a=maxptime`, section 6.5). A value that can't be read counts as absent.
fn packet_ms(attributes: &[Attribute]) -> u32 {
    let ms = |key| {
        let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        value(attributes, key).filter(digits)?.parse::<f64>().ok()
    };
    let wanted = ms("ptime").unwrap_or(f64::from(PACKET_MS));
    let wanted = wanted.min(ms("maxptime").unwrap_or(f64::INFINITY));
    let longer = [60, 40].into_iter().find(|ms| f64::from(*ms) <= wanted);
    longer.unwrap_or(PACKET_MS)
}

/// Generic NACK for a format, or for all (RFC 4585 section 4.2).
fn takes_nack(attributes: &[Attribute], format: &str) -> bool {
    values(attributes, "rtcp-fb").any(|feedback| {
        let mut words = feedback.split_whitespace();
        let for_it = words.next().is_some_and(|named| named == format || named == "*");
        for_it && words.next() == Some("nack") && words.next().is_none()
    })
}
