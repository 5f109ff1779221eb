//! The commands, and what they have in common.

mod bench;
mod run;

use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

pub use bench::Bench;
pub use run::Run;

fn seconds(text: &str) -> Result<f64, String> {
    number(text, 0.1..=86_400.0)
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, 0.0..=100_000.0)
}

fn number(text: &str, range: std::ops::RangeInclusive<f64>) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(format!("not in {} to {}", range.start(), range.end()))
    }
}

fn runtime(threads: usize) -> Result<Runtime, ExitCode> {
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.map_err(|error| {
        eprintln!("roomtone-load: no threads: {error}");
        ExitCode::from(2)
    })
}

/// Ready at the first Ctrl-C (or SIGTERM), after which this is said; the second ends the process.
async fn interrupted(word: &str) {
    // Where there is no signal to wait for, there is none.
    if asked_to_stop().await.is_err() {
        std::future::pending::<()>().await;
    }
    eprintln!("{word} (once more to stop at once)");
    tokio::spawn(async {
        if asked_to_stop().await.is_ok() {
            std::process::exit(130);
        }
    });
}

async fn asked_to_stop() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
