// @ts-check
/** Which microphones and speakers there are, and which of them this browser's person has chosen. */
import { keep, setting } from "./settings.js";

/**
 * @typedef {{id: string, label: string}} Device
 */

/**
 * Those that the browser tells us about: without a permission for the microphone that is none, or only how many.
 *
 * @returns {Promise<{microphones: Device[], speakers: Device[]}>}
 */
export async function listDevices() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  const of = (/** @type {MediaDeviceKind} */ kind, /** @type {string} */ word) =>
    devices
      .filter((device) => device.kind === kind && device.deviceId !== "")
      .map(({ deviceId, label }, i) => ({ id: deviceId, label: label || `${word} ${i + 1}` }));
  return { microphones: of("audioinput", "Microphone"), speakers: of("audiooutput", "Speaker") };
}

/** Whether this browser lets a page choose where its sound comes out. */
export function speakersCanBeChosen() {
  return "setSinkId" in HTMLMediaElement.prototype;
}

/** @returns {string} the chosen microphone's id; empty: whichever the browser takes */
export const chosenMicrophone = () => setting("microphone") ?? "";
/** @returns {string} the chosen speaker's id; empty: whichever the browser takes */
export const chosenSpeaker = () => setting("speaker") ?? "";

/** @param {string} id */
export const chooseMicrophone = (id) => keep("microphone", id);
/** @param {string} id */
export const chooseSpeaker = (id) => keep("speaker", id);

/**
 * Whether asking for the microphone would put a question on the screen, which it does once for each page as a rule.
 *
 * @returns {Promise<boolean>}
 */
export async function microphoneWouldAsk() {
  try {
    const { state } = await navigator.permissions.query({ name: /** @type {PermissionName} */ ("microphone") });
    return state === "prompt";
  } catch {
    // A browser that doesn't tell.
    return false;
  }
}

/**
 * Calls back when the person allows the microphone, or takes that back: in the browser's address bar, say.
 *
 * @param {(state: PermissionState) => void} callback
 * @param {AbortSignal} signal
 */
export async function watchPermission(callback, signal) {
  try {
    const status = await navigator.permissions.query({ name: /** @type {PermissionName} */ ("microphone") });
    status.addEventListener("change", () => callback(status.state), { signal });
  } catch {
    // A browser that doesn't tell.
  }
}

/**
 * Calls back when a device was plugged in or out, until the returned function is called.
 *
 * @param {() => void} callback
 * @returns {() => void}
 */
export function watchDevices(callback) {
  navigator.mediaDevices?.addEventListener?.("devicechange", callback);
  return () => navigator.mediaDevices?.removeEventListener?.("devicechange", callback);
}
