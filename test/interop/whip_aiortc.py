"""aiortc, a WebRTC stack that shares no code with ours or a browser's, joins a room by WHIP and by WHEP.

Two peers send one tone each. Each must hear the other's at about its own level, and not its own; after one has said DELETE the
other hears nothing of it. A third one listens by WHEP. Prints what was measured; the exit code is 0 only if all of it held.
"""

import asyncio
import fractions
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

ROOT = Path(__file__).resolve().parents[2]
RATE = 48_000
FRAME = 960
AMPLITUDE = 0.1
ROOM = "interop"


class Tone(MediaStreamTrack):
    """A sine in 20 ms frames, paced by the clock."""

    kind = "audio"

    def __init__(self, frequency):
        super().__init__()
        self.frequency = frequency
        self.sample = 0
        self.begin = None

    async def recv(self):
        if self.begin is None:
            self.begin = time.monotonic()
        wait = self.begin + self.sample / RATE - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        at = np.arange(self.sample, self.sample + FRAME)
        pcm = np.sin(2 * np.pi * self.frequency * at / RATE) * AMPLITUDE * 32767
        # Both channels, as aiortc sends stereo, and its resampler would take 3 dB off a mono tone.
        both = np.repeat(pcm.astype(np.int16), 2).reshape(1, -1)
        frame = AudioFrame.from_ndarray(both, format="s16", layout="stereo")
        frame.sample_rate = RATE
        frame.pts = self.sample
        frame.time_base = fractions.Fraction(1, RATE)
        self.sample += FRAME
        return frame


def amplitude(pcm, frequency):
    """Amplitude of one tone: the discrete Fourier transform at that very frequency, Hann window."""
    window = np.hanning(len(pcm))
    turn = np.exp(-2j * np.pi * frequency * np.arange(len(pcm)) / RATE)
    return 2 * abs(np.sum(pcm * window * turn)) / np.sum(window)


def decibels(value):
    return 20 * np.log10(max(value, 1e-9))


class Peer:
    """A client that sends one tone and listens; without a tone it only listens."""

    def __init__(self, frequency=None):
        self.frequency = frequency
        self.pc = RTCPeerConnection()
        self.heard = []
        self.tracks = asyncio.Queue()
        self.pc.on("track", self.tracks.put_nowait)
        self.location = None

    async def join(self, url, token):
        self.token = token
        if self.frequency:
            self.pc.addTransceiver(Tone(self.frequency), direction="sendrecv")
        else:
            self.pc.addTransceiver("audio", direction="recvonly")
        await self.pc.setLocalDescription(await self.pc.createOffer())
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        status, answer_headers, body = await http("POST", url, headers, self.pc.localDescription.sdp.encode())
        expect(status == 201, f"POST answers 201 (got {status}{'' if status == 201 else ': ' + body[:300]})")
        expect(answer_headers.get("Content-Type", "").startswith("application/sdp"), "the answer is application/sdp")
        self.location = urllib.parse.urljoin(url, answer_headers["Location"])
        await self.pc.setRemoteDescription(RTCSessionDescription(body, "answer"))
        directions = [line for line in body.splitlines() if line.startswith("a=") and line[2:] in
                      ("sendrecv", "sendonly", "recvonly", "inactive")]
        wanted = "sendrecv" if self.frequency else "sendonly"
        expect(f"a={wanted}" in directions, f"the answer is {wanted} ({directions})")
        self.listener = asyncio.create_task(self.listen())

    async def listen(self):
        track = await self.tracks.get()
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            pcm = frame.to_ndarray().reshape(-1).astype(np.float64) / 32768
            channels = frame.layout.nb_channels
            self.heard.append(pcm.reshape(-1, channels).mean(axis=1))
            del self.heard[:-100]

    async def hears(self, frequency, seconds=1.0):
        """Level of a tone in what comes from now on, beside the level that it was sent with, in dB."""
        self.heard.clear()
        deadline = time.monotonic() + seconds * 6
        while sum(map(len, self.heard)) < seconds * RATE:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.05)
        # Digital silence isn't sent at all.
        pcm = np.concatenate(self.heard) if self.heard else np.zeros(FRAME)
        return decibels(amplitude(pcm, frequency) / AMPLITUDE)

    async def hears_eventually(self, frequency, right, patience=20):
        """The same, once it is right; the last level if it never is. A machine that stalls makes gaps, which read lower."""
        deadline = time.monotonic() + patience
        while not right(level := await self.hears(frequency, 0.5)) and time.monotonic() < deadline:
            pass
        return level

    async def leave(self):
        headers = {"Authorization": f"Bearer {self.token}"}
        status, _, _ = await http("DELETE", self.location, headers)
        expect(status == 200, f"DELETE answers 200 (got {status})")
        status, _, _ = await http("DELETE", self.location, headers)
        expect(status == 404, f"a second DELETE answers 404 (got {status})")


