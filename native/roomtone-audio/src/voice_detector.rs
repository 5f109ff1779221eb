//! Whether sound is a voice, by a small recurrent network (`earshot`) and the level above the background.

/// Samples of a frame of the network: 16 ms.
const FRAME: usize = 256;
/// Frames of which the level is taken: 48 ms.
const SMOOTH: usize = 3;
/// Frames of a window in which the softest is sought: 1 s.
const WINDOW: u32 = 62;
/// 4 dB, as energy.
const LOUDER: f64 = 2.5;

/// The voice detector of one stream at [`VoiceDetector::RATE`]: 8 kB.
///
/// A score is between 0 and 1; from about 0.6 on it is a voice. It is 0 where the sound is no louder than its own background, whatever
/// the network makes of it: a loud fan and a low tone are voices by the network alone. It doesn't tell a voice from other people's.
#[derive(Default)]
pub struct VoiceDetector {
    network: Box<earshot::Detector>,
    background: Background,
    /// Samples that don't fill a frame yet.
    rest: Vec<i16>,
    /// The score of the last frame.
    last: f32,
}

impl VoiceDetector {
    /// The rate of the sound that it takes, in Hz.
    pub const RATE: u32 = 16_000;

    /// Takes a mono piece of any length. Returns the highest score of the frames of 16 ms that it completes; if it completes
    /// none, that of the last one before.
    pub fn hear(&mut self, pcm: &[f32]) -> f32 {
        let mut highest = None;
        for sample in pcm {
            // The cast keeps samples above full scale at it, and makes 0 of no number.
            self.rest.push((sample * f32::from(i16::MAX)).round() as i16);
            if self.rest.len() == FRAME {
                self.last = self.score();
                self.rest.clear();
                highest = Some(self.last.max(highest.unwrap_or(0.0)));
            }
        }
        highest.unwrap_or(self.last)
    }

    fn score(&mut self) -> f32 {
        let energy = self.rest.iter().map(|sample| i64::from(*sample).pow(2) as u64).sum();
        let loud = self.background.exceeded_by(energy);
        if energy == 0 {
            // Digital silence is no sound that the network knows: after it, any tone or noise that begins would be a voice.
            return 0.0;
        }
        let score = self.network.predict_i16(&self.rest);
        if loud { score } else { 0.0 }
    }
}

/// The softest sound of the last one to two seconds, by energies of frames.
struct Background {
    /// Those of the last frames.
    recent: [u64; SMOOTH],
    /// The softest of the window before and of this one.
    before: u64,
    softest: u64,
    /// Frames in this window.
    frames: u32,
}

impl Default for Background {
    fn default() -> Background {
        Background {
            recent: [0; SMOOTH],
            before: u64::MAX,
            softest: u64::MAX,
            frames: 0,
        }
    }
}

impl Background {
    /// Takes the energy of the next frame. Returns whether the last 48 ms are louder than the background. Digital silence is none.
    fn exceeded_by(&mut self, energy: u64) -> bool {
        self.recent.rotate_left(1);
        self.recent[SMOOTH - 1] = energy;
        if self.recent.contains(&0) {
            return false;
        }
        let level: u64 = self.recent.iter().sum();
        self.softest = self.softest.min(level);
        let background = self.before.min(self.softest);
        self.frames += 1;
        if self.frames == WINDOW {
            (self.before, self.softest, self.frames) = (self.softest, u64::MAX, 0);
        }
        level as f64 >= background as f64 * LOUDER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Noise, Tone};
    use crate::{Decoder, SAMPLE_RATE};

    const STEP: usize = (SAMPLE_RATE / VoiceDetector::RATE) as usize;
    const VOICE: f32 = 0.6;

    /// A line of the demo room, at 16 kHz.
    fn speech(line: &str) -> Vec<f32> {
        let path = format!("{}/../../priv/demo/{line}.opus", env!("CARGO_MANIFEST_DIR"));
        let mut packets = ogg::PacketReader::new(std::fs::File::open(path).unwrap());
        let (mut decoder, mut pcm) = (Decoder::new().unwrap(), Vec::new());
        let mut number = 0;
        while let Some(packet) = packets.read_packet().unwrap() {
            // Two headers are before the sound.
            if number >= 2 {
                decoder.decode(&packet.data, &mut pcm).unwrap();
            }
            number += 1;
        }
        let mean = |samples: &[f32]| samples.iter().sum::<f32>() / STEP as f32;
        pcm.chunks_exact(STEP).map(mean).collect()
    }

