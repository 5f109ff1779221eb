//! The endpoint and what it is made of: SDP, STUN, DTLS, SRTP, RTP, RTCP, TCP framing.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::thread::LocalKey;

use roomtone_testkit::peer::ClientOptions;
use roomtone_transport::rtp::Header;
use roomtone_transport::{Deframer, Endpoint, Framing, Offer, OfferKind, RtpIn, classify, stun_local_ufrag};
use rtc::crypto::default_provider;
use rtc::shared::marshal::{MarshalSize, Unmarshal};
use rtc::stun::attributes::AttrType;
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{Message, MessageType, Setter, TransactionId};

use super::Target;
use crate::pieces::{Pieces, join};
use crate::session::{CERTIFICATE, START, Session, client_address, config, options};

/// Offers of other clients, from the tests of the crate.
const OFFERS: [&str; 12] = [
    include_str!("../../../roomtone-transport/tests/fixtures/aiortc.sdp"),
    include_str!("../../../roomtone-transport/tests/fixtures/chrome.sdp"),
    include_str!("../../../roomtone-transport/tests/fixtures/firefox.sdp"),
    include_str!("../../../roomtone-transport/tests/fixtures/gateway.sdp"),
    include_str!("../../../roomtone-transport/tests/fixtures/gstreamer.sdp"),
    include_str!("../../../roomtone-transport/tests/fixtures/legal_and_not_ours.sdp"),
    include_str!("../../../roomtone-transport/tests/fixtures/libwebrtc_recvonly.sdp"),
    include_str!("../../../roomtone-transport/tests/fixtures/max_bundle_video_first.sdp"),
    include_str!("../../../roomtone-transport/tests/fixtures/microphone_added_again.sdp"),
    include_str!("../../../roomtone-transport/tests/fixtures/passive_publisher.sdp"),
    include_str!("../../../roomtone-transport/tests/fixtures/safari.sdp"),
    include_str!("../../../roomtone-transport/tests/fixtures/session_level_audio_video.sdp"),
];
/// A connected session is used for so many inputs, as making one takes a handshake.
const USES: u32 = 500;

// ---- SDP -------------------------------------------------------------------------------------------------------------

pub(super) const SDP_OFFER: Target = Target {
    name: "sdp-offer",
    run: |data| {
        if let Some((offer, slots)) = read_offer(data) {
            answer(&offer, slots);
        }
    },
    seeds: || OFFERS.iter().map(|offer| offer.as_bytes().to_vec()).collect(),
};

pub(super) const SDP_REOFFER: Target = Target {
    name: "sdp-reoffer",
    run: |data| {
        let mut pieces = Pieces(data);
        let Some((first, slots)) = pieces.next().and_then(|piece| read_offer(piece.data)) else {
            return;
        };
        let Some(mut endpoint) = answer(&first, slots) else {
            return;
        };
        for piece in pieces.take(4) {
            let Some((offer, _)) = read_offer(piece.data) else {
                continue;
            };
            let kind = endpoint.judge(&offer);
            let reoffered = endpoint.reoffer(*START, &offer);
            if kind != OfferKind::NewConnection {
                check_answer(&reoffered.unwrap_or_default());
            }
        }
    },
    seeds: || {
        let with_itself = OFFERS
            .iter()
            .map(|offer| join([(0, offer.as_bytes()), (0, offer.as_bytes())]));
        let with_the_next = OFFERS
            .windows(2)
            .map(|two| join(two.iter().map(|offer| (0, offer.as_bytes()))));
        with_itself.chain(with_the_next).collect()
    },
};

fn read_offer(data: &[u8]) -> Option<(Offer, usize)> {
    let text = std::str::from_utf8(data).ok()?;
    match Offer::parse(text) {
        Ok(offer) => Some((offer, data.len() % 9)),
        Err(error) => {
            assert!(!error.code().is_empty() && !error.to_string().is_empty());
            None
        }
    }
}

fn answer(offer: &Offer, slots: usize) -> Option<Endpoint> {
    let mut options = options();
    options.slots = slots;
    options.stereo = slots.is_multiple_of(2);
    let accepted = Endpoint::accept(*START, offer, Arc::new(config()), CERTIFICATE.clone(), options);
    let (endpoint, answer) = accepted.ok()?;
    check_answer(&answer);
    Some(endpoint)
}

