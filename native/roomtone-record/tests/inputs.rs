//! All that goes into a room in a file, and the room played again from it.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomtone_engine::{Action, Command, Event, Journal, JournalEnd, MixConfig, RoomKind, Shard, SourceItem};
use roomtone_record::{End, InputsConfig, Playback, PlaybackError, Played, Recording, Wanted, Writer};
use roomtone_testkit::fixtures::{OpusTalker, Tone};
use roomtone_testkit::listen::{dbfs, goertzel_amplitude};
use roomtone_testkit::peer::{ClientOptions, ClientPeer, Event as ClientEvent};
use roomtone_transport::{Certificate, NtpClock, TransportConfig};

const ROOM: u64 = 1;
const LISTENER: u64 = 3;

/// A room with a listener, in which a source speaks, on a virtual clock.
struct World {
    now: Instant,
    shard: Shard,
    client: ClientPeer,
    talker: OpusTalker,
    heard: Vec<(u16, u32, Vec<u8>)>,
}

impl World {
    fn new(journal: &Journal) -> World {
        let now = Instant::now();
        let clock = NtpClock::from_unix(now, Duration::from_secs(1_700_000_000));
        let transport = TransportConfig::new(vec!["192.0.2.1:5000".parse().unwrap()], clock);
        let certificate = Arc::new(Certificate::generate().unwrap());
        let mut world = World {
            now,
            shard: Shard::new(now, transport, certificate, MixConfig::default(), 100),
            client: ClientPeer::new(now, ClientOptions::default()).unwrap(),
            talker: OpusTalker::new(Tone::new(440.0, 0.1), 64_000).unwrap(),
            heard: Vec::new(),
        };
        let (kind, journal, offer) = (RoomKind::default(), journal.clone(), world.client.offer());
        for action in [
            Action::Open { kind },
            Action::RecordInputs { journal },
            Action::JoinSource { peer: 1, speak: true },
            Action::Join {
                peer: LISTENER,
                offer,
                speak: true,
                listen: true,
            },
        ] {
            world.command(action);
        }
        world
    }

    fn command(&mut self, action: Action) {
        self.shard.handle_command(self.now, Command::new(ROOM, action));
        self.exchange();
    }

    fn talk(&mut self, ms: usize) {
        let packet = |_| SourceItem::Packet {
            data: self.talker.next().unwrap().payload.to_vec(),
            level: Some(23),
        };
        let items = (0..ms / 20).map(packet).collect();
        self.command(Action::Feed { peer: 1, items });
        self.run(ms);
    }

