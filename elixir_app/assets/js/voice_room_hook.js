// @ts-check
/** The hook `VoiceRoom`, of the component `<.voice_room>`: draws a room by itself, from its channel. */
import { on } from "./events.js";
import { csrfToken } from "./dom.js";
import { draft } from "./problems.js";
import { ringHeight } from "./level_ring.js";
import { VoiceRoom as Voice } from "./voice_room.js";
import { HELD_WORDS, STATUS_WORDS } from "./messages.js";

/**
 * @typedef {import("./voice_room.js").Participant} Participant
 */

export const VoiceRoom = {
  /** @this {import("phoenix_live_view").ViewHook & {widget?: Widget}} */
  mounted() {
    this.widget = new Widget(this.el);
  },

  /** @this {import("phoenix_live_view").ViewHook & {widget?: Widget}} */
  destroyed() {
    this.widget?.destroy();
  },
};

/** A room as an element shows it, and the call behind it. */
export class Widget {
  #element;
  /** @type {Voice | null} */ #voice = null;
  #gone = new AbortController();
  #join = button("voice-room-join", "Join");
  #mute = button("voice-room-mute", "Mute");
  #leave = button("voice-room-leave", "Leave");
  #status = tag("p", "voice-room-status");
  #recording = tag("p", "voice-room-recording");
  #problems = tag("div", "voice-room-problems");
  #people = tag("ul", "voice-room-people");
  #audio = document.createElement("audio");

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
    const { title = "", room = "" } = element.dataset;
    const heading = tag("h2", "voice-room-title");
    heading.textContent = title || room;
    this.#status.setAttribute("role", "status");
    // There from the beginning, so that screen readers notice its text.
    this.#recording.setAttribute("role", "status");
    this.#problems.setAttribute("role", "alert");
    this.#join.setAttribute("aria-label", `Join ${title || room}`);
    this.#mute.setAttribute("aria-label", "Mute microphone");
    this.#join.addEventListener("click", () => this.#enter());
    this.#mute.addEventListener("click", () => this.#voice?.setMuted(!this.#voice.muted));
    this.#leave.addEventListener("click", () => this.#exit());
    const controls = tag("div", "voice-room-controls");
    controls.append(this.#join, this.#mute, this.#leave);
    element.replaceChildren(heading, this.#status, this.#recording, this.#problems, this.#people, controls, this.#audio);
    // A closed tab is somebody who left. Captured, so as to speak before the socket's own listener closes it.
    addEventListener("pagehide", (event) => event.persisted || this.#voice?.leave(), { capture: true, signal: this.#gone.signal });
    this.#draw();
    if (element.hasAttribute("data-join")) this.#enter();
  }

  destroy() {
    this.#gone.abort();
    this.#voice?.leave();
  }

  #enter() {
    const { room = "", socket = "/voice" } = this.#element.dataset;
    this.#voice?.leave();
    // `voice_socket` offers no long polling.
    const voice = new Voice({ room, socket, longPoll: false, params: { room, _csrf_token: csrfToken() }, audio: this.#audio });
    this.#voice = voice;
    this.#problems.replaceChildren();
    for (const name of ["status", "participants", "own", "speaking", "recording"]) on(voice, name, () => voice === this.#voice && this.#draw());
    on(voice, "levels", (levels) => this.#drawLevels(levels));
    on(voice, "problem", (problem) => {
      this.#solved(problem.code);
      this.#problems.append(draft({ ...problem, action: this.#possible(problem.action) }, () => this.#act(problem.action)));
    });
    on(voice, "solved", (code) => this.#solved(code));
    voice.join();
    // Else the focus would be lost with the button.
    if (document.activeElement === this.#join) this.#mute.focus();
  }

  #exit() {
    this.#voice?.leave();
    this.#join.focus();
  }

  /** Which of a problem's ways out there is on a page that isn't ours. @param {import("./messages.js").Problem["action"]} action */
  #possible(action) {
    return action === "front-page" ? null : action;
  }

  /** @param {import("./messages.js").Problem["action"]} action */
  #act(action) {
    if (action === "hear") this.#voice?.hear();
    else if (["rejoin", "take-over", "new-room"].includes(action ?? "")) this.#enter();
    else if (action === "unmute") this.#voice?.unmute();
    else if (action === "dismiss") this.#solved("restored");
    else this.#voice?.openMicrophone();
  }

  /** @param {string} code  or the beginning of several */
  #solved(code) {
    for (const box of this.#problems.querySelectorAll("[data-problem]")) {
      if (box instanceof HTMLElement && box.dataset.problem?.startsWith(code)) box.remove();
    }
  }

  #draw() {
    const status = this.#voice?.status ?? "new";
    const inside = status !== "new" && status !== "left" && status !== "ended";
    const own = this.#voice?.own;
    this.#element.dataset.status = status;
    const words = own?.held && status === "connected" ? HELD_WORDS[own.held] : STATUS_WORDS[status];
    if (this.#status.textContent !== words) this.#status.textContent = words;
    const recorded = inside && this.#voice?.recording ? "Recording" : "";
    if (this.#recording.textContent !== recorded) this.#recording.textContent = recorded;
    this.#join.hidden = inside;
    this.#mute.hidden = !inside;
    this.#leave.hidden = !inside;
    this.#mute.setAttribute("aria-pressed", String(own?.muted ?? false));
    this.#drawPeople(inside ? (this.#voice?.participants ?? []) : []);
  }

  /** @param {Participant[]} people */
  #drawPeople(people) {
    const rows = new Map(/** @type {HTMLElement[]} */ ([...this.#people.children]).map((row) => [row.dataset.participant, row]));
    const wanted = people.map((person) => {
      const row = rows.get(person.id) ?? tag("li", "voice-room-person");
      const me = person.id === this.#voice?.me;
      const muted = me ? (this.#voice?.muted ?? false) : person.muted;
      row.dataset.participant = person.id;
      row.dataset.speaking = String(person.speaking && !muted);
      row.dataset.muted = String(muted);
      const words = `${person.name}${me ? " (you)" : ""}${person.bot ? ", bot" : ""}${person.microphone === false ? ", no microphone" : muted ? ", muted" : ""}`;
      if (row.textContent !== words) row.textContent = words;
      return row;
    });
    this.#people.replaceChildren(...wanted);
  }

  /** @param {Record<string, number>} levels */
  #drawLevels(levels) {
    for (const row of /** @type {HTMLElement[]} */ ([...this.#people.children])) {
      row.style.setProperty("--level", ringHeight(levels[row.dataset.participant ?? ""]).toFixed(2));
    }
  }
}

/**
 * @param {string} name
 * @param {string} className
 */
function tag(name, className) {
  const element = document.createElement(name);
  element.className = className;
  return element;
}

/**
 * @param {string} className
 * @param {string} words
 */
function button(className, words) {
  const element = /** @type {HTMLButtonElement} */ (tag("button", className));
  element.type = "button";
  element.textContent = words;
  return element;
}
