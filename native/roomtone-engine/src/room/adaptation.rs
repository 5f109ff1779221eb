//! The answer to a listener's losses: copies of earlier packets (RED, RFC 2198), in-band FEC, fewer bits.
//!
//! Copies cost no encode, so a listener who takes them gets these first. In-band FEC and a lower bit rate need a mix encoded apart, a
//! [`Variant`] of it, which all listeners share who need it.
//!
//! Loss alone doesn't tell whether there are too many bits for the connection or whether it loses packets anyway. A round trip that has
//! grown tells the first. Without that a lower bit rate is tried, and is taken back if as much is lost as before.

use std::time::Duration;

use roomtone_transport::{MAX_COPIES_OUT, RemoteStats};

/// From this loss on, each packet carries so many copies.
const RISE: [f32; MAX_COPIES_OUT] = [0.03, 0.1];
/// Below this loss, that many copies are one too many.
const FALL: [f32; MAX_COPIES_OUT] = [0.01, 0.05];
/// From this loss on, there may be too many bits.
const HEAVY: f32 = 0.1;
/// A round trip this much longer than the shortest waits in a queue.
const QUEUE: Duration = Duration::from_millis(150);
/// So many reports in a row (browsers send one in about 5 s) are without loss before anything is taken back.
const CALM_REPORTS: u8 = 3;
/// Whether fewer bits help is judged by the mean loss of so many packets (10 s of a mix): of fewer, chance decides.
const PERIOD: u64 = 500;
/// A lower bit rate helps if it leaves no more than this part of the loss.
const HELPS: f32 = 0.6;
/// It was chance that it seemed to help, if later this part of the loss is back.
const BACK: f32 = 0.8;
/// After one that didn't help, so many periods pass before the next attempt.
const TRY_AGAIN_AFTER: u8 = 12;
/// A report about fewer packets than this tells nothing.
const ENOUGH_PACKETS: u64 = 25;

/// How a mix is encoded for a connection that is worse than most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// As for everybody.
    #[default]
    Full,
    /// With in-band FEC, 32 kbit/s.
    Fec,
    /// 24 kbit/s.
    Low,
    /// 16 kbit/s.
    Lower,
    /// 12 kbit/s: too few for FEC.
    Lowest,
}

/// The encodes that there may be of one mix. Listeners whose steps have the same variant share one, at the lowest bit rate among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Variant {
    /// For everybody.
    #[default]
    Full,
    /// For connections that lose packets.
    Robust,
    /// For connections that have too few bits for speech at its best.
    Thin,
}

impl Step {
    /// The encode that it takes part in.
    pub(super) fn variant(self) -> Variant {
        match self {
            Step::Full => Variant::Full,
            Step::Fec | Step::Low => Variant::Robust,
            Step::Lower | Step::Lowest => Variant::Thin,
        }
    }

    /// Its bit rate in mono, bit/s; `None`: as for everybody.
    pub(super) fn bitrate(self) -> Option<u32> {
        match self {
            Step::Full => None,
            Step::Fec => Some(32_000),
            Step::Low => Some(24_000),
            Step::Lower => Some(16_000),
            Step::Lowest => Some(12_000),
        }
    }

    // Fewer bits. In-band FEC alone has as many.
    fn down(self) -> Step {
        match self {
            Step::Full | Step::Fec => Step::Low,
            Step::Low => Step::Lower,
            Step::Lower | Step::Lowest => Step::Lowest,
        }
    }

    fn up(self) -> Step {
        match self {
            Step::Full | Step::Fec => Step::Full,
            Step::Low => Step::Fec,
            Step::Lower => Step::Low,
            Step::Lowest => Step::Lower,
        }
    }
}

/// A lower bit rate that is being tried, or was and helped.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    /// The loss before it.
    loss: f32,
    /// The step before it.
    from: Step,
    helped: bool,
}

/// The cure for losses that a listener can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Copies of earlier packets: the client has agreed on RED.
    Copies,
    /// In-band FEC.
    Fec,
    /// None: stereo is for music, which SILK and its FEC would spoil more than losses do.
    Neither,
}

