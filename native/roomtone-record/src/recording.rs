//! One recording: a folder with the mix, a track for each talker, and a timeline.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use roomtone_engine::{PeerId, Tap, TapBatch};
use serde_json::{Value, json};
use thiserror::Error;

use crate::editors::Editors;
use crate::ogg_opus::{OggOpus, Track};
use crate::track::{Incoming, TimeLine};

/// The most tracks of a recording: as many files are open.
const MOST_TRACKS: usize = 200;
/// The length of a batch of its taps: so much is lost at the end. And the sound that may wait for a slow disk.
const BATCH: Duration = Duration::from_millis(100);
const WAITING: Duration = Duration::from_secs(10);
/// The longest name of a talker in a file's name, in characters.
const LONGEST_NAME: usize = 40;

/// The wishes for a recording.
#[derive(Clone, Debug)]
pub struct RecordingConfig {
    /// Its folder, which is made. It must not exist yet.
    pub folder: PathBuf,
    /// The name of the room, for the comments of the files.
    pub room: String,
    /// The time of its beginning, as ISO 8601, for the same.
    pub date: String,
    /// Whether the mix is recorded.
    pub mix: bool,
    /// Whether each talker is recorded.
    pub tracks: bool,
    /// Whether the mix is stereo.
    pub stereo: bool,
}

/// Why a recording can't begin.
#[derive(Debug, Error)]
pub enum StartError {
    /// Nothing to record.
    #[error("a recording has the mix, tracks, or both")]
    Nothing,
    /// The folder or the first file can't be made.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Something that the caller tells a recording.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// The name of a talker.
    Name(PeerId, String),
    /// An entry of the timeline.
    Entry(Value),
}

/// A recording that runs.
pub(crate) struct Files {
    config: RecordingConfig,
    origin: Instant,
    timeline: File,
    timeline_bytes: u64,
    editors: Editors,
    mix: Option<Stream>,
    mix_tap: Option<Tap>,
    tracks: HashMap<String, Stream>,
    tracks_tap: Option<Tap>,
    names: HashMap<PeerId, String>,
    /// The next batches of the two taps.
    next: [u64; 2],
    /// Milliseconds that were lost because the disk was slow, of both taps.
    pub(crate) lost_ms: u64,
}

struct Stream {
    file: OggOpus,
    line: TimeLine,
    /// The talker of the last packet: somebody who comes back is another.
    talker: Option<PeerId>,
    /// Whether the file stands where its packets belong, to the sample.
    aligned: bool,
}

