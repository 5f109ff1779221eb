//! Redundant audio (RED, RFC 2198): packets that carry copies of earlier ones before their own
//! payload.

/// The most copies of a packet that are looked at: the latest.
pub(crate) const MAX_COPIES: usize = 4;
/// A packet with more blocks than this is hostile: browsers send at most ten.
const MAX_BLOCKS: usize = 16;
/// A time stamp offset has 14 bits, and a length has 10.
const MAX_OFFSET: u32 = (1 << 14) - 1;
/// The most bytes of a copy.
pub(crate) const MAX_LEN: usize = (1 << 10) - 1;
/// Another block follows.
const FOLLOWS: u8 = 0x80;

/// A copy of an earlier payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// How much earlier it is than the packet, in units of the RTP clock (1 to 16,383).
    pub(crate) offset: u32,
    pub(crate) payload: &'a [u8],
}

/// A packet taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Red<'a> {
    copies: [Block<'a>; MAX_COPIES],
    count: usize,
    /// The payload of the packet's own time stamp.
    pub(crate) primary: &'a [u8],
}

impl<'a> Red<'a> {
    /// The copies in the order of the packet, as a rule the oldest first.
    pub(crate) fn copies(&self) -> &[Block<'a>] {
        &self.copies[..self.count]
    }
}

/// Takes a payload apart; `None` where its lengths don't add up, it has too many blocks, or its own
/// payload is of another type than `payload_type`. Copies of other types and empty ones are left
/// out.
pub(crate) fn parse(payload: &[u8], payload_type: u8) -> Option<Red<'_>> {
    let mut heads = 0;
    while payload.get(4 * heads)? & FOLLOWS != 0 {
        heads += 1;
        if heads > MAX_BLOCKS {
            return None;
        }
    }
    let (heads, rest) = payload.split_at_checked(4 * heads)?;
    let (own_type, mut rest) = rest.split_first()?;
    if *own_type != payload_type {
        return None;
    }
    let mut red = Red {
        copies: [Block::default(); MAX_COPIES],
        count: 0,
        primary: &[],
    };
    for head in heads.chunks_exact(4) {
        let word = u32::from_be_bytes([head[0] & !FOLLOWS, head[1], head[2], head[3]]);
        let (copy, behind) = rest.split_at_checked(word as usize & MAX_LEN)?;
        rest = behind;
        let block = Block {
            offset: (word >> 10) & MAX_OFFSET,
            payload: copy,
        };
        if (word >> 24) as u8 != payload_type || block.offset == 0 || copy.is_empty() {
            continue;
        }
        if red.count == MAX_COPIES {
            red.copies.rotate_left(1);
            red.count -= 1;
        }
        red.copies[red.count] = block;
        red.count += 1;
    }
    red.primary = rest;
    Some(red)
}

/// Whether a copy can be written into a packet.
pub(crate) fn fits(copy: &Block<'_>) -> bool {
    (1..=MAX_OFFSET).contains(&copy.offset) && (1..=MAX_LEN).contains(&copy.payload.len())
}

