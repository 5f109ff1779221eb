// Chromium as a receiver for the weather bench (native/roomtone-load/examples/weather), which starts this and sends it packets: opens a
// connection for each stream, records all that is played, and counts. Not a test. It talks by lines of JSON:
//
//   in: {"streams": 3, "folder": "/tmp/…"}   out: {"offers": ["v=0…", …]}
//   in: {"answers": ["v=0…", …]}             out: {"recording": true}
//   in: {"stop": true}                       out: {"recorded": [{"file": "…", "began": 1700000000000, "counted": […]}, …]}
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { openBrowser } from "./support/person.mjs";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const hear = async () => JSON.parse((await lines.next()).value);
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

// Has an input for each stream, and hands its sound over in pieces of a tenth of a second.
const TAPE = `registerProcessor("tape", class extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this.pieces = Array.from({ length: options.numberOfInputs }, () => new Int16Array(4800));
    this.filled = 0;
  }
  process(inputs) {
    this.began ??= currentTime;
    const length = 128;
    for (let at = 0; at < length; at += 1, this.filled += 1) {
      if (this.filled === 4800) {
        this.port.postMessage({ began: this.began, pieces: this.pieces.map((piece) => piece.slice()) });
        this.filled = 0;
      }
      inputs.forEach((channels, i) => {
        const sample = channels[0]?.[at] ?? 0;
        this.pieces[i][this.filled] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      });
    }
    return true;
  }
});`;

/** In the page: connections that only receive, and their offers. */
async function offer(streams) {
  globalThis.connections = [];
  for (let i = 0; i < streams; i += 1) {
    const connection = new RTCPeerConnection();
    const { receiver } = connection.addTransceiver("audio", { direction: "recvonly" });
    await connection.setLocalDescription();
    globalThis.connections.push({ connection, receiver, counted: [], pieces: [] });
  }
  return globalThis.connections.map(({ connection }) => connection.localDescription.sdp);
}

/** In the page: connects, and records from then on. */
async function record([answers, tape]) {
  const { connections } = globalThis;
  const context = new AudioContext({ sampleRate: 48000 });
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([tape], { type: "text/javascript" })));
  const recorder = new AudioWorkletNode(context, "tape", {
    numberOfInputs: connections.length,
    numberOfOutputs: 1,
    channelCount: 1,
    channelCountMode: "explicit",
    processorOptions: {},
  });
  recorder.port.onmessage = ({ data }) => {
    globalThis.began ??= data.began;
    data.pieces.forEach((piece, i) => connections[i].pieces.push(piece));
  };
  recorder.connect(context.destination);
  for (const [i, { connection, receiver }] of connections.entries()) {
    await connection.setRemoteDescription({ type: "answer", sdp: answers[i] });
    const stream = new MediaStream([receiver.track]);
    // Chromium gives a remote track's sound to nobody before an element plays it.
    const element = new Audio();
    element.muted = true;
    element.srcObject = stream;
    void element.play();
    context.createMediaStreamSource(stream).connect(recorder, 0, i);
  }
  while (connections.some(({ connection }) => connection.connectionState !== "connected")) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  while (globalThis.began === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
  globalThis.context = context;
  globalThis.counting = setInterval(() => {
    for (const { receiver, counted } of connections) {
      void receiver.getStats().then((stats) => {
        for (const found of stats.values()) {
          if (found.type !== "inbound-rtp") continue;
          const { jitterBufferDelay = 0, jitterBufferEmittedCount = 0, concealedSamples = 0, silentConcealedSamples = 0 } = found;
          const { totalSamplesReceived = 0, packetsDiscarded = 0 } = found;
          const counters = { jitterBufferDelay, jitterBufferEmittedCount, concealedSamples, silentConcealedSamples };
          counted.push({ at: found.timestamp, ...counters, totalSamplesReceived, packetsDiscarded });
        }
      });
    }
  }, 100);
}

/** In the page: ends the recording; when its first sample came out, ms since 1970. */
async function stop() {
  clearInterval(globalThis.counting);
  const { contextTime, performanceTime } = globalThis.context.getOutputTimestamp();
  await globalThis.context.suspend();
  return performance.timeOrigin + performanceTime + (globalThis.began - contextTime) * 1000;
}

/** In the page: the sound and the counters of one connection. */
async function hand(i) {
  const { pieces, counted } = globalThis.connections[i];
  const reader = new FileReader();
  const read = new Promise((resolve) => (reader.onload = resolve));
  reader.readAsDataURL(new Blob(pieces));
  await read;
  return { sound: reader.result.split(",")[1], counted };
}

const browser = await openBrowser(["--allow-loopback-in-peer-connection"]);
try {
  const page = await (await browser.newContext()).newPage();
  // AudioWorklet needs a secure context.
  await page.route("https://weather.test/", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><title>Weather</title>" }));
  await page.goto("https://weather.test/");
  const { streams, folder } = await hear();
  say({ offers: await page.evaluate(offer, streams) });
  await page.evaluate(record, [(await hear()).answers, TAPE]);
  say({ recording: true });
  await hear();
  const began = await page.evaluate(stop);
  const recorded = [];
  for (let i = 0; i < streams; i += 1) {
    const { sound, counted } = await page.evaluate(hand, i);
    const file = join(folder, `${i}.pcm`);
    writeFileSync(file, Buffer.from(sound, "base64"));
    recorded.push({ file, began, counted });
  }
  say({ recorded });
} finally {
  await browser.close();
}
