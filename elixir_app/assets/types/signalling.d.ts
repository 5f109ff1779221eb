/** A request that the server answered with an error, or couldn't be asked. */
export class SignallingError extends Error {
    /** @param {any} response */
    static from(response: any): SignallingError;
    /**
     * @param {string} reason   stable code, such as `room_full`
     * @param {string} message  the server's words for people
     * @param {boolean} retry   whether the same request may work a little later
     */
    constructor(reason: string, message: string, retry: boolean);
    reason: string;
    retry: boolean;
}
/**
 * The channel `room:<name>`, kept open.
 *
 * Events: `joined` (detail: the join's reply; again after every reconnection), `lost`, `waiting` (detail: SignallingError; the
 * server isn't ready for us, we ask again), `refused` (the same, but final), and the server's pushes under their own names.
 */
export class Signalling extends EventTarget {
    /**
     * @param {object} options
     * @param {string} options.url    path of the socket, such as `/voice`
     * @param {string} options.room
     * @param {() => Record<string, unknown>} [options.params]  sent with every join
     * @param {Record<string, unknown>} [options.socketParams]  sent when the socket opens
     * @param {boolean} [options.longPoll]  whether the server offers long polling there, as Roomtone's own does
     * @param {string} options.token  lets its bearer into this room
     * @param {(() => Promise<string>) | null} [options.renew]  gets a fresh token when the old one isn't taken any more;
     *   rejects with a {@link SignallingError} whose `retry` says whether it's worth asking again
     */
    constructor({ url, room, token, params, socketParams, longPoll, renew }: {
        url: string;
        room: string;
        params?: (() => Record<string, unknown>) | undefined;
        socketParams?: Record<string, unknown> | undefined;
        longPoll?: boolean | undefined;
        token: string;
        renew?: (() => Promise<string>) | null | undefined;
    });
    /** Opens the socket and joins; goes on until {@link stop} or a refusal. */
    start(): void;
    /** Leaves the room and closes the socket for good. */
    stop(): void;
    /** @returns {boolean} */
    get joined(): boolean;
    /**
     * @param {number} ms
     * @returns {Promise<boolean>} whether the server answers within so long
     */
    answers(ms: number): Promise<boolean>;
    /** Lets go of a connection that leads nowhere, and connects anew. */
    abandon(): void;
    /**
     * @param {string} event
     * @param {Record<string, unknown>} payload
     * @returns {Promise<any>} the reply; rejects with a {@link SignallingError}
     */
    request(event: string, payload: Record<string, unknown>): Promise<any>;
    #private;
}
