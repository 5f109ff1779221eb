//! Writing the answer: every m-line of the offer in its place, those that aren't accepted with port
//! 0.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use super::formats::{Opus, PACKET_MS, Red};
use super::grammar::LEVEL_URI;
use super::offer::{AudioLine, Line};
use super::{Direction, Offer};

/// Our side, as the answer describes it.
pub(crate) struct AnswerParams<'a> {
    pub(crate) session_id: u64,
    pub(crate) version: u64,
    pub(crate) ufrag: &'a str,
    pub(crate) pwd: &'a str,
    /// `sha-256 AB:CD:…`
    pub(crate) fingerprint: &'a str,
    pub(crate) candidates: &'a [SocketAddr],
    pub(crate) tcp_candidates: &'a [SocketAddr],
    /// We begin the DTLS handshake.
    pub(crate) active: bool,
    /// A name for our end of the DTLS connection, for an offer that names its own (RFC 8842 section
    /// 5.3).
    pub(crate) tls_id: &'a str,
    /// Our direction on the m-lines for the microphone and the mix, taken together.
    pub(crate) direction: Direction,
    pub(crate) ssrc: u32,
    /// The mix is stereo.
    pub(crate) stereo: bool,
    /// The bit rate that we ask for. In an answer as in an offer `maxaveragebitrate`, `stereo` and
    /// `useinbandfec` are wishes of the receiver, and only `sprop-stereo` is about what is sent
    /// (RFC 7587 sections 6.1 and 7).
    pub(crate) uplink_bitrate: Option<u32>,
    pub(crate) uplink_stereo: bool,
    /// SSRCs of our streams on the first of the offer's further m-lines.
    pub(crate) extra_ssrcs: &'a [u32],
    pub(crate) cname: &'a str,
}

/// One accepted m-line.
struct Accepted {
    direction: Direction,
    /// The formats, and what `a=rtpmap` and `a=fmtp` say of them.
    format: String,
    attributes: Vec<(&'static str, String)>,
    level_id: Option<u8>,
    /// Our stream on it: the SSRC, and the names of stream and track.
    sends: Option<(u32, String)>,
}

impl Accepted {
    /// A line with Opus; `parameters` are further ones of `a=fmtp`.
    fn opus(opus: &Opus, level_id: Option<u8>, parameters: &str, direction: Direction) -> Self {
        let payload_type = opus.payload_type;
        let fmtp = format!("{payload_type} minptime=10;useinbandfec=1{parameters}");
        let mut attributes = vec![("rtpmap", format!("{payload_type} opus/48000/2")), ("fmtp", fmtp)];
        let mut format = payload_type.to_string();
        if let Some(Red {
            payload_type: red,
            preferred,
        }) = opus.red
        {
            attributes.push(("rtpmap", format!("{red} red/48000/2")));
            attributes.push(("fmtp", format!("{red} {payload_type}/{payload_type}")));
            // In the order of the offer: a browser sends the first.
            format = if preferred {
                format!("{red} {payload_type}")
            } else {
                format!("{payload_type} {red}")
            };
        }
        if opus.nack {
            attributes.push(("rtcp-fb", format!("{payload_type} nack")));
        }
        // The length of the client's packets that we prefer (RFC 3264 section 6.1), whatever it asks for: its offer decides on ours.
        attributes.extend([("ptime", PACKET_MS.to_string()), ("maxptime", "60".to_owned())]);
        Self {
            direction,
            format,
            attributes,
            level_id,
            sends: None,
        }
    }
}

impl Offer {
    pub(crate) fn answer(&self, ours: &AnswerParams<'_>) -> String {
        let mut sdp = String::with_capacity(1024);
        // Writing to a String can't fail.
        let _ = self.write_answer(&mut sdp, ours);
        sdp
    }