/// Nothing of the offer may have become a line of its own.
fn check_answer(answer: &str) {
    for line in answer.split_terminator("\r\n") {
        assert!(line.as_bytes().get(1).is_none_or(|sign| *sign == b'='), "{line:?}");
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
    }
}

// ---- STUN ------------------------------------------------------------------------------------------------------------

pub(super) const STUN: Target = Target {
    name: "stun",
    run: |data| {
        let _ = (classify(data), stun_local_ufrag(data));
        FRESH.with_borrow_mut(|session| {
            let session = session.get_or_insert_with(Session::new);
            session.send_to_server(&mut data.to_vec());
            assert!(!session.server.is_connected());
            // A stranger makes no state, and gets a bounded answer.
            let answers = std::iter::from_fn(|| session.server.poll_transmit()).count();
            assert!(answers <= 1);
            while session.server.poll_event().is_some() {}
        });
    },
    seeds: || {
        let mut session = Session::new();
        let mut seeds = Vec::new();
        for _ in 0..3 {
            session.step(&mut |_, data| seeds.push(data.clone()));
        }
        seeds
    },
};

thread_local! {
    static FRESH: RefCell<Option<Session>> = const { RefCell::new(None) };
}

pub(super) const STUN_SIGNED: Target = Target {
    name: "stun-signed",
    run: |data| {
        let mut session = Session::new();
        let (username, password) = credentials(&session);
        for piece in Pieces(data).take(8) {
            if let Some(mut message) = signed(piece.kind, piece.data, &username, &password) {
                session.send_to_server(&mut message);
            }
            session.now += std::time::Duration::from_millis(u64::from(piece.kind));
            session.server.handle_timeout(session.now);
        }
        while session.server.poll_transmit().is_some() {}
    },
    seeds: || {
        let priority = [0, 0x24, 0, 4, 0x6e, 0, 1, 0xff];
        let controlling = [0x80, 0x2a, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
        let nominate = [0, 0x25, 0, 0];
        let request = [&priority[..], &controlling, &nominate].concat();
        vec![
            join([(1, &request[..])]),
            join([(1, &request[..12]), (1, &request[..]), (0x11, &[])]),
            join([(1, &[0x80, 0x29, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0][..])]),
        ]
    },
};

/// The USERNAME of a client's requests, and what signs them (RFC 8445 section 7.2.2).
fn credentials(session: &Session) -> (String, String) {
    let of = |sdp: &str, name: &str| {
        let found = sdp.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        found.expect("SDP has credentials of ICE")
    };
    let (ours, theirs) = (
        of(&session.answer, "a=ice-ufrag:"),
        of(&session.client.offer(), "a=ice-ufrag:"),
    );
    (format!("{ours}:{theirs}"), of(&session.answer, "a=ice-pwd:"))
}

/// A STUN message of this type with these attributes (kind, length, value), USERNAME before them, signed.
fn signed(kind: u8, mut attributes: &[u8], username: &str, password: &str) -> Option<Vec<u8>> {
    let mut message = Message::new();
    let mut typ = MessageType::default();
    typ.read_value(u16::from(kind & 0x1f) | u16::from(kind & 0x20) << 3);
    message
        .build(&[Box::new(TransactionId([kind; 12])), Box::new(typ)])
        .ok()?;
    message.add(AttrType(6), username.as_bytes());
    while let Some((&[a, b, c, d], rest)) = attributes.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([c, d])).min(rest.len());
        message.add(AttrType(u16::from_be_bytes([a, b])), &rest[..length]);
        attributes = &rest[length..];
    }
    let provider = default_provider().ok()?;
    MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), provider.crypto())
        .add_to(&mut message)
        .ok()?;
    FINGERPRINT.add_to(&mut message).ok()?;
    Some(message.raw)
}

// ---- DTLS ------------------------------------------------------------------------------------------------------------

