//! Our wiring against a second reading of the RFCs: key derivation, counters and nonces are worked
//! out here from the text, with bare AES, HMAC and GCM. That reading is itself held against the
//! vectors that the RFCs print.

use super::*;
use rtc::crypto::{AeadAlgorithm, BlockCipherAlgorithm, HmacAlgorithm, default_provider};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn provider() -> Arc<dyn RTCCryptoProvider> {
    default_provider().expect("ring is built in")
}

fn aes(key: &[u8], block: [u8; 16]) -> [u8; 16] {
    let mut out = block;
    provider()
        .crypto()
        .block_encrypt(BlockCipherAlgorithm::Aes128, key, &mut out)
        .expect("one block");
    out
}

/// RFC 3711 section 4.1.1: the key stream from an initial counter block.
fn key_stream(key: &[u8], iv: [u8; 16], len: usize) -> Vec<u8> {
    let first = u128::from_be_bytes(iv);
    (0..len.div_ceil(16) as u128)
        .flat_map(|i| aes(key, first.wrapping_add(i).to_be_bytes()))
        .take(len)
        .collect()
}

/// RFC 3711 section 4.3.1 with a key derivation rate of zero.
fn derive(master: &[u8], salt: &[u8], label: u8, len: usize) -> Vec<u8> {
    let mut iv = [0; 16];
    iv[..salt.len()].copy_from_slice(salt);
    iv[7] ^= label;
    key_stream(master, iv, len)
}

/// RFC 3711 section 4.1.1: IV = (k_s · 2^16) XOR (SSRC · 2^64) XOR (i · 2^16).
fn cm_iv(salt: &[u8], ssrc: u32, index: u64) -> [u8; 16] {
    let mut padded = [0; 16];
    padded[..14].copy_from_slice(salt);
    let iv = u128::from_be_bytes(padded) ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
    iv.to_be_bytes()
}

fn hmac(key: &[u8], data: &[&[u8]]) -> Vec<u8> {
    let mut tag = vec![0; 20];
    provider()
        .crypto()
        .new_hmac(HmacAlgorithm::Sha1, key)
        .and_then(|mut mac| mac.sign(data, &mut tag))
        .expect("HMAC");
    tag
}

fn gcm(key: &[u8], nonce: [u8; 12], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let (mut body, mut tag) = (plain.to_vec(), [0; 16]);
    provider()
        .crypto()
        .new_aead(AeadAlgorithm::Aes128Gcm, key)
        .and_then(|mut aead| aead.seal_in_place(&nonce, aad, &mut body, &mut tag))
        .expect("GCM");
    body.extend(tag);
    body
}

/// RFC 7714 section 8.1.
fn gcm_nonce(salt: &[u8], ssrc: u32, roc: u32, sequence: u16) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[6..10].copy_from_slice(&roc.to_be_bytes());
    nonce[10..].copy_from_slice(&sequence.to_be_bytes());
    for (byte, salt) in nonce.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    nonce
}

fn pair(profile: ProtectionProfile, key: &[u8], salt: &[u8]) -> Srtp {
    let master = || MasterKey {
        key: SecretVec::new(key.to_vec()),
        salt: SecretVec::new(salt.to_vec()),
    };
    Srtp::new(profile, &master(), master(), provider()).expect("keys fit")
}

fn packet(sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    let header = crate::rtp::Outgoing {
        marker: false,
        payload_type: 111,
        sequence,
        timestamp: 0xDECA_FBAD,
        ssrc: 0xCAFE_BABE,
        csrc: None,
        level: Some((3, 40, true)),
    };
    crate::rtp::write(&mut out, &header, payload);
    out
}

fn sealed(srtp: &mut Srtp, plain: &[u8], header_len: usize, sequence: u16) -> Vec<u8> {
    // Behind something else, as in a batch.
    let mut out = vec![7; 5];
    out.extend_from_slice(plain);
    assert!(srtp.protect_rtp(&mut out, 5, header_len, 0xCAFE_BABE, sequence));
    assert_eq!(out[..5], [7; 5]);
    out.split_off(5)
}

