// @ts-check
/**
 * Listens to one of our own events, whose news is in `detail`.
 *
 * @param {EventTarget} target
 * @param {string} name
 * @param {(detail: any) => void} handler
 * @param {AbortSignal} [signal]  ends it
 */
export function on(target, name, handler, signal) {
  target.addEventListener(name, (event) => handler(/** @type {CustomEvent} */ (event).detail), { signal });
}