    fn write_answer(&self, out: &mut String, ours: &AnswerParams<'_>) -> std::fmt::Result {
        write!(
            out,
            "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n",
            ours.session_id, ours.version
        )?;
        let accepted: Vec<_> = (0..self.lines.len()).map(|line| self.accepted(line, ours)).collect();
        let mut kept: Vec<&Line> = self
            .bundle
            .iter()
            .filter(|line| accepted[**line].is_some())
            .map(|line| &self.lines[*line])
            .collect();
        // The first has the transport, so it is one that was offered with its own (RFC 9143 section
        // 7.3.1).
        if let Some(tagged) = kept.iter().position(|line| line.has_port) {
            kept[..=tagged].rotate_right(1);
        }
        let mids: Vec<&str> = kept.iter().filter_map(|line| line.mid.as_deref()).collect();
        if !mids.is_empty() {
            write!(out, "a=group:BUNDLE {}\r\n", mids.join(" "))?;
        }
        if self.allow_mixed {
            out.push_str("a=extmap-allow-mixed\r\n");
        }
        out.push_str("a=msid-semantic: WMS *\r\na=ice-lite\r\n");
        for (line, accepted) in self.lines.iter().zip(&accepted) {
            match accepted {
                Some(accepted) => self.write_accepted(out, line, ours, accepted)?,
                None => write_rejected(out, line, ours)?,
            }
        }
        Ok(())
    }

    fn accepted(&self, line: usize, ours: &AnswerParams<'_>) -> Option<Accepted> {
        let (up, down) = (self.uplink.line == line, self.downlink.line == line);
        if up {
            let direction = Direction::of(ours.direction.sends() && down, ours.direction.receives());
            return Some(self.accepted_audio(&self.uplink, direction, ours));
        }
        let mut extras = self.extra.iter().zip(ours.extra_ssrcs).enumerate();
        if let Some((number, (extra, ssrc))) = extras.find(|(_, (extra, _))| extra.line == line) {
            let parameters = sprop_stereo(ours.uplink_stereo && self.stereo());
            return Some(Accepted {
                // A stream of its own each, as what is in them isn't to be played in step.
                sends: Some((*ssrc, format!("roomtone-slot-{number} slot-{number}"))),
                ..Accepted::opus(&extra.opus, extra.level_id, parameters, Direction::SendOnly)
            });
        }
        if down && ours.extra_ssrcs.is_empty() {
            let direction = Direction::of(ours.direction.sends(), false);
            return Some(self.accepted_audio(&self.downlink, direction, ours));
        }
        let parked = self.parked.iter().find(|parked| parked.line == line)?;
        Some(Accepted {
            direction: Direction::Inactive,
            format: parked.format.clone(),
            attributes: parked.attributes.clone(),
            level_id: None,
            sends: None,
        })
    }

    // The line of the microphone, of the mix, or of both.
    fn accepted_audio(&self, audio: &AudioLine, direction: Direction, ours: &AnswerParams<'_>) -> Accepted {
        let mut parameters = String::new();
        if direction.receives() {
            if let Some(bitrate) = ours.uplink_bitrate {
                // Writing to a String can't fail.
                let _ = write!(parameters, ";maxaveragebitrate={bitrate}");
            }
            if ours.uplink_stereo {
                parameters.push_str(";stereo=1");
            }
        }
        parameters.push_str(sprop_stereo(ours.stereo && audio.line == self.downlink.line));
        Accepted {
            sends: direction.sends().then(|| (ours.ssrc, "roomtone mix".to_owned())),
            ..Accepted::opus(&audio.opus, audio.level_id, &parameters, direction)
        }
    }

