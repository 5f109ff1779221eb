/**
 * @param {Pick<import("./connection_stats.js").Figures, "roundTripMs" | "lossInPercent" | "lossOutPercent" | "jitterMs">} figures
 * @returns {Quality}
 */
export function qualityOf({ roundTripMs, lossInPercent, lossOutPercent, jitterMs }: Pick<import("./connection_stats.js").Figures, "roundTripMs" | "lossInPercent" | "lossOutPercent" | "jitterMs">): Quality;
/**
 * Watches a room's connection, and tells its server when the word changes. Ends with the signal.
 *
 * @param {import("./voice_room.js").VoiceRoom} room
 * @param {AbortSignal} signal
 */
export function watchQuality(room: import("./voice_room.js").VoiceRoom, signal: AbortSignal): void;
export type Quality = "good" | "fair" | "poor";
