//! `a=fingerprint` (RFC 8122): the hashes that the peer's certificate has to match.

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{SdpError, SdpErrorKind};

/// More fingerprints than any client sends.
const MAX_FINGERPRINTS: usize = 16;

/// In order of strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "sha-256" => Self::Sha256,
            "sha-384" => Self::Sha384,
            "sha-512" => Self::Sha512,
            _ => return None,
        })
    }

    fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha384 => Sha384::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }
}

/// The fingerprints of an offer that count: those of the strongest hash both sides know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprints {
    hash: Hash,
    values: Vec<Vec<u8>>,
}

impl Fingerprints {
    /// Reads the values of all `a=fingerprint` lines of a section.
    pub(crate) fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Self, SdpError> {
        let bad = |what: &str| SdpError::new(SdpErrorKind::BadFingerprint, what);
        let mut best: Option<Self> = None;
        let mut any = false;
        for line in lines.take(MAX_FINGERPRINTS) {
            any = true;
            let (name, value) = line
                .split_once(' ')
                .ok_or_else(|| bad("a=fingerprint needs a hash name and a value"))?;
            let Some(hash) = Hash::parse(name) else {
                continue; // RFC 8122 section 5: hashes that we don't know are skipped
            };
            let value = parse_hex(value.trim())
                .filter(|bytes| bytes.len() == hash.len())
                .ok_or_else(|| bad("a=fingerprint is not the hash that it names"))?;
            match &mut best {
                Some(best) if best.hash > hash => {}
                Some(best) if best.hash == hash => best.values.push(value),
                _ => {
                    best = Some(Self {
                        hash,
                        values: vec![value],
                    })
                }
            }
        }
        match (best, any) {
            (Some(best), _) => Ok(best),
            (None, true) => Err(bad(
                "every a=fingerprint uses a hash that isn't accepted here (sha-256, sha-384 and sha-512 are)",
            )),
            (None, false) => Err(SdpError::new(
                SdpErrorKind::NoFingerprint,
                "the offer has no a=fingerprint, so its DTLS certificate couldn't be checked",
            )),
        }
    }

    /// Is this DER certificate one of the announced ones?
    pub(crate) fn matches(&self, certificate: &[u8]) -> bool {
        let digest = self.hash.digest(certificate);
        self.values.contains(&digest)
    }
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    text.split(':')
        .map(|pair| match pair.as_bytes() {
            [high, low] => Some((nibble(*high)? << 4) | nibble(*low)?),
            _ => None,
        })
        .collect()
}

fn nibble(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// `sha-256 AB:CD:…` of a DER certificate of ours.
pub(crate) fn describe(certificate: &[u8]) -> String {
    let mut text = String::from("sha-256 ");
    for (index, byte) in Sha256::digest(certificate).iter().enumerate() {
        if index > 0 {
            text.push(':');
        }
        text.push_str(&format!("{byte:02X}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(hash: Hash, name: &str, data: &[u8]) -> String {
        let hex: Vec<String> = hash.digest(data).iter().map(|b| format!("{b:02x}")).collect();
        format!("{name} {}", hex.join(":"))
    }

    #[test]
    fn strongest_known_hash_decides() {
        let weak = line(Hash::Sha256, "SHA-256", b"other");
        let strong = line(Hash::Sha512, "sha-512", b"cert");
        let unknown = "sha-1 00:11".to_owned();
        let parsed =
            Fingerprints::parse([&weak, &strong, &unknown].map(|s| s.as_str()).into_iter()).expect("two usable lines");
        assert!(parsed.matches(b"cert"));
        assert!(!parsed.matches(b"other"));
        let alone = Fingerprints::parse([weak.as_str()].into_iter()).expect("usable");
        assert!(alone.matches(b"other"));
        let middle = line(Hash::Sha384, "sha-384", b"cert");
        assert!(
            Fingerprints::parse([middle.as_str()].into_iter())
                .expect("usable")
                .matches(b"cert")
        );
    }

    #[test]
    fn one_of_several_is_enough() {
        let a = line(Hash::Sha256, "sha-256", b"a");
        let b = line(Hash::Sha256, "sha-256", b"b");
        let both = Fingerprints::parse([a.as_str(), b.as_str()].into_iter()).expect("usable");
        assert!(both.matches(b"a") && both.matches(b"b") && !both.matches(b"c"));
    }

    #[test]
    fn unusable_lines_say_why() {
        let kind = |lines: &[&str]| Fingerprints::parse(lines.iter().copied()).expect_err("refused").kind();
        assert_eq!(kind(&[]), SdpErrorKind::NoFingerprint);
        assert_eq!(kind(&["sha-1 00:11"]), SdpErrorKind::BadFingerprint);
        assert_eq!(kind(&["sha-256"]), SdpErrorKind::BadFingerprint);
        assert_eq!(kind(&["sha-256 00:11"]), SdpErrorKind::BadFingerprint);
        assert_eq!(kind(&["sha-256 zz"]), SdpErrorKind::BadFingerprint);
        assert_eq!(kind(&["sha-256 +1:00"]), SdpErrorKind::BadFingerprint);
    }

    #[test]
    fn our_own_line_is_readable() {
        let text = describe(b"certificate");
        assert!(
            Fingerprints::parse([text.as_str()].into_iter())
                .expect("ours")
                .matches(b"certificate")
        );
    }
}
