export namespace hooks {
    export { VoiceRoom };
}
import { VoiceRoom } from "./voice_room_hook.js";
