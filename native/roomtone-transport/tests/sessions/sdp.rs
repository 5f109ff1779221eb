//! Offers of the clients that matter, and every way in which an offer can be refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use roomtone_transport::{
    Certificate, Direction, Endpoint, EndpointOptions, NtpClock, Offer, SdpErrorKind, TransportConfig,
};

const CHROME: &str = include_str!("../fixtures/chrome.sdp");
const FIREFOX: &str = include_str!("../fixtures/firefox.sdp");
const SAFARI: &str = include_str!("../fixtures/safari.sdp");
const RECVONLY: &str = include_str!("../fixtures/libwebrtc_recvonly.sdp");
const AIORTC: &str = include_str!("../fixtures/aiortc.sdp");
const GSTREAMER: &str = include_str!("../fixtures/gstreamer.sdp");

fn answer(offer: &str) -> String {
    answer_with(
        offer,
        EndpointOptions {
            cname: "a b\r\nc".into(),
            ..Default::default()
        },
    )
}

fn answer_with(offer: &str, options: EndpointOptions) -> String {
    accept(offer, options).1
}

#[allow(clippy::disallowed_methods)] // a virtual clock has to start somewhere
fn accept(offer: &str, options: EndpointOptions) -> (Endpoint, String) {
    let now = Instant::now();
    let clock = NtpClock::from_unix(now, Duration::ZERO);
    let config = TransportConfig::new(
        vec![
            "192.0.2.1:50000".parse().unwrap(),
            "[2001:db8::1]:50001".parse().unwrap(),
        ],
        clock,
    );
    let offer = Offer::parse(offer).unwrap();
    let (endpoint, answer) = Endpoint::accept(
        now,
        &offer,
        Arc::new(config),
        Arc::new(Certificate::generate().unwrap()),
        options,
    )
    .unwrap();
    assert!(
        answer.lines().all(|l| !l.is_empty()) && answer.ends_with("\r\n"),
        "{answer}"
    );
    assert_eq!(answer.matches('\n').count(), answer.matches("\r\n").count());
    // It has to be readable as SDP itself.
    rtc::sdp::description::session::SessionDescription::unmarshal(&mut std::io::Cursor::new(&answer)).unwrap();
    (endpoint, answer)
}

fn count(answer: &str, line: &str) -> usize {
    answer.lines().filter(|l| *l == line).count()
}

