//! Our DTLS certificate: made at start, self-signed, vouched for by its fingerprint in the answer.

use std::fmt;
use std::sync::Arc;

use rtc::crypto::{RTCCryptoProvider, SignatureScheme, default_provider};
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};

use crate::sdp::describe_certificate;

/// No certificate could be made: the random generator or the crypto library failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no DTLS certificate: {0}")]
pub struct CertificateError(String);

/// A certificate with its private key, and the crypto library that everything here uses.
///
/// One a process is enough. Debug shows the fingerprint only.
#[derive(Clone)]
pub struct Certificate {
    pub(super) dtls: rtc::dtls::crypto::Certificate,
    pub(crate) provider: Arc<dyn RTCCryptoProvider>,
    fingerprint: String,
}

impl Certificate {
    /// Makes an ECDSA P-256 certificate.
    pub fn generate() -> Result<Self, CertificateError> {
        let fail = |error: &dyn fmt::Display| CertificateError(error.to_string());
        let provider = default_provider().map_err(|e| fail(&e))?;
        let params = CertificateParams::new(vec!["roomtone".to_owned()]).map_err(|e| fail(&e))?;
        let certificate = RTCCertificate::generate(provider.crypto(), SignatureScheme::EcdsaP256Sha256, params)
            .map_err(|e| fail(&e))?;
        let der = certificate
            .dtls_certificate
            .certificate
            .first()
            .ok_or_else(|| CertificateError("empty chain".to_owned()))?;
        Ok(Self {
            fingerprint: describe_certificate(der),
            dtls: certificate.dtls_certificate,
            provider,
        })
    }

    /// As in SDP: `sha-256 AB:CD:…`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}
