//! HTTPS on this machine or network: browsers give the microphone only to localhost and to HTTPS.
//!
//! `certificate` makes a certificate for a few names and addresses, or keeps the existing one as
//! long as it is usable. `qr` draws an address for a phone's camera.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod certificate;
mod files;
mod qr;

#[derive(Parser)]
#[command(name = "roomtone-local-https", about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes DIRECTORY/certificate.pem and DIRECTORY/key.pem, unless the existing ones are usable;
    /// prints which
    Certificate {
        /// The folder for both; made if necessary, readable by its owner only
        #[arg(long)]
        directory: PathBuf,
        /// The names and IP addresses under which people open the page
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Draws a text as a QR code
    Qr {
        /// Sets its own colours, so that it is dark on light in any terminal
        #[arg(long)]
        ansi: bool,
        /// The text
        text: String,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Certificate { directory, names } => certificate(&directory, &names),
        Command::Qr { ansi, text } => qr::draw(&text, ansi).map_err(|error| error.to_string()),
    };
    match result {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("roomtone-local-https: {error}");
            ExitCode::FAILURE
        }
    }
}

fn certificate(directory: &std::path::Path, names: &[String]) -> Result<String, String> {
    let now = time::OffsetDateTime::now_utc();
    if files::read(directory).is_some_and(|pair| certificate::will_do(&pair, names, now)) {
        return Ok("kept".into());
    }
    let pair = certificate::make(names, now).map_err(|error| format!("no certificate can be made: {error}"))?;
    files::write(directory, &pair).map_err(|error| format!("{} can't be written: {error}", directory.display()))?;
    Ok("made".into())
}