impl Files {
    /// Makes the folder, the timeline and the file of the mix.
    pub(crate) fn create(config: RecordingConfig, now: Instant) -> Result<Files, StartError> {
        if !config.mix && !config.tracks {
            return Err(StartError::Nothing);
        }
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StartError::Io { path, source }
        };
        let folder = &config.folder;
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(failed(parent))?;
        }
        fs::create_dir(folder).map_err(failed(folder))?;
        if config.tracks {
            let tracks = folder.join("tracks");
            fs::create_dir(&tracks).map_err(failed(&tracks))?;
        }
        let path = folder.join("timeline.jsonl");
        let timeline = File::options()
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(failed(&path))?;
        let mut editors = Editors::create(folder).map_err(failed(folder))?;
        let path = folder.join("mix.ogg");
        let tap = || Tap::polled(now, BATCH, WAITING);
        let mix = if config.mix {
            let comments = [("TITLE", config.room.as_str()), ("DATE", config.date.as_str())];
            let channels = 1 + u8::from(config.stereo);
            let file = OggOpus::create(&path, rand::random(), channels, &comments).map_err(failed(&path))?;
            editors.track("Mix", "mix.ogg").map_err(failed(folder))?;
            Some(Stream::new(file))
        } else {
            None
        };
        Ok(Files {
            origin: now,
            timeline,
            timeline_bytes: 0,
            editors,
            mix_tap: mix.is_some().then(tap),
            mix,
            tracks: HashMap::new(),
            tracks_tap: config.tracks.then(tap),
            names: HashMap::new(),
            next: [0; 2],
            lost_ms: 0,
            config,
        })
    }

    /// The queues that the room should fill: of the mix, and of its talkers.
    pub(crate) fn taps(&self) -> (Option<Tap>, Option<Tap>) {
        (self.mix_tap.clone(), self.tracks_tap.clone())
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        let files = self.mix.iter().chain(self.tracks.values());
        self.timeline_bytes + self.editors.bytes() + files.map(|stream| stream.file.bytes()).sum::<u64>()
    }

    /// Takes a note.
    pub(crate) fn note(&mut self, note: Note) -> io::Result<()> {
        match note {
            Note::Name(peer, name) => {
                self.names.insert(peer, name);
                Ok(())
            }
            Note::Entry(entry) => self.enter(&entry),
        }
    }

    fn enter(&mut self, entry: &Value) -> io::Result<()> {
        let line = format!("{entry}\n");
        self.timeline.write_all(line.as_bytes())?;
        self.timeline_bytes += line.len() as u64;
        self.editors.enter(entry)
    }

    /// Writes what the taps have.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        if let Some(tap) = self.mix_tap.clone() {
            while let Some(batch) = tap.take() {
                let taken = self.missed(0, &tap, &batch).and_then(|()| self.write_mix(&batch));
                tap.give_back(batch);
                taken?;
            }
        }
        if let Some(tap) = self.tracks_tap.clone() {
            while let Some(batch) = tap.take() {
                let taken = self.missed(1, &tap, &batch).and_then(|()| self.write_tracks(&batch));
                tap.give_back(batch);
                taken?;
            }
        }
        self.mix
            .iter_mut()
            .chain(self.tracks.values_mut())
            .try_for_each(|stream| stream.file.flush())
    }

    // A disk that is too slow leaves holes: the timeline tells.
    fn missed(&mut self, which: usize, tap: &Tap, batch: &TapBatch) -> io::Result<()> {
        let missed = batch.number.saturating_sub(self.next[which]);
        self.next[which] = batch.number + 1;
        if missed == 0 {
            return Ok(());
        }
        let ms = missed * u64::from(tap.ticks()) * 20;
        self.lost_ms += ms;
        let at = self.samples(batch.began).max(0) / 48;
        self.enter(&json!({"ms": at, "event": "lost", "lost_ms": ms}))
    }

    fn write_mix(&mut self, batch: &TapBatch) -> io::Result<()> {
        let begin = self.samples(batch.began);
        let Some(stream) = &mut self.mix else { return Ok(()) };
        for packet in &batch.packets {
            let since = packet.timestamp.wrapping_sub(batch.media_time) as i32;
            let incoming = Incoming {
                payload: batch.payload(packet),
                timestamp: packet.timestamp,
                level: packet.level,
                arrival: begin + i64::from(since),
                exact: true,
            };
            stream.place(&incoming)?;
        }
        // Silence, up to what the room may still be sending.
        let end = begin + i64::from(batch.ticks) * 960 - 24_000;
        stream.file.pages().fill(end.max(0) as u64)
    }

    fn write_tracks(&mut self, batch: &TapBatch) -> io::Result<()> {
        let mut order: Vec<usize> = (0..batch.packets.len()).collect();
        let mut first: HashMap<Option<PeerId>, u32> = HashMap::new();
        for packet in &batch.packets {
            first.entry(packet.talker).or_insert(packet.timestamp);
        }
        // Packets that overtook each other.
        let place = |index: &usize| {
            let packet = &batch.packets[*index];
            let first = first.get(&packet.talker).copied().unwrap_or_default();
            packet.timestamp.wrapping_sub(first) as i32
        };
        order.sort_by_key(place);
        for index in order {
            let packet = &batch.packets[index];
            let Some(talker) = packet.talker else { continue };
            let arrival = self.samples(packet.arrival);
            let incoming = Incoming {
                payload: batch.payload(packet),
                timestamp: packet.timestamp,
                level: packet.level,
                arrival,
                exact: false,
            };
            let Some(stream) = self.track(talker)? else { continue };
            if stream.talker.replace(talker) != Some(talker) {
                stream.line.restart();
            }
            stream.place(&incoming)?;
        }
        Ok(())
    }

    // The track of a talker. `None`: there are too many.
    fn track(&mut self, talker: PeerId) -> io::Result<Option<&mut Stream>> {
        let name = self.names.get(&talker).cloned().unwrap_or_else(|| "unknown".to_owned());
        if !self.tracks.contains_key(&name) {
            if self.tracks.len() >= MOST_TRACKS {
                return Ok(None);
            }
            let file = format!("tracks/{:02}-{}.ogg", self.tracks.len() + 1, file_name(&name));
            let path = self.config.folder.join(&file);
            let comments = [
                ("TITLE", self.config.room.as_str()),
                ("ARTIST", name.as_str()),
                ("DATE", self.config.date.as_str()),
            ];
            let made = OggOpus::create(&path, rand::random(), 1, &comments)?;
            self.tracks.insert(name.clone(), Stream::new(made));
            if let Err(error) = self.editors.track(&name, &file) {
                log::warn!("{file} isn't in the project for editors yet: {error}");
            }
            let ms = self.origin.elapsed().as_millis() as u64;
            self.enter(&json!({"ms": ms, "event": "track", "identity": name, "file": file}))?;
        }
        Ok(self.tracks.get_mut(&name))
    }

    /// Ends all files at the same time.
    pub(crate) fn finish(&mut self, now: Instant, reason: &str) -> io::Result<()> {
        self.write()?;
        let end = self.samples(now).max(0);
        for stream in self.mix.iter_mut().chain(self.tracks.values_mut()) {
            stream.finish(end as u64)?;
        }
        self.enter(&json!({"ms": end / 48, "event": "stopped", "reason": reason}))?;
        // The sound is whole without it.
        if let Err(error) = self.editors.finish(end as f64 / 48_000.0) {
            log::warn!("{}: no project for editors: {error}", self.config.folder.display());
        }
        Ok(())
    }

    /// After a failure: the files are whole up to their last page, and the timeline tells why they end there, if the disk has room for that.
    pub(crate) fn give_up(&mut self, now: Instant, reason: &str) {
        let ms = self.samples(now).max(0) / 48;
        let _ = self.enter(&json!({"ms": ms, "event": "stopped", "reason": reason}));
    }

    // Samples since the beginning.
    fn samples(&self, at: Instant) -> i64 {
        let of = |time: Duration| (time.as_nanos() * 48 / 1_000_000) as i64;
        match at.checked_duration_since(self.origin) {
            Some(after) => of(after),
            None => -of(self.origin.duration_since(at)),
        }
    }
}

