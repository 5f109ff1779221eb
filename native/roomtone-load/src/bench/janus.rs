//! Janus's AudioBridge, as Debian packages it: the mixer that Roomtone is measured beside.

use std::fmt::Write as _;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::BenchError;
use super::case::JanusSetting;
use super::process::{Process, free_port, own_address};
use crate::http::{self, HttpError, Target};

const START_TIMEOUT: Duration = Duration::from_secs(15);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Messages about others that may come before the answer.
const MOST_EVENTS: usize = 1000;
/// What isn't the AudioBridge over HTTP.
const OTHER_PLUGINS: &str = "libjanus_duktape.so,libjanus_echotest.so,libjanus_lua.so,libjanus_nosip.so,libjanus_recordplay.so,\
    libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_videoroom.so,libjanus_voicemail.so";
const OTHER_TRANSPORTS: &str =
    "libjanus_websockets.so,libjanus_pfunix.so,libjanus_rabbitmq.so,libjanus_mqtt.so,libjanus_nanomsg.so";

/// A running Janus.
pub struct Janus {
    process: Process,
    /// The way to it.
    pub api: Api,
}

/// Its HTTP interface.
#[derive(Clone, Debug)]
pub struct Api {
    address: String,
    setting: JanusSetting,
    /// Where its media are: it leaves loopback out.
    pub media: IpAddr,
}

