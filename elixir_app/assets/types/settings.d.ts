/**
 * @typedef {"microphone" | "speaker" | "shortcuts" | "processing" | "called" | "sounds" | "join-muted" | "auto-gain" | "noise-suppression" | "music"} Setting
 */
/**
 * @param {Setting} key
 * @returns {string | null} null where nothing is kept, or nothing may be, by the browser's settings
 */
export function setting(key: Setting): string | null;
/**
 * @param {Setting} key
 * @param {string} value
 */
export function keep(key: Setting, value: string): void;
/**
 * @param {Setting} key
 * @returns {boolean | undefined} undefined where nothing was chosen
 */
export function chosen(key: Setting): boolean | undefined;
/** Echo cancellation and the like, but for tests that play tones, which noise suppression would rightly remove. */
export function processingWanted(): boolean;
export type Setting = "microphone" | "speaker" | "shortcuts" | "processing" | "called" | "sounds" | "join-muted" | "auto-gain" | "noise-suppression" | "music";
