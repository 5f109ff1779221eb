//! Time-limited credentials (draft-uberti-behave-turn-rest) and stateless nonces.
//!
//! A username is `<expiry, Unix seconds>:<identity>`, its password the base64 of HMAC-SHA1 over the username. Everybody who
//! knows the secret can give them out, and the server has to remember none of them.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// RFC 8489 section 14.3.
const MAX_USERNAME: usize = 508;
/// Bytes of a nonce's signature. Guessing one gives nothing but a further try at the password.
const TAG: usize = 8;

/// The password of a username.
pub fn password(secret: &[u8], username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

/// The time until which a username is good, in Unix seconds, and whose it is.
pub(crate) fn read_username(username: &str) -> Option<(u64, &str)> {
    if username.len() > MAX_USERNAME {
        return None;
    }
    let (expiry, identity) = username.split_once(':')?;
    let digits = !expiry.is_empty() && expiry.bytes().all(|byte| byte.is_ascii_digit());
    Some((expiry.parse().ok().filter(|_| digits)?, identity))
}

/// Signs nonces: a nonce holds the time until which it is good, for one client's address.
pub(crate) struct Nonces {
    key: hmac::Key,
    origin_seconds: u64,
}

impl Nonces {
    /// `key`: random, and this server's own.
    pub(crate) fn new(key: [u8; 32], lifetime_seconds: u64) -> Nonces {
        Nonces {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            origin_seconds: lifetime_seconds,
        }
    }

    /// A nonce for `client` from `seconds` (any clock, but always the same) on.
    pub(crate) fn make(&self, seconds: u64, client: SocketAddr) -> String {
        let until = seconds + self.origin_seconds;
        let tag = hmac::sign(&self.key, &Self::signed(until, client));
        let tag = tag.as_ref()[..TAG]
            .iter()
            .fold(0, |all: u64, byte| all << 8 | u64::from(*byte));
        format!("{until:x}-{tag:016x}")
    }

    /// Whether a nonce is ours, this client's, and still good.
    pub(crate) fn is_good(&self, nonce: &str, seconds: u64, client: SocketAddr) -> bool {
        let until = nonce
            .split_once('-')
            .and_then(|(until, _)| u64::from_str_radix(until, 16).ok());
        until.is_some_and(|until| {
            let begin = until.checked_sub(self.origin_seconds);
            until > seconds && begin.is_some_and(|begin| self.make(begin, client) == nonce)
        })
    }

    fn signed(until: u64, client: SocketAddr) -> Vec<u8> {
        let mut bytes = until.to_be_bytes().to_vec();
        bytes.extend(client.port().to_be_bytes());
        match client {
            SocketAddr::V4(v4) => bytes.extend(v4.ip().octets()),
            SocketAddr::V6(v6) => bytes.extend(v6.ip().octets()),
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_that_of_other_servers() {
        // printf '1700000000:ada' | openssl dgst -sha1 -hmac 'secret' -binary | base64
        assert_eq!(password(b"secret", "1700000000:ada"), "lV8v9c9TsajfLXLkZIc5nnmtEng=");
    }

    #[test]
    fn usernames_have_a_time() {
        assert_eq!(read_username("17:ada:x"), Some((17, "ada:x")));
        for bad in [
            "",
            ":ada",
            "ada",
            "+17:ada",
            "-1:ada",
            "99999999999999999999:ada",
            "1 :ada",
        ] {
            assert_eq!(read_username(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_nonce_is_good_for_a_while_and_for_one_client() {
        let nonces = Nonces::new([7; 32], 600);
        let [one, other]: [SocketAddr; 2] = ["192.0.2.1:5", "[2001:db8::1]:5"].map(|text| text.parse().unwrap());
        let nonce = nonces.make(1000, one);
        assert!(nonces.is_good(&nonce, 1000, one) && nonces.is_good(&nonce, 1599, one));
        assert!(!nonces.is_good(&nonce, 1600, one));
        assert!(!nonces.is_good(&nonce, 1000, other));
        assert!(!Nonces::new([8; 32], 600).is_good(&nonce, 1000, one));
        for bad in ["", "-", "ffffffffffffffff-0", "1-1", "é-1"] {
            assert!(!nonces.is_good(bad, 0, one), "{bad}");
        }
    }
}
