/**
 * @param {Pick<import("./connection_stats.js").Figures, "roundTripMs" | "lossInPercent" | "lossOutPercent" | "jitterMs">} figures
 * @returns {Quality}
 */
export function qualityOf({ roundTripMs, lossInPercent, lossOutPercent, jitterMs }: Pick<import("./connection_stats.js").Figures, "roundTripMs" | "lossInPercent" | "lossOutPercent" | "jitterMs">): Quality;
/** @typedef {"in" | "out" | "both" | null} Weak  the directions in which a connection loses so much that it is heard */
/**
 * Tells from one look after the other which directions are weak.
 *
 * @returns {(figures: Pick<import("./connection_stats.js").Figures, "lossInPercent" | "lossOutPercent">) => Weak}
 */
export function weakness(): (figures: Pick<import("./connection_stats.js").Figures, "lossInPercent" | "lossOutPercent">) => Weak;
/**
 * Watches a room's connection, and tells its server when the word changes, and `onWeak` when the weak directions do. Ends with the
 * signal.
 *
 * @param {import("./voice_room.js").VoiceRoom} room
 * @param {AbortSignal} signal
 * @param {(weak: Weak) => void} onWeak
 */
export function watchQuality(room: import("./voice_room.js").VoiceRoom, signal: AbortSignal, onWeak: (weak: Weak) => void): void;
/**
 * the directions in which a connection loses so much that it is heard
 */
export type Weak = "in" | "out" | "both" | null;
export type Quality = "good" | "fair" | "poor";
