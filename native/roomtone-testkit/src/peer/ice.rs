//! The controlling side of ICE towards a server (RFC 8445), with consent checks (RFC 7675).
//!
//! One [`Ice`] is one generation of credentials; an ICE restart makes another. Every check is a new transaction, so a
//! retransmit is simply the next check. All checks to the best candidate nominate it; other candidates are nominated
//! only once they have answered, when the best one hasn't.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::crypto::RTCCryptoProvider;
use rtc::stun::attributes::{
    ATTR_ICE_CONTROLLING, ATTR_MESSAGE_INTEGRITY, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId};
use rtc::stun::xoraddr::XorMappedAddress;

use super::rng::Rng;

const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(2);
/// Pace of first checks to several candidates (Ta).
const PACE: Duration = Duration::from_millis(20);
const MAX_OUTSTANDING: usize = 32;
const MAX_CANDIDATES: usize = 16;
/// Priority that a peer-reflexive candidate of ours would have.
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Credentials {
    pub ufrag: String,
    pub pwd: String,
}

struct Pair {
    address: SocketAddr,
    next: Instant,
    retry: Duration,
    answered: bool,
}

struct Check {
    id: [u8; 12],
    to: SocketAddr,
    at: Instant,
    nominating: bool,
}

pub(super) struct Ice {
    provider: Arc<dyn RTCCryptoProvider>,
    pub local: Credentials,
    pub remote: Option<Credentials>,
    tie_breaker: u64,
    pairs: Vec<Pair>,
    nominated: Option<SocketAddr>,
    next_consent: Option<Instant>,
    last_answer: Option<Instant>,
    outstanding: VecDeque<Check>,
    pub round_trip: Option<Duration>,
}

/// Time settings of consent.
#[derive(Clone, Copy)]
pub(super) struct Consent {
    pub interval: Duration,
    pub timeout: Duration,
}

impl Ice {
    pub fn new(provider: Arc<dyn RTCCryptoProvider>) -> Ice {
        Ice {
            provider,
            local: Credentials {
                ufrag: random_text(8),
                pwd: random_text(24),
            },
            remote: None,
            tie_breaker: rand::random(),
            pairs: Vec::new(),
            nominated: None,
            next_consent: None,
            last_answer: None,
            outstanding: VecDeque::new(),
            round_trip: None,
        }
    }

    /// Begins the checks; the first goes out at the next `handle_timeout`.
    pub fn start(&mut self, now: Instant, remote: Credentials, candidates: &[SocketAddr]) {
        self.remote = Some(remote);
        self.pairs = candidates
            .iter()
            .take(MAX_CANDIDATES)
            .enumerate()
            .map(|(index, &address)| Pair {
                address,
                next: now + PACE * index as u32,
                retry: FIRST_RETRY,
                answered: false,
            })
            .collect();
    }

    /// Where the server is: the nominated address.
    pub fn nominated(&self) -> Option<SocketAddr> {
        self.nominated
    }

    /// The nominated address, else the best candidate.
    pub fn best_guess(&self) -> Option<SocketAddr> {
        self.nominated.or_else(|| self.pairs.first().map(|pair| pair.address))
    }

    pub fn poll_timeout(&self, consent: Consent) -> Option<Instant> {
        if self.nominated.is_some() {
            let expiry = self.last_answer.and_then(|at| at.checked_add(consent.timeout));
            return [self.next_consent, expiry].into_iter().flatten().min();
        }
        self.pairs.iter().map(|pair| pair.next).min()
    }

    /// Has the server been silent for too long?
    pub fn expired(&self, now: Instant, consent: Consent) -> bool {
        self.last_answer
            .is_some_and(|at| now.saturating_duration_since(at) >= consent.timeout)
    }

    pub fn handle_timeout(
        &mut self,
        now: Instant,
        consent: Consent,
        rng: &mut Rng,
        out: &mut VecDeque<(SocketAddr, Bytes)>,
    ) {
        if let Some(address) = self.nominated {
            if self.next_consent.is_some_and(|at| at <= now) {
                // Nominates again, so that a server sees where we are after our address has changed (NAT).
                self.check(now, address, true, out);
                self.next_consent = rng.around(now, consent.interval);
            }
            return;
        }
        for index in 0..self.pairs.len() {
            let pair = &mut self.pairs[index];
            if pair.next <= now {
                let (address, nominating) = (pair.address, index == 0 || pair.answered);
                pair.next = now + pair.retry;
                pair.retry = (pair.retry * 2).min(LONGEST_RETRY);
                self.check(now, address, nominating, out);
            }
        }
    }

