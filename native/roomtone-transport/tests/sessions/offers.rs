//! Offers that clients of many kinds write: each is answered with what its client can use, or
//! refused with a sentence that says why.

use std::sync::Arc;
use std::time::Duration;

use crate::common::origin;
use proptest::prelude::*;
use roomtone_transport::{
    Certificate, Direction, Endpoint, EndpointOptions, NtpClock, Offer, OfferKind, SdpErrorKind, TransportConfig,
};

const PASSIVE: &str = include_str!("../fixtures/passive_publisher.sdp");
const AUDIO_VIDEO: &str = include_str!("../fixtures/session_level_audio_video.sdp");
const ADDED_AGAIN: &str = include_str!("../fixtures/microphone_added_again.sdp");
const VIDEO_FIRST: &str = include_str!("../fixtures/max_bundle_video_first.sdp");
const GATEWAY: &str = include_str!("../fixtures/gateway.sdp");
const NOT_OURS: &str = include_str!("../fixtures/legal_and_not_ours.sdp");

fn accept_with(text: &str, options: EndpointOptions) -> (Endpoint, String) {
    let now = origin();
    let clock = NtpClock::from_unix(now, Duration::ZERO);
    let config = TransportConfig::new(vec!["192.0.2.1:50000".parse().unwrap()], clock);
    let certificate = Arc::new(Certificate::generate().unwrap());
    let offer = Offer::parse(text).unwrap();
    let (endpoint, answer) = Endpoint::accept(now, &offer, Arc::new(config), certificate, options).unwrap();
    // Another reader than ours has to take it.
    let known = answer.replace("m=x-hologram", "m=text").replace("m=image", "m=text");
    let known = known
        .replace("QUIC/RTP/AVPF", "RTP/AVPF")
        .replace("udptl", "UDP")
        .replace("TCP/TLS", "TLS");
    rtc::sdp::description::session::SessionDescription::unmarshal(&mut std::io::Cursor::new(&known))
        .unwrap_or_else(|error| panic!("{error} in {answer}"));
    (endpoint, answer)
}

fn accept(text: &str) -> (Endpoint, String) {
    accept_with(text, EndpointOptions::default())
}

/// The answer's m-sections.
fn sections(answer: &str) -> Vec<String> {
    answer
        .split("\r\nm=")
        .skip(1)
        .map(|section| format!("m={section}\r\n"))
        .collect()
}

fn has(section: &str, line: &str) -> bool {
    section.lines().any(|l| l == line)
}

fn refusal(text: &str) -> (SdpErrorKind, String) {
    let error = Offer::parse(text).unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn a_passive_offerer_is_answered_as_active() {
    let (_, answer) = accept(PASSIVE);
    assert!(
        has(&answer, "a=setup:active") && !answer.contains("a=setup:passive"),
        "{answer}"
    );
    assert!(has(&answer, "a=recvonly"));
    // The other two ways to say it.
    for offered in ["actpass", "active"] {
        let (_, answer) = accept(&PASSIVE.replace("a=setup:passive", &format!("a=setup:{offered}")));
        assert!(has(&answer, "a=setup:passive"), "{answer}");
    }
    let (kind, message) = refusal(&PASSIVE.replace("a=setup:passive", "a=setup:holdconn"));
    assert_eq!(kind, SdpErrorKind::BadSetup);
    assert!(
        message.contains("m-line 1 (audio, mid 0)") && message.contains("holdconn"),
        "{message}"
    );
}

#[test]
fn video_beside_audio_is_rejected_in_its_place() {
    let (_, answer) = accept(AUDIO_VIDEO);
    let sections = sections(&answer);
    assert!(sections[0].starts_with("m=audio 50000 ") && has(&sections[0], "a=recvonly"));
    assert!(sections[1].starts_with("m=video 0 UDP/TLS/RTP/SAVPF 96\r\n"));
    assert!(has(&answer, "a=group:BUNDLE 0"));
}

#[test]
fn a_rejected_line_of_dtls_describes_the_transport_all_the_same() {
    // GStreamer's webrtcbin takes no answer with a line that doesn't.
    let (_, answer) = accept(AUDIO_VIDEO);
    let sections = sections(&answer);
    for attribute in ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:"] {
        let of = |section: &str| {
            section
                .lines()
                .find(|line| line.starts_with(attribute))
                .map(str::to_owned)
        };
        assert!(of(&sections[1]).is_some(), "{attribute} in {answer}");
        assert_eq!(of(&sections[0]), of(&sections[1]));
    }
    // A line without DTLS has none.
    let (_, answer) = accept(NOT_OURS);
    assert_eq!(answer.matches("a=fingerprint:").count(), 3, "{answer}");
    assert!(self::sections(&answer)[0].ends_with("a=inactive\r\n"), "{answer}");
}

