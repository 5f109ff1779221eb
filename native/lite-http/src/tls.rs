//! TLS 1.3 for a listener. Knows nothing of the BEAM.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{Error, ServerConfig};

/// An acceptor that shows the certificates of `certificates` (PEM, ours first, then those that vouch for it) and signs with `key` (PEM).
///
/// # Errors
/// In words, naming what to look at: nothing of this kind in the PEM, a key of an unknown kind, a key of another certificate.
pub fn acceptor(certificates: &[u8], key: &[u8]) -> Result<TlsAcceptor, String> {
    let chain = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("the certificate file can't be read as PEM: {error}"))?;
    if chain.is_empty() {
        return Err("the certificate file has no certificate in it (-----BEGIN CERTIFICATE-----)".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        PemError::NoItemsFound => {
            "the key file has no private key in it (-----BEGIN PRIVATE KEY-----); one with a password can't be read"
                .into()
        }
        error => format!("the key file can't be read as PEM: {error}"),
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            Error::InconsistentKeys(_) => "the key in the key file isn't that of the certificate".into(),
            error => format!("certificate and key can't be used: {error}"),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Whether a client that starts with this byte speaks plain HTTP: a TLS record of a handshake begins with 22, a method with a letter.
pub fn plain_http(first: u8) -> bool {
    first.is_ascii_alphabetic()
}
