// Figures of a connection from what browser and server count.
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { figures } from "../js/connection_stats.js";
import { qualityOf, watchQuality, weakness } from "../js/quality.js";

const report = ({ at, received, lost, bytesIn, bytesOut, delay, emitted }) => [
  { id: "T", type: "transport", selectedCandidatePairId: "P" },
  { id: "Q", type: "candidate-pair", currentRoundTripTime: 9 },
  { id: "P", type: "candidate-pair", currentRoundTripTime: 0.0125 },
  { id: "C", type: "codec", mimeType: "audio/opus", clockRate: 48000, sdpFmtpLine: "minptime=10;useinbandfec=1" },
  {
    id: "I",
    type: "inbound-rtp",
    kind: "audio",
    codecId: "C",
    timestamp: at,
    packetsReceived: received,
    packetsLost: lost,
    bytesReceived: bytesIn,
    jitter: 0.003,
    jitterBufferDelay: delay,
    jitterBufferEmittedCount: emitted,
  },
  { id: "O", type: "outbound-rtp", kind: "audio", timestamp: at, bytesSent: bytesOut },
];
const FIRST = { at: 1000, received: 100, lost: 50, bytesIn: 8000, bytesOut: 4000, delay: 4800, emitted: 96000 };
const SECOND = { at: 2000, received: 149, lost: 51, bytesIn: 12000, bytesOut: 8000, delay: 4800 + 48000 * 0.04, emitted: 144000 };

test("what can be told at first sight", () => {
  const { figures: seen } = figures(report(FIRST), null, null);
  assert.deepEqual(seen, {
    roundTripMs: 12.5,
    lossInPercent: null,
    lossOutPercent: null,
    jitterMs: 3,
    codec: "Opus, 48 kHz, mono",
    kbitIn: null,
    kbitOut: null,
    bufferMs: 50,
    serverMs: null,
    concealedPercent: null,
    lostOut: null,
    redundancy: null,
    reducedKbit: null,
  });
});

test("what was made up, what came back, and what the server does about losses", () => {
  const with_ = (look, concealed, silent, heard) =>
    report(look).map((entry) =>
      entry.type === "inbound-rtp" ? { ...entry, concealedSamples: concealed, silentConcealedSamples: silent, totalSamplesReceived: heard } : entry,
    );
  const { counted } = figures(with_(FIRST, 1000, 500, 96000), null, null);
  const server = { packets_in: 900, lost_in: 100, restored_in: 60, recovered: 25, redundancy: 2, reduced_bitrate: 24000 };
  const reported = { id: "R", type: "remote-inbound-rtp", kind: "audio", fractionLost: 0.125 };
  const { figures: seen } = figures([...with_(SECOND, 6300, 1000, 144000), reported], server, counted);
  assert.equal(seen.concealedPercent, 10);
  assert.deepEqual(seen.lostOut, { lost: 100, repaired: 85 });
  assert.deepEqual([seen.redundancy, seen.reducedKbit, seen.lossOutPercent], [2, 24, 12.5]);
  assert.equal(figures(report(SECOND), { ...server, reduced_bitrate: null }, counted).figures.reducedKbit, 0);
});

test("a direction is weak after two bad looks, and well again after two good ones", () => {
  const weak = weakness();
  const looks = [
    [9, 0, null],
    [3, 0, null],
    [9, 0, null],
    [20, 9, "in"],
    [5, 9, "both"],
    [3, 5, "both"],
    [3, null, "out"],
    [0, 3, "out"],
    [0, 3, null],
  ];
  for (const [lossInPercent, lossOutPercent, expected] of looks) assert.equal(weak({ lossInPercent, lossOutPercent }), expected);
});

