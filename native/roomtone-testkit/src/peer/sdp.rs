//! The client's offer, and what it needs of the answer.

use std::fmt::Write;
use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};

use rtc::sdp::SessionDescription;
use rtc::sdp::description::media::MediaDescription;

use super::{ClientError, ClientOptions};

const LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const MAX_ANSWER: usize = 64 * 1024;

pub(super) struct OfferParts<'a> {
    pub options: &'a ClientOptions,
    pub session: u64,
    pub version: u32,
    pub ufrag: &'a str,
    pub pwd: &'a str,
    pub fingerprint: &'a str,
    pub ssrc: u32,
}

/// Writes the offer of a browser-like peer with one audio m-line.
pub(super) fn offer(parts: &OfferParts<'_>) -> String {
    let options = parts.options;
    let mut sdp = String::with_capacity(1024);
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a String doesn't fail.
        let _ = sdp.write_fmt(text);
        sdp.push_str("\r\n");
    };
    line(format_args!("v=0"));
    line(format_args!("o=- {} {} IN IP4 127.0.0.1", parts.session, parts.version));
    line(format_args!("s=-"));
    line(format_args!("t=0 0"));
    let mut bundle = options.mid.clone();
    for slot in 0..options.slots {
        bundle.push_str(&format!(" slot{slot}"));
    }
    for mid in options
        .extra_media
        .lines()
        .filter_map(|l| l.trim_end().strip_prefix("a=mid:"))
    {
        bundle.push(' ');
        bundle.push_str(mid);
    }
    line(format_args!("a=group:BUNDLE {bundle}"));
    line(format_args!("a=msid-semantic: WMS"));
    let pt = options.payload_type;
    let formats = formats(options);
    line(format_args!("m=audio 9 UDP/TLS/RTP/SAVPF {formats}"));
    line(format_args!("c=IN IP4 0.0.0.0"));
    line(format_args!("a=rtcp:9 IN IP4 0.0.0.0"));
    line(format_args!("a=ice-ufrag:{}", parts.ufrag));
    line(format_args!("a=ice-pwd:{}", parts.pwd));
    line(format_args!("a=fingerprint:{}", parts.fingerprint));
    line(format_args!("a=setup:actpass"));
    line(format_args!("a=mid:{}", options.mid));
    if options.level_ext {
        line(format_args!("a=extmap:{} {LEVEL_URI}", options.level_ext_id));
    }
    line(format_args!("a={}", options.direction.attribute()));
    if options.direction.sends() {
        line(format_args!("a=msid:- {}", options.cname));
    }
    line(format_args!("a=rtcp-mux"));
    line(format_args!("a=rtcp-rsize"));
    line(format_args!("a=rtpmap:{pt} opus/48000/2"));
    let stereo = if options.stereo { ";stereo=1" } else { "" };
    line(format_args!("a=fmtp:{pt} minptime=10;useinbandfec=1{stereo}"));
    if options.nack {
        line(format_args!("a=rtcp-fb:{pt} nack"));
    }
    if let Some(red) = options.red {
        line(format_args!("a=rtpmap:{red} red/48000/2"));
        line(format_args!("a=fmtp:{red} {pt}/{pt}"));
    }
    if let Some(ptime) = options.ptime {
        line(format_args!("a=ptime:{ptime}"));
    }
    if options.direction.sends() && options.announce_ssrc {
        line(format_args!("a=ssrc:{} cname:{}", parts.ssrc, options.cname));
    }
    for (index, address) in options.candidates.iter().enumerate() {
        let priority = (126u32 << 24) | ((65_535 - index.min(65_535) as u32) << 8) | 255;
        line(format_args!(
            "a=candidate:{} 1 udp {priority} {} {} typ host",
            index + 1,
            address.ip(),
            address.port()
        ));
    }
    for attribute in &options.extra_attributes {
        line(format_args!("{attribute}"));
    }
    for slot in 0..options.slots {
        sdp.push_str(&slot_section(parts, slot));
    }
    sdp.push_str(&options.extra_media);
    sdp
}

fn formats(options: &ClientOptions) -> String {
    let pt = options.payload_type;
    match options.red {
        Some(red) if options.red_copies > 0 => format!("{red} {pt}"),
        Some(red) => format!("{pt} {red}"),
        None => pt.to_string(),
    }
}

