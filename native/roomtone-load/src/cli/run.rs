//! `roomtone-load run`: fill one room of a server that is there.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use roomtone_load::run::{ClientKind, RunConfig, Sound, run};
use roomtone_testkit::peer::Profiles;

use super::{interrupted, rate, runtime, seconds};

#[derive(Args)]
#[command(after_help = "Example:\n  \
    roomtone-load run --url http://127.0.0.1:4000/whip/lobby --token \"$(mix roomtone.token --room lobby --name load)\" \\\n    \
    --peers 50 --talkers 3 --seconds 20 --pid \"$(pgrep -n beam.smp)\"")]
pub struct Run {
    /// WHIP endpoint of the room, like http://127.0.0.1:4000/whip/lobby
    #[arg(long)]
    url: String,
    /// Bearer token for the room
    #[arg(long, env = "ROOMTONE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Participants, the talkers among them
    #[arg(long, short = 'n', default_value_t = 10)]
    peers: usize,
    /// How many of them talk
    #[arg(long, short = 'k', default_value_t = 3)]
    talkers: usize,
    /// Further participants that send the bursts by which latency is measured; 0 for the purest CPU figures
    #[arg(long, default_value_t = 1)]
    probes: usize,
    /// How many participants decode what they hear
    #[arg(long, default_value_t = 4)]
    ears: usize,
    /// How long to run once all have joined
    #[arg(long, short, default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Talkers send tones, each its own (the default)
    #[arg(long, conflicts_with = "wav")]
    tones: bool,
    /// Talkers send this recording, each from another place on
    #[arg(long, value_name = "FILE")]
    wav: Option<PathBuf>,
    /// Opus bit rate of the talkers
    #[arg(long, default_value_t = 32_000, value_parser = clap::value_parser!(u32).range(6_000..=510_000))]
    bitrate: u32,
    /// Process id of the server: reports its CPU time and memory
    #[arg(long)]
    pid: Option<u32>,
    /// Which WebRTC client
    #[arg(long, value_enum, default_value_t = Client::Light)]
    client: Client,
    /// SRTP profiles that the light client offers
    #[arg(long, value_enum, default_value_t = Srtp::Both)]
    srtp: Srtp,
    /// The light clients ask for stereo, which rooms with stereo then send
    #[arg(long)]
    stereo: bool,
    /// Joins begun a second; 0 is as fast as it goes
    #[arg(long, default_value_t = 0.0, value_parser = rate)]
    join_rate: f64,
    /// Joins, and later leaves, under way at the same time
    #[arg(long, default_value_t = 16)]
    joins_at_once: usize,
    /// Local address of the media sockets
    #[arg(long, default_value = "0.0.0.0")]
    bind: IpAddr,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// No progress on standard error
    #[arg(long, short)]
    quiet: bool,
    /// Threads; what the load takes, the server beside it hasn't got
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
}

#[derive(Clone, Copy, ValueEnum)]
enum Client {
    /// Ours: thousands in a process
    Light,
    /// The webrtc crate: an independent implementation, for a few peers
    Webrtc,
}

#[derive(Clone, Copy, ValueEnum)]
enum Srtp {
    /// AES-128-GCM, else AES-CM
    Both,
    /// AEAD_AES_128_GCM
    Gcm,
    /// SRTP_AES128_CM_HMAC_SHA1_80
    AesCm,
}

impl Run {
    fn config(&self) -> RunConfig {
        RunConfig {
            url: self.url.clone(),
            token: self.token.clone(),
            peers: self.peers,
            talkers: self.talkers,
            probes: self.probes,
            ears: self.ears,
            time: Duration::from_secs_f64(self.seconds),
            sound: self.wav.clone().map_or(Sound::Tones, Sound::Wav),
            bitrate: self.bitrate,
            pid: self.pid,
            client: match self.client {
                Client::Light => ClientKind::Light,
                Client::Webrtc => ClientKind::Webrtc,
            },
            profiles: match self.srtp {
                Srtp::Both => Profiles::Both,
                Srtp::Gcm => Profiles::Gcm,
                Srtp::AesCm => Profiles::AesCm,
            },
            stereo: self.stereo,
            join_rate: self.join_rate,
            joins_at_once: self.joins_at_once,
            bind: self.bind,
        }
    }

    pub fn execute(&self) -> ExitCode {
        let threads = usize::from(self.threads);
        let runtime = match runtime(threads) {
            Ok(runtime) => runtime,
            Err(code) => return code,
        };
        let show = |progress: &roomtone_load::run::Progress| {
            if !self.quiet {
                eprintln!("{progress}");
            }
        };
        match runtime.block_on(run(self.config(), show, interrupted("leaving…"))) {
            Ok(report) => {
                let text = if self.json {
                    serde_json::to_string_pretty(&report).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
                } else {
                    report.to_string()
                };
                // A reader that has gone away (`| head`) doesn't change the verdict.
                let _ = writeln!(std::io::stdout(), "{text}");
                if report.is_good() {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                }
            }
            Err(error) => {
                eprintln!("roomtone-load: {error}");
                ExitCode::from(2)
            }
        }
    }
}
