#![doc = include_str!("../README.md")]

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{Error, ServerConfig};

/// An acceptor that shows the certificates of `certificates` (PEM, ours first, then those that vouch for it) and signs with `key` (PEM).
/// `protocols` are those that it agrees on with clients that ask (ALPN, RFC 7301); if there is none, it doesn't mind what they ask for.
///
/// # Errors
/// In words, naming what to look at: nothing of this kind in the PEM, a key of an unknown kind, a key of another certificate.
///
/// # Examples
///
/// ```
/// let error = tls_acceptor::acceptor(b"", b"", &[]).err();
/// assert!(error.unwrap().contains("no certificate"));
/// ```
pub fn acceptor(certificates: &[u8], key: &[u8], protocols: &[&[u8]]) -> Result<TlsAcceptor, String> {
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
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_and_its_key_are_taken() {
        let (certificate, key) = pair();
        let acceptor = acceptor(certificate.as_bytes(), key.as_bytes(), &[b"http/1.1"]).unwrap();
        assert_eq!(acceptor.config().alpn_protocols, [b"http/1.1".to_vec()]);
    }

    #[test]
    fn errors_name_the_file_to_look_at() {
        let ((certificate, key), (_, other)) = (pair(), pair());
        for (certificate, key, word) in [
            ("", key.as_str(), "certificate file has no certificate"),
            (certificate.as_str(), "", "key file has no private key"),
            (certificate.as_str(), other.as_str(), "isn't that of the certificate"),
            (
                certificate.as_str(),
                certificate.as_str(),
                "key file has no private key",
            ),
        ] {
            let error = acceptor(certificate.as_bytes(), key.as_bytes(), &[]).err().unwrap();
            assert!(error.contains(word), "{error}");
        }
    }
}
