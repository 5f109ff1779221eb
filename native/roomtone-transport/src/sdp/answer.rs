//! Writing the answer: every m-line of the offer in its place, those that aren't accepted with port 0.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use super::offer::{LEVEL_URI, Line};
use super::{Direction, Offer};

/// What the answer says about our side.
pub(crate) struct AnswerParams<'a> {
    pub(crate) session_id: u64,
    pub(crate) version: u64,
    pub(crate) ufrag: &'a str,
    pub(crate) pwd: &'a str,
    /// `sha-256 AB:CD:…`
    pub(crate) fingerprint: &'a str,
    pub(crate) candidates: &'a [SocketAddr],
    pub(crate) direction: Direction,
    pub(crate) ssrc: u32,
    /// We send stereo on the first m-line.
    pub(crate) stereo: bool,
    /// What we want to get. In an answer as in an offer `maxaveragebitrate`, `stereo` and `useinbandfec` are wishes of who will receive,
    /// and only `sprop-stereo` is about what is sent (RFC 7587 sections 6.1 and 7).
    pub(crate) uplink_bitrate: Option<u32>,
    pub(crate) uplink_stereo: bool,
    /// SSRCs of our streams on the first of the offer's further m-lines.
    pub(crate) extra_ssrcs: &'a [u32],
    pub(crate) cname: &'a str,
}

/// One accepted m-line.
struct Accepted {
    direction: Direction,
    payload_type: u8,
    level_id: Option<u8>,
    /// Further parameters of Opus.
    parameters: String,
    ssrc: u32,
    /// Names of the stream and its track.
    msid: String,
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
        if let (true, Some(mid)) = (self.bundle, self.mid()) {
            write!(out, "a=group:BUNDLE {mid}")?;
            let extra = self.extra.iter().take(ours.extra_ssrcs.len());
            for mid in extra.filter_map(|extra| self.lines[extra.line].mid.as_deref()) {
                write!(out, " {mid}")?;
            }
            out.push_str("\r\n");
        }
        if self.allow_mixed {
            out.push_str("a=extmap-allow-mixed\r\n");
        }
        out.push_str("a=msid-semantic: WMS *\r\na=ice-lite\r\n");
        for (index, line) in self.lines.iter().enumerate() {
            match self.accepted(index, ours) {
                Some(accepted) => self.write_audio(out, line, ours, &accepted)?,
                None => write_rejected(out, line)?,
            }
        }
        Ok(())
    }

    fn accepted(&self, index: usize, ours: &AnswerParams<'_>) -> Option<Accepted> {
        if index == self.audio {
            return Some(Accepted {
                direction: ours.direction,
                payload_type: self.payload_type(),
                level_id: self.level_extension(),
                parameters: uplink(ours),
                ssrc: ours.ssrc,
                msid: "roomtone mix".to_owned(),
            });
        }
        let mut extras = self.extra.iter().zip(ours.extra_ssrcs).enumerate();
        let (number, (extra, ssrc)) = extras.find(|(_, (extra, _))| extra.line == index)?;
        Some(Accepted {
            direction: Direction::SendOnly,
            payload_type: extra.payload_type,
            level_id: extra.level_id,
            parameters: sprop_stereo(ours.uplink_stereo && self.stereo()).to_owned(),
            ssrc: *ssrc,
            // A stream of its own each, as what is in them isn't to be played in step.
            msid: format!("roomtone-slot-{number} slot-{number}"),
        })
    }

    fn write_audio(
        &self,
        out: &mut String,
        line: &Line,
        ours: &AnswerParams<'_>,
        accepted: &Accepted,
    ) -> std::fmt::Result {
        let pt = accepted.payload_type;
        // The first candidate is the default one (RFC 8839 section 4.2.1); without any, the placeholder.
        let (address, port) = match ours.candidates.first() {
            Some(first) => (first.ip().to_canonical(), first.port()),
            None => (IpAddr::from([0, 0, 0, 0]), 9),
        };
        let family = if address.is_ipv4() { "IP4" } else { "IP6" };
        write!(out, "m=audio {port} {} {pt}\r\nc=IN {family} {address}\r\n", line.proto)?;
        if let Some(mid) = &line.mid {
            write!(out, "a=mid:{mid}\r\n")?;
        }
        write!(
            out,
            "a={}\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{}\r\na=setup:passive\r\na=rtcp-mux\r\n",
            accepted.direction.as_str(),
            ours.ufrag,
            ours.pwd,
            ours.fingerprint
        )?;
        if self.rtcp_rsize {
            out.push_str("a=rtcp-rsize\r\n");
        }
        write!(
            out,
            "a=rtpmap:{pt} opus/48000/2\r\na=fmtp:{pt} minptime=10;useinbandfec=1{}\r\na=ptime:20\r\na=maxptime:60\r\n",
            accepted.parameters
        )?;
        if let Some(id) = accepted.level_id {
            write!(out, "a=extmap:{id} {LEVEL_URI}\r\n")?;
        }
        if accepted.direction.sends() {
            write!(
                out,
                "a=msid:{2}\r\na=ssrc:{0} cname:{1}\r\na=ssrc:{0} msid:{2}\r\n",
                accepted.ssrc, ours.cname, accepted.msid
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
        out.push_str("a=end-of-candidates\r\n");
        Ok(())
    }
}

/// What we want of the m-line on which the peer sends, and what comes back on it.
fn uplink(ours: &AnswerParams<'_>) -> String {
    let mut parameters = String::new();
    if ours.direction.receives() {
        if let Some(bitrate) = ours.uplink_bitrate {
            // Writing to a String can't fail.
            let _ = write!(parameters, ";maxaveragebitrate={bitrate}");
        }
        if ours.uplink_stereo {
            parameters.push_str(";stereo=1");
        }
    }
    parameters + sprop_stereo(ours.stereo)
}

fn sprop_stereo(stereo: bool) -> &'static str {
    if stereo { ";sprop-stereo=1" } else { "" }
}

/// RFC 8445 section 5.1.2.1, host candidates of component 1; earlier addresses are preferred.
fn priority(index: usize) -> u32 {
    let local_preference = 65_535u32.saturating_sub(u32::try_from(index).unwrap_or(u32::MAX));
    (126 << 24) | (local_preference << 8) | 255
}

/// RFC 3264 section 6: a refused stream stays in its place, with port 0.
fn write_rejected(out: &mut String, line: &Line) -> std::fmt::Result {
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
    Ok(())
}
