/**
 * Notices within half a second that the path of a call is gone: another network, another port at a NAT. A browser by itself takes some
 * seconds for it, because it asks no more often whether a path that worked still does.
 *
 * Silence alone proves nothing, since a server with nothing to send sends nothing. So, when the sound stops, it asks the server by a ping:
 *
 *   - no answer: the signalling goes by a dead path, too. It is connected anew; and where it is silent even then, so is the call. An ICE
 *     restart wouldn't do: browsers prefer the pair in use for as long as they take it for one that works.
 *   - an answer, and somebody talks: ICE is restarted if the server goes on sending. That interrupts nothing: the former path is used
 *     until a new one works (RFC 8445, section 9).
 */
export class PathWatch {
    /**
     * @param {object} options
     * @param {() => RTCPeerConnection | null} options.connection  the one that should be up; null while none is
     * @param {() => boolean} options.expected  whether somebody talks, as the server says
     * @param {(ms: number) => Promise<boolean>} options.ping  whether the server answers in time
     * @param {() => Promise<number>} options.sent  packets that the server has sent us
     * @param {() => void} options.restart  restarts ICE
     * @param {() => void} options.reconnect  connects the signalling anew, and then the call if it {@link isSilent}
     * @param {() => number} [options.now]
     */
    constructor(options: {
        connection: () => RTCPeerConnection | null;
        expected: () => boolean;
        ping: (ms: number) => Promise<boolean>;
        sent: () => Promise<number>;
        restart: () => void;
        reconnect: () => void;
        now?: (() => number) | undefined;
    });
    start(): void;
    stop(): void;
    /** Whether no sound came lately. */
    get isSilent(): boolean;
    /** The browser says that its network is another one. */
    changed: () => void;
    #private;
}
