// @ts-check
/** M mutes and unmutes; the space bar, held while muted, lets one talk. Never while somebody types. */
import { announce } from "./dom.js";
import { keep, setting } from "./settings.js";

export const shortcutsWanted = () => setting("shortcuts") !== "off";
/** @param {boolean} wanted */
export const wantShortcuts = (wanted) => keep("shortcuts", wanted ? "on" : "off");

let talking = false;
/** Whether the space bar is held, and the microphone open for as long. */
export const isTalking = () => talking;

/**
 * Emits `talking` on the call when the space bar is pressed and let go.
 *
 * @param {import("./call.js").Call} call
 */
export function listenToKeys(call) {
  /** Whether the focus is where it is because of a click: then the space bar isn't meant for it. */
  let clicked = false;

  const talk = (/** @type {boolean} */ wanted) => {
    if (talking === wanted) return;
    talking = wanted;
    call.room?.setMuted(!wanted);
    call.dispatchEvent(new CustomEvent("talking", { detail: wanted }));
  };

  addEventListener("pointerdown", () => (clicked = true), true);
  addEventListener("focusin", (event) => {
    if (event.target instanceof Element && event.target.matches(":focus-visible")) clicked = false;
  });
  addEventListener("blur", () => talk(false));
  document.addEventListener("visibilitychange", () => document.hidden && talk(false));

  addEventListener("keydown", (event) => {
    if (event.key === "Tab") clicked = false;
    if (event.code === "Space" && talking) event.preventDefault();
    if (!call.active || event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    if (!shortcutsWanted() || isTyping(event.target)) return;
    if (isM(event)) {
      const muted = !call.room?.muted;
      call.room?.setMuted(muted);
      announce(muted ? "Microphone muted." : "Microphone on.");
    } else if (event.code === "Space" && call.room?.muted && (clicked ? !keepsSpace(event.target) : !takesSpace(event.target))) {
      event.preventDefault();
      talk(true);
    }
  });
  addEventListener("keyup", (event) => {
    if (event.code !== "Space" || !talking) return;
    // Else a button that was clicked before is clicked again.
    event.preventDefault();
    talk(false);
  });
}

/** @param {KeyboardEvent} event */
function isM({ key, code }) {
  // On a keyboard without Latin letters, the key where M is elsewhere.
  return key === "m" || key === "M" || (code === "KeyM" && key > "\x7f");
}

const UNTYPED = ["button", "checkbox", "radio", "range", "submit", "reset", "color", "file", "image"];

/** @param {EventTarget | null} target */
export function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.matches("textarea, select")) return true;
  return target instanceof HTMLInputElement && !UNTYPED.includes(target.type);
}

/**
 * The elements that need the space bar even after a click: it ticks a box, or moves a slider. A plain button was only pressed.
 *
 * @param {EventTarget | null} target
 */
export function keepsSpace(target) {
  return target instanceof Element && target.closest("summary, input, [role=slider], [role=checkbox]") !== null;
}

/** @param {EventTarget | null} target */
function takesSpace(target) {
  return target instanceof Element && target.closest("button, summary, input, a[role=button], [role=switch]") !== null;
}
