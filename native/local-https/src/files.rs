//! Stores a certificate and its key in files that only their owner can read.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::certificate::Pair;

const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// The stored pair; `None` if a file is missing, or if others may read the key.
pub fn read(directory: &Path) -> Option<Pair> {
    let key = directory.join(KEY);
    let mode = fs::metadata(&key).ok()?.permissions().mode();
    (mode & 0o077 == 0).then_some(())?;
    Some(Pair {
        certificate: fs::read_to_string(directory.join(CERTIFICATE)).ok()?,
        key: fs::read_to_string(key).ok()?,
    })
}

/// Writes both, in place of earlier ones.
pub fn write(directory: &Path, pair: &Pair) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    replace(&directory.join(KEY), &pair.key, 0o600)?;
    replace(&directory.join(CERTIFICATE), &pair.certificate, 0o644)
}

/// Replaces a file by a new one: it is never incomplete, and never has the old file's permissions
/// for a moment.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}
