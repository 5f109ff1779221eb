//! Reading an offer into the facts that the transport needs, and deciding what each m-line is for.

use std::fmt;

use sdp_types::{Attribute, Media, Session};

use super::formats::{Opus, PACKET_MS, find_opus};
use super::grammar::{self, Origin, brief, format_value, has, is_token, malformed, value, values};
use super::{Direction, Fingerprints, SdpError, SdpErrorKind as Kind};

/// Several times the m-lines of the busiest browser page.
const MAX_MEDIA: usize = 64;
/// Further m-lines on which we might send.
const MAX_EXTRA: usize = 8;
/// SSRCs of the audio m-line that are let in.
const MAX_SSRCS: usize = 8;
/// Codecs that carry other codecs' packets: an m-line can't be answered with these alone.
const HELPERS: [&str; 5] = ["rtx", "red", "ulpfec", "flexfec-03", "telephone-event"];

/// ICE credentials of the peer. Debug shows the ufrag (it is on the wire in clear) and never the
/// password.
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

/// The offerer's part in the DTLS handshake (RFC 8842 section 5, RFC 4145 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// Either; also where the offer has no `a=setup`.
    ActPass,
    /// The client.
    Active,
    /// The server: the handshake is ours to begin.
    Passive,
}

/// An m-line as the answer has to repeat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) media: String,
    pub(super) proto: String,
    pub(super) formats: Vec<String>,
    pub(super) mid: Option<String>,
    /// It has a transport of its own.
    pub(super) has_port: bool,
}

/// An m-line with Opus, on which one side or both send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AudioLine {
    pub(super) line: usize,
    pub(super) direction: Direction,
    pub(super) level_id: Option<u8>,
    pub(super) opus: Opus,
}

/// A further m-line on which the offerer only receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtraMedia {
    pub(super) line: usize,
    pub(super) opus: Opus,
    pub(super) level_id: Option<u8>,
}

impl ExtraMedia {
    /// The numbers for packets that are sent there.
    pub(crate) fn numbers(&self) -> Numbers {
        self.opus.numbers(self.level_id)
    }
}

/// The numbers that an m-line has for what is in our packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Payload type of Opus.
    pub(crate) opus: u8,
    /// Payload type of redundant Opus (RED), where offered.
    pub(crate) red: Option<u8>,
    /// Header extension id of the RFC 6464 level, where offered.
    pub(crate) level: Option<u8>,
    /// Lost packets may be asked for (NACK, RFC 4585).
    pub(crate) nack: bool,
}

/// An m-line that is accepted though nothing is sent on it: a microphone that was removed, or the
/// line whose transport the others of the bundle share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ParkedLine {
    pub(super) line: usize,
    /// The format that the answer has, and its `a=rtpmap` and `a=fmtp`.
    pub(super) format: String,
    pub(super) attributes: Vec<(&'static str, String)>,
}

/// A parsed offer that can be answered.
#[derive(Clone, Debug)]
pub struct Offer {
    pub(super) lines: Vec<Line>,
    /// The m-line on which the peer is heard, or, if it doesn't send, the first one with Opus.
    pub(super) uplink: AudioLine,
    /// The m-line on which the mix is sent: as a rule the same one.
    pub(super) downlink: AudioLine,
    /// The m-lines of the bundle, in its order. Empty without one.
    pub(super) bundle: Vec<usize>,
    pub(super) parked: Vec<ParkedLine>,
    pub(crate) extra: Vec<ExtraMedia>,
    pub(super) allow_mixed: bool,
    pub(super) rtcp_rsize: bool,
    pub(super) rtcp_mux_only: bool,
    ssrcs: Vec<u32>,
    origin: Origin,
    tls_id: Option<String>,
    pub(crate) setup: Setup,
    pub(crate) ice: RemoteIce,
    pub(crate) fingerprints: Fingerprints,
}

