//! The targets.

mod engine;
mod http;
mod replay;
mod sound;
mod transport;
mod turn;

/// Something that takes bytes of strangers.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Takes an input; panics where it finds a bug.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    transport::SDP_OFFER,
    transport::SDP_REOFFER,
    transport::STUN,
    transport::STUN_SIGNED,
    transport::DTLS_RECORDS,
    transport::DTLS_HANDSHAKE,
    transport::SRTP,
    transport::RTP,
    transport::RED,
    transport::RTCP,
    transport::RTP_HEADER,
    transport::TCP_FRAMING,
    turn::TURN,
    turn::TURN_SIGNED,
    sound::OPUS_PACKET,
    sound::OPUS_PACKING,
    sound::OPUS_DECODER,
    sound::PLAYOUT,
    engine::COMMANDS,
    replay::REPLAY,
    http::HTTP,
    http::WEBSOCKET,
    http::TLS_PEM,
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_takes_its_seeds_and_what_is_cut_off_or_flipped_in_them() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{} has seeds", target.name);
            (target.run)(&[]);
            for seed in seeds {
                (target.run)(&seed);
                (target.run)(&seed[..seed.len() / 2]);
                let mut flipped = seed;
                for at in (0..flipped.len()).step_by(17) {
                    flipped[at] ^= 0x55;
                }
                (target.run)(&flipped);
            }
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        for (at, one) in TARGETS.iter().enumerate() {
            assert!(TARGETS[at + 1..].iter().all(|other| other.name != one.name));
            assert!(target(one.name).is_some());
        }
        assert!(target("nothing").is_none());
    }
}
