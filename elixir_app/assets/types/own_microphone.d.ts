/**
 * The outcome of asking for a microphone. `unchanged`: it doesn't start, and the former one stays; `overtaken`: another one was
 * asked for meanwhile.
 *
 * @typedef {"opened" | "failed" | "unchanged" | "overtaken"} Outcome
 */
/**
 * The microphone of a call: which one, whether it is open, and what becomes of it when it is unplugged.
 *
 * Events: `track` (detail: the `MediaStreamTrack` to send, or null), `problem` and `solved`, as a room's.
 */
export class OwnMicrophone extends EventTarget {
    /**
     * @param {object} options
     * @param {boolean} options.processing  echo cancellation and the like
     * @param {string} options.device  id of the one to take, if it is there; empty: whichever the browser takes
     */
    constructor({ processing, device }: {
        processing: boolean;
        device: string;
    });
    get track(): MediaStreamTrack | null;
    /**
     * Asks for it (again).
     *
     * @returns {Promise<Outcome>}
     */
    open(): Promise<Outcome>;
    /** @param {string} device  to be taken from now on */
    choose(device: string): void;
    /**
     * Music is taken as it is, in stereo; the microphone that is open is asked for anew.
     *
     * @param {boolean} music
     */
    setMusic(music: boolean): void;
    /** @param {boolean} shut  whether it gives nothing but silence; of the present one and those that come */
    shut(shut: boolean): void;
    /** Lets it go for good. */
    close(): void;
    #private;
}
/**
 * The outcome of asking for a microphone. `unchanged`: it doesn't start, and the former one stays; `overtaken`: another one was
 * asked for meanwhile.
 */
export type Outcome = "opened" | "failed" | "unchanged" | "overtaken";
