//! Janus's HTTP interface as a test double: it answers requests as Janus does, tells the events that the test gives it, and keeps
//! what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Api;

const SESSION: u64 = 11;
const HANDLE: u64 = 22;

#[derive(Default)]
struct State {
    /// For the long poll, in this order.
    events: VecDeque<Value>,
    /// Paths and bodies of all `POST`s.
    asked: Vec<(String, Value)>,
}

/// A running double; it ends with the test's runtime.
pub struct Double {
    pub api: Api,
    state: Arc<Mutex<State>>,
}

impl Double {
    /// Tells these events, one in each poll; then it only keeps the session alive.
    pub async fn telling(events: impl IntoIterator<Item = Value>) -> Double {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State {
            events: events.into_iter().collect(),
            asked: Vec::new(),
        }));
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(request, shared.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        let api = Api {
            address: address.to_string(),
            media: address.ip(),
        };
        Double { api, state }
    }

    /// The plugin that it was asked to attach, and the messages to it since.
    pub fn asked(&self) -> (Value, Vec<Value>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |path: &str| {
            let wanted = state.asked.iter().filter(|asked| asked.0 == path);
            wanted.map(|asked| asked.1.clone()).collect::<Vec<_>>()
        };
        let attach = of(&format!("/janus/{SESSION}")).pop().unwrap_or(Value::Null);
        (attach, of(&format!("/janus/{SESSION}/{HANDLE}")))
    }
}

/// An event of the plugin.
pub fn event(data: Value, jsep: Option<(&str, &str)>) -> Value {
    let mut event =
        json!({"janus": "event", "session_id": SESSION, "sender": HANDLE, "plugindata": {"plugin": "p", "data": data}});
    if let Some((kind, sdp)) = jsep {
        event["jsep"] = json!({"type": kind, "sdp": sdp});
    }
    event
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = request
        .into_body()
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let body: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or(Value::Null);
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let reply = if method == Method::GET {
        state
            .events
            .pop_front()
            .unwrap_or_else(|| json!({"janus": "keepalive"}))
    } else {
        let kind = body["janus"].clone();
        state.asked.push((path.clone(), body));
        match (kind.as_str(), path.as_str()) {
            (Some("create"), "/janus") => json!({"janus": "success", "data": {"id": SESSION}}),
            (Some("attach"), "/janus/11") => json!({"janus": "success", "data": {"id": HANDLE}}),
            (Some("message"), "/janus/11/22") => json!({"janus": "ack", "session_id": SESSION}),
            _ => json!({"janus": "error", "error": {"code": 458, "reason": "No such session"}}),
        }
    };
    Response::builder()
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(reply.to_string())))
}