    fn check(&mut self, now: Instant, to: SocketAddr, nominating: bool, out: &mut VecDeque<(SocketAddr, Bytes)>) {
        let Some(remote) = &self.remote else { return };
        let id: [u8; 12] = rand::random();
        let username = format!("{}:{}", remote.ufrag, self.local.ufrag);
        let mut message = Message::new();
        let built = message
            .build(&[Box::new(BINDING_REQUEST), Box::new(TransactionId(id))])
            .and_then(|()| {
                message.add(ATTR_USERNAME, username.as_bytes());
                message.add(ATTR_ICE_CONTROLLING, &self.tie_breaker.to_be_bytes());
                if nominating {
                    message.add(ATTR_USE_CANDIDATE, &[]);
                }
                message.add(ATTR_PRIORITY, &PRIORITY.to_be_bytes());
                self.seal(&mut message, &remote.pwd)
            });
        if let Err(error) = built {
            log::error!("cannot build a STUN check: {error}");
            return;
        }
        out.push_back((to, Bytes::from(message.raw)));
        if self.outstanding.len() >= MAX_OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(Check {
            id,
            to,
            at: now,
            nominating,
        });
    }

    fn seal(&self, message: &mut Message, pwd: &str) -> Result<(), rtc::shared::error::Error> {
        MessageIntegrity::new_short_term_integrity_with_provider(pwd.to_owned(), self.provider.crypto())
            .add_to(message)?;
        FINGERPRINT.add_to(message)
    }

    /// Takes a STUN packet. `Ok(true)` when it nominated the address that we now send to, `Err` when it isn't for us.
    pub fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        data: &[u8],
        consent: Consent,
        rng: &mut Rng,
        out: &mut VecDeque<(SocketAddr, Bytes)>,
    ) -> Result<bool, NotOurs> {
        let mut message = Message::new();
        message.unmarshal_binary(data).map_err(|_| NotOurs)?;
        if message.typ == BINDING_REQUEST {
            return self.answer(from, &mut message, out).map(|()| false);
        }
        let remote = self.remote.as_ref().ok_or(NotOurs)?;
        let index = self
            .outstanding
            .iter()
            .position(|check| check.id == message.transaction_id.0)
            .ok_or(NotOurs)?;
        if message.typ != BINDING_SUCCESS
            || self.outstanding[index].to != from
            || !message.contains(ATTR_MESSAGE_INTEGRITY)
            || MessageIntegrity::check(&mut message, remote.pwd.as_bytes(), self.provider.crypto()).is_err()
        {
            return Err(NotOurs);
        }
        let Some(check) = self.outstanding.remove(index) else {
            return Err(NotOurs);
        };
        self.round_trip = Some(now.saturating_duration_since(check.at));
        if self.nominated.is_some() {
            if self.nominated == Some(from) {
                self.last_answer = Some(now);
            }
            return Ok(false);
        }
        if check.nominating {
            self.nominated = Some(from);
            self.last_answer = Some(now);
            self.next_consent = rng.around(now, consent.interval);
            self.outstanding.clear();
            return Ok(true);
        }
        if let Some(pair) = self
            .pairs
            .iter_mut()
            .find(|pair| pair.address == from && !pair.answered)
        {
            pair.answered = true;
            pair.retry = FIRST_RETRY;
            pair.next = now + FIRST_RETRY;
            self.check(now, from, true, out);
        }
        Ok(false)
    }

    /// A full ICE agent (not an ICE-lite server) checks us too; it won't use a pair that we haven't answered on.
    fn answer(
        &self,
        from: SocketAddr,
        request: &mut Message,
        out: &mut VecDeque<(SocketAddr, Bytes)>,
    ) -> Result<(), NotOurs> {
        let remote = self.remote.as_ref().ok_or(NotOurs)?;
        let username = request.get(ATTR_USERNAME).map_err(|_| NotOurs)?;
        if username != format!("{}:{}", self.local.ufrag, remote.ufrag).as_bytes() {
            return Err(NotOurs);
        }
        MessageIntegrity::check(request, self.local.pwd.as_bytes(), self.provider.crypto()).map_err(|_| NotOurs)?;
        let mut response = Message::new();
        response
            .build(&[
                Box::new(BINDING_SUCCESS),
                Box::new(request.transaction_id),
                Box::new(XorMappedAddress {
                    ip: from.ip(),
                    port: from.port(),
                }),
            ])
            .and_then(|()| self.seal(&mut response, &self.local.pwd))
            .map_err(|_| NotOurs)?;
        out.push_back((from, Bytes::from(response.raw)));
        Ok(())
    }
}

/// The packet isn't an authentic one of this generation.
#[derive(Debug)]
pub(super) struct NotOurs;

fn random_text(length: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..length)
        .map(|_| char::from(ALPHABET[usize::from(rand::random::<u8>() & 63)]))
        .collect()
}
