/**
 * Plays a room on an audio element, and before it, in a room that forwards, adds up its slots.
 *
 * Events: `problem` and `solved`, as a room's, where the browser holds back the sound.
 */
export class Playback extends EventTarget {
    /** @param {HTMLAudioElement} audio */
    constructor(audio: HTMLAudioElement);
    get audio(): HTMLAudioElement;
    /** @param {MediaStream} stream */
    play(stream: MediaStream): void;
    /**
     * Another stream will soon take the place of the present one. A browser closes its output when it plays nothing more, and needs 30 ms
     * to open it again, on a busy machine 100 and more. So an element of its own plays that stream before, without a sound.
     *
     * @param {MediaStream | null} stream  null: it doesn't come after all
     */
    prepare(stream: MediaStream | null): void;
    /**
     * @param {number} slot
     * @param {MediaStreamTrack} track
     * @param {RTCRtpReceiver} receiver
     */
    playSlot(slot: number, track: MediaStreamTrack, receiver: RTCRtpReceiver): void;
    /** @param {import("./forward.js").SlotMessage} message  how to play whom */
    setSlots(message: import("./forward.js").SlotMessage): void;
    /** @param {boolean} stereo  whether the room has it */
    setStereo(stereo: boolean): void;
    /** @param {boolean} muted */
    mute(muted: boolean): void;
    /** Plays what autoplay held back; call it from a click. */
    hear(): Promise<void>;
    /**
     * Plays on another speaker, where the browser allows that.
     *
     * @param {string} id  as `enumerateDevices` gives it; empty: whichever the browser takes
     */
    useSpeaker(id: string): Promise<void>;
    /** Goes on playing on an element of its own, so that another room may have the one that this was given. */
    playApart(): void;
    /** Lets go of the element, for whoever plays on it next. */
    end(): void;
    #private;
}