impl Offer {
    /// Reads an offer; an error names what is missing or wrong, and the line where it is.
    ///
    /// # Errors
    /// Only what the transport can't do without is a reason to refuse: audio with Opus, ICE
    /// credentials, a fingerprint, RTP and RTCP on one port. M-lines of other kinds, unknown
    /// attributes and addresses are left alone.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        let (session, origin) = grammar::parse(text)?;
        if session.medias.len() > MAX_MEDIA {
            return Err(SdpError::new(
                Kind::TooManyMedia,
                format!("{} m-lines; {MAX_MEDIA} are the limit", session.medias.len()),
            ));
        }
        let lines = session.medias.iter().enumerate().map(read_line);
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        check_mids(&lines)?;
        if has(&session.attributes, "ice-lite") {
            return Err(SdpError::new(
                Kind::IceLite,
                "both sides are ICE-lite, so nobody would open the connection",
            ));
        }
        Reader {
            session: &session,
            lines: &lines,
        }
        .read(origin)
    }

    /// SSRCs announced for the m-line on which the peer sends; empty where the client announces
    /// none.
    pub fn ssrcs(&self) -> &[u32] {
        &self.ssrcs
    }

    /// Direction as the offerer sees it, of the accepted m-lines together: one may send and another
    /// receive.
    pub fn direction(&self) -> Direction {
        Direction::of(self.uplink.direction.sends(), self.downlink.direction.receives())
    }

    /// The offerer wants to receive stereo (`stereo=1`).
    pub fn stereo(&self) -> bool {
        self.downlink.opus.stereo
    }

    /// The bit rate that the offerer wants to receive at most (`maxaveragebitrate`).
    pub fn max_average_bitrate(&self) -> Option<u32> {
        self.downlink.opus.max_average_bitrate
    }

    /// How long packets to the offerer are to be, ms: on the m-line of the mix, or on a further one.
    pub(crate) fn packet_ms(&self, extra: Option<usize>) -> u32 {
        let opus = match extra {
            None => Some(&self.downlink.opus),
            Some(extra) => self.extra.get(extra).map(|extra| &extra.opus),
        };
        opus.map_or(PACKET_MS, |opus| opus.packet_ms)
    }

    /// Payload type of Opus on the m-line on which the peer sends.
    pub fn payload_type(&self) -> u8 {
        self.uplink.opus.payload_type
    }

    /// Header extension id of the RFC 6464 level on that m-line, where offered.
    pub fn level_extension(&self) -> Option<u8> {
        self.uplink.level_id
    }

    /// Payload type of redundant Opus (RED, RFC 2198) on that m-line, where offered.
    pub fn red_payload_type(&self) -> Option<u8> {
        self.uplink.opus.red.map(|red| red.payload_type)
    }

    /// Whether lost packets of the peer may be asked for (NACK, RFC 4585).
    pub(crate) fn nack(&self) -> bool {
        self.uplink.opus.nack
    }

    /// Whether RTCP packets may come alone (RFC 5506).
    pub(crate) fn rtcp_rsize(&self) -> bool {
        self.rtcp_rsize
    }

    /// How what is sent to the peer is numbered.
    pub(crate) fn downlink_numbers(&self) -> Numbers {
        self.downlink.opus.numbers(self.downlink.level_id)
    }

    /// `a=mid` of the m-line on which the peer sends.
    pub fn mid(&self) -> Option<&str> {
        self.lines[self.uplink.line].mid.as_deref()
    }

    /// How many further audio m-lines of the same transport the offerer wants to receive sound on.
    pub fn slots(&self) -> usize {
        self.extra.len()
    }

    /// The offerer names DTLS connections (`a=tls-id`, RFC 8842 section 4).
    pub(crate) fn has_tls_id(&self) -> bool {
        self.tls_id.is_some()
    }

    /// Is `later` from the same client, for the same DTLS connection, as far as SDP can tell? Its
    /// certificate is compared elsewhere.
    ///
    /// Another `a=tls-id`, or another session in `o=`, is another connection (RFC 8842 sections 3.1
    /// and 5.5). But an offer with the very ICE credentials of this one isn't of a client that has
    /// begun anew, whatever its `o=` says: some make that up each time.
    pub(crate) fn same_connection(&self, later: &Self) -> bool {
        match (&self.tls_id, &later.tls_id) {
            (Some(before), Some(after)) if before != after => false,
            (Some(_), Some(_)) => true,
            _ => self.origin == later.origin || self.ice == later.ice,
        }
    }

    /// Are the m-lines that this offer uses still in their places in `later`, and its first `extra`
    /// further ones the same?
    pub(crate) fn same_media(&self, later: &Self, extra: usize) -> bool {
        let used = [self.uplink.line, self.downlink.line];
        let kept = |line: &usize| later.lines.get(*line).is_some_and(|l| l.mid == self.lines[*line].mid);
        let extras = |offer: &Self| {
            let lines = offer.extra.iter().take(extra).map(|extra| extra.line);
            lines
                .map(|line| (line, offer.lines[line].mid.clone()))
                .collect::<Vec<_>>()
        };
        used.iter().all(kept) && extras(self) == extras(later)
    }
}

