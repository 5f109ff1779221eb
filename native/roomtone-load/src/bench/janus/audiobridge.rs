//! The plugin that mixes: one connection for each participant, the offer is the client's.

use std::fmt::Write as _;

use serde_json::json;

use super::{Api, active};
use crate::bench::case::JanusSetting;

const PLUGIN: &str = "janus.plugin.audiobridge";

/// The way into its rooms.
#[derive(Clone, Debug)]
pub struct AudioBridge {
    /// Where Janus is.
    pub api: Api,
    /// How it encodes.
    pub setting: JanusSetting,
}

impl AudioBridge {
    /// Brings a participant into a room (from 0 on); the answer to their offer.
    pub async fn enter(&self, room: usize, name: &str, offer: &str) -> Result<String, String> {
        let handle = self.api.attach(PLUGIN).await?;
        let mut body = json!({"request": "join", "room": room + 1, "display": name});
        if let Some(quality) = self.setting.quality() {
            body["quality"] = quality.into();
        }
        handle.tell(body, Some(("offer", &active(offer)))).await?;
        handle.description().await
    }
}

/// The rooms.
pub(super) fn configuration(setting: JanusSetting, rooms: usize) -> String {
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
    bridge
}
