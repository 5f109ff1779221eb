//! How good a listener's sound is: PESQ-WB and ESTOI, computed by their reference implementations in Python.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

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

/// The quality of some speech after its way through a server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Voices {
    /// The listener's sound against the sound that the server got: the mixer's part.
    pub mixed: Score,
    /// The listener's sound against the original speech: both codecs.
    pub heard: Score,
    /// The sound that the server got against the original speech: the talker's own Opus. No server can do better.
    pub sent: Score,
}

/// How good the sound of a room is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// One voice after the other, while the others keep quiet; means over the voices.
    pub alone: Option<Voices>,
    /// Several voices at the same time, against their sum.
    pub together: Option<Voices>,
}

/// One text, or several at the same time.
pub struct Recording {
    /// The original speech, by each.
    pub said: Vec<Arc<[f32]>>,
    /// The same after the talkers' own encoding.
    pub sent: Vec<Arc<[f32]>>,
    /// The sound that a listener got, with more around it.
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

/// A file against others: the degraded sound, and the voices whose sum it should be.
struct Pair {
    references: Vec<PathBuf>,
    degraded: PathBuf,
}

/// Judges recordings, with their files in this folder.
pub fn judge(python: &Path, folder: &Path, recordings: &[Recording]) -> Result<Quality, BenchError> {
    let mut pairs = Vec::new();
    for (number, recording) in recordings.iter().enumerate() {
        let write = |name: &str, pcm: &[f32]| -> Result<PathBuf, BenchError> {
            let path = folder.join(format!("judged-{number}-{name}.wav"));
            write_wav(&path, pcm).map_err(|error| BenchError::Quality(error.to_string()))?;
            Ok(path)
        };
        let each = |name: &str, all: &[Arc<[f32]>]| -> Result<Vec<PathBuf>, BenchError> {
            let all = all.iter().enumerate();
            all.map(|(voice, pcm)| write(&format!("{name}-{voice}"), pcm)).collect()
        };
        let (said, sent) = (each("said", &recording.said)?, each("sent", &recording.sent)?);
        let (sum, heard) = (write("sum", &sum(&recording.sent))?, write("heard", &recording.heard)?);
        for (references, degraded) in [(said.clone(), sum), (sent, heard.clone()), (said, heard)] {
            pairs.push(Pair { references, degraded });
        }
    }
    let scores = scores(python, &pairs)?;
    let of = |several: bool| {
        let chosen = scores.chunks_exact(3).zip(recordings);
        let chosen = chosen.filter(|(_, recording)| (recording.said.len() > 1) == several);
        let chosen: Vec<&[Score]> = chosen.map(|(scores, _)| scores).collect();
        (!chosen.is_empty()).then(|| Voices {
            sent: mean(&chosen, 0),
            mixed: mean(&chosen, 1),
            heard: mean(&chosen, 2),
        })
    };
    Ok(Quality {
        alone: of(false),
        together: of(true),
    })
}

fn mean(scores: &[&[Score]], which: usize) -> Score {
    let of =
        |part: fn(&Score) -> f64| scores.iter().map(|scores| part(&scores[which])).sum::<f64>() / scores.len() as f64;
    Score {
        pesq: of(|score| score.pesq),
        estoi: of(|score| score.estoi),
    }
}

fn sum(voices: &[Arc<[f32]>]) -> Vec<f32> {
    let mut sum = vec![0.0; voices.iter().map(|voice| voice.len()).max().unwrap_or(0)];
    for voice in voices {
        sum.iter_mut()
            .zip(voice.iter())
            .for_each(|(sum, sample)| *sum += sample);
    }
    sum
}

fn scores(python: &Path, pairs: &[Pair]) -> Result<Vec<Score>, BenchError> {
    let failed = |why: String| BenchError::Quality(why);
    let mut child = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let line = |pair: &Pair| {
        let paths = pair.references.iter().chain([&pair.degraded]);
        let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        paths.join("\t") + "\n"
    };
    if let Some(mut input) = child.stdin.take() {
        // A Python that has failed already has printed its own error.
        let _ = input.write_all(pairs.iter().map(line).collect::<String>().as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(failed(text.lines().last().unwrap_or("Python failed").to_owned()));
    }
    let scores: Vec<Score> =
        serde_json::from_slice(&output.stdout).map_err(|error| failed(format!("Python's answer: {error}")))?;
    if scores.len() != pairs.len() || scores.is_empty() {
        return Err(failed(format!("Python judged {} of {}", scores.len(), pairs.len())));
    }
    Ok(scores)
}
