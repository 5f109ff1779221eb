/**
 * The way of a page's sockets to the server: WebSockets, or long polling where a proxy, a firewall or a security program
 * lets none through.
 *
 * It starts with WebSockets and polls after two that didn't open, or that broke within 5 s, or after one that wasn't open
 * within 2.5 s. It never polls once a WebSocket has worked for 5 s: later failures are the server's, or the whole
 * network's. When polling fails it tries WebSockets again, which `longPollFallbackMs` of the library never does.
 *
 * A socket whose server offers no long polling tries WebSockets alone, each for 10 s.
 *
 * All sockets of a page share one ({@link transport}), and so what it has found out.
 */
export class Transport {
    /** @param {() => number} now  in milliseconds, for tests */
    constructor(now?: () => number);
    /** Whether sockets poll from now on. */
    get polling(): boolean;
    /**
     * Options of one Socket of the library. A socket that lived less than 5 s doesn't reset its back-off: something on the
     * way may close each one at once.
     *
     * @param {{first?: number, most?: number}} delays  between its tries, in milliseconds, see {@link backoff}
     * @param {boolean} [mayPoll]  whether the server polls there: without that, WebSockets are tried for as long as it takes
     * @returns {{transport: new (url: string, protocols?: string[]) => unknown, reconnectAfterMs: (tries: number) => number}}
     */
    options(delays: {
        first?: number;
        most?: number;
    }, mayPoll?: boolean): {
        transport: new (url: string, protocols?: string[]) => unknown;
        reconnectAfterMs: (tries: number) => number;
    };
    #private;
}
/** The page's own. */
export const transport: Transport;