pub(super) const DTLS_RECORDS: Target = Target {
    name: "dtls-records",
    run: |data| {
        let mut session = Session::new();
        // ICE first, as no other address is listened to; the client's own DTLS is left out.
        for _ in 0..3 {
            session.step(&mut |_, datagram| {
                if datagram.first().is_some_and(|first| *first >= 20) {
                    datagram.clear();
                }
            });
        }
        for piece in Pieces(data).take(16) {
            session.send_to_server(&mut piece.data.to_vec());
            session.now += std::time::Duration::from_millis(u64::from(piece.kind) * 8);
            session.server.handle_timeout(session.now);
            while session.server.poll_transmit().is_some() {}
            while session.server.poll_event().is_some() {}
        }
        assert!(!session.server.is_connected());
    },
    seeds: || {
        let flights = flights();
        let hello = flights.first().cloned().unwrap_or_default();
        vec![
            join([(1, &hello[..])]),
            join([(1, &hello[..]), (100, &hello[..])]),
            join(flights.iter().map(|flight| (1, &flight[..]))),
            join([(1, &[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40][..])]),
        ]
    },
};

/// The DTLS datagrams of an honest client.
fn flights() -> Vec<Vec<u8>> {
    let (mut session, mut flights) = (Session::new(), Vec::new());
    for _ in 0..20 {
        session.step(&mut |_, datagram| {
            if datagram.first().is_some_and(|first| (20..64).contains(first)) {
                flights.push(datagram.clone());
            }
        });
    }
    flights
}

pub(super) const DTLS_HANDSHAKE: Target = Target {
    name: "dtls-handshake",
    // An honest client whose datagrams are changed on their way: number, place, bytes.
    run: |data| {
        let mut session = Session::new();
        let changes: Vec<_> = Pieces(data).take(8).collect();
        let mut seen = 0;
        for _ in 0..30 {
            session.step(&mut |_, datagram| {
                if !datagram.first().is_some_and(|first| (20..64).contains(first)) {
                    return;
                }
                for change in changes.iter().filter(|change| usize::from(change.kind & 0x0f) == seen) {
                    change_bytes(change.kind >> 4, change.data, datagram);
                }
                seen += 1;
            });
        }
    },
    seeds: || {
        vec![
            join([(0x00, &[13, 0, 1, 1, 1][..])]),
            join([(0x11, &[25, 0][..]), (0x22, &[40, 0, 9][..])]),
            join([(0x33, &[60, 0, 0xff][..])]),
        ]
    },
};

fn change_bytes(how: u8, change: &[u8], datagram: &mut Vec<u8>) {
    let Some((&[low, high], bytes)) = change.split_first_chunk() else {
        datagram.clear();
        return;
    };
    let at = usize::from(u16::from_le_bytes([low, high])).min(datagram.len());
    match how % 4 {
        0 => datagram[at..].iter_mut().zip(bytes).for_each(|(old, new)| *old ^= new),
        1 => datagram.truncate(at),
        2 => drop(datagram.splice(at..at, bytes.iter().copied())),
        _ => datagram[at..].iter_mut().zip(bytes).for_each(|(old, new)| *old = *new),
    }
}

// ---- Media -----------------------------------------------------------------------------------------------------------

/// A connected session, and how often it was used.
type Connected = RefCell<(Option<Session>, u32)>;

thread_local! {
    static CONNECTED: Connected = const { RefCell::new((None, 0)) };
    static CONNECTED_RED: Connected = const { RefCell::new((None, 0)) };
}

/// Lends a connected session.
fn with_connected(run: impl FnOnce(&mut Session)) {
    lend(&CONNECTED, ClientOptions::default(), run);
}

fn lend(connected: &'static LocalKey<Connected>, options: ClientOptions, run: impl FnOnce(&mut Session)) {
    connected.with_borrow_mut(|(session, uses)| {
        *uses += 1;
        if *uses % USES == 0 || session.as_ref().is_some_and(|session| !session.server.is_connected()) {
            *session = None;
        }
        let session = session.get_or_insert_with(|| Session::with(options).connected());
        run(session);
        session.now += std::time::Duration::from_millis(20);
        session.server.handle_timeout(session.now);
        while session.server.poll_transmit().is_some() {}
        while session.server.poll_event().is_some() {}
        while session.client.poll_event().is_some() {}
    });
}

