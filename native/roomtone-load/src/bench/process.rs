//! A server that the bench starts, and that ends with it.

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::BenchError;

/// How much of a log is shown when something goes wrong.
const LOG_LINES: usize = 12;
/// A server that was asked to end has this long to do so.
const PATIENCE: Duration = Duration::from_secs(3);

/// A running server.
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program. Its standard error goes into the log; standard input and output are the caller's.
    pub fn start(
        name: &'static str,
        mut command: Command,
        log: &Path,
    ) -> Result<(Process, Option<(ChildStdin, ChildStdout)>), BenchError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |error: &io::Error| BenchError::Server {
            name,
            why: format!("{program} can't be started: {error}"),
            log: String::new(),
        };
        let file = File::create(log).map_err(|error| failed(&error))?;
        let mut child = match command.stdin(Stdio::piped()).stderr(file).spawn() {
            Ok(child) => child,
            Err(error) => return Err(failed(&error)),
        };
        let pipes = child.stdin.take().zip(child.stdout.take());
        let log = log.to_owned();
        Ok((Process { name, child, log }, pipes))
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error of this server, with the end of its log.
    pub fn error(&self, why: impl Into<String>) -> BenchError {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        BenchError::Server {
            name: self.name,
            why: why.into(),
            log: lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"),
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(format!("it ended by itself ({status})"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let begin = Instant::now();
        // Its input was closed, or will never be read: give it a moment, then end it.
        while begin.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            if begin.elapsed() > PATIENCE / 2 {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a line, and the line's end.
pub fn write_line(input: &mut impl Write, line: &str) -> io::Result<()> {
    writeln!(input, "{line}")?;
    input.flush()
}

/// A TCP port on loopback that is free now.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The first of so many UDP ports in a row that are free now.
pub fn free_udp_ports(count: u16) -> io::Result<u16> {
    for first in (51_000..60_000).step_by(100) {
        let all: Result<Vec<UdpSocket>, _> = (first..first + count)
            .map(|port| UdpSocket::bind(("0.0.0.0", port)))
            .collect();
        if all.is_ok() {
            return Ok(first);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        "no free UDP ports from 51000 on",
    ))
}

/// This machine's address for the outside; nothing is sent to find it.
pub fn own_address() -> io::Result<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // An address of the documentation: any that isn't on this network will do.
    socket.connect("203.0.113.1:9")?;
    Ok(socket.local_addr()?.ip())
}
