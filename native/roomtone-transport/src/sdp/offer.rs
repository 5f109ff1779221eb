//! Reading an offer into the facts that the transport needs.

use std::fmt;
use std::io::Cursor;

use rtc::sdp::description::common::Attribute;
use rtc::sdp::description::media::MediaDescription;
use rtc::sdp::description::session::SessionDescription;

use super::{Direction, Fingerprints, SdpError, SdpErrorKind as Kind};

/// RFC 6464: the level of each packet, readable without decoding it.
pub(super) const LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

const MAX_BYTES: usize = 64 * 1024;
/// Several times the m-lines of the busiest browser page.
const MAX_MEDIA: usize = 64;
/// Further m-lines on which we might send.
const MAX_EXTRA: usize = 8;
/// SSRCs of the audio m-line that are let in.
const MAX_SSRCS: usize = 8;

/// ICE credentials of the peer. Debug shows the ufrag (it is on the wire in clear) and never the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RemoteIce {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
}

impl fmt::Debug for RemoteIce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteIce")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// An m-line as the answer has to repeat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) media: String,
    pub(super) proto: String,
    pub(super) formats: Vec<String>,
    pub(super) mid: Option<String>,
}

/// A further m-line on which the offerer only receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtraMedia {
    pub(super) line: usize,
    pub(crate) payload_type: u8,
    pub(crate) level_id: Option<u8>,
}

/// A parsed offer that can be answered.
#[derive(Clone, Debug)]
pub struct Offer {
    pub(super) lines: Vec<Line>,
    pub(super) audio: usize,
    pub(super) bundle: bool,
    pub(super) allow_mixed: bool,
    pub(super) rtcp_rsize: bool,
    pub(super) opus: Opus,
    pub(crate) extra: Vec<ExtraMedia>,
    direction: Direction,
    level_id: Option<u8>,
    ssrcs: Vec<u32>,
    pub(crate) ice: RemoteIce,
    pub(crate) fingerprints: Fingerprints,
}

/// What the offer says about Opus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opus {
    pub(super) payload_type: u8,
    stereo: bool,
    max_average_bitrate: Option<u32>,
}

impl Offer {
    /// Reads an offer; an error names what is missing or wrong.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        if text.len() > MAX_BYTES {
            return Err(SdpError::new(
                Kind::TooLarge,
                format!("the offer has {} bytes; {MAX_BYTES} are the limit", text.len()),
            ));
        }
        // A NUL or another control character has no place in a line, and would be echoed into the answer.
        if text.chars().any(|c| c.is_control() && !matches!(c, '\r' | '\n' | '\t')) {
            return Err(malformed("the offer contains control characters"));
        }
        let session = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()))
            .map_err(|error| malformed(format!("the offer is no valid SDP: {error}")))?;
        Self::from_session(&session)
    }

    fn from_session(session: &SessionDescription) -> Result<Self, SdpError> {
        let media = &session.media_descriptions;
        if media.len() > MAX_MEDIA {
            return Err(SdpError::new(
                Kind::TooManyMedia,
                format!("{} m-lines; {MAX_MEDIA} are the limit", media.len()),
            ));
        }
        let lines = media.iter().map(read_line).collect::<Result<Vec<_>, _>>()?;
        check_mids(&lines)?;
        if has(&session.attributes, "ice-lite") {
            return Err(SdpError::new(
                Kind::IceLite,
                "both sides are ICE-lite, so nobody would open the connection",
            ));
        }

        let (audio, opus) = choose_audio(media)?;
        let section = &media[audio];
        let mid = lines[audio].mid.as_deref();
        let group = bundle_group(session, mid);
        // The transport attributes of a bundled m-line may stand at the first line of its group only.
        let tagged = group
            .as_ref()
            .and_then(|group| group.first())
            .and_then(|tag| lines.iter().position(|l| l.mid.as_deref() == Some(tag)))
            .map(|index| &media[index]);
        let places = [
            Some(&section.attributes),
            tagged.map(|m| &m.attributes),
            Some(&session.attributes),
        ];
        let find = |key: &str| places.iter().flatten().find_map(|attributes| value(attributes, key));
        let flag = |key: &str| places.iter().flatten().any(|attributes| has(attributes, key));

        if !flag("rtcp-mux") {
            return Err(SdpError::new(
                Kind::NoRtcpMux,
                "the offer has no a=rtcp-mux; RTP and RTCP share one port here",
            ));
        }
        match find("setup") {
            None | Some("actpass" | "active") => {}
            Some(other) => {
                return Err(SdpError::new(
                    Kind::BadSetup,
                    format!("a=setup:{} in the offer; actpass or active is needed", brief(other)),
                ));
            }
        }
        let fingerprints = Fingerprints::parse(
            places
                .iter()
                .flatten()
                .find(|attributes| has(attributes, "fingerprint"))
                .into_iter()
                .flat_map(|attributes| values(attributes, "fingerprint")),
        )?;

        Ok(Self {
            audio,
            bundle: group.is_some(),
            allow_mixed: flag("extmap-allow-mixed"),
            rtcp_rsize: has(&section.attributes, "rtcp-rsize"),
            extra: extra_media(media, audio, group.as_deref().unwrap_or_default()),
            opus,
            direction: direction(&section.attributes)
                .or_else(|| direction(&session.attributes))
                .unwrap_or(Direction::SendRecv),
            level_id: level_id(&section.attributes).or_else(|| level_id(&session.attributes)),
            ssrcs: ssrcs(&section.attributes),
            ice: remote_ice(find("ice-ufrag"), find("ice-pwd"))?,
            fingerprints,
            lines,
        })
    }

    /// SSRCs announced for the accepted m-line; empty where the client announces none.
    pub fn ssrcs(&self) -> &[u32] {
        &self.ssrcs
    }

    /// Direction as the offerer sees it.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The offerer wants to receive stereo (`stereo=1`).
    pub fn stereo(&self) -> bool {
        self.opus.stereo
    }

    /// The bit rate that the offerer wants to receive at most (`maxaveragebitrate`).
    pub fn max_average_bitrate(&self) -> Option<u32> {
        self.opus.max_average_bitrate
    }

    /// Payload type of Opus.
    pub fn payload_type(&self) -> u8 {
        self.opus.payload_type
    }

    /// Header extension id of the RFC 6464 level, where offered.
    pub fn level_extension(&self) -> Option<u8> {
        self.level_id
    }

    /// `a=mid` of the accepted m-line.
    pub fn mid(&self) -> Option<&str> {
        self.lines[self.audio].mid.as_deref()
    }

    /// How many further audio m-lines of the same transport the offerer wants to receive sound on.
    pub fn slots(&self) -> usize {
        self.extra.len()
    }

    /// Are the accepted m-line of `other` and its first `extra` further ones the same?
    pub(crate) fn same_media(&self, other: &Self, extra: usize) -> bool {
        let lines = |offer: &Self| {
            let accepted = offer.extra.iter().take(extra).map(|extra| extra.line);
            let all = std::iter::once(offer.audio).chain(accepted);
            all.map(|line| (line, offer.lines[line].mid.clone()))
                .collect::<Vec<_>>()
        };
        lines(self) == lines(other)
    }
}