    fn write_accepted(
        &self,
        out: &mut String,
        line: &Line,
        ours: &AnswerParams<'_>,
        accepted: &Accepted,
    ) -> std::fmt::Result {
        // The first candidate is the default one (RFC 8839 section 4.2.1); without any, the
        // placeholder.
        let (address, port) = match ours.candidates.first() {
            Some(first) => (first.ip().to_canonical(), first.port()),
            None => (IpAddr::from([0, 0, 0, 0]), 9),
        };
        let family = if address.is_ipv4() { "IP4" } else { "IP6" };
        let Line { media, proto, .. } = line;
        let format = &accepted.format;
        write!(out, "m={media} {port} {proto} {format}\r\nc=IN {family} {address}\r\n")?;
        if let Some(mid) = &line.mid {
            write!(out, "a=mid:{mid}\r\n")?;
        }
        write!(out, "a={}\r\n", accepted.direction.as_str())?;
        write_transport(out, ours)?;
        if self.has_tls_id() {
            write!(out, "a=tls-id:{}\r\n", ours.tls_id)?;
        }
        out.push_str("a=rtcp-mux\r\n");
        if self.rtcp_mux_only {
            out.push_str("a=rtcp-mux-only\r\n");
        }
        if self.rtcp_rsize {
            out.push_str("a=rtcp-rsize\r\n");
        }
        for (key, value) in &accepted.attributes {
            write!(out, "a={key}:{value}\r\n")?;
        }
        if let Some(id) = accepted.level_id {
            write!(out, "a=extmap:{id} {LEVEL_URI}\r\n")?;
        }
        if let Some((ssrc, msid)) = &accepted.sends {
            write!(
                out,
                "a=msid:{msid}\r\na=ssrc:{ssrc} cname:{}\r\na=ssrc:{ssrc} msid:{msid}\r\n",
                ours.cname
            )?;
        }
        for (index, candidate) in ours.candidates.iter().enumerate() {
            write!(
                out,
                "a=candidate:{} 1 udp {} {} {} typ host\r\n",
                index + 1,
                priority(index),
                candidate.ip().to_canonical(),
                candidate.port()
            )?;
        }
        for (index, candidate) in ours.tcp_candidates.iter().enumerate() {
            write!(
                out,
                "a=candidate:{} 1 tcp {} {} {} typ host tcptype passive\r\n",
                ours.candidates.len() + index + 1,
                tcp_priority(index),
                candidate.ip().to_canonical(),
                candidate.port()
            )?;
        }
        out.push_str("a=end-of-candidates\r\n");
        Ok(())
    }
}

fn sprop_stereo(stereo: bool) -> &'static str {
    if stereo { ";sprop-stereo=1" } else { "" }
}

/// RFC 8445 section 5.1.2.1, host candidates of component 1; earlier addresses are preferred.
fn priority(index: usize) -> u32 {
    let local_preference = 65_535u32.saturating_sub(u32::try_from(index).unwrap_or(u32::MAX));
    (126 << 24) | (local_preference << 8) | 255
}

/// RFC 6544 section 4.2: as a host candidate of UDP, but of a lower type preference; the direction
/// preference of a passive one is 4.
fn tcp_priority(index: usize) -> u32 {
    let other_preference = 8_191u32.saturating_sub(u32::try_from(index).unwrap_or(u32::MAX));
    (125 << 24) | (((4 << 13) | other_preference) << 8) | 255
}

fn write_transport(out: &mut String, ours: &AnswerParams<'_>) -> std::fmt::Result {
    write!(
        out,
        "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{}\r\na=setup:{}\r\n",
        ours.ufrag,
        ours.pwd,
        ours.fingerprint,
        if ours.active { "active" } else { "passive" },
    )
}

/// RFC 3264 section 6: a refused stream stays in its place, with port 0. Where the line is one of
/// DTLS, it has the attributes of our transport all the same, as browsers write them: GStreamer's
/// webrtcbin takes no answer that has a line without.
fn write_rejected(out: &mut String, line: &Line, ours: &AnswerParams<'_>) -> std::fmt::Result {
    write!(
        out,
        "m={} 0 {} {}\r\nc=IN IP4 0.0.0.0\r\n",
        line.media,
        line.proto,
        line.formats.join(" ")
    )?;
    if let Some(mid) = &line.mid {
        write!(out, "a=mid:{mid}\r\n")?;
    }
    out.push_str("a=inactive\r\n");
    if line.proto.contains("TLS") {
        write_transport(out, ours)?;
    }
    Ok(())
}
