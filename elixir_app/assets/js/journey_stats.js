// @ts-check
/**
 * The browser's part of a packet's journey, from what it counts of its own connection.
 *
 * @typedef {object} Figures  milliseconds; what the browser doesn't tell is missing
 * @property {number} [capture]  from the microphone's device to the page
 * @property {number} [round_trip]
 * @property {number} [buffer]   how long sound waits in the jitter buffer
 * @property {number} [decode]   from there on, until it is sound
 * @property {number} [playout]  until it is heard
 */

/** Those of a stream of packets; seconds, summed over samples. The processing of a packet begins with its wait. */
const STREAM = /** @type {const} */ (["jitterBufferDelay", "totalProcessingDelay", "jitterBufferEmittedCount"]);
/** Those of what is played. */
const PLAYOUT = /** @type {const} */ (["totalPlayoutDelay", "totalSamplesCount"]);

/**
 * Looks at the statistics again and again. The browser counts from the beginning of the call; a figure is that of the sound since the
 * last look, or of the last sound before, where there was none since.
 */
export class JourneyStats {
  /** The entries of the last look, by id. @type {Map<string, any>} */ #before = new Map();
  /** @type {Figures} */ #figures = {};
  /** The microphone of the last look. @type {MediaStreamTrack | null} */ #microphone = null;
  /** Its device had delivered so many by then. */ #frames = 0;

  /**
   * @param {Iterable<any>} entries  of an RTCStatsReport
   * @param {MediaStreamTrack | null} [microphone]
   * @returns {Figures}
   */
  look(entries, microphone = null) {
    const all = [...entries];
    const byId = new Map(all.map((entry) => [entry.id, entry]));
    const pair = byId.get(all.find(({ type }) => type === "transport")?.selectedCandidatePairId) ?? {};
    const stream = this.#since(all.filter(({ type, kind }) => type === "inbound-rtp" && kind === "audio"), STREAM);
    const played = this.#since(all.filter(({ type }) => type === "media-playout"), PLAYOUT);
    this.#before = byId;
    const buffer = stream.jitterBufferDelay / stream.jitterBufferEmittedCount;
    const processing = stream.totalProcessingDelay / stream.jitterBufferEmittedCount;
    const figures = known({
      capture: this.#captured(microphone),
      round_trip: pair.currentRoundTripTime,
      buffer,
      decode: processing > buffer ? processing - buffer : undefined,
      playout: played.totalPlayoutDelay / played.totalSamplesCount,
    });
    const { round_trip: _of_another_way, ...lasting } = this.#figures;
    this.#figures = { ...lasting, ...figures };
    return this.#figures;
  }

  /**
   * How long the samples since the last look were on their way from the device, in seconds: MediaStreamTrackAudioStats, of Media Capture
   * and Streams Extensions, which few browsers have, and none for a track that the page itself makes. Without samples since then the
   * browser's average is none, or an old one.
   *
   * @param {MediaStreamTrack | null} microphone
   * @returns {number | undefined}
   */
  #captured(microphone) {
    if (microphone !== this.#microphone) {
      this.#microphone = microphone;
      this.#frames = 0;
      delete this.#figures.capture;
    }
    const { stats } = /** @type {any} */ (microphone ?? {});
    if (!stats?.resetLatency || !(stats.deliveredFrames > this.#frames)) return undefined;
    this.#frames = stats.deliveredFrames;
    const ms = stats.averageLatency;
    stats.resetLatency();
    return ms / 1000;
  }

  /**
   * The change of each counter, summed over entries.
   *
   * @template {string} Key
   * @param {any[]} entries
   * @param {readonly Key[]} keys  the last one counts samples
   * @returns {Record<Key, number>}
   */
  #since(entries, keys) {
    const count = keys[keys.length - 1];
    const sum = /** @type {Record<Key, number>} */ (Object.fromEntries(keys.map((key) => [key, 0])));
    for (const entry of entries) {
      const before = this.#before.get(entry.id);
      // Another connection counts from its own beginning.
      const goesOn = before && entry[count] >= before[count];
      for (const key of keys) sum[key] += (entry[key] ?? 0) - (goesOn ? (before[key] ?? 0) : 0);
    }
    return sum;
  }
}

/**
 * @param {Record<string, number | undefined>} seconds
 * @returns {Figures}
 */
function known(seconds) {
  const usable = Object.entries(seconds).filter(([, value]) => typeof value === "number" && Number.isFinite(value) && value >= 0);
  return Object.fromEntries(usable.map(([key, value]) => [key, Number(value) * 1000]));
}
