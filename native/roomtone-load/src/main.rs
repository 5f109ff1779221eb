//! The command line of the load generator; the work is in the library.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cli::{Bench, Run};

/// Load generator of Roomtone: real WebRTC peers (ICE, DTLS, SRTP, Opus) that join a voice room by WHIP.
#[derive(Parser)]
#[command(name = "roomtone-load", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fill one room, let some talk, and report what was heard and what it cost.
    ///
    /// Each peer has a UDP socket of its own. The talkers join first and send tones (or a recording); a probe sends a short
    /// tone each second, by which the added latency is measured; a few peers decode what they hear and check that every tone
    /// is there, and their own isn't. The exit status is 0 only if all joined, stayed, and heard what they should.
    Run(Box<Run>),
    /// Measure what rooms cost a server, how late and how good their sound is, beside Janus's AudioBridge.
    ///
    /// Each measurement starts a server of its own (Roomtone in production settings, Janus) on free ports, brings the people in, lets
    /// them talk (espeak-ng's voices, with a beep in each pause), and reads the server's clocks. The cases take turns. Results
    /// are kept after each step, and an interrupted bench goes on with --resume.
    Bench(Box<Bench>),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(run) => run.execute(),
        Command::Bench(bench) => bench.execute(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        let wrong = Cli::try_parse_from(["roomtone-load", "run", "--url", "x", "--tones", "--wav", "y"]);
        assert!(wrong.is_err());
        assert!(Cli::try_parse_from(["roomtone-load", "run", "--url", "x", "--seconds", "0"]).is_err());
    }
}
