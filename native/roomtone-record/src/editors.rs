//! Files by which audio editors open a recording: the timeline as labels for Audacity, and the mix and the tracks as a project for
//! REAPER.
//!
//! Labels are appended as things happen, so they are whole after a crash, too. The project is written anew when a track begins, and a
//! last time at the end, which gives each file its length and has all marks.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Labels of Audacity: `Import > Labels`.
const LABELS: &str = "labels.txt";
/// A project of REAPER.
const PROJECT: &str = "project.rpp";
/// The most marks of a project.
const MOST_MARKS: usize = 1_000;
/// The length of a file that hasn't ended, in seconds: editors show as much of it as there is.
const OPEN_END: f64 = 86_400.0;

pub(crate) struct Editors {
    folder: PathBuf,
    labels: File,
    /// The names of tracks and their files, relative to the folder.
    tracks: Vec<(String, String)>,
    /// Seconds, and the text.
    marks: Vec<(f64, String)>,
    written: u64,
    project: u64,
}

impl Editors {
    /// Makes the file of labels.
    ///
    /// # Errors
    ///
    /// The file exists, or can't be made.
    pub(crate) fn create(folder: &Path) -> io::Result<Editors> {
        let labels = File::options()
            .append(true)
            .create_new(true)
            .open(folder.join(LABELS))?;
        Ok(Editors {
            folder: folder.to_owned(),
            labels,
            tracks: Vec::new(),
            marks: Vec::new(),
            written: 0,
            project: 0,
        })
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.project
    }

    /// Takes an entry of the timeline.
    pub(crate) fn enter(&mut self, entry: &Value) -> io::Result<()> {
        let Some(ms) = entry["ms"].as_f64() else { return Ok(()) };
        let seconds = ms / 1_000.0;
        if entry["event"] == "mark" && self.marks.len() < MOST_MARKS {
            self.marks.push((seconds, one_line(text(entry, "text"))));
        }
        let Some(label) = label(entry) else { return Ok(()) };
        let line = format!("{seconds:.3}\t{seconds:.3}\t{}\n", one_line(&label));
        self.labels.write_all(line.as_bytes())?;
        self.written += line.len() as u64;
        Ok(())
    }

    /// A file of sound begins.
    pub(crate) fn track(&mut self, name: &str, file: &str) -> io::Result<()> {
        self.tracks.push((one_line(name), file.to_owned()));
        self.write(OPEN_END)
    }

    /// The files have ended, and are this long (seconds).
    pub(crate) fn finish(&mut self, seconds: f64) -> io::Result<()> {
        self.write(seconds)
    }

    fn write(&mut self, seconds: f64) -> io::Result<()> {
        let project = self.project(seconds);
        // A crash leaves the former one.
        let new = self.folder.join("project.rpp.new");
        let written = fs::write(&new, &project).and_then(|()| fs::rename(&new, self.folder.join(PROJECT)));
        match written {
            Ok(()) => self.project = project.len() as u64,
            Err(_) => _ = fs::remove_file(&new),
        }
        written
    }

    fn project(&self, seconds: f64) -> String {
        let mut text = String::from("<REAPER_PROJECT 0.1 \"6.0\" 0\n  SAMPLERATE 48000 0 0\n");
        // Writing to a text can't fail.
        for (number, (at, mark)) in self.marks.iter().enumerate() {
            let _ = writeln!(text, "  MARKER {} {at:.3} {} 0", number + 1, quoted(mark));
        }
        for (name, file) in &self.tracks {
            let _ = writeln!(
                text,
                "  <TRACK\n    NAME {name}\n    <ITEM\n      POSITION 0\n      LENGTH {seconds:.3}\n      LOOP 0\n      NAME {name}\n      \
                 <SOURCE OPUS\n        FILE {}\n      >\n    >\n  >",
                quoted(file),
                name = quoted(name),
            );
        }
        text.push_str(">\n");
        text
    }
}

// The label of an entry; `None` of one that concerns the files.
fn label(entry: &Value) -> Option<String> {
    let who = text(entry, "identity");
    let label = match text(entry, "event") {
        "mark" => text(entry, "text").to_owned(),
        "caption" => format!("{who}: {}", text(entry, "text")),
        "here" => format!("{who} is here"),
        "role" => format!("{who} is a {}", text(entry, "role")),
        "lost" => format!("{} ms are lost", entry["lost_ms"]),
        event @ ("joined" | "left" | "muted" | "unmuted" | "silenced" | "unsilenced") => format!("{who} {event}"),
        _ => return None,
    };
    Some(label)
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry[key].as_str().unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

// REAPER ends a text at the quotation mark that it begins with, and knows three of them.
fn quoted(text: &str) -> String {
    match ['"', '\'', '`'].into_iter().find(|mark| !text.contains(*mark)) {
        Some(mark) => format!("{mark}{text}{mark}"),
        None => format!("`{}`", text.replace('`', "'")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_and_texts_stay_within_their_line_and_their_quotation_marks() {
        let folder = std::env::temp_dir().join(format!("roomtone-editors-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut editors = Editors::create(&folder).unwrap();
        editors.track("Ada \"L\"\n>", "tracks/01-Ada.ogg").unwrap();
        editors
            .enter(&json!({"ms": 1500, "event": "joined", "identity": "a\tb\n0\t0\tx"}))
            .unwrap();
        editors
            .enter(&json!({"ms": 2000, "event": "mark", "text": "it's \"here\"\n<TRACK"}))
            .unwrap();
        editors
            .enter(&json!({"ms": 2000, "event": "track", "file": "x"}))
            .unwrap();
        editors.enter(&json!({"event": "mark"})).unwrap();
        editors.finish(3.25).unwrap();
        let labels = fs::read_to_string(folder.join(LABELS)).unwrap();
        assert_eq!(
            labels,
            "1.500\t1.500\ta b 0 0 x joined\n2.000\t2.000\tit's \"here\" <TRACK\n"
        );
        let project = fs::read_to_string(folder.join(PROJECT)).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(editors.bytes(), (labels.len() + project.len()) as u64);
        let lines: Vec<&str> = project.lines().map(str::trim).collect();
        assert!(lines.contains(&"MARKER 1 2.000 `it's \"here\" <TRACK` 0"), "{project}");
        assert!(lines.contains(&"NAME 'Ada \"L\" >'"), "{project}");
        assert!(lines.contains(&"LENGTH 3.250"), "{project}");
        let opened = lines.iter().filter(|line| line.starts_with('<')).count();
        let closed = lines.iter().filter(|line| **line == ">").count();
        assert_eq!((opened, closed), (4, 4), "{project}");
    }
}
