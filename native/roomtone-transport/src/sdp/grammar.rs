//! The lines of an offer, read by `sdp-types`, and small readers of their attributes.

use sdp_types::{Attribute, Media, Session};

use super::{Direction, SdpError, SdpErrorKind as Kind};

/// RFC 6464: the level of each packet, readable without decoding it.
pub(super) const LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

const MAX_BYTES: usize = 64 * 1024;

/// Which session an offer belongs to: user name and session id of the `o=` line, as they stand
/// there (RFC 8866 section 5.2 calls the id a string of digits and puts no limit on it). Empty
/// without that line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    username: String,
    session_id: String,
}

/// Splits an offer into its lines.
///
/// Only `v=`, `o=`, `a=` and `m=` mean anything to a transport. The parser doesn't see the others:
/// what is legal there, and what isn't, is no reason to refuse an offer.
pub(super) fn parse(text: &str) -> Result<(Session, Origin), SdpError> {
    if text.len() > MAX_BYTES {
        return Err(SdpError::new(
            Kind::TooLarge,
            format!("the offer has {} bytes; {MAX_BYTES} are the limit", text.len()),
        ));
    }
    // A NUL or another control character has no place in a line, and would be echoed into the
    // answer.
    let control = |line: &str| line.chars().any(|c| c.is_control() && c != '\t');
    let mut lines = String::with_capacity(text.len());
    let mut origin = Origin::default();
    for (number, line) in text.lines().enumerate() {
        if control(line) {
            return Err(malformed(format!("line {} has control characters", number + 1)));
        }
        match line.as_bytes() {
            [b'o', b'=', ..] => origin = read_origin(&line[2..]),
            // A letter that SDP doesn't have: the parser skips the line, and goes on counting.
            [key, b'=', ..] if !matches!(key, b'v' | b'a' | b'm') => lines.push_str("x="),
            _ => lines.push_str(line),
        }
        lines.push('\n');
    }
    let session = Session::parse(lines.as_bytes()).map_err(|error| malformed(format!("not valid SDP: {error}")))?;
    Ok((session, origin))
}

fn read_origin(value: &str) -> Origin {
    let mut words = value.split_whitespace().map(str::to_owned);
    Origin {
        username: words.next().unwrap_or_default(),
        session_id: words.next().unwrap_or_default(),
    }
}

pub(super) fn malformed(message: impl Into<String>) -> SdpError {
    SdpError::new(Kind::Malformed, message)
}

/// At most a few characters of a stranger's text, for messages.
pub(super) fn brief(text: &str) -> String {
    text.chars().take(32).collect()
}

pub(super) fn has(attributes: &[Attribute], key: &str) -> bool {
    attributes.iter().any(|a| a.attribute == key)
}

pub(super) fn values<'a>(attributes: &'a [Attribute], key: &'a str) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |a| a.attribute == key)
        .filter_map(|a| a.value.as_deref())
}

pub(super) fn value<'a>(attributes: &'a [Attribute], key: &'a str) -> Option<&'a str> {
    values(attributes, key).next().map(str::trim)
}

/// The value of `key` for one payload type: `a=rtpmap` and `a=fmtp` begin with it.
pub(super) fn format_value<'a>(attributes: &'a [Attribute], key: &'a str, format: &str) -> Option<&'a str> {
    values(attributes, key)
        .filter_map(|line| line.trim().split_once(' '))
        .find(|(of, _)| *of == format)
        .map(|(_, value)| value.trim())
}

/// RFC 8866 token characters: what may be echoed.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| {
            b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'{'..=b'~'
                )
        })
}

/// The direction of an m-line: its own, else the session's, else both ways (RFC 8866 section 6.7).
pub(super) fn direction(session: &Session, media: &Media) -> Direction {
    let own = |attributes: &[Attribute]| {
        let flags = attributes.iter().filter(|a| a.value.is_none());
        flags.filter_map(|a| Direction::parse(&a.attribute)).next()
    };
    own(&media.attributes)
        .or_else(|| own(&session.attributes))
        .unwrap_or(Direction::SendRecv)
}

/// The header extension id of the level, on this m-line or for the session.
pub(super) fn level_id(session: &Session, media: &Media) -> Option<u8> {
    let own = |attributes: &[Attribute]| {
        values(attributes, "extmap").find_map(|line| {
            let mut words = line.split_whitespace();
            let (id, uri) = (words.next()?, words.next()?);
            // A one-way extension (`3/recvonly`) isn't worth the trouble: such a line is left
            // unanswered.
            let id: u8 = id.parse().ok()?;
            // 15 ends a one-byte extension block, and 0 is padding.
            (uri == LEVEL_URI && id != 0 && id != 15).then_some(id)
        })
    };
    own(&media.attributes).or_else(|| own(&session.attributes))
}
