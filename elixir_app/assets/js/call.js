// @ts-check
/** The one call of this page. Views come and go around it; it ends when somebody decides so. */
import { chosenMicrophone, chosenSpeaker } from "./devices.js";
import { on } from "./events.js";
import { csrfToken } from "./dom.js";
import { watchQuality } from "./quality.js";
import { problem } from "./messages.js";
import { chosen, keep, processingWanted, setting } from "./settings.js";
import { SignallingError, VoiceRoom } from "./voice_room.js";

/**
 * @typedef {import("./messages.js").Problem} Problem
 *
 * @typedef {object} Place  where a call is
 * @property {string} room
 * @property {string} name      who I am there
 * @property {string} token
 * @property {string} session
 * @property {string} tokenUrl  gives a fresh token to this browser
 * @property {string} socket    path of the voice socket
 * @property {string} goodbyeUrl  takes the goodbye of a page that goes
 * @property {string} path      of the page that shows it
 *
 * @typedef {object} Former  a call that goes on until the one in the next room is connected
 * @property {VoiceRoom} room
 * @property {Place} place
 * @property {Map<string, Problem>} problems
 * @property {boolean} listenOnly
 * @property {boolean} withoutMicrophone
 * @property {ReturnType<typeof setTimeout>} timer  ends the wait for the next room
 */

/** Events of a {@link VoiceRoom} that are those of the call, too. */
const FORWARDED = ["status", "answered", "participants", "joined", "left", "speaking", "levels", "own", "microphone", "chat", "recording", "map", "positions"];

/** Problems after which there is no microphone. */
const WITHOUT_MICROPHONE = /^(microphone_(?!unchanged)|insecure_page|listening_only)/;

const KEPT = "roomtone:call";
/** A page that comes later than this after another isn't its continuation. */
const LOADING_MS = 60_000;
/** A page that comes later than this after a moderator's word isn't where that led, and asks before it joins. */
const SENT_MS = 30_000;
/** The room to which a moderator sends somebody has this long to connect them. */
const CONNECT_MS = 30_000;

/**
 * Events: those of {@link VoiceRoom}, `place` (the call began, moved or ended), `problems` (they are in
 * {@link Call.problems}) and `back` (the room to which the call was sent doesn't have it: it is about to go on at the place in the
 * detail, where it was).
 */
export class Call extends EventTarget {
  /** @type {VoiceRoom | null} */ #room = null;
  /** @type {Place | null} */ #place = null;
  /** @type {AbortController | null} */ #listening = null;
  /** Whether nobody was asked for a microphone, and none was opened since. */
  #listenOnly = false;
  /** Whether it was asked for and isn't there, or wasn't asked for. */
  #withoutMicrophone = false;
  /** @type {Map<string, Problem>} */ #problems = new Map();
  /** The page of a room to which a moderator has sent this person, and when. @type {{path: string, at: number} | null} */ #sentTo = null;
  /** The call that they had until they are connected there. @type {Former | null} */ #former = null;

  /** The room of the call, also for a while after it ended by itself; null when there is none. */
  get room() {
    return this.#room;
  }

  get place() {
    return this.#place;
  }

  /** @type {import("./voice_room.js").Status} */
  get status() {
    return this.#room?.status ?? "new";
  }

  get active() {
    return this.#room !== null && this.status !== "ended" && this.status !== "left";
  }

  /** Whether nobody can hear this person, for want of a microphone. */
  get withoutMicrophone() {
    return this.#withoutMicrophone;
  }

