// @ts-check
/** Draws what doesn't work, and what can be done about it. */
import { askToEnter } from "./join_consent.js";
import { on } from "./events.js";
import { basePath, byId } from "./dom.js";
import { WAITING } from "./messages.js";

/**
 * @typedef {import("./call.js").Call} Call
 * @typedef {import("./messages.js").Problem} Problem
 */

const ACTION_WORDS = {
  "retry-microphone": "Try again",
  "open-microphone": "Use the microphone",
  unmute: "Unmute",
  hear: "Turn on sound",
  rejoin: "Come back",
  "new-room": "Open a new room",
  "take-over": "Use this tab",
  "front-page": "Back to rooms",
  dismiss: "OK",
};

/**
 * @param {Call} call
 * @param {(path: string) => void} navigate
 */
export function showProblems(call, navigate) {
  const show = () => draw(call, navigate);
  on(call, "problems", show);
  addEventListener("roomtone:page", show);
}

/**
 * A box that is there stays as it is: screen readers read out what comes new.
 *
 * @param {Call} call
 * @param {(path: string) => void} navigate
 */
function draw(call, navigate) {
  const list = byId("problems");
  if (!list) return;
  // The page itself says why one isn't in the room any more: nothing is left to say, nor of the call.
  if (call.status === "ended" && byId("outside")) return call.leave();
  // The status line says that one waits for the server.
  const wanted = new Map(call.problems.filter(({ code }) => code !== WAITING).map((problem) => [problem.code, problem]));
  for (const box of list.querySelectorAll("[data-problem]")) {
    if (!(box instanceof HTMLElement)) continue;
    const problem = wanted.get(box.dataset.problem ?? "");
    if (problem && box.dataset.title === problem.title) wanted.delete(problem.code);
    else box.remove();
  }
  for (const problem of wanted.values()) {
    const box = draft(problem, () => act(problem, call, navigate));
    // The end of the call stays on the page until something is done about it.
    if (call.active) box.append(closing(problem, () => call.solved(problem.code)));
    list.append(box);
  }
}

/**
 * @param {Problem} problem
 * @param {() => void} onAction
 */
export function draft({ code, title, text, action }, onAction) {
  const box = document.createElement("div");
  box.className = "problem";
  box.dataset.problem = code;
  box.dataset.title = title;
  const words = document.createElement("div");
  const heading = document.createElement("strong");
  heading.textContent = title;
  words.append(heading);
  if (text) {
    const body = document.createElement("p");
    body.textContent = text;
    words.append(body);
  }
  box.append(words);
  if (action) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button";
    button.textContent = ACTION_WORDS[action];
    button.addEventListener("click", onAction);
    box.append(button);
  }
  return box;
}

/**
 * @param {Problem} problem
 * @param {() => void} onClose
 */
function closing({ title }, onClose) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain close";
  button.setAttribute("aria-label", `Close: ${title}`);
  button.textContent = "✕";
  button.addEventListener("click", () => {
    onClose();
    byId("main")?.focus();
  });
  return button;
}

/**
 * @param {Problem} problem
 * @param {Call} call
 * @param {(path: string) => void} navigate
 */
function act({ code, action }, call, navigate) {
  const place = call.place;
  switch (action) {
    case "retry-microphone":
      call.solved("microphone");
      call.room?.openMicrophone();
      break;
    case "open-microphone":
      call.room?.openMicrophone();
      break;
    case "unmute":
      call.room?.unmute();
      break;
    case "hear":
      call.room?.hear();
      break;
    case "rejoin":
    case "new-room":
    case "take-over":
      if (!place) break;
      askToEnter(new URL(place.path, location.href).pathname);
      navigate(place.path);
      break;
    case "dismiss":
      call.solved(code);
      break;
    case "front-page":
      call.leave();
      navigate(lobbyPath(place));
  }
}

/**
 * @param {import("./call.js").Place | null} place
 * @param {Record<string, string>} [more]
 */
export function lobbyPath(place, more = {}) {
  const query = new URLSearchParams({ ...(place ? { room: place.room } : {}), ...more }).toString();
  return `${basePath()}/${query ? `?${query}` : ""}`;
}
