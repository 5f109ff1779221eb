// @ts-check
import { backoff } from "./backoff.js";
import { SignallingError } from "./signalling.js";

/** ICE may lose a few checks and recover alone; after this we restart it. */
const DISCONNECTED_PATIENCE_MS = 1500;
/** From an answer to sound; after this a connection that never comes up is replaced. */
const CONNECT_TIMEOUT_MS = 8000;
/**
 * The former connection of a {@link MediaLink.move} goes on for so long, as it does at the server. Another page that is busy changes over
 * later, and hears us by it until then.
 */
const OVERLAP_MS = 1000;
/** So many failures in a row mean that something blocks the way. */
const UNREACHABLE_AFTER = 3;
/** The server tells within 4 s when to change over. A page that it doesn't tell does so by itself. */
const CHANGE_OVER_MS = 5000;
/** A second connection that isn't there by then is tried again. */
const SECOND_TIMEOUT_MS = 3000;
/** After so many failures in a row no second connection is tried any more: the first is repaired when it ends. */
const MOST_SECOND_TRIES = 5;

/**
 * @typedef {object} Next  the connection that is to take the place of the present one
 * @property {RTCPeerConnection} pc
 * @property {RTCRtpTransceiver} transceiver
 * @property {[string, unknown][]} heard  what came of it so far: the events `stream` and `slot`
 *
 * @typedef {object} Move  a change to a second connection
 * @property {boolean} wanted    whether that takes the place of the first as soon as it is connected
 * @property {number} failures   of second connections, in a row
 * @property {ReturnType<typeof setTimeout> | undefined} retry  the next one, or the end of the patience with this one
 * @property {ReturnType<typeof setTimeout>} limit              until we change over without being told
 */

/**
 * One voice connection to the server, kept up: one offer and one answer, sendrecv, and no renegotiation but to repair it.
 * When the server's part of it moves, there are two for a while: {@link MediaLink.move}.
 * The microphone's track may come, go and change at any time without a new offer.
 *
 * `exchange` sends an offer and resolves with the answer. It is called only while the link is meant to be up; when it
 * rejects with a retryable error the link tries again, later and later, until {@link MediaLink.pause}.
 *
 * In a room that forwards, sound comes in slots: further tracks, each on an m-line of its own.
 *
 * Events: `connected`, `lost`, `answered` (the server's answer was taken), `stream` (detail: MediaStream to play), `next` (detail: the
 * MediaStream of a second connection, before its turn; null if that comes to nothing), `slot` (detail: its number, MediaStreamTrack and
 * RTCRtpReceiver), `unreachable` (detail: what the last offer failed with, or null if its sound never came), `refused` (detail:
 * SignallingError).
 */
export class MediaLink extends EventTarget {
  /** @type {RTCPeerConnection | null} */ #pc = null;
  /** @type {RTCRtpTransceiver | null} */ #transceiver = null;
  /** @type {Next | null} */ #next = null;
  /** @type {Move | null} */ #move = null;
  /** @type {MediaStreamTrack | null} */ #track = null;
  #exchange;
  /** @type {RTCIceServer[]} */ #iceServers = [];
  #slots = 0;
  #stereo = false;
  #music = false;
  #hearsMusic = false;
  /** The server's answers, as they came. @type {WeakMap<RTCPeerConnection, string>} */ #answers = new WeakMap();
  /** Resolves when the peer connection that was made ahead has its offer; null without one. @type {Promise<void> | null} */
  #ahead = null;
  /** Counts negotiations; whoever holds an older number has been overtaken. */
  #generation = 0;
  #failures = 0;
  #active = false;
  #connected = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /** @param {{exchange: (sdp: string) => Promise<string>}} options */
  constructor({ exchange }) {
    super();
    this.#exchange = exchange;
  }

  static get supported() {
    return typeof RTCPeerConnection === "function";
  }

  /** Has the browser start what connections are made by: its first offer takes much longer than the next. */
  static warm() {
    if (!MediaLink.supported) return;
    try {
      const pc = new RTCPeerConnection();
      const close = () => pc.close();
      pc.addTransceiver("audio");
      pc.setLocalDescription().then(close, close);
    } catch {
      // Too many connections, or forbidden by a policy: the call's own connection tells it.
    }
  }

  get connected() {
    return this.#connected;
  }

