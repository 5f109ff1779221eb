//! One connection and the process that it belongs to.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustler::{Encoder, LocalPid, Monitor, Resource, ResourceArc, Term};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};

use crate::body::{RequestBody, ResponseBody};
use crate::census::Seat;
use crate::exchange::{Answer, Exchange};
use crate::guard::WriteGuard;
use crate::handshake;
use crate::limits::{Limits, SocketLimits};
use crate::notify::{self, Payload};
use crate::shared::{Control, Shared};
use crate::websocket;

mod atoms {
    rustler::atoms! { lite_request, lite_closed, http10 = "HTTP/1.0", http11 = "HTTP/1.1" }
}

/// How long the owner of the listener may take to name the process of a connection.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);

/// The handle that a process holds. The connection closes when that process ends or lets go of it.
pub struct ConnectionHandle {
    /// The part that the task has too.
    pub shared: Arc<Shared>,
}

impl ConnectionHandle {
    /// A handle on `shared`.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Gives the connection to `pid`; `false` if it has a process or is gone.
    pub fn attach(&self, pid: LocalPid) -> bool {
        self.shared.attach(pid)
    }
}

#[rustler::resource_impl]
impl Resource for ConnectionHandle {
    fn down<'a>(&'a self, _env: rustler::Env<'a>, _pid: LocalPid, _monitor: Monitor) {
        self.shared.abort();
    }
}

impl Drop for ConnectionHandle {
    fn drop(&mut self) {
        self.shared.abort();
    }
}

/// How long a connection of the reserve may take for a request's head.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(2);

type Upgrade = (hyper::upgrade::OnUpgrade, SocketLimits);

/// Serves a connection to its end. `stream` may be a TCP stream or TLS on one.
pub async fn serve<S>(
    stream: S,
    limits: Limits,
    seat: Arc<Seat>,
    shared: Arc<Shared>,
    attached: oneshot::Receiver<LocalPid>,
    mut listener: watch::Receiver<Control>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Ok(Ok(pid)) = tokio::time::timeout(ATTACH_TIMEOUT, attached).await else {
        return;
    };
    let mut control = shared.control();
    let upgraded: Mutex<Option<Upgrade>> = Mutex::new(None);
    let service = service_fn(|request| respond(request, pid, &upgraded, &seat, &limits.priority));
    let stream = TokioIo::new(WriteGuard::new(stream, limits.write_timeout()));
    {
        let mut serving = pin!(
            builder_for(&limits, &seat)
                .serve_connection(stream, service)
                .with_upgrades()
        );
        loop {
            tokio::select! {
                result = serving.as_mut() => {
                    if let Err(error) = result {
                        log::debug!("connection: {error}");
                    }
                    break;
                }
                changed = control.wait_for(|control| *control == Control::Abort) => {
                    drop(changed);
                    return;
                }
                // Others need the place, and this one has no request.
                () = seat.evicted() => {
                    log::debug!("a connection without a request made way");
                    break;
                }
                changed = listener.changed() => {
                    if changed.is_err() || *listener.borrow_and_update() == Control::Abort {
                        return;
                    }
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }
    let upgrade = upgraded.into_inner().unwrap_or_else(PoisonError::into_inner);
    let reason = match upgrade {
        None => websocket::Ended::Closed,
        Some((upgraded, limits)) => match upgraded.await {
            Ok(stream) => websocket::run(TokioIo::new(stream), limits, &shared, &pid, listener).await,
            Err(_) => websocket::Ended::Closed,
        },
    };
    notify::send(&pid, |env| (atoms::lite_closed(), reason.encode(env)).encode(env));
}

/// How HTTP is spoken within these limits.
pub fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout())
        .max_headers(limits.headers)
        .max_header_size(limits.head_bytes)
        .max_buf_size(limits.head_bytes.max(16 * 1024));
    builder
}

/// A connection of the reserve has little time.
fn builder_for(limits: &Limits, seat: &Seat) -> http1::Builder {
    let mut builder = builder(limits);
    if seat.reserve() {
        builder.header_read_timeout(limits.head_timeout().min(RESERVE_TIMEOUT));
    }
    builder
}

async fn respond(
    request: Request<Incoming>,
    pid: LocalPid,
    upgraded: &Mutex<Option<Upgrade>>,
    seat: &Seat,
    priority: &[String],
) -> Result<Response<ResponseBody>, Infallible> {
    seat.busy();
    let response = answer(request, pid, upgraded, seat, priority).await;
    // A body in pieces, or a WebSocket, is still under way.
    if matches!(response.body(), ResponseBody::Whole(_)) && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        seat.idle();
    }
    Ok(response)
}

async fn answer(
    mut request: Request<Incoming>,
    pid: LocalPid,
    upgraded: &Mutex<Option<Upgrade>>,
    seat: &Seat,
    priority: &[String],
) -> Response<ResponseBody> {
    let path = request.uri().path();
    // CONNECT has no path: this is no proxy. RFC 9112, section 3.2: one Host.
    if path.is_empty() || request.headers().get_all(HOST).iter().count() > 1 {
        return refusal(StatusCode::BAD_REQUEST);
    }
    if seat.reserve() && !priority.iter().any(|first| path.starts_with(first.as_str())) {
        let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE);
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("5"));
        return response;
    }
    let handshake = handshake::handshake(&request);
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let (exchange, answer) = Exchange::new(handshake, RequestBody::new(body));
    let sent = notify::send(&pid, move |env| {
        let version = if head.version == Version::HTTP_10 {
            atoms::http10()
        } else {
            atoms::http11()
        };
        let headers: Vec<Term<'_>> = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), Payload(value.as_bytes())).encode(env))
            .collect();
        let uri = &head.uri;
        let target = (uri.path(), uri.query().unwrap_or(""));
        (
            atoms::lite_request(),
            ResourceArc::new(exchange),
            (head.method.as_str(), target, version, headers),
        )
            .encode(env)
    });
    if !sent {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR);
    }
    match answer.await {
        Ok(Answer::Respond(response)) => response,
        Ok(Answer::Upgrade(response, limits)) => {
            *upgraded.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgrade, limits));
            response
        }
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn refusal(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Whole(Full::new(Bytes::new())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
