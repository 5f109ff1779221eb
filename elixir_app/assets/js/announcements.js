// @ts-check
/** What happens in a call while one looks elsewhere: who comes, goes, and asks to speak, and what a moderator did to me. */
import { on } from "./events.js";
import { announce } from "./dom.js";
import { chime } from "./sounds.js";
import { toast } from "./toasts.js";
import { HELD_WORDS } from "./messages.js";

/** In a larger room, people come and go all the time: that is still in the log of screen readers, and nothing pops up. */
const CROWD = 20;

/**
 * @param {import("./call.js").Call} call
 * @param {(text: string, sound?: import("./sounds.js").Sound) => void} [say]
 * @param {(sound: import("./sounds.js").Sound) => void} [ring]
 */
export function announceCall(call, say = (text, sound) => tell(call, text, sound), ring = chime) {
  on(call, "joined", ({ name }) => say(`${name} joined.`, "joined"));
  on(call, "left", ({ name }) => say(`${name} left.`, "left"));

  /** Of those who had raised their hand before we came, nothing is said. @type {Set<string> | null} */
  let raised = null;
  on(call, "place", () => (raised = null));
  let moderator = true;
  on(call, "participants", (/** @type {import("./voice_room.js").Participant[]} */ people) => {
    const me = call.room?.me;
    const now = people.filter(({ hand, id }) => hand && id !== me);
    if (raised) for (const { id, name } of now) if (!raised.has(id)) say(`${name} raised their hand.`, "hand");
    raised = people.length > 0 ? new Set(now.map(({ id }) => id)) : null;

    const mine = people.find(({ id }) => id === me);
    if (mine?.moderator && !moderator) say("You're a moderator now.", "hand");
    // The maker of a room knows that they moderate it.
    moderator = mine === undefined || mine.moderator === true;
  });

  // The page shows it, and screen readers read that out.
  let recorded = false;
  on(call, "place", () => (recorded = false));
  on(call, "recording", (/** @type {boolean} */ recording) => {
    if (recording !== recorded) ring(recording ? "recording" : "recorded");
    recorded = recording;
  });

  let held = /** @type {keyof HELD_WORDS | null | undefined} */ (undefined);
  on(call, "own", (/** @type {import("./voice_room.js").Own} */ own) => {
    if (own.held === "silenced" && held !== "silenced") say(HELD_WORDS.silenced);
    held = own.held;
  });
}

/**
 * @param {import("./call.js").Call} call
 * @param {string} text
 * @param {import("./sounds.js").Sound} [sound]
 */
function tell(call, text, sound) {
  announce(text);
  if ((call.room?.participants.length ?? 0) > CROWD && sound !== "hand") return;
  toast(text);
  if (sound) chime(sound);
}
