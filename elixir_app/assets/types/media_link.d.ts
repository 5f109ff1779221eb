/**
 * The offer with `stereo=1` for Opus (RFC 7587): what we want to receive.
 *
 * @param {string} sdp
 */
export function askForStereo(sdp: string): string;
/**
 * The answer with the wish for stereo of many bits, and for plain Opus: music has too many bits to be sent twice.
 *
 * @param {string} sdp
 */
export function askForMusic(sdp: string): string;
/**
 * @typedef {object} Next  the connection that is to take the place of the present one
 * @property {RTCPeerConnection} pc
 * @property {RTCRtpTransceiver} transceiver
 * @property {[string, unknown][]} heard  what came of it so far: the events `stream` and `slot`
 *
 * @typedef {object} Move  a change to a second connection
 * @property {boolean} wanted    whether that takes the place of the first as soon as it is connected
 * @property {number} failures   of second connections, in a row
 * @property {ReturnType<typeof setTimeout> | undefined} retry  the next one, or the end of the patience with this one
 * @property {ReturnType<typeof setTimeout>} limit              until we change over without being told
 */
/**
 * One voice connection to the server, kept up: one offer and one answer, sendrecv, and no renegotiation but to repair it.
 * When the server's part of it moves, there are two for a while: {@link MediaLink.move}.
 * The microphone's track may come, go and change at any time without a new offer.
 *
 * `exchange` sends an offer and resolves with the answer. It is called only while the link is meant to be up; when it
 * rejects with a retryable error the link tries again, later and later, until {@link MediaLink.pause}.
 *
 * In a room that forwards, sound comes in slots: further tracks, each on an m-line of its own.
 *
 * Events: `connected`, `lost`, `answered` (the server's answer was taken), `stream` (detail: MediaStream to play), `next` (detail: the
 * MediaStream of a second connection, before its turn; null if that comes to nothing), `slot` (detail: its number, MediaStreamTrack and
 * RTCRtpReceiver), `unreachable` (detail: what the last offer failed with, or null if its sound never came), `refused` (detail:
 * SignallingError).
 */
export class MediaLink extends EventTarget {
    static get supported(): boolean;
    /** Has the browser start what connections are made by: its first offer takes much longer than the next. */
    static warm(): void;
    /** @param {{exchange: (sdp: string) => Promise<string>}} options */
    constructor({ exchange }: {
        exchange: (sdp: string) => Promise<string>;
    });
    get connected(): boolean;
    /** @returns {RTCPeerConnection | null} for statistics */
    get peerConnection(): RTCPeerConnection | null;
    /** @param {RTCIceServer[]} servers */
    setIceServers(servers: RTCIceServer[]): void;
    /**
     * The kind of the room, for connections made from now on.
     *
     * @param {{slots?: number, stereo?: boolean}} kind  how many slots there are, and whether to ask for stereo
     */
    setKind({ slots, stereo }: {
        slots?: number;
        stereo?: boolean;
    }): void;
    /** @param {MediaStreamTrack | null} track */
    setTrack(track: MediaStreamTrack | null): void;
    /**
     * Sends music: stereo, at 128 kbit/s. The answer says what to send, so the connection gets the former answer once more, with
     * another wish in it; the server needn't know.
     *
     * @param {boolean} music
     */
    setMusic(music: boolean): void;
    /** Somebody makes music, which comes in stereo where they are heard alone, whatever the room's mix is. */
    hearMusic(): void;
    /**
     * Makes the first offer ahead, while the signalling still connects: a browser needs its time for it. It is used by the first
     * {@link MediaLink.connect}, unless the kind of the room or its ICE servers turn out to be others.
     */
    prepare(): void;
    /** Connects anew, whatever was before. */
    connect(): void;
    /**
     * The signalling is back: go on with what is there if it still works, else connect anew.
     *
     * @param {{gone?: boolean, moving?: boolean}} [options]  `gone`: the path of what is there is known not to work any more;
     *   `moving`: the server will still tell us when to change over to the second connection
     */
    resume({ gone, moving }?: {
        gone?: boolean;
        moving?: boolean;
    }): void;
    /**
     * The signalling is back, with a server that has taken the room over from another: {@link MediaLink.move}, if the sound goes on.
     *
     * @param {{gone?: boolean}} [options]  as for {@link MediaLink.resume}
     */
    rejoin({ gone }?: {
        gone?: boolean;
    }): void;
    /** Looks for another path; the sound goes on by the former one while that works. */
    restart(): void;
    /**
     * The server's part moves to another node: makes a second connection, to there, while the first goes on. Both send, and the first
     * is played until {@link MediaLink.changeOver}, or until it is lost.
     */
    move(): void;
    /** Plays the second connection, now or as soon as it is there, and ends the first. */
    changeOver(): void;
    /** The signalling is gone. The sound may well go on, so leave it; just don't try to repair anything. */
    pause(): void;
    close(): void;
    #private;
}
/**
 * the connection that is to take the place of the present one
 */
export type Next = {
    pc: RTCPeerConnection;
    transceiver: RTCRtpTransceiver;
    /**
     * what came of it so far: the events `stream` and `slot`
     */
    heard: [string, unknown][];
};
/**
 * a change to a second connection
 */
export type Move = {
    /**
     * whether that takes the place of the first as soon as it is connected
     */
    wanted: boolean;
    /**
     * of second connections, in a row
     */
    failures: number;
    /**
     * the next one, or the end of the patience with this one
     */
    retry: ReturnType<typeof setTimeout> | undefined;
    /**
     * until we change over without being told
     */
    limit: ReturnType<typeof setTimeout>;
};