    fn run(&mut self, ms: usize) {
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            self.shard.handle_timeout(self.now);
            self.client.handle_timeout(self.now);
            self.exchange();
        }
    }

    fn exchange(&mut self) {
        let (now, address) = (self.now, SocketAddr::from(([198, 51, 100, 1], 4_000)));
        while let Some(event) = self.shard.poll_event() {
            if let Event::Answer { sdp, .. } = event {
                self.client.accept_answer(now, &sdp).unwrap();
            }
        }
        loop {
            let sent: Vec<Vec<u8>> = self.shard.outbox().iter().map(|(_, data)| data.to_vec()).collect();
            self.shard.outbox().clear();
            for mut data in sent {
                self.client
                    .handle_datagram(now, "192.0.2.1:5000".parse().unwrap(), &mut data);
            }
            while let Some(event) = self.client.poll_event() {
                if let ClientEvent::Audio(audio) = event {
                    self.heard.push((audio.seq, audio.timestamp, audio.payload.to_vec()));
                }
            }
            let mut any = false;
            while let Some((_, data)) = self.client.poll_transmit() {
                self.shard.handle_datagram(now, address, &mut data.to_vec());
                any = true;
            }
            if !any && self.shard.outbox().is_empty() {
                break;
            }
        }
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("roomtone-inputs-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("lobby.inputs")
    }

    fn record(&self, most_bytes: u64) -> (Writer, Recording) {
        let writer = Writer::start().unwrap();
        let config = InputsConfig {
            file: self.file(),
            room: "lobby".to_owned(),
            date: "2026-01-01T00:00:00Z".to_owned(),
            most_bytes,
        };
        let recording = writer.record_inputs(&config).unwrap();
        assert!(writer.record_inputs(&config).is_err(), "the file exists");
        recording.name(LISTENER, "ada");
        (writer, recording)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn play(file: &Path, out: &Path) -> Played {
    let wanted = Wanted {
        wav: true,
        ..Wanted::default()
    };
    let mut playback = Playback::open(file, out, &wanted).unwrap();
    loop {
        if let Some(played) = playback.run(Duration::from_millis(100)).unwrap() {
            return played;
        }
    }
}

/// Waits until the writer has ended a recording.
fn ended(recording: &Recording) -> End {
    loop {
        if let Some(end) = recording.status().end {
            return end;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The packets of an rtpdump file: sequence number, timestamp, Opus.
fn dumped(path: &Path) -> Vec<(u16, u32, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let begin = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1 + 16;
    let (mut rest, mut packets) = (&bytes[begin..], Vec::new());
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let rtp = &rest[8..8 + length];
        let sequence = u16::from_be_bytes([rtp[2], rtp[3]]);
        let timestamp = u32::from_be_bytes([rtp[4], rtp[5], rtp[6], rtp[7]]);
        packets.push((sequence, timestamp, rtp[12..].to_vec()));
        rest = &rest[8 + length..];
    }
    packets
}

#[test]
fn a_room_is_played_again_from_its_file_also_if_that_was_cut_off() {
    let folder = Folder::new("again");
    let (_writer, recording) = folder.record(u64::MAX);
    let journal = recording.journal().unwrap();
    let mut world = World::new(journal);
    world.run(200);
    (0..15).for_each(|_| world.talk(200));
    world.run(500);
    world.command(Action::Close);
    assert_eq!(ended(&recording), End::Stopped);
    assert_eq!(journal.ended(), Some(JournalEnd::Room));
    let played = play(&folder.file(), &folder.0.join("heard"));
    assert_eq!((played.head.room.as_str(), played.cut_off), ("lobby", false));
    assert_eq!((played.counts.different, played.room_failed), (0, false));
    assert!(played.counts.compared >= 2, "{:?}", played.counts);
    let [stream] = &played.streams[..] else {
        panic!("{:?}", played.streams)
    };
    assert_eq!((stream.listener.as_str(), stream.slot), ("ada", 0));
    let sent = dumped(&stream.file.with_extension("rtpdump"));
    assert!(world.heard.len() > 140, "{} packets", world.heard.len());
    assert_eq!(sent, world.heard);
    assert!(fs::read(&stream.file).unwrap().starts_with(b"OggS"));

    // The listener's sound as WAV: a tone with an amplitude of 0.1 in both ears, and as long as the call.
    let wav = hound::WavReader::open(stream.file.with_extension("wav")).unwrap();
    assert_eq!((wav.spec().channels, wav.spec().bits_per_sample), (2, 16));
    let lasted = f64::from(wav.duration()) / 48_000.0;
    assert!((lasted - played.counts.lasted.as_secs_f64()).abs() < 0.02, "{lasted} s");
    let pcm: Vec<f32> = (wav.into_samples::<i16>())
        .map(|sample| f32::from(sample.unwrap()) / 32_768.0)
        .collect();
    for ear in 0..2 {
        let ear: Vec<f32> = pcm.iter().skip(48_000 + ear).step_by(2).take(48_000).copied().collect();
        let heard = dbfs(goertzel_amplitude(&ear, 440.0)) + 20.0;
        assert!(heard.abs() < 0.5, "{heard:.2} dB");
    }

    let eve = Wanted {
        listener: Some("eve"),
        wav: false,
    };
    let nobody = Playback::open(&folder.file(), &folder.0.join("nobody"), &eve);
    assert!(matches!(nobody, Err(PlaybackError::NoListener { .. })));

    // As after a crash.
    let whole = fs::read(folder.file()).unwrap();
    let cut = folder.0.join("cut.inputs");
    fs::write(&cut, &whole[..whole.len() * 3 / 4]).unwrap();
    let played = play(&cut, &folder.0.join("heard-of-the-cut"));
    assert!(played.cut_off);
    assert_eq!(played.counts.different, 0);
    let part = dumped(&played.streams[0].file.with_extension("rtpdump"));
    assert!(part.len() > 30 && sent.starts_with(&part), "{} packets", part.len());
}

/// The test below, in a process that records and is killed.
const KILLED: &str = "ROOMTONE_TEST_KILLED";

fn record_until_killed(file: PathBuf) -> ! {
    let writer = Writer::start().unwrap();
    let config = InputsConfig {
        file,
        room: "lobby".to_owned(),
        date: "2026-01-01T00:00:00Z".to_owned(),
        most_bytes: u64::MAX,
    };
    let recording = writer.record_inputs(&config).unwrap();
    recording.name(LISTENER, "ada");
    let mut world = World::new(recording.journal().unwrap());
    world.run(200);
    loop {
        // Slowly enough for the writer, and without an end.
        world.talk(200);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_a_killed_process_had_recorded_is_played_up_to_there() {
    if let Some(file) = std::env::var_os(KILLED) {
        record_until_killed(file.into());
    }
    let folder = Folder::new("killed");
    let mut process = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_a_killed_process_had_recorded_is_played_up_to_there"])
        .env(KILLED, folder.file())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Several seconds of the room.
    while fs::metadata(folder.file()).map_or(0, |file| file.len()) < 100_000 {
        assert!(process.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(10));
    }
    // With SIGKILL.
    process.kill().unwrap();
    process.wait().unwrap();
    let played = play(&folder.file(), &folder.0.join("heard"));
    assert_eq!((played.counts.different, played.room_failed), (0, false));
    assert!(
        played.counts.compared >= 3 && played.counts.lasted > Duration::from_secs(4),
        "{:?}",
        played.counts
    );
    let [stream] = &played.streams[..] else {
        panic!("{:?}", played.streams)
    };
    assert!(stream.listener == "ada" && stream.packets > 150, "{stream:?}");
}

#[test]
fn a_file_that_is_as_long_as_it_may_be_ends_the_recording_and_the_room_goes_on() {
    let folder = Folder::new("limit");
    let (_writer, recording) = folder.record(10_000);
    let journal = recording.journal().unwrap();
    let mut world = World::new(journal);
    world.run(200);
    world.talk(3_000);
    assert_eq!(ended(&recording), End::TooLong);
    assert_eq!(journal.ended(), Some(JournalEnd::Closed));
    assert!(fs::metadata(folder.file()).unwrap().len() <= 10_000);
    let before = world.heard.len();
    world.talk(500);
    assert!(world.heard.len() >= before + 20);
    let played = play(&folder.file(), &folder.0.join("heard"));
    assert_eq!((played.counts.different, played.cut_off), (0, false));
}

#[cfg(unix)]
#[test]
fn a_file_of_inputs_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("mode");
    let (_writer, _recording) = folder.record(u64::MAX);
    let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_that_is_something_else_is_refused() {
    let folder = Folder::new("foreign");
    for content in [&b""[..], b"short", b"something else that is longer than that"] {
        fs::write(folder.file(), content).unwrap();
        let opened = Playback::open(&folder.file(), &folder.0.join("heard"), &Wanted::default());
        assert!(matches!(opened, Err(PlaybackError::Read(_))));
    }
}
