//! HTTP/1.1 and WebSockets as `lite-http` sets the libraries up, and the PEM files of TLS.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::Target;

#[path = "../../../lite-http/src/handshake.rs"]
#[allow(dead_code, missing_docs, clippy::unwrap_used)]
mod handshake;

const HEAD_BYTES: usize = 32 << 10;
const HEADERS: usize = 100;
const MESSAGE_BYTES: usize = 64 << 10;
/// Of an input, so that it fits into the pipe at once.
const INPUT: usize = 64 << 10;

/// Runs a server on one end of a pipe whose other end writes these bytes and closes.
fn serve<F: Future<Output = ()>>(data: &[u8], server: impl FnOnce(DuplexStream) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let (mut client, stream) = tokio::io::duplex(INPUT);
        client
            .write_all(&data[..data.len().min(INPUT)])
            .await
            .expect("there is room");
        client.shutdown().await.expect("it can be closed");
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(60), async {
            tokio::join!(server(stream), client.read_to_end(&mut answer)).0
        });
        assert!(ended.await.is_ok(), "the server ends with its client");
    });
}

pub(super) const HTTP: Target = Target {
    name: "http",
    run: |data| {
        serve(data, |stream| async {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(20))
                .max_headers(HEADERS)
                .max_header_size(HEAD_BYTES)
                .max_buf_size(HEAD_BYTES);
            let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    },
    seeds: || {
        let websocket = "GET /live/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /rooms HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST /whip/standup HTTP/1.1\r\nhost: a\r\ncontent-type: application/sdp\r\ncontent-length: 4\r\n\r\nv=0\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\ntrailer: x\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx",
            websocket,
        ]
        .map(|request| request.as_bytes().to_vec())
        .to_vec()
    },
};

async fn answer(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let accept = handshake::handshake(&request);
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let mut response = Response::new(Empty::new());
    if let Ok(accept) = accept {
        let value = accept.parse().expect("base64 is a header's value");
        response.headers_mut().insert("sec-websocket-accept", value);
    }
    Ok(response)
}

pub(super) const WEBSOCKET: Target = Target {
    name: "websocket",
    run: |data| {
        serve(data, |stream| async {
            let config = WebSocketConfig::default()
                .read_buffer_size(4 * 1024)
                .write_buffer_size(8 * 1024)
                .max_message_size(Some(MESSAGE_BYTES))
                .max_frame_size(Some(MESSAGE_BYTES));
            let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
            while let Some(Ok(message)) = socket.next().await {
                assert!(message.len() <= MESSAGE_BYTES);
            }
        });
    },
    seeds: || {
        // Masked, as a client has to (RFC 6455 section 5.3), here with zeros.
        vec![
            b"\x81\x82\0\0\0\0hi\x89\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8".to_vec(),
            b"\x01\x81\0\0\0\0h\x80\x81\0\0\0\0i".to_vec(),
            b"\x82\xfe\0\x80\0\0\0\0".iter().copied().chain([7; 128]).collect(),
        ]
    },
};

pub(super) const TLS_PEM: Target = Target {
    name: "tls-pem",
    run: |data| {
        let (certificates, key) = data.split_at(data.len() / 2);
        if let Err(error) = tls_acceptor::acceptor(certificates, key, &[]) {
            assert!(!error.is_empty());
        }
    },
    seeds: || {
        vec![
            b"-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUR\n-----END CERTIFICATE-----\n\
              -----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n"
                .to_vec(),
        ]
    },
};