#[test]
fn chrome() {
    let offer = Offer::parse(CHROME).unwrap();
    assert_eq!(offer.payload_type(), 111);
    assert_eq!(offer.ssrcs(), [3_570_614_608]);
    assert_eq!(offer.level_extension(), Some(1));
    assert_eq!(offer.direction(), Direction::SendRecv);
    assert!(!offer.stereo());
    let answer = answer(CHROME);
    let lines: Vec<&str> = answer.lines().collect();
    let media: Vec<&&str> = lines.iter().filter(|l| l.starts_with("m=")).collect();
    assert_eq!(
        media,
        [
            &"m=audio 50000 UDP/TLS/RTP/SAVPF 111 63",
            &"m=video 0 UDP/TLS/RTP/SAVPF 96 97 102 103",
            &"m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        ]
    );
    for line in [
        "a=group:BUNDLE 0",
        "a=ice-lite",
        "a=extmap-allow-mixed",
        "a=mid:0",
        "a=mid:1",
        "a=mid:2",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host",
        "a=candidate:2 1 udp 2130706175 2001:db8::1 50001 typ host",
        "a=end-of-candidates",
        "c=IN IP4 192.0.2.1",
    ] {
        assert_eq!(count(&answer, line), 1, "{line} in\n{answer}");
    }
    assert_eq!(count(&answer, "a=inactive"), 2);
    assert_eq!(count(&answer, "a=setup:passive"), 3, "in rejected lines, too");
    assert_eq!(answer.matches("a=extmap:").count(), 1);
    assert!(!answer.contains("rtcp-fb"), "no feedback is promised that isn't given");
    assert!(answer.contains(" cname:abc\r\n"));
    let level = |key: &str| lines.iter().position(|l| l.starts_with(key)).unwrap();
    assert!(level("a=ice-lite") < level("m=audio"));
    assert!(level("a=ice-ufrag:") > level("m=audio") && level("a=ice-ufrag:") < level("m=video"));
    let value = |key: &str| lines[level(key)][key.len()..].to_owned();
    assert_eq!(value("a=ice-ufrag:").len(), 8);
    assert_eq!(value("a=ice-pwd:").len(), 24);
    assert!(value("a=fingerprint:").starts_with("sha-256 "));
}

#[test]
fn firefox_has_its_fingerprint_at_session_level_and_wants_stereo() {
    let offer = Offer::parse(FIREFOX).unwrap();
    assert_eq!((offer.payload_type(), offer.stereo()), (109, true));
    assert_eq!(offer.ssrcs(), [1_632_849_427]);
    let answer = answer(FIREFOX);
    assert!(answer.contains("m=audio 50000 UDP/TLS/RTP/SAVPF 109\r\n"));
    assert!(!answer.contains("allow-mixed"));
}

#[test]
fn safari_sending_only() {
    let offer = Offer::parse(SAFARI).unwrap();
    assert_eq!(offer.direction(), Direction::SendOnly);
    let answer = answer(SAFARI);
    assert_eq!(count(&answer, "a=recvonly"), 1);
    assert!(!answer.contains("a=ssrc"), "who doesn't send has no SSRC to announce");
}

#[test]
fn a_bundle_only_audio_line_takes_its_transport_from_the_first_of_its_group() {
    let offer = Offer::parse(RECVONLY).unwrap();
    assert_eq!((offer.payload_type(), offer.mid()), (111, Some("audio0")));
    assert!(offer.stereo());
    assert_eq!(offer.max_average_bitrate(), Some(64_000));
    assert!(offer.ssrcs().is_empty());
    let answer = answer(RECVONLY);
    // The line with the transport is kept, without video on it: nothing else could carry the bundle
    // (RFC 9143 section 7.3.1).
    assert_eq!(count(&answer, "a=group:BUNDLE video0 audio0"), 1);
    let (video, audio) = answer.split_at(answer.find("m=audio 50000 ").unwrap());
    assert_eq!(count(video, "m=video 50000 UDP/TLS/RTP/SAVPF 96"), 1);
    assert_eq!(count(video, "a=rtpmap:96 VP8/90000"), 1);
    assert_eq!((count(video, "a=inactive"), count(audio, "a=sendonly")), (1, 1));
    for line in [
        "a=ice-ufrag:",
        "a=ice-pwd:",
        "a=fingerprint:",
        "a=setup:passive",
        "a=rtcp-mux",
    ] {
        assert!(video.contains(line) && audio.contains(line), "{line} in {answer}");
    }
    assert!(!answer.contains("a=extmap"));
}

#[test]
fn aiortc_and_gstreamer() {
    let offer = Offer::parse(AIORTC).unwrap();
    assert_eq!((offer.payload_type(), offer.level_extension()), (96, Some(2)));
    assert!(answer(AIORTC).contains("a=extmap:2 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"));
    let offer = Offer::parse(GSTREAMER).unwrap();
    assert_eq!((offer.payload_type(), offer.level_extension()), (97, None));
    assert!(answer(GSTREAMER).contains("a=mid:audio0\r\n"));
}

#[test]
fn line_ends_of_both_kinds_are_read() {
    for text in [CHROME, FIREFOX, SAFARI] {
        let crlf = text.replace('\n', "\r\n");
        assert_eq!(
            Offer::parse(&crlf).unwrap().ssrcs(),
            Offer::parse(text).unwrap().ssrcs()
        );
    }
}

#[test]
fn no_mid_no_bundle() {
    let text = FIREFOX.replace("a=mid:0\n", "").replace("a=group:BUNDLE 0\n", "");
    let answer = answer(&text);
    assert!(!answer.contains("a=mid") && !answer.contains("BUNDLE"));
}

#[test]
fn the_first_usable_audio_line_is_taken() {
    let second = FIREFOX
        .find("m=audio")
        .map(|at| FIREFOX[at..].replace("a=mid:0", "a=mid:z"))
        .unwrap();
    // A first one without Opus, and a first one that is switched off.
    for first in [
        "m=audio 9 UDP/TLS/RTP/SAVPF 0\nc=IN IP4 0.0.0.0\na=mid:0\na=rtpmap:0 PCMU/8000\n".to_owned(),
        "m=audio 0 UDP/TLS/RTP/SAVPF 109\nc=IN IP4 0.0.0.0\na=mid:0\na=rtpmap:109 opus/48000/2\na=inactive\n"
            .to_owned(),
    ] {
        let head = &FIREFOX[..FIREFOX.find("m=audio").unwrap()];
        let answer = answer(&format!("{head}{first}{second}"));
        let media: Vec<&str> = answer.lines().filter(|l| l.starts_with("m=")).collect();
        assert!(
            media[0].starts_with("m=audio 0 ") && media[1].starts_with("m=audio 50000 "),
            "{media:?}"
        );
        assert!(answer.contains("a=mid:z\r\n"));
    }
}

#[track_caller]
/// The offer with further audio m-lines in its bundle, one for each of these lines of attributes.
fn with_lines(offer: &str, lines: &[&str]) -> String {
    let mut text = offer.to_owned();
    for (index, attributes) in lines.iter().enumerate() {
        let mid = format!("more{index}");
        text = text.replacen("a=group:BUNDLE 0", &format!("a=group:BUNDLE 0 {mid}"), 1);
        text.push_str(&format!(
            "m=audio 9 UDP/TLS/RTP/SAVPF 109\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=rtcp-mux\r\na=rtpmap:109 opus/48000/2\r\n{attributes}"
        ));
    }
    text
}

#[test]
fn further_lines_that_only_receive_are_accepted_up_to_the_number_of_slots() {
    let receive = "a=recvonly\r\na=extmap:5 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n";
    let text = with_lines(CHROME, &[receive, "a=sendrecv\r\n", receive, receive]);
    let offer = Offer::parse(&text).unwrap();
    assert_eq!(offer.slots(), 3, "those that send, too, are no slots");
    let options = |slots| EndpointOptions {
        slots,
        ..Default::default()
    };
    let answer = answer_with(&text, options(2));
    let sections: Vec<&str> = answer.split("m=audio ").skip(1).collect();
    let ports: Vec<bool> = sections.iter().map(|section| !section.starts_with("0 ")).collect();
    assert_eq!(ports, [true, true, false, true, false]);
    assert!(
        answer.contains("a=group:BUNDLE 0 more2 more0\r\n"),
        "in the offer's order: {answer}"
    );
    assert!(
        sections[0].contains("a=recvonly\r\n") && !sections[0].contains("a=msid"),
        "{answer}"
    );
    for (section, name) in [
        (sections[1], "roomtone-slot-0 slot-0"),
        (sections[3], "roomtone-slot-1 slot-1"),
    ] {
        assert!(section.contains("a=sendonly\r\n") && section.contains("a=rtpmap:109 opus/48000/2\r\n"));
        assert!(section.contains(&format!("a=msid:{name}\r\n")), "{section}");
        assert!(section.contains("a=extmap:5 "), "{section}");
    }
    let ssrcs: std::collections::BTreeSet<&str> = answer
        .lines()
        .filter_map(|line| line.strip_prefix("a=ssrc:")?.split(' ').next())
        .collect();
    assert_eq!(ssrcs.len(), 2, "one for each stream");
    // Where there is no use for them the answer is what it always was.
    let answer = answer_with(&text, options(0));
    assert!(answer.contains("a=group:BUNDLE 0\r\n") && answer.contains("a=sendrecv\r\n"));
}

#[test]
fn further_lines_are_bounded_and_have_to_be_of_the_same_transport() {
    let many = vec!["a=recvonly\r\n"; 20];
    assert_eq!(Offer::parse(&with_lines(CHROME, &many)).unwrap().slots(), 8);
    let alone = with_lines(CHROME, &["a=recvonly\r\n"]).replacen("a=group:BUNDLE 0 more0", "a=group:BUNDLE 0", 1);
    assert_eq!(Offer::parse(&alone).unwrap().slots(), 0);
}

#[test]
fn stereo_is_promised_to_a_client_that_asks_for_it_if_we_have_it() {
    let options = |stereo| EndpointOptions {
        stereo,
        ..Default::default()
    };
    // Firefox always asks.
    assert!(answer_with(FIREFOX, options(true)).contains(";sprop-stereo=1\r\n"));
    assert!(!answer_with(FIREFOX, options(false)).contains("stereo"));
    let mono = answer_with(CHROME, options(true));
    assert!(!mono.contains("stereo"), "{mono}");
}

#[test]
fn the_answer_asks_for_what_is_wanted_on_the_line_on_which_something_comes() {
    let options = |slots, uplink_stereo| EndpointOptions {
        slots,
        uplink_bitrate: Some(40_000),
        uplink_stereo,
        ..Default::default()
    };
    let wish = "minptime=10;useinbandfec=1;maxaveragebitrate=40000";
    let fmtp = |answer: &str| {
        let lines = answer.lines().filter_map(|line| line.strip_prefix("a=fmtp:109 "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let mono = answer_with(FIREFOX, options(0, false));
    assert_eq!(fmtp(&mono), [wish]);
    // Firefox asks for stereo, so on further lines it is told that it may come.
    let text = with_lines(FIREFOX, &["a=recvonly\r\n"]);
    let stereo = answer_with(&text, options(1, true));
    assert_eq!(
        fmtp(&stereo),
        [&format!("{wish};stereo=1"), "minptime=10;useinbandfec=1;sprop-stereo=1"]
    );
    let listener = FIREFOX.replace("a=sendrecv", "a=recvonly");
    assert_eq!(
        fmtp(&answer_with(&listener, options(0, true))),
        ["minptime=10;useinbandfec=1"]
    );
}

#[test]
fn strange_parameters_of_opus_are_no_parameters() {
    let lines = [
        "stereo=2;maxaveragebitrate=99999999999999999999",
        "stereo;maxaveragebitrate=-5;;;=;a=b=c",
        "maxaveragebitrate=;stereo=\u{1F3A7}",
        &"stereo=0;".repeat(2_000),
    ];
    for line in lines {
        let text = CHROME.replace("a=fmtp:111 minptime=10;useinbandfec=1", &format!("a=fmtp:111 {line}"));
        let offer = Offer::parse(&text).unwrap();
        assert_eq!((offer.stereo(), offer.max_average_bitrate()), (false, None), "{line}");
        let answer = answer(&text);
        assert!(answer.contains("a=fmtp:111 minptime=10;useinbandfec=1\r\n"), "{answer}");
    }
}

fn refused(text: &str, kind: SdpErrorKind, code: &str) {
    let error = Offer::parse(text).unwrap_err();
    assert_eq!((error.kind(), error.code()), (kind, code), "{error}");
    assert!(error.to_string().len() > 10);
}

#[test]
fn every_refusal_has_its_name() {
    use SdpErrorKind as K;
    let without = |line: &str| {
        assert!(FIREFOX.contains(line));
        FIREFOX
            .lines()
            .filter(|l| !l.starts_with(line))
            .map(|l| format!("{l}\n"))
            .collect::<String>()
    };
    let with = |from: &str, to: &str| {
        assert!(FIREFOX.contains(from), "{from}");
        FIREFOX.replace(from, to)
    };
    refused(
        &format!("{FIREFOX}{}", "a=x:y\n".repeat(12_000)),
        K::TooLarge,
        "too_large",
    );
    refused("", K::Malformed, "malformed");
    refused("hello", K::Malformed, "malformed");
    refused("{\"type\":\"offer\"}", K::Malformed, "malformed");
    refused(&with("s=-", "s=\0"), K::Malformed, "malformed");
    refused(&with("109 9 0 8 101", "109 \u{1b}[2J"), K::Malformed, "malformed");
    refused(&with("109 9 0 8 101", "<109>"), K::Malformed, "malformed");
    refused(&FIREFOX[..FIREFOX.find("m=audio").unwrap()], K::NoAudio, "no_audio");
    refused(&with("m=audio 9", "m=audio 0"), K::NoAudio, "no_audio");
    refused(&with("m=audio", "m=video"), K::NoAudio, "no_audio");
    refused(&with("opus/48000/2", "speex/16000"), K::NoOpus, "no_opus");
    refused(&with("opus/48000/2", "opus/16000/1"), K::NoOpus, "no_opus");
    refused(&with("109", "72"), K::NoOpus, "no_opus"); // would look like RTCP
    refused(&with("UDP/TLS/RTP/SAVPF", "RTP/AVP"), K::BadTransport, "bad_transport");
    refused(&without("a=fingerprint"), K::NoFingerprint, "no_fingerprint");
    refused(&with("sha-256", "sha-1"), K::BadFingerprint, "bad_fingerprint");
    refused(&with("B1:4C", "B14C"), K::BadFingerprint, "bad_fingerprint");
    refused(&without("a=ice-ufrag"), K::NoIceCredentials, "no_ice_credentials");
    refused(&without("a=ice-pwd"), K::NoIceCredentials, "no_ice_credentials");
    refused(
        &with("a=ice-pwd:9e0e2bb4", "a=ice-pwd:x "),
        K::BadIceCredentials,
        "bad_ice_credentials",
    );
    refused(
        &with("f2c9f1a3", &"f".repeat(257)),
        K::BadIceCredentials,
        "bad_ice_credentials",
    );
    refused(&with("f2c9f1a3", "a:b"), K::BadIceCredentials, "bad_ice_credentials");
    refused(&without("a=rtcp-mux"), K::NoRtcpMux, "no_rtcp_mux");
    refused(&with("a=setup:actpass", "a=setup:holdconn"), K::BadSetup, "bad_setup");
    refused(&with("a=group:BUNDLE 0", "a=ice-lite"), K::IceLite, "ice_lite");
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\n";
    refused(
        &format!("{FIREFOX}{}", video.repeat(64)),
        K::TooManyMedia,
        "too_many_media",
    );
    refused(&format!("{FIREFOX}{video}a=mid:0\n"), K::BadMid, "bad_mid");
    refused(&with("a=mid:0", "a=mid:a b"), K::BadMid, "bad_mid");
    refused(
        &with("a=mid:0", &format!("a=mid:{}", "m".repeat(65))),
        K::BadMid,
        "bad_mid",
    );
}

#[test]
fn setup_active_and_absent_are_fine() {
    Offer::parse(&FIREFOX.replace("a=setup:actpass", "a=setup:active")).unwrap();
    Offer::parse(&FIREFOX.replace("a=setup:actpass\n", "")).unwrap();
}

#[test]
fn accept_needs_an_address() {
    #[allow(clippy::disallowed_methods)]
    let now = Instant::now();
    let config = TransportConfig::new(vec![], NtpClock::new(now, 0));
    let error = Endpoint::accept(
        now,
        &Offer::parse(CHROME).unwrap(),
        Arc::new(config),
        Arc::new(Certificate::generate().unwrap()),
        EndpointOptions::default(),
    )
    .unwrap_err();
    assert_eq!(error.code(), "no_candidates");
}

#[test]
fn ssrcs_are_bounded() {
    let many: String = (0..500).map(|i| format!("a=ssrc:{i} cname:x\n")).collect();
    assert!(Offer::parse(&format!("{FIREFOX}{many}")).unwrap().ssrcs().len() <= 8);
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "\\PC{0,300}") {
        let _ = Offer::parse(&text);
    }

    #[test]
    fn bent_offers_are_survived(
        which in 0usize..6,
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), "[ -~]{0,12}"), 1..8),
    ) {
        let mut text = [CHROME, FIREFOX, SAFARI, RECVONLY, AIORTC, GSTREAMER][which].to_owned();
        for (at, insert) in cuts {
            let at = at.index(text.len());
            text.replace_range(at..at + 1, &insert);
        }
        if let Ok(offer) = Offer::parse(&text) {
            // An echoed text can't smuggle in lines.
            prop_assert!(offer.mid().is_none_or(|mid| !mid.contains(['\r', '\n', ' '])));
            prop_assert!(!(64..96).contains(&offer.payload_type()));
        }
    }

    #[test]
    fn shuffled_lines_are_survived(which in 0usize..6, order in proptest::collection::vec(any::<prop::sample::Index>(), 0..60)) {
        let lines: Vec<&str> = [CHROME, FIREFOX, SAFARI, RECVONLY, AIORTC, GSTREAMER][which].lines().collect();
        let text: String = order.iter().map(|i| format!("{}\r\n", lines[i.index(lines.len())])).collect();
        let _ = Offer::parse(&format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{text}"));
    }
}

#[test]
fn redundant_opus_is_taken_where_it_is_offered_and_in_the_order_of_the_offer() {
    let offer = |formats: &str, red: &str| {
        let own = ["a=rtpmap:63 red/48000/2\r\n", "a=fmtp:63 111/111\r\n"];
        let bare = CHROME.lines().map(|line| format!("{line}\r\n")).collect::<String>();
        let bare = bare.replace(own[0], "").replace(own[1], red);
        let line = bare
            .lines()
            .find(|line| line.starts_with("m=audio"))
            .unwrap()
            .to_owned();
        bare.replacen(&line, &format!("m=audio 9 UDP/TLS/RTP/SAVPF {formats}"), 1)
    };
    let red = "a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n";
    for (formats, attributes, taken) in [
        ("111 63", red, Some("111 63")),
        ("63 111", red, Some("63 111")),
        ("63 9 111 0", red, Some("63 111")),
        ("111 63", &red.replace("red/", "RED/"), Some("111 63")),
        ("111 63", &red.replace("111/111", "111/111/111"), Some("111 63")),
        ("111 63", "", None),
        ("111 63", "a=rtpmap:63 red/48000/2\r\n", None),
        ("111 63", &red.replace("111/111", "111/9"), None),
        ("111 63", &red.replace("111/111", "0/0"), None),
        ("111 63", &red.replace("red/48000/2", "red/8000"), None),
        ("111 70", &red.replace(":63", ":70"), None),
        ("111", red, None),
    ] {
        let text = offer(formats, attributes);
        assert_eq!(
            Offer::parse(&text).unwrap().red_payload_type(),
            taken.map(|_| 63),
            "{formats} {attributes}"
        );
        let answer = answer(&text);
        let line = format!("m=audio 50000 UDP/TLS/RTP/SAVPF {}", taken.unwrap_or("111"));
        assert_eq!(count(&answer, &line), 1, "{answer}");
        let red_lines = count(&answer, "a=rtpmap:63 red/48000/2") + count(&answer, "a=fmtp:63 111/111");
        assert_eq!(red_lines, if taken.is_some() { 2 } else { 0 }, "{answer}");
    }
}

#[test]
fn lost_packets_may_be_asked_for_where_the_offer_says_so() {
    for (feedback, agreed) in [
        ("111 nack", true),
        ("* nack", true),
        ("111 transport-cc", false),
        ("111 nack pli", false),
        ("110 nack", false),
        ("nack", false),
    ] {
        let offer = CHROME.replace("a=rtpmap:111", &format!("a=rtcp-fb:{feedback}\r\na=rtpmap:111"));
        let answered = answer(&offer);
        let lines: Vec<&str> = answered.lines().filter(|line| line.starts_with("a=rtcp-fb")).collect();
        let expected: &[&str] = if agreed { &["a=rtcp-fb:111 nack"] } else { &[] };
        assert_eq!(lines, expected, "{feedback}");
    }
    assert!(answer(GSTREAMER).contains("a=rtcp-fb:97 nack\r\n"));
}

#[test]
fn an_offer_decides_on_the_length_of_our_packets_and_not_of_its_own() {
    for (lines, ms) in [
        (&[][..], 20),
        (&["a=ptime:20"], 20),
        (&["a=ptime:30"], 20),
        (&["a=ptime:40"], 40),
        (&["a=ptime:50.5"], 40),
        (&["a=ptime:60"], 60),
        (&["a=ptime: 60 "], 60),
        (&["a=ptime:100"], 60),
        (&["a=ptime:99999999999999999999999"], 60),
        (&["a=ptime:60", "a=maxptime:120"], 60),
        (&["a=ptime:60", "a=maxptime:50"], 40),
        (&["a=ptime:60", "a=maxptime:20"], 20),
        (&["a=ptime:60", "a=maxptime:10"], 20),
        (&["a=maxptime:60"], 20),
        (&["a=ptime:60", "a=maxptime:much"], 60),
        (&["a=ptime:0"], 20),
        (&["a=ptime:-60"], 20),
        (&["a=ptime:6e1"], 20),
        (&["a=ptime:inf"], 20),
        (&["a=ptime:."], 20),
        (&["a=ptime"], 20),
        (&["a=fmtp:111 ptime=60"], 20),
    ] {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let offer = CHROME.replace("a=rtpmap:111", &format!("{lines}a=rtpmap:111"));
        let (endpoint, answered) = accept(&offer, EndpointOptions::default());
        assert_eq!(endpoint.packet_ms(0), ms, "{lines}");
        // The length that the client is asked for (RFC 3264 section 6.1).
        assert_eq!(count(&answered, "a=ptime:20"), 1, "{lines}\n{answered}");
        assert_eq!(answered.matches("ptime:").count(), 2, "{answered}");
        assert_eq!(count(&answered, "a=maxptime:60"), 1);
    }
    let slots = with_lines(CHROME, &["a=recvonly\r\na=ptime:60\r\n", "a=recvonly\r\n"]);
    let options = EndpointOptions {
        slots: 2,
        ..Default::default()
    };
    let (endpoint, answered) = accept(&slots, options);
    let told: Vec<&str> = answered.lines().filter(|line| line.starts_with("a=ptime")).collect();
    assert_eq!(told, ["a=ptime:20"; 3]);
    assert_eq!(
        [0, 1].map(|slot| endpoint.packet_ms(slot)),
        [60, 20],
        "each line by itself"
    );
}
