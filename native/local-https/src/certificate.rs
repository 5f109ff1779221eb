//! Self-signed certificates: makes one, and checks whether one is still usable. Pure: the time is
//! an argument.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

/// Phones refuse certificates that are valid for longer than 825 days, and a short life costs
/// nothing here.
const VALID: Duration = Duration::days(180);
/// The clocks of phones may be slightly off.
const BEFORE: Duration = Duration::days(1);
/// A certificate that expires sooner is replaced.
const LEFT: Duration = Duration::days(14);

/// A certificate and its private key, both PEM.
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// A certificate for `names` (host names and IP addresses), valid from `now`.
///
/// # Errors
/// A name that isn't ASCII.
pub fn make(names: &[String], now: OffsetDateTime) -> Result<Pair, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Roomtone on this machine");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = now - BEFORE;
    params.not_after = now + VALID;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    Ok(Pair {
        certificate,
        key: key.serialize_pem(),
    })
}

/// Whether `pair` is a certificate for exactly `names` with its key, and stays valid for a while.
pub fn will_do(pair: &Pair, names: &[String], now: OffsetDateTime) -> bool {
    let (Ok((_rest, pem)), Ok(key)) = (
        parse_x509_pem(pair.certificate.as_bytes()),
        KeyPair::from_pem(&pair.key),
    ) else {
        return false;
    };
    let Ok(certificate) = pem.parse_x509() else {
        return false;
    };
    let validity = certificate.validity();
    let valid = validity.not_before.timestamp() <= now.unix_timestamp()
        && validity.not_after.timestamp() >= (now + LEFT).unix_timestamp();
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else {
        return false;
    };
    let has: BTreeSet<String> = alternatives.value.general_names.iter().map(text).collect();
    let wants: BTreeSet<String> = names.iter().map(|name| canonical(name)).collect();
    valid && has == wants && certificate.public_key().subject_public_key.data == key.public_key_raw()
}

fn text(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(bytes) => address(bytes).map_or_else(String::new, |address| address.to_string()),
        _ => String::new(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// An IPv6 address can be written in several ways.
fn canonical(name: &str) -> String {
    name.parse::<IpAddr>()
        .map_or_else(|_| name.to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_new_certificate_is_usable_for_its_names_in_any_order() {
        let now = OffsetDateTime::now_utc();
        let pair = make(&names(&["localhost", "192.0.2.7", "2001:db8::1"]), now).unwrap();
        assert!(will_do(
            &pair,
            &names(&["2001:db8:0::1", "localhost", "192.0.2.7"]),
            now
        ));
    }

    #[test]
    fn not_for_other_names() {
        let now = OffsetDateTime::now_utc();
        let pair = make(&names(&["localhost", "192.0.2.7"]), now).unwrap();
        assert!(!will_do(&pair, &names(&["localhost", "192.0.2.8"]), now));
        assert!(!will_do(&pair, &names(&["localhost"]), now));
        assert!(!will_do(
            &pair,
            &names(&["localhost", "192.0.2.7", "voice.example"]),
            now
        ));
    }

    #[test]
    fn an_expired_or_soon_expiring_or_future_certificate_is_not_usable() {
        let now = OffsetDateTime::now_utc();
        let local = names(&["localhost"]);
        let pair = make(&local, now).unwrap();
        assert!(will_do(&pair, &local, now + VALID - LEFT - Duration::hours(1)));
        assert!(!will_do(&pair, &local, now + VALID - LEFT + Duration::hours(1)));
        assert!(!will_do(&pair, &local, now + VALID + Duration::hours(1)));
        assert!(!will_do(&pair, &local, now - BEFORE - Duration::hours(1)));
    }

    #[test]
    fn a_certificate_with_another_key_or_garbage_is_not_usable() {
        let now = OffsetDateTime::now_utc();
        let local = names(&["localhost"]);
        let (one, other) = (make(&local, now).unwrap(), make(&local, now).unwrap());
        let mixed = Pair {
            certificate: one.certificate.clone(),
            key: other.key,
        };
        assert!(!will_do(&mixed, &local, now));
        for broken in ["", "hello", &one.certificate[..40]] {
            let certificate = broken.to_owned();
            let key = one.key.clone();
            assert!(!will_do(&Pair { certificate, key }, &local, now));
        }
    }
}