fn malformed(message: impl Into<String>) -> SdpError {
    SdpError::new(Kind::Malformed, message)
}

/// At most a few characters of a stranger's text, for messages.
fn brief(text: &str) -> String {
    text.chars().take(32).collect()
}

fn has(attributes: &[Attribute], key: &str) -> bool {
    attributes.iter().any(|a| a.key == key)
}

fn values<'a>(attributes: &'a [Attribute], key: &'a str) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |a| a.key == key)
        .filter_map(|a| a.value.as_deref())
}

fn value<'a>(attributes: &'a [Attribute], key: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|a| a.key == key)
        .and_then(|a| a.value.as_deref())
        .map(str::trim)
}

/// RFC 8866 token characters: what may be echoed.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| {
            b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'{'..=b'~'
                )
        })
}

fn read_line(media: &MediaDescription) -> Result<Line, SdpError> {
    let name = &media.media_name;
    let proto = name.protos.join("/");
    let clean = |text: &str| is_token(&text.replace('/', ""));
    if !clean(&proto) || !name.formats.iter().all(|f| clean(f)) || name.formats.is_empty() {
        return Err(malformed("an m-line has a protocol or formats that can't be read"));
    }
    let mid = value(&media.attributes, "mid").map(str::to_owned);
    if mid.as_deref().is_some_and(|mid| !is_token(mid) || mid.len() > 64) {
        return Err(SdpError::new(Kind::BadMid, "an a=mid is no token"));
    }
    Ok(Line {
        media: name.media.clone(),
        proto,
        formats: name.formats.clone(),
        mid,
    })
}

fn check_mids(lines: &[Line]) -> Result<(), SdpError> {
    for (index, line) in lines.iter().enumerate() {
        if line.mid.is_some() && lines[..index].iter().any(|other| other.mid == line.mid) {
            return Err(SdpError::new(Kind::BadMid, "two m-lines have the same a=mid"));
        }
    }
    Ok(())
}

/// The mids of the BUNDLE group that `mid` is in.
fn bundle_group<'a>(session: &'a SessionDescription, mid: Option<&str>) -> Option<Vec<&'a str>> {
    let mid = mid?;
    values(&session.attributes, "group")
        .filter_map(|group| group.trim().strip_prefix("BUNDLE "))
        .map(|mids| mids.split_whitespace().collect::<Vec<_>>())
        .find(|mids| mids.contains(&mid))
}

/// The audio m-lines other than `audio` on which the offerer only receives Opus, over the same transport.
fn extra_media(media: &[MediaDescription], audio: usize, group: &[&str]) -> Vec<ExtraMedia> {
    let fits = |(line, section): (usize, &MediaDescription)| {
        let bundled = value(&section.attributes, "mid").is_some_and(|mid| group.contains(&mid));
        let receives = direction(&section.attributes) == Some(Direction::RecvOnly);
        if line == audio || !bundled || !receives || !in_use(section) || !is_dtls_srtp(section) {
            return None;
        }
        Some(ExtraMedia {
            line,
            payload_type: find_opus(section)?.payload_type,
            level_id: level_id(&section.attributes),
        })
    };
    media.iter().enumerate().filter_map(fits).take(MAX_EXTRA).collect()
}