pub(super) const SRTP: Target = Target {
    name: "srtp",
    run: |data| {
        with_connected(|session| {
            for piece in Pieces(data).take(16) {
                let heard = session
                    .server
                    .handle_datagram(session.now, client_address(), &mut piece.data.to_vec())
                    .is_some();
                assert!(!heard, "nobody but the client can sign");
            }
        });
    },
    seeds: || {
        let mut session = Session::new().connected();
        session.client.send_rtp_raw(&rtp_packet());
        let mut seeds = Vec::new();
        session.step(&mut |_, data| seeds.push(join([(0, &data[..])])));
        seeds.push(join([(0, &rtp_packet()[..])]));
        seeds
    },
};

fn rtp_packet() -> Vec<u8> {
    // With a one-byte header extension (RFC 8285) that holds a level (RFC 6464).
    let mut packet = vec![
        0x90, 111, 0, 1, 0, 0, 3, 0xc0, 1, 2, 3, 4, 0xbe, 0xde, 0, 1, 0x10, 0x9e, 0, 0,
    ];
    packet.extend([0xfc, 0xff, 0xfe]);
    packet
}

pub(super) const RTP: Target = Target {
    name: "rtp",
    run: |data| {
        with_connected(|session| {
            for piece in Pieces(data).take(16) {
                // Half of them are of the source that was announced.
                let mut packet = piece.data.to_vec();
                if piece.kind % 2 == 0 && packet.len() >= 12 {
                    packet[8..12].copy_from_slice(&session.client.ssrc().to_be_bytes());
                }
                if can_be_signed(&packet) {
                    session.client.send_rtp_raw(&packet);
                }
                while let Some((_, sent)) = session.client.poll_transmit() {
                    let mut sent = sent.to_vec();
                    if let Some(heard) = session.server.handle_datagram(session.now, client_address(), &mut sent) {
                        assert!(heard.payload.len() <= packet.len());
                    }
                }
            }
        });
    },
    seeds: || {
        let plain = rtp_packet();
        let mut two_bytes = plain.clone();
        two_bytes[12..16].copy_from_slice(&[0x10, 0, 0, 1]);
        let mut padded = plain.clone();
        padded[0] |= 0x20;
        padded.extend([0, 0, 3]);
        let mut contributing = plain.clone();
        contributing[0] |= 1;
        contributing.splice(12..12, [9, 9, 9, 9]);
        [plain, two_bytes, padded, contributing]
            .iter()
            .map(|packet| join([(0, &packet[..]), (1, &packet[..])]))
            .collect()
    },
};

/// The payload types of the client that offers RED (RFC 2198).
const RED_TYPE: u8 = 63;
const OPUS_TYPE: u8 = 111;
/// How far behind the newest packet the endpoint remembers what it restored.
const REMEMBERED: i64 = 60;

pub(super) const RED: Target = Target {
    name: "red",
    // Kinds: how far the sequence number goes (3 bits, 2 of them back), plain Opus (1 bit), a source of its own (1 bit), and the
    // duration of a packet (2 bits; all set: the data begins with the time stamp). The rest is the payload.
    run: |data| {
        let options = ClientOptions {
            red: Some(RED_TYPE),
            ..ClientOptions::default()
        };
        lend(&CONNECTED_RED, options, |session| {
            let (mut seq, mut timestamp) = (0u16, 0u32);
            let mut heard = HeardOnce::default();
            for piece in Pieces(data).take(48) {
                let step = i32::from(piece.kind & 7) - 2;
                seq = seq.wrapping_add_signed(step as i16);
                let mut payload = piece.data;
                match (piece.kind >> 5 & 3, payload.split_first_chunk()) {
                    (3, Some((bytes, rest))) => (timestamp, payload) = (u32::from_be_bytes(*bytes), rest),
                    (length, _) => timestamp = timestamp.wrapping_add_signed(step * (480 << length)),
                }
                let typ = if piece.kind & 8 == 0 { RED_TYPE } else { OPUS_TYPE };
                let ssrc = session.client.ssrc() ^ u32::from(piece.kind >> 4 & 1);
                let mut packet = vec![0x80, typ];
                packet.extend(seq.to_be_bytes());
                packet.extend(timestamp.to_be_bytes());
                packet.extend(ssrc.to_be_bytes());
                packet.extend(payload);
                session.client.send_rtp_raw(&packet);
                while let Some((_, sent)) = session.client.poll_transmit() {
                    let mut sent = sent.to_vec();
                    if let Some(packet) = session.server.handle_datagram(session.now, client_address(), &mut sent) {
                        heard.check(&packet, payload.len());
                    }
                }
            }
        });
    },
    seeds: || {
        let copy = |offset: u32, length: u32| {
            let word = (u32::from(OPUS_TYPE) << 24) | (offset << 10) | length;
            (word | 0x8000_0000).to_be_bytes()
        };
        let one = [&copy(960, 3)[..], &[OPUS_TYPE], b"old", b"own"].concat();
        let two = [
            &copy(1920, 5)[..],
            &copy(960, 3),
            &[OPUS_TYPE],
            b"older",
            b"old",
            b"own",
        ]
        .concat();
        let many: Vec<u8> = (1..=12).rev().flat_map(|n| copy(n * 120, 1)).collect();
        let many = [&many[..], &[OPUS_TYPE], &[7; 15]].concat();
        // Durations of 20 ms; the next packet is 3, the one after next 4.
        let (next, skip, late) = (0x23, 0x24, 0x20);
        vec![
            join([(next, &one[..]), (skip, &one[..]), (next | 8, b"own")]),
            join([
                (next, &two[..]),
                (skip + 1, &two[..]),
                (late, &one[..]),
                (late | 8, b"own"),
            ]),
            join([
                (next, &many[..]),
                (skip + 3, &many[..]),
                (next | 0x10, &two[..]),
                (next | 0x10, &two[..]),
            ]),
            join([(next, &one[..]), (0x63, &[&[0, 0, 20, 0][..], &two].concat()[..])]),
        ]
    },
};

