"""Reads lines of WAV files (48 kHz, mono) from standard input, separated by tabs: one or more references, then the degraded sound.
Prints PESQ-WB and ESTOI of each line as JSON. The degraded sound may have more around it, and is judged against the sum of the
references. Each reference is aligned by cross-correlation, and each of its phrases once more by itself: a mixer delays its voices
differently, and a server that changes between mixing and passing on moves the difference into pauses, as a player's jitter buffer
does. PESQ does the same within itself; ESTOI doesn't."""

import json
import sys
import wave

import numpy as np
from pesq import pesq
from pystoi import stoi
from scipy.signal import correlate, resample_poly

RATE = 16_000


def read(path):
    with wave.open(path, "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return resample_poly(samples / 32768.0, 1, 3)


def lag(reference, degraded):
    return int(np.argmax(correlate(degraded, reference, mode="full"))) - (len(reference) - 1)


def phrases(reference):
    """Beginning and end of what is said between pauses of at least 0.2 s, in samples; a pause is below -50 dB of the loudest 20 ms."""
    frame = RATE // 50
    count = len(reference) // frame
    energy = (reference[: count * frame].reshape(count, frame) ** 2).mean(axis=1)
    loud = np.flatnonzero(energy > energy.max() * 1e-5) if count else np.array([], dtype=int)
    found = []
    for at in loud:
        if found and at - found[-1][1] < 10:
            found[-1][1] = at + 1
        else:
            found.append([at, at + 1])
    return [(max(0, begin - 2) * frame, min(count, end + 2) * frame) for begin, end in found]


def moved(reference, degraded, at):
    """The reference with each phrase where the degraded sound has it, up to 80 ms away from where the whole would have it."""
    reach = RATE * 80 // 1000
    placed = np.zeros(len(reference) + 2 * reach)
    for begin, end in phrases(reference):
        phrase = reference[begin:end]
        first = at + begin - reach
        around = np.concatenate([np.zeros(max(0, -first)), degraded[max(0, first) : max(0, at + end + reach)]])
        around = np.concatenate([around, np.zeros(max(0, len(phrase) + 2 * reach - len(around)))])
        shift = int(np.argmax(correlate(around, phrase, mode="valid")))
        placed[begin + shift : begin + shift + len(phrase)] += phrase
    return at - reach, placed


def whole(reference, degraded, at):
    """The reference as it is."""
    return at, reference


def aligned(references, degraded, place):
    placed = [place(reference, degraded, lag(reference, degraded)) for reference in references]
    begin = min(at for at, _ in placed)
    end = max(at + len(reference) for at, reference in placed)
    total = np.zeros(end - begin)
    for at, reference in placed:
        total[at - begin : at - begin + len(reference)] += reference
    around = np.concatenate([np.zeros(max(0, -begin)), degraded, np.zeros(max(0, end - len(degraded)))])
    return total, around[max(0, begin) :][: len(total)]


scores = []
for line in sys.stdin:
    *references, degraded = (read(path) for path in line.rstrip("\n").split("\t"))
    scores.append(
        {
            "pesq": float(pesq(RATE, *aligned(references, degraded, whole), "wb")),
            "estoi": float(stoi(*aligned(references, degraded, moved), RATE, extended=True)),
        }
    )
json.dump(scores, sys.stdout)