test("a person is told of a weak direction once, and when it is over", async () => {
  mock.timers.enable({ apis: ["setInterval"] });
  let fractionLost = 0.2;
  let at = 0;
  const room = {
    status: "connected",
    setQuality: async () => {},
    stats: async () => {
      at += 5000;
      const entries = report({ ...FIRST, at, received: at / 20, lost: 0, bytesIn: at, bytesOut: at });
      return new Map([...entries, { id: "R", type: "remote-inbound-rtp", kind: "audio", fractionLost }].map((entry) => [entry.id, entry]));
    },
  };
  const told = [];
  const end = new AbortController();
  watchQuality(room, end.signal, (weak) => told.push(weak));
  const looks = async (times) => {
    for (let i = 0; i < times; i += 1) {
      mock.timers.tick(5000);
      await new Promise(setImmediate);
    }
  };
  await looks(5);
  assert.deepEqual(told, ["out"]);
  fractionLost = 0;
  await looks(3);
  assert.deepEqual(told, ["out", null]);
  end.abort();
  fractionLost = 0.5;
  await looks(3);
  assert.equal(told.length, 2);
  mock.timers.reset();
});

test("redundant packets are Opus, too", () => {
  const red = { id: "R", type: "codec", mimeType: "audio/red", clockRate: 48000, sdpFmtpLine: "111/111" };
  const received = (opus) => [
    ...report(FIRST).map((entry) => (entry.type === "inbound-rtp" ? { ...entry, codecId: "R" } : entry)).filter(({ id }) => id !== "C"),
    ...opus,
    red,
  ];
  const codec = (opus) => figures(received(opus), null, null).figures.codec;
  assert.equal(codec([]), "Opus with redundancy, 48 kHz, mono");
  const stereo = { id: "C", type: "codec", mimeType: "audio/opus", clockRate: 48000, sdpFmtpLine: "stereo=1;useinbandfec=1" };
  assert.equal(codec([stereo]), "Opus with redundancy, 48 kHz, stereo");
});

test("rates and losses are those since the last look", () => {
  const { counted } = figures(report(FIRST), null, null);
  const { figures: seen } = figures(report(SECOND), { packets_in: 990, lost_in: 10, buffer_ms: 21 }, counted);
  assert.equal(seen.lossInPercent, 2);
  assert.equal(seen.lossOutPercent, 1);
  assert.equal(seen.kbitIn, 32);
  assert.equal(seen.kbitOut, 32);
  assert.ok(Math.abs(seen.bufferMs - 40) < 0.001);
  assert.equal(seen.serverMs, 31);
});

test("a new connection's counters begin anew", () => {
  const { counted } = figures(report(SECOND), null, null);
  const { figures: seen } = figures(report({ ...FIRST, at: 3000 }), null, counted);
  assert.equal(seen.kbitIn, null);
  assert.equal(seen.lossInPercent, null);
});

test("in a room that forwards, all streams count, and the server holds nothing back", () => {
  const both = (numbers) => {
    const [first, rest] = [report(numbers).find(({ id }) => id === "I"), report(numbers)];
    return [...rest, { ...first, id: "J", jitter: 0.008 }];
  };
  const { counted } = figures(both(FIRST), null, null);
  const { figures: seen } = figures(both(SECOND), { buffer_ms: 0, buffer_target_ms: 0 }, counted);
  assert.equal(seen.kbitIn, 64);
  assert.equal(seen.lossInPercent, 2);
  assert.ok(Math.abs(seen.bufferMs - 40) < 0.001);
  assert.equal(seen.jitterMs, 8);
  assert.equal(seen.serverMs, null);
});

test("nothing counted yet is nothing known", () => {
  const { figures: seen } = figures([], null, null);
  assert.ok(Object.values(seen).every((value) => value === null), JSON.stringify(seen));
});

test("one word for it", () => {
  const good = { roundTripMs: 20, lossInPercent: 0, lossOutPercent: null, jitterMs: 5 };
  assert.equal(qualityOf(good), "good");
  assert.equal(qualityOf({ ...good, lossOutPercent: 3 }), "fair");
  assert.equal(qualityOf({ ...good, roundTripMs: 450 }), "poor");
  assert.equal(qualityOf({ roundTripMs: null, lossInPercent: null, lossOutPercent: null, jitterMs: null }), "good");
});
