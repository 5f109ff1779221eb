//! A WebSocket after its handshake.
//!
//! Both directions are bounded. Incoming: at most [`outgoing::WINDOW`](crate::outgoing::WINDOW) messages are on their way to the process; the socket isn't read
//! until the process has taken one, so TCP slows the client down. Outgoing: what waits is counted in bytes and messages; a
//! client that doesn't read is closed instead of buffered for.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustler::{Encoder, Env, LocalPid, Term};
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::limits::SocketLimits;
use crate::notify::{self, Payload};
use crate::outgoing::{Out, Outgoing};
use crate::shared::{Control, Shared};

mod atoms {
    rustler::atoms! {
        lite_ws, text, binary, ready, closed, remote, idle, slow_reader, oversized, malformed, protocol_error
    }
}

/// How long the client may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes that are read and thrown away at a time so that a reset doesn't overtake a close frame.
const LINGER_BYTES: usize = 512 << 10;
/// Messages that are read and thrown away at a time.
const LINGER_MESSAGES: usize = 2_048;
/// Between two such reads. TCP slows a client down that goes on sending: it can't make the server read faster than this, nor open
/// another connection in place of this one before [`CLOSE_TIMEOUT`] is over.
const LINGER_PAUSE: Duration = Duration::from_millis(50);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The connection broke, or we closed it.
    Closed,
    /// The client closed it with this code.
    Remote(u16),
    /// The client was silent.
    Idle,
    /// The client didn't read.
    SlowReader,
    /// A frame or message over the limit.
    Oversized,
    /// Text that isn't UTF-8.
    Malformed,
    /// Not the WebSocket protocol.
    ProtocolError,
}

impl Encoder for Ended {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        match self {
            Self::Closed => atoms::closed().encode(env),
            Self::Remote(code) => (atoms::remote(), *code).encode(env),
            Self::Idle => atoms::idle().encode(env),
            Self::SlowReader => atoms::slow_reader().encode(env),
            Self::Oversized => atoms::oversized().encode(env),
            Self::Malformed => atoms::malformed().encode(env),
            Self::ProtocolError => atoms::protocol_error().encode(env),
        }
    }
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Runs a WebSocket to its end.
pub async fn run(
    stream: TokioIo<Upgraded>,
    limits: SocketLimits,
    shared: &Shared,
    pid: &LocalPid,
    mut listener: watch::Receiver<Control>,
) -> Ended {
    let config = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(8 * 1024)
        .max_message_size(Some(limits.message_bytes))
        .max_frame_size(Some(limits.message_bytes));
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let (outgoing, queue) = Outgoing::new(limits.queue_bytes, limits.queue_messages);
    let outgoing = shared.socket.get_or_init(|| outgoing);
    notify::send(pid, |env| (atoms::lite_ws(), atoms::ready()).encode(env));

    let mut control = shared.control();
    tokio::select! {
        ended = exchange(&mut socket, queue, outgoing, &limits, pid) => ended,
        // The process is gone: there is nobody to say goodbye for, and the client shall reconnect.
        _ = control.wait_for(|control| *control == Control::Abort) => {
            if outgoing.overflown() { Ended::SlowReader } else { Ended::Closed }
        }
        _ = listener.wait_for(|control| *control == Control::Abort) => Ended::Closed,
    }
}

async fn exchange(
    socket: &mut Socket,
    mut queue: mpsc::Receiver<Out>,
    outgoing: &Outgoing,
    limits: &SocketLimits,
    pid: &LocalPid,
) -> Ended {
    let mut may_read = true;
    let mut deadline = Instant::now() + limits.idle_timeout();
    loop {
        tokio::select! {
            out = queue.recv() => {
                // The sender lives in `Shared`, which outlives this function.
                let Some(out) = out else { return Ended::Closed };
                match write(socket, out, &mut queue, outgoing).await {
                    Ok(None) => {}
                    Ok(Some(ended)) => return ended,
                    Err(error) => return failed(socket, &error).await,
                }
            }
            permit = outgoing.window.acquire(), if !may_read => {
                let Ok(permit) = permit else { return Ended::Closed };
                permit.forget();
                may_read = true;
                // While we didn't look, the client can't be blamed for silence.
                deadline = Instant::now() + limits.idle_timeout();
            }
            message = socket.next(), if may_read => {
                deadline = Instant::now() + limits.idle_timeout();
                match message {
                    None => return Ended::Closed,
                    Some(Ok(Message::Text(text))) => {
                        deliver(pid, atoms::text(), text.as_str().as_bytes());
                        may_read = false;
                    }
                    Some(Ok(Message::Binary(bytes))) => {
                        deliver(pid, atoms::binary(), &bytes);
                        may_read = false;
                    }
                    // tungstenite answers pings by itself; it writes the answer with the next flush.
                    Some(Ok(Message::Ping(_))) => {
                        if let Err(error) = socket.flush().await {
                            return failed(socket, &error).await;
                        }
                    }
                    Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Ok(Message::Close(frame))) => {
                        let code = frame.map_or(1005, |frame| frame.code.into());
                        finish(socket).await;
                        return Ended::Remote(code);
                    }
                    Some(Err(error)) => return failed(socket, &error).await,
                }
            }
            () = sleep_until(deadline), if may_read => {
                return close(socket, CloseCode::Away, Utf8Bytes::from_static("idle"), Ended::Idle).await;
            }
        }
    }
}