#[test]
fn the_line_that_sends_is_heard_and_the_inactive_one_stays() {
    let (_, answer) = accept(ADDED_AGAIN);
    let sections = sections(&answer);
    assert!(
        has(&sections[0], "a=inactive") && sections[0].starts_with("m=audio 50000 "),
        "{answer}"
    );
    assert!(
        has(&sections[1], "a=sendrecv") && sections[1].starts_with("m=audio 50000 "),
        "{answer}"
    );
    assert!(has(&answer, "a=group:BUNDLE 0 1"));
    assert_eq!(Offer::parse(ADDED_AGAIN).unwrap().ssrcs(), [1_414_213_562]);
    // A listener's first line that receives is its line.
    let listener = ADDED_AGAIN.replace("a=sendrecv", "a=recvonly");
    let (_, answer) = accept(&listener);
    assert!(has(&self::sections(&answer)[1], "a=sendonly"), "{answer}");
    assert_eq!(Offer::parse(&listener).unwrap().direction(), Direction::RecvOnly);
}

#[test]
fn a_microphone_may_move_to_another_line_in_mid_call() {
    let first = ADDED_AGAIN.replace("a=inactive", "a=sendrecv");
    let first = &first[..first.rfind("m=audio").unwrap()].replace("BUNDLE 0 1", "BUNDLE 0");
    let (mut endpoint, answer) = accept(first);
    assert!(has(&answer, "a=sendrecv"));
    let offer = Offer::parse(ADDED_AGAIN).unwrap();
    let now = origin();
    assert_eq!(endpoint.judge(&offer), OfferKind::Restart);
    let answer = endpoint.reoffer(now, &offer).unwrap();
    let sections = sections(&answer);
    assert!(
        has(&sections[0], "a=inactive") && has(&sections[1], "a=sendrecv"),
        "{answer}"
    );
}

/// One line that sends and another that receives (RFC 3264 section 6).
fn send_and_receive(first: &str, second: &str) -> String {
    let (head, second_line) = ADDED_AGAIN.split_at(ADDED_AGAIN.rfind("m=audio").unwrap());
    let second_line = second_line.replace("a=sendrecv", second).replace("111", "109");
    format!("{}{second_line}", head.replace("a=inactive", first))
}

#[test]
fn a_line_that_sends_and_one_that_receives_are_both_served() {
    for (first, second) in [("a=sendonly", "a=recvonly"), ("a=recvonly", "a=sendonly")] {
        let text = send_and_receive(first, second);
        let offer = Offer::parse(&text).unwrap();
        assert_eq!(offer.direction(), Direction::SendRecv);
        let (_, answer) = accept(&text);
        let sections = sections(&answer);
        let (up, down) = if first == "a=sendonly" { (0, 1) } else { (1, 0) };
        assert!(
            has(&sections[up], "a=recvonly") && !sections[up].contains("a=ssrc"),
            "{answer}"
        );
        assert!(
            has(&sections[down], "a=sendonly") && sections[down].contains("a=ssrc:"),
            "{answer}"
        );
        assert!(has(&answer, "a=group:BUNDLE 0 1"));
        let payload_type = if down == 1 { "109" } else { "111" };
        assert!(sections[down].contains(&format!("a=rtpmap:{payload_type} opus/48000/2")));
        // Where packets are forwarded the line that receives is for these.
        let slots = EndpointOptions {
            slots: 3,
            ..Default::default()
        };
        let (endpoint, answer) = accept_with(&text, slots);
        assert_eq!(endpoint.slots(), 1);
        assert!(answer.contains("a=msid:roomtone-slot-0 slot-0\r\n"), "{answer}");
    }
}

#[test]
fn lines_on_transports_of_their_own_are_refused_with_a_reason() {
    let text = send_and_receive("a=sendonly", "a=recvonly").replace("a=group:BUNDLE 0 1\n", "");
    let (kind, message) = refusal(&text);
    assert_eq!(kind, SdpErrorKind::NotBundled);
    assert!(message.contains("m-line 1 (audio, mid 0) sends"), "{message}");
    assert!(message.contains("m-line 2 (audio, mid 1) receives"), "{message}");
}

