// @ts-check
/**
 * @typedef {"muted" | "deafened" | "hand" | "microphone" | "auto_gain" | "noise_suppression" | "music"} Flag
 *
 * @typedef {object} Own  what is so of myself
 * @property {boolean} muted     my microphone, by me (or by the server in my name)
 * @property {boolean} deafened
 * @property {boolean} hand
 * @property {boolean} autoGain  whether I'm brought to the level of others, where the room does that
 * @property {boolean} noiseSuppression  whether my noise is suppressed, where the room can
 * @property {boolean} music     whether I make music, which is sent as it is
 * @property {"silenced" | "listener" | null} held  why nobody hears me, whatever my own button says
 */

/** The state that a server assumes before it is told; null: that is up to the room. @type {Record<Flag, boolean | null>} */
const UNTOLD = { muted: false, deafened: false, hand: false, microphone: true, auto_gain: true, noise_suppression: null, music: false };
const FLAGS = /** @type {Flag[]} */ (Object.keys(UNTOLD));

/**
 * My own switches, and how far the server knows them. A press counts here at once; until the server has confirmed it, the
 * server's view of it is older news. Nobody but its owner opens a microphone that its owner has shut.
 */
export class OwnState {
  /** @type {Record<Flag, {value: boolean, presses: number, told: number}>} */ #flags = {
    muted: { value: false, presses: 0, told: 0 },
    deafened: { value: false, presses: 0, told: 0 },
    hand: { value: false, presses: 0, told: 0 },
    microphone: { value: true, presses: 0, told: 0 },
    auto_gain: { value: true, presses: 0, told: 0 },
    noise_suppression: { value: false, presses: 0, told: 0 },
    music: { value: false, presses: 0, told: 0 },
  };
  #shutByMe = false;

  /** @param {Flag} flag */
  get(flag) {
    return this.#flags[flag].value;
  }

  /**
   * @param {Flag} flag
   * @param {boolean} value
   * @returns {boolean} whether that changed anything
   */
  press(flag, value) {
    const state = this.#flags[flag];
    const chosen = UNTOLD[flag] !== null || state.presses > 0;
    if (state.value === value && chosen) return false;
    state.value = value;
    state.presses += 1;
    if (flag === "muted") this.#shutByMe = value;
    return true;
  }

  /** The microphone is shut, and nobody but its owner opens it again. @returns {boolean} whether that changed anything */
  shut() {
    const changed = this.press("muted", true);
    this.#shutByMe = true;
    return changed;
  }

  /**
   * Takes in the server's view of me.
   *
   * @param {Flag} flag
   * @param {unknown} value
   * @returns {"changed" | "same" | "tell"} `tell`: the server is to be told again, for it has no say in this
   */
  heard(flag, value) {
    const state = this.#flags[flag];
    if (typeof value !== "boolean" || value === state.value || this.untold(flag)) return "same";
    if (flag === "muted" && !value && this.#shutByMe) return "tell";
    state.value = value;
    return "changed";
  }

  /** @param {Flag} flag */
  untold(flag) {
    return this.#flags[flag].presses !== this.#flags[flag].told;
  }

  /**
   * Whether a server has to be told of it that may know nothing of me, such as that of a room opened anew.
   *
   * @param {Flag} flag
   */
  due(flag) {
    const { value, presses } = this.#flags[flag];
    return (UNTOLD[flag] === null ? presses > 0 : value !== UNTOLD[flag]) || this.untold(flag);
  }

  /**
   * The flags to tell the server, and a function to call once it has been told.
   *
   * @param {(flag: Flag) => boolean} which
   * @returns {{values: Partial<Record<Flag, boolean>>, told: () => void}}
   */
  report(which) {
    const flags = FLAGS.filter(which);
    const presses = flags.map((flag) => this.#flags[flag].presses);
    return {
      values: Object.fromEntries(flags.map((flag) => [flag, this.#flags[flag].value])),
      told: () => {
        flags.forEach((flag, i) => {
          this.#flags[flag].told = Math.max(this.#flags[flag].told, presses[i]);
        });
      },
    };
  }
}