  /** @returns {RTCPeerConnection | null} for statistics */
  get peerConnection() {
    return this.#pc;
  }

  /** @param {RTCIceServer[]} servers */
  setIceServers(servers) {
    // Their candidates are gathered with the offer.
    if (servers.length > 0) this.#ahead = null;
    this.#iceServers = servers;
  }

  /**
   * The kind of the room, for connections made from now on.
   *
   * @param {{slots?: number, stereo?: boolean}} kind  how many slots there are, and whether to ask for stereo
   */
  setKind({ slots = 0, stereo = false }) {
    if (slots !== this.#slots || stereo !== this.#stereo) this.#ahead = null;
    this.#slots = slots;
    this.#stereo = stereo;
  }

  /** @param {MediaStreamTrack | null} track */
  setTrack(track) {
    this.#track = track;
    for (const transceiver of [this.#transceiver, this.#next?.transceiver]) {
      transceiver?.sender.replaceTrack(track).catch(() => {
        // The connection was closed meanwhile; the next one takes the track from the start.
      });
    }
  }

  /**
   * Sends music: stereo, at 128 kbit/s. The answer says what to send, so the connection gets the former answer once more, with
   * another wish in it; the server needn't know.
   *
   * @param {boolean} music
   */
  setMusic(music) {
    if (music === this.#music) return;
    this.#music = music;
    this.#retune();
  }

  /** Somebody makes music, which comes in stereo where they are heard alone, whatever the room's mix is. */
  hearMusic() {
    if (this.#hearsMusic) return;
    this.#hearsMusic = true;
    if (!this.#stereo) this.#retune();
  }

  #retune() {
    for (const pc of [this.#pc, this.#next?.pc]) if (pc) this.#agreeAnew(pc);
  }

  /** @param {RTCPeerConnection} pc */
  async #agreeAnew(pc) {
    const answer = this.#answers.get(pc);
    // Without an answer, or with another on its way: that is taken for music.
    if (answer === undefined || pc.signalingState !== "stable") return;
    const generation = this.#generation;
    try {
      await this.#describe(pc);
      if (generation === this.#generation) await this.#take(pc, answer);
    } catch {
      // The connection was closed meanwhile, or a browser doesn't know the format: it goes on as it was.
    }
  }

  /**
   * @param {RTCPeerConnection} pc
   * @param {string} answer  of the server
   */
  async #take(pc, answer) {
    this.#answers.set(pc, answer);
    await pc.setRemoteDescription({ type: "answer", sdp: this.#music ? askForMusic(answer) : answer });
  }

  /**
   * Makes the first offer ahead, while the signalling still connects: a browser needs its time for it. It is used by the first
   * {@link MediaLink.connect}, unless the kind of the room or its ICE servers turn out to be others.
   */
  prepare() {
    if (this.#pc) return;
    this.#ahead = this.#describe(this.#open());
    // The connection says it again.
    this.#ahead.catch(() => {});
  }

  /** Connects anew, whatever was before. */
  connect() {
    this.#active = true;
    this.#negotiate(true);
  }

  /**
   * The signalling is back: go on with what is there if it still works, else connect anew.
   *
   * @param {{gone?: boolean, moving?: boolean}} [options]  `gone`: the path of what is there is known not to work any more;
   *   `moving`: the server will still tell us when to change over to the second connection
   */
  resume({ gone = false, moving = false } = {}) {
    this.#active = true;
    if (this.#move && (this.#next || this.#connected)) {
      this.#goOn(this.#move);
      // The server may have told us meanwhile.
      if (gone || !moving || !this.#connected) this.changeOver();
    } else if (gone || !this.#connected || this.#pc?.connectionState !== "connected") this.#negotiate(true);
  }

  /**
   * The signalling is back, with a server that has taken the room over from another: {@link MediaLink.move}, if the sound goes on.
   *
   * @param {{gone?: boolean}} [options]  as for {@link MediaLink.resume}
   */
  rejoin({ gone = false } = {}) {
    this.#active = true;
    if (!gone && this.#connected && this.#pc?.connectionState === "connected") this.move();
    else this.#negotiate(true);
  }

  /** Looks for another path; the sound goes on by the former one while that works. */
  restart() {
    if (this.#move) this.changeOver();
    else if (this.#connected) this.#negotiate(false);
  }

  /**
   * The server's part moves to another node: makes a second connection, to there, while the first goes on. Both send, and the first
   * is played until {@link MediaLink.changeOver}, or until it is lost.
   */
  move() {
    if (!this.#active) return;
    if (!this.#connected) {
      // Nobody would hear us by it, even if it was repaired or came up.
      this.#negotiate(true);
      return;
    }
    this.#endMove();
    const limit = setTimeout(() => this.#untold(), CHANGE_OVER_MS);
    this.#move = { wanted: false, failures: 0, retry: undefined, limit };
    this.#connectNext(this.#move);
  }

  /**
   * After a pause, in which an answer may have been lost.
   *
   * @param {Move} move
   */
  #goOn(move) {
    clearTimeout(move.limit);
    move.limit = setTimeout(() => this.#untold(), CHANGE_OVER_MS);
    if (this.#next?.pc.connectionState === "connected") return;
    this.#dropNext();
    this.#connectNext(move);
  }

  /** By now the first connection has ended at the server, whether the second is there or not. */
  #untold() {
    this.changeOver();
    if (this.#move) this.#negotiate(true);
  }

  /** @param {Move} move */
  async #connectNext(move) {
    clearTimeout(move.retry);
    move.retry = setTimeout(() => this.#nextFailed(move, null), SECOND_TIMEOUT_MS);
    /** @type {Next} */
    const next = { ...this.#make((name, detail) => this.#hear(next, name, detail)), heard: [] };
    this.#next = next;
    // It may have taken the place of the first meanwhile.
    const overtaken = () => next !== this.#next && next.pc !== this.#pc;
    next.pc.onconnectionstatechange = () => {
      if (next.pc.connectionState === "connected") {
        clearTimeout(move.retry);
        if (move.wanted) this.#promote();
      } else if (next.pc.connectionState === "failed") {
        this.#nextFailed(move, null);
      }
    };
    try {
      await this.#describe(next.pc);
      if (overtaken()) return;
      const answer = await this.#exchange(next.pc.localDescription?.sdp ?? "");
      if (overtaken()) return;
      await this.#take(next.pc, answer);
    } catch (error) {
      if (overtaken()) return;
      if (next.pc === this.#pc) this.#fail(error);
      else this.#nextFailed(move, error);
    }
  }

  /**
   * @param {Next} next
   * @param {string} name
   * @param {unknown} detail
   */
  #hear(next, name, detail) {
    if (next.pc === this.#pc) {
      this.#emit(name, detail);
      return;
    }
    next.heard.push([name, detail]);
    if (name === "stream") this.#emit("next", detail);
  }

  /**
   * @param {Move} move
   * @param {unknown} error  what its offer failed with, if it did
   */
  #nextFailed(move, error) {
    this.#dropNext();
    move.failures += 1;
    const final = error instanceof SignallingError && !error.retry;
    if (this.#active && !final && move.failures < MOST_SECOND_TRIES) {
      move.retry = setTimeout(() => this.#connectNext(move), backoff(move.failures, { first: 100, most: 1000 }));
      return;
    }
    // The first goes on until the limit, and then a new one is made, unless the loss of the first was left to this one.
    if (this.#active && !final && !move.wanted && this.#pc?.connectionState !== "disconnected") return;
    this.#endMove();
    if (!final || this.#pc?.connectionState === "disconnected") this.#negotiate(true);
  }

  /** Plays the second connection, now or as soon as it is there, and ends the first. */
  changeOver() {
    if (!this.#move) return;
    this.#move.wanted = true;
    if (this.#next?.pc.connectionState === "connected") this.#promote();
    else if (this.#active && this.#move.failures >= MOST_SECOND_TRIES) {
      this.#endMove();
      this.#negotiate(true);
    }
  }

  #promote() {
    const next = this.#next;
    if (!next) return;
    const former = this.#pc;
    this.#next = null;
    this.#endMove();
    // Overtakes a negotiation for the former one.
    this.#generation += 1;
    clearTimeout(this.#timer);
    this.#pc = next.pc;
    this.#transceiver = next.transceiver;
    this.#watch(next.pc);
    for (const [name, detail] of next.heard) this.#emit(name, detail);
    if (former) silence(former);
    setTimeout(() => former?.close(), OVERLAP_MS);
    if (next.pc.connectionState === "connected") this.#up();
    else this.#after(CONNECT_TIMEOUT_MS, () => this.#fail());
  }

  #stopMove() {
    if (this.#move) for (const timer of [this.#move.retry, this.#move.limit]) clearTimeout(timer);
  }

  #endMove() {
    this.#stopMove();
    this.#move = null;
    this.#dropNext();
  }

  #dropNext() {
    const next = this.#next;
    this.#next = null;
    if (!next) return;
    silence(next.pc);
    next.pc.close();
    if (next.heard.some(([name]) => name === "stream")) this.#emit("next", null);
  }

  /** The signalling is gone. The sound may well go on, so leave it; just don't try to repair anything. */
  pause() {
    this.#active = false;
    this.#generation += 1;
    clearTimeout(this.#timer);
    this.#stopMove();
  }

  close() {
    this.pause();
    this.#drop();
    this.#failures = 0;
  }

  /** @param {boolean} fresh  a new peer connection, or an ICE restart on the one that is there */
  async #negotiate(fresh) {
    if (!this.#active) return;
    const generation = ++this.#generation;
    const overtaken = () => generation !== this.#generation;
    clearTimeout(this.#timer);
    try {
      const ahead = fresh ? this.#ahead : null;
      this.#ahead = null;
      const pc = (fresh && !ahead) || !this.#pc ? this.#open() : this.#pc;
      if (!fresh) pc.restartIce();
      await (ahead ?? this.#describe(pc));
      if (overtaken()) return;
      // No waiting for candidates: the server learns our address from the packets themselves.
      const answer = await this.#exchange(pc.localDescription?.sdp ?? "");
      if (overtaken()) return;
      await this.#take(pc, answer);
      if (overtaken()) return;
      this.#emit("answered", null);
      if (pc.connectionState === "connected") this.#up();
      else this.#after(CONNECT_TIMEOUT_MS, () => this.#fail());
    } catch (error) {
      if (overtaken()) return;
      // A full room is shown, with a button to try again, rather than knocked at.
      if (error instanceof SignallingError && (!error.retry || error.reason === "room_full")) {
        this.#active = false;
        this.#drop();
        this.#emit("refused", error);
      } else {
        this.#fail(error);
      }
    }
  }

  #open() {
    this.#drop();
    const { pc, transceiver } = this.#make((name, detail) => {
      if (pc === this.#pc) this.#emit(name, detail);
    });
    this.#pc = pc;
    this.#transceiver = transceiver;
    this.#watch(pc);
    return pc;
  }

  /** @param {(name: string, detail: unknown) => void} heard  gets `stream` and `slot` */
  #make(heard) {
    const pc = new RTCPeerConnection({ iceServers: this.#iceServers, bundlePolicy: "max-bundle" });
    // Send and receive even without a microphone, so that one that comes later needs no new offer.
    const transceiver = pc.addTransceiver(this.#track ?? "audio", { direction: "sendrecv" });
    // Each packet then carries a copy of the one before it. Stereo has too many bits to be sent twice.
    if (!this.#stereo) preferRedundancy(transceiver);
    const slots = Array.from({ length: this.#slots }, () => pc.addTransceiver("audio", { direction: "recvonly" }));
    pc.ontrack = ({ track, streams, transceiver, receiver }) => {
      const slot = slots.indexOf(transceiver);
      if (slot >= 0) heard("slot", { slot, track, receiver });
      else heard("stream", streams[0] ?? new MediaStream([track]));
    };
    return { pc, transceiver };
  }

  /** @param {RTCPeerConnection} pc */
  #watch(pc) {
    pc.onconnectionstatechange = () => {
      if (pc === this.#pc) this.#stateChanged(pc.connectionState);
    };
  }

  /** @param {RTCPeerConnection} pc */
  async #describe(pc) {
    if (!this.#stereo && !this.#hearsMusic) return await pc.setLocalDescription();
    // There is no other way to ask for stereo than to write it into the offer.
    const { type, sdp } = await pc.createOffer();
    await pc.setLocalDescription({ type, sdp: askForStereo(sdp ?? "") });
  }

  /** @param {RTCPeerConnectionState} state */
  #stateChanged(state) {
    switch (state) {
      case "connected":
        this.#up();
        break;
      case "disconnected":
        // The other one is on its way.
        if (this.#move) {
          this.changeOver();
          break;
        }
        this.#down();
        this.#after(DISCONNECTED_PATIENCE_MS, () => this.#negotiate(false));
        break;
      case "failed":
      case "closed":
        this.#down();
        if (this.#next) this.#promote();
        else this.#fail();
        break;
      default:
    }
  }

  #up() {
    clearTimeout(this.#timer);
    this.#failures = 0;
    if (this.#connected) return;
    this.#connected = true;
    this.#emit("connected", null);
  }

  #down() {
    if (!this.#connected) return;
    this.#connected = false;
    this.#emit("lost", null);
  }

  /** @param {unknown} [error]  what the offer failed with, if it did */
  #fail(error = null) {
    this.#failures += 1;
    if (this.#failures === UNREACHABLE_AFTER) this.#emit("unreachable", error);
    this.#after(backoff(this.#failures, { first: 300, most: 5000 }), () => this.#negotiate(true));
  }

  #drop() {
    const pc = this.#pc;
    this.#ahead = null;
    this.#pc = null;
    this.#transceiver = null;
    if (pc) {
      silence(pc);
      pc.close();
    }
    this.#endMove();
    this.#down();
  }

  /**
   * One timer is enough: there is only ever one next step.
   *
   * @param {number} ms
   * @param {() => void} step
   */
  #after(ms, step) {
    clearTimeout(this.#timer);
    if (this.#active) this.#timer = setTimeout(step, ms);
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
 * Offers redundant Opus (RED, RFC 2198) before all else, where the browser has it: a lost packet then comes with the next one.
 *
 * @param {RTCRtpTransceiver} transceiver
 */
function preferRedundancy(transceiver) {
  const codecs = globalThis.RTCRtpReceiver?.getCapabilities?.("audio")?.codecs ?? [];
  const isRed = (/** @type {{mimeType: string}} */ { mimeType }) => mimeType.toLowerCase() === "audio/red";
  if (!codecs.some(isRed)) return;
  try {
    transceiver.setCodecPreferences([...codecs.filter(isRed), ...codecs.filter((codec) => !isRed(codec))]);
  } catch {
    // A browser without the method, or with rules of its own for it, sends plain Opus.
  }
}

/**
 * Nothing is heard of it any more.
 *
 * @param {RTCPeerConnection} pc
 */
function silence(pc) {
  pc.onconnectionstatechange = null;
  pc.ontrack = null;
}

/**
 * The offer with `stereo=1` for Opus (RFC 7587): what we want to receive.
 *
 * @param {string} sdp
 */
export function askForStereo(sdp) {
  const opus = [...sdp.matchAll(/^a=rtpmap:(\d+) opus\/48000\/2\r?$/gim)].map((match) => match[1]);
  return opus.reduce(
    (text, type) => text.replace(new RegExp(`^(a=fmtp:${type} )(?!.*\\bstereo=)(.*)$`, "gm"), "$1stereo=1;$2"),
    sdp,
  );
}

/** Bits a second of music. */
const MUSIC_BITRATE = 128_000;

/**
 * The answer with the wish for stereo of many bits, and for plain Opus: music has too many bits to be sent twice.
 *
 * @param {string} sdp
 */
export function askForMusic(sdp) {
  const opus = [...sdp.matchAll(/^a=rtpmap:(\d+) opus\/48000\/2\r?$/gim)].map((match) => match[1]);
  const first = sdp.replace(/^(m=audio \d+ \S+) (.*)$/gm, (_line, start, types) => {
    const all = types.trim().split(" ");
    return [start, ...all.filter((/** @type {string} */ type) => opus.includes(type)), ...all.filter((/** @type {string} */ type) => !opus.includes(type))].join(" ");
  });
  return opus.reduce((text, type) => text.replace(new RegExp(`^a=fmtp:${type} (.*)$`, "gm"), (_line, given) => `a=fmtp:${type} ${musical(given)}`), first);
}

/** @param {string} given  format parameters (RFC 7587) */
function musical(given) {
  const others = given.split(";").filter((parameter) => !/^\s*(stereo|maxaveragebitrate|usedtx)=/.test(parameter));
  return [...others.map((parameter) => parameter.trim()), "stereo=1", `maxaveragebitrate=${MUSIC_BITRATE}`].join(";");
}
