// @ts-check
/** How often it looks. */
const LOOK_MS = 100;
/** Sound comes every 20 ms. So long without any, after it had been coming for {@link FLOW_LOOKS} looks, is worth a question. */
const SILENT_MS = 400;
const FLOW_LOOKS = 5;
/** An answer that takes longer doesn't come: a ping is answered by the server's socket itself. */
const PING_MS = 400;
/** Between two looks at what the server has sent. */
const COUNT_MS = 120;
/** From one repair to the next, if it didn't help: doubled each time. */
const REPAIR_MS = 4000;
const MOST_REPAIR_MS = 60_000;
/** Sound that has come for so long without a pause shows that the repair before it helped. */
const STEADY_MS = 10_000;

/**
 * Notices within half a second that the path of a call is gone: another network, another port at a NAT. A browser by itself takes some
 * seconds for it, because it asks no more often whether a path that worked still does.
 *
 * Silence alone proves nothing, since a server with nothing to send sends nothing. So, when the sound stops, it asks the server by a ping:
 *
 *   - no answer: the signalling goes by a dead path, too. It is connected anew; and where it is silent even then, so is the call. An ICE
 *     restart wouldn't do: browsers prefer the pair in use for as long as they take it for one that works.
 *   - an answer, and somebody talks: ICE is restarted if the server goes on sending. That interrupts nothing: the former path is used
 *     until a new one works (RFC 8445, section 9).
 */
export class PathWatch {
  #options;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #timer;
  /** The newest sound, as the browser dates it. */
  #newest = 0;
  #heardAt = 0;
  /** Since when sound has come without a pause. */
  #steadySince = 0;
  /** Looks in a row that found new sound. */
  #flow = 0;
  /** Whether the silence that is now was looked into, and found to be the server's. */
  #explained = false;
  #asking = false;
  #repairedAt = -Infinity;
  #patience = REPAIR_MS;

  /**
   * @param {object} options
   * @param {() => RTCPeerConnection | null} options.connection  the one that should be up; null while none is
   * @param {() => boolean} options.expected  whether somebody talks, as the server says
   * @param {(ms: number) => Promise<boolean>} options.ping  whether the server answers in time
   * @param {() => Promise<number>} options.sent  packets that the server has sent us
   * @param {() => void} options.restart  restarts ICE
   * @param {() => void} options.reconnect  connects the signalling anew, and then the call if it {@link isSilent}
   * @param {() => number} [options.now]
   */
  constructor(options) {
    this.#options = { now: () => performance.now(), ...options };
  }

  start() {
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS);
    globalThis.addEventListener?.("online", this.changed);
    connection()?.addEventListener?.("change", this.changed);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    globalThis.removeEventListener?.("online", this.changed);
    connection()?.removeEventListener?.("change", this.changed);
  }

  /** Whether no sound came lately. */
  get isSilent() {
    return newestSound(this.#options.connection()) <= this.#newest && this.#options.now() - this.#heardAt >= SILENT_MS;
  }

  /** The browser says that its network is another one. */
  changed = () => {
    if (this.#options.connection()) this.#ask(async () => true);
  };

  #look() {
    const { now } = this.#options;
    const newest = newestSound(this.#options.connection());
    if (newest > this.#newest) {
      if (now() - this.#heardAt >= SILENT_MS) this.#steadySince = now();
      this.#heardAt = now();
      this.#flow += 1;
      this.#explained = false;
      if (now() - this.#steadySince >= STEADY_MS) this.#patience = REPAIR_MS;
    } else if (newest === 0) {
      this.#flow = 0;
    }
    this.#newest = newest;
    if (this.#flow < FLOW_LOOKS || now() - this.#heardAt < SILENT_MS) return;
    if (this.#explained && !this.#options.expected()) return;
    this.#ask(() => this.#isSending());
  }

  /** @param {() => Promise<boolean>} isBroken  asked where the server answers */
  async #ask(isBroken) {
    const { now, ping, restart, reconnect } = this.#options;
    if (this.#asking || now() - this.#repairedAt < this.#patience) return;
    this.#asking = true;
    try {
      const answers = await ping(PING_MS);
      if (answers && !(await isBroken())) {
        this.#explained = true;
        return;
      }
      // Sound that came meanwhile was only late.
      if (newestSound(this.#options.connection()) > this.#newest) return;
      if (this.#repairedAt > 0) this.#patience = Math.min(2 * this.#patience, MOST_REPAIR_MS);
      this.#repairedAt = now();
      this.#flow = 0;
      if (answers) restart();
      else reconnect();
    } finally {
      this.#asking = false;
    }
  }

  async #isSending() {
    if (!this.#options.expected()) return false;
    try {
      const before = await this.#options.sent();
      await new Promise((resolve) => setTimeout(resolve, COUNT_MS));
      return (await this.#options.sent()) > before;
    } catch {
      // The signalling has broken meanwhile: its own repair comes first.
      return false;
    }
  }
}

function connection() {
  return /** @type {EventTarget | undefined} */ (/** @type {any} */ (globalThis.navigator)?.connection);
}

/**
 * When the newest sound of a connection was played, on a clock of the browser's; zero for none.
 *
 * @param {RTCPeerConnection | null} pc
 */
function newestSound(pc) {
  let newest = 0;
  for (const receiver of pc?.getReceivers?.() ?? []) {
    for (const { timestamp } of receiver.getSynchronizationSources?.() ?? []) newest = Math.max(newest, timestamp);
  }
  return newest;
}
