/**
 * My own switches, and how far the server knows them. A press counts here at once; until the server has confirmed it, the
 * server's view of it is older news. Nobody but its owner opens a microphone that its owner has shut.
 */
export class OwnState {
    /** @param {Flag} flag */
    get(flag: Flag): boolean;
    /**
     * @param {Flag} flag
     * @param {boolean} value
     * @returns {boolean} whether that changed anything
     */
    press(flag: Flag, value: boolean): boolean;
    /** The microphone is shut, and nobody but its owner opens it again. @returns {boolean} whether that changed anything */
    shut(): boolean;
    /**
     * Takes in the server's view of me.
     *
     * @param {Flag} flag
     * @param {unknown} value
     * @returns {"changed" | "same" | "tell"} `tell`: the server is to be told again, for it has no say in this
     */
    heard(flag: Flag, value: unknown): "changed" | "same" | "tell";
    /** @param {Flag} flag */
    untold(flag: Flag): boolean;
    /**
     * Whether a server has to be told of it that may know nothing of me, such as that of a room opened anew.
     *
     * @param {Flag} flag
     */
    due(flag: Flag): boolean;
    /**
     * The flags to tell the server, and a function to call once it has been told.
     *
     * @param {(flag: Flag) => boolean} which
     * @returns {{values: Partial<Record<Flag, boolean>>, told: () => void}}
     */
    report(which: (flag: Flag) => boolean): {
        values: Partial<Record<Flag, boolean>>;
        told: () => void;
    };
    #private;
}
export type Flag = "muted" | "deafened" | "hand" | "microphone" | "auto_gain" | "noise_suppression" | "music";
/**
 * what is so of myself
 */
export type Own = {
    /**
     * my microphone, by me (or by the server in my name)
     */
    muted: boolean;
    deafened: boolean;
    hand: boolean;
    /**
     * whether I'm brought to the level of others, where the room does that
     */
    autoGain: boolean;
    /**
     * whether my noise is suppressed, where the room can
     */
    noiseSuppression: boolean;
    /**
     * whether I make music, which is sent as it is
     */
    music: boolean;
    /**
     * why nobody hears me, whatever my own button says
     */
    held: "silenced" | "listener" | null;
};
