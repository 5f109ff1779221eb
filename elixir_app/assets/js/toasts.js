// @ts-check
/**
 * Short messages that go away by themselves. They lie over the people, let clicks through, and aren't there for screen readers, which
 * hear of the same things by announcements.
 */
import { byId } from "./dom.js";

const SHOWN_MS = 4000;
const MOST = 3;

/** @param {string} text */
export function toast(text) {
  const list = byId("toasts");
  if (!list) return;
  for (const shown of list.children) if (shown.textContent === text) shown.remove();
  const line = document.createElement("p");
  line.textContent = text;
  list.append(line);
  while (list.childElementCount > MOST) list.firstElementChild?.remove();
  setTimeout(() => line.remove(), SHOWN_MS);
}
