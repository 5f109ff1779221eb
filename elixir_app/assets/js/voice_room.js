// @ts-check
import { MediaLink } from "./media_link.js";
import { openMicrophone } from "./microphone.js";
import { Signalling, SignallingError } from "./signalling.js";
import { problem } from "./words.js";

export { SignallingError };

/**
 * @typedef {import("./words.js").Problem} Problem
 *
 * @typedef {object} Participant
 * @property {string} id    who it is, unique in the room
 * @property {string} name  what to call them
 * @property {boolean} muted
 * @property {boolean} speaking
 * @property {boolean} connected  whether sound flows to and from them just now
 *
 * @typedef {"new" | "connecting" | "connected" | "reconnecting" | "left" | "ended"} Status
 *
 * @typedef {object} Options
 * @property {string} room
 * @property {string} token     signed by the server for this room and name
 * @property {string} session   proves that I am the same one when I come back
 * @property {string} [socket]  path of the voice socket
 * @property {boolean} [processing]  echo cancellation and the like on the microphone
 * @property {() => Promise<string>} [renewToken]
 * @property {HTMLAudioElement} [audio]  what plays the room; one of our own if not given
 */

/**
 * A voice room as seen from one browser. Says what happens in events and keeps itself connected; shows nothing.
 *
 * | event | detail |
 * |---|---|
 * | `status` | {@link Status} |
 * | `participants` | `Participant[]`, whenever one of them changes |
 * | `joined`, `left` | a participant; only while watching, not for those who were there before |
 * | `speaking` | `{id, speaking}` |
 * | `levels` | `{[id]: dBov}`, 0 loudest … −127 silence |
 * | `muted` | boolean: my own microphone, by {@link VoiceRoom.setMuted} or by the server |
 * | `problem` | {@link Problem} |
 * | `solved` | code of a problem that is over |
 */
export class VoiceRoom extends EventTarget {
  /** @type {Options} */ #options;
  /** @type {Signalling | null} */ #signalling = null;
  /** @type {MediaLink | null} */ #link = null;
  /** @type {MediaStreamTrack | null} */ #track = null;
  /** @type {Map<string, Participant>} */ #people = new Map();
  /** @type {Status} */ #status = "new";
  #me = "";
  #muted = false;
  #shutByMe = false;
  /** Counts the changes by {@link VoiceRoom.setMuted}, and up to which the server knows them; about the rest it has the say. */
  #presses = 0;
  #pressesTold = 0;
  #entered = false;
  /** What the person was told that we wait for. */
  #waitingFor = "";
  /** @type {HTMLAudioElement} */ #audio;

  /** @param {Options} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#audio = options.audio ?? new Audio();
    this.#audio.autoplay = true;
  }

  get status() {
    return this.#status;
  }

  get muted() {
    return this.#muted;
  }

  get participants() {
    return [...this.#people.values()];
  }

  /** My own id; empty before the first join. */
  get me() {
    return this.#me;
  }

  /** The element that plays the room. */
  get audio() {
    return this.#audio;
  }

