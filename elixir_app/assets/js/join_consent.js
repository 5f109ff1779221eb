// @ts-check
/**
 * Whether somebody asked to join the room that now opens. Its address alone is no proof: another site may link or lead there, and
 * that must not open anybody's microphone. Asking on one of our pages leaves a mark for the next room.
 */

import { basePath } from "./dom.js";

const KEPT = "roomtone:asked";
/** As long as a slow line may take to bring the next page. */
const LOADING_MS = 30_000;

/** Leaves a mark wherever the person asks to enter a room: submits a form, follows a link of ours. */
export function listenForAsking() {
  addEventListener("submit", ({ target }) => target instanceof HTMLFormElement && leadsIn(target) && askToEnter(null), true);
  addEventListener(
    "click",
    (event) => {
      const { target, button, ctrlKey, metaKey, shiftKey, altKey } = event;
      // Those lead to another tab.
      if (!(target instanceof Element) || button !== 0 || ctrlKey || metaKey || shiftKey || altKey) return;
      const link = target.closest("a[data-phx-link]");
      if (link instanceof HTMLAnchorElement && link.origin === location.origin) askToEnter(link.pathname);
      // "Go in", "Open it again": the view leads to the room whose address is there already.
      else if (target.closest('[phx-click="again"]')) askToEnter(location.pathname);
    },
    true,
  );
}

/** @param {HTMLFormElement} form */
function leadsIn(form) {
  const { pathname } = new URL(form.action, location.href);
  return pathname === `${basePath()}/rooms` || pathname.startsWith(`${basePath()}/invitations/`);
}

/** @param {string | null} path  of the room's page; null: the very next page, which only the server knows */
export function askToEnter(path) {
  if (path !== null && !path.startsWith(`${basePath()}/rooms/`)) return;
  try {
    sessionStorage.setItem(KEPT, JSON.stringify({ path, at: Date.now() }));
  } catch {
    // No storage for this page: then the room's page asks.
  }
}

/**
 * Takes the mark, so that it is good for one room.
 *
 * @param {string | null} path  of the page that opens; null where it is none of a room
 * @returns {boolean} whether the person asked to enter there
 */
export function takeAsked(path) {
  try {
    const mark = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    sessionStorage.removeItem(KEPT);
    if (!mark || path === null) return false;
    const age = Date.now() - mark.at;
    return age >= 0 && age < LOADING_MS && (mark.path === null || mark.path === path);
  } catch {
    return false;
  }
}
