// @ts-check
/** The room page: draws what a {@link VoiceRoom} says, and hands it what the buttons want. */
import { SignallingError, VoiceRoom } from "./voice_room.js";

/**
 * @typedef {import("./voice_room.js").Participant} Participant
 * @typedef {import("./voice_room.js").Status} Status
 * @typedef {import("./words.js").Problem} Problem
 */

const STATUS_WORDS = {
  new: "",
  connecting: "Connecting…",
  connected: "Connected",
  reconnecting: "Connection lost. Getting you back by itself; there's nothing you need to do.",
  left: "You left.",
  ended: "Not connected",
};

const ACTION_WORDS = {
  "retry-microphone": "Try again",
  "open-microphone": "Use the microphone",
  hear: "Hear the room",
  rejoin: "Come back",
  "front-page": "To the front page",
};

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

const page = byId("room");
const { room: roomName = "", token = "", session = "", tokenUrl = "" } = page.dataset;

/** Echo cancellation and the like, but for tests that play tones, which noise suppression would rightly remove. */
function processingWanted() {
  const asked = new URLSearchParams(location.search).get("processing");
  try {
    return (asked ?? localStorage.getItem("roomtone:processing")) !== "off";
  } catch {
    // No storage for this page, by the browser's settings.
    return asked !== "off";
  }
}

const room = new VoiceRoom({
  room: roomName,
  token,
  session,
  socket: page.dataset.socket,
  processing: processingWanted(),
  renewToken,
  audio: /** @type {HTMLAudioElement} */ (byId("sound")),
});

/** A fresh token from the server, which knows this browser by its session. */
async function renewToken() {
  let response;
  try {
    response = await fetch(tokenUrl, {
      method: "POST",
      headers: { accept: "application/json", "x-csrf-token": page.dataset.csrf ?? "" },
    });
  } catch {
    throw new SignallingError("lost", "", true);
  }
  if (response.ok) return (await response.json()).token;
  const refusal = await response.json().catch(() => ({}));
  throw new SignallingError(refusal.reason ?? "signed_out", refusal.message ?? "", response.status >= 500);
}

// --- people ---------------------------------------------------------------------------------------------------------------

const list = byId("people");
const template = /** @type {HTMLTemplateElement} */ (byId("person"));
/** @type {Map<string, HTMLElement>} */
const cards = new Map();

/** @param {Participant[]} people */
function drawPeople(people) {
  const present = new Set(people.map((p) => p.id));
  for (const [id, card] of cards) {
    if (present.has(id)) continue;
    card.remove();
    cards.delete(id);
  }
  for (const person of people) {
    let card = cards.get(person.id);
    if (!card) {
      card = newCard(person);
      cards.set(person.id, card);
      // Oneself first, the others in the order they came.
      if (person.id === room.me) list.prepend(card);
      else list.append(card);
    }
    drawPerson(card, person);
  }
  byId("count").textContent = people.length === 1 ? "1 person" : `${people.length} people`;
  byId("alone").hidden = !(people.length === 1 && people[0].id === room.me);
}

/** @param {Participant} person */
function newCard({ name }) {
  const fragment = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  const card = /** @type {HTMLElement} */ (fragment.firstElementChild);
  card.dataset.participant = name;
  card.style.setProperty("--hue", String(hue(name)));
  part(card, "initials").textContent = initials(name);
  part(card, "name").textContent = name;
  // Long names are cut short on the card.
  card.title = name;
  return card;
}

/**
 * @param {HTMLElement} card
 * @param {Participant} person
 */
function drawPerson(card, person) {
  const muted = person.id === room.me ? room.muted : person.muted;
  drawSpeaking(card, person.speaking && !muted);
  card.dataset.muted = String(muted);
  card.dataset.connected = String(person.connected);
  const state = !person.connected ? "Connecting…" : muted ? "Muted" : person.speaking ? "Speaking" : "Listening";
  part(card, "state").textContent = person.id === room.me ? `You · ${state}` : state;
}

/**
 * @param {HTMLElement} card
 * @param {boolean} speaking
 */
function drawSpeaking(card, speaking) {
  card.dataset.speaking = String(speaking);
}

/**
 * @param {HTMLElement} card
 * @param {string} name
 */
function part(card, name) {
  const element = card.querySelector(`[data-part="${name}"]`);
  if (!(element instanceof HTMLElement)) throw new Error(`a person's card has no ${name}`);
  return element;
}

