//! How good a listener's sound is: PESQ-WB and ESTOI, computed by their reference implementations in Python.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::BenchError;
use roomtone_testkit::fixtures::write_wav;

const SCRIPT: &str = include_str!("../../bench/quality.py");

/// Two measures of one sound against another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// PESQ, wideband (ITU-T P.862.2): 1 bad to 4.64.
    pub pesq: f64,
    /// Extended short-time objective intelligibility: 0 to 1.
    pub estoi: f64,
}

/// What became of some texts on their way; means over the voices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// What a listener hears against what the server got: the mixer's part.
    pub mixed: Score,
    /// What a listener hears against what was said: both codecs.
    pub heard: Score,
    /// What the server got against what was said: the talker's codec.
    pub sent: Score,
}

/// One text.
pub struct Recording {
    /// What was said.
    pub said: Vec<f32>,
    /// What was left of it in the talker's packets.
    pub sent: Vec<f32>,
    /// What a listener got, with more around it.
    pub heard: Vec<f32>,
}

/// The Python that has what it takes; or what to do.
pub fn python(repository: &Path) -> Result<PathBuf, String> {
    let ours = repository.join("tmp/venv/bin/python");
    for python in [ours, PathBuf::from("python3")] {
        let check = Command::new(&python)
            .args(["-c", "import numpy, scipy, pesq, pystoi"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if check.is_ok_and(|status| status.success()) {
            return Ok(python);
        }
    }
    Err("no Python with the packages pesq and pystoi: `bin/setup --bench` installs them".into())
}

/// Judges recordings, with their files in this folder.
pub fn judge(python: &Path, folder: &Path, recordings: &[Recording]) -> Result<Quality, BenchError> {
    let failed = |why: String| BenchError::Quality(why);
    let mut order = Vec::new();
    for (number, recording) in recordings.iter().enumerate() {
        let write = |name: &str, pcm: &[f32]| -> Result<PathBuf, BenchError> {
            let path = folder.join(format!("judged-{number}-{name}.wav"));
            write_wav(&path, pcm).map_err(|error| failed(error.to_string()))?;
            Ok(path)
        };
        let said = write("said", &recording.said)?;
        let sent = write("sent", &recording.sent)?;
        let heard = write("heard", &recording.heard)?;
        order.extend([(said.clone(), sent.clone()), (sent, heard.clone()), (said, heard)]);
    }
    let mut child = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let lines: String = order
        .iter()
        .map(|(reference, degraded)| format!("{}\t{}\n", reference.display(), degraded.display()))
        .collect();
    if let Some(mut input) = child.stdin.take() {
        // A Python that has failed already says so itself.
        let _ = input.write_all(lines.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(failed(text.lines().last().unwrap_or("Python failed").to_owned()));
    }
    let scores: Vec<Score> =
        serde_json::from_slice(&output.stdout).map_err(|error| failed(format!("Python's answer: {error}")))?;
    if scores.len() != order.len() || scores.is_empty() {
        return Err(failed(format!("Python judged {} of {}", scores.len(), order.len())));
    }
    let mean = |which: usize| {
        let chosen = || scores.iter().skip(which).step_by(3);
        let count = chosen().count() as f64;
        Score {
            pesq: chosen().map(|score| score.pesq).sum::<f64>() / count,
            estoi: chosen().map(|score| score.estoi).sum::<f64>() / count,
        }
    };
    Ok(Quality {
        sent: mean(0),
        mixed: mean(1),
        heard: mean(2),
    })
}
