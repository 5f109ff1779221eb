// @ts-check
/** The hooks of Roomtone's components, for the LiveSocket of any Phoenix app. */
import { VoiceRoom } from "./voice_room_hook.js";

export const hooks = { VoiceRoom };
