//! A client that offers to resume a session of long ago: a session id in each ClientHello.
//!
//! The library's client never sends one. Here it is put into the hello on its way out, and into the
//! transcript wherever the client hashes or signs it.

use std::sync::Arc;

use rtc::crypto::{
    ActiveKeyExchange, AeadAlgorithm, AeadCipher, CbcAlgorithm, CbcCipher, CryptoAlgorithm, CryptoError, HashAlgorithm,
    HmacAlgorithm, KeyExchangeAlgorithm, Mac, PublicKey, RTCCrypto, RTCCryptoProvider, RTCRandom, SignatureScheme,
    SigningKey,
};
use rtc::dtls::crypto::{Certificate, CryptoPrivateKey};

#[derive(Clone, Copy)]
pub struct Resumed {
    len: usize,
}

/// Record header, handshake header, version and random: the session id's length follows.
const RECORD: usize = 13;
const SESSION_ID: usize = 12 + 34;

impl Resumed {
    pub fn new(len: usize) -> Self {
        Self { len }
    }

    // A message that begins with a ClientHello, with the session id in it.
    fn insert(&self, transcript: &[u8]) -> Vec<u8> {
        let is_hello = transcript.len() > SESSION_ID && transcript[0] == 1 && transcript[SESSION_ID] == 0;
        if self.len == 0 || !is_hello {
            return transcript.to_vec();
        }
        let mut out = transcript.to_vec();
        out[SESSION_ID] = self.len as u8;
        out.splice(SESSION_ID + 1..SESSION_ID + 1, vec![0x5E; self.len]);
        for at in [1, 9] {
            let len = u32::from_be_bytes([0, out[at], out[at + 1], out[at + 2]]) + self.len as u32;
            out[at..at + 3].copy_from_slice(&len.to_be_bytes()[1..]);
        }
        out
    }

    pub fn on_the_wire(&self, datagram: &[u8]) -> Vec<u8> {
        if datagram[0] != 22 || datagram[3..5] != [0, 0] || self.len == 0 {
            return datagram.to_vec();
        }
        let mut out = datagram[..RECORD].to_vec();
        out.extend(self.insert(&datagram[RECORD..]));
        // A hello is alone in its datagram.
        if datagram[RECORD] == 1 {
            let len = (out.len() - RECORD) as u16;
            out[RECORD - 2..RECORD].copy_from_slice(&len.to_be_bytes());
        }
        out
    }

    pub fn provider(&self, inner: Arc<dyn RTCCryptoProvider>) -> Arc<dyn RTCCryptoProvider> {
        Arc::new(Provider { inner, resumed: *self })
    }

    pub fn certificate(&self, mut certificate: Certificate) -> Certificate {
        let inner = certificate.private_key.signing_key.clone();
        certificate.private_key = CryptoPrivateKey::from_signing_key(Arc::new(Key { inner, resumed: *self }));
        certificate
    }
}

struct Key {
    inner: Arc<dyn SigningKey>,
    resumed: Resumed,
}

impl SigningKey for Key {
    fn supports(&self, scheme: SignatureScheme) -> bool {
        self.inner.supports(scheme)
    }

    fn public_key(&self) -> PublicKey<'_> {
        self.inner.public_key()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.sign(scheme, &self.resumed.insert(message))
    }
}

struct Provider {
    inner: Arc<dyn RTCCryptoProvider>,
    resumed: Resumed,
}

impl RTCCryptoProvider for Provider {
    fn name(&self) -> &'static str {
        "resumed"
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self
    }

    fn random(&self) -> &dyn RTCRandom {
        self.inner.random()
    }
}

impl RTCCrypto for Provider {
    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        self.inner.crypto().supports(algorithm)
    }

    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.crypto().hash(algorithm, &self.resumed.insert(data))
    }

    fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Result<Box<dyn Mac>, CryptoError> {
        self.inner.crypto().new_hmac(algorithm, key)
    }

    fn new_aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadCipher>, CryptoError> {
        self.inner.crypto().new_aead(algorithm, key)
    }

    fn new_cbc(&self, algorithm: CbcAlgorithm, key: &[u8]) -> Result<Box<dyn CbcCipher>, CryptoError> {
        self.inner.crypto().new_cbc(algorithm, key)
    }

    fn start_key_exchange(&self, algorithm: KeyExchangeAlgorithm) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        self.inner.crypto().start_key_exchange(algorithm)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        self.inner
            .crypto()
            .verify_signature(scheme, public_key, message, signature)
    }
}
