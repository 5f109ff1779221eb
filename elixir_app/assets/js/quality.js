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

/** From this loss on, in percent, a direction is weak; below the second it isn't any more. */
const WEAK = [8, 4];
/** Looks in a row that agree, before anybody is told: one may be chance. */
const LOOKS = 2;

/** @typedef {"in" | "out" | "both" | null} Weak  the directions in which a connection loses so much that it is heard */

/**
 * Tells from one look after the other which directions are weak.
 *
 * @returns {(figures: Pick<import("./connection_stats.js").Figures, "lossInPercent" | "lossOutPercent">) => Weak}
 */
export function weakness() {
  const direction = () => {
    let weak = false;
    let against = 0;
    return (/** @type {number | null} */ loss) => {
      const seems = loss === null ? weak : loss >= WEAK[weak ? 1 : 0];
      against = seems === weak ? 0 : against + 1;
      if (against >= LOOKS) [weak, against] = [seems, 0];
      return weak;
    };
  };
  const [into, out] = [direction(), direction()];
  return ({ lossInPercent, lossOutPercent }) => {
    const [weakIn, weakOut] = [into(lossInPercent), out(lossOutPercent)];
    return weakIn && weakOut ? "both" : weakIn ? "in" : weakOut ? "out" : null;
  };
}

/**
 * Watches a room's connection, and tells its server when the word changes, and `onWeak` when the weak directions do. Ends with the
 * signal.
 *
 * @param {import("./voice_room.js").VoiceRoom} room
 * @param {AbortSignal} signal
 * @param {(weak: Weak) => void} onWeak
 */
export function watchQuality(room, signal, onWeak) {
  const weakNow = weakness();
  /** @type {Weak} */ let weak = null;
  /** @type {Quality | null} */ let told = null;
  /** @type {import("./connection_stats.js").Counted | null} */ let before = null;
  const look = async () => {
    const report = room.status === "connected" ? await room.stats().catch(() => null) : null;
    if (!report) return;
    const found = figures(report.values(), null, before);
    before = found.counted;
    if (signal.aborted) return;
    const weakBefore = weak;
    weak = weakNow(found.figures);
    if (weak !== weakBefore) onWeak(weak);
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
