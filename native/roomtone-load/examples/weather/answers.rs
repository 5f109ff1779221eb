//! The answers of the servers to a browser that offers all that it has, and so what it sends to each.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roomtone_transport::NtpClock;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::chromium::{Browser, Connection, read};
use crate::janus;

/// Packets are counted for so long.
const COUNTED: Duration = Duration::from_secs(2);

/// The packets of a browser.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sent {
    /// Earlier packets that each one carries copies of.
    pub copies: usize,
    /// Whether it may have in-band FEC.
    pub fec: bool,
}

impl Sent {
    pub fn name(&self) -> String {
        let fec = if self.fec { "FEC" } else { "plain" };
        match self.copies {
            0 => fec.to_owned(),
            copies => format!("RED, {copies} back, {fec}"),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Codec {
    mime_type: String,
    sdp_fmtp_line: String,
}

/// The packets that Chromium sends to Roomtone, and those that it sends to Janus's AudioBridge.
pub fn sent(folder: &Path) -> Result<(Sent, Sent), String> {
    let mut browser = Browser::start("test/browser/send.mjs")?;
    browser.say(&json!({"offers": 2}))?;
    let [to_us, to_janus]: [String; 2] = read(browser.hear(&mut [])?, "offers")?;
    let clock = NtpClock::from_unix(Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    let (connection, ours) = Connection::new([127, 0, 0, 1].into(), &to_us, clock)?;
    let mut connections = [connection];
    browser.say(&json!({"answers": [ours, of_janus(&to_janus, folder)?]}))?;
    let [ours, janus]: [Vec<Codec>; 2] = read(browser.hear(&mut connections)?, "codecs")?;
    let begin = Instant::now();
    let mut counted = None;
    let counts = loop {
        connections[0].pump();
        let (packets, copies) = connections[0].counts();
        let (since, before) = *counted.get_or_insert((Instant::now(), (packets, copies)));
        if packets == 0 {
            counted = None;
        } else if since.elapsed() > COUNTED {
            break (packets - before.0, copies - before.1);
        }
        if begin.elapsed() > 10 * COUNTED {
            return Err("Chromium sends nothing".into());
        }
        std::thread::sleep(super::MS);
    };
    browser.say(&json!({"stop": true}))?;
    let fec = |codecs: &[Codec]| {
        let opus = codecs
            .iter()
            .find(|codec| codec.mime_type.eq_ignore_ascii_case("audio/opus"));
        opus.is_some_and(|opus| opus.sdp_fmtp_line.contains("useinbandfec=1"))
    };
    if janus
        .first()
        .is_some_and(|codec| codec.mime_type.eq_ignore_ascii_case("audio/red"))
    {
        return Err("Janus has agreed on RED, which is new; this bench sends it none".into());
    }
    let copies = (counts.1 as f64 / counts.0.max(1) as f64).round() as usize;
    Ok((
        Sent {
            copies,
            fec: fec(&ours),
        },
        Sent {
            copies: 0,
            fec: fec(&janus),
        },
    ))
}

fn of_janus(offer: &str, folder: &Path) -> Result<String, String> {
    let (runtime, _janus, bridge) = janus::start(1, 1, folder)?;
    runtime.block_on(bridge.enter(0, "browser", offer))
}
