// @ts-check
/** What a screen reader says of a call while one looks elsewhere: who comes, goes, and asks to speak. */
import { on } from "./events.js";
import { announce } from "./page.js";

/**
 * @param {import("./call.js").Call} call
 * @param {(text: string) => void} [say]
 */
export function announceCall(call, say = announce) {
  on(call, "joined", ({ name }) => say(`${name} joined.`));
  on(call, "left", ({ name }) => say(`${name} left.`));

  /** @type {Set<string>} */
  let raised = new Set();
  on(call, "participants", (/** @type {import("./voice_room.js").Participant[]} */ people) => {
    const now = people.filter(({ hand, id }) => hand && id !== call.room?.me);
    for (const { id, name } of now) if (!raised.has(id)) say(`${name} raised a hand.`);
    raised = new Set(now.map(({ id }) => id));
  });
}