impl Stream {
    fn new(file: OggOpus) -> Stream {
        Stream {
            file,
            line: TimeLine::default(),
            talker: None,
            aligned: false,
        }
    }

    fn place(&mut self, packet: &Incoming<'_>) -> io::Result<()> {
        self.line.place(packet, self.file.pages())?;
        if self.line.settled() { self.align() } else { Ok(()) }
    }

    // Once: it moves what is there already.
    fn align(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.aligned, true) {
            return Ok(());
        }
        let by = self.line.remainder(self.file.pages().end());
        self.file.shift(by)
    }

    fn finish(&mut self, end: u64) -> io::Result<()> {
        self.align()?;
        self.file.pages().fill(end)?;
        self.file.finish()
    }
}

/// A talker's name as part of a file's name: letters and digits of any script, and nothing that a system minds.
pub(crate) fn file_name(name: &str) -> String {
    let mut made: String = name
        .chars()
        .take(LONGEST_NAME)
        .map(|letter| if letter.is_alphanumeric() { letter } else { '-' })
        .collect();
    while made.len() > 200 {
        made.pop();
    }
    if made.is_empty() { "unnamed".to_owned() } else { made }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use ogg::PacketReader;
    use roomtone_audio::analysis::tone_dbfs;
    use roomtone_audio::{Decoder, packet};
    use roomtone_engine::{Action, Command, MixConfig, RoomKind, Shard, SourceItem, TapSound};
    use roomtone_testkit::fixtures::{OpusTalker, Tone};
    use roomtone_transport::{Certificate, NtpClock, TransportConfig};

    use super::*;
    use crate::track::tests::jitter;

    const ROOM: u64 = 1;
    const DBFS: f64 = -20.0;

    /// A room in which sources speak, on a virtual clock, and its recording.
    struct World {
        now: Instant,
        shard: Shard,
        files: Files,
        folder: PathBuf,
    }

    impl World {
        fn new(name: &str) -> World {
            let now = Instant::now();
            let clock = NtpClock::from_unix(now, Duration::from_secs(1_700_000_000));
            let transport = TransportConfig::new(vec!["192.0.2.1:5000".parse().unwrap()], clock);
            let certificate = Arc::new(Certificate::generate().unwrap());
            let mut shard = Shard::new(now, transport, certificate, MixConfig::default(), 100);
            let mut command = |action| shard.handle_command(now, Command::new(ROOM, action));
            command(Action::Open {
                kind: RoomKind::default(),
            });
            let folder = std::env::temp_dir().join(format!("roomtone-record-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            let config = RecordingConfig {
                folder: folder.clone(),
                room: "lobby".to_owned(),
                date: "2026-01-01T00:00:00Z".to_owned(),
                mix: true,
                tracks: true,
                stereo: false,
            };
            let mut files = Files::create(config, now).unwrap();
            let (mix, tracks) = files.taps();
            let sound = TapSound::Mix {
                default_gain: 1.0,
                gains: Vec::new(),
                stereo: false,
            };
            for (peer, tap, sound) in [(100, mix, sound), (101, tracks, TapSound::Talkers { only: None })] {
                let tap = tap.unwrap();
                command(Action::JoinTap { peer, tap, sound });
            }
            for (peer, name) in [(1, "Ada L."), (2, "bob")] {
                files.note(Note::Name(peer, name.to_owned())).unwrap();
                command(Action::JoinSource { peer, speak: true });
            }
            World {
                now,
                shard,
                files,
                folder,
            }
        }

        fn talk(&mut self, peer: PeerId, ms: usize) {
            let tone = Tone::new(hz(peer) as f32, 10f32.powf(DBFS as f32 / 20.0));
            let mut talker = OpusTalker::new(tone, 64_000).unwrap();
            let packet = |_| SourceItem::Packet {
                data: talker.next().unwrap().payload.to_vec(),
                level: Some(23),
            };
            let items = (0..ms / 20).map(packet).collect();
            let command = Command::new(ROOM, Action::Feed { peer, items });
            self.shard.handle_command(self.now, command);
        }

        fn run(&mut self, ms: u64) {
            for n in 0..ms {
                self.now += Duration::from_millis(1);
                self.shard.handle_timeout(self.now);
                while self.shard.poll_event().is_some() {}
                if n % 250 == 249 {
                    self.files.write().unwrap();
                }
            }
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    fn hz(peer: PeerId) -> f64 {
        500.0 * peer as f64
    }

    /// The sound of a file as a player has it. Checks the page sums and positions on the way; whether its end is marked.
    fn play(path: &Path) -> (Vec<f32>, bool) {
        let mut packets = PacketReader::new(File::open(path).unwrap());
        let head = packets.read_packet_expected().unwrap().data;
        assert_eq!((&head[..8], head[8], head[9]), (&b"OpusHead"[..], 1, 1));
        let skip = usize::from(u16::from_le_bytes([head[10], head[11]]));
        assert!(packets.read_packet_expected().unwrap().data.starts_with(b"OpusTags"));
        let (mut decoder, mut pcm) = (Decoder::new().unwrap(), Vec::new());
        let (mut samples, mut ended) = (0u64, false);
        while let Some(one) = packets.read_packet().unwrap() {
            samples += u64::from(packet::parse(&one.data).unwrap().samples);
            if one.data.len() == 1 {
                decoder
                    .conceal(packet::parse(&one.data).unwrap().samples as usize, &mut pcm)
                    .unwrap();
            } else {
                decoder.decode(&one.data, &mut pcm).unwrap();
            }
            if one.last_in_page() {
                assert_eq!(one.absgp_page(), samples);
            }
            ended = one.last_in_stream();
        }
        (pcm.split_off(skip), ended)
    }

    /// Where a tone begins: the first 5 ms that have half of its level.
    fn onset_ms(pcm: &[f32]) -> f64 {
        let loud = 10f32.powf(DBFS as f32 / 20.0) / 2.0;
        let first = pcm.iter().position(|sample| sample.abs() > loud).unwrap();
        first as f64 / 48.0
    }

    fn level(pcm: &[f32], peer: PeerId, from_ms: usize, to_ms: usize) -> f64 {
        tone_dbfs(&pcm[from_ms * 48..to_ms * 48], hz(peer)) - DBFS
    }

    #[test]
    fn the_mix_and_each_talker_are_where_they_were_said_and_as_loud() {
        let mut world = World::new("aligned");
        world.run(1_000);
        world.talk(1, 3_000);
        world.run(1_000);
        world.talk(2, 3_000);
        world.run(6_000);
        world.files.finish(world.now, "stopped").unwrap();
        let files = ["mix.ogg", "tracks/01-Ada-L-.ogg", "tracks/02-bob.ogg"];
        let [mix, ada, bob] = files.map(|file| {
            let (pcm, ended) = play(&world.folder.join(file));
            let ms = pcm.len() as f64 / 48.0;
            assert!(ended && (ms - 8_000.0).abs() < 10.0, "{file} has {ms} ms");
            pcm
        });
        let (first, second) = (onset_ms(&ada), onset_ms(&bob));
        assert!((980.0..1_040.0).contains(&first), "at {first} ms");
        assert!((second - first - 1_000.0).abs() <= 2.5, "{first} and {second} ms");
        let mixed = onset_ms(&mix);
        assert!(
            (0.0..80.0).contains(&(mixed - first)),
            "in the mix at {mixed} ms, alone at {first} ms"
        );
        let heard = [
            level(&ada, 1, 2_000, 3_000),
            level(&bob, 2, 3_000, 4_000),
            level(&mix, 1, 1_500, 1_900),
            level(&mix, 1, 2_500, 3_500),
            level(&mix, 2, 2_500, 3_500),
            level(&mix, 2, 4_300, 4_800),
        ];
        assert!(heard.iter().all(|db| db.abs() <= 0.5), "{heard:?}");
        assert!(level(&ada, 2, 2_500, 3_500) < -40.0);
        assert!(mix[6_000 * 48..].iter().all(|sample| sample.abs() < 1e-3));
        let timeline = fs::read_to_string(world.folder.join("timeline.jsonl")).unwrap();
        let entries: Vec<Value> = timeline
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(entries[0]["identity"], "Ada L.");
        assert_eq!(
            (&entries[2]["event"], &entries[2]["ms"]),
            (&json!("stopped"), &json!(8_000))
        );
    }

    /// So many packets of somebody who began between two places that frames of silence can lead to, with irregular jitter of up to 30 ms, and with
    /// pauses. By how many samples the track was off after the first minute at most, and the file at its end.
    fn off_after_a_minute(seed: u32, packets: u32) -> (i64, i64) {
        let path = std::env::temp_dir().join(format!("roomtone-record-hour-{}-{seed}.ogg", std::process::id()));
        let _ = fs::remove_file(&path);
        let mut stream = Stream::new(OggOpus::create(&path, 7, 1, &[]).unwrap());
        let (mut most, mut end) = (0, 0);
        for n in 0..packets {
            let quiet = n % 750 < 50;
            let said = 12_345 + i64::from(n) * 960;
            let incoming = Incoming {
                payload: &[0xf8, 0xff, 0xfe],
                timestamp: n.wrapping_mul(960),
                level: Some(if quiet { 80 } else { 25 }),
                arrival: said + 960 + jitter(seed, n),
                exact: false,
            };
            stream.place(&incoming).unwrap();
            end = said + 960;
            if n > 3_000 {
                most = most.max((stream.file.pages().end() as i64 - end).abs());
            }
            if n % 1_000 == 0 {
                stream.file.flush().unwrap();
            }
        }
        stream.finish(end as u64).unwrap();
        let mut packets = PacketReader::new(File::open(&path).unwrap());
        let head = packets.read_packet_expected().unwrap().data;
        let mut last = 0;
        while let Some(one) = packets.read_packet().unwrap() {
            last = one.absgp_page() as i64;
        }
        fs::remove_file(&path).unwrap();
        // The sound of an encoder is as much later.
        let heard = last - i64::from(u16::from_le_bytes([head[10], head[11]])) + 312;
        (most, (heard - end).abs())
    }

    #[test]
    fn a_track_stands_over_an_hour_where_it_was_said_and_players_know() {
        let hour = off_after_a_minute(0, 180_000);
        let minutes = (1..10).map(|seed| off_after_a_minute(seed, 6_000));
        let off: Vec<(i64, i64)> = std::iter::once(hour).chain(minutes).collect();
        // So late was the fastest of 500 packets at most: 6 samples, an eighth of a millisecond.
        assert!(
            off.iter().all(|(most, end)| *most <= 6 && *end <= 6),
            "off by {off:?} samples"
        );
    }

    // As after a crash: nothing but whole pages is on disk.
    #[test]
    fn a_recording_that_was_cut_off_is_whole_but_for_its_last_second() {
        let mut world = World::new("cut-off");
        world.talk(1, 10_000);
        world.run(5_000);
        for file in ["mix.ogg", "tracks/01-Ada-L-.ogg"] {
            let (pcm, ended) = play(&world.folder.join(file));
            assert!(!ended && pcm.len() >= 3_600 * 48, "{file} has {} ms", pcm.len() / 48);
            let heard = level(&pcm, 1, 2_000, 3_000);
            assert!(heard.abs() <= 0.5, "{heard} dB");
        }
        assert!(world.files.bytes() > 30_000);
    }

    #[test]
    fn a_slow_disk_leaves_a_hole_and_a_note() {
        let mut world = World::new("slow");
        world.talk(1, 30_000);
        world.run(2_000);
        // Nothing is written for 15 s: ten of them wait.
        for _ in 0..15_000 {
            world.now += Duration::from_millis(1);
            world.shard.handle_timeout(world.now);
        }
        world.run(3_000);
        world.files.finish(world.now, "stopped").unwrap();
        assert!(
            (8_000..12_000).contains(&world.files.lost_ms),
            "{} ms of two taps",
            world.files.lost_ms
        );
        let (pcm, _) = play(&world.folder.join("mix.ogg"));
        assert!((pcm.len() as f64 / 48.0 - 20_000.0).abs() < 10.0);
        let heard = [level(&pcm, 1, 1_000, 1_500), level(&pcm, 1, 18_500, 19_500)];
        assert!(heard.iter().all(|db| db.abs() <= 0.5), "{heard:?}");
        let timeline = fs::read_to_string(world.folder.join("timeline.jsonl")).unwrap();
        assert!(timeline.contains("\"lost\""));
    }

    #[test]
    fn a_folder_that_exists_is_left_alone() {
        let world = World::new("exists");
        let again = Files::create(world.files.config.clone(), world.now);
        assert!(matches!(again, Err(StartError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists));
        let config = RecordingConfig {
            mix: false,
            tracks: false,
            ..world.files.config.clone()
        };
        assert!(matches!(Files::create(config, world.now), Err(StartError::Nothing)));
    }

    #[test]
    fn a_name_can_be_no_path() {
        assert_eq!(file_name("../etc/passwd\0"), "---etc-passwd-");
        assert_eq!(file_name("Ada L."), "Ada-L-");
        assert_eq!(file_name("安"), "安");
        assert_eq!(file_name(""), "unnamed");
        assert!(file_name(&"安".repeat(500)).len() <= 200);
    }
}
