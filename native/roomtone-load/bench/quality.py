"""Reads lines of WAV files (48 kHz, mono) from standard input, separated by tabs: one or more references, then the degraded sound.
Prints PESQ-WB and ESTOI of each line as JSON. The degraded sound may have more around it, and is judged against the sum of the
references. Each reference is aligned by cross-correlation, and each of its phrases once more by itself: a mixer delays its voices
differently, and a server that changes between mixing and passing on moves the difference into pauses, as a player's jitter buffer
does. PESQ does the same within itself; ESTOI doesn't.

Where several voices speak at once, a jitter buffer may shorten a pause between two words of one of them. Nobody hears that a
voice is a few milliseconds earlier than the others from then on, but the sum of the references is another waveform, and neither
measure can align voices one by one. So each phrase of several is aligned in two parts where that fits the sound better."""

import json
import sys
import wave

import numpy as np
from pesq import pesq
from pystoi import stoi
from scipy.signal import correlate, resample_poly

RATE = 16_000
REACH = RATE * 80 // 1000


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


def search(part, degraded, at):
    """How far after `at` (up to 160 ms) the degraded sound has this part, in samples, and how well it fits there."""
    around = np.concatenate([np.zeros(max(0, -at)), degraded[max(0, at) : max(0, at + len(part) + 2 * REACH)]])
    around = np.concatenate([around, np.zeros(max(0, len(part) + 2 * REACH - len(around)))])
    fits = correlate(around, part, mode="valid")
    shift = int(np.argmax(fits))
    return shift, fits[shift]


def moved(reference, degraded, at):
    """The reference with each phrase where the degraded sound has it, up to 80 ms away from where the whole would have it."""
    placed = np.zeros(len(reference) + 2 * REACH)
    for begin, end in phrases(reference):
        phrase = reference[begin:end]
        shift, _ = search(phrase, degraded, at + begin - REACH)
        placed[begin + shift : begin + shift + len(phrase)] += phrase
    return at - REACH, placed


def gaps(phrase):
    """Places between two words: the middle of each run of frames of 10 ms that are 25 dB below the loudest."""
    frame = RATE // 100
    count = len(phrase) // frame
    energy = (phrase[: count * frame].reshape(count, frame) ** 2).mean(axis=1)
    quiet = np.flatnonzero(energy < energy.max() * 10**-2.5)
    runs = np.split(quiet, np.flatnonzero(np.diff(quiet) > 1) + 1)
    middles = [int(run[len(run) // 2]) * frame for run in runs if len(run)]
    return [at for at in middles if RATE // 4 < at < len(phrase) - RATE // 4]


def split(reference, degraded, at):
    """As `moved`, and a phrase in two parts where these fit better by a fiftieth of its energy."""
    placed = np.zeros(len(reference) + 2 * REACH)
    for begin, end in phrases(reference):
        phrase, first = reference[begin:end], at + begin - REACH
        shift, fit = search(phrase, degraded, first)
        best = [(0, len(phrase), shift)]
        least = fit + (phrase**2).sum() / 50
        for middle in gaps(phrase):
            head, head_fit = search(phrase[:middle], degraded, first)
            tail, tail_fit = search(phrase[middle:], degraded, first + middle)
            if head_fit + tail_fit > least:
                best, least = [(0, middle, head), (middle, len(phrase), tail)], head_fit + tail_fit
        for since, until, shift in best:
            placed[begin + since + shift : begin + until + shift] += phrase[since:until]
    return at - REACH, placed


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
    for_pesq, for_estoi = (whole, moved) if len(references) == 1 else (split, split)
    scores.append(
        {
            "pesq": float(pesq(RATE, *aligned(references, degraded, for_pesq), "wb")),
            "estoi": float(stoi(*aligned(references, degraded, for_estoi), RATE, extended=True)),
        }
    )
json.dump(scores, sys.stdout)
