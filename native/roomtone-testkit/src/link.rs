//! One direction of a bad network, on a virtual clock: loss, bursts of loss, delay, jitter, duplicates, reordering.
//!
//! The emulation is `str0m-netem`'s; this is its face for datagrams that know where they come from and go to. The same
//! seed and the same calls lose the same packets.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use bytes::Bytes;
//! use roomtone_testkit::link::{Datagram, Link, LinkConfig};
//!
//! let start = Instant::now();
//! let mut link = Link::new(LinkConfig { latency: Duration::from_millis(30), ..LinkConfig::default() });
//! let datagram = Datagram {
//!     from: ([10, 0, 0, 1], 1).into(),
//!     to: ([10, 0, 0, 2], 2).into(),
//!     data: Bytes::from_static(b"hello"),
//! };
//! link.send(start, datagram.clone());
//! assert_eq!(link.receive(start), None);
//! assert_eq!(link.next_arrival(), Some(start + Duration::from_millis(30)));
//! assert_eq!(link.receive(start + Duration::from_millis(30)), Some(datagram));
//! ```

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use str0m_netem::{GilbertElliot, Input, LossModel, Netem, NetemConfig, Output, Probability, RandomLoss};

/// A datagram under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The sender.
    pub from: SocketAddr,
    /// The receiver.
    pub to: SocketAddr,
    /// The bytes.
    pub data: Bytes,
}

impl AsRef<[u8]> for Datagram {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// Loss that comes in bursts (Gilbert and Elliott): all packets are lost while it is bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// Probability, a packet, that it turns bad.
    pub enter: f32,
    /// Probability, a packet, that it turns good again.
    pub leave: f32,
}

/// The faults of a [`Link`]. By default it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkConfig {
    /// Seed of all chance.
    pub seed: u64,
    /// Mean delay.
    pub latency: Duration,
    /// The delay is uniform in `latency` ± `jitter`, but packets keep their order, as in a queue: they come in bunches.
    pub jitter: Duration,
    /// Part of the packets that is lost, independently (0–1). Not used when `burst_loss` is given.
    pub loss: f32,
    /// Loss in bursts.
    pub burst_loss: Option<Burst>,
    /// Part of the packets that comes twice (0–1).
    pub duplicate: f32,
    /// Every nth packet overtakes the one before it.
    pub reorder_every: Option<u32>,
}

impl LinkConfig {
    fn netem(&self) -> NetemConfig {
        let loss = match self.burst_loss {
            Some(burst) => LossModel::from(
                GilbertElliot::new()
                    .good_duration(1.0 / burst.enter.max(f32::MIN_POSITIVE))
                    .bad_duration(1.0 / burst.leave.max(f32::MIN_POSITIVE)),
            ),
            None => LossModel::from(RandomLoss::new(Probability::new(self.loss))),
        };
        let config = NetemConfig::new()
            .seed(self.seed)
            .latency(self.latency)
            .jitter(self.jitter)
            .duplicate(Probability::new(self.duplicate))
            .loss(loss);
        match self.reorder_every {
            Some(gap) => config.reorder_gap(gap),
            None => config,
        }
    }
}

/// One direction of a network; see the [module](self).
pub struct Link {
    netem: Netem<Datagram>,
}

impl Link {
    /// Makes a link with nothing under way.
    pub fn new(config: LinkConfig) -> Link {
        Link {
            netem: Netem::new(config.netem()),
        }
    }

    /// Puts a datagram in.
    pub fn send(&mut self, now: Instant, datagram: Datagram) {
        self.netem.handle_input(Input::Packet(now, datagram));
    }

    /// Takes the next datagram out that has arrived by `now`.
    pub fn receive(&mut self, now: Instant) -> Option<Datagram> {
        self.netem.handle_input(Input::Timeout(now));
        match self.netem.poll_output() {
            Some(Output::Packet(datagram)) => Some(datagram),
            Some(Output::Timeout(_)) | None => None,
        }
    }

    /// When the next datagram arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        (!self.netem.is_empty()).then(|| self.netem.poll_timeout())
    }

    /// Changes the network; what is under way arrives as it would have.
    pub fn set_config(&mut self, config: LinkConfig) {
        self.netem.set_config(config.netem());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(config: LinkConfig, packets: u32) -> Vec<u32> {
        let start = Instant::now();
        let mut link = Link::new(config);
        let mut got = Vec::new();
        for tick in 0..packets + 100 {
            let now = start + Duration::from_millis(20) * tick;
            if tick < packets {
                let data = Bytes::copy_from_slice(&tick.to_be_bytes());
                link.send(
                    now,
                    Datagram {
                        from: ([1, 1, 1, 1], 1).into(),
                        to: ([2, 2, 2, 2], 2).into(),
                        data,
                    },
                );
            }
            while let Some(datagram) = link.receive(now) {
                got.push(u32::from_be_bytes(datagram.data[..].try_into().unwrap()));
            }
        }
        got
    }

    #[test]
    fn a_perfect_link_is_perfect() {
        assert_eq!(arrivals(LinkConfig::default(), 100), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn loses_what_it_is_told_and_the_same_again() {
        let config = LinkConfig {
            seed: 7,
            loss: 0.1,
            ..LinkConfig::default()
        };
        let got = arrivals(config, 2000);
        assert!((1740..=1860).contains(&got.len()), "{}", got.len());
        assert_eq!(got, arrivals(config, 2000));
        assert_ne!(got, arrivals(LinkConfig { seed: 8, ..config }, 2000));
    }

    #[test]
    fn bursts_are_bursts() {
        let burst = Burst {
            enter: 0.02,
            leave: 0.25,
        };
        let got = arrivals(
            LinkConfig {
                seed: 3,
                burst_loss: Some(burst),
                ..LinkConfig::default()
            },
            5000,
        );
        let lost = 5000 - got.len();
        let gaps = got.windows(2).filter(|pair| pair[1] > pair[0] + 1).count();
        // Stationary loss 0.02 / (0.02 + 0.25) = 7.4 %, in bursts of 4.
        assert!((220..=520).contains(&lost), "{lost}");
        assert!((2.5..=6.0).contains(&(lost as f64 / gaps as f64)), "{lost} in {gaps}");
    }

    #[test]
    fn only_reordering_changes_the_order_and_duplicates_come_twice() {
        let ms = Duration::from_millis;
        let jitter = arrivals(
            LinkConfig {
                latency: ms(60),
                jitter: ms(50),
                ..LinkConfig::default()
            },
            500,
        );
        assert_eq!(jitter.len(), 500);
        assert!(jitter.is_sorted());
        let reordered = arrivals(
            LinkConfig {
                latency: ms(30),
                reorder_every: Some(10),
                ..LinkConfig::default()
            },
            500,
        );
        assert_eq!(reordered.len(), 500);
        assert!(!reordered.is_sorted());
        assert!(
            arrivals(
                LinkConfig {
                    duplicate: 0.2,
                    ..LinkConfig::default()
                },
                500
            )
            .len()
                > 550
        );
    }
}
