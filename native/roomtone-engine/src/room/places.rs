//! How distance and direction change what a listener hears of a speaker: both have a place, and nothing else decides here.
//!
//! Gains come in steps of half a decibel and pans in fifteen, so that listeners who stand together have the same row and share a mix.

use std::collections::HashMap;

use crate::command::{Distance, PeerId, Place};

use super::gains::{GainPan, MAX_GAIN};

/// Below −60 dB: nobody hears it, so it isn't decoded.
const INAUDIBLE: f64 = 0.001;
/// Steps of gain in a factor of ten.
const GAIN_STEPS: f64 = 40.0;
/// Steps of pan on each side.
const PAN_STEPS: f64 = 7.0;

type Vector = [f64; 3];

/// The places of a room's participants, and the model of distance.
#[derive(Debug, Default)]
pub(super) struct Places {
    distance: Distance,
    standing: HashMap<PeerId, Standing>,
}

// Somebody in a place. The head's axes are unit vectors; one who looks straight up or down has no right.
#[derive(Clone, Copy, Debug)]
struct Standing {
    at: Vector,
    right: Vector,
    front: Vector,
    everywhere: bool,
}

impl Places {
    pub(super) fn set_distance(&mut self, distance: Distance) {
        self.distance = distance;
    }

    pub(super) fn distance(&self) -> Distance {
        self.distance
    }

    /// Puts a participant somewhere, or takes their place away.
    pub(super) fn set(&mut self, peer: PeerId, place: Option<Place>) {
        match place {
            Some(Place { at, facing, everywhere }) => {
                // Right is the cross product of front and up, {0, 1, 0}.
                let [x, _, z] = facing;
                let (right, front) = (unit([-z, 0.0, x]), unit(facing));
                let standing = Standing {
                    at,
                    right,
                    front,
                    everywhere,
                };
                self.standing.insert(peer, standing);
            }
            None => self.forget(peer),
        }
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.standing.remove(&peer);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.standing.is_empty()
    }

    // Both, if distance and direction count between them.
    fn between(&self, listener: PeerId, speaker: PeerId) -> Option<(&Standing, &Standing)> {
        let mouth = self.standing.get(&speaker).filter(|mouth| !mouth.everywhere)?;
        Some((self.standing.get(&listener)?, mouth))
    }

    /// The gain at which a listener hears a speaker, where it would be `gain` side by side.
    pub(super) fn gain(&self, listener: PeerId, speaker: PeerId, gain: f32) -> f32 {
        match self.between(listener, speaker) {
            Some((ear, mouth)) if gain > 0.0 => self.weakened(ear, mouth, gain),
            _ => gain,
        }
    }

    /// The same with the side, on top of the pan of `cell`.
    pub(super) fn heard(&self, listener: PeerId, speaker: PeerId, cell: GainPan) -> GainPan {
        match self.between(listener, speaker) {
            Some((ear, mouth)) if cell.gain > 0.0 => {
                let pan = (f64::from(cell.pan) + side(ear, mouth)).clamp(-1.0, 1.0);
                let pan = (pan * PAN_STEPS).round() / PAN_STEPS;
                GainPan::new(self.weakened(ear, mouth, cell.gain), pan as f32)
            }
            _ => cell,
        }
    }

    fn weakened(&self, ear: &Standing, mouth: &Standing, gain: f32) -> f32 {
        let away = towards(ear, mouth);
        (quantised(f64::from(gain) * self.distance.gain(dot(away, away).sqrt())) as f32).min(MAX_GAIN)
    }
}

impl Distance {
    /// The gain at a distance, 0…1.
    fn gain(&self, d: f64) -> f64 {
        match *self {
            Distance::Linear {
                reference,
                max,
                rolloff,
            } => {
                let (nearest, farthest) = (reference.min(max), reference.max(max));
                let rolloff = rolloff.clamp(0.0, 1.0);
                if nearest == farthest {
                    // As the specification has it.
                    return 1.0 - rolloff;
                }
                1.0 - rolloff * (d.max(nearest).min(farthest) - nearest) / (farthest - nearest)
            }
            Distance::Inverse { reference, .. } | Distance::Exponential { reference, .. } if reference == 0.0 => 0.0,
            Distance::Inverse { reference, rolloff } => {
                reference / (reference + rolloff * (d.max(reference) - reference))
            }
            Distance::Exponential { reference, rolloff } => (d.max(reference) / reference).powf(-rolloff),
        }
    }
}

