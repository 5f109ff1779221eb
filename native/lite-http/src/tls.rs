//! TLS 1.3 for a listener. Knows nothing of the BEAM.

use tokio_rustls::TlsAcceptor;

/// An acceptor for HTTP/1.1 with these certificates and this key, both PEM.
///
/// # Errors
/// In words: see [`tls_acceptor::acceptor`].
pub fn acceptor(certificates: &[u8], key: &[u8]) -> Result<TlsAcceptor, String> {
    tls_acceptor::acceptor(certificates, key, &[b"http/1.1"])
}

/// Whether a client that starts with this byte speaks plain HTTP: a TLS record of a handshake begins with 22, a method with a letter.
pub fn plain_http(first: u8) -> bool {
    first.is_ascii_alphabetic()
}
