//! Roomtone as the bench starts it: in production settings, each run a fresh server.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use tokio::sync::mpsc;

use super::BenchError;
use super::case::Way;
use super::process::{Process, free_port, free_udp_ports, write_line};
use super::ticks::Ticks;

/// The script, and what it loads when the BEAM is to be busy; both in one folder.
const SCRIPTS: [(&str, &str); 2] = [
    ("server.exs", include_str!("../../bench/server.exs")),
    ("beam_load.exs", include_str!("../../bench/beam_load.exs")),
];
/// Its address, and the name that its certificate is for.
const HOST: &str = "127.0.0.1";
/// The prefix of each line of the script; everything else on standard output is somebody else's.
const PREFIX: &str = "bench> ";
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Under load the script waits for its turn as everybody does.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Making a heap of 1 GB takes seconds, or minutes on a busy machine. The script gives up before.
const LOAD_TIMEOUT: Duration = Duration::from_secs(250);

/// A running Roomtone.
pub struct Roomtone {
    // Dropped first: the server ends with its input.
    input: ChildStdin,
    lines: mpsc::UnboundedReceiver<String>,
    process: Process,
    /// Process number of the virtual machine.
    pub pid: u32,
    /// Where it speaks HTTP.
    pub url: String,
    /// The secret that signs its tokens.
    pub secret: String,
    /// Its certificate, PEM, where it has one.
    pub certificate: Option<String>,
}

/// Builds everything that has to be built, and reports it on standard error. Without it each start would look whether there is.
pub fn build(repository: &Path) -> Result<(), BenchError> {
    let failed = |why: String| BenchError::Server {
        name: "Roomtone",
        why,
        log: String::new(),
    };
    let status = Command::new("mix")
        .arg("compile")
        .current_dir(repository)
        .env("MIX_ENV", "prod")
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(|error| failed(format!("mix can't be started ({error}); bin/setup installs it")))?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(format!("`mix compile` failed ({status})")))
    }
}

impl Roomtone {
    /// Starts a server on free ports, with what participants need who come by this way, and returns when it takes requests.
    pub async fn start(repository: &Path, folder: &Path, way: Way) -> Result<Roomtone, BenchError> {
        let io = |error: std::io::Error| BenchError::Server {
            name: "Roomtone",
            why: error.to_string(),
            log: String::new(),
        };
        let (http, shards) = (free_port().map_err(io)?, shards());
        let udp = free_udp_ports(shards).map_err(io)?;
        for (name, text) in SCRIPTS {
            std::fs::write(folder.join(name), text).map_err(io)?;
        }
        let secret = random_text();
        let mut command = Command::new("mix");
        command
            .args(["run", "--no-compile", "--no-deps-check", "--no-start"])
            .arg(folder.join(SCRIPTS[0].0))
            .current_dir(repository)
            .env("MIX_ENV", "prod")
            .env("PORT", http.to_string())
            .env("UDP_PORTS", format!("{udp}-{}", udp + shards - 1))
            .env("PUBLIC_IP", HOST)
            .env("MAX_ROOMS", "10000")
            .env("MAX_PARTICIPANTS", "10000")
            .env("LIMIT_LOOPBACK", "off")
            .env("TOKEN_SECRET", &secret)
            .env("SECRET_KEY_BASE", random_text() + &random_text())
            .stdout(Stdio::piped());
        let mut certificate = None;
        if way.is_tls() {
            let made = rcgen::generate_simple_self_signed([HOST.to_owned()])
                .map_err(|error| io(std::io::Error::other(error)))?;
            let files = ["certificate.pem", "key.pem"].map(|name| folder.join(name));
            std::fs::write(&files[0], made.cert.pem()).map_err(io)?;
            std::fs::write(&files[1], made.signing_key.serialize_pem()).map_err(io)?;
            let [certificate_file, key_file] = files.map(|file| std::path::absolute(&file).unwrap_or(file));
            command
                .env("HTTPS_CERT_FILE", certificate_file)
                .env("HTTPS_KEY_FILE", key_file)
                .env("HTTPS_PORT", free_port().map_err(io)?.to_string())
                .env("PHX_HOST", HOST);
            certificate = Some(made.cert.pem());
        }
        let turn_port = match way {
            Way::Udp | Way::IceTcp | Way::TurnHttps => None,
            Way::TurnUdp | Way::TurnTcp => Some("TURN_PORT"),
            Way::TurnTls => Some("TURN_TLS_PORT"),
        };
        if let Some(name) = turn_port {
            command.env(name, free_port().map_err(io)?.to_string());
        }
        let (process, pipes) = Process::start("Roomtone", command, &folder.join("roomtone.log"))?;
        let (input, output) = pipes.ok_or_else(|| process.error("no pipes"))?;
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix(PREFIX)
                    && sender.send(line.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        let mut server = Roomtone {
            input,
            lines,
            process,
            pid: 0,
            url: format!("http://{HOST}:{http}"),
            secret,
            certificate,
        };
        let ready = server.line(START_TIMEOUT).await?;
        let pid = ready.strip_prefix("ready ").and_then(|pid| pid.parse().ok());
        server.pid = pid.ok_or_else(|| server.process.error(ready))?;
        Ok(server)
    }

    /// Opens a room of this kind; `slots`: how many talkers it forwards to each.
    pub async fn open(&mut self, room: &str, kind: &str, slots: usize) -> Result<(), BenchError> {
        self.ask(&format!("open {room} {kind} {slots}")).await.map(|_| ())
    }

    /// Says where somebody is.
    pub async fn place(&mut self, room: &str, who: &str, (x, y): (f64, f64)) -> Result<(), BenchError> {
        self.ask(&format!("place {room} {who} {x:.3} {y:.3}")).await.map(|_| ())
    }

    /// Keeps the BEAM as busy as can be from now on; returns when it is.
    pub async fn load(&mut self) -> Result<(), BenchError> {
        self.ask_patiently("load", LOAD_TIMEOUT).await.map(|_| ())
    }

    /// Counters of its shards.
    pub async fn ticks(&mut self) -> Result<Ticks, BenchError> {
        Ok(Ticks::read(&self.ask("stats").await?))
    }

    async fn ask(&mut self, command: &str) -> Result<Vec<String>, BenchError> {
        self.ask_patiently(command, ANSWER_TIMEOUT).await
    }

    async fn ask_patiently(&mut self, command: &str, timeout: Duration) -> Result<Vec<String>, BenchError> {
        if let Err(error) = write_line(&mut self.input, command) {
            return Err(self.process.error(format!("it doesn't listen: {error}")));
        }
        let mut answer = Vec::new();
        loop {
            let line = self.line(timeout).await?;
            match line.strip_prefix("error ") {
                Some(why) => return Err(self.process.error(format!("{command}: {why}"))),
                None if line == "ok" => return Ok(answer),
                None => answer.push(line),
            }
        }
    }

    async fn line(&mut self, timeout: Duration) -> Result<String, BenchError> {
        match tokio::time::timeout(timeout, self.lines.recv()).await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => {
                let why = self.process.ended().unwrap_or_else(|| "it closed its output".into());
                Err(self.process.error(why))
            }
            Err(_) => Err(self.process.error(format!("no answer in {} s", timeout.as_secs()))),
        }
    }
}

/// As many as Roomtone makes by itself: one a core.
fn shards() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(cores).unwrap_or(64).min(64)
}

fn random_text() -> String {
    (0..4).map(|_| format!("{:016x}", rand::random::<u64>())).collect()
}