    /// The scores of batches of 40 ms.
    fn scores(pcm: &[f32]) -> Vec<f32> {
        let mut detector = VoiceDetector::default();
        pcm.chunks(640).map(|piece| detector.hear(piece)).collect()
    }

    /// How much of it is a voice, of 1.
    fn share(pcm: &[f32]) -> f32 {
        let scores = scores(pcm);
        scores.iter().filter(|score| **score >= VOICE).count() as f32 / scores.len() as f32
    }

    fn noise(seconds: usize, amplitude: f32) -> Vec<f32> {
        let mut pcm = vec![0.0; seconds * VoiceDetector::RATE as usize];
        Noise::new(5, amplitude).fill(&mut pcm);
        pcm
    }

    #[test]
    fn speech_is_a_voice() {
        for line in ["01", "05", "09", "14"] {
            let share = share(&speech(line));
            assert!(share > 0.7, "line {line}: {share}");
        }
    }

    /// A tone at 16 kHz.
    fn tone(hz: f64, seconds: u32, amplitude: f32) -> Vec<f32> {
        // It is made for 48 kHz.
        let mut tone = Tone::new(hz * STEP as f64, amplitude);
        (0..seconds * VoiceDetector::RATE).map(|_| tone.next_sample()).collect()
    }

    #[test]
    fn silence_steady_noise_and_tones_are_no_voice_at_any_level() {
        assert_eq!(share(&[0.0; 16_000]), 0.0);
        for silence in [0, 32_000] {
            for (name, sound) in [
                ("soft noise", noise(5, 0.01)),
                ("loud noise", noise(5, 0.4)),
                ("a low tone", tone(300.0, 5, 0.3)),
                ("a tone", tone(440.0, 5, 0.3)),
                ("a whistle", tone(1_500.0, 5, 0.2)),
            ] {
                let after = [vec![0.0; silence], sound].concat();
                assert_eq!(share(&after), 0.0, "{name} after {silence} samples of silence");
            }
        }
    }

    #[test]
    fn noise_that_begins_in_softer_noise_is_a_voice_for_two_seconds_at_most() {
        // The network takes the tone for a voice for as long as it lasts.
        let scores = scores(&[noise(3, 0.001), tone(300.0, 5, 0.3)].concat());
        assert!(scores[75..90].iter().any(|score| *score >= VOICE));
        assert!(scores[75 + 54..].iter().all(|score| *score < VOICE));
    }

    #[test]
    fn speech_is_found_in_noise_and_after_it() {
        let said = speech("01");
        let noise = noise(1 + said.len() / VoiceDetector::RATE as usize, 0.02);
        let mixed: Vec<f32> = noise.iter().zip(&said).map(|(a, b)| a + b).collect();
        let scores = scores(&[&noise, &mixed, &noise].map(|part| part.as_slice()).concat());
        let (before, during) = (noise.len() / 640, mixed.len() / 640);
        let voice = |scores: &[f32]| scores.iter().filter(|score| **score >= VOICE).count();
        let found = voice(&scores[before..before + during]);
        assert!(found * 10 > during * 4, "{found} of {during}");
        assert_eq!(voice(&scores[..before]), 0);
        assert_eq!(voice(&scores[before + during + 10..]), 0);
    }

    #[test]
    fn the_length_of_pieces_does_not_matter() {
        let said = speech("08");
        let mut whole = VoiceDetector::default();
        let highest = whole.hear(&said);
        let mut pieces = VoiceDetector::default();
        let scores = said.chunks(100).map(|piece| pieces.hear(piece));
        assert_eq!(scores.fold(0.0, f32::max), highest);
        // A piece that completes no frame has the score of the one before.
        let last = pieces.last;
        assert_eq!((pieces.hear(&[]), whole.last), (last, last));
    }

    #[test]
    fn sound_that_is_no_number_or_far_above_full_scale_is_taken() {
        let mut detector = VoiceDetector::default();
        let wild: Vec<f32> = (0..5_120)
            .map(|i| [3e38, -3e38, f32::NAN, f32::INFINITY][i % 4])
            .collect();
        assert!((0.0..=1.0).contains(&detector.hear(&wild)));
    }
}
