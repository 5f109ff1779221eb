//! Janus, as Debian packages it: its plugins AudioBridge, a mixer, and VideoRoom, a forwarder, are measured beside Roomtone.

mod audiobridge;
#[cfg(test)]
mod double;
mod videoroom;

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::BenchError;
use super::case::{Case, System};
use super::process::{Process, free_port, own_address};
use crate::http::{self, HttpError, Target};

const START_TIMEOUT: Duration = Duration::from_secs(15);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Messages about others that may come before the answer.
const MOST_EVENTS: usize = 1000;
const OTHER_TRANSPORTS: &str =
    "libjanus_websockets.so,libjanus_pfunix.so,libjanus_rabbitmq.so,libjanus_mqtt.so,libjanus_nanomsg.so";
/// All that Debian has.
const PLUGINS: [&str; 12] = [
    "audiobridge",
    "duktape",
    "echotest",
    "lua",
    "nosip",
    "recordplay",
    "sip",
    "streaming",
    "textroom",
    "videocall",
    "videoroom",
    "voicemail",
];

pub use audiobridge::AudioBridge;
pub use videoroom::{Role, VideoRoom};

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
    /// Where its media are: it leaves loopback out.
    pub media: IpAddr,
}

impl Janus {
    /// Starts Janus with the case's plugin and rooms, its configuration in this folder.
    pub async fn start(folder: &Path, case: &Case) -> Result<Janus, BenchError> {
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
        for (name, text) in configuration(port, media, case) {
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

/// The files of the configuration, with their names.
fn configuration(port: u16, media: IpAddr, case: &Case) -> [(&'static str, String); 3] {
    let (plugin, rooms, lite) = match case.system {
        System::VideoRoom => ("videoroom", videoroom::configuration(case), true),
        System::Janus(setting) => ("audiobridge", audiobridge::configuration(setting, case.rooms), false),
        System::Roomtone(_) => unreachable!("Roomtone needs no Janus"),
    };
    let others: Vec<String> = PLUGINS
        .iter()
        .filter(|other| **other != plugin)
        .map(|other| format!("libjanus_{other}.so"))
        .collect();
    let others = others.join(",");
    let main = format!(
        "general: {{ session_timeout = 0\n debug_level = 2\n }}\n\
         nat: {{ ice_enforce_list = \"{media}\"\n ice_lite = {lite}\n }}\n\
         plugins: {{ disable = \"{others}\"\n }}\n\
         transports: {{ disable = \"{OTHER_TRANSPORTS}\"\n }}\n"
    );
    let http = format!(
        "general: {{ json = \"compact\"\n base_path = \"/janus\"\n http = true\n port = {port}\n ip = \"127.0.0.1\"\n https = false\n }}\n\
         admin: {{ admin_http = false\n admin_https = false\n }}\n"
    );
    let name = match case.system {
        System::VideoRoom => "janus.plugin.videoroom.jcfg",
        _ => "janus.plugin.audiobridge.jcfg",
    };
    [("janus.jcfg", main), ("janus.transport.http.jcfg", http), (name, rooms)]
}

/// A session with one handle of a plugin.
struct Handle<'a> {
    api: &'a Api,
    session: String,
    path: String,
}

impl Handle<'_> {
    /// Sends a message to the plugin, with a description of a session or without.
    async fn tell(&self, body: Value, jsep: Option<(&str, &str)>) -> Result<(), String> {
        let mut message = json!({"janus": "message", "transaction": "m", "body": body});
        if let Some((kind, sdp)) = jsep {
            message["jsep"] = json!({"type": kind, "sdp": sdp});
        }
        self.api.request(Method::POST, &self.path, &message).await.map(|_| ())
    }

    /// Waits for the event in which `find` finds something.
    async fn wait<T>(&self, find: impl Fn(&Value) -> Option<T>) -> Result<T, String> {
        for _ in 0..MOST_EVENTS {
            let event = self.api.request(Method::GET, &self.session, &Value::Null).await?;
            if let Some(error) = event["plugindata"]["data"]["error"].as_str() {
                return Err(format!("Janus: {error}"));
            }
            if let Some(found) = find(&event) {
                return Ok(found);
            }
        }
        Err("Janus tells everything but the answer".into())
    }

    /// Waits for Janus's offer or answer.
    async fn description(&self) -> Result<String, String> {
        self.wait(|event| event["jsep"]["sdp"].as_str().map(str::to_owned))
            .await
    }
}

impl Api {
    /// Begins a session with one handle of this plugin.
    async fn attach(&self, plugin: &str) -> Result<Handle<'_>, String> {
        let create = json!({"janus": "create", "transaction": "c"});
        let session = id(&self.request(Method::POST, "/janus", &create).await?)?;
        let session = format!("/janus/{session}");
        let attach = json!({"janus": "attach", "plugin": plugin, "transaction": "a"});
        let handle = id(&self.request(Method::POST, &session, &attach).await?)?;
        Ok(Handle {
            api: self,
            path: format!("{session}/{handle}"),
            session,
        })
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

/// Janus answers "active" to "actpass", as our clients are.
fn active(offer: &str) -> String {
    offer.replace("a=setup:actpass", "a=setup:active")
}

fn id(value: &Value) -> Result<u64, String> {
    value["data"]["id"]
        .as_u64()
        .ok_or_else(|| "Janus: no id in its answer".into())
}

/// The output of `janus --version`.
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
    use super::double::{Double, event};
    use super::*;
    use crate::bench::case::JanusSetting;

    const OFFER: &str = "v=0\r\na=setup:actpass\r\n";

    fn bridge(double: &Double) -> AudioBridge {
        AudioBridge {
            api: double.api.clone(),
            setting: JanusSetting::Equal,
        }
    }

    #[tokio::test]
    async fn a_participant_of_the_mixer_gets_the_answer_among_other_events() {
        let double = Double::telling([
            json!({"janus": "keepalive"}),
            event(json!({"audiobridge": "event", "participants": [{"id": 7}]}), None),
            event(
                json!({"audiobridge": "joined"}),
                Some(("answer", "v=0\r\ns=theirs\r\n")),
            ),
        ])
        .await;
        let answer = bridge(&double).enter(2, "ada", OFFER).await;
        assert_eq!(answer.as_deref(), Ok("v=0\r\ns=theirs\r\n"));
        let (attach, messages) = double.asked();
        assert_eq!(attach["plugin"], "janus.plugin.audiobridge");
        let [join] = messages.try_into().unwrap();
        let body = json!({"request": "join", "room": 3, "display": "ada", "quality": 5});
        assert_eq!(join["body"], body, "Janus counts rooms from 1");
        assert_eq!(
            join["jsep"],
            json!({"type": "offer", "sdp": "v=0\r\na=setup:active\r\n"})
        );
    }

    #[tokio::test]
    async fn what_the_plugin_refuses_is_told() {
        let refusal = json!({"audiobridge": "event", "error_code": 485, "error": "No such room (3)"});
        let double = Double::telling([event(refusal, None)]).await;
        let error = bridge(&double).enter(2, "ada", OFFER).await.unwrap_err();
        assert_eq!(error, "Janus: No such room (3)");
    }

    #[tokio::test]
    async fn what_janus_refuses_is_told() {
        let double = Double::telling([]).await;
        let error = double
            .api
            .request(Method::POST, "/janus/12", &json!({"janus": "attach"}))
            .await;
        assert_eq!(error.unwrap_err(), "Janus: No such session");
    }

    #[tokio::test]
    async fn a_janus_that_never_answers_is_given_up() {
        let double = Double::telling([]).await;
        let error = bridge(&double).enter(0, "ada", OFFER).await.unwrap_err();
        assert!(error.contains("everything but the answer"), "{error}");
    }

    #[tokio::test]
    async fn a_talker_of_the_forwarder_publishes_under_their_number() {
        let joined = event(json!({"videoroom": "joined"}), Some(("answer", "v=0\r\n")));
        let double = Double::telling([joined]).await;
        let room = VideoRoom {
            api: double.api.clone(),
        };
        let answer = room.enter(0, &Role::Publish(4), "ada", OFFER).await;
        assert_eq!(answer.as_deref(), Ok("v=0\r\n"));
        let (attach, messages) = double.asked();
        assert_eq!(attach["plugin"], "janus.plugin.videoroom");
        let body = &messages[0]["body"];
        assert_eq!((&body["ptype"], &body["id"]), (&json!("publisher"), &json!(5)));
    }

    #[test]
    fn the_configuration_has_every_room_and_the_setting() {
        let address = "192.0.2.7".parse().unwrap();
        let case = |setting, rooms| Case {
            rooms,
            ..Case::room(System::Janus(setting), 2, 1)
        };
        let [main, http, bridge] = configuration(8088, address, &case(JanusSetting::Equal, 3)).map(|file| file.1);
        assert!(main.contains("ice_enforce_list = \"192.0.2.7\"") && main.contains("ice_lite = false"));
        assert!(
            main.contains("libjanus_videoroom.so") && !main.contains("audiobridge"),
            "{main}"
        );
        assert!(http.contains("port = 8088"));
        assert_eq!(bridge.matches("sampling_rate = 48000").count(), 3);
        assert_eq!(bridge.matches("default_bitrate = 32000").count(), 3);
        let [_, _, bridge] = configuration(8088, address, &case(JanusSetting::Default, 1)).map(|file| file.1);
        assert!(!bridge.contains("bitrate"));
    }

    #[test]
    fn the_forwarder_has_a_place_for_each_talker() {
        let address = "192.0.2.7".parse().unwrap();
        let case = Case {
            rooms: 2,
            ..Case::room(System::VideoRoom, 50, 7)
        };
        let [main, _, (name, rooms)] = configuration(8088, address, &case);
        assert!(main.1.contains("libjanus_audiobridge.so") && main.1.contains("ice_lite = true"));
        assert!(!main.1.contains("videoroom"));
        assert_eq!(name, "janus.plugin.videoroom.jcfg");
        assert_eq!(rooms.matches("publishers = 7").count(), 2);
    }
}
