"""Compares ways to tell when somebody has finished speaking: clean, with noise at 15 and 5 dB SNR, and noise alone.

Usage, in the repository:

    cargo build --release --manifest-path native/roomtone-load/bench/turns/Cargo.toml --target-dir tmp/turns
    tmp/venv/bin/python native/roomtone-load/bench/turns.py tmp/turns/release/turns

Six voices of espeak-ng at -26 dBov say five sentences each, with pauses of 1.6 s. A turn ends after 700 ms without speech: somebody
speaks for 400 ms after they were last heard to, as they do for an agent, and is silent for 300 ms then. One is right if it begins at
most 500 ms before its sentence and ends after it, before the next. A turn without a sentence is false. The noise begins before the
first sentence.

"engine" is the media engine's fixed level; "background" is 9 dB more than the softest 40 ms of the last one to two seconds, which
Roomtone had before; "earshot" is that crate's detector with a score of 0.5; "roomtone" is what Roomtone makes of it: a score of 0.6,
where the sound is louder than the background.
For noise alone it prints the turns, and how much of the time somebody speaks."""

import subprocess
import sys

import numpy as np
from scipy.signal import resample_poly

from suppression import RATE, active, babble, fan, keyboard, speak, white

DETECTORS = ["engine", "background", "earshot", "roomtone"]
ENOUGH = {"earshot": 0.5, "roomtone": 0.6}
VOICES = [("en-us+f2", 60, 165), ("en-gb", 40, 160), ("en-us+m3", 20, 150), ("de", 30, 170), ("fr+f4", 70, 165), ("it", 50, 160)]
SENTENCES = [
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It is easy to tell the depth of a well.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
]
FRAME = RATE // 50
HOLD_MS = 400
SILENCE_MS = 300
PAUSE = int(1.6 * RATE)


# Sound before noise alone.
BEFORE = {
    "": lambda random: np.zeros(0),
    " after silence": lambda random: np.zeros(2 * RATE),
    " after soft noise": lambda random: white(3 * RATE, random) * 10 ** (-65 / 20),
}


def sine(hz, samples):
    return np.sin(2 * np.pi * hz * np.arange(samples) / RATE)


def low(samples, random):
    """A tone of 300 Hz."""
    return sine(300, samples)


def high(samples, random):
    """A tone of 1,500 Hz."""
    return sine(1_500, samples)