// The nearest half decibel.
fn quantised(gain: f64) -> f64 {
    // NaN, too, is silence.
    if gain >= INAUDIBLE {
        10f64.powf((GAIN_STEPS * gain.log10()).round() / GAIN_STEPS)
    } else {
        0.0
    }
}

// The pan of the `equalpower` model: neither height nor front and back make a difference.
fn side(ear: &Standing, mouth: &Standing) -> f64 {
    let away = towards(ear, mouth);
    // 0.0 is added because the arc tangent of two negative zeros is half a turn.
    let pan = dot(away, ear.right).atan2(dot(away, ear.front).abs() + 0.0) * std::f64::consts::FRAC_2_PI;
    if pan.is_nan() { 0.0 } else { pan }
}

fn towards(ear: &Standing, mouth: &Standing) -> Vector {
    std::array::from_fn(|axis| mouth.at[axis] - ear.at[axis])
}

fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn unit(vector: Vector) -> Vector {
    let length = dot(vector, vector).sqrt();
    if length == 0.0 {
        vector
    } else {
        vector.map(|part| part / length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AHEAD: Vector = [0.0, 0.0, -1.0];

    fn places(distance: Distance, people: &[(PeerId, Vector, Vector)]) -> Places {
        let mut places = Places::default();
        places.set_distance(distance);
        for (peer, at, facing) in people {
            let place = Place {
                at: *at,
                facing: *facing,
                everywhere: false,
            };
            places.set(*peer, Some(place));
        }
        places
    }

    const UNIT: GainPan = GainPan { gain: 1.0, pan: 0.0 };

    // By hand from the Web Audio specification, "PannerNode": refDistance 2, maxDistance 10, rolloffFactor 0.5.
    #[test]
    fn distance_weakens_as_in_web_audio() {
        let (reference, max, rolloff) = (2.0, 10.0, 0.5);
        let linear = Distance::Linear {
            reference,
            max,
            rolloff,
        };
        let inverse = Distance::Inverse { reference, rolloff };
        let exponential = Distance::Exponential { reference, rolloff };
        let by_hand = [
            (
                linear,
                vec![(0.0, 1.0), (2.0, 1.0), (4.0, 0.875), (10.0, 0.5), (500.0, 0.5)],
            ),
            (
                inverse,
                vec![(0.0, 1.0), (2.0, 1.0), (6.0, 0.5), (10.0, 1.0 / 3.0), (18.0, 0.2)],
            ),
            (
                exponential,
                vec![(0.0, 1.0), (2.0, 1.0), (8.0, 0.5), (32.0, 0.25), (200.0, 0.1)],
            ),
        ];
        for (distance, values) in by_hand {
            for (d, gain) in values {
                assert!((distance.gain(d) - gain).abs() < 1e-12, "{distance:?} at {d}");
            }
        }
    }

    #[test]
    fn the_edges_of_the_specification() {
        let linear = |reference, max, rolloff| Distance::Linear {
            reference,
            max,
            rolloff,
        };
        assert_eq!(linear(1.0, 11.0, 3.0).gain(11.0), 0.0, "a factor above 1 counts as 1");
        assert_eq!(linear(11.0, 1.0, 1.0).gain(6.0), 0.5, "the smaller one is the nearest");
        assert_eq!(linear(5.0, 5.0, 0.25).gain(3.0), 0.75);
        for (reference, rolloff, gain) in [(0.0, 1.0, 0.0), (1.0, 0.0, 1.0)] {
            assert_eq!(Distance::Inverse { reference, rolloff }.gain(3.0), gain);
            assert_eq!(Distance::Exponential { reference, rolloff }.gain(3.0), gain);
        }
    }

    // azimuth / 90, folded at the ears.
    #[test]
    fn the_side_is_that_of_web_audio() {
        let half_up = 2f64.sqrt().atan() * std::f64::consts::FRAC_2_PI;
        for (facing, mouth, wanted) in [
            (AHEAD, [1.0, 0.0, -1.0], 0.5),
            (AHEAD, [-1.0, 0.0, -1.0], -0.5),
            (AHEAD, [1.0, 0.0, 1.0], 0.5),
            (AHEAD, [0.0, 0.0, 7.0], 0.0),
            (AHEAD, [-3.0, 4.0, 0.0], -1.0),
            ([1.0, 0.0, 0.0], [5.0, 0.0, 0.0], 0.0),
            ([1.0, 0.0, 0.0], [0.0, 0.0, 5.0], 1.0),
            ([0.0, 0.0, 1.0], [2.0, 0.0, 0.0], -1.0),
            ([0.0, 1.0, -1.0], [0.0, 0.0, -1.0], 0.0),
            ([0.0, 1.0, -1.0], [1.0, 0.0, -1.0], half_up),
            ([0.0, 1.0, 0.0], [1.0, 0.0, 0.0], 0.0),
            ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], 0.0),
            (AHEAD, [0.0, 0.0, 0.0], 0.0),
            (AHEAD, [0.0, 9.0, 0.0], 0.0),
        ] {
            let places = places(Distance::default(), &[(1, [0.0; 3], facing), (2, mouth, AHEAD)]);
            let heard = side(&places.standing[&1], &places.standing[&2]);
            assert!((heard - wanted).abs() < 1e-9, "{facing:?} {mouth:?}: {heard}");
        }
    }

    #[test]
    fn steps_are_half_decibels_and_sevenths() {
        let places = places(
            Distance::default(),
            &[
                (1, [0.0; 3], AHEAD),
                (2, [4.9, 0.0, -0.3], AHEAD),
                (3, [1001.0, 0.0, 0.0], AHEAD),
            ],
        );
        let heard = places.heard(1, 2, UNIT);
        assert!((20.0 * heard.gain.log10() + 14.0).abs() < 1e-4, "{heard:?}");
        assert_eq!(heard.pan, 1.0);
        assert_eq!(places.heard(1, 2, GainPan { gain: 1.0, pan: -0.57 }).pan, 3.0 / 7.0);
        assert_eq!(places.heard(1, 3, UNIT), GainPan::SILENT);
        assert_eq!(places.gain(1, 3, 1.0), 0.0);
    }

    #[test]
    fn without_a_place_or_from_everywhere_nothing_changes() {
        let mut places = places(
            Distance::default(),
            &[(1, [0.0; 3], AHEAD), (2, [8.0, 0.0, 0.0], AHEAD)],
        );
        let cell = GainPan { gain: 0.3, pan: 0.1 };
        assert_eq!(places.heard(1, 9, cell), cell);
        assert_eq!(places.heard(9, 1, cell), cell);
        let place = Place {
            at: [8.0, 0.0, 0.0],
            facing: AHEAD,
            everywhere: true,
        };
        places.set(2, Some(place));
        assert_eq!(places.heard(1, 2, cell), cell, "a megaphone");
        assert_eq!(
            places.gain(2, 1, 1.0),
            0.125_892_54,
            "who hears the others from where they are"
        );
        places.set(2, None);
        assert_eq!(places.heard(2, 1, cell), cell);
    }

    #[test]
    fn any_numbers_give_a_gain_and_a_pan() {
        let numbers = [
            0.0,
            -0.0,
            1.0,
            1e6,
            -1e6,
            1e300,
            f64::NAN,
            f64::INFINITY,
            f64::MIN_POSITIVE,
        ];
        let models = |a, b| {
            [
                Distance::Linear {
                    reference: a,
                    max: b,
                    rolloff: a,
                },
                Distance::Inverse {
                    reference: a,
                    rolloff: b,
                },
                Distance::Exponential {
                    reference: a,
                    rolloff: b,
                },
            ]
        };
        for a in numbers {
            for b in numbers {
                for distance in models(a, b) {
                    let places = places(distance, &[(1, [a, b, a], [b, a, b]), (2, [b, b, a], AHEAD)]);
                    let heard = places.heard(1, 2, UNIT);
                    assert!(
                        (0.0..=10.0).contains(&heard.gain) && heard.pan.abs() <= 1.0,
                        "{a} {b} {heard:?}"
                    );
                    assert!((0.0..=10.0).contains(&places.gain(1, 2, 1.0)), "{a} {b} {distance:?}");
                }
            }
        }
    }
}
