//! A look at DTLS records before the library sees them.
//!
//! The library keeps handshake fragments until their message is whole and records of the next epoch
//! until their keys exist, and bounds neither by number. So what could pile up there is counted or
//! refused here.

use super::Role;
use super::hello::{self, CLIENT_HELLO, HANDSHAKE_HEADER};

const RECORD_HEADER: usize = 13;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const SERVER_HELLO_DONE: u8 = 14;
/// Either side sends about seven messages; a repeat of a flight doesn't number them anew.
const MAX_MESSAGE: u16 = 16;
/// Certificate chains of browsers are below 1 KiB, one of an RSA key and an intermediate below 8.
const MAX_MESSAGE_LEN: usize = 16 * 1024;
const MAX_RECORDS: usize = 32;
const MAX_FRAGMENTS: u32 = 256;
const MAX_HELLO: usize = 8 * 1024;

/// A datagram's permitted use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To be dropped unseen.
    Drop,
    /// Handshake traffic: counted against the caps.
    Handshake,
    /// Only alerts under the session's keys.
    Alert,
}

/// Counts what one peer sent.
#[derive(Debug)]
pub(super) struct RecordFilter {
    role: Role,
    fragments: u32,
    /// The ClientHello without and the one with a cookie, while they are of use.
    hellos: [Hello; 2],
    closed: bool,
}

impl RecordFilter {
    /// For our end in this role.
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            fragments: 0,
            hellos: Default::default(),
            closed: role == Role::Client,
        }
    }

    /// Judges a datagram, whole or not at all.
    pub(super) fn judge(&mut self, datagram: &[u8], connected: bool) -> Verdict {
        let (mut rest, mut only_alerts, mut fragments) = (datagram, true, 0);
        let mut records = 0;
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
                    match (record.epoch, record.fragments(self.role)) {
                        (0, Some(list)) => fragments += list,
                        (0, None) => return Verdict::Drop,
                        _ => fragments += 1,
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
        if !self.closed {
            self.collect(datagram);
        }
        match (only_alerts, connected) {
            (true, true) => Verdict::Alert,
            _ => Verdict::Handshake,
        }
    }

    fn collect(&mut self, datagram: &[u8]) {
        for fragment in records(datagram)
            .filter(Record::is_plain_handshake)
            .flat_map(fragments_of)
        {
            if let Some(hello) = self.hellos.get_mut(usize::from(fragment.sequence)) {
                hello.add(&fragment);
            }
        }
    }

    /// The body of the first ClientHello, once it is whole.
    pub(super) fn hello(&self) -> Option<&[u8]> {
        self.hellos[0].body()
    }

    /// Frees what is of no use after the ClientHello.
    pub(super) fn forget_hello(&mut self) {
        self.hellos = Default::default();
        self.closed = true;
    }

    /// The datagram's records with each ClientHello in one piece and changed by `change`, which
    /// gets the whole message. A piece that doesn't complete one is left out.
    pub(super) fn rewrite(&self, datagram: &[u8], mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut out = vec![];
        for record in records(datagram) {
            let hello = Some(&record).filter(|record| record.is_plain_handshake());
            let hello = hello.and_then(|record| fragments_of(*record).find(|fragment| fragment.kind == CLIENT_HELLO));
            let Some(fragment) = hello else {
                out.push(record.bytes.to_vec());
                continue;
            };
            let whole = self.hellos.get(usize::from(fragment.sequence)).and_then(Hello::body);
            let message = whole.map(|body| hello::message_of(fragment.sequence, body));
            if let Some(changed) = message.and_then(|message| change(&message)) {
                let mut bytes = record.bytes[..RECORD_HEADER - 2].to_vec();
                bytes.extend_from_slice(&(changed.len() as u16).to_be_bytes());
                bytes.extend_from_slice(&changed);
                out.push(bytes);
            }
        }
        out
    }
}

/// The client's random, if the datagram begins a handshake.
pub(super) fn first_random(datagram: &[u8]) -> Option<&[u8]> {
    let fragment = records(datagram)
        .take(1)
        .filter(Record::is_plain_handshake)
        .flat_map(fragments_of)
        .next()?;
    let begins = fragment.kind == CLIENT_HELLO && fragment.sequence == 0 && fragment.offset == 0;
    hello::random(fragment.data).filter(|_| begins)
}

/// Is it the first ClientHello, or a piece of it, and nothing else?
pub(super) fn is_first_hello(datagram: &[u8]) -> bool {
    let first = |fragment: Fragment<'_>| fragment.kind == CLIENT_HELLO && fragment.sequence == 0;
    is_plain_flight(datagram) && records(datagram).flat_map(fragments_of).all(first)
}

