// @ts-check
/**
 * The figures of a connection, from what the browser and the server count.
 *
 * @typedef {object} Figures  null: not known (yet)
 * @property {number | null} roundTripMs
 * @property {number | null} lossInPercent   of what the server sends us, lately
 * @property {number | null} lossOutPercent  of what we send, since we came
 * @property {number | null} jitterMs
 * @property {string | null} codec
 * @property {number | null} kbitIn          per second
 * @property {number | null} kbitOut
 * @property {number | null} bufferMs        how long our browser holds sound back to even it out
 * @property {number | null} serverMs        how long the server takes with our sound
 *
 * @typedef {object} Counted  what is kept from one look for the next
 * @property {number} at         ms
 * @property {number} received   packets
 * @property {number} lost
 * @property {number} bytesIn
 * @property {number} bytesOut
 * @property {number} delay      s, summed over samples
 * @property {number} emitted    samples
 */

/** A room is mixed every 20 ms: so long, on average, does sound wait for the next time. */
const MEAN_WAIT_MS = 10;

/**
 * @param {Iterable<any>} entries  of an RTCStatsReport
 * @param {Record<string, any> | null} server
 * @param {Counted | null} before
 * @returns {{figures: Figures, counted: Counted}}
 */
export function figures(entries, server, before) {
  const all = [...entries];
  const byId = new Map(all.map((entry) => [entry.id, entry]));
  const of = (/** @type {string} */ type) => all.find((entry) => entry.type === type && entry.kind === "audio") ?? {};
  // In a room that forwards, one for each slot in which somebody has been.
  const streams = all.filter((entry) => entry.type === "inbound-rtp" && entry.kind === "audio");
  const sum = (/** @type {string} */ key) => streams.reduce((total, stream) => total + (stream[key] ?? 0), 0);
  const jitters = streams.map(({ jitter }) => jitter).filter((jitter) => jitter !== undefined);
  const [inbound = {}] = streams;
  const outbound = of("outbound-rtp");
  const pair = byId.get(all.find(({ type }) => type === "transport")?.selectedCandidatePairId) ?? {};
  const codec = byId.get(inbound.codecId ?? outbound.codecId);

  const counted = {
    at: inbound.timestamp ?? outbound.timestamp ?? 0,
    received: sum("packetsReceived"),
    lost: sum("packetsLost"),
    bytesIn: sum("bytesReceived"),
    bytesOut: outbound.bytesSent ?? 0,
    delay: sum("jitterBufferDelay"),
    emitted: sum("jitterBufferEmittedCount"),
  };
  // Counters that fell are those of another connection.
  const since = before && before.at < counted.at && before.bytesOut <= counted.bytesOut && before.bytesIn <= counted.bytesIn ? before : null;
  const per = (/** @type {keyof Counted} */ key) => (since ? counted[key] - since[key] : 0);
  const rate = (/** @type {keyof Counted} */ key) => (since ? (per(key) * 8) / per("at") : null);

  const delay = since ? per("delay") : counted.delay;
  const emitted = since ? per("emitted") : counted.emitted;

  return {
    counted,
    figures: {
      roundTripMs: milliseconds(pair.currentRoundTripTime) ?? server?.round_trip_ms ?? null,
      lossInPercent: since ? percent(per("lost"), per("received")) : null,
      lossOutPercent: server ? percent(server.lost_in ?? 0, server.packets_in ?? 0) : null,
      jitterMs: milliseconds(jitters.length > 0 ? Math.max(...jitters) : undefined),
      codec: codec ? codecName(codec) : null,
      kbitIn: rate("bytesIn"),
      kbitOut: rate("bytesOut"),
      bufferMs: milliseconds(delay / emitted),
      // Packets that are passed on aren't held back.
      serverMs: typeof server?.buffer_ms === "number" && server.buffer_target_ms !== 0 ? server.buffer_ms + MEAN_WAIT_MS : null,
    },
  };
}

/** @param {number | undefined} seconds */
function milliseconds(seconds) {
  return typeof seconds === "number" && Number.isFinite(seconds) ? seconds * 1000 : null;
}

/**
 * @param {number} lost
 * @param {number} came
 */
function percent(lost, came) {
  const due = Math.max(0, lost) + came;
  return due > 0 ? (Math.max(0, lost) / due) * 100 : null;
}

/** @param {{mimeType?: string, clockRate?: number, sdpFmtpLine?: string}} codec */
function codecName({ mimeType = "", clockRate = 0, sdpFmtpLine = "" }) {
  const name = mimeType.replace(/^audio\//, "");
  const plain = name.toLowerCase() === "opus" ? "Opus" : name;
  return `${plain}, ${clockRate / 1000} kHz, ${/stereo=1/.test(sdpFmtpLine) ? "stereo" : "mono"}`;
}
