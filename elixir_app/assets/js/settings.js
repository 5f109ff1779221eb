// @ts-check
/** What this browser remembers for its person: devices and habits, nothing of any room. */

const PREFIX = "roomtone:";

/**
 * @typedef {"microphone" | "speaker" | "shortcuts" | "processing" | "called" | "sounds" | "join-muted" | "auto-gain" | "noise-suppression" | "music"} Setting
 */

/**
 * @param {Setting} key
 * @returns {string | null} null where nothing is kept, or nothing may be, by the browser's settings
 */
export function setting(key) {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

/**
 * @param {Setting} key
 * @param {string} value
 */
export function keep(key, value) {
  try {
    localStorage.setItem(PREFIX + key, value);
  } catch {
    // No storage for this page: then it holds until the page is closed.
  }
}

/**
 * @param {Setting} key
 * @returns {boolean | undefined} undefined where nothing was chosen
 */
export function chosen(key) {
  const kept = setting(key);
  return kept === null ? undefined : kept === "on";
}

/** Echo cancellation and the like, but for tests that play tones, which noise suppression would rightly remove. */
export function processingWanted() {
  return (new URLSearchParams(location.search).get("processing") ?? setting("processing")) !== "off";
}
