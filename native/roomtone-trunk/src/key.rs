//! Keys, and what is sealed and opened with them (AES-256-GCM, RFC 5116).

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::wire::{HEADER, TAG};

/// Counts the keys of a direction; wraps.
pub type KeyNumber = u8;

/// A key of one direction of a trunk. It must be random, and used by one sender only.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of these 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Key {
        Key(bytes)
    }

    pub(crate) fn cipher(&self) -> Cipher {
        let key = UnboundKey::new(&AES_256_GCM, &self.0).expect("the length is right");
        Cipher(LessSafeKey::new(key))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    // The counter of a datagram is the nonce: its sender uses each once.
    fn nonce(counter: u64) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&counter.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts all behind the header, and appends the tag.
    pub(crate) fn seal(&self, counter: u64, datagram: &mut Vec<u8>) {
        let (header, body) = datagram.split_at_mut(HEADER);
        let tag = self
            .0
            .seal_in_place_separate_tag(Self::nonce(counter), Aad::from(&*header), body)
            .expect("a datagram is short");
        datagram.extend_from_slice(tag.as_ref());
        debug_assert_eq!(tag.as_ref().len(), TAG);
    }

    /// Decrypts all behind the header; `None` if somebody else made or changed the datagram.
    pub(crate) fn open<'a>(&self, counter: u64, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        let (header, body) = datagram.split_at_mut(HEADER);
        let opened = self.0.open_in_place(Self::nonce(counter), Aad::from(&*header), body);
        opened.ok().map(|body| &*body)
    }
}
