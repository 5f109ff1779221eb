//! Which talkers somebody can hear: nobody else is decoded. And of these, for each listener, the few that are loudest or nearest to *them*: three
//! loud ones in one zone don't silence the other zone, and who is near is heard before who is loud.

use super::gains::Gains;
use super::peer::Peer;
use super::select::keep_highest;

/// Working space.
#[derive(Default)]
pub(crate) struct Audible {
    kept: Vec<bool>,
    ranked: Vec<(usize, f32)>,
}

/// Keeps of the candidates (index among the peers, rank in dB) those that are among the `most` best of some listener, in their order.
pub(super) fn keep(
    peers: &[Peer],
    gains: &Gains,
    candidates: &mut Vec<(usize, f32)>,
    most: usize,
    scratch: &mut Audible,
) {
    if let Some(gain) = gains.plain() {
        // All hear all others alike; only who listens alone doesn't hear the one who does.
        let mut listeners = peers.iter().enumerate().filter(|(_, peer)| peer.hears());
        match (listeners.next(), listeners.next()) {
            _ if gain == 0.0 => candidates.clear(),
            (None, _) => candidates.clear(),
            (Some((alone, _)), None) => candidates.retain(|candidate| candidate.0 != alone),
            _ => {}
        }
        return keep_highest(candidates, most);
    }
    let Audible { kept, ranked } = scratch;
    kept.clear();
    kept.resize(candidates.len(), false);
    let scarce = candidates.len() > most;
    let mut left = candidates.len();
    for listener in peers.iter().filter(|peer| peer.hears()) {
        ranked.clear();
        for (at, (index, rank)) in candidates.iter().enumerate() {
            let gain = gains.of(listener.id, peers[*index].id);
            if gain > 0.0 {
                // To rank few enough is to keep them all: no logarithm is needed for that.
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
