// @ts-check
/** How good my connection is, in one word, which the others see beside my name. */
import { figures } from "./connection_stats.js";

/** @typedef {"good" | "fair" | "poor"} Quality */

const EVERY_MS = 5000;

/**
 * @param {Pick<import("./connection_stats.js").Figures, "roundTripMs" | "lossInPercent" | "lossOutPercent" | "jitterMs">} figures
 * @returns {Quality}
 */
export function qualityOf({ roundTripMs, lossInPercent, lossOutPercent, jitterMs }) {
  const loss = Math.max(lossInPercent ?? 0, lossOutPercent ?? 0);
  const worse = (/** @type {[number, number, number]} */ [percent, trip, jitter]) =>
    loss > percent || (roundTripMs ?? 0) > trip || (jitterMs ?? 0) > jitter;
  // Concealment hides some percent; a conversation gets hard beyond 400 ms there and back.
  if (worse([8, 400, 80])) return "poor";
  return worse([2, 200, 40]) ? "fair" : "good";
}

/**
 * Watches a room's connection, and tells its server when the word changes. Ends with the signal.
 *
 * @param {import("./voice_room.js").VoiceRoom} room
 * @param {AbortSignal} signal
 */
export function watchQuality(room, signal) {
  /** @type {Quality | null} */ let told = null;
  /** @type {import("./connection_stats.js").Counted | null} */ let before = null;
  const look = async () => {
    const report = room.status === "connected" ? await room.stats().catch(() => null) : null;
    if (!report) return;
    const found = figures(report.values(), null, before);
    before = found.counted;
    const quality = qualityOf(found.figures);
    if (quality === told || signal.aborted) return;
    await room.setQuality(quality).then(
      () => (told = quality),
      // Said again next time.
      () => {},
    );
  };
  const timer = setInterval(look, EVERY_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}
