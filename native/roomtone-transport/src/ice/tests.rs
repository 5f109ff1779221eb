//! STUN as wired here against the vectors of RFC 5769.

use std::net::SocketAddr;

use rtc::crypto::default_provider;
use rtc::stun::attributes::ATTR_XORMAPPED_ADDRESS;
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::Message;

use super::stun::read_request;
use crate::demux::{stun_local_ufrag, stun_username};

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Section 2.1.
fn request() -> Vec<u8> {
    hex("00010058 2112a442 b7e7a701 bc34d686 fa87dfae
         80220010 5354554e 20746573 7420636c 69656e74
         00240004 6e0001ff
         80290008 932ff9b1 51263b36
         00060009 6576746a 3a683676 59202020
         00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2
         80280004 e57a3bcf")
}

#[test]
fn the_request_is_authentic() {
    let provider = default_provider().expect("ring is built in");
    let crypto = provider.crypto();
    assert_eq!(stun_username(&request()), Some("evtj:h6vY"));
    assert_eq!(stun_local_ufrag(&request()), Some("evtj"));
    let read = read_request(&request(), "evtj:h6vY", PASSWORD, crypto).expect("authentic");
    assert!(!read.nominates);
    assert!(read.role_conflict, "its sender says ICE-CONTROLLED");
    assert!(read_request(&request(), "evtj:h6vY", "other", crypto).is_none());
    assert!(read_request(&request(), "evtj:other", PASSWORD, crypto).is_none());
    for at in 0..request().len() {
        let mut bent = request();
        bent[at] ^= 1;
        assert!(
            read_request(&bent, "evtj:h6vY", PASSWORD, crypto).is_none(),
            "byte {at}"
        );
    }
}

/// The signature alone has to hold too: here the checksum is made to fit each change.
#[test]
fn a_changed_request_with_a_fitting_checksum_is_refused() {
    let provider = default_provider().expect("ring is built in");
    let body = request().len() - 8;
    for at in 20..body {
        let mut bent = request();
        bent[at] ^= 1;
        let crc = rtc::stun::fingerprint::fingerprint_value(&bent[..body]);
        bent[body + 4..].copy_from_slice(&crc.to_be_bytes());
        assert!(
            read_request(&bent, "evtj:h6vY", PASSWORD, provider.crypto()).is_none(),
            "byte {at}"
        );
    }
}

/// Sections 2.2 and 2.3: the same answer as in the vectors, but for SOFTWARE, which we don't send.
#[test]
fn responses_say_the_address_as_the_vectors_do() {
    let provider = default_provider().expect("ring is built in");
    let crypto = provider.crypto();
    let read = read_request(&request(), "evtj:h6vY", PASSWORD, crypto).expect("authentic");
    let vectors = [
        (
            "192.0.2.1:32853",
            "0101003c 2112a442 b7e7a701 bc34d686 fa87dfae
             8022000b 74657374 20766563 746f7220
             00200008 0001a147 e112a643
             00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7
             80280004 c07d4c96",
        ),
        (
            "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
            "01010048 2112a442 b7e7a701 bc34d686 fa87dfae
             8022000b 74657374 20766563 746f7220
             00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9
             00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41
             80280004 c8fb0b4c",
        ),
    ];
    for (address, bytes) in vectors {
        let address: SocketAddr = address.parse().expect("address");
        let mut vector = Message::new();
        vector.unmarshal_binary(&hex(bytes)).expect("vector");
        FINGERPRINT.check(&vector).expect("vector's checksum");
        MessageIntegrity::check(&mut vector, PASSWORD.as_bytes(), crypto).expect("vector's signature");

        let ours = read.success(address, PASSWORD, crypto).expect("answered");
        let mut answer = Message::new();
        answer.unmarshal_binary(&ours).expect("well-formed");
        FINGERPRINT.check(&answer).expect("checksum");
        MessageIntegrity::check(&mut answer, PASSWORD.as_bytes(), crypto).expect("signature");
        assert_eq!(answer.typ, vector.typ);
        assert_eq!(answer.transaction_id, vector.transaction_id);
        assert_eq!(
            answer.get(ATTR_XORMAPPED_ADDRESS).expect("address"),
            vector.get(ATTR_XORMAPPED_ADDRESS).expect("address")
        );
        assert_eq!(ours.len() % 4, 0);
    }
}

#[test]
fn a_mapped_address_is_reported_as_ipv4() {
    let provider = default_provider().expect("ring is built in");
    let crypto = provider.crypto();
    let read = read_request(&request(), "evtj:h6vY", PASSWORD, crypto).expect("authentic");
    let mapped = "[::ffff:192.0.2.1]:32853".parse().expect("address");
    let plain = "192.0.2.1:32853".parse().expect("address");
    assert_eq!(
        read.success(mapped, PASSWORD, crypto),
        read.success(plain, PASSWORD, crypto)
    );
}
