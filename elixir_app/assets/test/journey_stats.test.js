// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { JourneyStats } from "../js/journey_stats.js";

const transport = { id: "T", type: "transport", selectedCandidatePairId: "P" };
const pair = { id: "P", type: "candidate-pair", currentRoundTripTime: 0.03 };
const inbound = { id: "I", type: "inbound-rtp", kind: "audio", jitterBufferDelay: 96, jitterBufferEmittedCount: 2400, totalProcessingDelay: 98.4 };
const playout = { id: "M", type: "media-playout", kind: "audio", totalPlayoutDelay: 48, totalSamplesCount: 2400 };
const entries = [transport, pair, inbound, playout];

/** The figures of the last of several looks. @param {any[][]} looks */
function told(...looks) {
  const journey = new JourneyStats();
  const figures = looks.map((entries) => journey.look(entries)).pop() ?? {};
  return Object.fromEntries(Object.entries(figures).map(([key, ms]) => [key, Math.round(ms * 1000) / 1000]));
}

test("the browser's stages are in milliseconds", () => {
  assert.deepEqual(told(entries), { round_trip: 30, buffer: 40, decode: 1, playout: 20 });
});

test("what a browser doesn't count is left out", () => {
  assert.deepEqual(told([]), {});
  assert.deepEqual(told([transport, pair]), { round_trip: 30 });
  const { totalProcessingDelay: _, ...without } = inbound;
  assert.deepEqual(told([transport, pair, without, playout]), { round_trip: 30, buffer: 40, playout: 20 });
});

test("a figure is that of the sound since the last look", () => {
  const later = [
    { ...inbound, jitterBufferDelay: 96 + 12, jitterBufferEmittedCount: 2400 + 480, totalProcessingDelay: 98.4 + 12.96 },
    { ...playout, totalPlayoutDelay: 48 + 4.8, totalSamplesCount: 2400 + 480 },
  ];
  assert.deepEqual(told(entries, [transport, pair, ...later]), { round_trip: 30, buffer: 25, decode: 2, playout: 10 });
});

test("figures of the last sound stay while there is none", () => {
  assert.deepEqual(told(entries, entries), { round_trip: 30, buffer: 40, decode: 1, playout: 20 });
  assert.deepEqual(told(entries, [transport, inbound, playout]), { buffer: 40, decode: 1, playout: 20 });
});

test("a connection that replaces another counts from its own beginning", () => {
  const fresh = { ...inbound, jitterBufferDelay: 4.8, jitterBufferEmittedCount: 480, totalProcessingDelay: 5.28 };
  assert.deepEqual(told(entries, [transport, pair, fresh, playout]), { round_trip: 30, buffer: 10, decode: 1, playout: 20 });
});

test("a stream that comes later is added from its own beginning", () => {
  const second = { ...inbound, id: "J", jitterBufferDelay: 9.6, jitterBufferEmittedCount: 480, totalProcessingDelay: 10.08 };
  assert.deepEqual(told(entries, [...entries, second]), { round_trip: 30, buffer: 20, decode: 1, playout: 20 });
});

/** A microphone whose device has delivered samples, late by so many milliseconds. @param {number} averageLatency */
function device(averageLatency) {
  const stats = { deliveredFrames: 480, averageLatency, resetLatency: () => (stats.averageLatency = 0) };
  const deliver = (/** @type {number} */ ms) => Object.assign(stats, { deliveredFrames: stats.deliveredFrames + 480, averageLatency: ms });
  return { microphone: /** @type {any} */ ({ stats }), deliver };
}

test("the way from the device is that of the samples since the last look", () => {
  const { microphone, deliver } = device(0.5);
  const journey = new JourneyStats();
  assert.deepEqual(journey.look([], microphone), { capture: 0.5 });
  deliver(0.75);
  assert.deepEqual(journey.look([], microphone), { capture: 0.75 });
  // Before its first sample, and where a browser or a kind of track doesn't tell it.
  for (const track of [{ stats: { ...microphone.stats, deliveredFrames: 0 } }, { stats: null }, {}, null])
    assert.deepEqual(new JourneyStats().look([], /** @type {any} */ (track)), {});
});

test("the way from the device stays while it delivers nothing", () => {
  const { microphone, deliver } = device(0.5);
  const journey = new JourneyStats();
  journey.look([], microphone);
  assert.deepEqual(journey.look([], microphone), { capture: 0.5 });
  deliver(0.25);
  assert.deepEqual(journey.look([], microphone), { capture: 0.25 });
});

test("the way from a device ends with its microphone", () => {
  const journey = new JourneyStats();
  const [first, second] = [device(0.5), device(0.75)];
  journey.look([], first.microphone);
  assert.deepEqual(journey.look([], second.microphone), { capture: 0.75 });
  // A track that doesn't tell it, and none.
  assert.deepEqual(journey.look([], /** @type {any} */ ({ stats: null })), {});
  journey.look([], first.microphone);
  assert.deepEqual(journey.look([], null), {});
  assert.deepEqual(journey.look([]), {});
});
