//! Binding requests in, answers out: how the STUN codec of `rtc::stun` is wired.

use std::net::SocketAddr;

use bytes::BytesMut;
use rtc::crypto::RTCCrypto;
use rtc::stun::attributes::{
    ATTR_FINGERPRINT, ATTR_ICE_CONTROLLED, ATTR_MESSAGE_INTEGRITY, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
};
use rtc::stun::error_code::{CODE_ROLE_CONFLICT, ErrorCodeAttribute};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId};
use rtc::stun::xoraddr::XorMappedAddress;

use crate::demux::stun_is_small;

/// A check is around 100 bytes; nothing near an MTU is one.
const MAX_REQUEST: usize = 1280;
const INTEGRITY_SIZE: usize = 20;

/// An authenticated binding request.
#[derive(Debug)]
pub(crate) struct Request {
    transaction: TransactionId,
    /// The controlling side chooses this pair.
    pub(crate) nominates: bool,
    /// PRIORITY of the peer's candidate; zero without the attribute.
    pub(crate) priority: u32,
    /// The peer takes itself for the controlled side, which is ours.
    pub(crate) role_conflict: bool,
}

/// Reads a request and checks FINGERPRINT, USERNAME and MESSAGE-INTEGRITY, in the order of their
/// cost.
pub(crate) fn read_request(datagram: &[u8], username: &str, password: &str, crypto: &dyn RTCCrypto) -> Option<Request> {
    if datagram.len() > MAX_REQUEST || !stun_is_small(datagram) {
        return None;
    }
    let mut message = Message::new();
    message.unmarshal_binary(datagram).ok()?;
    if message.typ != BINDING_REQUEST || message.raw.len() != 20 + message.length as usize {
        return None;
    }
    // FINGERPRINT comes last and covers everything before it.
    let last = message.attributes.0.last()?;
    if last.typ != ATTR_FINGERPRINT || FINGERPRINT.check(&message).is_err() {
        return None;
    }
    let mut signed = None;
    let (mut name, mut nominates, mut role_conflict, mut priority) = (None, false, false, 0);
    for attribute in &message.attributes.0 {
        match attribute.typ {
            ATTR_USERNAME if name.is_none() => name = Some(attribute.value.as_slice()),
            ATTR_USE_CANDIDATE => nominates = true,
            ATTR_ICE_CONTROLLED => role_conflict = true,
            ATTR_PRIORITY => priority = attribute.value.as_slice().try_into().map_or(0, u32::from_be_bytes),
            ATTR_MESSAGE_INTEGRITY => {
                signed = Some(attribute.value.len());
                // The signature doesn't cover what stands behind it: anybody could have put it
                // there.
                break;
            }
            _ => {}
        }
    }
    if signed != Some(INTEGRITY_SIZE) || name != Some(username.as_bytes()) {
        return None;
    }
    MessageIntegrity::check(&mut message, password.as_bytes(), crypto).ok()?;
    Some(Request {
        transaction: message.transaction_id,
        nominates,
        priority,
        role_conflict,
    })
}

impl Request {
    /// The success response: the sender's address as we see it.
    pub(crate) fn success(&self, from: SocketAddr, password: &str, crypto: &dyn RTCCrypto) -> Option<BytesMut> {
        // On a dual-stack socket an IPv4 peer appears as ::ffff:a.b.c.d; it knows itself by
        // a.b.c.d.
        let address = XorMappedAddress {
            ip: from.ip().to_canonical(),
            port: from.port(),
        };
        self.respond(Box::new(BINDING_SUCCESS), Box::new(address), password, crypto)
    }

    /// 487: the peer has to take the controlling role, because a lite agent never does (RFC 8445 section 6.1.1).
    pub(crate) fn conflict(&self, password: &str, crypto: &dyn RTCCrypto) -> Option<BytesMut> {
        let error = ErrorCodeAttribute {
            code: CODE_ROLE_CONFLICT,
            reason: b"Role Conflict".to_vec(),
        };
        self.respond(Box::new(BINDING_ERROR), Box::new(error), password, crypto)
    }

    fn respond(
        &self,
        kind: Box<dyn Setter>,
        attribute: Box<dyn Setter>,
        password: &str,
        crypto: &dyn RTCCrypto,
    ) -> Option<BytesMut> {
        let mut message = Message::new();
        message
            .build(&[
                Box::new(self.transaction),
                kind,
                attribute,
                Box::new(MessageIntegrity::new_short_term_integrity_with_provider(
                    password.to_owned(),
                    crypto,
                )),
                Box::new(FINGERPRINT),
            ])
            .ok()?;
        Some(BytesMut::from(message.raw.as_slice()))
    }
}