/** @param {string} name */
function initials(name) {
  const words = name.split(/[\s._-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return letters.map((word) => [...word][0]?.toLocaleUpperCase() ?? "").join("") || "?";
}

/** @param {string} name */
function hue(name) {
  let hash = 7;
  for (const char of name) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) % 360;
  return hash;
}

/** @param {Record<string, number>} levels */
function drawLevels(levels) {
  for (const [id, card] of cards) {
    const dbov = levels[id] ?? -127;
    // Speech lies between about −55 (a whisper) and −15 dBov (loud).
    const height = Math.min(1, Math.max(0, (dbov + 55) / 40));
    card.style.setProperty("--level", height.toFixed(2));
  }
}

// --- words ----------------------------------------------------------------------------------------------------------------

/** @param {string} text */
function announce(text) {
  const log = byId("announcements");
  const line = document.createElement("p");
  line.textContent = text;
  log.append(line);
  while (log.childElementCount > 20) log.firstElementChild?.remove();
}

const problems = byId("problems");

/** @param {Problem} problem */
function showProblem({ code, title, text, action }) {
  clearProblem(code);
  const box = document.createElement("div");
  box.className = "problem";
  box.dataset.problem = code;
  const words = document.createElement("div");
  const heading = document.createElement("strong");
  heading.textContent = title;
  const body = document.createElement("p");
  body.textContent = text;
  words.append(heading, body);
  box.append(words);
  if (action) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = ACTION_WORDS[action];
    button.addEventListener("click", () => act(action));
    box.append(button);
  }
  problems.append(box);
}

/** @param {string} code  a problem's code, or the beginning of several */
function clearProblem(code) {
  for (const box of problems.querySelectorAll("[data-problem]")) {
    if (box instanceof HTMLElement && box.dataset.problem?.startsWith(code)) box.remove();
  }
}

/** @param {NonNullable<Problem["action"]>} action */
function act(action) {
  switch (action) {
    case "open-microphone":
    case "retry-microphone":
      clearProblem("microphone");
      room.openMicrophone();
      break;
    case "hear":
      room.hear();
      break;
    case "rejoin":
      location.reload();
      break;
    case "front-page":
      location.assign(frontPage());
  }
}

function frontPage() {
  return `/?${new URLSearchParams({ room: roomName })}`;
}

// --- controls -------------------------------------------------------------------------------------------------------------

const mute = byId("mute");

mute.addEventListener("click", () => room.setMuted(!room.muted));

byId("leave").addEventListener("click", () => {
  room.leave();
  location.assign(`${frontPage()}&left=1`);
});

const copy = byId("copy-link");
if (navigator.clipboard) {
  copy.addEventListener("click", async () => {
    const url = new URL(location.pathname, location.href).href;
    try {
      await navigator.clipboard.writeText(url);
      announce("Link copied.");
      part(copy, "label").textContent = "Link copied";
      setTimeout(() => (part(copy, "label").textContent = "Copy link"), 2500);
    } catch {
      announce("The browser didn't let the link be copied; it is in the address bar.");
    }
  });
} else {
  copy.hidden = true;
}

// A closed tab is somebody who left; only a lost connection keeps its place. Captured, so as to speak before the socket's own
// listener closes it.
addEventListener("pagehide", (event) => event.persisted || room.leave(), { capture: true });

// --- what the room says ---------------------------------------------------------------------------------------------------

/**
 * @param {string} name
 * @param {(detail: any) => void} handler
 */
function on(name, handler) {
  room.addEventListener(name, (event) => handler(/** @type {CustomEvent} */ (event).detail));
}

on("status", (/** @type {Status} */ status) => {
  page.dataset.status = status;
  byId("status").textContent = STATUS_WORDS[status];
  const over = status === "left" || status === "ended";
  /** @type {HTMLButtonElement} */ (mute).disabled = over;
});
on("participants", drawPeople);
on("joined", (/** @type {Participant} */ person) => announce(`${person.name} joined.`));
on("left", (/** @type {Participant} */ person) => announce(`${person.name} left.`));
on("speaking", ({ id }) => {
  const card = cards.get(id);
  const person = room.participants.find((p) => p.id === id);
  if (card && person) drawPerson(card, person);
});
on("levels", drawLevels);
on("own", ({ muted }) => {
  mute.setAttribute("aria-pressed", String(muted));
  drawPeople(room.participants);
});
on("problem", showProblem);
on("solved", clearProblem);

room.join();
