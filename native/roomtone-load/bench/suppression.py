"""Compares noise suppressors: PESQ-WB and ESTOI of speech with babble, a fan, a keyboard and white noise at 5 and 15 dB SNR, and of clean speech.

Usage, in the repository:

    cargo build --release --manifest-path native/roomtone-load/bench/suppression/Cargo.toml --target-dir tmp/suppression
    tmp/venv/bin/python native/roomtone-load/bench/suppression.py tmp/suppression/release/suppression [bits a second]

Two voices of espeak-ng speak, and five others are the babble. Nothing is encoded, unless bits a second are given for Opus before
the suppressor. PESQ is the mean of the voices, against the clean speech. The delay is measured by cross-correlation with clean speech, and told
as the longest of all cases: "roomtone" has none where it does nothing. The time is the longest median of all cases, for a frame of 20 ms."""

import io
import subprocess
import sys
import wave

import numpy as np
from pesq import pesq
from pystoi import stoi
from scipy.signal import butter, correlate, lfilter, resample_poly

RATE = 48_000
SUPPRESSORS = ["off", "roomtone", "nnnoiseless", "hush-vani", "sonora-moderate", "sonora-high"]
TEXT = "The meeting begins at nine o'clock in the large room. Please bring the figures of last week with you."
OTHERS = (
    "A boat came down the river in the morning, and the children ran to the bridge to see it pass. "
    "Their mother called them back, since breakfast was on the table, and the tea was growing cold."
)


def speak(text, voice, pitch, speed):
    command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "--stdout", text]
    said = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(said)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(1 << 30), dtype="<i2") / 32_768
    # Two seconds of quiet, in which a suppressor gets to know the noise.
    return np.concatenate([np.zeros(2 * RATE), resample_poly(samples, RATE, rate), np.zeros(RATE // 2)])


def active(sound):
    """The root mean square of the frames that aren't pauses."""
    frames = sound[: len(sound) // 960 * 960].reshape(-1, 960)
    energy = (frames**2).mean(axis=1)
    return np.sqrt(energy[energy > energy.max() * 1e-4].mean())


def babble(length, random):
    total = np.zeros(length)
    for n, voice in enumerate(["en-us", "en-gb", "en-gb-scotland", "de", "fr"]):
        said = speak(OTHERS, voice, 20 + 15 * n, 150 + 10 * n)[2 * RATE :]
        total += np.roll(np.resize(said / active(said), length), random.integers(length))
    return total


def fan(length, random):
    """Low noise, and the hum of a motor."""
    noise = lfilter(*butter(1, 500, fs=RATE), random.standard_normal(length))
    at = np.arange(length) / RATE
    hum = sum(np.sin(2 * np.pi * 118 * k * at) / k for k in range(1, 6))
    return noise / noise.std() + 0.3 * hum


def keyboard(length, random):
    """Seven keys a second: clicks of 2 to 8 kHz that decay within some milliseconds, twice for each key."""
    total = np.zeros(length)
    click = butter(2, [2_000, 8_000], "band", fs=RATE)
    for start in random.integers(0, length - RATE // 2, size=7 * length // RATE):
        for at, loud in ((start, 1.0), (start + random.integers(3_000, 6_000), 0.5)):
            burst = lfilter(*click, random.standard_normal(2_400)) * np.exp(-np.arange(2_400) / random.integers(150, 500))
            total[at : at + 2_400] += loud * burst[: length - at]
    return total


def white(length, random):
    return random.standard_normal(length)


def suppress(program, by, sound):
    wide = by != "hush-vani"
    sound = sound if wide else resample_poly(sound, 1, 3)
    done = subprocess.run([program, by, *sys.argv[2:3]], input=sound.astype("<f4").tobytes(), check=True, capture_output=True)
    left = np.frombuffer(done.stdout, dtype="<f4").astype(float)
    return left if wide else resample_poly(left, 3, 1), float(done.stderr)


def score(clean, sound, delay):
    length = min(len(clean), len(sound)) - delay
    reference = resample_poly(clean[:length], 1, 3)[32_000:]
    degraded = resample_poly(sound[delay : delay + length], 1, 3)[32_000:]
    return pesq(16_000, reference, degraded, "wb"), stoi(reference, degraded, 16_000, extended=True)


def main():
    program = sys.argv[1]
    random = np.random.default_rng(1)
    voices = [speak(TEXT, "en-us+f2", 60, 165), speak(TEXT, "en-gb", 40, 160)]
    voices = [voice * 10 ** (-26 / 20) / active(voice) for voice in voices]
    cases = {"clean": voices}
    for kind in (babble, fan, keyboard, white):
        for snr in (5, 15):
            noises = [kind(len(voice), random) for voice in voices]
            cases[f"{kind.__name__}, {snr} dB"] = [
                voice + noise * active(voice) / noise.std() * 10 ** (-snr / 20) for voice, noise in zip(voices, noises)
            ]
    delays, times, table = {}, {}, {}
    for by in SUPPRESSORS:
        late, spent = [0], []
        for case, sounds in cases.items():
            scores = []
            for clean, sound in zip(voices, sounds):
                done, time = suppress(program, by, sound)
                delay = max(0, int(np.argmax(correlate(done, clean))) - len(clean) + 1)
                scores.append(score(clean, done, delay))
                late.append(delay)
                spent.append(time)
            table[case, by] = np.mean(scores, axis=0)
        delays[by], times[by] = max(late), max(spent)
    print("| Noise | " + " | ".join(SUPPRESSORS) + " |")
    print("|---|" + "--:|" * len(SUPPRESSORS))
    for case in cases:
        cells = ["{:.2f} / {:.2f}".format(*table[case, by]) for by in SUPPRESSORS]
        print(f"| {case} | " + " | ".join(cells) + " |")
    print("| delay, ms | " + " | ".join(f"{delays[by] / 48:.1f}" for by in SUPPRESSORS) + " |")
    print("| µs a frame | " + " | ".join(f"{times[by]:.0f}" for by in SUPPRESSORS) + " |")


if __name__ == "__main__":
    main()
