// @ts-check
import { Socket } from "phoenix";
import { backoff } from "./backoff.js";
import { WAITING_TITLES } from "./messages.js";
import { transport } from "./transport.js";

/** A request that the server answered with an error, or couldn't be asked. */
export class SignallingError extends Error {
  /**
   * @param {string} reason   stable code, such as `room_full`
   * @param {string} message  the server's words for people
   * @param {boolean} retry   whether the same request may work a little later
   */
  constructor(reason, message, retry) {
    super(message);
    this.name = "SignallingError";
    this.reason = reason;
    this.retry = retry;
  }

  /** @param {any} response */
  static from(response) {
    return new SignallingError(
      String(response?.reason ?? "unknown"),
      String(response?.message ?? ""),
      response?.retry === true,
    );
  }
}

/** Pushes of the server that are handed on as events of the same name. */
const PUSHES = ["participants", "levels", "speaking", "slots", "positions", "chat", "caption", "recording", "media_restart", "media_move", "transfer", "draining", "closed"];

/** How often the watchdog looks, and how long a socket may be closed before it steps in. */
const WATCH_MS = 1000;
const WATCHDOG_PATIENCE_MS = 3000;
/** After so many sockets in a row that led into no room the person is told. */
const FRUITLESS = 3;

/**
 * The channel `room:<name>`, kept open.
 *
 * Events: `joined` (detail: the join's reply; again after every reconnection), `lost`, `waiting` (detail: SignallingError; the
 * server isn't ready for us, we ask again), `refused` (the same, but final), and the server's pushes under their own names.
 */
export class Signalling extends EventTarget {
  /** @type {Socket} */ #socket;
  /** @type {import("phoenix").Channel | null} */ #channel = null;
  /** @type {string} */ #token;
  /** @type {(() => Promise<string>) | null} */ #renew;
  #topic;
  #params;
  #wanted = false;
  #joined = false;
  /** Whether the present socket led into the room, for however short a time. */ #led = false;
  #renewing = false;
  #renewedAt = 0;
  #closedSince = 0;
  /** Sockets in a row that closed before the room was joined. */
  #fruitless = 0;
  /** Whether one of them opened. */
  #cutOff = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #watchdog;
  #online = () => this.#reconnect();