#[test]
fn the_line_with_the_transport_of_the_bundle_is_kept() {
    let (_, answer) = accept(VIDEO_FIRST);
    let sections = sections(&answer);
    assert!(
        sections[0].starts_with("m=video 50000 UDP/TLS/RTP/SAVPF 96\r\n"),
        "{answer}"
    );
    assert!(has(&sections[0], "a=inactive") && has(&sections[0], "a=rtpmap:96 VP8/90000"));
    assert!(
        !sections[0].contains("opus") && !sections[0].contains("ptime"),
        "{answer}"
    );
    assert!(sections[1].starts_with("m=audio 50000 ") && has(&sections[1], "a=sendrecv"));
    assert!(
        has(&answer, "a=group:BUNDLE v a"),
        "the one with the transport first: {answer}"
    );
    // A browser writes ports into its offer once it has gathered candidates, and has one transport
    // still. An audio line with ICE credentials of its own has one of its own.
    let tail = &VIDEO_FIRST[VIDEO_FIRST.find("a=ice-ufrag").unwrap()..VIDEO_FIRST.find("a=mid").unwrap()];
    let gathered = VIDEO_FIRST
        .replace("m=audio 0", "m=audio 9")
        .replace("a=bundle-only\n", tail);
    let (_, answer) = accept(&gathered);
    assert!(
        has(&answer, "a=group:BUNDLE v a") && answer.contains("m=video 50000 "),
        "{answer}"
    );
    let apart = gathered.replacen("a=ice-ufrag:Yb4R", "a=ice-ufrag:Zb4R", 1);
    let (_, answer) = accept(&apart);
    assert!(
        has(&answer, "a=group:BUNDLE a") && answer.contains("m=video 0 "),
        "{answer}"
    );
    // A data channel's transport can't be kept.
    let data = VIDEO_FIRST.replace(
        "m=video 9 UDP/TLS/RTP/SAVPF 97 96",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    );
    let (kind, message) = refusal(&data);
    assert_eq!(kind, SdpErrorKind::BadTransport);
    assert!(message.contains("m-line 2 (audio, mid a) is bundle-only"), "{message}");
    // Without a group nothing can carry it.
    let (kind, _) = refusal(&VIDEO_FIRST.replace("a=group:BUNDLE v a\n", ""));
    assert_eq!(kind, SdpErrorKind::BadTransport);
}

#[test]
fn opus_without_its_channels_is_refused_by_name() {
    for codec in ["opus/48000", "OPUS/48000/1"] {
        let (kind, message) = refusal(&GATEWAY.replace("opus/48000/2", codec));
        assert_eq!(kind, SdpErrorKind::NoOpus);
        assert!(
            message.contains("/2 is missing") && message.contains("m-line 1 (audio, mid 0)"),
            "{message}"
        );
        assert!(message.contains("RFC 7587"), "{message}");
    }
    let (_, message) = refusal(&GATEWAY.replace("opus/48000/2", "PCMU/8000"));
    assert!(
        message.contains("has no Opus") && !message.contains("missing"),
        "{message}"
    );
}

#[test]
fn numbers_of_a_session_have_no_limit() {
    let (endpoint, _) = accept(GATEWAY);
    // One digit less is another session, though not if the ICE credentials are the same.
    let other = GATEWAY.replace("34028236692093846346", "3402823669209384634");
    assert_eq!(endpoint.judge(&Offer::parse(&other).unwrap()), OfferKind::Restart);
    let other = other.replace("TzP0gkuV", "TzP0gkuW");
    assert_eq!(endpoint.judge(&Offer::parse(&other).unwrap()), OfferKind::NewConnection);
    let same = GATEWAY.replace("TzP0gkuV", "TzP0gkuW");
    assert_eq!(endpoint.judge(&Offer::parse(&same).unwrap()), OfferKind::Restart);
}

#[test]
fn legal_lines_that_are_not_ours_get_port_0() {
    let (_, answer) = accept(NOT_OURS);
    let heads: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        heads,
        [
            "m=image 0 udptl t38",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
            "m=x-hologram 0 QUIC/RTP/AVPF *",
            "m=audio 0 RTP/AVP 0 8",
            "m=video 0 TCP/TLS/RTP/SAVP 99",
            "m=audio 50000 UDP/TLS/RTP/SAVP 96",
        ]
    );
    assert!(has(&answer, "a=group:BUNDLE 0"));
    assert!(
        has(&answer, "a=rtcp-mux") && has(&answer, "a=rtcp-mux-only"),
        "{answer}"
    );
    assert!(!accept(GATEWAY).1.contains("rtcp-mux-only"));
}

