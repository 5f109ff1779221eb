//! The nodes: those of `bin/cluster`, and a server that needs no other.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use roomtone_load::run::usage;

/// Ports beside those of anything that runs here by default.
const PORT: u16 = 4300;
const ALONE_PORT: u16 = 4390;
const UDP_PORTS: u16 = 51_000;
const PATIENCE: Duration = Duration::from_secs(60);

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A cluster of two web nodes and three media nodes.
pub struct Cluster {
    folder: PathBuf,
    settings: Vec<(String, String)>,
    pub secret: String,
}

/// The settings of all nodes, those of `bin/cluster` included.
fn settings(folder: &Path, secret: &str, dev: bool) -> Vec<(String, String)> {
    let random = || {
        (0..4)
            .map(|_| format!("{:016x}", rand::random::<u64>()))
            .collect::<String>()
    };
    let mut settings = vec![
        ("CLUSTER_DIR", folder.display().to_string()),
        ("PORT", PORT.to_string()),
        ("UDP_PORTS", UDP_PORTS.to_string()),
        ("PUBLIC_IP", "127.0.0.1".to_owned()),
        ("MAX_ROOMS", "10000".to_owned()),
        ("MAX_PARTICIPANTS", "10000".to_owned()),
        ("LIMIT_LOOPBACK", "off".to_owned()),
        ("ROOMTONE_NATIVE", "built".to_owned()),
        ("TOKEN_SECRET", secret.to_owned()),
        ("SECRET_KEY_BASE", random() + &random()),
        ("MIX_ENV", if dev { "dev" } else { "prod" }.to_owned()),
    ];
    if dev {
        settings.push(("ROOMTONE_CARGO_PROFILE", "dev".to_owned()));
    }
    settings
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

impl Cluster {
    /// A cluster that isn't started yet, with its data and logs in this folder.
    pub fn new(folder: &Path, dev: bool) -> Cluster {
        let secret: String = (0..4).map(|_| format!("{:016x}", rand::random::<u64>())).collect();
        Cluster {
            folder: folder.to_owned(),
            settings: settings(folder, &secret, dev),
            secret,
        }
    }

    fn script(&self, arguments: &[&str], more: &[(&str, &str)]) -> Result<(), Failure> {
        let mut command = Command::new("bin/cluster");
        command
            .args(arguments)
            .envs(self.settings.iter().cloned())
            .envs(more.iter().copied());
        let done = command.stdin(Stdio::null()).output()?;
        if done.status.success() {
            return Ok(());
        }
        Err(format!(
            "bin/cluster {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&done.stderr)
        )
        .into())
    }

    /// Starts all nodes with further settings. The data of an earlier cluster are gone.
    pub fn start(&self, more: &[(&str, &str)]) -> Result<(), Failure> {
        self.stop()?;
        match std::fs::remove_dir_all(self.folder.join("data")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        self.script(&["start", "media1", "media2", "media3", "web1", "web2"], more)?;
        self.ready()
    }

    pub fn start_again(&self, node: &str, more: &[(&str, &str)]) -> Result<(), Failure> {
        self.script(&["start", node], more)?;
        self.ready()
    }

    /// Waits until both web nodes are attached to all media nodes, and agree on who has which room.
    fn ready(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        let attached = "length(Roomtone.Cluster.Table.reports())";
        // A node that doesn't know the other would have them all.
        let homes = "for n <- 1..40, do: Roomtone.Cluster.Control.node_of(Integer.to_string(n)) |> Atom.to_string() |> String.at(3)";
        loop {
            let mut seen = Vec::new();
            for web in ["web1", "web2"] {
                seen.push((self.call(web, attached)?, self.call(web, homes)?));
            }
            if seen.iter().all(|(media, _)| media.trim() == "3") && seen[0].1 == seen[1].1 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("the nodes haven't found each other: {seen:?}").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn restart(&self, node: &str) -> Result<(), Failure> {
        self.script(&["restart", node], &[])
    }

    pub fn stop(&self) -> Result<(), Failure> {
        self.script(&["stop", "web1", "web2", "media1", "media2", "media3"], &[])
    }

    pub fn kill(&self, node: &str) -> Result<(), Failure> {
        self.script(&["kill", node], &[])
    }

    /// The CPU seconds of all nodes so far.
    pub fn cpu(&self) -> Result<f64, Failure> {
        let mut sum = 0.0;
        for node in ["web1", "web2", "media1", "media2", "media3"] {
            let pid = std::fs::read_to_string(self.folder.join(format!("{node}.pid")))?;
            let usage = usage(pid.trim().parse()?).ok_or_else(|| format!("{node} has ended"))?;
            sum += usage.cpu_seconds;
        }
        Ok(sum)
    }

    /// The WHIP endpoints of a web node.
    pub fn whip(&self, web: usize) -> String {
        format!("http://127.0.0.1:{}/whip", PORT as usize + 10 + web)
    }

    /// The media node whose port is in an answer.
    pub fn media_of(&self, answer: &str) -> Option<String> {
        let port = answer
            .lines()
            .find(|line| line.contains("candidate:"))?
            .split(' ')
            .nth(5)?
            .parse::<u16>()
            .ok()?;
        let number = port.checked_sub(UDP_PORTS + 100)? / 10;
        (1..=3).contains(&number).then(|| format!("media{number}"))
    }

    /// The value of an expression in Elixir on a node, as text.
    pub fn call(&self, node: &str, expression: &str) -> Result<String, Failure> {
        let code = format!(
            "{{value, _}} = :rpc.call(:\"{node}@127.0.0.1\", Code, :eval_string, [{}])\nIO.puts(value)",
            serde_json::to_string(expression)?
        );
        self.elixir(&code)
    }

    /// Runs code on a hidden node beside the cluster, and returns its output.
    pub fn elixir(&self, code: &str) -> Result<String, Failure> {
        let name = format!("bench{}@127.0.0.1", std::process::id());
        let done = Command::new("elixir")
            .args(["--hidden", "--name", &name, "-e", code])
            .env(
                "ELIXIR_ERL_OPTIONS",
                format!("-args_file {}", self.folder.join("vm.args").display()),
            )
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .stdin(Stdio::null())
            .output()?;
        if done.status.success() {
            return Ok(String::from_utf8(done.stdout)?);
        }
        Err(String::from_utf8_lossy(&done.stderr).into_owned().into())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("the cluster doesn't end: {error}");
        }
    }
}

/// A server that needs no other, with the same secret.
pub struct Alone(Child);

impl Alone {
    pub fn start(folder: &Path, secret: &str, dev: bool) -> Result<Alone, Failure> {
        let log = std::fs::File::create(folder.join("alone.log"))?;
        let child = Command::new("elixir")
            .args(["-S", "mix", "run", "--no-compile", "--no-halt"])
            .envs(settings(folder, secret, dev))
            .env("PORT", ALONE_PORT.to_string())
            .env("PHX_SERVER", "1")
            .env("UDP_PORTS", (UDP_PORTS + 200).to_string())
            .env("SHARDS", "1")
            .env("DATA_DIR", "off")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let alone = Alone(child);
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", ALONE_PORT)).is_err() {
            if Instant::now() > deadline {
                return Err("the server doesn't answer; see alone.log".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(alone)
    }

    pub fn whip(&self) -> String {
        format!("http://127.0.0.1:{ALONE_PORT}/whip")
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
