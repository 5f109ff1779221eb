// @ts-check
/**
 * How far a ring around somebody reaches out, 0 to 1.
 *
 * @param {number} [dbov]  level of their voice; −127 is silence
 */
export function ringHeight(dbov = -127) {
  // Speech lies between about −55 (a whisper) and −15 dBov (loud).
  return Math.min(1, Math.max(0, (dbov + 55) / 40));
}
