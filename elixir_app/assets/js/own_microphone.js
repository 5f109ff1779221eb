// @ts-check
import { openMicrophone } from "./microphone.js";
import { problem } from "./messages.js";

/**
 * The outcome of asking for a microphone. `unchanged`: it doesn't start, and the former one stays; `overtaken`: another one was
 * asked for meanwhile.
 *
 * @typedef {"opened" | "failed" | "unchanged" | "overtaken"} Outcome
 */

/**
 * The microphone of a call: which one, whether it is open, and what becomes of it when it is unplugged.
 *
 * Events: `track` (detail: the `MediaStreamTrack` to send, or null), `problem` and `solved`, as a room's.
 */
export class OwnMicrophone extends EventTarget {
  /** @type {MediaStreamTrack | null} */ #track = null;
  #processing;
  #music = false;
  #device;
  /** The device that was asked for when the present track was opened. */
  #openDevice = "";
  /** How often it was asked for: only the last one counts, whichever answer comes first. */
  #attempts = 0;
  #shut = false;
  #over = false;

  /**
   * @param {object} options
   * @param {boolean} options.processing  echo cancellation and the like
   * @param {string} options.device  id of the one to take, if it is there; empty: whichever the browser takes
   */
  constructor({ processing, device }) {
    super();
    this.#processing = processing;
    this.#device = device;
  }

  get track() {
    return this.#track;
  }

  /**
   * Asks for it (again).
   *
   * @returns {Promise<Outcome>}
   */
  async open() {
    const attempt = (this.#attempts += 1);
    const device = this.#device;
    const music = this.#music;
    const { track, problem: trouble } = await openMicrophone({ processing: this.#processing && !music, stereo: music, device });
    if (this.#over || attempt !== this.#attempts) {
      track?.stop();
      return "overtaken";
    }
    if (!track) {
      const former = this.#track !== null;
      if (former) this.#device = this.#openDevice;
      this.#emit("problem", former ? problem("microphone_unchanged") : trouble);
      return former ? "unchanged" : "failed";
    }
    this.#drop();
    this.#track = track;
    this.#openDevice = device;
    track.enabled = !this.#shut;
    track.onended = () => this.#lost(track);
    this.#emit("track", track);
    this.#emit("solved", "microphone");
    this.#emit("solved", "listening_only");
    return "opened";
  }

  /** @param {string} device  to be taken from now on */
  choose(device) {
    this.#device = device;
  }

  /**
   * Music is taken as it is, in stereo; the microphone that is open is asked for anew.
   *
   * @param {boolean} music
   */
  setMusic(music) {
    if (music === this.#music) return;
    this.#music = music;
    if (this.#track) this.open();
  }

  /** @param {boolean} shut  whether it gives nothing but silence; of the present one and those that come */
  shut(shut) {
    this.#shut = shut;
    if (this.#track) this.#track.enabled = !shut;
  }

  /** Lets it go for good. */
  close() {
    this.#over = true;
    if (!this.#track) return;
    this.#drop();
    this.#emit("track", null);
  }

  #drop() {
    if (!this.#track) return;
    this.#track.onended = null;
    this.#track.stop();
    this.#track = null;
  }

  /** @param {MediaStreamTrack} track */
  async #lost(track) {
    if (track !== this.#track) return;
    this.#track = null;
    this.#emit("track", null);
    this.#emit("problem", problem("microphone_lost"));
    // The system may have another one ready.
    await this.open();
  }

  /**
   * @param {string} name
   * @param {unknown} detail
   */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
