//! The handshake transcript as the client has it.
//!
//! rtc-dtls 0.21.1 reads the length of a ClientHello's session id and not its bytes, so it can't
//! read a hello that has one. It gets the hello without (see
//! [`without_session_id`](super::hello::without_session_id)), and with it the crypto provider that
//! is made here: where the library hashes the transcript, or checks the client's signature of it,
//! the original hello is put back.

use std::sync::{Arc, Mutex, PoisonError};

use rtc::crypto::{
    ActiveKeyExchange, AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CbcAlgorithm, CbcCipher, CryptoAlgorithm,
    CryptoError, HashAlgorithm, HmacAlgorithm, KeyExchangeAlgorithm, Mac, PublicKey, RTCCrypto, RTCCryptoProvider,
    RTCRandom, SignatureScheme, SigningKey, StreamCipher, StreamCipherAlgorithm,
};

/// Hellos that the library has in place of the client's. A handshake has two.
#[derive(Clone, Default)]
pub(super) struct Originals(Arc<Mutex<Vec<Replaced>>>);

struct Replaced {
    given: Vec<u8>,
    original: Vec<u8>,
}

impl Originals {
    /// The library gets `given` where the client sent `original`; each of the two once a handshake.
    pub(super) fn note(&self, given: &[u8], original: &[u8]) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() < 2 && !list.iter().any(|known| known.given == given) {
            list.push(Replaced {
                given: given.to_vec(),
                original: original.to_vec(),
            });
        }
    }

    // The transcript with the client's own hello at its beginning.
    fn restore(&self, transcript: &[u8]) -> Option<Vec<u8>> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = list.iter().find(|replaced| transcript.starts_with(&replaced.given))?;
        Some([&replaced.original, &transcript[replaced.given.len()..]].concat())
    }
}

/// A crypto provider that puts the original hellos back.
pub(super) struct Restoring {
    pub(super) inner: Arc<dyn RTCCryptoProvider>,
    pub(super) originals: Originals,
}

impl RTCCryptoProvider for Restoring {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self
    }

    fn random(&self) -> &dyn RTCRandom {
        self.inner.random()
    }
}

impl RTCCrypto for Restoring {
    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        self.inner.crypto().supports(algorithm)
    }

    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match self.originals.restore(data) {
            Some(restored) => self.inner.crypto().hash(algorithm, &restored),
            None => self.inner.crypto().hash(algorithm, data),
        }
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        let restored = self.originals.restore(message);
        let message = restored.as_deref().unwrap_or(message);
        self.inner
            .crypto()
            .verify_signature(scheme, public_key, message, signature)
    }

    fn block_encrypt(&self, algorithm: BlockCipherAlgorithm, key: &[u8], block: &mut [u8]) -> Result<(), CryptoError> {
        self.inner.crypto().block_encrypt(algorithm, key, block)
    }

    fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Result<Box<dyn Mac>, CryptoError> {
        self.inner.crypto().new_hmac(algorithm, key)
    }

    fn new_stream_cipher(
        &self,
        algorithm: StreamCipherAlgorithm,
        key: &[u8],
    ) -> Result<Box<dyn StreamCipher>, CryptoError> {
        self.inner.crypto().new_stream_cipher(algorithm, key)
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

    fn generate_signing_key(&self, scheme: SignatureScheme) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.inner.crypto().generate_signing_key(scheme)
    }

    fn import_signing_key(
        &self,
        scheme: SignatureScheme,
        pkcs8_der: &[u8],
    ) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.inner.crypto().import_signing_key(scheme, pkcs8_der)
    }
}
