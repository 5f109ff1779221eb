//! Terms to JSON. Structs are not ours: Elixir has replaced them by `{:"$json", binary}` before the second try.

use rustler::types::{ListIterator, MapIterator, atom, tuple};
use rustler::{Atom, Binary, Term, TermType};

mod atoms {
    rustler::atoms! {
        fragment = "$json", struct_key = "__struct__", nil, is_struct = "struct", depth, not_utf8, unsupported, big_integer
    }
}

/// Deeper terms are refused: the recursion has a stack of its own size.
const DEPTH: usize = 128;

/// Why a term has no JSON.
pub enum EncodeError<'a> {
    /// Over the limit.
    Large,
    /// This part of it can't be encoded.
    Term(Atom, Term<'a>),
}

/// Encodes `term` in at most about `limit` bytes.
pub fn encode(term: Term<'_>, limit: usize) -> Result<Vec<u8>, EncodeError<'_>> {
    let mut encoder = Json {
        out: Vec::with_capacity(256),
        limit,
    };
    encoder.value(term, 0)?;
    Ok(encoder.out)
}

struct Json {
    out: Vec<u8>,
    limit: usize,
}

impl Json {
    fn value<'a>(&mut self, term: Term<'a>, depth: usize) -> Result<(), EncodeError<'a>> {
        if depth > DEPTH {
            return Err(EncodeError::Term(atoms::depth(), term));
        }
        if self.out.len() > self.limit {
            return Err(EncodeError::Large);
        }
        match term.get_type() {
            TermType::Binary => self.string(term),
            TermType::Integer => self.integer(term),
            TermType::Float => self.float(term),
            TermType::Atom => self.atom(term),
            TermType::List => self.list(term, depth),
            TermType::Map => self.map(term, depth),
            TermType::Tuple => self.fragment(term),
            _ => Err(EncodeError::Term(atoms::unsupported(), term)),
        }
    }

    fn string<'a>(&mut self, term: Term<'a>) -> Result<(), EncodeError<'a>> {
        let text = term
            .decode::<&str>()
            .map_err(|_| EncodeError::Term(atoms::not_utf8(), term))?;
        self.text(text, term)
    }

    fn text<'a>(&mut self, text: &str, term: Term<'a>) -> Result<(), EncodeError<'a>> {
        serde_json::to_writer(&mut self.out, text).map_err(|_| EncodeError::Term(atoms::unsupported(), term))
    }

    fn integer<'a>(&mut self, term: Term<'a>) -> Result<(), EncodeError<'a>> {
        let written = if let Ok(number) = term.decode::<i64>() {
            serde_json::to_writer(&mut self.out, &number)
        } else if let Ok(number) = term.decode::<u64>() {
            serde_json::to_writer(&mut self.out, &number)
        } else {
            return Err(EncodeError::Term(atoms::big_integer(), term));
        };
        written.map_err(|_| EncodeError::Term(atoms::unsupported(), term))
    }

    fn float<'a>(&mut self, term: Term<'a>) -> Result<(), EncodeError<'a>> {
        let unsupported = || EncodeError::Term(atoms::unsupported(), term);
        let number = term.decode::<f64>().map_err(|_| unsupported())?;
        serde_json::to_writer(&mut self.out, &number).map_err(|_| unsupported())
    }

    fn atom<'a>(&mut self, term: Term<'a>) -> Result<(), EncodeError<'a>> {
        if atom::true_() == term {
            self.out.extend_from_slice(b"true");
        } else if atom::false_() == term {
            self.out.extend_from_slice(b"false");
        } else if atoms::nil() == term {
            self.out.extend_from_slice(b"null");
        } else {
            self.atom_text(term)?;
        }
        Ok(())
    }

    fn atom_text<'a>(&mut self, term: Term<'a>) -> Result<(), EncodeError<'a>> {
        let text = term
            .atom_to_string()
            .map_err(|_| EncodeError::Term(atoms::unsupported(), term))?;
        self.text(&text, term)
    }

    fn list<'a>(&mut self, term: Term<'a>, depth: usize) -> Result<(), EncodeError<'a>> {
        let unsupported = || EncodeError::Term(atoms::unsupported(), term);
        // The length fails for improper lists, which the iterator would cut short.
        term.list_length().map_err(|_| unsupported())?;
        self.out.push(b'[');
        let items: ListIterator<'a> = term.decode().map_err(|_| unsupported())?;
        for (at, item) in items.enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            self.value(item, depth + 1)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn map<'a>(&mut self, term: Term<'a>, depth: usize) -> Result<(), EncodeError<'a>> {
        if term.map_get(atoms::struct_key()).is_ok() {
            return Err(EncodeError::Term(atoms::is_struct(), term));
        }
        let entries = MapIterator::new(term).ok_or(EncodeError::Term(atoms::unsupported(), term))?;
        self.out.push(b'{');
        for (at, (key, value)) in entries.enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            self.key(key)?;
            self.out.push(b':');
            self.value(value, depth + 1)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn key<'a>(&mut self, key: Term<'a>) -> Result<(), EncodeError<'a>> {
        match key.get_type() {
            TermType::Binary => self.string(key),
            TermType::Atom => self.atom_text(key),
            TermType::Integer => {
                self.out.push(b'"');
                self.integer(key)?;
                self.out.push(b'"');
                Ok(())
            }
            _ => Err(EncodeError::Term(atoms::unsupported(), key)),
        }
    }

    fn fragment<'a>(&mut self, term: Term<'a>) -> Result<(), EncodeError<'a>> {
        let unsupported = || EncodeError::Term(atoms::unsupported(), term);
        match tuple::get_tuple(term).map_err(|_| unsupported())?.as_slice() {
            [tag, json] if atoms::fragment() == *tag => {
                let json = json.decode::<Binary<'a>>().map_err(|_| unsupported())?;
                self.out.extend_from_slice(&json);
                Ok(())
            }
            _ => Err(unsupported()),
        }
    }
}