/// Checks that of a stream's packets none is heard twice, once restored and once itself.
#[derive(Default)]
struct HeardOnce {
    ssrc: u32,
    /// The newest sequence number, unwrapped.
    newest: Option<i64>,
    restored: HashSet<i64>,
}

impl HeardOnce {
    fn check(&mut self, packet: &RtpIn<'_>, carried: usize) {
        if self.ssrc != packet.ssrc {
            *self = HeardOnce {
                ssrc: packet.ssrc,
                ..HeardOnce::default()
            };
        }
        let number = |seq: u16, near: i64| near + i64::from(seq.wrapping_sub(near as u16).cast_signed());
        let before = self.newest;
        let own = number(packet.seq, before.unwrap_or(i64::from(packet.seq)));
        let newest = before.unwrap_or(own).max(own);
        let again = self.restored.contains(&own) && newest - own < REMEMBERED;
        assert!(!again, "{packet:?} was restored before");
        self.newest = Some(newest);
        let mut last = before.unwrap_or(i64::MIN);
        let mut bytes = packet.payload.len();
        for copy in packet.restored() {
            let restored = number(copy.seq, own);
            assert!(
                last < restored && restored < own,
                "{copy:?} of {packet:?} is in its place"
            );
            assert!(!copy.payload.is_empty(), "{copy:?}");
            let back = packet.timestamp.wrapping_sub(copy.timestamp);
            assert_eq!(copy.restored_after, Some(back));
            bytes += copy.payload.len();
            last = restored;
            self.restored.insert(restored);
        }
        assert!(bytes <= carried, "{packet:?} has {bytes} bytes of {carried}");
    }
}

/// The library behind the client panics on a packet whose header, written again, is longer than the packet.
fn can_be_signed(packet: &[u8]) -> bool {
    let read = rtc::rtp::header::Header::unmarshal(&mut &packet[..]);
    read.is_ok_and(|header| header.marshal_size() <= packet.len())
}

pub(super) const RTCP: Target = Target {
    name: "rtcp",
    run: |data| {
        with_connected(|session| {
            for piece in Pieces(data).take(8) {
                if piece.data.len() >= 8 {
                    session.client.send_rtcp_raw(piece.data);
                }
                while let Some((_, sent)) = session.client.poll_transmit() {
                    session.send_to_server(&mut sent.to_vec());
                }
                let _ = session.server.stats();
            }
        });
    },
    seeds: || {
        let sender_report = [&[0x80, 200, 0, 6, 1, 2, 3, 4][..], &[7; 20]].concat();
        let receiver_report = [&[0x81, 201, 0, 7, 1, 2, 3, 4][..], &[5; 24]].concat();
        let description = [0x81, 202, 0, 3, 1, 2, 3, 4, 1, 3, b'a', b'b', b'c', 0, 0, 0];
        let bye = [0x81, 203, 0, 2, 1, 2, 3, 4, 2, b'h', b'i', 0];
        let nack = [0x81, 205, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 0];
        let compound = [&sender_report[..], &description].concat();
        [
            &sender_report[..],
            &receiver_report,
            &description,
            &bye,
            &nack,
            &compound,
        ]
        .iter()
        .map(|packet| join([(0, *packet)]))
        .collect()
    },
};