/// The measures for one listener.
#[derive(Debug, Default)]
pub(super) struct Adaptation {
    copies: usize,
    step: Step,
    /// Losses ask for in-band FEC.
    fec: bool,
    shortest_round_trip: Option<Duration>,
    /// Reports in a row with less loss than the copies are for.
    calm: u8,
    /// Reports in a row with next to no loss.
    clean: u8,
    /// Packets of this period, and how many of them were lost.
    period: (u64, f32),
    attempt: Option<Attempt>,
    /// Periods until the next attempt.
    wait: u8,
    /// The number of packets sent by the last report that counted.
    judged: u64,
}

impl Adaptation {
    /// With how many copies of earlier packets each is sent.
    pub(super) fn copies(&self) -> usize {
        self.copies
    }

    /// Whether copies or in-band FEC make up for their losses. A step that answers a full connection has FEC too, and isn't meant.
    pub(super) fn repairs(&self) -> bool {
        self.copies > 0 || (self.fec && self.step.variant() == Variant::Robust)
    }

    /// How their mix is encoded.
    pub(super) fn step(&self) -> Step {
        self.step
    }

    /// Takes a report of theirs. `sent`: the packets that were sent to them so far.
    pub(super) fn report(&mut self, report: &RemoteStats, takes: Takes, sent: u64) {
        let packets = sent.saturating_sub(self.judged);
        if packets < ENOUGH_PACKETS {
            return;
        }
        self.judged = sent;
        let loss = report.fraction_lost;
        let queues = self.queues(report.round_trip);
        self.clean = if loss < FALL[0] {
            self.clean.saturating_add(1)
        } else {
            0
        };
        self.choose_copies(loss, takes == Takes::Copies);
        if queues && loss >= HEAVY {
            self.step = self.step.down();
            self.attempt = None;
            self.period = (0, 0.0);
        } else {
            self.judge_period(packets, loss);
        }
        if takes == Takes::Fec && loss >= RISE[0] {
            self.step = self.step.max(Step::Fec);
            self.fec = true;
        }
        if self.clean >= CALM_REPORTS {
            self.fec = false;
        }
        if self.clean >= CALM_REPORTS && !queues && self.step > Step::Full {
            self.step = self.step.up();
            self.attempt = None;
            self.clean = 0;
        }
    }

    // Whether packets wait in a queue on their way.
    fn queues(&mut self, round_trip: Option<Duration>) -> bool {
        let Some(round_trip) = round_trip else { return false };
        let shortest = self
            .shortest_round_trip
            .map_or(round_trip, |shortest| shortest.min(round_trip));
        // A path may become longer for good.
        self.shortest_round_trip = Some(shortest + (round_trip - shortest) / 16);
        round_trip >= shortest + QUEUE
    }

    fn choose_copies(&mut self, loss: f32, takes_red: bool) {
        if !takes_red {
            self.copies = 0;
            return;
        }
        let wanted = RISE.iter().filter(|least| loss >= **least).count();
        if wanted > self.copies {
            self.copies = wanted;
            self.calm = 0;
        } else if self.copies > 0 && loss < FALL[self.copies - 1] {
            self.calm += 1;
            if self.calm >= CALM_REPORTS {
                self.copies -= 1;
                self.calm = 0;
            }
        } else {
            self.calm = 0;
        }
    }

