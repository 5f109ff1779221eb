//! The plugin that forwards: talkers publish over one connection, and everybody receives all others over a second one (a multistream
//! subscription, which Janus has since 1.0). For the second the offer is Janus's.

use std::fmt::Write as _;
use std::io::Cursor;

use rtc::sdp::SessionDescription;
use serde_json::{Value, json};

use super::{Api, active};
use crate::bench::case::Case;

const PLUGIN: &str = "janus.plugin.videoroom";

/// The way into its rooms.
#[derive(Clone, Debug)]
pub struct VideoRoom {
    /// Where Janus is.
    pub api: Api,
}

/// The purpose of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends one participant's sound; their number in the room, from 0 on.
    Publish(usize),
    /// Receives the sound of these.
    Subscribe(Vec<usize>),
}

impl VideoRoom {
    /// Brings a connection into a room (from 0 on). Returns what the client takes for an answer to its offer: of a subscription it is
    /// Janus's offer, which has got an answer with the client's credentials.
    pub async fn enter(&self, room: usize, role: &Role, name: &str, offer: &str) -> Result<String, String> {
        let handle = self.api.attach(PLUGIN).await?;
        match role {
            Role::Publish(person) => {
                let body = json!({
                    "request": "joinandconfigure", "room": room + 1, "ptype": "publisher", "id": feed(*person), "display": name,
                });
                handle.tell(body, Some(("offer", &active(offer)))).await?;
                handle.description().await
            }
            Role::Subscribe(people) => {
                let streams: Vec<Value> = people.iter().map(|person| json!({"feed": feed(*person)})).collect();
                let body = json!({"request": "join", "room": room + 1, "ptype": "subscriber", "streams": streams});
                handle.tell(body, None).await?;
                let theirs = handle.description().await?;
                let answer = answer(&theirs, offer)?;
                handle
                    .tell(json!({"request": "start"}), Some(("answer", &answer)))
                    .await?;
                handle
                    .wait(|event| event["plugindata"]["data"]["started"].as_str().map(|_| ()))
                    .await?;
                Ok(theirs)
            }
        }
    }
}

/// How Janus calls somebody's sound.
fn feed(person: usize) -> usize {
    person + 1
}

/// The rooms: audio alone, as many may talk as do.
pub(super) fn configuration(case: &Case) -> String {
    let mut rooms = String::from("general: { }\n");
    for room in 1..=case.rooms {
        // Writing to a String doesn't fail.
        let _ = writeln!(
            rooms,
            "room-{room}: {{ description = \"bench\"\n publishers = {}\n audiocodec = \"opus\"\n record = false\n }}",
            case.talkers.max(1)
        );
    }
    rooms
}

/// The answer to Janus's offer of a client that only receives; its credentials and addresses are those of the client's own offer,
/// which nobody gets to see.
fn answer(theirs: &str, own: &str) -> Result<String, String> {
    let read = |text: &str| {
        SessionDescription::unmarshal(&mut Cursor::new(text.as_bytes()))
            .map_err(|error| format!("Janus's offer: {error}"))
    };
    let offer = read(theirs)?;
    if offer.media_descriptions.is_empty() {
        return Err("Janus offers no sound: nobody talks there".into());
    }
    let wanted = ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=candidate:"];
    let credentials: Vec<&str> = own
        .lines()
        .filter(|line| wanted.iter().any(|key| line.starts_with(key)))
        .collect();
    let mids: Result<Vec<&str>, String> = offer
        .media_descriptions
        .iter()
        .map(|media| {
            media
                .attribute("mid")
                .flatten()
                .ok_or_else(|| "Janus's offer: no a=mid".to_owned())
        })
        .collect();
    let mids = mids?;
    let mut lines = vec![
        "v=0".to_owned(),
        "o=- 1 1 IN IP4 127.0.0.1".to_owned(),
        "s=-".to_owned(),
        "t=0 0".to_owned(),
        format!("a=group:BUNDLE {}", mids.join(" ")),
    ];
    for (media, mid) in offer.media_descriptions.iter().zip(mids) {
        let opus = media
            .attributes
            .iter()
            .filter(|attribute| attribute.key == "rtpmap")
            .find_map(|attribute| {
                let (payload, codec) = attribute.value.as_deref()?.trim().split_once(' ')?;
                codec
                    .to_ascii_lowercase()
                    .starts_with("opus/")
                    .then(|| payload.to_owned())
            });
        let payload = opus.ok_or("Janus's offer: a section without Opus")?;
        lines.extend([
            format!("m=audio 9 UDP/TLS/RTP/SAVPF {payload}"),
            "c=IN IP4 0.0.0.0".to_owned(),
            format!("a=mid:{mid}"),
            "a=recvonly".to_owned(),
            "a=setup:active".to_owned(),
            "a=rtcp-mux".to_owned(),
            format!("a=rtpmap:{payload} opus/48000/2"),
            format!("a=fmtp:{payload} minptime=10;useinbandfec=1"),
        ]);
        lines.extend(credentials.iter().map(|line| (*line).to_owned()));
    }
    Ok(lines.join("\r\n") + "\r\n")
}

