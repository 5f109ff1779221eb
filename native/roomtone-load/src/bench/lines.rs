//! A conversation as packets: what each talker says in it, and when.

use std::ops::Range;
use std::sync::Arc;

use super::conversation::Conversation;
use super::speech::Voice;
use roomtone_testkit::fixtures::{FixtureError, TalkPacket};

/// From the beginning of a unit, or from one beep to the next, at least; a listener tells beeps apart that are so far from each other.
const BEEP_AFTER: u32 = 20;
const BEEP_EACH: u32 = 65;
/// Packets of a beep, and of the end of a unit, where none begins.
const BEEP: u32 = 4;
/// Alone is a talker beside whom nobody has spoken for so long: a server that changes over has done it.
const ALONE_FOR: u32 = 40;

/// Does anybody else speak while a beep is sent?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// Nobody does, or has for 0.8 s.
    Alone,
    /// Somebody does.
    Together,
    /// Somebody did a moment ago, or will in a moment; or it isn't known.
    Unknown,
}

/// Some uninterrupted speech.
#[derive(Clone, Debug)]
struct Line {
    frames: Range<u32>,
    packets: Arc<[TalkPacket]>,
    beeps: Vec<(u32, Company)>,
}

/// The part of one talker in a conversation.
#[derive(Clone, Debug)]
pub struct Turns {
    lines: Arc<[Line]>,
    frames: u32,
    /// Begins so many frames into the conversation.
    offset: u32,
}

impl Turns {
    /// Of the talker in this place. `beeps`: with beeps to measure latency by.
    pub fn new(conversation: &Conversation, place: usize, voice: &Voice, beeps: bool) -> Result<Turns, FixtureError> {
        let own = conversation.spans.iter().filter(|span| span.speaker == place);
        let voices = conversation.voices();
        let lines: Result<Vec<Line>, FixtureError> = own
            .enumerate()
            .map(|(number, span)| {
                let frames = span.frames.clone();
                let beeps = if beeps { beeps_of(&frames, &voices) } else { vec![] };
                let places: Vec<usize> = beeps.iter().map(|beep| (beep.0 - frames.start) as usize).collect();
                // From another phrase on each time.
                let packets = voice.unit(place * 5 + number * 3, frames.len(), &places)?;
                Ok(Line { frames, packets, beeps })
            })
            .collect();
        Ok(Turns {
            lines: lines?.into(),
            frames: conversation.frames.max(1),
            offset: 0,
        })
    }

    /// The same, begun so many frames later in the conversation.
    pub fn shifted(mut self, frames: u32) -> Turns {
        self.offset = frames % self.frames;
        self
    }

    /// The packet of this frame, counted from the beginning of the conversation, which repeats in both directions. With the company
    /// of a beep that begins in it.
    pub fn at(&self, frame: i64) -> Option<(TalkPacket, Option<Company>)> {
        let frame = (frame + i64::from(self.offset)).rem_euclid(i64::from(self.frames)) as u32;
        let index = self.lines.partition_point(|line| line.frames.end <= frame);
        let line = self.lines.get(index).filter(|line| line.frames.contains(&frame))?;
        let beep = line.beeps.iter().find(|beep| beep.0 == frame).map(|beep| beep.1);
        Some((line.packets[(frame - line.frames.start) as usize].clone(), beep))
    }
}

