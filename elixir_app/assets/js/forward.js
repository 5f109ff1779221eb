// @ts-check

/**
 * @typedef {object} Slot  who is in a slot, and how they are to be played
 * @property {number} slot
 * @property {string | null} id  nobody, if null
 * @property {number} gain       linear
 * @property {number} pan        -1 left … 1 right
 *
 * @typedef {object} Strip  what a slot's sound goes through
 * @property {MediaStreamAudioSourceNode} source
 * @property {HTMLAudioElement} puller
 */

/** A new gain is reached in about this time, without a click. */
const RAMP_S = 0.01;

/**
 * Adds up the streams of a room that forwards: each slot's with the gain and the pan that the server says. What comes out is one
 * stream, to be played like that of any other room.
 */
export class Forward {
  #context;
  #out;
  /** @type {{gain: GainNode, pan: StereoPannerNode}[]} */ #controls = [];
  /** @type {Map<number, Strip>} */ #strips = new Map();

  constructor() {
    this.#context = new AudioContext({ latencyHint: "interactive" });
    this.#out = new MediaStreamAudioDestinationNode(this.#context, { channelCount: 2 });
  }

  static get supported() {
    return typeof AudioContext === "function";
  }

  /** All slots together. */
  get stream() {
    return this.#out.stream;
  }

  /**
   * Plays what comes in a slot, in place of what came before. Nothing is heard of it until it is said how loud.
   *
   * @param {number} slot
   * @param {MediaStreamTrack} track
   */
  play(slot, track) {
    this.#drop(slot);
    const stream = new MediaStream([track]);
    // Chromium gives a remote track's sound to Web Audio only while a media element pulls it.
    const puller = new Audio();
    puller.muted = true;
    puller.srcObject = stream;
    puller.play().catch(() => {
      // Muted, so autoplay is no matter; it was replaced meanwhile.
    });
    const source = new MediaStreamAudioSourceNode(this.#context, { mediaStream: stream });
    source.connect(this.#control(slot).gain);
    this.#strips.set(slot, { source, puller });
  }

  /** @param {Slot[]} slots */
  set(slots) {
    for (const { slot, id, gain, pan } of slots) {
      const control = this.#control(slot);
      const now = this.#context.currentTime;
      control.gain.gain.setTargetAtTime(id === null ? 0 : gain, now, RAMP_S / 3);
      control.pan.pan.setTargetAtTime(pan, now, RAMP_S / 3);
    }
  }

  /** @param {number} slot */
  #control(slot) {
    while (this.#controls.length <= slot) {
      const gain = new GainNode(this.#context, { gain: 0 });
      const pan = new StereoPannerNode(this.#context);
      gain.connect(pan).connect(this.#out);
      this.#controls.push({ gain, pan });
    }
    return this.#controls[slot];
  }

  /** @param {number} slot */
  #drop(slot) {
    const strip = this.#strips.get(slot);
    if (!strip) return;
    this.#strips.delete(slot);
    strip.source.disconnect();
    strip.puller.srcObject = null;
  }

  /** Begins to sound where autoplay held it back; for a click. */
  async resume() {
    if (this.#context.state === "suspended") await this.#context.resume();
  }

  close() {
    for (const slot of [...this.#strips.keys()]) this.#drop(slot);
    // Rejects if it is closed already, which is all that is wanted.
    this.#context.close().catch(() => {});
  }
}