#[test]
fn an_offer_with_nothing_of_ours_names_the_line_and_what_it_lacks() {
    let (kind, message) = refusal(&NOT_OURS.replace("UDP/TLS/RTP/SAVP 101", "SCTP/RTP/X 101"));
    assert_eq!(kind, SdpErrorKind::BadTransport);
    assert!(message.contains("m-line 6 (audio, mid 0) is SCTP/RTP/X"), "{message}");
    let (kind, message) = refusal(&GATEWAY.replace("a=rtcp-mux\n", ""));
    assert_eq!(kind, SdpErrorKind::NoRtcpMux);
    assert!(message.contains("m-line 1 (audio, mid 0)"), "{message}");
    let (_, message) = refusal(&GATEWAY.replace("m=audio 9", "m=audio none"));
    assert!(message.contains("line 6"), "{message}");
    let (_, message) = refusal(&GATEWAY.replace("a=mid:0", "a=mid:\u{7}"));
    assert!(message.contains("line 13"), "{message}");
    let (_, message) = refusal(&ADDED_AGAIN.replace("a=mid:1", "a=mid:0"));
    assert!(message.contains("m-lines 1 and 2"), "{message}");
}

#[test]
fn a_named_connection_is_told_by_its_name() {
    let named = |id: &str| GATEWAY.replace("a=mid:0\n", &format!("a=mid:0\na=tls-id:{id}\n"));
    let first = named("AbCdEfGhIjKlMnOpQrStUv");
    let (mut endpoint, answer) = accept(&first);
    let id = |answer: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix("a=tls-id:"));
        line.map(str::to_owned)
            .unwrap_or_else(|| panic!("no tls-id in {answer}"))
    };
    assert!((20..=255).contains(&id(&answer).len()));
    assert!(!accept(GATEWAY).1.contains("tls-id"), "only for those who have them");
    // The same name: a restart, even under another o=.
    let restart = first.replace("TzP0gkuV", "restart1").replace("o=- 34", "o=- 35");
    assert_eq!(endpoint.judge(&Offer::parse(&restart).unwrap()), OfferKind::Restart);
    let again = endpoint.reoffer(origin(), &Offer::parse(&restart).unwrap()).unwrap();
    assert_eq!(id(&again), id(&answer));
    let new = Offer::parse(&named("vUtSrQpOnMlKjIhGfEdCbA")).unwrap();
    assert_eq!(endpoint.judge(&new), OfferKind::NewConnection);
    let renewed = endpoint.reoffer(origin(), &new).unwrap();
    assert_ne!(id(&renewed), id(&answer));
    // Another certificate, or the other role, is a new one, too.
    let certificate = Offer::parse(&first.replace("0C:B2", "0C:B3")).unwrap();
    assert_eq!(endpoint.judge(&certificate), OfferKind::NewConnection);
    assert_eq!(
        endpoint.reoffer(origin(), &certificate).unwrap_err().code(),
        "fingerprint_changed"
    );
    let passive = Offer::parse(&named("vUtSrQpOnMlKjIhGfEdCbA").replace("actpass", "passive")).unwrap();
    assert_eq!(endpoint.judge(&passive), OfferKind::NewConnection);
    assert!(
        endpoint
            .reoffer(origin(), &passive)
            .unwrap()
            .contains("a=setup:active\r\n")
    );
}

/// The mix's line has the transport, and isn't needed, as the talkers have lines of their own.
#[test]
fn a_line_with_the_transport_is_kept_where_slots_take_the_place_of_the_mix() {
    let head = &GATEWAY[..GATEWAY.find("a=group").unwrap()];
    let body = &GATEWAY[GATEWAY.find("c=IN").unwrap()..];
    let mut text = format!("{head}a=group:BUNDLE 0 1 2\n");
    for (mid, port, direction) in [(0, 0, "sendonly"), (1, 9, "sendrecv"), (2, 0, "recvonly")] {
        let named = body.replace("a=mid:0", &format!("a=mid:{mid}"));
        let body = named.replace("a=sendrecv", &format!("a={direction}"));
        text.push_str(&format!("m=audio {port} UDP/TLS/RTP/SAVPF 111\n{body}"));
        if port == 0 {
            text.push_str("a=bundle-only\n");
        }
    }
    for slots in [0, 1] {
        let (_, answer) = accept_with(
            &text,
            EndpointOptions {
                slots,
                ..Default::default()
            },
        );
        let directions: Vec<_> = sections(&answer)
            .iter()
            .map(|section| {
                ["sendonly", "recvonly", "inactive"].map(|direction| has(section, &format!("a={direction}")))
            })
            .collect();
        assert!(directions[0][1], "the microphone: {answer}");
        assert_eq!(directions[1], [slots == 0, false, slots == 1], "the mix: {answer}");
        assert!(answer.contains("a=group:BUNDLE 1 0"), "{answer}");
    }
}

