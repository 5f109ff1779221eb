//! JSON to terms and back.

mod decode;
mod encode;

use rustler::{Binary, Encoder, Env, Term};

/// Up to here the work takes well under a millisecond, what a function may take on a normal scheduler.
const SMALL: usize = 32 * 1024;

mod atoms {
    rustler::atoms! { ok, error, large }
}

#[rustler::nif]
fn json_encode<'a>(env: Env<'a>, term: Term<'a>) -> Term<'a> {
    encoded(env, term, SMALL)
}

/// The same for what [`json_encode`] says is `:large`.
#[rustler::nif(schedule = "DirtyCpu")]
fn json_encode_large<'a>(env: Env<'a>, term: Term<'a>) -> Term<'a> {
    encoded(env, term, usize::MAX)
}

fn encoded<'a>(env: Env<'a>, term: Term<'a>, limit: usize) -> Term<'a> {
    match encode::encode(term, limit) {
        Ok(json) => (atoms::ok(), crate::notify::Payload(&json)).encode(env),
        Err(encode::EncodeError::Large) => atoms::large().encode(env),
        Err(encode::EncodeError::Term(reason, term)) => (atoms::error(), reason, term).encode(env),
    }
}

#[rustler::nif]
fn json_decode<'a>(env: Env<'a>, json: Binary<'a>) -> Term<'a> {
    if json.len() > SMALL {
        atoms::large().encode(env)
    } else {
        decoded(env, &json)
    }
}

/// The same for what [`json_decode`] says is `:large`.
#[rustler::nif(schedule = "DirtyCpu")]
fn json_decode_large<'a>(env: Env<'a>, json: Binary<'a>) -> Term<'a> {
    decoded(env, &json)
}

fn decoded<'a>(env: Env<'a>, json: &[u8]) -> Term<'a> {
    match decode::decode(env, json) {
        Ok(term) => (atoms::ok(), term).encode(env),
        Err(error) => {
            let text = error.to_string();
            (atoms::error(), text, error.line(), error.column()).encode(env)
        }
    }
}