fn read_line((index, media): (usize, &Media)) -> Result<Line, SdpError> {
    let formats: Vec<String> = media.fmt.split_whitespace().map(str::to_owned).collect();
    let clean = |text: &str| is_token(&text.replace('/', ""));
    let known = clean(&media.media) && clean(&media.proto) && formats.iter().all(|f| clean(f)) && !formats.is_empty();
    if !known {
        return Err(malformed(format!(
            "m-line {} has a media type, a protocol or formats that can't be read",
            index + 1
        )));
    }
    let mid = value(&media.attributes, "mid").map(str::to_owned);
    if mid.as_deref().is_some_and(|mid| !is_token(mid) || mid.len() > 64) {
        return Err(SdpError::new(
            Kind::BadMid,
            format!("a=mid of m-line {} is no token", index + 1),
        ));
    }
    Ok(Line {
        media: media.media.clone(),
        proto: media.proto.clone(),
        formats,
        mid,
        has_port: media.port != 0,
    })
}

fn check_mids(lines: &[Line]) -> Result<(), SdpError> {
    for (index, line) in lines.iter().enumerate() {
        let same = lines[..index].iter().position(|other| other.mid == line.mid);
        if let (Some(mid), Some(other)) = (&line.mid, same) {
            let message = format!("m-lines {} and {} have the same a=mid:{mid}", other + 1, index + 1);
            return Err(SdpError::new(Kind::BadMid, message));
        }
    }
    Ok(())
}

/// Judges the m-lines of an offer.
struct Reader<'a> {
    session: &'a Session,
    lines: &'a [Line],
}

