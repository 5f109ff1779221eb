// @ts-check
import { microphoneProblem, problem } from "./messages.js";

/**
 * @typedef {import("./messages.js").Problem} Problem
 * @typedef {{track: MediaStreamTrack, problem: null} | {track: null, problem: Problem}} Opened
 */

/**
 * Asks for the microphone.
 *
 * @param {object} [options]
 * @param {boolean} [options.processing]  echo cancellation, noise suppression and gain control; on unless a test plays
 *   tones, which they would remove
 * @param {boolean} [options.stereo]  both channels, where it has two
 * @param {string} [options.device]  id of the one to take; another one if it isn't there
 * @returns {Promise<Opened>}
 */
export async function openMicrophone({ processing = true, stereo = false, device = "" } = {}) {
  if (!globalThis.isSecureContext) return { track: null, problem: problem("insecure_page") };
  if (!navigator.mediaDevices?.getUserMedia) return { track: null, problem: problem("microphone_unsupported") };
  const audio = {
    echoCancellation: processing,
    noiseSuppression: processing,
    autoGainControl: processing,
    ...(stereo ? { channelCount: { ideal: 2 } } : {}),
  };
  try {
    const stream = await take(audio, device);
    const [track] = stream.getAudioTracks();
    return track ? { track, problem: null } : { track: null, problem: problem("microphone_missing") };
  } catch (error) {
    return { track: null, problem: microphoneProblem(error) };
  }
}

/**
 * The device that was asked for, or, where it has been unplugged since, any.
 *
 * @param {MediaTrackConstraints} audio
 * @param {string} device
 */
async function take(audio, device) {
  const { mediaDevices } = navigator;
  if (device) {
    try {
      return await mediaDevices.getUserMedia({ audio: { ...audio, deviceId: { exact: device } } });
    } catch (error) {
      if (!(error instanceof Error) || !["OverconstrainedError", "NotFoundError"].includes(error.name)) throw error;
    }
  }
  return await mediaDevices.getUserMedia({ audio });
}