impl Janus {
    /// Starts Janus with as many rooms, its configuration in this folder.
    pub async fn start(folder: &Path, setting: JanusSetting, rooms: usize) -> Result<Janus, BenchError> {
        let failed = |why: String| BenchError::Server {
            name: "Janus",
            why,
            log: String::new(),
        };
        let io = |error: std::io::Error| failed(error.to_string());
        let port = free_port().map_err(io)?;
        let media =
            own_address().map_err(|error| failed(format!("this machine has no address but loopback ({error})")))?;
        let config = folder.join("janus");
        std::fs::create_dir_all(&config).map_err(io)?;
        for (name, text) in configuration(port, media, setting, rooms) {
            std::fs::write(config.join(name), text).map_err(io)?;
        }
        let mut command = Command::new("janus");
        command.arg("--configs-folder").arg(&config).stdout(Stdio::null());
        let (mut process, _) =
            Process::start("Janus", command, &folder.join("janus.log")).map_err(|error| match error {
                BenchError::Server { why, .. } => failed(format!(
                    "{why}. `bin/setup --bench` installs it (Debian's package `janus`)"
                )),
                other => other,
            })?;
        let api = Api {
            address: format!("127.0.0.1:{port}"),
            setting,
            media,
        };
        let begin = std::time::Instant::now();
        while let Err(error) = api.request(Method::GET, "/janus/info", &Value::Null).await {
            if let Some(why) = process.ended() {
                return Err(process.error(why));
            }
            if begin.elapsed() > START_TIMEOUT {
                return Err(process.error(format!("it doesn't answer: {error}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Janus { process, api })
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

fn configuration(port: u16, media: IpAddr, setting: JanusSetting, rooms: usize) -> [(&'static str, String); 3] {
    let main = format!(
        "general: {{ session_timeout = 0\n debug_level = 2\n }}\n\
         nat: {{ ice_enforce_list = \"{media}\"\n }}\n\
         plugins: {{ disable = \"{OTHER_PLUGINS}\"\n }}\n\
         transports: {{ disable = \"{OTHER_TRANSPORTS}\"\n }}\n"
    );
    let http = format!(
        "general: {{ json = \"compact\"\n base_path = \"/janus\"\n http = true\n port = {port}\n ip = \"127.0.0.1\"\n https = false\n }}\n\
         admin: {{ admin_http = false\n admin_https = false\n }}\n"
    );
    let mut bridge = String::from("general: { }\n");
    for room in 1..=rooms {
        let bitrate = setting
            .bitrate()
            .map_or(String::new(), |rate| format!("default_bitrate = {rate}\n"));
        // Writing to a String doesn't fail.
        let _ = writeln!(
            bridge,
            "room-{room}: {{ sampling_rate = 48000\n record = false\n {bitrate} }}"
        );
    }
    [
        ("janus.jcfg", main),
        ("janus.transport.http.jcfg", http),
        ("janus.plugin.audiobridge.jcfg", bridge),
    ]
}

impl Api {
    /// Brings a participant into a room (from 0 on); the answer to their offer.
    pub async fn enter(&self, room: usize, name: &str, offer: &str) -> Result<String, String> {
        let create = json!({"janus": "create", "transaction": "c"});
        let session = id(&self.request(Method::POST, "/janus", &create).await?)?;
        let attach = json!({"janus": "attach", "plugin": "janus.plugin.audiobridge", "transaction": "a"});
        let path = format!("/janus/{session}");
        let handle = id(&self.request(Method::POST, &path, &attach).await?)?;
        let mut body = json!({"request": "join", "room": room + 1, "display": name});
        if let Some(quality) = self.setting.quality() {
            body["quality"] = quality.into();
        }
        // Janus answers "active" to "actpass", as our clients are.
        let sdp = offer.replace("a=setup:actpass", "a=setup:active");
        let join = json!({"janus": "message", "transaction": "j", "body": body, "jsep": {"type": "offer", "sdp": sdp}});
        self.request(Method::POST, &format!("{path}/{handle}"), &join).await?;
        for _ in 0..MOST_EVENTS {
            let event = self.request(Method::GET, &path, &Value::Null).await?;
            if let Some(answer) = event["jsep"]["sdp"].as_str() {
                return Ok(answer.to_owned());
            }
            if let Some(error) = event["plugindata"]["data"]["error"].as_str() {
                return Err(format!("Janus: {error}"));
            }
        }
        Err("Janus tells everything but the answer".into())
    }

    /// Where a client is to be found by Janus's ICE agent: it takes no offer without a candidate.
    pub fn candidate(&self) -> SocketAddr {
        // Nobody is there: the client's own checks tell Janus its address.
        SocketAddr::new(self.media, 9)
    }

    async fn request(&self, method: Method, path: &str, body: &Value) -> Result<Value, String> {
        let target = Target {
            address: &self.address,
            authority: &self.address,
            timeout: REQUEST_TIMEOUT,
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let reply = http::request(&target, method, path, headers, &text)
            .await
            .map_err(|error: HttpError| format!("Janus: {error}"))?;
        let value: Value = serde_json::from_str(&reply.body).map_err(|_| format!("Janus answered {}", reply.status))?;
        match value["error"]["reason"].as_str() {
            Some(reason) => Err(format!("Janus: {reason}")),
            None => Ok(value),
        }
    }
}

fn id(value: &Value) -> Result<u64, String> {
    value["data"]["id"]
        .as_u64()
        .ok_or_else(|| "Janus: no id in its answer".into())
}

/// What `janus --version` says.
pub fn version() -> Option<String> {
    let mut child = Command::new("janus")
        .arg("--version")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut text = String::new();
    child.stdout.take()?.read_to_string(&mut text).ok()?;
    child.wait().ok()?;
    // "Janus version: 1102 (1.1.2)"
    let (_, version) = text.lines().next()?.split_once('(')?;
    Some(version.trim_end_matches(')').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_has_every_room_and_the_setting() {
        let address = "192.0.2.7".parse().unwrap();
        let [main, http, bridge] = configuration(8088, address, JanusSetting::Equal, 3).map(|file| file.1);
        assert!(main.contains("ice_enforce_list = \"192.0.2.7\""));
        assert!(http.contains("port = 8088"));
        assert_eq!(bridge.matches("sampling_rate = 48000").count(), 3);
        assert_eq!(bridge.matches("default_bitrate = 32000").count(), 3);
        let [_, _, bridge] = configuration(8088, address, JanusSetting::Default, 1).map(|file| file.1);
        assert!(!bridge.contains("bitrate"));
    }
}
