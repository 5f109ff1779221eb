//! JSON to terms: objects are maps with binary keys (never atoms: a client may not make any), depth is serde_json's 128.

use std::fmt;

use rustler::types::atom;
use rustler::{Encoder, Env, Term};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Decodes a whole document.
pub fn decode<'a>(env: Env<'a>, json: &[u8]) -> Result<Term<'a>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let term = Value(env).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(term)
}

#[derive(Clone, Copy)]
struct Value<'a>(Env<'a>);

impl<'de, 'a> DeserializeSeed<'de> for Value<'a> {
    type Value = Term<'a>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Term<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, 'a> Visitor<'de> for Value<'a> {
    type Value = Term<'a>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Term<'a>, E> {
        Ok(value.encode(self.0))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Term<'a>, E> {
        Ok(value.encode(self.0))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Term<'a>, E> {
        Ok(value.encode(self.0))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Term<'a>, E> {
        // serde_json makes a float of an integer that has more than 64 bits. It would silently be another number.
        if value.abs() >= 9_223_372_036_854_775_808.0 {
            return Err(E::custom("number beyond 64 bits"));
        }
        Ok(value.encode(self.0))
    }

    fn visit_str<E>(self, value: &str) -> Result<Term<'a>, E> {
        Ok(value.encode(self.0))
    }

    fn visit_unit<E>(self) -> Result<Term<'a>, E> {
        Ok(atom::nil().encode(self.0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Term<'a>, A::Error> {
        let mut terms = Vec::new();
        while let Some(term) = items.next_element_seed(self)? {
            terms.push(term);
        }
        Ok(terms.encode(self.0))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Term<'a>, A::Error> {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        while let Some(key) = entries.next_key_seed(self)? {
            keys.push(key);
            values.push(entries.next_value_seed(self)?);
        }
        Term::map_from_term_arrays(self.0, &keys, &values).or_else(|_| last_wins(self.0, &keys, &values))
    }
}

/// With a key twice, the later one counts, as everywhere in JSON's world.
fn last_wins<'a, E: Error>(env: Env<'a>, keys: &[Term<'a>], values: &[Term<'a>]) -> Result<Term<'a>, E> {
    let mut map = Term::map_new(env);
    for (key, value) in keys.iter().zip(values) {
        map = map.map_put(key, value).map_err(|_| E::custom("not a map"))?;
    }
    Ok(map)
}
