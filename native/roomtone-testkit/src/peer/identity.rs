//! Certificates, and the DTLS configurations made from them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rtc::crypto::{HashAlgorithm, RTCCryptoProvider, SignatureScheme};
use rtc::dtls::config::{ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};

use super::{ClientError, Profiles};

/// A DTLS certificate with its key. Cheap to clone; thousands of peers may share one.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: RTCCertificate,
    fingerprint: String,
    // A HandshakeConfig costs more than the rest of a peer together, and depends on nothing of the peer: the server's
    // fingerprint is compared after the handshake.
    configs: Mutex<HashMap<(Profiles, Duration), Arc<HandshakeConfig>>>,
}

impl Identity {
    /// Makes a new self-signed ECDSA certificate.
    pub fn generate() -> Result<Identity, ClientError> {
        let failed = |what: String| ClientError::Crypto(what);
        let provider = rtc::crypto::default_provider().map_err(|e| failed(e.to_string()))?;
        let params = CertificateParams::new(vec!["roomtone-load".to_owned()]).map_err(|e| failed(e.to_string()))?;
        let certificate = RTCCertificate::generate(provider.crypto(), SignatureScheme::EcdsaP256Sha256, params)
            .map_err(|e| failed(e.to_string()))?;
        let der = certificate
            .dtls_certificate
            .certificate
            .first()
            .map(|der| der.as_ref())
            .unwrap_or_default();
        let fingerprint = fingerprint_of(provider.as_ref(), der)?;
        Ok(Identity(Arc::new(Inner {
            provider,
            certificate,
            fingerprint,
            configs: Mutex::default(),
        })))
    }

    /// The certificate that all peers of this process share unless they bring their own.
    pub fn shared() -> Result<Identity, ClientError> {
        static SHARED: OnceLock<Identity> = OnceLock::new();
        if let Some(identity) = SHARED.get() {
            return Ok(identity.clone());
        }
        let identity = Identity::generate()?;
        Ok(SHARED.get_or_init(|| identity).clone())
    }

    /// The SDP fingerprint: `sha-256 AA:BB:…`.
    pub fn fingerprint(&self) -> String {
        format!("sha-256 {}", self.0.fingerprint)
    }

    pub(super) fn provider(&self) -> &Arc<dyn RTCCryptoProvider> {
        &self.0.provider
    }

    /// SHA-256 of somebody else's certificate, as SDP writes it.
    pub(super) fn fingerprint_of(&self, der: &[u8]) -> Result<String, ClientError> {
        fingerprint_of(self.0.provider.as_ref(), der)
    }

    pub(super) fn handshake_config(
        &self,
        profiles: Profiles,
        retransmit: Duration,
    ) -> Result<Arc<HandshakeConfig>, ClientError> {
        let mut configs = self.0.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(&(profiles, retransmit)) {
            return Ok(config.clone());
        }
        let gcm = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
        let cm = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
        let config = ConfigBuilder::default()
            .with_crypto_provider(self.0.provider.clone())
            .with_certificates(vec![self.0.certificate.dtls_certificate.clone()])
            .with_srtp_protection_profiles(match profiles {
                Profiles::Both => vec![gcm, cm],
                Profiles::Gcm => vec![gcm],
                Profiles::AesCm => vec![cm],
            })
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_flight_interval(retransmit)
            .with_server_name("roomtone".into())
            // There is no CA in WebRTC: the fingerprint of the answer decides, see `ClientPeer`.
            .with_insecure_skip_verify(true)
            .build(true, None)
            .map_err(|e| ClientError::Crypto(e.to_string()))?;
        let config = Arc::new(config);
        configs.insert((profiles, retransmit), config.clone());
        Ok(config)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.0.fingerprint)
    }
}

fn fingerprint_of(provider: &dyn RTCCryptoProvider, der: &[u8]) -> Result<String, ClientError> {
    let hash = provider
        .crypto()
        .hash(HashAlgorithm::Sha256, der)
        .map_err(|e| ClientError::Crypto(e.to_string()))?;
    let hash: &[u8] = hash.as_ref();
    Ok(hash
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":"))
}
