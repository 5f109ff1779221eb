use super::*;
use proptest::prelude::*;

fn base(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut p = vec![first, 0x80 | 111, 0x12, 0x34, 0, 0, 0, 9, 0xAA, 0xBB, 0xCC, 0xDD];
    p.extend(rest);
    p
}

#[test]
fn fixed_header() {
    let packet = base(0x80, b"opus");
    let header = Header::parse(&packet).expect("valid");
    assert!(header.marker);
    assert_eq!(header.payload_type, 111);
    assert_eq!(
        (header.sequence, header.timestamp, header.ssrc),
        (0x1234, 9, 0xAABB_CCDD)
    );
    assert_eq!(header.len, 12);
    assert_eq!(&packet[header.payload(&packet).expect("no padding")], b"opus");
    assert_eq!(header.audio_level(&packet, 1), None);
}

#[test]
fn every_truncation_is_refused() {
    let packet = base(0x92, &[0, 0, 0, 1, 0, 0, 0, 2, 0xBE, 0xDE, 0, 1, 0x10, 0xD5, 0, 0]);
    let whole = Header::parse(&packet).expect("valid");
    assert_eq!((whole.csrc_count, whole.len), (2, packet.len()));
    for cut in 0..packet.len() {
        assert_eq!(Header::parse(&packet[..cut]), None, "cut at {cut}");
    }
}

#[test]
fn versions_other_than_two_are_refused() {
    for version in [0u8, 1, 3] {
        assert_eq!(Header::parse(&base(version << 6, b"x")), None);
    }
}

#[test]
fn padding_is_taken_off_and_checked() {
    let packet = base(0xA0, &[1, 2, 3, 0, 0, 3]);
    let header = Header::parse(&packet).expect("valid");
    assert_eq!(&packet[header.payload(&packet).expect("padding fits")], [1, 2, 3]);
    let all = base(0xA0, &[0, 0, 3]);
    let header = Header::parse(&all).expect("valid");
    assert!(header.payload(&all).expect("padding fits").is_empty());
    for lie in [base(0xA0, &[1, 0]), base(0xA0, &[1, 200]), base(0xA0, &[9])] {
        assert_eq!(Header::parse(&lie).expect("valid").payload(&lie), None, "{lie:?}");
    }
}

fn with_block(profile: u16, block: &[u8]) -> Vec<u8> {
    let mut rest = profile.to_be_bytes().to_vec();
    rest.extend(((block.len() / 4) as u16).to_be_bytes());
    rest.extend(block);
    rest.extend(b"opus");
    base(0x90, &rest)
}

fn level(packet: &[u8], id: u8) -> Option<(u8, bool)> {
    let header = Header::parse(packet).expect("valid");
    assert_eq!(&packet[header.payload(packet).expect("payload")], b"opus");
    header.audio_level(packet, id)
}

#[test]
fn one_byte_extensions() {
    // padding, id 3 of two bytes, id 1 of one byte
    let packet = with_block(ONE_BYTE, &[0, 0x31, 7, 7, 0, 0x10, 0x80 | 42, 0]);
    assert_eq!(level(&packet, 1), Some((42, true)));
    assert_eq!(level(&packet, 3), Some((7, false)));
    assert_eq!(level(&packet, 2), None);
    // 15 ends the block
    assert_eq!(level(&with_block(ONE_BYTE, &[0xF0, 1, 0x10, 42]), 1), None);
    // so does id 0 with a length, whatever stands behind it; without a length it is padding
    assert_eq!(
        level(&with_block(ONE_BYTE, &[0x02, 0xAA, 0xBB, 0xCC, 0x10, 0x85, 0, 0]), 1),
        None
    );
    assert_eq!(
        level(&with_block(ONE_BYTE, &[0x10, 0x85, 0x02, 0xAA]), 1),
        Some((5, true))
    );
    assert_eq!(level(&with_block(ONE_BYTE, &[0, 0, 0x10, 0x85]), 1), Some((5, true)));
    // the last one claims more than there is
    assert_eq!(level(&with_block(ONE_BYTE, &[0, 0, 0, 0x10]), 1), None);
    assert_eq!(level(&with_block(ONE_BYTE, &[0x1F, 1, 1, 1]), 1), None);
    assert_eq!(level(&with_block(ONE_BYTE, &[]), 1), None);
}

#[test]
fn two_byte_extensions() {
    let packet = with_block(0x1000, &[0, 200, 1, 0x80 | 3, 5, 0, 1, 2, 64, 65, 0, 0]);
    assert_eq!(level(&packet, 200), Some((3, true)));
    assert_eq!(level(&packet, 1), Some((64, false)));
    assert_eq!(level(&packet, 5), None, "an empty one has no level");
    assert_eq!(
        level(&with_block(0x100F, &[1, 1, 9, 0]), 1),
        Some((9, false)),
        "appbits"
    );
    assert_eq!(level(&with_block(0x1000, &[0, 0, 0, 1]), 1), None);
    assert_eq!(level(&with_block(0x1000, &[1, 255, 9, 0]), 1), None);
    assert_eq!(level(&with_block(0x2000, &[1, 1, 9, 0]), 1), None, "neither form");
}

#[test]
fn enormous_extension_blocks_are_refused() {
    let mut packet = base(0x90, &[0xBE, 0xDE, 0xFF, 0xFF]);
    packet.resize(300_000, 0);
    assert_eq!(Header::parse(&packet), None);
}

prop_compose! {
    fn outgoing()(marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32, csrc: Option<u32>,
                  level in proptest::option::of((1u8..=255, 0u8..=127, any::<bool>()))) -> Outgoing {
        let level = level.filter(|(id, ..)| *id != 15);
        Outgoing { marker, payload_type, sequence, timestamp, ssrc, csrc, level }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(header in outgoing(), payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        // Behind something else, as in a batch.
        let mut batch = vec![1, 2, 3];
        let len = write(&mut batch, &header, &payload);
        prop_assert_eq!(&batch[..3], &[1, 2, 3]);
        let packet = batch.split_off(3);
        let read = Header::parse(&packet).expect("ours");
        prop_assert_eq!(read.len, len);
        prop_assert_eq!(
            (read.marker, read.payload_type, read.sequence, read.timestamp, read.ssrc),
            (header.marker, header.payload_type, header.sequence, header.timestamp, header.ssrc)
        );
        prop_assert_eq!(read.csrc_count, u8::from(header.csrc.is_some()));
        if let Some(csrc) = header.csrc {
            prop_assert_eq!(&packet[12..16], &csrc.to_be_bytes());
        }
        prop_assert_eq!(&packet[read.payload(&packet).expect("no padding")], &payload[..]);
        if let Some((id, level, voice)) = header.level {
            prop_assert_eq!(read.audio_level(&packet, id), Some((level, voice)));
        }
    }

    #[test]
    fn any_bytes_are_survived(mut packet in proptest::collection::vec(any::<u8>(), 0..400), id: u8, likely: bool) {
        if let (true, Some(first)) = (likely, packet.first_mut()) {
            *first = 0x80 | (*first & 0x3F);
        }
        if let Some(header) = Header::parse(&packet) {
            prop_assert!(header.len <= packet.len());
            if let Some(range) = header.payload(&packet) {
                prop_assert!(range.start == header.len && range.end <= packet.len());
            }
            let _ = header.audio_level(&packet, id);
        }
    }
}
