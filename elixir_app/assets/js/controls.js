// @ts-check
/** The buttons under a room: microphone, hearing, hand, leave. */
import { on } from "./events.js";
import { announce, byId, part } from "./dom.js";
import { isTalking } from "./shortcuts.js";
import { toast } from "./toasts.js";
import { HELD_WORDS } from "./messages.js";

/**
 * @param {import("./call.js").Call} call
 * @param {{leave: () => void, signal: AbortSignal}} options
 */
export function showControls(call, { leave, signal }) {
  /**
   * @param {string} id
   * @param {() => void} action
   */
  const click = (id, action) => byId(id)?.addEventListener("click", action, { signal });
  click("mute", () => pressMicrophone(call));
  click("deafen", () => call.room?.setDeafened(!call.room.own.deafened));
  click("hand", () => call.room?.setHand(!call.room.own.hand));
  click("leave", leave);
  const draw = () => drawControls(call);
  for (const name of ["own", "status", "place", "microphone", "problems", "talking"]) on(call, name, draw, signal);
  draw();
}

/** @typedef {"on" | "talking" | "muted" | "none" | "silenced" | "listener"} MicrophoneState */

/** Label and tooltip of the microphone button. @type {Record<MicrophoneState, [label: string, title: string]>} */
const MICROPHONE_WORDS = {
  on: ["Mute", "Mute (M)"],
  talking: ["Talking", "Muted again when you let go of the space bar"],
  muted: ["Unmute", "Unmute (M), or hold the space bar to talk"],
  none: ["No mic", "No microphone: nobody hears you. Press to try it again."],
  silenced: ["Muted by moderator", HELD_WORDS.silenced],
  listener: ["In the audience", HELD_WORDS.listener],
};

/**
 * Whether somebody hears me, and if not, why.
 *
 * @param {import("./call.js").Call} call
 * @param {boolean} [talking]  whether the space bar is held
 * @returns {MicrophoneState}
 */
export function microphoneState({ active, room, withoutMicrophone }, talking = isTalking()) {
  if (!active || !room) return "on";
  const { held, muted } = room.own;
  if (held) return held;
  if (withoutMicrophone) return "none";
  if (muted) return "muted";
  return talking ? "talking" : "on";
}

/** @param {import("./call.js").Call} call */
function pressMicrophone(call) {
  const { room } = call;
  const state = microphoneState(call);
  if (!room) return;
  if (state === "none") room.openMicrophone();
  else if (state === "silenced" || state === "listener") {
    // Their own switch wouldn't change anything.
    toast(HELD_WORDS[state]);
    announce(HELD_WORDS[state]);
  } else room.setMuted(!room.muted);
}

/** @param {import("./call.js").Call} call */
function drawControls(call) {
  const own = call.room?.own ?? { muted: false, deafened: false, hand: false, held: null };
  const mute = byId("mute");
  if (mute) {
    const state = microphoneState(call);
    const [label, title] = MICROPHONE_WORDS[state];
    mute.dataset.state = state;
    mute.dataset.muted = String(own.muted);
    mute.title = title;
    const words = part(mute, "label");
    if (words && words.textContent !== label) words.textContent = label;
  }
  byId("deafen")?.setAttribute("aria-checked", String(own.deafened));
  byId("hand")?.setAttribute("aria-checked", String(own.hand));
  for (const id of ["mute", "deafen", "hand"]) byId(id)?.toggleAttribute("disabled", !call.active);
}
