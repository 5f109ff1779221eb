// @ts-check
/** How good the connection is, in figures, for as long as somebody looks. */
import { figures } from "./connection_stats.js";
import { byId } from "./dom.js";
import { SIGNALLING_WORDS } from "./messages.js";
import { transport } from "./transport.js";

const EVERY_MS = 1000;

/** @type {[keyof import("./connection_stats.js").Figures, string, (value: any) => string][]} */
const ROWS = [
  ["roundTripMs", "Round trip", ms],
  ["lossInPercent", "Packet loss in", percent],
  ["concealedPercent", "Concealed", percent],
  ["lossOutPercent", "Packet loss out", percent],
  ["lostOut", "Repaired by redundancy", ({ lost, repaired }) => `${Math.min(lost, repaired)} of ${lost}`],
  ["jitterMs", "Jitter", ms],
  ["bufferMs", "Jitter buffer", ms],
  ["serverMs", "Server delay", ms],
  ["codec", "Codec", String],
  ["redundancy", "Redundancy in", (copies) => ["none", "one copy", "two copies"][copies]],
  ["reducedKbit", "Encoded for", (value) => (value === 0 ? "everybody" : `bad connections, ${kbit(value)} with FEC`)],
  ["kbitIn", "Incoming", kbit],
  ["kbitOut", "Outgoing", kbit],
];

/**
 * @param {import("./call.js").Call} call
 * @param {AbortSignal} signal
 */
export function showConnectionPanel(call, signal) {
  const box = byId("connection-figures");
  if (!box) return;
  const cells = table(box);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {import("./connection_stats.js").Counted | null} */
  let before = null;
  let seen = false;

  const look = async () => {
    clearTimeout(timer);
    if (!seen || signal.aborted) return;
    const [browser, server] = await Promise.all([
      call.room?.stats().catch(() => null),
      call.room?.serverStats().catch(() => null),
    ]);
    if (browser) {
      const found = figures(browser.values(), server ?? null, before);
      before = found.counted;
      for (const [key, , words] of ROWS) {
        const value = found.figures[key];
        cells[key].textContent = value === null ? "–" : words(value);
      }
      cells.signalling.textContent = SIGNALLING_WORDS[transport.polling ? "polling" : "webSocket"];
    }
    timer = setTimeout(look, EVERY_MS);
  };
  const watching = new IntersectionObserver((entries) => {
    seen = entries.some(({ isIntersecting }) => isIntersecting);
    look();
  });
  watching.observe(box);
  signal.addEventListener("abort", () => {
    watching.disconnect();
    clearTimeout(timer);
  });
}

/**
 * @param {HTMLElement} box
 * @returns {Record<string, HTMLElement>}
 */
function table(box) {
  const list = document.createElement("dl");
  const cells = [...ROWS, ["signalling", "Signalling"]].map(([key, name]) => {
    const term = document.createElement("dt");
    const cell = document.createElement("dd");
    term.textContent = name;
    cell.textContent = "–";
    cell.dataset.figure = key;
    list.append(term, cell);
    return [key, cell];
  });
  box.replaceChildren(list);
  return Object.fromEntries(cells);
}

/** @param {number} value */
function ms(value) {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

/** @param {number} value */
function percent(value) {
  return `${value.toFixed(1)} %`;
}

/** @param {number} value */
function kbit(value) {
  return `${Math.round(value)} kbit/s`;
}