// An m-line that only receives, bundled with the first.
fn slot_section(parts: &OfferParts<'_>, slot: usize) -> String {
    let (options, pt) = (parts.options, parts.options.payload_type);
    let level = if options.level_ext {
        format!("a=extmap:{} {LEVEL_URI}\r\n", options.level_ext_id)
    } else {
        String::new()
    };
    let formats = formats(options);
    let red = options.red.map_or(String::new(), |red| {
        format!("a=rtpmap:{red} red/48000/2\r\na=fmtp:{red} {pt}/{pt}\r\n")
    });
    let ptime = options
        .ptime
        .map_or(String::new(), |ptime| format!("a=ptime:{ptime}\r\n"));
    format!(
        "m=audio 9 UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{}\r\n\
         a=setup:actpass\r\na=mid:slot{slot}\r\n{level}a=recvonly\r\na=rtcp-mux\r\na=rtpmap:{pt} opus/48000/2\r\n\
         a=fmtp:{pt} minptime=10;useinbandfec=1\r\n{red}{ptime}",
        parts.ufrag, parts.pwd, parts.fingerprint
    )
}

/// The parts of an answer that a client uses.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub ufrag: String,
    pub pwd: String,
    /// Upper case, without the algorithm.
    pub fingerprint: String,
    /// Best first.
    pub candidates: Vec<SocketAddr>,
    /// The header extension id of levels, when the server takes them.
    pub level_ext_id: Option<u8>,
    pub payload_type: u8,
    /// The payload type of RED, when the server takes it.
    pub red: Option<u8>,
    /// The server asks for lost packets, and answers such requests.
    pub nack: bool,
    /// The sources of the further m-lines that the server took, in the offer's order.
    pub slots: Vec<u32>,
}

impl Answer {
    pub fn parse(text: &str) -> Result<Answer, ClientError> {
        let bad = |why: &str| ClientError::Answer(why.to_owned());
        if text.len() > MAX_ANSWER {
            return Err(bad("it is longer than 64 KiB"));
        }
        let session = SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()))
            .map_err(|e| ClientError::Answer(format!("it isn't SDP: {e}")))?;
        let audio = session
            .media_descriptions
            .iter()
            .find(|media| media.media_name.media == "audio")
            .ok_or_else(|| bad("it has no audio m-line"))?;
        if audio.media_name.port.value == 0 {
            return Err(bad("the server rejected the audio m-line (port 0)"));
        }
        let attribute = |key: &str| {
            let own = audio.attribute(key).flatten();
            own.or_else(|| session.attribute(key).map(String::as_str))
                .map(str::trim)
        };
        let ufrag = attribute("ice-ufrag").ok_or_else(|| bad("it has no ice-ufrag"))?;
        let pwd = attribute("ice-pwd").ok_or_else(|| bad("it has no ice-pwd"))?;
        let fingerprint = attribute("fingerprint").ok_or_else(|| bad("it has no fingerprint"))?;
        let fingerprint = match fingerprint.split_once(' ') {
            Some((algorithm, value)) if algorithm.eq_ignore_ascii_case("sha-256") => value.trim().to_uppercase(),
            _ => return Err(bad("its fingerprint isn't sha-256")),
        };
        match attribute("setup") {
            Some("passive" | "actpass") => {}
            Some(other) => {
                return Err(ClientError::Answer(format!(
                    "a=setup:{other} where we are the DTLS client"
                )));
            }
            None => return Err(bad("it has no a=setup")),
        }
        let candidates = candidates(audio);
        if candidates.is_empty() {
            return Err(bad("it has no UDP candidate with an address"));
        }
        let payload_type = payload_type_of(audio, "opus/48000").ok_or_else(|| bad("it has no Opus"))?;
        let level_ext_id = values(audio, "extmap")
            .filter_map(|value| value.split_once(' '))
            .find(|(_, uri)| uri.split(' ').next() == Some(LEVEL_URI))
            .and_then(|(id, _)| id.split('/').next()?.parse().ok())
            .filter(|id| (1..=14).contains(id));
        Ok(Answer {
            ufrag: ufrag.into(),
            pwd: pwd.into(),
            fingerprint,
            candidates,
            level_ext_id,
            payload_type,
            red: payload_type_of(audio, "red/48000"),
            nack: values(audio, "rtcp-fb").any(|value| value == format!("{payload_type} nack")),
            slots: slots(&session),
        })
    }
}

