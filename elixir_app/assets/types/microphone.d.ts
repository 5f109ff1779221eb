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
export function openMicrophone({ processing, stereo, device }?: {
    processing?: boolean | undefined;
    stereo?: boolean | undefined;
    device?: string | undefined;
}): Promise<Opened>;
export type Problem = import("./messages.js").Problem;
export type Opened = {
    track: MediaStreamTrack;
    problem: null;
} | {
    track: null;
    problem: Problem;
};
