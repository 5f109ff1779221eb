//! Hashes of passwords: argon2id by the crate `argon2`, written as PHC strings (`$argon2id$v=19$m=…`).

use argon2::password_hash::{Error, PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use rustler::{Atom, Binary};

mod atoms {
    rustler::atoms! { bad_password, bad_salt, bad_hash, bad_cost }
}

/// Bytes of a password that are worth a hash.
const LONGEST_PASSWORD: usize = 1024;
/// Bytes of a salt: no less is one, no more fits.
const SALT: std::ops::RangeInclusive<usize> = 8..=48;
/// A hash that says it takes more than this (KiB, rounds, lanes) is not one of ours, and isn't tried.
const GREATEST_COST: (u32, u32, u32) = (256 * 1024, 10, 8);

// Dirty: meant to take some tens of milliseconds and megabytes. The caller bounds how many run at once.
#[rustler::nif(schedule = "DirtyCpu")]
fn password_hash(password: Binary<'_>, salt: Binary<'_>, cost: (u32, u32, u32)) -> Result<String, Atom> {
    if password.len() > LONGEST_PASSWORD {
        return Err(atoms::bad_password());
    }
    if !SALT.contains(&salt.len()) {
        return Err(atoms::bad_salt());
    }
    let salt = SaltString::encode_b64(salt.as_slice()).map_err(|_| atoms::bad_salt())?;
    let hash = hasher(cost)?
        .hash_password(password.as_slice(), &salt)
        .map_err(|_| atoms::bad_password())?;
    Ok(hash.to_string())
}

#[rustler::nif(schedule = "DirtyCpu")]
fn password_verify(password: Binary<'_>, hash: &str) -> Result<bool, Atom> {
    if password.len() > LONGEST_PASSWORD {
        return Err(atoms::bad_password());
    }
    let hash = PasswordHash::new(hash).map_err(|_| atoms::bad_hash())?;
    let params = Params::try_from(&hash).map_err(|_| atoms::bad_hash())?;
    // The hash names its cost, within bounds.
    let hasher = hasher((params.m_cost(), params.t_cost(), params.p_cost()))?;
    match hasher.verify_password(password.as_slice(), &hash) {
        Ok(()) => Ok(true),
        Err(Error::Password) => Ok(false),
        Err(_) => Err(atoms::bad_hash()),
    }
}

fn hasher((memory, rounds, lanes): (u32, u32, u32)) -> Result<Argon2<'static>, Atom> {
    if memory > GREATEST_COST.0 || rounds > GREATEST_COST.1 || lanes > GREATEST_COST.2 {
        return Err(atoms::bad_cost());
    }
    let params = Params::new(memory, rounds, lanes, None).map_err(|_| atoms::bad_cost())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}