fn deliver(pid: &LocalPid, kind: rustler::Atom, data: &[u8]) {
    notify::send(pid, |env| (atoms::lite_ws(), kind, Payload(data)).encode(env));
}

/// Writes a message and whatever else waits, then flushes once.
async fn write(
    socket: &mut Socket,
    first: Out,
    queue: &mut mpsc::Receiver<Out>,
    outgoing: &Outgoing,
) -> Result<Option<Ended>, Error> {
    let mut next = Some(first);
    while let Some(out) = next {
        let bytes = out.bytes();
        let message = match out {
            Out::Text(text) => Message::Text(text),
            Out::Binary(data) => Message::Binary(data),
            Out::Close(code, reason) => {
                return Ok(Some(close(socket, CloseCode::from(code), reason, Ended::Closed).await));
            }
        };
        let written = socket.feed(message).await;
        outgoing.written(bytes);
        written?;
        next = queue.try_recv().ok();
    }
    socket.flush().await?;
    Ok(None)
}

async fn failed(socket: &mut Socket, error: &Error) -> Ended {
    let (code, reason, ended) = match error {
        Error::Capacity(_) => (CloseCode::Size, "message too big", Ended::Oversized),
        Error::Utf8(_) => (CloseCode::Invalid, "not UTF-8", Ended::Malformed),
        Error::Protocol(_) => (CloseCode::Protocol, "protocol error", Ended::ProtocolError),
        Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => return Ended::SlowReader,
        _ => return Ended::Closed,
    };
    close(socket, code, Utf8Bytes::from_static(reason), ended).await
}

/// Sends a close frame and gives the client a moment to answer it.
async fn close(socket: &mut Socket, code: CloseCode, reason: Utf8Bytes, ended: Ended) -> Ended {
    let closing = async {
        if socket
            .send(Message::Close(Some(CloseFrame { code, reason })))
            .await
            .is_ok()
        {
            linger(socket).await;
        }
    };
    // It ends now in any case.
    let _ended = timeout(CLOSE_TIMEOUT, closing).await;
    ended
}

/// Reads on, slowly, until the client has closed too: closing with unread bytes would reset the connection, and the client might
/// lose the close frame.
async fn linger(socket: &mut Socket) {
    let (mut messages, mut bytes) = (0, 0);
    while let Some(message) = socket.next().await {
        match message {
            Ok(Message::Close(_)) => {
                finish(socket).await;
                return;
            }
            Ok(message) => {
                messages += 1;
                bytes += message.len();
            }
            Err(_) => break,
        }
        if messages >= LINGER_MESSAGES || bytes >= LINGER_BYTES {
            (messages, bytes) = (0, 0);
            sleep(LINGER_PAUSE).await;
        }
    }
    // Not the WebSocket protocol any more, or more than it may be.
    let stream = socket.get_mut();
    let mut buffer = [0; 4096];
    let mut thrown_away = 0;
    loop {
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => thrown_away += read,
            _ => return,
        }
        if thrown_away >= LINGER_BYTES {
            thrown_away = 0;
            sleep(LINGER_PAUSE).await;
        }
    }
}

/// Writes the answer to the client's close frame.
async fn finish(socket: &mut Socket) {
    // tungstenite has queued it. The client is leaving: if it doesn't take the answer, it doesn't need it.
    let _flushed = timeout(CLOSE_TIMEOUT, socket.flush()).await;
}
