// @ts-check
import { LongPoll } from "phoenix";
import { backoff } from "./backoff.js";

/** A WebSocket that isn't open by then won't open: something on the way swallows it. */
const HANGS_MS = 2500;
/** The same where there is no other way: on a slow network it gets the time that it needs. */
const HANGS_ALONE_MS = 10_000;
/** A socket that lives this long is one that works. */
const WORKS_MS = 5000;
/** So many WebSockets that fail are enough to poll. */
const FAILURES = 2;
/** The most messages in one request of long polling. */
const BATCH = 100;

/**
 * The way of a page's sockets to the server: WebSockets, or long polling where a proxy, a firewall or a security program
 * lets none through.
 *
 * It starts with WebSockets and polls after two that didn't open, or that broke within 5 s, or after one that wasn't open
 * within 2.5 s. It never polls once a WebSocket has worked for 5 s: later failures are the server's, or the whole
 * network's. When polling fails it tries WebSockets again, which `longPollFallbackMs` of the library never does.
 *
 * A socket whose server offers no long polling tries WebSockets alone, each for 10 s.
 *
 * All sockets of a page share one ({@link transport}), and so what it has found out.
 */
export class Transport {
  #polling = false;
  #works = false;
  #failures = 0;
  #now;

  /** @param {() => number} now  in milliseconds, for tests */
  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  /** Whether sockets poll from now on. */
  get polling() {
    return this.#polling;
  }

  /**
   * Options of one Socket of the library. A socket that lived less than 5 s doesn't reset its back-off: something on the
   * way may close each one at once.
   *
   * @param {{first?: number, most?: number}} delays  between its tries, in milliseconds, see {@link backoff}
   * @param {boolean} [mayPoll]  whether the server polls there: without that, WebSockets are tried for as long as it takes
   * @returns {{transport: new (url: string, protocols?: string[]) => unknown, reconnectAfterMs: (tries: number) => number}}
   */
  options(delays, mayPoll = true) {
    let shortLives = 0;
    const ended = (/** @type {number} */ age) => {
      shortLives = age < WORKS_MS ? shortLives + 1 : 0;
    };
    const open = (/** @type {string} */ url, /** @type {string[] | undefined} */ protocols) =>
      mayPoll && (this.#polling || !globalThis.WebSocket)
        ? this.#poll(url, protocols, ended)
        : this.#webSocket(url, protocols, ended, mayPoll);
    // The library calls it with `new`, and takes what it returns.
    const transport = /** @type {any} */ (
      function (/** @type {string} */ url, /** @type {string[]} */ protocols) {
        return open(url, protocols);
      }
    );
    return { transport, reconnectAfterMs: (tries) => backoff(tries + shortLives, delays) };
  }

  /**
   * A WebSocket, with `abandon()`: for the library it is closed then, without waiting for an answer of the server's, which takes
   * seconds where the path to it is gone.
   *
   * @param {string} url
   * @param {string[] | undefined} protocols
   * @param {(age: number) => void} ended
   * @param {boolean} mayPoll
   */
  #webSocket(url, protocols, ended, mayPoll) {
    const socket = new WebSocket(url, protocols);
    const close = socket.close.bind(socket);
    /** @type {number | null} */
    let openedAt = null;
    let heard = false;
    let ours = false;
    let timer = setTimeout(() => {
      // On a slow network it may yet open.
      if (this.#works) return;
      if (mayPoll) this.#failed(FAILURES);
      close();
    }, mayPoll ? HANGS_MS : HANGS_ALONE_MS);
    const age = () => (openedAt === null ? 0 : this.#now() - openedAt);
    const judge = () => {
      if (heard && age() >= WORKS_MS) this.#works = true;
    };
    socket.addEventListener("open", () => {
      clearTimeout(timer);
      openedAt = this.#now();
      timer = setTimeout(judge, WORKS_MS);
    });
    socket.addEventListener("message", () => {
      heard = true;
      judge();
    });
    socket.addEventListener("close", ({ wasClean }) => {
      clearTimeout(timer);
      judge();
      if (openedAt !== null) ended(age());
      // One that was open for long without a word back goes nowhere, even if the library gave it up.
      const silent = !heard && age() >= WORKS_MS;
      const broken = !ours && age() < WORKS_MS && !(heard && wasClean);
      if (mayPoll && (silent || broken)) this.#failed();
    });
    socket.close = (...reason) => {
      ours = true;
      close(...reason);
    };
    const abandon = () => {
      if (socket.readyState === 3) return;
      const { onclose } = socket;
      socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
      Object.defineProperty(socket, "readyState", { value: 3 });
      socket.close();
      onclose?.call(socket, new CloseEvent("close", { code: 1006 }));
    };
    return Object.assign(socket, { abandon });
  }

  #failed(count = 1) {
    this.#failures += count;
    if (this.#failures >= FAILURES && !this.#works) this.#polling = true;
  }

  /**
   * @param {string} url
   * @param {string[] | undefined} protocols
   * @param {(age: number) => void} ended
   */
  #poll(url, protocols, ended) {
    const poll = new LongPoll(url, protocols);
    const close = poll.close.bind(poll);
    const startedAt = this.#now();
    let over = false;
    // The library calls it, too, when polling fails; with a code then.
    poll.close = (code, reason, wasClean) => {
      if (!over && code !== undefined && code !== 1000) this.#pollFailed();
      if (!over && poll.token) ended(this.#now() - startedAt);
      if (!over) flush(poll);
      over = true;
      close(code, reason, wasClean);
    };
    return Object.assign(poll, { abandon: () => poll.close(1006, "abandoned", false) });
  }

  #pollFailed() {
    this.#polling = false;
    this.#failures = 0;
  }
}

/**
 * Sends what a session of long polling hasn't sent when it is closed, as a WebSocket does: a goodbye, above all, which has
 * to outlive the page. The library drops it.
 *
 * @param {LongPoll} poll
 */
function flush(poll) {
  const unsent = [...(poll.currentBatch ?? []), ...poll.batchBuffer];
  if (!poll.token || unsent.length === 0) return;
  const body = unsent.slice(0, BATCH).join("\n");
  // The session may be over, and nobody is left to tell.
  fetch(poll.endpointURL(), { method: "POST", keepalive: true, headers: { "content-type": "application/x-ndjson" }, body }).catch(() => {});
}

/** The page's own. */
export const transport = new Transport();
