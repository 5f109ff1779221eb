/**
 * How far a ring around somebody reaches out, 0 to 1.
 *
 * @param {number} [dbov]  level of their voice; −127 is silence
 */
export function ringHeight(dbov?: number): number;