fn opened(srtp: &mut Srtp, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut copy = packet.to_vec();
    let header = Header::parse(packet).ok_or(Refusal::Malformed)?;
    let len = srtp.unprotect_rtp(&mut copy, &header)?;
    copy.truncate(len);
    Ok(copy)
}

fn opened_rtcp(srtp: &mut Srtp, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut copy = packet.to_vec();
    let len = srtp.unprotect_rtcp(&mut copy)?;
    copy.truncate(len);
    Ok(copy)
}

/// RFC 3711 B.2: key stream; B.3: key derivation.
#[test]
fn the_second_reading_agrees_with_rfc_3711() {
    let key = hex("2B7E151628AED2A6ABF7158809CF4F3C");
    let iv = cm_iv(&hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"), 0, 0);
    assert_eq!(
        key_stream(&key, iv, 48),
        hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0")
    );
    let master = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
    let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
    assert_eq!(derive(&master, &salt, 0, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derive(&master, &salt, 2, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(
        derive(&master, &salt, 1, 20),
        hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
    );
}

/// RFC 7714 section 16.1.1.
#[test]
fn the_second_reading_agrees_with_rfc_7714() {
    let key = hex("000102030405060708090a0b0c0d0e0f");
    let salt = hex("517569642070726f2071756f");
    let header = hex("8040f17b 8041f8d3 5501a0b2");
    let nonce = gcm_nonce(&salt, 0x5501_A0B2, 0, 0xF17B);
    assert_eq!(nonce.to_vec(), hex("51753c6580c2726f20718414"));
    assert_eq!(
        gcm(&key, nonce, &header, b"Gallia est omnis divisa in partes tres"),
        hex(
            "f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833
             899d7f27 beb16a91 52cf765e e4390cce"
        )
    );
}

#[test]
fn aes_cm_packets_are_what_the_rfc_says_also_after_a_rollover() {
    let (key, salt) = (
        hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
        hex("0EC675AD498AFEEBB6960B3AABE6"),
    );
    let session_key = derive(&key, &salt, 0, 16);
    let auth_key = derive(&key, &salt, 1, 20);
    let session_salt = derive(&key, &salt, 2, 14);
    let mut srtp = pair(ProtectionProfile::Aes128CmHmacSha1_80, &key, &salt);
    for (sequence, roc) in [(65_534u16, 0u32), (65_535, 0), (0, 1), (1, 1)] {
        let plain = packet(sequence, b"sixteen bytes !! and more");
        let index = u64::from(roc) << 16 | u64::from(sequence);
        let mut expected = plain[..20].to_vec();
        let stream = key_stream(&session_key, cm_iv(&session_salt, 0xCAFE_BABE, index), plain.len() - 20);
        expected.extend(plain[20..].iter().zip(stream).map(|(a, b)| a ^ b));
        let tag = hmac(&auth_key, &[&expected, &roc.to_be_bytes()]);
        expected.extend(&tag[..10]);
        let sealed = sealed(&mut srtp, &plain, 20, sequence);
        assert_eq!(sealed, expected, "{sequence} roc {roc}");
        assert_eq!(opened(&mut srtp, &sealed).expect("opened"), plain);
        assert_eq!(opened(&mut srtp, &sealed), Err(Refusal::Replayed));
    }
}

#[test]
fn gcm_packets_are_what_the_rfc_says_also_after_a_rollover() {
    let (key, salt) = (hex("000102030405060708090a0b0c0d0e0f"), hex("a0a1a2a3a4a5a6a7a8a9aaab"));
    // RFC 7714 section 11: AES-CM derivation, the 96-bit salt filled up with zeros.
    let session_key = derive(&key, &salt, 0, 16);
    let session_salt = derive(&key, &salt, 2, 12);
    let mut srtp = pair(ProtectionProfile::AeadAes128Gcm, &key, &salt);
    for (sequence, roc) in [(65_535u16, 0u32), (0, 1), (1, 1)] {
        let plain = packet(sequence, b"payload");
        let nonce = gcm_nonce(&session_salt, 0xCAFE_BABE, roc, sequence);
        let mut expected = plain[..20].to_vec();
        expected.extend(gcm(&session_key, nonce, &plain[..20], &plain[20..]));
        let sealed = sealed(&mut srtp, &plain, 20, sequence);
        assert_eq!(sealed, expected, "{sequence} roc {roc}");
        assert_eq!(opened(&mut srtp, &sealed).expect("opened"), plain);
        assert_eq!(opened(&mut srtp, &sealed), Err(Refusal::Replayed));
    }
}

#[test]
fn srtcp_is_what_the_rfcs_say() {
    let report = hex("80c90001 cafebabe abababab abababab");
    let (key, salt) = (
        hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
        hex("0EC675AD498AFEEBB6960B3AABE6"),
    );
    let mut srtp = pair(ProtectionProfile::Aes128CmHmacSha1_80, &key, &salt);
    let stream = key_stream(
        &derive(&key, &salt, 3, 16),
        cm_iv(&derive(&key, &salt, 5, 14), 0xCAFE_BABE, 1),
        8,
    );
    let mut expected = report[..8].to_vec();
    expected.extend(report[8..].iter().zip(stream).map(|(a, b)| a ^ b));
    expected.extend([0x80, 0, 0, 1]);
    let tag = hmac(&derive(&key, &salt, 4, 20), &[&expected]);
    expected.extend(&tag[..10]);
    let sealed = srtp.protect_rtcp(&report).expect("sealed");
    assert_eq!(sealed, expected);
    assert_eq!(opened_rtcp(&mut srtp, &sealed).expect("opened"), report);
    assert_eq!(opened_rtcp(&mut srtp, &sealed), Err(Refusal::Replayed));

    let (key, salt) = (hex("000102030405060708090a0b0c0d0e0f"), hex("a0a1a2a3a4a5a6a7a8a9aaab"));
    let mut srtp = pair(ProtectionProfile::AeadAes128Gcm, &key, &salt);
    // RFC 7714 sections 9.1 and 9.2: the nonce has the index where RTP has ROC and sequence; the
    // AAD ends in E ‖ index.
    let nonce = gcm_nonce(&derive(&key, &salt, 5, 12), 0xCAFE_BABE, 0, 1);
    let aad = [&report[..8], &[0x80, 0, 0, 1]].concat();
    let mut expected = report[..8].to_vec();
    expected.extend(gcm(&derive(&key, &salt, 3, 16), nonce, &aad, &report[8..]));
    expected.extend([0x80, 0, 0, 1]);
    let sealed = srtp.protect_rtcp(&report).expect("sealed");
    assert_eq!(sealed, expected);
    assert_eq!(opened_rtcp(&mut srtp, &sealed).expect("opened"), report);
}

/// The library is told a header length; it has to be ours whatever the header looks like.
#[test]
fn strange_but_legal_headers_are_opened() {
    let (key, salt) = (hex("000102030405060708090a0b0c0d0e0f"), hex("a0a1a2a3a4a5a6a7a8a9aaab"));
    let master = derive(&key, &salt, 0, 16);
    let session_salt = derive(&key, &salt, 2, 12);
    let extension = |profile: u16, words: &[u8]| {
        let mut block = profile.to_be_bytes().to_vec();
        block.extend(((words.len() / 4) as u16).to_be_bytes());
        block.extend(words);
        block
    };
    let cases: Vec<(u8, Vec<u8>)> = vec![
        (0x80, vec![]),
        (0x82, vec![9; 8]),                                   // two CSRCs
        (0x90, extension(0xBEDE, &[])),                       // an empty block
        (0x90, extension(0xBEDE, &[0, 0, 0, 0x10])),          // padding first, then one cut short
        (0x90, extension(0x1000, &[1, 2, 9, 9, 0, 0, 0, 0])), // two-byte form
        (0x90, extension(0x1234, &[7; 12])),                  // neither form
        (0x9F, [vec![1; 60], extension(0xBEDE, &[0xF0; 8])].concat()),
    ];
    let mut srtp = pair(ProtectionProfile::AeadAes128Gcm, &key, &salt);
    for (sequence, (first, rest)) in (1u16..).zip(cases) {
        let mut head = vec![first, 111];
        head.extend(sequence.to_be_bytes());
        head.extend([0, 0, 0, 1, 0xCA, 0xFE, 0xBA, 0xBE]);
        head.extend(rest);
        let mut sealed = head.clone();
        let nonce = gcm_nonce(&session_salt, 0xCAFE_BABE, 0, sequence);
        sealed.extend(gcm(&master, nonce, &head, b"sound"));
        let header = Header::parse(&sealed).expect("legal");
        let plain = opened(&mut srtp, &sealed).expect("authentic");
        assert_eq!(&plain[header.payload(&plain).expect("payload")], b"sound");
    }
}

#[test]
fn what_we_forward_names_its_source_under_either_profile() {
    for (profile, salt) in [
        (ProtectionProfile::AeadAes128Gcm, vec![3; 12]),
        (ProtectionProfile::Aes128CmHmacSha1_80, vec![3; 14]),
    ] {
        for level in [None, Some((3, 40, true))] {
            let mut srtp = pair(profile, &[7; 16], &salt);
            let header = crate::rtp::Outgoing {
                marker: true,
                payload_type: 111,
                sequence: 9,
                timestamp: 5,
                ssrc: 0xCAFE_BABE,
                csrc: Some(0x0102_0304),
                level,
            };
            let mut plain = vec![];
            let len = crate::rtp::write(&mut plain, &header, b"sound");
            let packet = sealed(&mut srtp, &plain, len, 9);
            assert_eq!(packet[..len], plain[..len]);
            assert_ne!(packet[len..len + 5], plain[len..], "{level:?}");
            assert_eq!(opened(&mut srtp, &packet).expect("authentic"), plain, "{level:?}");
        }
    }
}

#[test]
fn a_forged_first_packet_leaves_no_state() {
    let (key, salt) = (hex("000102030405060708090a0b0c0d0e0f"), hex("a0a1a2a3a4a5a6a7a8a9aaab"));
    for profile in [ProtectionProfile::AeadAes128Gcm, ProtectionProfile::Aes128CmHmacSha1_80] {
        let salt = if profile.salt_len() == 14 {
            vec![1; 14]
        } else {
            salt.clone()
        };
        let mut srtp = pair(profile, &key, &salt);
        for sequence in 0..2_000u16 {
            let mut forged = packet(sequence, &[0; 60]);
            forged[8..10].copy_from_slice(&sequence.to_be_bytes());
            assert_eq!(opened(&mut srtp, &forged), Err(Refusal::Forged));
            let mut rtcp = hex("80c90001 00000000 abababab abababab abababab abababab abababab 80000001 00000000 8000");
            rtcp[4..6].copy_from_slice(&sequence.to_be_bytes());
            assert!(opened_rtcp(&mut srtp, &rtcp).is_err());
        }
        assert_eq!(srtp.stream_count(), 0);
        // Authentic streams are let in. Beyond the bound one takes the place of the one that was
        // silent for longest.
        let report = |ssrc: u32| {
            let mut report = hex("80c90001 00000000");
            report[4..].copy_from_slice(&ssrc.to_be_bytes());
            report
        };
        let first = srtp.protect_rtcp(&report(0)).expect("sealed");
        assert!(opened_rtcp(&mut srtp, &first).is_ok());
        for ssrc in 0..100u32 {
            for ssrc in [ssrc, 7] {
                let sealed = srtp.protect_rtcp(&report(ssrc)).expect("sealed");
                assert_eq!(opened_rtcp(&mut srtp, &sealed).expect("room"), report(ssrc));
            }
            if ssrc == 20 {
                assert_eq!(
                    opened_rtcp(&mut srtp, &first),
                    Err(Refusal::Replayed),
                    "older than what came since"
                );
            }
        }
        assert_eq!(srtp.stream_count(), MAX_STREAMS);
        let again = srtp.protect_rtcp(&report(7)).expect("sealed");
        assert!(opened_rtcp(&mut srtp, &again).is_ok());
        assert_eq!(
            opened_rtcp(&mut srtp, &again),
            Err(Refusal::Replayed),
            "one that goes on keeps its place"
        );
    }
}

#[test]
fn short_packets_are_refused() {
    let (key, salt) = (hex("000102030405060708090a0b0c0d0e0f"), hex("a0a1a2a3a4a5a6a7a8a9aaab"));
    let mut srtp = pair(ProtectionProfile::AeadAes128Gcm, &key, &salt);
    for len in 0..40 {
        let mut bytes = vec![0xFF; len];
        if len > 1 {
            bytes[..2].copy_from_slice(&[0x80, 201]);
        }
        assert!(opened_rtcp(&mut srtp, &bytes).is_err());
        if let Some(first) = bytes.first_mut() {
            *first = 0x80;
        }
        assert!(opened(&mut srtp, &bytes).is_err());
    }
    assert_eq!(srtp.stream_count(), 0);
}

/// Two SSRCs of ours under one key, each with its own count of rollovers; an index is never used
/// twice.
#[test]
fn each_of_our_streams_counts_for_itself() {
    let (key, salt) = (hex("000102030405060708090a0b0c0d0e0f"), hex("a0a1a2a3a4a5a6a7a8a9aaab"));
    let mut srtp = pair(ProtectionProfile::AeadAes128Gcm, &key, &salt);
    for sequence in [65_534u16, 65_535, 0, 1] {
        for ssrc in [7u32, 8] {
            let mut plain = packet(sequence, b"sound");
            plain[8..12].copy_from_slice(&ssrc.to_be_bytes());
            let mut out = plain.clone();
            assert!(srtp.protect_rtp(&mut out, 0, 20, ssrc, sequence));
            assert_eq!(opened(&mut srtp, &out).expect("opened"), plain);
            assert!(!srtp.protect_rtp(&mut plain, 0, 20, ssrc, sequence), "used already");
        }
    }
    for ssrc in 100..200u32 {
        srtp.protect_rtp(&mut packet(1, b"x"), 0, 20, ssrc, 1);
    }
    let Outgoing::Gcm { streams, .. } = &srtp.outgoing else {
        panic!("GCM is done here")
    };
    assert_eq!(streams.len(), MAX_OUTGOING);
}

/// The same packets as `rtc-srtp` makes and takes, which has the other profiles.
#[test]
fn ours_and_the_library_read_each_other() {
    let (key, salt) = (hex("101112131415161718191a1b1c1d1e1f"), hex("b0b1b2b3b4b5b6b7b8b9babb"));
    let master = || MasterKey {
        key: SecretVec::new(key.clone()),
        salt: SecretVec::new(salt.clone()),
    };
    let profile = ProtectionProfile::AeadAes128Gcm;
    let mut ours = pair(profile, &key, &salt);
    let mut theirs_out = Library::outgoing(profile, &master(), &*provider()).expect("keys fit");
    let mut theirs_in = Library::incoming(profile, &master(), &*provider()).expect("keys fit");
    for sequence in (65_000..65_536u32).chain(0..500).map(|s| s as u16) {
        let plain = packet(sequence, &[sequence as u8; 90]);
        let by_us = sealed(&mut ours, &plain, 20, sequence);
        let header = Header::parse(&by_us).expect("header");
        assert_eq!(theirs_in.open_rtp(&by_us, &header).expect("opened"), plain);
        let by_them = theirs_out.seal_rtp(&plain, 20, 0xCAFE_BABE, sequence).expect("sealed");
        assert_eq!(by_them, by_us);
        assert_eq!(opened(&mut ours, &by_them).expect("opened"), plain);
    }
    let report = hex("80c90001 cafebabe abababab abababab");
    for _ in 0..20 {
        let by_us = ours.protect_rtcp(&report).expect("sealed");
        assert_eq!(theirs_in.open_rtcp(&by_us).expect("opened"), report);
        let by_them = theirs_out.seal_rtcp(&report).expect("sealed");
        assert_eq!(opened_rtcp(&mut ours, &by_them).expect("opened"), report);
    }
}
