//! Requests and indications, read as far as is safe, and responses: how the codec of `rtc::stun` is wired.

use rtc::crypto::RTCCrypto;
use rtc::stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_EVEN_PORT, ATTR_FINGERPRINT, ATTR_LIFETIME, ATTR_MESSAGE_INTEGRITY,
    ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_ADDRESS_FAMILY, ATTR_REQUESTED_TRANSPORT, ATTR_RESERVATION_TOKEN,
    ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS, AttrType,
};
use rtc::stun::error_code::{ErrorCode, ErrorCodeAttribute};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{CLASS_ERROR_RESPONSE, CLASS_SUCCESS_RESPONSE, Getter, Message, MessageType, Setter};

const HEADER: usize = 20;
const INTEGRITY: usize = 20;
/// A datagram of WebRTC with the headers of a Send indication.
const MAX_MESSAGE: usize = 2048;
/// Signed requests and answers are much smaller, and have about ten.
const MAX_ATTRIBUTES: usize = 32;

/// A STUN message whose lengths are right. Of its attributes there are only those that the signature covers, if there is one.
pub(crate) struct Request {
    message: Message,
    signed: bool,
}

impl Request {
    pub(crate) fn read(datagram: &[u8]) -> Option<Request> {
        let length = usize::from(u16::from_be_bytes([*datagram.get(2)?, *datagram.get(3)?]));
        if datagram.len() > MAX_MESSAGE || datagram.len() != HEADER + length || !length.is_multiple_of(4) {
            return None;
        }
        let mut message = Message::new();
        message.unmarshal_binary(datagram).ok()?;
        if message.attributes.0.len() > MAX_ATTRIBUTES {
            return None;
        }
        if let Some(last) = message.attributes.0.last()
            && last.typ == ATTR_FINGERPRINT
        {
            FINGERPRINT.check(&message).ok()?;
        }
        let signature = message
            .attributes
            .0
            .iter()
            .find(|attribute| attribute.typ == ATTR_MESSAGE_INTEGRITY);
        let signed = signature.is_some();
        if signature.is_some_and(|signature| signature.value.len() != INTEGRITY) {
            return None;
        }
        Some(Request { message, signed })
    }

    pub(crate) fn kind(&self) -> MessageType {
        self.message.typ
    }

    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    pub(crate) fn is_signed(&self) -> bool {
        self.signed
    }

    /// Whether the signature is that of `key`. All attributes behind the signature are dropped: anybody could have put them there.
    pub(crate) fn is_signed_with(&mut self, key: &[u8], crypto: &dyn RTCCrypto) -> bool {
        if MessageIntegrity::check(&mut self.message, key, crypto).is_err() {
            return false;
        }
        let attributes = &mut self.message.attributes.0;
        if let Some(at) = attributes
            .iter()
            .position(|attribute| attribute.typ == ATTR_MESSAGE_INTEGRITY)
        {
            attributes.truncate(at + 1);
        }
        true
    }

    pub(crate) fn has(&self, kind: AttrType) -> bool {
        self.message.contains(kind)
    }

    /// An attribute as text; `None` where it isn't there, or no UTF-8.
    pub(crate) fn text(&self, kind: AttrType) -> Option<&str> {
        let mut attributes = self.message.attributes.0.iter();
        let found = attributes.find(|attribute| attribute.typ == kind)?;
        std::str::from_utf8(&found.value).ok()
    }

    /// An attribute; `None` where it isn't there, `Some(None)` where it is malformed.
    pub(crate) fn get<A: Getter + Default>(&self, kind: AttrType) -> Option<Option<A>> {
        self.has(kind).then(|| {
            let mut value = A::default();
            value.get_from(&self.message).ok().map(|()| value)
        })
    }

    /// The values of all attributes of a kind.
    pub(crate) fn all(&self, kind: AttrType) -> impl Iterator<Item = &[u8]> {
        let attributes = self.message.attributes.0.iter();
        attributes
            .filter(move |attribute| attribute.typ == kind)
            .map(|attribute| attribute.value.as_slice())
    }

    /// Attributes that must be understood (RFC 8489 section 14) and aren't.
    pub(crate) fn unknown(&self) -> Vec<AttrType> {
        const KNOWN: [AttrType; 12] = [
            ATTR_USERNAME,
            ATTR_MESSAGE_INTEGRITY,
            ATTR_REALM,
            ATTR_NONCE,
            ATTR_CHANNEL_NUMBER,
            ATTR_LIFETIME,
            ATTR_XOR_PEER_ADDRESS,
            ATTR_DATA,
            ATTR_EVEN_PORT,
            ATTR_REQUESTED_TRANSPORT,
            ATTR_REQUESTED_ADDRESS_FAMILY,
            ATTR_RESERVATION_TOKEN,
        ];
        let kinds = self.message.attributes.0.iter().map(|attribute| attribute.typ);
        kinds.filter(|kind| kind.required() && !KNOWN.contains(kind)).collect()
    }

    /// A success response, signed if there is a key.
    pub(crate) fn succeed(
        &self,
        attributes: Vec<Box<dyn Setter + '_>>,
        key: Option<&[u8]>,
        crypto: &dyn RTCCrypto,
    ) -> Option<Vec<u8>> {
        self.respond(
            MessageType::new(self.kind().method, CLASS_SUCCESS_RESPONSE),
            attributes,
            key,
            crypto,
        )
    }

    /// An error response.
    pub(crate) fn fail(
        &self,
        code: ErrorCode,
        reason: &str,
        mut more: Vec<Box<dyn Setter + '_>>,
        key: Option<&[u8]>,
        crypto: &dyn RTCCrypto,
    ) -> Option<Vec<u8>> {
        more.insert(
            0,
            Box::new(ErrorCodeAttribute {
                code,
                reason: reason.as_bytes().to_vec(),
            }),
        );
        self.respond(
            MessageType::new(self.kind().method, CLASS_ERROR_RESPONSE),
            more,
            key,
            crypto,
        )
    }

    fn respond(
        &self,
        kind: MessageType,
        attributes: Vec<Box<dyn Setter + '_>>,
        key: Option<&[u8]>,
        crypto: &dyn RTCCrypto,
    ) -> Option<Vec<u8>> {
        let mut all: Vec<Box<dyn Setter + '_>> = vec![Box::new(self.message.transaction_id), Box::new(kind)];
        all.extend(attributes);
        if let Some(key) = key {
            all.push(Box::new(MessageIntegrity::new_raw_integrity_with_provider(key, crypto)));
        }
        all.push(Box::new(FINGERPRINT));
        let mut message = Message::new();
        message.build(&all).ok()?;
        Some(message.raw)
    }
}