fn slots(session: &SessionDescription) -> Vec<u32> {
    let sending = session
        .media_descriptions
        .iter()
        .filter(|media| media.attribute("sendonly").is_some() && media.media_name.port.value != 0)
        .filter(|media| values(media, "mid").any(|mid| mid.starts_with("slot")));
    sending
        .filter_map(|media| values(media, "ssrc").find_map(|line| line.split(' ').next()?.parse().ok()))
        .collect()
}

fn values<'a>(media: &'a MediaDescription, key: &'a str) -> impl Iterator<Item = &'a str> {
    media
        .attributes
        .iter()
        .filter(move |a| a.key == key)
        .filter_map(|a| a.value.as_deref())
        .map(str::trim)
}

fn payload_type_of(media: &MediaDescription, name: &str) -> Option<u8> {
    values(media, "rtpmap").find_map(|value| {
        let (pt, codec) = value.split_once(' ')?;
        codec
            .to_ascii_lowercase()
            .starts_with(name)
            .then(|| pt.parse().ok())
            .flatten()
    })
}

fn candidates(media: &MediaDescription) -> Vec<SocketAddr> {
    let mut found: Vec<(u32, SocketAddr)> = values(media, "candidate")
        .filter_map(|value| {
            // foundation component transport priority address port typ …
            let fields: Vec<&str> = value.split_ascii_whitespace().collect();
            if fields.len() < 8 || fields[1] != "1" || !fields[2].eq_ignore_ascii_case("udp") {
                return None;
            }
            let address: IpAddr = fields[4].parse().ok()?;
            let port = fields[5].parse().ok().filter(|port| *port != 0)?;
            Some((fields[3].parse().ok()?, SocketAddr::new(address, port)))
        })
        .collect();
    found.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
    found.into_iter().map(|(_, address)| address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n\
        a=fingerprint:sha-256 ab:cd\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n\
        a=setup:passive\r\na=mid:0\r\na=ice-ufrag:uuuu\r\na=ice-pwd:pppppppppppppppppppppp\r\na=rtcp-mux\r\n\
        a=rtpmap:111 opus/48000/2\r\na=extmap:3/sendrecv urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on\r\n\
        a=candidate:2 1 udp 100 10.0.0.1 5000 typ host\r\na=candidate:1 1 UDP 200 127.0.0.1 5001 typ host\r\n\
        a=candidate:3 1 tcp 900 127.0.0.1 9 typ host tcptype active\r\na=candidate:4 1 udp 1 x.local 5 typ host\r\n";

    #[test]
    fn reads_what_it_needs() {
        let answer = Answer::parse(ANSWER).unwrap();
        assert_eq!(answer.ufrag, "uuuu");
        assert_eq!(answer.fingerprint, "AB:CD");
        let candidates: Vec<String> = answer.candidates.iter().map(SocketAddr::to_string).collect();
        assert_eq!(candidates, ["127.0.0.1:5001", "10.0.0.1:5000"]);
        assert_eq!(answer.level_ext_id, Some(3));
        assert_eq!(answer.payload_type, 111);
    }

    #[test]
    fn says_what_is_wrong() {
        let cases = [
            ("m=audio 9 ", "m=audio 0 ", "port 0"),
            ("m=audio 9 ", "m=video 9 ", "no audio"),
            ("a=setup:passive\r\n", "a=setup:active\r\n", "setup:active"),
            ("a=ice-ufrag:uuuu\r\n", "", "ice-ufrag"),
            ("a=fingerprint:sha-256", "a=fingerprint:sha-1", "sha-256"),
            ("opus/48000/2", "PCMU/8000", "Opus"),
            ("v=0\r\n", "", "isn't SDP"),
        ];
        for (from, to, word) in cases {
            let text = ANSWER.replace(from, to);
            let error = Answer::parse(&text).expect_err(word).to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
        let none: String = ANSWER
            .lines()
            .filter(|l| !l.starts_with("a=candidate"))
            .map(|l| format!("{l}\r\n"))
            .collect();
        assert!(Answer::parse(&none).unwrap_err().to_string().contains("candidate"));
    }

    #[test]
    fn any_truncation_is_an_error_or_an_answer() {
        for cut in 0..ANSWER.len() {
            let _ = Answer::parse(&ANSWER[..cut]);
        }
    }
}
