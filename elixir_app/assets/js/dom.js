// @ts-check
/** The few things that everything on the page needs. */

/**
 * @param {string} id
 * @returns {HTMLElement | null}
 */
export function byId(id) {
  return document.getElementById(id);
}

/** The path that all pages of ours are under; empty where they have the whole host. */
export function basePath() {
  return globalThis.document?.documentElement?.dataset.base ?? "";
}

/** The element of a room's page, where that is what is shown. @returns {HTMLElement | null} */
export function roomPage() {
  // Forms have a field of that name.
  return document.querySelector("#room[data-room]");
}

/**
 * @param {ParentNode | null} parent
 * @param {string} name  as in `data-part`
 * @returns {HTMLElement | null}
 */
export function part(parent, name) {
  return parent?.querySelector(`[data-part="${name}"]`) ?? null;
}

/** The token by which the server knows that a request comes from a page of its own. */
export function csrfToken() {
  return document.querySelector('meta[name="csrf-token"]')?.getAttribute("content") ?? "";
}

const MOST_LINES = 20;

/**
 * Has a screen reader say it, when there's a pause.
 *
 * @param {string} text
 */
export function announce(text) {
  const log = byId("announcements");
  if (!log) return;
  const line = document.createElement("p");
  line.textContent = text;
  log.append(line);
  while (log.childElementCount > MOST_LINES) log.firstElementChild?.remove();
}