  /** @returns {Promise<RTCStatsReport | null>} */
  async stats() {
    return (await this.#link?.peerConnection?.getStats()) ?? null;
  }

  /** Asks for the microphone and enters, without a microphone if need be. */
  async join() {
    if (this.#signalling) return;
    if (!MediaLink.supported) {
      this.#setStatus("ended");
      this.#emit("problem", problem("webrtc_unsupported"));
      return;
    }
    this.#setStatus("connecting");
    const link = new MediaLink({ exchange: (sdp) => this.#exchange(sdp) });
    const signalling = new Signalling({
      url: this.#options.socket ?? "/voice",
      room: this.#options.room,
      token: this.#options.token,
      params: { session: this.#options.session },
      renew: this.#options.renewToken ?? null,
    });
    this.#link = link;
    this.#signalling = signalling;
    this.#listenToLink(link);
    this.#listenToSignalling(signalling);
    // The room's list can be shown while the person still answers the browser's question about the microphone.
    signalling.start();
    await this.openMicrophone();
  }

  /** Asks for the microphone (again). */
  async openMicrophone() {
    const { track, problem: trouble } = await openMicrophone({ processing: this.#options.processing ?? true });
    if (this.#over) {
      track?.stop();
      return;
    }
    if (!track) {
      this.#emit("problem", trouble);
      return;
    }
    this.#track?.stop();
    this.#track = track;
    track.enabled = !this.#muted;
    track.onended = () => this.#microphoneLost(track);
    this.#link?.setTrack(track);
    this.#emit("solved", "microphone");
  }

  /** @param {boolean} muted */
  setMuted(muted) {
    if (this.#muted === muted) return;
    this.#presses += 1;
    this.#shutByMe = muted;
    // Here first: whatever becomes of the message, nothing is sent from now on.
    this.#mute(muted);
    this.#tellMuted();
  }

  /** @param {boolean} muted */
  #mute(muted) {
    this.#muted = muted;
    if (this.#track) this.#track.enabled = !muted;
    this.#emit("muted", muted);
  }

  /**
   * What the server says of my microphone. It doesn't know yet what was pressed meanwhile, which it is told.
   *
   * @param {unknown} muted
   */
  #mutedByServer(muted) {
    if (typeof muted !== "boolean" || muted === this.#muted || this.#untold) return;
    // Nobody else opens a microphone that its owner has shut: the server is told again that it is.
    if (!muted && this.#shutByMe) this.#tellMuted();
    else this.#mute(muted);
  }

  get #untold() {
    return this.#presses !== this.#pressesTold;
  }

  /** Plays what autoplay held back; call it from a click. */
  async hear() {
    try {
      await this.#audio.play();
      this.#emit("solved", "autoplay_blocked");
    } catch (error) {
      // Anything else is an interruption: another stream came, or the end.
      const blocked = error instanceof Error && error.name === "NotAllowedError";
      if (blocked && !this.#over) this.#emit("problem", problem("autoplay_blocked"));
    }
  }

  /** Leaves the room; another {@link VoiceRoom} may enter it again. */
  leave() {
    if (!this.#over) this.#end("left");
  }

  get #over() {
    return this.#status === "left" || this.#status === "ended";
  }

  /** @param {"left" | "ended"} status */
  #end(status) {
    this.#signalling?.stop();
    this.#link?.close();
    if (this.#track) {
      this.#track.onended = null;
      this.#track.stop();
      this.#track = null;
    }
    this.#audio.srcObject = null;
    this.#waitingIsOver();
    this.#people.clear();
    this.#emit("participants", []);
    this.#setStatus(status);
  }

  /** @param {MediaLink} link */
  #listenToLink(link) {
    on(link, "connected", () => {
      this.#emit("solved", "media_unreachable");
      this.#waitingIsOver();
      if (this.#signalling?.joined) this.#setStatus("connected");
    });
    on(link, "lost", () => {
      if (!this.#over) this.#setStatus("reconnecting");
    });
    on(link, "stream", (stream) => {
      this.#audio.srcObject = stream;
      this.hear();
    });
    on(link, "unreachable", (error) => {
      // With words of the server's: it was reached, and answered that it can't just now.
      if (error instanceof SignallingError && error.message) this.#waiting(error);
      else this.#emit("problem", problem("media_unreachable"));
    });
    on(link, "refused", (error) => this.#refused(error));
  }

  /** @param {Signalling} signalling */
  #listenToSignalling(signalling) {
    on(signalling, "joined", (reply) => this.#signallingJoined(reply));
    on(signalling, "lost", () => {
      this.#link?.pause();
      this.#setStatus("reconnecting");
    });
    on(signalling, "waiting", (error) => this.#waiting(error));
    on(signalling, "refused", (error) => this.#refused(error));
    on(signalling, "participants", (diff) => this.#participantsChanged(diff));
    on(signalling, "levels", ({ levels }) => this.#emit("levels", levels));
    on(signalling, "speaking", ({ id, speaking }) => this.#speakingChanged(id, speaking));
    on(signalling, "media_restart", () => this.#link?.connect());
    on(signalling, "closed", ({ reason, message }) => this.#refused(new SignallingError(reason, message, false)));
  }

  /** @param {any} reply */
  #signallingJoined(reply) {
    const before = this.#people;
    this.#me = reply.you;
    this.#people = new Map(reply.participants.map((/** @type {Participant} */ p) => [p.id, p]));
    if (this.#entered) this.#announce(before, this.#people);
    this.#entered = true;
    this.#waitingIsOver();
    this.#mutedByServer(this.#people.get(this.#me)?.muted);
    this.#emit("participants", this.participants);
    this.#link?.setIceServers(reply.config?.ice_servers ?? []);
    if (reply.resumed) {
      this.#link?.resume();
      if (this.#untold) this.#tellMuted();
    } else {
      this.#link?.connect();
    }
    if (this.#link?.connected) this.#setStatus("connected");
  }

  /**
   * Who came and went while we were away.
   *
   * @param {Map<string, Participant>} before
   * @param {Map<string, Participant>} after
   */
  #announce(before, after) {
    for (const [id, p] of before) if (!after.has(id) && id !== this.#me) this.#emit("left", p);
    for (const [id, p] of after) if (!before.has(id) && id !== this.#me) this.#emit("joined", p);
  }

  /** @param {{joined?: Participant[], changed?: (Partial<Participant> & {id: string})[], left?: {id: string}[]}} diff */
  #participantsChanged({ joined = [], changed = [], left = [] }) {
    for (const person of joined) {
      const isNew = !this.#people.has(person.id);
      this.#people.set(person.id, person);
      if (isNew && person.id !== this.#me) this.#emit("joined", person);
    }
    for (const change of changed) {
      const person = this.#people.get(change.id);
      if (person) this.#people.set(change.id, { ...person, ...change });
      if (change.id === this.#me) this.#mutedByServer(change.muted);
    }
    for (const { id } of left) {
      const person = this.#people.get(id);
      if (person && this.#people.delete(id) && id !== this.#me) this.#emit("left", person);
    }
    this.#emit("participants", this.participants);
  }

  /**
   * @param {string} id
   * @param {boolean} speaking
   */
  #speakingChanged(id, speaking) {
    const person = this.#people.get(id);
    if (!person) return;
    this.#people.set(id, { ...person, speaking });
    this.#emit("speaking", { id, speaking });
  }

  /** @param {string} sdp */
  async #exchange(sdp) {
    if (!this.#signalling) throw new SignallingError("lost", "", true);
    const presses = this.#presses;
    // Only what was pressed since opens the microphone again: the server may have shut it. That it is shut can always be said,
    // and has to be where the room is a new one, which remembers nothing.
    const muted = this.#muted || this.#untold ? { muted: this.#muted } : {};
    const reply = await this.#signalling.request("offer", { sdp, ...muted });
    this.#pressesTold = Math.max(this.#pressesTold, presses);
    this.#mutedByServer(reply.muted);
    return reply.sdp;
  }

  async #tellMuted() {
    const presses = this.#presses;
    try {
      await this.#signalling?.request("set", { muted: this.#muted });
      this.#pressesTold = Math.max(this.#pressesTold, presses);
    } catch {
      // Not lost: the next offer or resumption says it again.
    }
  }

  /** @param {MediaStreamTrack} track */
  async #microphoneLost(track) {
    if (track !== this.#track) return;
    this.#track = null;
    this.#link?.setTrack(null);
    this.#emit("problem", problem("microphone_lost"));
    // The system may have another one ready.
    await this.openMicrophone();
  }

  /**
   * The server can't have us yet; we go on asking.
   *
   * @param {SignallingError} error
   */
  #waiting(error) {
    const words = problem("server_not_ready");
    const title = error.message || words.title;
    // Not again with every try: screen readers read it out.
    if (title === this.#waitingFor) return;
    this.#waitingFor = title;
    this.#emit("problem", { ...words, title });
  }

  #waitingIsOver() {
    if (!this.#waitingFor) return;
    this.#waitingFor = "";
    this.#emit("solved", "server_not_ready");
  }

  /** @param {SignallingError} error */
  #refused(error) {
    if (this.#over) return;
    this.#end("ended");
    this.#emit("problem", problem(error.reason, error.message));
  }

  /** @param {Status} status */
  #setStatus(status) {
    if (this.#status === status) return;
    this.#status = status;
    this.#emit("status", status);
  }

  /**
   * @param {string} name
   * @param {unknown} detail
   */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/**
 * @param {EventTarget} target
 * @param {string} name
 * @param {(detail: any) => void} handler
 */
function on(target, name, handler) {
  target.addEventListener(name, (event) => handler(/** @type {CustomEvent} */ (event).detail));
}
