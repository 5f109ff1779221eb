//! The functions of `PhoenixLite.Native`. None of them waits: answers that take time come as messages
//! `{:lite_reply, id, result}`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use rustler::{Atom, Binary, Encoder, Env, LocalPid, NifResult, ResourceArc, Term};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::body::Read;
use crate::connection::ConnectionHandle;
use crate::exchange::{AnswerError, Exchange};
use crate::handshake::HandshakeError;
use crate::limits::{Limits, SocketLimits};
use crate::listener::{self, ListenerHandle};
use crate::notify::{self, Payload};
use crate::outgoing::{Out, SendError};
use crate::{runtime, tls};

mod atoms {
    rustler::atoms! {
        ok, more, error, timeout, closed, busy, overflow, lite_reply, already_sent, malformed, not_an_upgrade, bad_version,
        bad_key, invalid_address, not_utf8, not_a_websocket, already_attached, text, binary
    }
}

type Headers<'a> = Vec<(Binary<'a>, Binary<'a>)>;

/// How long a streamed response may wait for the client to read a piece, on top of the write time-out below it.
const PIECE_TIMEOUT: Duration = Duration::from_secs(120);

/// Certificates and key as PEM, for a listener that speaks TLS.
type Identity<'a> = Option<(Binary<'a>, Binary<'a>)>;

#[rustler::nif]
fn listen<'a>(
    env: Env<'a>,
    ip: &str,
    port: u16,
    limits: Limits,
    identity: Identity<'a>,
    turn: Option<&str>,
) -> NifResult<Term<'a>> {
    let Ok(ip) = ip.parse::<IpAddr>() else {
        return Ok((atoms::error(), atoms::invalid_address()).encode(env));
    };
    let tls = match identity
        .map(|(certificates, key)| tls::acceptor(&certificates, &key))
        .transpose()
    {
        Ok(tls) => tls,
        Err(words) => return Ok((atoms::error(), words).encode(env)),
    };
    let owner = env.pid();
    match listener::listen(SocketAddr::new(ip, port), limits, tls, turn.map(str::to_owned), owner) {
        Ok((handle, bound)) => {
            let handle = ResourceArc::new(handle);
            if handle.monitor(Some(env), &owner).is_none() {
                handle.stop();
            }
            Ok((atoms::ok(), handle, bound.port()).encode(env))
        }
        Err(error) => Ok((atoms::error(), error.to_string()).encode(env)),
    }
}

#[rustler::nif]
fn drain(listener: ResourceArc<ListenerHandle>) -> Atom {
    listener.drain();
    atoms::ok()
}

#[rustler::nif]
fn stop(listener: ResourceArc<ListenerHandle>) -> Atom {
    listener.stop();
    atoms::ok()
}

#[rustler::nif]
fn attach(env: Env<'_>, connection: ResourceArc<ConnectionHandle>, pid: LocalPid) -> Result<Atom, Atom> {
    // Monitor first: a process that died a moment ago must not get a connection.
    if connection.monitor(Some(env), &pid).is_none() {
        connection.shared.abort();
        return Err(atoms::closed());
    }
    if connection.attach(pid) {
        Ok(atoms::ok())
    } else {
        Err(atoms::already_attached())
    }
}

#[rustler::nif]
fn abort(connection: ResourceArc<ConnectionHandle>) -> Atom {
    connection.shared.abort();
    atoms::ok()
}

#[rustler::nif]
fn read_body(
    env: Env<'_>,
    exchange: ResourceArc<Exchange>,
    id: u64,
    length: usize,
    timeout_ms: u64,
) -> Result<Atom, Atom> {
    let pid = env.pid();
    let body = std::sync::Arc::clone(&exchange.body);
    let runtime = runtime::handle().map_err(|_| atoms::closed())?;
    runtime.spawn(async move {
        let read = match body.try_lock() {
            Ok(mut body) => Some(body.read(length.max(1), Duration::from_millis(timeout_ms)).await),
            Err(_) => None,
        };
        notify::send(&pid, |env| {
            let result = match read {
                Some(Read::End(data)) => (atoms::ok(), Payload(&data)).encode(env),
                Some(Read::More(data)) => (atoms::more(), Payload(&data)).encode(env),
                Some(Read::Timeout) => (atoms::error(), atoms::timeout()).encode(env),
                Some(Read::Broken) => (atoms::error(), atoms::closed()).encode(env),
                None => (atoms::error(), atoms::busy()).encode(env),
            };
            (atoms::lite_reply(), id, result).encode(env)
        });
    });
    Ok(atoms::ok())
}

