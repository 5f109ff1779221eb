/** Leaves a mark wherever the person asks to enter a room: submits a form, follows a link of ours. */
export function listenForAsking(): void;
/** @param {string | null} path  of the room's page; null: the very next page, which only the server knows */
export function askToEnter(path: string | null): void;
/**
 * Takes the mark, so that it is good for one room.
 *
 * @param {string | null} path  of the page that opens; null where it is none of a room
 * @returns {boolean} whether the person asked to enter there
 */
export function takeAsked(path: string | null): boolean;
