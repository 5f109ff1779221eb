//! The caller's decisions: addresses, time limits, caps, and how an [`Instant`] relates to
//! wall-clock time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::complaints::Complaints;

/// Seconds from the NTP epoch (1900) to the Unix epoch (1970).
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;

/// Ties the monotonic clock of the caller to NTP time, which RTCP sender reports carry.
///
/// The crate reads no clock, so wall-clock time is one fixed pair taken by the caller. Every
/// endpoint of a process should be given the same pair: then the NTP times of different streams can
/// be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NtpClock {
    at: Instant,
    ntp: u64,
}

impl NtpClock {
    /// The instant `at` is the 64-bit NTP timestamp `ntp` (32 bits of seconds, 32 of fraction).
    pub fn new(at: Instant, ntp: u64) -> Self {
        Self { at, ntp }
    }

    /// The instant `at` is `since_epoch` after the Unix epoch.
    pub fn from_unix(at: Instant, since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs().wrapping_add(NTP_UNIX_OFFSET);
        Self::new(at, (seconds << 32) | fraction(since_epoch))
    }

    /// The 64-bit NTP timestamp of `now`.
    pub fn ntp(&self, now: Instant) -> u64 {
        match now.checked_duration_since(self.at) {
            Some(after) => self.ntp.wrapping_add(ntp_units(after)),
            None => self.ntp.wrapping_sub(ntp_units(self.at.duration_since(now))),
        }
    }

    /// The middle 32 bits of the NTP timestamp (units of 1/65536 s), as reception reports use them.
    pub fn ntp_middle(&self, now: Instant) -> u32 {
        (self.ntp(now) >> 16) as u32
    }
}

fn fraction(d: Duration) -> u64 {
    (u64::from(d.subsec_nanos()) << 32) / 1_000_000_000
}

fn ntp_units(d: Duration) -> u64 {
    (d.as_secs() << 32).wrapping_add(fraction(d))
}

/// Settings shared by all endpoints of a shard.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Addresses of the shard's socket as clients reach it; each becomes a host candidate, the
    /// first one is preferred.
    pub candidates: Vec<SocketAddr>,
    /// Addresses where clients may connect by TCP (RFC 6544); each becomes a passive host
    /// candidate, less preferred than all of `candidates`.
    pub tcp_candidates: Vec<SocketAddr>,
    /// Relates `now` to wall-clock time.
    pub clock: NtpClock,
    /// A peer that nothing authentic was heard from for this long is over.
    pub consent_timeout: Duration,
    /// A peer that isn't connected this long after [`accept`](crate::Endpoint::accept) is over.
    pub handshake_timeout: Duration,
    /// DTLS datagrams looked at before the handshake is done.
    pub handshake_datagrams: u32,
    /// DTLS handshake datagrams (repeats of the last flight) looked at after that.
    pub handshake_datagrams_connected: u32,
    /// Mean time between RTCP reports (RFC 3550 randomises it).
    pub rtcp_interval: Duration,
    /// Validated remote addresses kept at once.
    pub max_addresses: usize,
    /// The limit on log lines of all endpoints that have this configuration or a clone of it.
    pub(crate) complaints: Arc<Complaints>,
}

impl TransportConfig {
    /// The defaults: 30 s for consent and handshake, 64 and 16 handshake datagrams, RTCP every 5 s,
    /// 16 addresses.
    pub fn new(candidates: Vec<SocketAddr>, clock: NtpClock) -> Self {
        Self {
            complaints: Arc::new(Complaints::new(clock.at)),
            candidates,
            tcp_candidates: Vec::new(),
            clock,
            consent_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(30),
            handshake_datagrams: 64,
            handshake_datagrams_connected: 16,
            rtcp_interval: Duration::from_secs(5),
            max_addresses: 16,
        }
    }
}

/// Permissions of one endpoint, and the name of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointOptions {
    /// We may send audio to the peer (if its offer receives).
    pub send: bool,
    /// We may receive audio from the peer (if its offer sends).
    pub recv: bool,
    /// We may send stereo (if the offer wants to receive it: `stereo=1`).
    pub stereo: bool,
    /// Average bit rate that the peer is asked not to exceed, bit/s; `None`: its encoder decides.
    /// Browsers take it for their aim.
    pub uplink_bitrate: Option<u32>,
    /// The peer is asked for stereo, and what we send on further m-lines may be stereo.
    pub uplink_stereo: bool,
    /// Further streams that we may send, each on a `recvonly` audio m-line of the offer; see
    /// [`crate::Endpoint::slots`].
    pub slots: usize,
    /// CNAME of our stream in SDP and RTCP; empty = a random one. Only letters, digits and `-_.`
    /// are kept.
    pub cname: String,
}

impl Default for EndpointOptions {
    fn default() -> Self {
        Self {
            send: true,
            recv: true,
            stereo: false,
            uplink_bitrate: None,
            uplink_stereo: false,
            slots: 0,
            cname: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only tests may read the clock: a virtual one has to start somewhere.
    #[allow(clippy::disallowed_methods)]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn ntp_time_runs_with_now_in_both_directions() {
        let at = origin();
        let clock = NtpClock::from_unix(at, Duration::from_millis(1_500));
        assert_eq!(clock.ntp(at), ((NTP_UNIX_OFFSET + 1) << 32) | 0x8000_0000);
        let later = at + Duration::from_millis(2_250);
        assert_eq!(clock.ntp(later), ((NTP_UNIX_OFFSET + 3) << 32) | 0xC000_0000);
        if let Some(earlier) = at.checked_sub(Duration::from_millis(500)) {
            assert_eq!(clock.ntp(earlier), (NTP_UNIX_OFFSET + 1) << 32);
        }
        assert_eq!(clock.ntp_middle(later), (clock.ntp(later) >> 16) as u32);
    }
}
