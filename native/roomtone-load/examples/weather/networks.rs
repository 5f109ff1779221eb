//! The bad networks.

use std::time::Duration;

use roomtone_testkit::link::{Burst, LinkConfig};

use super::MS;

/// A kind of bad network.
#[derive(Clone, Copy, PartialEq)]
pub enum Weather {
    Clean,
    Random(f32),
    /// 20 % in bursts of 80 ms.
    Bursts,
    /// 0 to 60 ms, uniform.
    Jitter,
    /// Each 5 s nothing comes for 200 ms, and then all at once.
    Spikes,
    /// Each 12 s nothing comes for 2 s, and then all at once.
    Outages,
    /// The talker's clock is this much too fast, in millionths.
    Drift(i32),
}

pub const WEATHERS: [(&str, Weather); 10] = [
    ("clean", Weather::Clean),
    ("5 % random loss", Weather::Random(0.05)),
    ("10 % random loss", Weather::Random(0.1)),
    ("20 % random loss", Weather::Random(0.2)),
    ("20 % in bursts of 80 ms", Weather::Bursts),
    ("jitter 0–60 ms", Weather::Jitter),
    ("200 ms spike each 5 s", Weather::Spikes),
    ("2 s outage each 12 s", Weather::Outages),
    ("drift +300 ppm", Weather::Drift(300)),
    ("drift −300 ppm", Weather::Drift(-300)),
];

impl Weather {
    /// Whether packets are held back, to come all at once.
    pub fn holds_back(self) -> bool {
        matches!(self, Weather::Spikes | Weather::Outages)
    }
}

/// The link at this time, and whether it holds everything back.
pub fn link(weather: Weather, seed: u64, elapsed: Duration) -> (LinkConfig, bool) {
    let config = LinkConfig {
        seed: seed + 1,
        ..LinkConfig::default()
    };
    let hold = |each: u64, after: u64, length: u64| {
        let at = elapsed.as_millis() as u64 % each;
        let held = (after..after + length).contains(&at);
        let latency = if held {
            (after + length - at) * MS.as_millis() as u64
        } else {
            0
        };
        (
            LinkConfig {
                latency: Duration::from_millis(latency),
                ..config
            },
            held,
        )
    };
    match weather {
        Weather::Clean | Weather::Drift(_) => (config, false),
        Weather::Random(loss) => (LinkConfig { loss, ..config }, false),
        Weather::Bursts => {
            // 4 packets of 20 ms, 16 apart.
            let burst = Burst {
                enter: 1.0 / 16.0,
                leave: 1.0 / 4.0,
            };
            (
                LinkConfig {
                    burst_loss: Some(burst),
                    ..config
                },
                false,
            )
        }
        Weather::Jitter => {
            let (latency, jitter) = (30 * MS, 30 * MS);
            (
                LinkConfig {
                    latency,
                    jitter,
                    ..config
                },
                false,
            )
        }
        Weather::Spikes => hold(5_000, 4_000, 200),
        Weather::Outages => hold(12_000, 6_000, 2_000),
    }
}
