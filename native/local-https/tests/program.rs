//! The program as users run it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs, process};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("roomtone-local-https-{}-{name}", process::id()));
        let _gone = fs::remove_dir_all(&path);
        Self(path)
    }

    fn certificate(&self, names: &[&str]) -> String {
        let directory = self.0.to_str().expect("UTF-8");
        run(&[&["certificate", "--directory", directory], names].concat())
    }

    fn mode(&self, name: &str) -> u32 {
        let metadata = fs::metadata(self.0.join(name)).expect("it is there");
        metadata.permissions().mode() & 0o777
    }

    fn key(&self) -> String {
        fs::read_to_string(self.0.join("key.pem")).expect("it is there")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn run(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_roomtone-local-https"))
        .args(arguments)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
}

#[test]
fn a_certificate_is_made_once_and_again_for_other_names() {
    let folder = Folder::new("again");
    assert_eq!(folder.certificate(&["localhost", "127.0.0.1"]), "made");
    let key = folder.key();
    assert_eq!(folder.certificate(&["127.0.0.1", "localhost"]), "kept");
    assert_eq!(folder.key(), key);
    assert_eq!(folder.certificate(&["localhost", "192.0.2.7"]), "made");
    assert_ne!(folder.key(), key);
}

#[test]
fn nobody_else_may_read_the_key_and_a_key_that_others_could_read_is_replaced() {
    let folder = Folder::new("mode");
    folder.certificate(&["localhost"]);
    assert_eq!((folder.mode("key.pem"), folder.mode("")), (0o600, 0o700));
    let key = folder.key();
    fs::set_permissions(folder.0.join("key.pem"), fs::Permissions::from_mode(0o644)).expect("it is ours");
    assert_eq!(folder.certificate(&["localhost"]), "made");
    assert_eq!(folder.mode("key.pem"), 0o600);
    assert_ne!(folder.key(), key);
}

#[test]
fn an_invalid_name_is_a_readable_error() {
    let folder = Folder::new("name");
    let output = Command::new(env!("CARGO_BIN_EXE_roomtone-local-https"))
        .args([
            "certificate",
            "--directory",
            folder.0.to_str().expect("UTF-8"),
            "küche.example",
        ])
        .output()
        .expect("it runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no certificate can be made"));
}

#[test]
fn a_qr_code_is_square_and_as_wide_as_its_standard_requires() {
    let picture = run(&["qr", "https://192.168.1.20:4443"]);
    let lines: Vec<_> = picture.lines().collect();
    // Version 2 is 25 modules wide, with 4 of quiet on each side; two rows make one line.
    assert_eq!(lines.len(), 33_usize.div_ceil(2));
    assert!(lines.iter().all(|line| line.chars().count() == 33), "{picture}");
}
