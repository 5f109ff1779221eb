// @ts-check
/** The buttons under a room: microphone, hearing, hand, leave. */
import { on } from "./events.js";
import { byId } from "./page.js";

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
  click("mute", () => call.room?.setMuted(!call.room.muted));
  click("deafen", () => call.room?.setDeafened(!call.room.own.deafened));
  click("hand", () => call.room?.setHand(!call.room.own.hand));
  click("leave", leave);
  const draw = () => drawControls(call);
  for (const name of ["own", "status", "place"]) on(call, name, draw, signal);
  draw();
}

/** @param {import("./call.js").Call} call */
function drawControls(call) {
  const own = call.room?.own ?? { muted: false, deafened: false, hand: false, held: null };
  const mute = byId("mute");
  mute?.setAttribute("aria-pressed", String(own.muted));
  if (mute) mute.dataset.held = own.held ?? "";
  byId("deafen")?.setAttribute("aria-checked", String(own.deafened));
  byId("hand")?.setAttribute("aria-checked", String(own.hand));
  for (const id of ["mute", "deafen", "hand"]) byId(id)?.toggleAttribute("disabled", !call.active);
}
