// @ts-check
import { SERVER_ERRORS } from "./server_errors.js";

/**
 * The messages for everything that doesn't work: the problem, and the way out of it, the person's or ours.
 *
 * @typedef {object} Problem
 * @property {string} code    for programs: stable, never shown
 * @property {string} title   one short sentence
 * @property {string} text    what to do, or what happens next
 * @property {"retry-microphone" | "open-microphone" | "unmute" | "hear" | "rejoin" | "take-over" | "new-room" | "front-page" | "dismiss" | null} action  what a button beside it should do
 */

/** The status line. @type {Record<import("./voice_room.js").Status, string>} */
export const STATUS_WORDS = {
  new: "",
  connecting: "Connecting…",
  connected: "Connected",
  reconnecting: "Reconnecting…",
  left: "You left.",
  ended: "Not connected",
};

/** The problem of a server that doesn't have us yet: {@link statusWords} tells it. */
export const WAITING = "server_not_ready";

/** Why we wait for the server, as far as the page itself can tell. */
export const WAITING_TITLES = {
  unanswered: "Can't reach the server.",
  cut_off: "Each connection to the server breaks at once: a proxy, a firewall or a security program may be closing them.",
};

/** How the page talks to the server. */
export const SIGNALLING_WORDS = {
  webSocket: "WebSocket",
  polling: "Long polling, as a proxy, a firewall or a security program blocks WebSockets",
};

/**
 * How the call is, in one line: one text for one condition.
 *
 * @param {import("./call.js").Call} call
 */
export function statusWords({ status, problems, room }) {
  const waiting = problems.find(({ code }) => code === WAITING);
  if (waiting && (status === "connecting" || status === "reconnecting")) return `${waiting.title} ${waiting.text}`;
  const held = room?.own.held;
  return status === "connected" && held ? HELD_WORDS[held] : STATUS_WORDS[status];
}

/** Why nobody hears somebody whose microphone is open. */
export const HELD_WORDS = {
  silenced: "A moderator muted you.",
  listener: "You're listening. Raise your hand to speak.",
};

/** The button beside what the server told us. @type {Record<string, Problem["action"]>} */
const SERVER_ACTIONS = {
  signed_out: "front-page",
  not_let_in: null,
  replaced: "take-over",
  removed: "front-page",
  closed: "rejoin",
  room_ended: "new-room",
  draining: null,
};

/** Problems that the page itself finds. @type {Record<string, Omit<Problem, "code">>} */
const WORDS = {
  insecure_page: {
    title: "The microphone works only on a secure page.",
    text:
      "This page came over plain HTTP, so your browser won't give it the microphone. Ask whoever runs this server " +
      "to start it with bin/server --https. Until then you can listen.",
    action: null,
  },
  microphone_unsupported: {
    title: "This browser can't use a microphone.",
    text: "A recent Firefox, Chrome, Edge or Safari can. You can listen meanwhile.",
    action: null,
  },
  microphone_refused: {
    title: "The microphone is blocked for this page.",
    text:
      "Allow it in the browser's address bar (or in the system's privacy settings), then try again. " +
      "You can listen meanwhile; nobody hears you.",
    action: "retry-microphone",
  },
  microphone_missing: {
    title: "No microphone found.",
    text: "Plug one in, or switch it on, then try again. You can listen meanwhile.",
    action: "retry-microphone",
  },
  microphone_in_use: {
    title: "Another program is using the microphone.",
    text: "Close the other call or recorder, then try again. You can listen meanwhile.",
    action: "retry-microphone",
  },
  microphone_lost: {
    title: "The microphone was unplugged.",
    text: "Plug it in again or choose another one, then try again. You still hear the others.",
    action: "retry-microphone",
  },
  microphone_unchanged: {
    title: "That microphone didn't start.",
    text: "You're still on the former one. The other one may be in use by another program, or switched off.",
    action: "dismiss",
  },
  microphone_failed: {
    title: "The microphone didn't start.",
    text: "Check that it works in another program, then try again. You can listen meanwhile.",
    action: "retry-microphone",
  },
  listening_only: {
    title: "You're here without a microphone.",
    text: "You hear the others; nobody hears you.",
    action: "open-microphone",
  },
  autoplay_blocked: {
    title: "The browser is holding back the sound.",
    text: "Click to turn on sound.",
    action: "hear",
  },
  webrtc_unsupported: {
    title: "This browser can't take part in a voice room.",
    text: "It has no WebRTC, or it's switched off. A recent Firefox, Chrome, Edge or Safari has it.",
    action: null,
  },
  restored: {
    title: "The server restarted.",
    text: "You're muted; unmute when you're ready.",
    action: "unmute",
  },
  restored_listening: {
    title: "The server restarted.",
    text: "You're listening, as before.",
    action: "dismiss",
  },
  may_speak: {
    title: "You can speak now.",
    text: "Nobody hears you until you unmute.",
    action: "unmute",
  },
  transfer_failed: {
    title: "The room that you were sent to can't be reached.",
    text: "You're still in the one where you were.",
    action: "dismiss",
  },
  server_not_ready: {
    title: "Can't reach the server.",
    text: "Retrying…",
    action: null,
  },
  weak_in: {
    title: "Your connection loses part of the sound.",
    text: "You may hear the others badly. Nearer to the router, or with a cable, it may get better.",
    action: null,
  },
  weak_out: {
    title: "Your connection loses part of your voice.",
    text: "The others may hear you badly. Nearer to the router, or with a cable, it may get better.",
    action: null,
  },
  weak_both: {
    title: "Your connection loses sound both ways.",
    text: "You and the others may hear each other badly. Nearer to the router, or with a cable, it may get better.",
    action: null,
  },
  media_unreachable: {
    title: "The sound can't get through.",
    text:
      "The page reaches the server, but the sound doesn't: a firewall between here and there may be blocking UDP. " +
      "We keep trying.",
    action: null,
  },
};

/** Where the server of this page answers by HTTPS, if it says that it does. */
function secureAddress() {
  return globalThis.document?.querySelector('meta[name="secure-address"]')?.getAttribute("content");
}

/**
 * @param {string} code
 * @param {string} [message]  the server's own words, which know more (who has the name, how many fit in)
 * @returns {Problem}
 */
export function problem(code, message) {
  const known = WORDS[code];
  if (code === "insecure_page" && secureAddress()) return { code, ...known, text: `Open ${secureAddress()} instead. Until then you can listen.` };
  if (known) return { code, ...known };
  const told = SERVER_ERRORS[code];
  if (told) return { code, ...told, action: SERVER_ACTIONS[code] };
  return {
    code,
    title: message || "Something went wrong.",
    text: "",
    action: code === "room_full" || code === "media_refused" ? "rejoin" : "front-page",
  };
}

/**
 * The names of getUserMedia's errors, as the browsers use them.
 *
 * @param {unknown} error
 * @returns {Problem}
 */
export function microphoneProblem(error) {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return problem("microphone_refused");
    case "NotFoundError":
    case "OverconstrainedError":
      return problem("microphone_missing");
    case "NotReadableError":
    case "AbortError":
      return problem("microphone_in_use");
    default:
      return problem("microphone_failed");
  }
}