def talk(voice, pitch, speed):
    """The sentences with pauses, and where each begins and ends, in samples."""
    parts, sentences, at = [np.zeros(3 * RATE)], [], 3 * RATE
    for text in SENTENCES:
        said = speak(text, voice, pitch, speed)[2 * RATE : -RATE // 2]
        loud = np.where(np.abs(said) > np.abs(said).max() * 0.02)[0]
        said = said[loud[0] : loud[-1]]
        sentences.append((at, at + len(said)))
        parts += [said, np.zeros(PAUSE)]
        at += len(said) + PAUSE
    sound = np.concatenate(parts)
    return sound * 10 ** (-26 / 20) / active(sound), sentences


def levels(sound, length):
    """In -dBov: the softest is the greatest."""
    frames = sound[: len(sound) // length * length].reshape(-1, length)
    power = np.sqrt((frames**2).mean(axis=1)) + 1e-9
    return np.clip(np.round(-20 * np.log10(power)), 0, 127).astype(int)


def engine(sound):
    """Two frames above -50 dBov, and 400 ms after the last of them."""
    speaks, loud, last, told = False, 0, None, []
    for number, level in enumerate(levels(sound, FRAME)):
        loud, last = (loud + 1, number) if level < 50 else (0, last)
        if loud >= 2:
            speaks = True
        elif last is None or (number - last) * 20 >= HOLD_MS:
            speaks = False
        told.append(speaks)
    return np.array(told)


def background(sound):
    by_engine, told = engine(sound), []
    before, softest, window_ms, quiet_ms = 127, 0, 0, 0
    for number, level in enumerate(levels(sound, 2 * FRAME)):
        if level == 127:
            quiet_ms += 40
        else:
            softest = max(softest, level)
            least = max(before, softest)
            quiet_ms = 0 if least < 35 or level <= least - 9 else quiet_ms + 40
            window_ms += 40
            if window_ms >= 1_000:
                before, softest, window_ms = softest, 0, 0
        told += [by_engine[2 * number : 2 * number + 2].any() and quiet_ms < HOLD_MS] * 2
    return np.array(told)


def network(program, by, sound):
    done = subprocess.run(
        [program, by], input=resample_poly(sound, 1, 3).astype("<f4").tobytes(), check=True, capture_output=True
    )
    scores = np.array([float(line) for line in done.stdout.split()])
    # Those of the frames of 16 ms that a frame of 20 ms touches.
    spans = [(number * 20 // 16, (number + 1) * 20 // 16 + 1) for number in range(len(sound) // FRAME)]
    told = [scores[min(len(scores) - 1, begin) : end].max() >= ENOUGH[by] for begin, end in spans]
    return held(told), float(done.stderr)


def held(heard):
    last, told = -np.inf, []
    for number, now in enumerate(heard):
        last = number if now else last
        told.append((number - last) * 20 < HOLD_MS)
    return np.array(told)


def turns(speaks):
    """When each begins and ends, in ms."""
    found, began, silent = [], None, 0
    for number, now in enumerate(speaks):
        if now:
            began, silent = number * 20 if began is None else began, 0
        elif began is not None:
            silent += 20
            if silent >= SILENCE_MS:
                found.append((began, number * 20))
                began = None
    return found if began is None else [*found, (began, np.inf)]


def judge(speaks, sentences):
    found = turns(speaks)
    spans = [(begin * 1_000 / RATE, end * 1_000 / RATE) for begin, end in sentences]
    late = []
    for begin, end in spans:
        own = [turn for turn in found if turn[0] < end and turn[1] > begin]
        if len(own) == 1 and own[0][0] > begin - 500 and end <= own[0][1] < end + 1_600:
            late.append(own[0][1] - end)
    of_none = [turn for turn in found if not any(turn[0] < end and turn[1] - HOLD_MS - SILENCE_MS > begin for begin, end in spans)]
    return late, len(of_none)


def detect(program, by, sound, times):
    if by in ("engine", "background"):
        return {"engine": engine, "background": background}[by](sound)
    told, time = network(program, by, sound)
    times.append(time)
    return told


def row(name, cells):
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main():
    program = sys.argv[1]
    random = np.random.default_rng(3)
    voices, times = [talk(*voice) for voice in VOICES], []
    row("Noise", DETECTORS)
    print("|---|" + "--:|" * len(DETECTORS))
    kinds = [(kind, snr) for kind in (fan, keyboard, white, babble) for snr in (15, 5)]
    for kind, snr in [(None, 0), *kinds]:
        right, false = {by: [] for by in DETECTORS}, dict.fromkeys(DETECTORS, 0)
        for sound, sentences in voices:
            if kind:
                noise = kind(len(sound), random)
                sound = sound + noise * active(sound) / noise.std() * 10 ** (-snr / 20)
            for by in DETECTORS:
                late, of_none = judge(detect(program, by, sound, times), sentences)
                right[by] += late
                false[by] += of_none
        cells = []
        for by in DETECTORS:
            late = f", {np.median(right[by]):.0f} ms" if right[by] else ""
            cells.append(f"{len(right[by])} + {false[by]}{late}")
        row(f"{kind.__name__}, {snr} dB" if kind else "clean", cells)
    print(f"\n{np.median(times):.1f} µs a frame of 16 ms\n")

    row("Noise alone", DETECTORS)
    print("|---|" + "--:|" * len(DETECTORS))
    for kind in (fan, keyboard, white, low, high):
        for level in (-13, -23, -31, -36, -51):
            for before in BEFORE:
                noise = kind(20 * RATE, random)
                noise = noise * 10 ** (level / 20) / noise.std()
                sound = np.clip(np.concatenate([BEFORE[before](random), noise]), -1, 1)
                told = [detect(program, by, sound, times) for by in DETECTORS]
                cells = [f"{len(turns(speaks))}, {speaks[-1000:].mean() * 100:.0f} %" for speaks in told]
                row(f"{kind.__name__} of {level} dBov{before}".replace("-", "−"), cells)


if __name__ == "__main__":
    main()