  /** The problems that the person should know of, oldest first. */
  get problems() {
    return [...this.#problems.values()];
  }

  /**
   * @param {{room: string, name: string}} place
   * @returns {boolean} whether the call is there
   */
  isAt({ room, name }) {
    return this.#place?.room === room && this.#place.name === name;
  }

  /**
   * @param {{room: string, name: string}} place
   * @returns {boolean} whether the call of the page before this one was there, so that entering goes on with it
   */
  isKept(place) {
    return isSame(readKept(), place);
  }

  /**
   * A moderator sends this person to another room.
   *
   * @param {string} path  of its page
   */
  sendTo(path) {
    this.#sentTo = { path: absolute(path), at: Date.now() };
  }

  /**
   * @param {{path: string}} place
   * @returns {boolean} whether the call was sent there just now
   */
  isSentTo({ path }) {
    return this.active && this.#sentTo?.path === absolute(path) && Date.now() - this.#sentTo.at < SENT_MS;
  }

  /**
   * Enters a room. If the call is there already, it just goes on; if it is elsewhere, it moves. Where it was sent there, it ends where it
   * was only when it is connected, and is as muted as before; a room that doesn't have it leaves it where it was.
   *
   * @param {Place} place
   * @param {{audio?: HTMLAudioElement, listenOnly?: boolean, muted?: boolean}} [options]  `listenOnly`: without asking for the
   *   microphone; `muted`: with the microphone shut, where the call is a new one
   */
  enter(place, { audio, listenOnly = false, muted = false } = {}) {
    const sent = this.isSentTo(place);
    this.#sentTo = null;
    if (this.active && this.isAt(place)) return;
    const former = sent ? this.#room : null;
    const kept = takeKept();
    const before = isSame(kept, place) ? kept : null;
    if (former) {
      // Somebody who isn't heard here may not have shut the microphone, nor been asked for it: the other room must not open it.
      const held = former.own.held !== null;
      listenOnly = this.#listenOnly || (held && former.microphone === null);
      muted = former.muted || held;
      this.#stepOut(former);
    } else {
      this.leave();
    }
    const room = new VoiceRoom({
      room: place.room,
      token: place.token,
      session: place.session,
      roomId: before?.roomId,
      socket: place.socket,
      goodbye: true,
      processing: processingWanted(),
      autoGain: setting("auto-gain") !== "off",
      noiseSuppression: chosen("noise-suppression"),
      music: setting("music") === "on",
      microphone: chosenMicrophone(),
      speaker: chosenSpeaker(),
      renewToken: () => renewToken(place),
      audio,
    });
    this.#room = room;
    this.#place = place;
    this.#withoutMicrophone = false;
    this.#listen(room);
    // The same call, on the page before this one: nobody is heard who thinks that they are not.
    if (before ? before.muted : muted) room.setMuted(true);
    if (before?.deafened || former?.own.deafened) room.setDeafened(true);
    this.#listenOnly = listenOnly || before?.listenOnly === true;
    keep("called", "yes");
    this.#keep();
    room.join({ listenOnly: this.#listenOnly });
    this.#emit("place", place);
  }

  /** The present call becomes the former one. @param {VoiceRoom} room */
  #stepOut(room) {
    this.#listening?.abort();
    this.#leaveFormer();
    this.#former = {
      room,
      place: /** @type {Place} */ (this.#place),
      // The others may be over when it is the present one again.
      problems: new Map([...this.#problems].filter(([code]) => WITHOUT_MICROPHONE.test(code))),
      listenOnly: this.#listenOnly,
      withoutMicrophone: this.#withoutMicrophone,
      timer: setTimeout(() => this.#goBack() && this.#tell(problem("transfer_failed")), CONNECT_MS),
    };
    this.#problems = new Map();
    room.playApart();
  }

  /** The former call becomes the present one again. @returns {boolean} whether there was one to go back to */
  #goBack() {
    const former = this.#former;
    if (!former || former.room.status === "ended") {
      this.#leaveFormer();
      return false;
    }
    this.#emit("back", former.place);
    clearTimeout(former.timer);
    this.#listening?.abort();
    this.#room?.leave();
    this.#former = null;
    this.#room = former.room;
    this.#place = former.place;
    this.#problems = former.problems;
    this.#listenOnly = former.listenOnly;
    this.#withoutMicrophone = former.withoutMicrophone;
    this.#listen(former.room);
    this.#keep();
    this.#emit("place", former.place);
    this.#emit("status", former.room.status);
    this.#emit("own", former.room.own);
    this.#emit("microphone", former.room.microphone);
    this.#emit("participants", former.room.participants);
    this.#emit("recording", former.room.recording);
    this.#emit("problems", null);
    return true;
  }

  #leaveFormer() {
    clearTimeout(this.#former?.timer);
    this.#former?.room.leave();
    this.#former = null;
  }

  /** The former call is at least as muted and as deafened as the one on the page; it never opens by itself. @param {VoiceRoom} room */
  #shutFormer({ own: { muted, deafened } }) {
    const former = this.#former?.room;
    if (muted && !former?.muted) former?.setMuted(true);
    if (deafened) former?.setDeafened(true);
  }

  /** Ends the call, because somebody wants that. */
  leave() {
    this.#sentTo = null;
    this.#leaveFormer();
    if (!this.#room) return;
    const room = this.#room;
    room.leave();
    this.#listening?.abort();
    this.#room = null;
    this.#place = null;
    this.#problems.clear();
    takeKept();
    this.#emit("problems", null);
    this.#emit("place", null);
  }

  /**
   * Goes on with the call of the page before this one, if that was just now: it was reloaded, or a form led to a page that isn't
   * the room's.
   *
   * @param {{audio?: HTMLAudioElement}} [options]
   */
  async resume(options) {
    const kept = readKept();
    if (!kept || this.#room) return;
    try {
      const token = await renewToken(kept);
      if (!this.#room) this.enter({ ...kept, token }, options);
    } catch {
      // Signed out, say. The way back is the form, as for everybody.
      takeKept();
    }
  }

  /** The page is about to go. To the others that is somebody who left: only a lost connection keeps its place. */
  unload() {
    const former = this.#former;
    if (former) sayGoodbye(former.room, former.place);
    this.#leaveFormer();
    if (!this.#room || !this.#place || !this.active) return;
    this.#keep({ left: Date.now() });
    sayGoodbye(this.#room, this.#place);
    this.#room.leave();
  }

  /** @param {VoiceRoom} room */
  #listen(room) {
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    // Heard before all else: a call that goes back is never shown as ended.
    on(
      room,
      "status",
      (status) => {
        if (status === "connected") this.#leaveFormer();
        // The reason comes right after the end. The call goes on, so nothing has to be done about it.
        if (status === "ended" && this.#goBack()) on(room, "problem", (found) => this.#tell({ ...found, action: "dismiss" }));
      },
      signal,
    );
    on(room, "own", () => this.#shutFormer(room), signal);
    for (const name of FORWARDED) on(room, name, (detail) => this.#emit(name, detail), signal);
    watchQuality(room, signal, (weak) => {
      this.solved("weak_");
      if (weak) this.#tell(problem(`weak_${weak}`));
    });
    for (const name of ["own", "inside"]) on(room, name, () => this.#keep(), signal);
    on(
      room,
      "microphone",
      (track) => {
        if (!track) return;
        this.#withoutMicrophone = false;
        // Opened after all, by choice.
        this.#listenOnly = false;
        this.#keep();
      },
      signal,
    );
    on(room, "status", (status) => status === "ended" && takeKept(), signal);
    on(room, "problem", (found) => this.#tell(found), signal);
    on(room, "solved", (code) => this.solved(code), signal);
  }

  /** @param {Problem} problem */
  #tell(problem) {
    if (WITHOUT_MICROPHONE.test(problem.code)) this.#withoutMicrophone = true;
    // The newest last.
    this.#problems.delete(problem.code);
    this.#problems.set(problem.code, problem);
    this.#emit("problems", null);
  }

  /** @param {string} code  a problem's code, or the beginning of several */
  solved(code) {
    for (const known of this.#problems.keys()) if (known.startsWith(code)) this.#problems.delete(known);
    this.#emit("problems", null);
  }

  /** @param {{left?: number}} [more] */
  #keep(more) {
    if (!this.#place || !this.#room) return;
    const { token: _secret, ...place } = this.#place;
    writeKept({ ...place, muted: this.#room.muted, deafened: this.#room.own.deafened, listenOnly: this.#listenOnly, roomId: this.#room.roomId, ...more });
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
 * @param {string} path
 * @returns {string} as the browser writes it
 */
function absolute(path) {
  const { pathname, search } = new URL(path, "http://here");
  return pathname + search;
}

/**
 * Tells the server that a call ends with its page. The socket tells it, too, but what it was given last may be lost with the page, where
 * such a request is sent all the same.
 *
 * @param {VoiceRoom} room
 * @param {Place} place
 */
function sayGoodbye({ goodbye }, { goodbyeUrl }) {
  if (!goodbye) return;
  const body = JSON.stringify({ goodbye });
  // Nobody is left to hear of an error.
  fetch(goodbyeUrl, { method: "POST", keepalive: true, headers: { "content-type": "application/json" }, body }).catch(() => {});
}

/**
 * A fresh token from the server, which knows this browser by its session.
 *
 * @param {{tokenUrl: string}} place
 */
async function renewToken({ tokenUrl }) {
  let response;
  try {
    response = await fetch(tokenUrl, {
      method: "POST",
      headers: { accept: "application/json", "x-csrf-token": csrfToken() },
    });
  } catch {
    throw new SignallingError("lost", "", true);
  }
  if (response.ok) return (await response.json()).token;
  const refusal = await response.json().catch(() => ({}));
  throw new SignallingError(refusal.reason ?? "signed_out", refusal.message ?? "", response.status >= 500);
}

// The tab remembers its call across pages. A copied tab has it too, but not the mark that its page has just gone.

/** @typedef {Omit<Place, "token"> & {muted: boolean, deafened?: boolean, listenOnly?: boolean, roomId?: string, left?: number}} Kept */

/**
 * @param {Kept | null} kept
 * @param {{room: string, name: string}} place
 */
function isSame(kept, place) {
  return kept !== null && kept.room === place.room && kept.name === place.name;
}

/** @param {Kept} kept */
function writeKept(kept) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
  } catch {
    // No storage for this page: then a reload ends the call.
  }
}

/** @returns {Kept | null} */
function readKept() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    return kept && Date.now() - (kept.left ?? 0) < LOADING_MS ? kept : null;
  } catch {
    return null;
  }
}

/** @returns {Kept | null} */
function takeKept() {
  const kept = readKept();
  try {
    sessionStorage.removeItem(KEPT);
  } catch {
    // Nothing was kept then.
  }
  return kept;
}

export const call = new Call();