fn in_use(section: &MediaDescription) -> bool {
    let name = &section.media_name;
    name.media == "audio" && (name.port.value != 0 || has(&section.attributes, "bundle-only"))
}

fn is_dtls_srtp(section: &MediaDescription) -> bool {
    matches!(
        section.media_name.protos.join("/").as_str(),
        "UDP/TLS/RTP/SAVPF" | "UDP/TLS/RTP/SAVP" | "TCP/DTLS/RTP/SAVPF" | "RTP/SAVPF" | "RTP/SAVP"
    )
}

/// The first audio m-line that is on, is DTLS-SRTP and has Opus. An error tells which of these failed last.
fn choose_audio(media: &[MediaDescription]) -> Result<(usize, Opus), SdpError> {
    let mut error = SdpError::new(Kind::NoAudio, "the offer has no audio m-line that is in use");
    for (index, section) in media.iter().enumerate() {
        if !in_use(section) {
            continue;
        }
        if !is_dtls_srtp(section) {
            error = SdpError::new(
                Kind::BadTransport,
                "the audio m-line isn't RTP over DTLS-SRTP (UDP/TLS/RTP/SAVPF)",
            );
            continue;
        }
        match find_opus(section) {
            Some(opus) => return Ok((index, opus)),
            None => {
                error = SdpError::new(Kind::NoOpus, "no audio m-line of the offer has Opus at 48 kHz");
            }
        }
    }
    Err(error)
}

fn find_opus(section: &MediaDescription) -> Option<Opus> {
    let attributes = &section.attributes;
    for format in &section.media_name.formats {
        let Ok(payload_type) = format.parse::<u8>() else {
            continue;
        };
        // 64–95 would look like RTCP once the marker bit is set (RFC 5761 section 4).
        if payload_type > 127 || (64..96).contains(&payload_type) {
            continue;
        }
        let mapped = values(attributes, "rtpmap").any(|line| {
            line.trim()
                .split_once(' ')
                .is_some_and(|(pt, codec)| pt == format && codec.trim().eq_ignore_ascii_case("opus/48000/2"))
        });
        if !mapped {
            continue;
        }
        let mut opus = Opus {
            payload_type,
            stereo: false,
            max_average_bitrate: None,
        };
        let parameters = values(attributes, "fmtp")
            .filter_map(|line| line.trim().split_once(' '))
            .find(|(pt, _)| pt == format)
            .map_or("", |(_, parameters)| parameters);
        for parameter in parameters.split(';') {
            match parameter.trim().split_once('=') {
                Some(("stereo", value)) => opus.stereo = value.trim() == "1",
                Some(("maxaveragebitrate", value)) => {
                    opus.max_average_bitrate = value.trim().parse().ok();
                }
                _ => {}
            }
        }
        return Some(opus);
    }
    None
}

fn direction(attributes: &[Attribute]) -> Option<Direction> {
    attributes
        .iter()
        .filter(|a| a.value.is_none())
        .find_map(|a| Direction::parse(&a.key))
}

fn level_id(attributes: &[Attribute]) -> Option<u8> {
    values(attributes, "extmap").find_map(|line| {
        let mut words = line.split_whitespace();
        let (id, uri) = (words.next()?, words.next()?);
        // A one-way extension (`3/recvonly`) isn't worth the trouble: such a line is left unanswered.
        let id: u8 = id.parse().ok()?;
        // 15 ends a one-byte extension block, and 0 is padding.
        (uri == LEVEL_URI && id != 0 && id != 15).then_some(id)
    })
}

fn ssrcs(attributes: &[Attribute]) -> Vec<u32> {
    let mut found: Vec<u32> = vec![];
    for line in values(attributes, "ssrc") {
        let id = line.split_whitespace().next().and_then(|id| id.parse().ok());
        if let Some(id) = id
            && !found.contains(&id)
            && found.len() < MAX_SSRCS
        {
            found.push(id);
        }
    }
    found
}

/// RFC 8839 section 5.4: 4 to 256 and 22 to 256 ice-chars.
fn remote_ice(ufrag: Option<&str>, pwd: Option<&str>) -> Result<RemoteIce, SdpError> {
    let (Some(ufrag), Some(pwd)) = (ufrag, pwd) else {
        return Err(SdpError::new(
            Kind::NoIceCredentials,
            "the offer has no a=ice-ufrag or no a=ice-pwd",
        ));
    };
    let valid = |text: &str, shortest: usize| {
        (shortest..=256).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'='))
    };
    // Firefox and some libraries go below the RFC's four characters; one is enough to tell sessions apart.
    if !valid(ufrag, 1) || !valid(pwd, 22) {
        return Err(SdpError::new(
            Kind::BadIceCredentials,
            "a=ice-ufrag or a=ice-pwd has a wrong length or characters",
        ));
    }
    Ok(RemoteIce {
        ufrag: ufrag.to_owned(),
        pwd: pwd.to_owned(),
    })
}
