// Figures of a connection from what browser and server count.
import assert from "node:assert/strict";
import { test } from "node:test";
import { figures } from "../js/connection_stats.js";
import { qualityOf } from "../js/quality.js";

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
  });
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