impl Reader<'_> {
    fn read(&self, origin: Origin) -> Result<Offer, SdpError> {
        let usable = self.usable()?;
        // The line that sends is the one that is heard; a listener's is the first that receives.
        let sends = |audio: &&AudioLine| audio.direction.sends();
        let receives = |audio: &&AudioLine| audio.direction.receives();
        let uplink = *usable
            .iter()
            .find(sends)
            .or_else(|| usable.iter().find(receives))
            .unwrap_or(&usable[0]);
        let bundle = self.bundle(uplink.line);
        let shares = |audio: &&AudioLine| bundle.contains(&audio.line);
        let downlink = if uplink.direction.receives() || !uplink.direction.sends() {
            uplink
        } else {
            match usable.iter().find(receives) {
                None => uplink,
                Some(other) if shares(&other) => *usable.iter().filter(shares).find(receives).unwrap_or(other),
                Some(other) => return Err(self.apart(uplink.line, other.line)),
            }
        };

        let tagged = self.tagged(uplink.line, &bundle)?;
        let places = [
            Some(uplink.line),
            Some(downlink.line).filter(|line| *line != uplink.line),
            tagged,
            // The transport may be written there only, even if the line is of no use here.
            bundle.first().copied(),
        ];
        let places: Vec<&[Attribute]> = places
            .iter()
            .flatten()
            .map(|line| self.attributes(*line))
            .chain([self.session.attributes.as_slice()])
            .collect();
        let find = |key: &'static str| places.iter().find_map(|attributes| value(attributes, key));
        let flag = |key: &str| places.iter().any(|attributes| has(attributes, key));

        if !flag("rtcp-mux") && !flag("rtcp-mux-only") {
            return Err(SdpError::new(
                Kind::NoRtcpMux,
                format!(
                    "{} has no a=rtcp-mux; RTP and RTCP share one port here",
                    self.name(uplink.line)
                ),
            ));
        }
        let setup = match find("setup") {
            None | Some("actpass") => Setup::ActPass,
            Some("active") => Setup::Active,
            Some("passive") => Setup::Passive,
            Some(other) => {
                return Err(SdpError::new(
                    Kind::BadSetup,
                    format!(
                        "{} has a=setup:{}; actpass, active or passive is needed",
                        self.name(uplink.line),
                        brief(other)
                    ),
                ));
            }
        };
        let fingerprints = Fingerprints::parse(
            places
                .iter()
                .find(|attributes| has(attributes, "fingerprint"))
                .into_iter()
                .flat_map(|attributes| values(attributes, "fingerprint")),
        )?;
        let ice = remote_ice(&self.name(uplink.line), find("ice-ufrag"), find("ice-pwd"))?;
        let (tls_id, allow_mixed) = (find("tls-id").map(str::to_owned), flag("extmap-allow-mixed"));
        let rtcp_mux_only = flag("rtcp-mux-only");

        let extra = self.extra(&usable, uplink.line, &bundle);
        let parked = self.parked(&usable, [uplink.line, downlink.line], tagged, &bundle);
        let rtcp_rsize = has(self.attributes(uplink.line), "rtcp-rsize");
        Ok(Offer {
            lines: self.lines.to_vec(),
            uplink,
            downlink,
            bundle,
            parked,
            extra,
            allow_mixed,
            rtcp_rsize,
            rtcp_mux_only,
            ssrcs: ssrcs(self.attributes(uplink.line)),
            origin,
            tls_id,
            setup,
            ice,
            fingerprints,
        })
    }

    fn media(&self, line: usize) -> &Media {
        &self.session.medias[line]
    }

    fn attributes(&self, line: usize) -> &[Attribute] {
        &self.media(line).attributes
    }

    /// An m-line's name in a message.
    fn name(&self, line: usize) -> String {
        let Line { media, mid, .. } = &self.lines[line];
        let mid = mid.as_ref().map(|mid| format!(", mid {}", brief(mid)));
        format!(
            "m-line {} ({}{})",
            line + 1,
            brief(media),
            mid.as_deref().unwrap_or_default()
        )
    }

    fn apart(&self, sends: usize, receives: usize) -> SdpError {
        let (sends, receives) = (self.name(sends), self.name(receives));
        let message = format!("{sends} sends and {receives} receives, but they aren't in one BUNDLE group");
        SdpError::new(Kind::NotBundled, message)
    }

    /// The audio m-lines that are on, are DTLS-SRTP and have Opus. An error tells what the last one
    /// lacks.
    fn usable(&self) -> Result<Vec<AudioLine>, SdpError> {
        let mut error = SdpError::new(Kind::NoAudio, "the offer has no audio m-line that is in use");
        let mut usable = vec![];
        for (line, media) in self.session.medias.iter().enumerate() {
            if media.media != "audio" || !in_use(media) {
                continue;
            }
            if !is_dtls_srtp(media) {
                let proto = brief(&media.proto);
                let message = format!(
                    "{} is {proto}, not RTP over DTLS-SRTP (UDP/TLS/RTP/SAVPF)",
                    self.name(line)
                );
                error = SdpError::new(Kind::BadTransport, message);
                continue;
            }
            match find_opus(media) {
                Ok(opus) => usable.push(AudioLine {
                    line,
                    direction: grammar::direction(self.session, media),
                    level_id: grammar::level_id(self.session, media),
                    opus,
                }),
                Err(lacks) => error = SdpError::new(Kind::NoOpus, format!("{} {lacks}", self.name(line))),
            }
        }
        if usable.is_empty() { Err(error) } else { Ok(usable) }
    }

    /// The m-lines of the BUNDLE group that `line` is in, in the group's order.
    fn bundle(&self, line: usize) -> Vec<usize> {
        let Some(mid) = self.lines[line].mid.as_deref() else {
            return vec![];
        };
        let line_of = |mid: &str| self.lines.iter().position(|line| line.mid.as_deref() == Some(mid));
        values(&self.session.attributes, "group")
            .filter_map(|group| group.trim().strip_prefix("BUNDLE "))
            .map(|mids| mids.split_whitespace().collect::<Vec<_>>())
            .find(|mids| mids.contains(&mid))
            .map(|mids| mids.into_iter().filter_map(line_of).collect())
            .unwrap_or_default()
    }

    /// The m-line whose transport the bundle has, where that is another one than the audio's: the
    /// first one of the group that has a port and can be accepted (RFC 9143 section 7.3.1).
    ///
    /// By the letter an audio line with a port could do without it. But a browser with the policy
    /// `max-bundle` has one transport, and gives up if the line that it belongs to is rejected.
    fn tagged(&self, audio: usize, bundle: &[usize]) -> Result<Option<usize>, SdpError> {
        let has_port = self.media(audio).port != 0;
        let fits = |line: &&usize| self.media(**line).port != 0 && is_dtls_srtp(self.media(**line));
        let ufrag = |line: usize| value(self.attributes(line), "ice-ufrag");
        if has_port {
            let first = bundle.iter().take(1).find(fits).copied();
            let shared = |line: &usize| ufrag(*line).is_none_or(|first| ufrag(audio).is_none_or(|own| own == first));
            return Ok(first.filter(|line| *line != audio && shared(line)));
        }
        match bundle.iter().find(fits) {
            Some(line) => Ok(Some(*line)),
            None => Err(SdpError::new(
                Kind::BadTransport,
                format!(
                    "{} is bundle-only, and no m-line of its BUNDLE group has a transport that is taken here",
                    self.name(audio)
                ),
            )),
        }
    }

    /// The audio m-lines other than `uplink` on which the offerer only receives, over the same
    /// transport.
    fn extra(&self, usable: &[AudioLine], uplink: usize, bundle: &[usize]) -> Vec<ExtraMedia> {
        let fits = |audio: &&AudioLine| {
            audio.line != uplink && audio.direction == Direction::RecvOnly && bundle.contains(&audio.line)
        };
        let extra = usable.iter().filter(fits).map(|audio| ExtraMedia {
            line: audio.line,
            opus: audio.opus,
            level_id: audio.level_id,
        });
        extra.take(MAX_EXTRA).collect()
    }

    /// The m-lines that are kept without sound on them. One of the `extra` ones may be among them,
    /// for where those aren't wanted, and the mix's own, if it has the transport, for where they are.
    fn parked(
        &self,
        usable: &[AudioLine],
        used: [usize; 2],
        tagged: Option<usize>,
        bundle: &[usize],
    ) -> Vec<ParkedLine> {
        let is_transport = |line: usize| tagged == Some(line);
        let idle = |audio: &&AudioLine| {
            let idle = audio.direction == Direction::Inactive && bundle.contains(&audio.line);
            let [uplink, downlink] = used;
            audio.line != uplink && (is_transport(audio.line) || idle && audio.line != downlink)
        };
        let idle = usable.iter().filter(idle);
        let idle = idle.map(|audio| (audio.line, audio.opus.payload_type.to_string()));
        let transport = tagged
            .filter(|line| is_transport(*line) && !usable.iter().any(|audio| audio.line == *line))
            .map(|line| (line, self.plain_format(line)));
        let park = |(line, format): (usize, String)| {
            let attribute = |key: &'static str| {
                let value = format_value(self.attributes(line), key, &format)?;
                Some((key, format!("{format} {value}")))
            };
            ParkedLine {
                line,
                attributes: ["rtpmap", "fmtp"].into_iter().filter_map(attribute).collect(),
                format,
            }
        };
        idle.chain(transport).map(park).collect()
    }

    // The first format that stands for itself.
    fn plain_format(&self, line: usize) -> String {
        let formats = &self.lines[line].formats;
        let plain = |format: &&String| {
            let codec = format_value(self.attributes(line), "rtpmap", format).unwrap_or_default();
            let name = codec.split('/').next().unwrap_or_default();
            !HELPERS.iter().any(|helper| name.eq_ignore_ascii_case(helper))
        };
        formats.iter().find(plain).unwrap_or(&formats[0]).clone()
    }
}

