//! A look at DTLS records before the library sees them.
//!
//! The library keeps handshake fragments until their message is whole and records of the next epoch until their keys
//! exist, and bounds neither by number. So what could pile up there is counted or refused here.

const RECORD_HEADER: usize = 13;
const HANDSHAKE_HEADER: usize = 12;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
/// A client sends seven messages; a repeat of a flight doesn't number them anew.
const MAX_MESSAGE: u16 = 16;
/// Certificate chains of browsers are below 1 KiB, one of an RSA key and an intermediate below 8.
const MAX_MESSAGE_LEN: usize = 16 * 1024;
const MAX_RECORDS: usize = 32;
const MAX_FRAGMENTS: u32 = 256;
const USE_SRTP: usize = 14;
const MAX_HELLO: usize = 8 * 1024;

/// What a datagram may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To be dropped unseen.
    Drop,
    /// Handshake traffic: counted against the caps.
    Handshake,
    /// Only alerts under the session's keys.
    Alert,
}

/// Counts what one client sent.
#[derive(Debug, Default)]
pub(super) struct RecordFilter {
    fragments: u32,
    hello: Hello,
}

impl RecordFilter {
    /// Judges a datagram, whole or not at all.
    pub(super) fn judge(&mut self, datagram: &[u8], connected: bool) -> Verdict {
        let mut rest = datagram;
        let (mut records, mut fragments, mut only_alerts) = (0, 0, true);
        let mut hello = vec![];
        while !rest.is_empty() {
            let Some((record, next)) = Record::split(rest) else {
                return Verdict::Drop;
            };
            rest = next;
            records += 1;
            if records > MAX_RECORDS || record.epoch > 1 {
                return Verdict::Drop;
            }
            match record.kind {
                ALERT if connected && record.epoch == 0 => return Verdict::Drop,
                ALERT => {}
                CHANGE_CIPHER_SPEC if record.epoch == 0 => only_alerts = false,
                HANDSHAKE => {
                    only_alerts = false;
                    if record.epoch == 0 {
                        let Some(list) = fragments_of(record.body) else {
                            return Verdict::Drop;
                        };
                        fragments += list.len() as u32;
                        hello.extend(list);
                    } else {
                        fragments += 1;
                    }
                }
                // Nobody has application data to send: there are no data channels here.
                _ => return Verdict::Drop,
            }
        }
        if records == 0 || self.fragments + fragments > MAX_FRAGMENTS {
            return Verdict::Drop;
        }
        self.fragments += fragments;
        for fragment in hello {
            self.hello.add(&fragment);
        }
        match (only_alerts, connected) {
            (true, true) => Verdict::Alert,
            _ => Verdict::Handshake,
        }
    }

    /// The SRTP profiles of the ClientHello, once it is whole; an empty list where it names none.
    pub(super) fn offered_profiles(&self) -> Option<Vec<u16>> {
        self.hello.profiles()
    }

    /// Frees what is of no use after the ClientHello.
    pub(super) fn forget_hello(&mut self) {
        self.hello = Hello {
            closed: true,
            ..Hello::default()
        };
    }
}

struct Record<'a> {
    kind: u8,
    epoch: u16,
    body: &'a [u8],
}

impl<'a> Record<'a> {
    fn split(data: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let head = data.get(..RECORD_HEADER)?;
        if head[1] != 0xFE || !matches!(head[2], 0xFF | 0xFD) {
            return None;
        }
        let len = usize::from(u16::from_be_bytes([head[11], head[12]]));
        let body = data.get(RECORD_HEADER..RECORD_HEADER + len)?;
        if body.is_empty() {
            return None;
        }
        let record = Self {
            kind: head[0],
            epoch: u16::from_be_bytes([head[3], head[4]]),
            body,
        };
        Some((record, &data[RECORD_HEADER + len..]))
    }
}

#[derive(Debug)]
struct Fragment {
    kind: u8,
    len: usize,
    sequence: u16,
    offset: usize,
    data: Vec<u8>,
}

/// The handshake messages of a plaintext record. `None` where one is impossible or empty: no message of a client is.
fn fragments_of(mut body: &[u8]) -> Option<Vec<Fragment>> {
    let mut list = vec![];
    while !body.is_empty() {
        let head = body.get(..HANDSHAKE_HEADER)?;
        let u24 = |at: usize| usize::from(head[at]) << 16 | usize::from(head[at + 1]) << 8 | usize::from(head[at + 2]);
        let (len, offset, size) = (u24(1), u24(6), u24(9));
        let sequence = u16::from_be_bytes([head[4], head[5]]);
        if size == 0 || len > MAX_MESSAGE_LEN || offset + size > len || sequence >= MAX_MESSAGE {
            return None;
        }
        let data = body.get(HANDSHAKE_HEADER..HANDSHAKE_HEADER + size)?;
        list.push(Fragment {
            kind: head[0],
            len,
            sequence,
            offset,
            // Only a ClientHello is looked into.
            data: if head[0] == 1 { data.to_vec() } else { vec![] },
        });
        body = &body[HANDSHAKE_HEADER + size..];
    }
    Some(list)
}

/// The first ClientHello, put together from its fragments.
#[derive(Debug, Default)]
struct Hello {
    bytes: Vec<u8>,
    have: Vec<bool>,
    closed: bool,
}

impl Hello {
    fn add(&mut self, fragment: &Fragment) {
        let fits = fragment.kind == 1 && fragment.sequence == 0 && fragment.len <= MAX_HELLO;
        if self.closed || !fits {
            return;
        }
        if self.bytes.is_empty() {
            self.bytes = vec![0; fragment.len];
            self.have = vec![false; fragment.len];
        }
        let range = fragment.offset..fragment.offset + fragment.data.len();
        if self.bytes.len() == fragment.len && range.end <= fragment.len {
            self.bytes[range.clone()].copy_from_slice(&fragment.data);
            self.have[range].fill(true);
        }
    }

    fn profiles(&self) -> Option<Vec<u16>> {
        if self.bytes.is_empty() || self.have.contains(&false) {
            return None;
        }
        Some(use_srtp(&self.bytes).unwrap_or_default())
    }
}

/// RFC 5764 section 4.1.1: extension 14 of a ClientHello.
fn use_srtp(hello: &[u8]) -> Option<Vec<u16>> {
    let mut reader = Reader(hello.get(2 + 32..)?); // version, random
    let session = reader.u8()?;
    reader.take(session)?;
    let cookie = reader.u8()?;
    reader.take(cookie)?;
    let suites = reader.u16()?;
    reader.take(suites)?;
    let compressions = reader.u8()?;
    reader.take(compressions)?;
    let len = reader.u16()?;
    let mut extensions = Reader(reader.take(len)?);
    loop {
        let kind = extensions.u16()?;
        let len = extensions.u16()?;
        let body = extensions.take(len)?;
        if kind == USE_SRTP {
            let mut body = Reader(body);
            let len = body.u16()?;
            let list = body.take(len)?;
            return Some(
                list.chunks_exact(2)
                    .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                    .collect(),
            );
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn u8(&mut self) -> Option<usize> {
        self.take(1).map(|b| usize::from(b[0]))
    }

    fn u16(&mut self) -> Option<usize> {
        self.take(2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])))
    }
}
