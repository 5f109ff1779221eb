/**
 * How the call is, in one line: one text for one condition.
 *
 * @param {import("./call.js").Call} call
 */
export function statusWords({ status, problems, room }: import("./call.js").Call): string;
/**
 * @param {string} code
 * @param {string} [message]  the server's own words, which know more (who has the name, how many fit in)
 * @returns {Problem}
 */
export function problem(code: string, message?: string): Problem;
/**
 * The names of getUserMedia's errors, as the browsers use them.
 *
 * @param {unknown} error
 * @returns {Problem}
 */
export function microphoneProblem(error: unknown): Problem;
/**
 * The messages for everything that doesn't work: the problem, and the way out of it, the person's or ours.
 *
 * @typedef {object} Problem
 * @property {string} code    for programs: stable, never shown
 * @property {string} title   one short sentence
 * @property {string} text    what to do, or what happens next
 * @property {"retry-microphone" | "open-microphone" | "unmute" | "hear" | "rejoin" | "take-over" | "new-room" | "front-page" | "dismiss" | null} action  what a button beside it should do
 */
/** The status line. @type {Record<import("./voice_room.js").Status, string>} */
export const STATUS_WORDS: Record<import("./voice_room.js").Status, string>;
/** The problem of a server that doesn't have us yet: {@link statusWords} tells it. */
export const WAITING: "server_not_ready";
export namespace WAITING_TITLES {
    let unanswered: string;
    let cut_off: string;
}
export namespace SIGNALLING_WORDS {
    let webSocket: string;
    let polling: string;
}
export namespace HELD_WORDS {
    let silenced: string;
    let listener: string;
}
/**
 * The messages for everything that doesn't work: the problem, and the way out of it, the person's or ours.
 */
export type Problem = {
    /**
     * for programs: stable, never shown
     */
    code: string;
    /**
     * one short sentence
     */
    title: string;
    /**
     * what to do, or what happens next
     */
    text: string;
    /**
     * what a button beside it should do
     */
    action: "retry-microphone" | "open-microphone" | "unmute" | "hear" | "rejoin" | "take-over" | "new-room" | "front-page" | "dismiss" | null;
};