#[cfg(test)]
mod tests {
    use super::super::double::{Double, event};
    use super::*;
    use roomtone_testkit::peer::{ClientOptions, ClientPeer};
    use std::time::Instant;

    /// As Janus 1.1.2 makes it, for two feeds.
    const OFFER: &str = "v=0\r\no=- 1766 1 IN IP4 10.99.0.2\r\ns=VideoRoom 1\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=ice-options:trickle\r\n\
        a=fingerprint:sha-256 D2:B9\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS *\r\na=ice-lite\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 10.99.0.2\r\na=sendonly\r\na=mid:0\r\na=rtcp-mux\r\na=ice-ufrag:Xk2q\r\n\
        a=ice-pwd:pwdpwdpwdpwdpwdpwdpwdp\r\na=ice-options:trickle\r\na=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\n\
        a=fmtp:111 useinbandfec=1\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=msid:janus janus0\r\n\
        a=ssrc:1 cname:janus\r\na=candidate:1 1 udp 2015363327 10.99.0.2 40000 typ host\r\na=end-of-candidates\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 10.99.0.2\r\na=sendonly\r\na=mid:1\r\na=rtcp-mux\r\na=ice-ufrag:Xk2q\r\n\
        a=ice-pwd:pwdpwdpwdpwdpwdpwdpwdp\r\na=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:2 cname:janus\r\n";

    #[test]
    fn the_answer_has_the_offers_sections_and_the_clients_credentials() {
        let candidate = "192.0.2.1:9".parse().unwrap();
        let options = ClientOptions {
            candidates: vec![candidate],
            ..ClientOptions::default()
        };
        let mut client = ClientPeer::new(Instant::now(), options).unwrap();
        let own = client.offer();
        let answer = answer(OFFER, &own).unwrap();
        let count = |text: &str| answer.matches(text).count();
        assert!(answer.contains("a=group:BUNDLE 0 1\r\n") && answer.contains("a=mid:0\r\n"));
        assert_eq!(
            (count("m=audio"), count("a=recvonly"), count("a=setup:active")),
            (2, 2, 2)
        );
        for key in ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=candidate:"] {
            let line = own.lines().find(|line| line.starts_with(key)).unwrap();
            assert_eq!(count(line), 2, "{line}");
        }
        // The client takes the offer for an answer: it begins to connect.
        client.accept_answer(Instant::now(), OFFER).unwrap();
        assert!(client.poll_transmit().is_some());
    }

    #[tokio::test]
    async fn a_listener_answers_janus_and_waits_until_the_sound_has_started() {
        let double = Double::telling([
            event(json!({"videoroom": "attached"}), Some(("offer", OFFER))),
            // Not everything that comes after the answer means that it was taken.
            event(json!({"videoroom": "event", "leaving": 9}), None),
            event(json!({"videoroom": "event", "started": "ok"}), None),
        ])
        .await;
        let client = ClientPeer::new(Instant::now(), ClientOptions::default()).unwrap();
        let own = client.offer();
        let room = VideoRoom {
            api: double.api.clone(),
        };
        let answer = room.enter(1, &Role::Subscribe(vec![0, 2]), "ada", &own).await;
        assert_eq!(answer.as_deref(), Ok(OFFER));
        let [join, start] = double.asked().1.try_into().unwrap();
        let streams = json!([{"feed": 1}, {"feed": 3}]);
        assert_eq!((&join["body"]["streams"], &join["body"]["room"]), (&streams, &json!(2)));
        assert!(join["jsep"].is_null(), "the offer is Janus's");
        assert_eq!(
            (&start["body"]["request"], &start["jsep"]["type"]),
            (&json!("start"), &json!("answer"))
        );
        let ufrag = own.lines().find(|line| line.starts_with("a=ice-ufrag:")).unwrap();
        assert!(start["jsep"]["sdp"].as_str().unwrap().contains(ufrag));
    }

    #[test]
    fn an_offer_of_nothing_is_an_error() {
        let nothing = OFFER.split("m=audio").next().unwrap();
        assert!(answer(nothing, "").unwrap_err().contains("nobody talks"));
        assert!(
            answer(&OFFER.replace("opus/48000/2", "PCMU/8000"), "")
                .unwrap_err()
                .contains("Opus")
        );
        assert!(answer("", "").is_err());
    }
}
