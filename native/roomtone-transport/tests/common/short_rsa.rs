//! A certificate with an RSA key of 1024 bits. The signature that goes with it is as long as such a
//! key's, and worth nothing.

use std::sync::Arc;

use rtc::crypto::{CryptoError, PublicKey, PublicKeyEncoding, SignatureScheme, SigningKey};
use rtc::dtls::crypto::{Certificate, CryptoPrivateKey};

struct Short;

impl SigningKey for Short {
    fn supports(&self, scheme: SignatureScheme) -> bool {
        scheme == SignatureScheme::RsaPkcs1Sha256
    }

    fn public_key(&self) -> PublicKey<'_> {
        PublicKey {
            encoding: PublicKeyEncoding::RsaPkcs1Der,
            bytes: &[],
        }
    }

    fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Ok(vec![1; 128])
    }
}

pub fn short_rsa() -> Certificate {
    let der = include_bytes!("../fixtures/rsa1024.der").to_vec();
    Certificate {
        certificate: vec![der.into()],
        private_key: CryptoPrivateKey::from_signing_key(Arc::new(Short)),
    }
}
