//! One request and its response.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use rustler::Resource;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::body::{RequestBody, ResponseBody};
use crate::limits::SocketLimits;

/// What the process decided.
pub enum Answer {
    /// A response.
    Respond(Response<ResponseBody>),
    /// Go on as a WebSocket.
    Upgrade(Response<ResponseBody>, SocketLimits),
}

/// The handle that a process answers a request with.
pub struct Exchange {
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
    pieces: Mutex<Option<mpsc::Sender<Bytes>>>,
    /// The request's body; a read holds the lock.
    pub body: Arc<tokio::sync::Mutex<RequestBody>>,
    handshake: Result<String, HandshakeError>,
}

#[rustler::resource_impl]
impl Resource for Exchange {}

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

/// Why an answer isn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// There was one before.
    AlreadySent,
    /// A status or header that HTTP doesn't allow.
    Malformed,
    /// No valid WebSocket handshake.
    Handshake(HandshakeError),
    /// The client is gone.
    Closed,
}

impl Exchange {
    /// The exchange of `request`, and where its answer arrives.
    pub fn new(handshake: Result<String, HandshakeError>, body: RequestBody) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, receiver) = oneshot::channel();
        let exchange = Self {
            answer: Mutex::new(Some(answer)),
            pieces: Mutex::new(None),
            body: Arc::new(tokio::sync::Mutex::new(body)),
            handshake,
        };
        (exchange, receiver)
    }

    /// Answers with a whole body.
    pub fn respond(&self, status: u16, headers: &[(&[u8], &[u8])], body: Bytes) -> Result<(), AnswerError> {
        let response = response(status, headers, ResponseBody::Whole(Full::new(body)))?;
        self.answer(Answer::Respond(response))
    }

    /// Answers with a body that comes in pieces.
    pub fn stream(&self, status: u16, headers: &[(&[u8], &[u8])]) -> Result<(), AnswerError> {
        let (sender, receiver) = mpsc::channel(1);
        let response = response(status, headers, ResponseBody::Pieces(receiver))?;
        self.answer(Answer::Respond(response))?;
        *self.pieces.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        Ok(())
    }

    /// Where the pieces of a streamed body go.
    pub fn pieces(&self) -> Option<mpsc::Sender<Bytes>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends a streamed body.
    pub fn finish(&self) {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Answers with 101 and makes the connection a WebSocket.
    pub fn upgrade(&self, headers: &[(&[u8], &[u8])], limits: SocketLimits) -> Result<(), AnswerError> {
        let accept = self
            .handshake
            .as_ref()
            .map_err(|error| AnswerError::Handshake(*error))?;
        let mut response = response(101, headers, ResponseBody::Whole(Full::default()))?;
        let own = response.headers_mut();
        own.insert(UPGRADE, HeaderValue::from_static("websocket"));
        own.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        let accept = HeaderValue::from_str(accept).map_err(|_| AnswerError::Malformed)?;
        own.insert("sec-websocket-accept", accept);
        self.answer(Answer::Upgrade(response, limits))
    }

    fn answer(&self, answer: Answer) -> Result<(), AnswerError> {
        let sender = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        sender
            .ok_or(AnswerError::AlreadySent)?
            .send(answer)
            .map_err(|_| AnswerError::Closed)
    }
}

fn response(
    status: u16,
    headers: &[(&[u8], &[u8])],
    body: ResponseBody,
) -> Result<Response<ResponseBody>, AnswerError> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| AnswerError::Malformed)?;
    let map = response.headers_mut();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name).map_err(|_| AnswerError::Malformed)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| AnswerError::Malformed)?;
        map.try_append(name, value).map_err(|_| AnswerError::Malformed)?;
    }
    Ok(response)
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
        for missing in 0..GOOD.len() {
            let rest: Vec<_> = GOOD
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != missing)
                .map(|(_, pair)| *pair)
                .collect();
            assert!(handshake(&request(&rest)).is_err(), "without {:?}", GOOD[missing]);
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

    #[test]
    fn headers_that_would_split_the_response_are_refused() {
        assert!(
            response(
                200,
                &[(b"x-a", b"1\r\nset-cookie: b=c")],
                ResponseBody::Whole(Full::default())
            )
            .is_err()
        );
        assert!(response(200, &[(b"x a", b"1")], ResponseBody::Whole(Full::default())).is_err());
        assert!(response(1, &[], ResponseBody::Whole(Full::default())).is_err());
    }
}
