//! One HTTP request on a connection of its own: all that WHIP and Janus need.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Longer bodies are an error.
const MAX_BODY: usize = 64 * 1024;

/// Where to, and how long it may take.
pub(crate) struct Target<'a> {
    /// Host and port to connect to.
    pub address: &'a str,
    /// The value of the `Host` header.
    pub authority: &'a str,
    /// For the whole exchange.
    pub timeout: Duration,
}

/// The response.
pub(crate) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

/// Why nothing came back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("{0}")]
    Protocol(String),
    #[error("the server closed the connection without a response")]
    HungUp,
    #[error("no response in time")]
    Timeout,
}

pub(crate) async fn request(
    target: &Target<'_>,
    method: Method,
    path: &str,
    headers: HeaderMap,
    body: &str,
) -> Result<Reply, HttpError> {
    tokio::time::timeout(target.timeout, exchange(target, method, path, headers, body))
        .await
        .unwrap_or(Err(HttpError::Timeout))
}

async fn exchange(
    target: &Target<'_>,
    method: Method,
    path: &str,
    headers: HeaderMap,
    body: &str,
) -> Result<Reply, HttpError> {
    let protocol = |e: &dyn std::error::Error| HttpError::Protocol(e.to_string());
    let stream = TcpStream::connect(target.address)
        .await
        .map_err(|e| HttpError::Connect(e.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| protocol(&e))?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, target.authority)
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .map_err(|e| protocol(&e))?;
    request.headers_mut().extend(headers);
    let response = sender.send_request(request).await.map_err(|e| {
        let hung_up = e.is_canceled() || e.is_closed() || e.is_incomplete_message();
        if hung_up { HttpError::HungUp } else { protocol(&e) }
    })?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY)
        .collect()
        .await
        .map_err(|e| HttpError::Protocol(e.to_string()))?
        .to_bytes();
    connection.abort();
    let body = String::from_utf8(body.to_vec()).map_err(|_| HttpError::Protocol("the body isn't text".into()))?;
    Ok(Reply {
        status: parts.status,
        headers: parts.headers,
        body,
    })
}
