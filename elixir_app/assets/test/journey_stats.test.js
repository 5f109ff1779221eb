// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { journeyFigures } from "../js/journey_stats.js";

const entries = [
  { id: "T", type: "transport", selectedCandidatePairId: "P" },
  { id: "P", type: "candidate-pair", currentRoundTripTime: 0.03 },
  { id: "I", type: "inbound-rtp", kind: "audio", jitterBufferDelay: 96, jitterBufferEmittedCount: 2400, totalProcessingDelay: 98.4 },
  { id: "M", type: "media-playout", kind: "audio", totalPlayoutDelay: 48, totalSamplesCount: 2400 },
];

/** @param {any[]} some */
function rounded(some) {
  return Object.fromEntries(Object.entries(journeyFigures(some)).map(([key, ms]) => [key, Math.round(ms * 1000) / 1000]));
}

test("the browser's stages are in milliseconds", () => {
  assert.deepEqual(rounded(entries), { round_trip: 30, buffer: 40, decode: 1, playout: 20 });
});

test("what a browser doesn't count is left out", () => {
  assert.deepEqual(rounded([]), {});
  assert.deepEqual(rounded(entries.slice(0, 2)), { round_trip: 30 });
  const without = entries.map(({ totalProcessingDelay, ...rest }) => rest);
  assert.deepEqual(rounded(without), { round_trip: 30, buffer: 40, playout: 20 });
});
