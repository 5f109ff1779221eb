"""Reads lines of WAV files (48 kHz, mono) from standard input, separated by tabs: one or more references, then the degraded sound.
Prints PESQ-WB and ESTOI of each line as JSON. The degraded sound may have more around it. Each reference is aligned by
cross-correlation, and the degraded sound is judged against the sum of all: a mixer delays each of its voices differently."""

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


def aligned(references, degraded):
    lags = [lag(reference, degraded) for reference in references]
    begin = min(lags)
    end = max(at + len(reference) for at, reference in zip(lags, references))
    total = np.zeros(end - begin)
    for at, reference in zip(lags, references):
        total[at - begin : at - begin + len(reference)] += reference
    around = np.concatenate([np.zeros(max(0, -begin)), degraded, np.zeros(max(0, end - len(degraded)))])
    return total, around[max(0, begin) :][: len(total)]


scores = []
for line in sys.stdin:
    *references, degraded = (read(path) for path in line.rstrip("\n").split("\t"))
    reference, degraded = aligned(references, degraded)
    scores.append(
        {
            "pesq": float(pesq(RATE, reference, degraded, "wb")),
            "estoi": float(stoi(reference, degraded, RATE, extended=True)),
        }
    )
json.dump(scores, sys.stdout)