failures = []


def expect(held, what):
    print(("ok      " if held else "FAILED  ") + what, flush=True)
    if not held:
        failures.append(what)


async def http(method, url, headers, body=None):
    def request():
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=10) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    return await asyncio.to_thread(request)


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    def __init__(self):
        self.port = free_port(socket.SOCK_STREAM)
        # Its own environment: the test one has a scripted engine. The build is the one that the other tests use.
        self.env = {"ROOMTONE_CARGO_PROFILE": "dev"} | os.environ | {
            "MIX_ENV": "dev",
            "PORT": str(self.port),
            "SHARDS": "1",
            "UDP_PORTS": str(free_port(socket.SOCK_DGRAM)),
        }

    def __enter__(self):
        self.mix("compile")
        logs = ROOT / "tmp"
        logs.mkdir(exist_ok=True)
        self.log = open(logs / "interop-server.log", "wb")
        self.process = subprocess.Popen(
            ["mix", "phx.server", "--no-compile"], cwd=ROOT, env=self.env, stdin=subprocess.PIPE, stdout=self.log,
            stderr=self.log, start_new_session=True)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=2).close()
                return self
            except OSError:
                time.sleep(0.1)
        self.__exit__()
        sys.exit(f"the server didn't start; see {self.log.name}")

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def mix(self, *args):
        done = subprocess.run(["mix", *args], cwd=ROOT, env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"mix {' '.join(args)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout.strip().splitlines()[-1:]

    def token(self, name):
        return self.mix("roomtone.token", "--room", ROOM, "--name", name)[0]


async def main(server):
    url = f"http://127.0.0.1:{server.port}/whip/{ROOM}"
    low, high, ear = Peer(500), Peer(900), Peer()
    # All before anybody joins: a task takes a second, in which nothing else goes on here.
    tokens = [server.token(name) for name in ("low", "high", "ear")]

    def at_its_level(level):
        return abs(level) < 1.5

    def gone(level):
        return level < -40

    try:
        await low.join(url, tokens[0])
        await high.join(url, tokens[1])
        for peer, other in ((low, high), (high, low)):
            name = f"the peer with {peer.frequency} Hz"
            level = await peer.hears_eventually(other.frequency, at_its_level)
            expect(at_its_level(level), f"{name} hears {other.frequency} Hz at its level ({level:+.1f} dB)")
            own = await peer.hears(peer.frequency)
            expect(own < -30, f"{name} doesn't hear itself ({own:+.1f} dB)")
        await ear.join(url.replace("/whip/", "/whep/"), tokens[2])
        for peer in (low, high):
            level = await ear.hears_eventually(peer.frequency, at_its_level)
            expect(at_its_level(level), f"a listener by WHEP hears {peer.frequency} Hz at its level ({level:+.1f} dB)")
        await ear.leave()
        await high.leave()
        level = await low.hears_eventually(high.frequency, gone)
        expect(gone(level), f"after DELETE its tone is gone ({level:+.1f} dB)")
        await low.leave()
    finally:
        await asyncio.gather(low.pc.close(), high.pc.close(), ear.pc.close())


if __name__ == "__main__":
    with Server() as running:
        asyncio.run(main(running))
    print(f"{len(failures)} failed" if failures else "all held")
    sys.exit(1 if failures else 0)
