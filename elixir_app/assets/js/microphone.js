// @ts-check
import { microphoneProblem, problem } from "./words.js";

/**
 * @typedef {import("./words.js").Problem} Problem
 */

/**
 * Asks for the microphone.
 *
 * @param {object} [options]
 * @param {boolean} [options.processing]  echo cancellation, noise suppression and gain control; on unless a test plays
 *   tones, which they would remove
 * @returns {Promise<{track: MediaStreamTrack, problem: null} | {track: null, problem: Problem}>}
 */
export async function openMicrophone({ processing = true } = {}) {
  if (!globalThis.isSecureContext) return { track: null, problem: problem("insecure_page") };
  if (!navigator.mediaDevices?.getUserMedia) return { track: null, problem: problem("microphone_unsupported") };
  try {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: processing, noiseSuppression: processing, autoGainControl: processing },
    });
    const [track] = stream.getAudioTracks();
    return track ? { track, problem: null } : { track: null, problem: problem("microphone_missing") };
  } catch (error) {
    return { track: null, problem: microphoneProblem(error) };
  }
}
