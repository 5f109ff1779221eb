// @ts-check
/**
 * The focus of who uses the keyboard, where the view takes away what had it: a panel that was closed, a question that was answered.
 * `data-focus-after` at such a part names the elements, by id, of which the first that is there gets it.
 */

/**
 * Call it before the view changes the page.
 *
 * @param {Element | null} focused
 * @returns {() => void} to be called afterwards
 */
export function keepFocus(focused) {
  /** @type {HTMLElement[]} */
  const parts = [];
  for (let part = closestPart(focused); part; part = closestPart(part.parentElement)) parts.push(part);
  const after = parts.map((part) => part.dataset.focusAfter ?? "");
  return () => {
    const gone = parts.findIndex((part) => !part.isConnected);
    // A person who has gone on to something else stays there.
    if (gone < 0 || (document.activeElement && document.activeElement !== document.body)) return;
    for (const id of after.slice(gone)) {
      const next = document.getElementById(id);
      next?.focus();
      if (next && document.activeElement === next) return;
    }
    focusHeading();
  };
}

/** The heading of a room: the beginning of the page, where M and the space bar are the microphone's. */
export function focusHeading() {
  document.querySelector("h1")?.focus();
}

/** @param {Element | null | undefined} element */
function closestPart(element) {
  return /** @type {HTMLElement | null} */ (element?.closest("[data-focus-after]") ?? null);
}
