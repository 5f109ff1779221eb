/**
 * Listens to one of our own events, whose news is in `detail`.
 *
 * @param {EventTarget} target
 * @param {string} name
 * @param {(detail: any) => void} handler
 * @param {AbortSignal} [signal]  ends it
 */
export function on(target: EventTarget, name: string, handler: (detail: any) => void, signal?: AbortSignal): void;