/// Is it of a handshake rather than of the session that follows it?
pub(super) fn is_handshake(datagram: &[u8]) -> bool {
    records(datagram).any(|record| record.kind != ALERT)
}

/// Are these handshake messages in clear and nothing else: a flight before the keys are in use?
pub(super) fn is_plain_flight(datagram: &[u8]) -> bool {
    records(datagram).all(|record| record.is_plain_handshake())
}

/// Does a datagram of ours go over to the new keys?
pub(super) fn changes_cipher(datagram: &[u8]) -> bool {
    records(datagram).any(|record| record.kind == CHANGE_CIPHER_SPEC)
}

/// A fatal alert in clear, for a handshake in which we have sent nothing else.
pub(super) fn fatal_alert(description: u8) -> Vec<u8> {
    let mut record = vec![ALERT, 0xFE, 0xFD];
    record.extend_from_slice(&[0; 8]);
    record.extend_from_slice(&[0, 2, 2, description]);
    record
}

#[derive(Clone, Copy)]
struct Record<'a> {
    kind: u8,
    epoch: u16,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    fn split(data: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let head = data.get(..RECORD_HEADER)?;
        if head[1] != 0xFE || !matches!(head[2], 0xFF | 0xFD) {
            return None;
        }
        let len = usize::from(u16::from_be_bytes([head[11], head[12]]));
        let (bytes, rest) = data.split_at_checked(RECORD_HEADER + len)?;
        if len == 0 {
            return None;
        }
        let record = Self {
            kind: head[0],
            epoch: u16::from_be_bytes([head[3], head[4]]),
            bytes,
        };
        Some((record, rest))
    }

    fn body(&self) -> &'a [u8] {
        &self.bytes[RECORD_HEADER..]
    }

    fn is_plain_handshake(&self) -> bool {
        self.kind == HANDSHAKE && self.epoch == 0
    }

    /// How many handshake fragments a plaintext record has. `None` where one is impossible, or
    /// empty: of all messages only a server's ServerHelloDone is.
    fn fragments(&self, role: Role) -> Option<u32> {
        let (mut body, mut count) = (self.body(), 0);
        while !body.is_empty() {
            let (fragment, rest) = Fragment::split(body)?;
            let empty = fragment.data.is_empty();
            let done = role == Role::Client && fragment.kind == SERVER_HELLO_DONE && fragment.len == 0;
            let fits = fragment.len <= MAX_MESSAGE_LEN && fragment.offset + fragment.data.len() <= fragment.len;
            if (empty && !done) || !fits || fragment.sequence >= MAX_MESSAGE {
                return None;
            }
            count += 1;
            body = rest;
        }
        Some(count)
    }
}

/// The records of a datagram that was judged.
fn records(mut data: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let (record, rest) = Record::split(data)?;
        data = rest;
        Some(record)
    })
}

struct Fragment<'a> {
    kind: u8,
    len: usize,
    sequence: u16,
    offset: usize,
    data: &'a [u8],
}

impl<'a> Fragment<'a> {
    fn split(body: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, rest) = body.split_at_checked(HANDSHAKE_HEADER)?;
        let u24 = |at: usize| usize::from(head[at]) << 16 | usize::from(head[at + 1]) << 8 | usize::from(head[at + 2]);
        let (data, rest) = rest.split_at_checked(u24(9))?;
        let fragment = Self {
            kind: head[0],
            len: u24(1),
            sequence: u16::from_be_bytes([head[4], head[5]]),
            offset: u24(6),
            data,
        };
        Some((fragment, rest))
    }
}

fn fragments_of(record: Record<'_>) -> impl Iterator<Item = Fragment<'_>> {
    let mut body = record.body();
    std::iter::from_fn(move || {
        let (fragment, rest) = Fragment::split(body)?;
        body = rest;
        Some(fragment)
    })
}

/// A ClientHello, put together from its fragments.
#[derive(Debug, Default)]
struct Hello {
    bytes: Vec<u8>,
    have: Vec<bool>,
}

impl Hello {
    fn add(&mut self, fragment: &Fragment<'_>) {
        if fragment.kind != CLIENT_HELLO || fragment.len > MAX_HELLO {
            return;
        }
        if self.bytes.is_empty() {
            self.bytes = vec![0; fragment.len];
            self.have = vec![false; fragment.len];
        }
        let range = fragment.offset..fragment.offset + fragment.data.len();
        if self.bytes.len() == fragment.len && range.end <= fragment.len {
            self.bytes[range.clone()].copy_from_slice(fragment.data);
            self.have[range].fill(true);
        }
    }

    fn body(&self) -> Option<&[u8]> {
        (!self.bytes.is_empty() && !self.have.contains(&false)).then_some(&self.bytes[..])
    }
}
