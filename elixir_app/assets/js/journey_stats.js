// @ts-check
/**
 * The browser's part of a packet's journey, from what it counts of its own connection.
 *
 * @typedef {object} Figures  milliseconds; what the browser doesn't tell is missing
 * @property {number} [round_trip]
 * @property {number} [buffer]   how long sound waits in the jitter buffer
 * @property {number} [decode]   from there on, until it is sound
 * @property {number} [playout]  until it is heard
 */

/**
 * @param {Iterable<any>} entries  of an RTCStatsReport
 * @returns {Figures}
 */
export function journeyFigures(entries) {
  const all = [...entries];
  const byId = new Map(all.map((entry) => [entry.id, entry]));
  const pair = byId.get(all.find(({ type }) => type === "transport")?.selectedCandidatePairId) ?? {};
  const inbound = all.filter(({ type, kind }) => type === "inbound-rtp" && kind === "audio");
  const sum = (/** @type {string} */ key) => inbound.reduce((total, stream) => total + (stream[key] ?? 0), 0);
  const playout = all.find(({ type }) => type === "media-playout") ?? {};
  // Both are seconds, summed over samples; the processing of a packet begins with its wait.
  const buffer = sum("jitterBufferDelay") / sum("jitterBufferEmittedCount");
  const processing = sum("totalProcessingDelay") / sum("jitterBufferEmittedCount");
  return known({
    round_trip: pair.currentRoundTripTime,
    buffer,
    decode: processing > buffer ? processing - buffer : undefined,
    playout: playout.totalPlayoutDelay / playout.totalSamplesCount,
  });
}

/**
 * @param {Record<string, number | undefined>} seconds
 * @returns {Figures}
 */
function known(seconds) {
  const usable = Object.entries(seconds).filter(([, value]) => typeof value === "number" && Number.isFinite(value) && value >= 0);
  return Object.fromEntries(usable.map(([key, value]) => [key, Number(value) * 1000]));
}
