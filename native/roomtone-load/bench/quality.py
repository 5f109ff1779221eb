"""Reads pairs of WAV files (48 kHz, mono) from standard input, reference and degraded separated by a tab, and prints
PESQ-WB and ESTOI of each as JSON. The degraded one may have more sound around; it is aligned by cross-correlation."""

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


def aligned(reference, degraded):
    degraded = np.concatenate([degraded, np.zeros(len(reference))])
    lag = int(np.argmax(correlate(degraded, reference, mode="full"))) - (len(reference) - 1)
    if lag < 0:
        degraded = np.concatenate([np.zeros(-lag), degraded])
        lag = 0
    return degraded[lag : lag + len(reference)]


scores = []
for line in sys.stdin:
    reference, degraded = (read(path) for path in line.rstrip("\n").split("\t"))
    degraded = aligned(reference, degraded)
    scores.append(
        {
            "pesq": float(pesq(RATE, reference, degraded, "wb")),
            "estoi": float(stoi(reference, degraded, RATE, extended=True)),
        }
    )
json.dump(scores, sys.stdout)
