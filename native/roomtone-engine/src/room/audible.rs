//! The talkers that somebody can hear; only these are decoded. Each listener hears the few who are loudest or nearest to *them*:
//! three loud talkers in one zone don't silence the other zone, and a near talker comes before a loud one.

use super::gains::Gains;
use super::peer::Peer;
use super::scratch::AudibleScratch;
use super::speaker_rank::keep_highest;

/// Keeps of the candidates (index among the peers, rank in dB) those that are among the `most` best of some listener, in their order. `listens`: for
/// which of the peers (by index) a mix is made.
pub(super) fn keep(
    peers: &[Peer],
    gains: &Gains,
    candidates: &mut Vec<(usize, f32)>,
    most: usize,
    listens: impl Fn(usize) -> bool,
    scratch: &mut AudibleScratch,
) {
    if let Some(gain) = gains.plain() {
        // Everybody hears all others alike; only a sole listener doesn't hear themselves.
        let mut listeners = peers.iter().enumerate().filter(|(at, _)| listens(*at));
        match (listeners.next(), listeners.next()) {
            _ if gain == 0.0 => candidates.clear(),
            (None, _) => candidates.clear(),
            (Some((alone, _)), None) => candidates.retain(|candidate| candidate.0 != alone),
            _ => {}
        }
        return keep_highest(candidates, most);
    }
    let AudibleScratch { kept, ranked } = scratch;
    kept.clear();
    kept.resize(candidates.len(), false);
    let scarce = candidates.len() > most;
    let mut left = candidates.len();
    for (_, listener) in peers.iter().enumerate().filter(|(at, _)| listens(*at)) {
        ranked.clear();
        for (at, (index, rank)) in candidates.iter().enumerate() {
            let gain = gains.gain(listener.id, peers[*index].id);
            if gain > 0.0 {
                // If all of them fit, their order doesn't matter and the logarithm is saved.
                ranked.push((at, if scarce { rank + 20.0 * gain.log10() } else { 0.0 }));
            }
        }
        keep_highest(ranked, most);
        for (at, _) in ranked.iter() {
            left -= usize::from(!std::mem::replace(&mut kept[*at], true));
        }
        if left == 0 {
            return;
        }
    }
    let mut at = 0;
    candidates.retain(|_| {
        at += 1;
        kept[at - 1]
    });
}
