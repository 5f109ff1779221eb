/**
 * Emits `talking` on the call when the space bar is pressed and let go.
 *
 * @param {import("./call.js").Call} call
 */
export function listenToKeys(call: import("./call.js").Call): void;
/** @param {EventTarget | null} target */
export function isTyping(target: EventTarget | null): boolean;
/**
 * The elements that need the space bar even after a click: it ticks a box, or moves a slider. A plain button was only pressed.
 *
 * @param {EventTarget | null} target
 */
export function keepsSpace(target: EventTarget | null): boolean;
export function shortcutsWanted(): boolean;
export function wantShortcuts(wanted: boolean): void;
export function isTalking(): boolean;
