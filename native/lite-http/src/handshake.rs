//! Which requests may become WebSockets. Knows nothing of the BEAM.

use hyper::Request;
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Why a request can't become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// It doesn't ask for one.
    NotAnUpgrade,
    /// Another version than 13.
    Version,
    /// No well-formed `Sec-WebSocket-Key`.
    Key,
}

/// The value of `Sec-WebSocket-Accept` for this request, or why it has none (RFC 6455, section 4.2.1).
pub fn handshake<B>(request: &Request<B>) -> Result<String, HandshakeError> {
    let headers = request.headers();
    if request.method() != hyper::Method::GET
        || !has_token(headers, &UPGRADE, "websocket")
        || !has_token(headers, &CONNECTION, "upgrade")
    {
        return Err(HandshakeError::NotAnUpgrade);
    }
    if headers
        .get("sec-websocket-version")
        .is_none_or(|version| version != "13")
    {
        return Err(HandshakeError::Version);
    }
    // 16 bytes in base64: 22 characters and two of padding.
    let key = headers
        .get("sec-websocket-key")
        .map(HeaderValue::as_bytes)
        .ok_or(HandshakeError::Key)?;
    let (text, padding) = key.split_at_checked(22).ok_or(HandshakeError::Key)?;
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if padding != b"==" || !text.iter().all(base64) {
        return Err(HandshakeError::Key);
    }
    Ok(derive_accept_key(key))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    const GOOD: [(&str, &str); 4] = [
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn the_handshake_of_the_rfc_is_answered_as_the_rfc_says() {
        assert_eq!(handshake(&request(&GOOD)).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_handshake_with_a_part_missing_or_wrong_is_refused() {
        for missing in GOOD {
            let rest: Vec<_> = GOOD.into_iter().filter(|pair| *pair != missing).collect();
            assert!(handshake(&request(&rest)).is_err(), "without {missing:?}");
        }
        let with = |at: usize, value| {
            let mut headers = GOOD;
            headers[at].1 = value;
            handshake(&request(&headers)).unwrap_err()
        };
        assert_eq!(with(0, "h2c"), HandshakeError::NotAnUpgrade);
        assert_eq!(with(2, "8"), HandshakeError::Version);
        assert_eq!(with(3, "dGhlIHNhbXBsZSBub25jZQ="), HandshakeError::Key);
        assert_eq!(with(3, "dGhlIHNhbXBsZSBub25jZQ==="), HandshakeError::Key);
        assert_eq!(with(3, "dGhlIHNhbXBsZ!Bub25jZQ=="), HandshakeError::Key);
        assert_eq!(with(3, ""), HandshakeError::Key);
    }
}
