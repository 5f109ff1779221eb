// @ts-check
/**
 * The figures of a connection, from what the browser and the server count.
 *
 * @typedef {object} Figures  null: not known (yet)
 * @property {number | null} roundTripMs
 * @property {number | null} lossInPercent   of what the server sends us, lately
 * @property {number | null} lossOutPercent  of what we send, lately where the browser tells, else since we came
 * @property {number | null} jitterMs
 * @property {string | null} codec
 * @property {number | null} kbitIn          per second
 * @property {number | null} kbitOut
 * @property {number | null} bufferMs        how long our browser holds sound back to even it out
 * @property {number | null} serverMs        how long the server takes with our sound
 * @property {number | null} concealedPercent  of what we hear, made up by our browser lately
 * @property {{lost: number, repaired: number} | null} lostOut  packets of ours: lost, and brought back by copies or FEC
 * @property {number | null} redundancy      copies of earlier packets in each that the server sends us
 * @property {number | null} reducedKbit     kbit/s of the mix encoded for our connection; 0: as for everybody
 *
 * @typedef {object} Counted  what is kept from one look for the next
 * @property {number} at         ms
 * @property {number} received   packets
 * @property {number} lost
 * @property {number} bytesIn
 * @property {number} bytesOut
 * @property {number} delay      s, summed over samples
 * @property {number} emitted    samples
 * @property {number} concealed  samples
 * @property {number} heard      samples
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
  const opus = all.find(({ type, mimeType = "" }) => type === "codec" && /\/opus$/i.test(mimeType));

  const counted = {
    at: inbound.timestamp ?? outbound.timestamp ?? 0,
    received: sum("packetsReceived"),
    lost: sum("packetsLost"),
    bytesIn: sum("bytesReceived"),
    bytesOut: outbound.bytesSent ?? 0,
    delay: sum("jitterBufferDelay"),
    emitted: sum("jitterBufferEmittedCount"),
    // Silence that is made up while nobody speaks is no fault.
    concealed: sum("concealedSamples") - sum("silentConcealedSamples"),
    heard: sum("totalSamplesReceived"),
  };
  // Counters that fell are those of another connection.
  const since = before && before.at < counted.at && before.bytesOut <= counted.bytesOut && before.bytesIn <= counted.bytesIn ? before : null;
  const per = (/** @type {keyof Counted} */ key) => (since ? counted[key] - since[key] : 0);
  const rate = (/** @type {keyof Counted} */ key) => (since ? (per(key) * 8) / per("at") : null);

  const lostThere = of("remote-inbound-rtp").fractionLost;
  const heard = per("heard");

  const delay = since ? per("delay") : counted.delay;
  const emitted = since ? per("emitted") : counted.emitted;

  return {
    counted,
    figures: {
      roundTripMs: milliseconds(pair.currentRoundTripTime) ?? server?.round_trip_ms ?? null,
      lossInPercent: since ? percent(per("lost"), per("received")) : null,
      lossOutPercent: typeof lostThere === "number" ? lostThere * 100 : server ? percent(server.lost_in ?? 0, server.packets_in ?? 0) : null,
      jitterMs: milliseconds(jitters.length > 0 ? Math.max(...jitters) : undefined),
      codec: codec ? codecName(codec, opus) : null,
      kbitIn: rate("bytesIn"),
      kbitOut: rate("bytesOut"),
      bufferMs: milliseconds(delay / emitted),
      // Packets that are passed on aren't held back.
      serverMs: typeof server?.buffer_ms === "number" && server.buffer_target_ms !== 0 ? server.buffer_ms + MEAN_WAIT_MS : null,
      concealedPercent: heard > 0 ? (Math.max(0, per("concealed")) / heard) * 100 : null,
      lostOut: typeof server?.restored_in === "number" ? { lost: server.lost_in, repaired: server.restored_in + server.recovered } : null,
      redundancy: server?.redundancy ?? null,
      reducedKbit: server && "reduced_bitrate" in server ? (server.reduced_bitrate ?? 0) / 1000 : null,
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

/**
 * @param {{mimeType?: string, clockRate?: number, sdpFmtpLine?: string}} codec
 * @param {{sdpFmtpLine?: string}} [opus]  the Opus that redundant packets carry, where the browser tells of it
 */
function codecName({ mimeType = "", clockRate = 0, sdpFmtpLine = "" }, opus) {
  const name = mimeType.replace(/^audio\//, "");
  const redundant = name.toLowerCase() === "red";
  const plain = redundant ? "Opus with redundancy" : name.toLowerCase() === "opus" ? "Opus" : name;
  const channels = /stereo=1/.test((redundant ? opus?.sdpFmtpLine : sdpFmtpLine) ?? "") ? "stereo" : "mono";
  return `${plain}, ${clockRate / 1000} kHz, ${channels}`;
}