/// Where beeps begin in some speech: as often as they can be told apart, rather where two speak at a time than elsewhere.
fn beeps_of(frames: &Range<u32>, voices: &[u32]) -> Vec<(u32, Company)> {
    let company = |frame: u32| {
        let most = |range: Range<u32>| {
            let end = (range.end as usize).min(voices.len());
            voices[range.start as usize..end].iter().copied().max().unwrap_or(0)
        };
        if voices[frame as usize..(frame + BEEP) as usize]
            .iter()
            .all(|count| *count > 1)
        {
            Company::Together
        } else if most(frame.saturating_sub(ALONE_FOR)..frame + BEEP) < 2 {
            Company::Alone
        } else {
            Company::Unknown
        }
    };
    // The beginning is left out: a mixer has yet to fill its buffer, and a listener of both would hear the end of the beep before.
    let possible = frames.start + BEEP_AFTER.min(frames.len() as u32 / 2)..frames.end.saturating_sub(BEEP);
    let mut beeps: Vec<(u32, Company)> = Vec::new();
    for wanted in [Company::Together, Company::Alone] {
        for frame in possible.clone() {
            let far = beeps.iter().all(|beep| beep.0.abs_diff(frame) >= BEEP_EACH);
            if far && company(frame) == wanted {
                beeps.push((frame, wanted));
            }
        }
    }
    beeps.sort_by_key(|beep| beep.0);
    beeps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::conversation::{Part, Span};
    use crate::bench::speech::Speech;

    fn span(speaker: usize, frames: Range<u32>) -> Span {
        Span {
            speaker,
            frames,
            part: Part::Turn(0),
        }
    }

    #[test]
    fn a_talker_speaks_in_the_spans_of_the_conversation_and_again_in_each_round() {
        let voice = Speech::babble().unwrap().voices.remove(1);
        let conversation = Conversation {
            people: 2,
            frames: 400,
            spans: vec![span(0, 0..150), span(1, 140..250), span(0, 260..400)],
        };
        let turns = Turns::new(&conversation, 1, &voice, false).unwrap();
        let spoken: Vec<i64> = (-400..800).filter(|frame| turns.at(*frame).is_some()).collect();
        let expected: Vec<i64> = [-260, 140, 540].into_iter().flat_map(|from| from..from + 110).collect();
        assert_eq!(spoken, expected);
        assert_eq!(turns.at(141).unwrap().0, turns.at(541).unwrap().0);
        let later = turns.clone().shifted(100);
        assert_eq!(later.at(40).unwrap().0, turns.at(140).unwrap().0);
        let first = Turns::new(&conversation, 0, &voice, true).unwrap();
        assert!(first.at(139).is_some() && first.at(150).is_none() && first.at(260).is_some());
    }

    #[test]
    fn beeps_know_their_company_and_are_apart() {
        let conversation = Conversation {
            people: 2,
            frames: 500,
            spans: vec![span(0, 0..200), span(1, 180..400)],
        };
        let voices = conversation.voices();
        let first = beeps_of(&(0..200), &voices);
        assert_eq!(first.last(), Some(&(180, Company::Together)));
        assert!(
            first[..first.len() - 1].iter().all(|beep| beep.1 == Company::Alone) && first.len() == 3,
            "{first:?}"
        );
        let second = beeps_of(&(180..400), &voices);
        assert!(
            second.iter().all(|beep| beep.1 == Company::Alone && beep.0 >= 240),
            "{second:?}"
        );
        for beeps in [first, second] {
            assert!(
                beeps.windows(2).all(|pair| pair[1].0 - pair[0].0 >= BEEP_EACH),
                "{beeps:?}"
            );
        }
        assert!(beeps_of(&(0..3), &[1; 3]).is_empty());
    }

    #[test]
    fn beeps_are_in_the_packets() {
        let voice = Speech::babble().unwrap().voices.remove(0);
        let conversation = Conversation {
            people: 1,
            frames: 300,
            spans: vec![span(0, 0..200)],
        };
        let turns = Turns::new(&conversation, 0, &voice, true).unwrap();
        let beeps: Vec<i64> = (0..300)
            .filter(|frame| turns.at(*frame).is_some_and(|said| said.1.is_some()))
            .collect();
        assert_eq!(beeps, [20, 85, 150]);
        // A beep is 11 dB louder than the speech.
        let loudness = |frame: i64| turns.at(frame).unwrap().0.level.minus_dbov;
        assert!(
            beeps
                .iter()
                .all(|beep| loudness(*beep) < 18 && loudness(*beep) < loudness(*beep - 3))
        );
    }
}