proptest! {
    /// Lines that SDP allows and that we don't know are never a reason.
    #[test]
    fn unknown_lines_are_skipped(
        at in any::<prop::sample::Index>(),
        name in "[a-z][a-z0-9-]{0,20}",
        value in proptest::option::of("[ -~]{0,60}"),
        key in "[bceikprstuz]",
        text in "[ -~]{0,40}",
    ) {
        let mut lines: Vec<String> = GATEWAY.lines().map(str::to_owned).collect();
        let at = 1 + at.index(lines.len() - 1);
        let ours = ["mid", "setup", "inactive", "sendonly", "recvonly", "ice-lite", "rtpmap", "fmtp", "group"];
        if !ours.contains(&name.as_str()) {
            let value = value.map(|value| format!(":{value}")).unwrap_or_default();
            lines.insert(at, format!("a={name}{value}"));
        }
        lines.insert(at, format!("{key}={text}"));
        prop_assert!(Offer::parse(&lines.join("\r\n")).is_ok());
    }

    /// With any directions and transports of the lines an answer is readable, and says of each
    /// line what becomes of it.
    #[test]
    fn each_line_is_answered_in_its_place(
        lines in proptest::collection::vec((0usize..5, 0usize..4, any::<bool>(), any::<bool>()), 1..10),
        slots in 0usize..4,
    ) {
        let mut text = GATEWAY[..GATEWAY.find("a=group").unwrap()].to_owned();
        let body = &GATEWAY[GATEWAY.find("c=IN").unwrap()..];
        let mids: Vec<String> = (0..lines.len()).filter(|i| lines[*i].3).map(|i| i.to_string()).collect();
        text.push_str(&format!("a=group:BUNDLE {}\n", mids.join(" ")));
        for (index, (direction, kind, bundle_only, _)) in lines.iter().enumerate() {
            let direction = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive", "a=x"][*direction];
            let kind = ["audio", "video", "application", "text"][*kind];
            let port = if *bundle_only { 0 } else { 9 };
            let body = body.replace("a=mid:0", &format!("a=mid:{index}")).replace("a=sendrecv", direction);
            text.push_str(&format!("m={kind} {port} UDP/TLS/RTP/SAVPF 111\n{body}"));
            if *bundle_only {
                text.push_str("a=bundle-only\n");
            }
        }
        if Offer::parse(&text).is_ok() {
            let (_, answer) = accept_with(&text, EndpointOptions { slots, ..Default::default() });
            let sections = sections(&answer);
            prop_assert_eq!(sections.len(), lines.len());
            let offered = |index: usize| ["sendrecv", "sendonly", "recvonly", "inactive", "sendrecv"][lines[index].0];
            let mut accepted = vec![];
            for (index, section) in sections.iter().enumerate() {
                let mid = format!("a=mid:{index}");
                prop_assert!(has(section, &mid), "{}", section);
                let ours = ["sendrecv", "sendonly", "recvonly", "inactive"];
                let ours = ours.into_iter().find(|d| has(section, &format!("a={d}"))).unwrap();
                // Nothing is sent on a line that doesn't receive, or expected on a line that
                // doesn't send.
                let (theirs_sends, theirs_receives) = match offered(index) {
                    "sendrecv" => (true, true),
                    "sendonly" => (true, false),
                    "recvonly" => (false, true),
                    _ => (false, false),
                };
                prop_assert!(theirs_receives || !ours.starts_with("send"), "{} to {}", ours, offered(index));
                prop_assert!(theirs_sends || !matches!(ours, "sendrecv" | "recvonly"));
                if !section.contains(" 0 UDP") {
                    accepted.push((index, ours));
                }
            }
            // The peer is heard on one line at most, and on one if it sends on any that we could
            // take.
            let heard = accepted.iter().filter(|(_, d)| matches!(*d, "sendrecv" | "recvonly")).count();
            prop_assert!(heard <= 1);
            let group = answer.lines().find_map(|line| line.strip_prefix("a=group:BUNDLE "));
            for mid in group.into_iter().flat_map(str::split_whitespace) {
                let index: usize = mid.parse().unwrap();
                prop_assert!(accepted.iter().any(|(line, _)| *line == index));
            }
            // The first of the group has a transport of its own.
            if let Some(first) = group.and_then(|mids| mids.split(' ').next()) {
                let index: usize = first.parse().unwrap();
                prop_assert!(!lines[index].2, "bundle-only {} first in {}", index, answer);
            }
        }
    }
}