#[rustler::nif]
fn respond(exchange: ResourceArc<Exchange>, status: u16, headers: Headers<'_>, body: Binary<'_>) -> Result<Atom, Atom> {
    let body = Bytes::copy_from_slice(body.as_slice());
    exchange
        .respond(status, &slices(&headers), body)
        .map(|()| atoms::ok())
        .map_err(answer_error)
}

#[rustler::nif]
fn respond_stream(exchange: ResourceArc<Exchange>, status: u16, headers: Headers<'_>) -> Result<Atom, Atom> {
    exchange
        .stream(status, &slices(&headers))
        .map(|()| atoms::ok())
        .map_err(answer_error)
}

#[rustler::nif]
fn piece(env: Env<'_>, exchange: ResourceArc<Exchange>, id: u64, data: Binary<'_>) -> Result<Atom, Atom> {
    let pid = env.pid();
    let sender = exchange.pieces().ok_or_else(atoms::closed)?;
    let data = Bytes::copy_from_slice(data.as_slice());
    let runtime = runtime::handle().map_err(|_| atoms::closed())?;
    runtime.spawn(async move {
        let sent = sender.send_timeout(data, PIECE_TIMEOUT).await.is_ok();
        // The body ends when the last sender is dropped, so this one goes before the process may say that it's done.
        drop(sender);
        notify::send(&pid, |env| {
            let result = if sent {
                atoms::ok().encode(env)
            } else {
                (atoms::error(), atoms::closed()).encode(env)
            };
            (atoms::lite_reply(), id, result).encode(env)
        });
    });
    Ok(atoms::ok())
}

#[rustler::nif]
fn finish(exchange: ResourceArc<Exchange>) -> Atom {
    exchange.finish();
    atoms::ok()
}

#[rustler::nif]
fn upgrade(exchange: ResourceArc<Exchange>, headers: Headers<'_>, limits: SocketLimits) -> Result<Atom, Atom> {
    exchange
        .upgrade(&slices(&headers), limits)
        .map(|()| atoms::ok())
        .map_err(answer_error)
}

#[rustler::nif]
fn socket_send(connection: ResourceArc<ConnectionHandle>, kind: Atom, data: Binary<'_>) -> Result<Atom, Atom> {
    let data = Bytes::copy_from_slice(data.as_slice());
    let out = if kind == atoms::text() {
        Out::Text(Utf8Bytes::try_from(data).map_err(|_| atoms::not_utf8())?)
    } else if kind == atoms::binary() {
        Out::Binary(data)
    } else {
        return Err(atoms::malformed());
    };
    queue(&connection, out)
}

#[rustler::nif]
fn socket_close(connection: ResourceArc<ConnectionHandle>, code: u16, reason: &str) -> Result<Atom, Atom> {
    // A control frame carries 125 bytes, two of which are the code.
    let end = (0..=reason.len().min(123))
        .rev()
        .find(|end| reason.is_char_boundary(*end))
        .unwrap_or(0);
    queue(&connection, Out::Close(code, Utf8Bytes::from(&reason[..end])))
}

#[rustler::nif]
fn socket_taken(connection: ResourceArc<ConnectionHandle>) -> Result<Atom, Atom> {
    connection
        .shared
        .socket
        .get()
        .ok_or_else(atoms::not_a_websocket)?
        .taken();
    Ok(atoms::ok())
}

fn queue(connection: &ConnectionHandle, out: Out) -> Result<Atom, Atom> {
    let socket = connection.shared.socket.get().ok_or_else(atoms::not_a_websocket)?;
    socket.send(out).map(|()| atoms::ok()).map_err(|error| match error {
        SendError::Overflow => {
            connection.shared.abort();
            atoms::overflow()
        }
        SendError::Closed => atoms::closed(),
    })
}

fn slices<'a>(headers: &Headers<'a>) -> Vec<(&'a [u8], &'a [u8])> {
    headers
        .iter()
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
        .collect()
}

fn answer_error(error: AnswerError) -> Atom {
    match error {
        AnswerError::AlreadySent => atoms::already_sent(),
        AnswerError::Malformed => atoms::malformed(),
        AnswerError::Closed => atoms::closed(),
        AnswerError::Handshake(HandshakeError::NotAnUpgrade) => atoms::not_an_upgrade(),
        AnswerError::Handshake(HandshakeError::Version) => atoms::bad_version(),
        AnswerError::Handshake(HandshakeError::Key) => atoms::bad_key(),
    }
}