/// Bytes of a payload with these copies.
pub(crate) fn len(copies: &[Block<'_>], primary: &[u8]) -> usize {
    let copies: usize = copies.iter().map(|copy| 4 + copy.payload.len()).sum();
    copies + 1 + primary.len()
}

/// Appends a payload with copies that [fit](fits), oldest first.
pub(crate) fn write(out: &mut Vec<u8>, payload_type: u8, copies: &[Block<'_>], primary: &[u8]) {
    for copy in copies {
        let word = (u32::from(payload_type) << 24) | (copy.offset << 10) | copy.payload.len() as u32;
        out.extend_from_slice(&(word | u32::from(FOLLOWS) << 24).to_be_bytes());
    }
    out.push(payload_type & !FOLLOWS);
    for copy in copies {
        out.extend_from_slice(copy.payload);
    }
    out.extend_from_slice(primary);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_rfc_2198() {
        let copies = [
            Block {
                offset: 1920,
                payload: b"old",
            },
            Block {
                offset: 960,
                payload: b"newer",
            },
        ];
        let mut bytes = Vec::new();
        write(&mut bytes, 111, &copies, b"own");
        // 1|111, 1920 << 2, 3; 1|111, 960 << 2, 5; 0|111.
        let heads = [0xEF, 0x1E, 0x00, 0x03, 0xEF, 0x0F, 0x00, 0x05, 0x6F];
        assert_eq!(bytes, [&heads[..], b"old", b"newer", b"own"].concat());
        assert_eq!(bytes.len(), len(&copies, b"own"));
        let red = parse(&bytes, 111).expect("valid");
        assert_eq!((red.copies(), red.primary), (&copies[..], &b"own"[..]));
        assert_eq!(parse(&bytes, 110), None, "another type");
    }

    #[test]
    fn what_is_of_no_use_is_left_out() {
        let heads = [
            0x80 | 13,
            0x0F,
            0,
            1,
            0xEF,
            0,
            0,
            1,
            0xEF,
            0x0F,
            0,
            0,
            0xEF,
            0x0F,
            0,
            1,
            0x6F,
        ];
        let bytes = [&heads[..], b"ctkown"].concat();
        let red = parse(&bytes, 111).expect("valid");
        let kept = [Block {
            offset: 960,
            payload: b"k",
        }];
        assert_eq!(red.copies(), kept, "comfort noise, no offset, nothing in it");
        assert_eq!(red.primary, b"own");
    }

    #[test]
    fn of_many_copies_the_last_stay_and_too_many_are_refused() {
        let payload = [7];
        let blocks = |count: u32| -> Vec<Block<'_>> {
            let block = |n| Block {
                offset: n * 120,
                payload: &payload,
            };
            (1..=count).rev().map(block).collect()
        };
        for (count, valid) in [(MAX_BLOCKS, true), (MAX_BLOCKS + 1, false), (300, false)] {
            let mut bytes = Vec::new();
            write(&mut bytes, 111, &blocks(count as u32), b"own");
            let red = parse(&bytes, 111);
            assert_eq!(red.is_some(), valid, "{count}");
            if let Some(red) = red {
                assert_eq!(red.copies(), blocks(MAX_COPIES as u32));
            }
        }
    }

    #[test]
    fn every_truncation_of_the_copies_is_refused() {
        let copies = [Block {
            offset: 960,
            payload: b"copy",
        }];
        let mut bytes = Vec::new();
        write(&mut bytes, 111, &copies, b"own");
        for cut in 0..bytes.len() - 3 {
            assert_eq!(parse(&bytes[..cut], 111), None, "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_give_parts_of_themselves(bytes: Vec<u8>, payload_type in 0u8..128) {
            if let Some(red) = parse(&bytes, payload_type) {
                let copied: usize = red.copies().iter().map(|copy| copy.payload.len()).sum();
                prop_assert!(copied + red.primary.len() < bytes.len());
                prop_assert!(bytes.ends_with(red.primary));
                prop_assert!(red.copies().iter().all(fits));
            }
        }

        #[test]
        fn what_was_written_is_read(
            copies in proptest::collection::vec((1..=MAX_OFFSET, proptest::collection::vec(any::<u8>(), 1..=MAX_LEN)), 0..=MAX_COPIES),
            primary in proptest::collection::vec(any::<u8>(), 0..1200),
        ) {
            let blocks: Vec<_> = copies.iter().map(|(offset, payload)| Block { offset: *offset, payload }).collect();
            let mut bytes = Vec::new();
            write(&mut bytes, 96, &blocks, &primary);
            let red = parse(&bytes, 96);
            let red = red.expect("its own bytes");
            prop_assert_eq!(red.copies(), &blocks[..]);
            prop_assert_eq!(red.primary, &primary[..]);
        }
    }
}