fn in_use(media: &Media) -> bool {
    media.port != 0 || has(&media.attributes, "bundle-only")
}

fn is_dtls_srtp(media: &Media) -> bool {
    matches!(
        media.proto.as_str(),
        "UDP/TLS/RTP/SAVPF"
            | "UDP/TLS/RTP/SAVP"
            | "TCP/DTLS/RTP/SAVPF"
            | "TCP/DTLS/RTP/SAVP"
            | "RTP/SAVPF"
            | "RTP/SAVP"
    )
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
fn remote_ice(name: &str, ufrag: Option<&str>, pwd: Option<&str>) -> Result<RemoteIce, SdpError> {
    let (Some(ufrag), Some(pwd)) = (ufrag, pwd) else {
        return Err(SdpError::new(
            Kind::NoIceCredentials,
            format!("{name} has no a=ice-ufrag or no a=ice-pwd"),
        ));
    };
    let valid = |text: &str, shortest: usize| {
        (shortest..=256).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'='))
    };
    // Firefox and some libraries go below the RFC's four characters; one is enough to tell sessions
    // apart.
    if !valid(ufrag, 1) || !valid(pwd, 22) {
        return Err(SdpError::new(
            Kind::BadIceCredentials,
            format!("a=ice-ufrag or a=ice-pwd of {name} has a wrong length or characters"),
        ));
    }
    Ok(RemoteIce {
        ufrag: ufrag.to_owned(),
        pwd: pwd.to_owned(),
    })
}