    // Without a queue, fewer bits are tried, and taken back unless they help.
    fn judge_period(&mut self, packets: u64, loss: f32) {
        self.period.0 += packets;
        self.period.1 += packets as f32 * loss;
        if self.period.0 < PERIOD {
            return;
        }
        let mean = self.period.1 / self.period.0 as f32;
        self.period = (0, 0.0);
        self.wait = self.wait.saturating_sub(1);
        match &mut self.attempt {
            Some(attempt) => {
                let most = attempt.loss * if attempt.helped { BACK } else { HELPS };
                attempt.helped = true;
                if mean > most {
                    self.step = attempt.from;
                    self.attempt = None;
                    self.wait = TRY_AGAIN_AFTER;
                }
            }
            None if mean >= HEAVY && self.wait == 0 && self.step < Step::Lowest => {
                self.attempt = Some(Attempt {
                    loss: mean,
                    from: self.step,
                    helped: false,
                });
                self.step = self.step.down();
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Listener {
        adaptation: Adaptation,
        takes: Takes,
        sent: u64,
        round_trip: u64,
    }

    impl Listener {
        fn new(takes: Takes) -> Listener {
            Listener {
                adaptation: Adaptation::default(),
                takes,
                sent: 0,
                round_trip: 50,
            }
        }

        fn report(&mut self, loss: f32) -> (usize, Step) {
            self.sent += 250;
            self.report_of(loss, self.sent)
        }

        fn report_of(&mut self, loss: f32, sent: u64) -> (usize, Step) {
            let report = RemoteStats {
                fraction_lost: loss,
                cumulative_lost: 0,
                jitter: Duration::ZERO,
                round_trip: Some(Duration::from_millis(self.round_trip)),
            };
            self.adaptation.report(&report, self.takes, sent);
            (self.adaptation.copies(), self.adaptation.step())
        }

        fn reports<const N: usize>(&mut self, losses: [f32; N]) -> [(usize, Step); N] {
            losses.map(|loss| self.report(loss))
        }
    }

    #[test]
    fn a_clean_link_changes_nothing() {
        for takes in [Takes::Copies, Takes::Fec, Takes::Neither] {
            let mut listener = Listener::new(takes);
            for loss in [0.0, 0.004, 0.02, 0.0, 0.029] {
                assert_eq!(listener.report(loss), (0, Step::Full));
            }
        }
    }

    #[test]
    fn copies_come_with_the_first_loss_and_go_after_three_calm_reports() {
        let mut listener = Listener::new(Takes::Copies);
        let copies = listener
            .reports([0.04, 0.06, 0.0, 0.0, 0.04, 0.0, 0.0, 0.0])
            .map(|now| now.0);
        assert_eq!(copies, [1, 1, 1, 1, 1, 1, 1, 0]);
        let copies = listener
            .reports([0.12, 0.06, 0.04, 0.04, 0.04, 0.04, 0.0, 0.0, 0.0])
            .map(|now| now.0);
        assert_eq!(copies, [2, 2, 2, 2, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn a_loss_around_a_threshold_does_not_flap() {
        let mut listener = Listener::new(Takes::Copies);
        listener.report(0.1);
        for round in 0..50 {
            assert_eq!(listener.report(if round % 2 == 0 { 0.07 } else { 0.099 }).0, 2);
        }
    }

    #[test]
    fn without_red_a_loss_is_for_fec() {
        let mut listener = Listener::new(Takes::Fec);
        assert_eq!(
            listener.reports([0.02, 0.05, 0.05, 0.02, 0.0, 0.0, 0.0, 0.0]),
            [
                (0, Step::Full),
                (0, Step::Fec),
                (0, Step::Fec),
                (0, Step::Fec),
                (0, Step::Fec),
                (0, Step::Fec),
                (0, Step::Full),
                (0, Step::Full)
            ]
        );
    }

    #[test]
    fn losses_of_stereo_without_red_change_nothing_and_a_queue_does() {
        let mut listener = Listener::new(Takes::Neither);
        assert_eq!(listener.reports([0.05, 0.09]), [(0, Step::Full); 2]);
        listener.round_trip = 400;
        assert_eq!(listener.report(0.15), (0, Step::Low));
    }

    #[test]
    fn fewer_bits_for_a_queue_or_as_an_attempt_repair_nothing() {
        let mut stereo = Listener::new(Takes::Neither);
        stereo.report(0.0);
        stereo.round_trip = 400;
        assert_eq!(stereo.report(0.15), (0, Step::Low));
        assert!(!stereo.adaptation.repairs());
        let mut stereo = Listener::new(Takes::Neither);
        assert_eq!(stereo.reports([0.2, 0.2])[1], (0, Step::Low));
        assert!(!stereo.adaptation.repairs());
    }

    #[test]
    fn fec_repairs_until_losses_end_even_while_a_queue_keeps_the_bit_rate_low() {
        let mut listener = Listener::new(Takes::Fec);
        listener.report(0.0);
        assert!(!listener.adaptation.repairs());
        listener.report(0.05);
        assert!(listener.adaptation.repairs());
        listener.round_trip = 1_000;
        assert_eq!(listener.report(0.15), (0, Step::Low));
        for left in [2, 1, 0] {
            assert!(listener.adaptation.repairs(), "{left}");
            assert_eq!(listener.report(0.0), (0, Step::Low));
        }
        assert!(!listener.adaptation.repairs());
    }

    #[test]
    fn copies_repair_as_long_as_they_are_sent() {
        let mut listener = Listener::new(Takes::Copies);
        for loss in [0.0, 0.04, 0.0, 0.0, 0.0] {
            let (copies, _) = listener.report(loss);
            assert_eq!(listener.adaptation.repairs(), copies > 0);
        }
    }

    #[test]
    fn a_queue_that_grows_takes_bits_away_at_once_and_gives_them_back_one_by_one() {
        let mut listener = Listener::new(Takes::Copies);
        listener.report(0.0);
        listener.round_trip = 400;
        let steps = listener.reports([0.15, 0.15, 0.15, 0.15]).map(|now| now.1);
        assert_eq!(steps, [Step::Low, Step::Lower, Step::Lowest, Step::Lowest]);
        listener.round_trip = 60;
        let mut steps = vec![Step::Lowest];
        for _ in 0..16 {
            let step = listener.report(0.0).1;
            if steps.last() != Some(&step) {
                steps.push(step);
            }
        }
        assert_eq!(steps, [Step::Lowest, Step::Lower, Step::Low, Step::Fec, Step::Full]);
    }

    #[test]
    fn fewer_bits_that_do_not_help_are_taken_back_for_long() {
        let mut listener = Listener::new(Takes::Copies);
        let steps: Vec<Step> = (0..26).map(|_| listener.report(0.2).1).collect();
        let lowered = steps.iter().filter(|step| **step != Step::Full).count();
        assert_eq!(lowered, 2, "{steps:?}");
        assert!(steps[2..].iter().all(|step| *step == Step::Full || *step == Step::Low));
    }

    #[test]
    fn fewer_bits_that_help_stay() {
        let mut listener = Listener::new(Takes::Copies);
        listener.report(0.2);
        assert_eq!(listener.report(0.2).1, Step::Low);
        assert_eq!(
            listener.reports([0.05, 0.05, 0.05, 0.12, 0.11, 0.05]).map(|now| now.1),
            [Step::Low; 6]
        );
    }

    #[test]
    fn fewer_bits_that_helped_by_chance_are_taken_back() {
        let mut listener = Listener::new(Takes::Copies);
        listener.reports([0.2, 0.2]);
        assert_eq!(
            listener.reports([0.1, 0.12, 0.2, 0.2]).map(|now| now.1).last(),
            Some(&Step::Full)
        );
    }

    #[test]
    fn reports_while_nothing_is_sent_do_not_count() {
        let mut listener = Listener::new(Takes::Copies);
        listener.report(0.05);
        for _ in 0..10 {
            assert_eq!(listener.report_of(0.0, listener.sent + 3).0, 1);
        }
    }

    #[test]
    fn a_mix_has_three_variants_at_the_most() {
        let steps = [Step::Full, Step::Fec, Step::Low, Step::Lower, Step::Lowest];
        let mut variants: Vec<Variant> = steps.map(Step::variant).to_vec();
        variants.dedup();
        assert_eq!(variants, [Variant::Full, Variant::Robust, Variant::Thin]);
        assert_eq!(
            steps.map(Step::bitrate),
            [None, Some(32_000), Some(24_000), Some(16_000), Some(12_000)]
        );
    }
}
