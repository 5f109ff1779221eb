//! JSON Web Tokens (RFC 7519), HMAC SHA-256 only, by the crate `jsonwebtoken`.

use std::collections::HashMap;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rustler::{Atom, Encoder, Env, NifResult, Term};
use serde_json::{Map, Value};

mod atoms {
    rustler::atoms! { ok, expired, bad_signature, wrong_algorithm, malformed, bad_claims }
}

/// A token longer than this isn't looked at: ours are a few hundred bytes.
const LONGEST_TOKEN: usize = 4096;

#[rustler::nif]
fn token_sign(claims: HashMap<String, Term<'_>>, secret: &str) -> Result<String, Atom> {
    let claims: Map<String, Value> = claims
        .into_iter()
        .map(|(key, term)| value(term).map(|value| (key, value)))
        .collect::<Option<_>>()
        .ok_or(atoms::bad_claims())?;
    jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
    .map_err(|_| atoms::bad_claims())
}

#[rustler::nif]
fn token_verify<'a>(env: Env<'a>, token: &str, secret: &str, now: i64) -> Result<Term<'a>, Atom> {
    if token.len() > LONGEST_TOKEN {
        return Err(atoms::malformed());
    }
    let mut validation = Validation::new(Algorithm::HS256);
    // The caller's clock decides, to the second, and not the library's; so time is checked below.
    validation.validate_exp = false;
    validation.validate_aud = false;
    let claims =
        jsonwebtoken::decode::<Map<String, Value>>(token, &DecodingKey::from_secret(secret.as_bytes()), &validation)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => atoms::bad_signature(),
                ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => atoms::wrong_algorithm(),
                _ => atoms::malformed(),
            })?
            .claims;
    match claims.get("exp").and_then(Value::as_i64) {
        Some(expiry) if now < expiry => {}
        Some(_) => return Err(atoms::expired()),
        None => return Err(atoms::malformed()),
    }
    let pairs = claims
        .iter()
        .map(|(key, value)| Some((key.encode(env), term(env, value)?)))
        .collect::<Option<Vec<_>>>()
        .ok_or(atoms::malformed())?;
    Term::map_from_pairs(env, &pairs).map_err(|_| atoms::malformed())
}

// The few kinds of values that our claims have.
fn value(term: Term<'_>) -> Option<Value> {
    fn scalar(term: Term<'_>) -> NifResult<Value> {
        term.decode::<bool>()
            .map(Value::from)
            .or_else(|_| term.decode::<i64>().map(Value::from))
            .or_else(|_| term.decode::<String>().map(Value::from))
    }
    match term.decode::<Vec<Term<'_>>>() {
        Ok(list) => list
            .into_iter()
            .map(scalar)
            .collect::<NifResult<Vec<_>>>()
            .map(Value::from)
            .ok(),
        Err(_) => scalar(term).ok(),
    }
}

fn term<'a>(env: Env<'a>, value: &Value) -> Option<Term<'a>> {
    match value {
        Value::Bool(flag) => Some(flag.encode(env)),
        Value::Number(number) => number.as_i64().map(|number| number.encode(env)),
        Value::String(text) => Some(text.encode(env)),
        Value::Array(list) => {
            let terms = list.iter().map(|item| match item {
                Value::String(text) => Some(text.encode(env)),
                _ => None,
            });
            terms.collect::<Option<Vec<_>>>().map(|terms| terms.encode(env))
        }
        Value::Null | Value::Object(_) => None,
    }
}
