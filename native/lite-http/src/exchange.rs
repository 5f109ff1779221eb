//! One request and its response.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use hyper::{Response, StatusCode};
use rustler::Resource;
use tokio::sync::{mpsc, oneshot};

use crate::body::{RequestBody, ResponseBody};
use crate::handshake::HandshakeError;
use crate::limits::SocketLimits;

/// The process's decision.
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