pub(super) const RTP_HEADER: Target = Target {
    name: "rtp-header",
    run: |data| {
        let Some(header) = Header::parse(data) else { return };
        assert!(header.len <= data.len());
        if let Some(payload) = header.payload(data) {
            assert!(payload.start <= payload.end && payload.end <= data.len());
        }
        let _ = header.extension_len();
        for id in 0..=255 {
            if let Some(value) = header.extension(data, id) {
                assert!(value.len() <= data.len());
            }
            if let Some((level, _)) = header.audio_level(data, id) {
                assert!(level <= 127);
            }
        }
    },
    seeds: || vec![rtp_packet(), rtp_packet()[..20].to_vec()],
};

pub(super) const TCP_FRAMING: Target = Target {
    name: "tcp-framing",
    // However the stream is cut, the same datagrams come out of it.
    run: |data| {
        let Some((&[how, cut], stream)) = data.split_first_chunk() else {
            return;
        };
        let framing = if how % 2 == 0 { Framing::Rfc4571 } else { Framing::Turn };
        assert_eq!(
            deframe(framing, stream, usize::MAX),
            deframe(framing, stream, usize::from(cut).max(1))
        );
    },
    seeds: || {
        vec![
            vec![0, 3, 0, 2, b'h', b'i', 0, 1, b'!'],
            vec![1, 5, 0x40, 0, 0, 2, b'h', b'i', 0, 0, 0x40, 1, 0, 0],
            [&[1, 7, 0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42][..], &[7; 16]].concat(),
        ]
    },
};

fn deframe(framing: Framing, mut stream: &[u8], most: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut deframer, mut found) = (Deframer::new(framing), Vec::new());
    while !stream.is_empty() {
        let space = deframer.space();
        let count = stream.len().min(space.len()).min(most);
        assert!(count > 0, "there is always room");
        space[..count].copy_from_slice(&stream[..count]);
        stream = &stream[count..];
        deframer.filled(count);
        loop {
            match deframer.next_datagram() {
                Ok(Some(datagram)) => found.push(datagram.to_vec()),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_message_of_the_seeds_validates_the_address() {
        // Else the target would look at the first check of the signature only.
        let mut session = Session::new();
        let (username, password) = credentials(&session);
        let request = (STUN_SIGNED.seeds)().remove(0);
        let piece = Pieces(&request).next().expect("a piece");
        let mut message = signed(piece.kind, piece.data, &username, &password).expect("a message");
        session.send_to_server(&mut message);
        let answer = session.server.poll_transmit().expect("an answer");
        assert_eq!(answer.data[..2], [1, 1], "a success response");
        assert_eq!(answer.to, client_address());
    }

    #[test]
    fn the_flights_of_a_client_are_recorded() {
        assert!(flights().len() >= 3);
    }

    #[test]
    fn lost_packets_of_the_seeds_are_restored() {
        (RED.run)(&(RED.seeds)().remove(0));
        CONNECTED_RED.with_borrow(|(session, _)| {
            let session = session.as_ref().expect("it was used");
            assert_eq!(session.server.stats().restored, 1);
        });
    }

    #[test]
    fn plain_packets_reach_the_endpoint() {
        with_connected(|session| {
            let mut packet = rtp_packet();
            packet[8..12].copy_from_slice(&session.client.ssrc().to_be_bytes());
            session.client.send_rtp_raw(&packet);
            let (_, sent) = session.client.poll_transmit().expect("a packet");
            let mut sent = sent.to_vec();
            assert!(
                session
                    .server
                    .handle_datagram(session.now, client_address(), &mut sent)
                    .is_some()
            );
        });
    }
}