  /**
   * @param {object} options
   * @param {string} options.url    path of the socket, such as `/voice`
   * @param {string} options.room
   * @param {() => Record<string, unknown>} [options.params]  sent with every join
   * @param {Record<string, unknown>} [options.socketParams]  sent when the socket opens
   * @param {boolean} [options.longPoll]  whether the server offers long polling there, as Roomtone's own does
   * @param {string} options.token  lets its bearer into this room
   * @param {(() => Promise<string>) | null} [options.renew]  gets a fresh token when the old one isn't taken any more;
   *   rejects with a {@link SignallingError} whose `retry` says whether it's worth asking again
   */
  constructor({ url, room, token, params = () => ({}), socketParams = {}, longPoll = true, renew = null }) {
    super();
    this.#topic = `room:${room}`;
    this.#params = params;
    this.#token = token;
    this.#renew = renew;
    this.#socket = new Socket(url, {
      // In a header instead of the address, so that it doesn't end up in anybody's access log.
      authToken: token ? () => this.#token : undefined,
      params: socketParams,
      timeout: 8000,
      // A dead path is noticed in at most twice this.
      heartbeatIntervalMs: 8000,
      ...transport.options({ first: 50, most: 2000 }, longPoll),
      rejoinAfterMs: (tries) => backoff(tries, { first: 300, most: 4000 }),
    });
    let opened = false;
    this.#socket.onOpen(() => {
      opened = true;
    });
    this.#socket.onError(() => {
      // The browser doesn't say why a socket was refused; the token's age is the only cause that we can cure.
      if (!opened) this.#renewToken();
    });
    this.#socket.onClose(() => {
      // A server that stops ends the channel first, so that nobody is joined when the socket closes.
      if (!this.#led) this.#closedEarly(opened);
      opened = false;
      this.#led = false;
      this.#lose();
    });
  }

  /** Opens the socket and joins; goes on until {@link stop} or a refusal. */
  start() {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#socket.connect();
    this.#joinChannel();
    this.#watchdog = setInterval(() => this.#watch(), WATCH_MS);
    globalThis.addEventListener?.("online", this.#online);
  }

  /** Leaves the room and closes the socket for good. */
  stop() {
    if (!this.#wanted) return;
    this.#wanted = false;
    clearInterval(this.#watchdog);
    globalThis.removeEventListener?.("online", this.#online);
    this.#channel?.leave();
    this.#channel = null;
    this.#joined = false;
    this.#socket.disconnect();
  }

  /** @returns {boolean} */
  get joined() {
    return this.#joined;
  }

  /**
   * @param {number} ms
   * @returns {Promise<boolean>} whether the server answers within so long
   */
  answers(ms) {
    return new Promise((resolve) => {
      const settle = (/** @type {boolean} */ answered) => {
        clearTimeout(timer);
        this.removeEventListener("lost", lost);
        resolve(answered);
      };
      const lost = () => settle(false);
      const timer = setTimeout(lost, ms);
      this.addEventListener("lost", lost);
      if (!this.#socket.ping(() => settle(true))) lost();
    });
  }

  /** Lets go of a connection that leads nowhere, and connects anew. */
  abandon() {
    this.#socket.conn?.abandon?.();
  }

  /**
   * @param {string} event
   * @param {Record<string, unknown>} payload
   * @returns {Promise<any>} the reply; rejects with a {@link SignallingError}
   */
  request(event, payload) {
    const channel = this.#channel;
    if (!channel || !this.#joined) return Promise.reject(new SignallingError("lost", "", true));
    return new Promise((resolve, reject) => {
      const lost = () => reject(new SignallingError("lost", "", true));
      // A reply to a request of the old connection never comes.
      this.addEventListener("lost", lost, { once: true });
      const settle = (/** @type {() => void} */ done) => {
        this.removeEventListener("lost", lost);
        done();
      };
      channel
        .push(event, payload)
        .receive("ok", (reply) => settle(() => resolve(reply)))
        .receive("error", (reply) => settle(() => reject(SignallingError.from(reply))))
        .receive("timeout", () => settle(() => reject(new SignallingError("timeout", "", true))));
    });
  }

  #joinChannel() {
    const channel = this.#socket.channel(this.#topic, this.#params);
    this.#channel = channel;
    for (const name of PUSHES) channel.on(name, (detail) => this.#emit(name, detail));
    channel.onError(() => this.#lose());
    channel.onClose(() => {
      if (this.#channel !== channel) return;
      // The server ended the channel in an orderly way, which the library takes as final. It has told us why before, in a
      // `closed` push, if it meant it; else come back.
      this.#channel = null;
      this.#lose();
      setTimeout(() => {
        if (this.#wanted && !this.#channel) this.#joinChannel();
      }, backoff(2, { first: 300 }));
    });
    channel
      .join()
      .receive("ok", (reply) => {
        this.#joined = true;
        this.#led = true;
        this.#fruitless = 0;
        this.#cutOff = false;
        this.#emit("joined", reply);
      })
      .receive("error", (reply) => {
        const error = SignallingError.from(reply);
        if (error.retry || error.reason === "unknown" || error.reason === "join crashed") this.#emit("waiting", error);
        else this.#refuse(error);
      });
  }

  /** @param {boolean} opened */
  #closedEarly(opened) {
    this.#fruitless += 1;
    this.#cutOff ||= opened;
    if (!this.#wanted || this.#fruitless < FRUITLESS) return;
    const reason = this.#cutOff ? "cut_off" : "unanswered";
    this.#emit("waiting", new SignallingError(reason, WAITING_TITLES[reason], true));
  }

  #lose() {
    if (!this.#joined) return;
    this.#joined = false;
    if (this.#wanted) this.#emit("lost", null);
  }

  /** @param {SignallingError} error */
  #refuse(error) {
    this.stop();
    this.#emit("refused", error);
  }

  async #renewToken() {
    if (!this.#renew || this.#renewing || Date.now() - this.#renewedAt < 2000) return;
    this.#renewing = true;
    try {
      this.#token = await this.#renew();
    } catch (error) {
      if (this.#wanted && error instanceof SignallingError && !error.retry) this.#refuse(error);
    } finally {
      this.#renewing = false;
      this.#renewedAt = Date.now();
    }
  }

  /**
   * The library stops reconnecting while the page is hidden, which is right for a page to look at and wrong for one to
   * listen to; and it never comes back from a close that it takes as orderly.
   */
  #watch() {
    if (this.#socket.connectionState() !== "closed") {
      this.#closedSince = 0;
      return;
    }
    const now = Date.now();
    this.#closedSince ||= now;
    if (now - this.#closedSince >= WATCHDOG_PATIENCE_MS) this.#reconnect();
  }

  #reconnect() {
    if (!this.#wanted || this.#socket.connectionState() === "connecting") return;
    this.#closedSince = 0;
    // The library waits 1.5 s for the close of a dead path, and then tells nobody of it: no request of the old connection
    // would fail, and the channel would take itself for joined and not join again.
    this.abandon();
    this.#socket.disconnect(() => {
      if (this.#wanted) this.#socket.connect();
    });
  }

  /**
   * @param {string} name
   * @param {unknown} detail
   */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
