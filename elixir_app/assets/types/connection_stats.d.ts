/**
 * @param {Iterable<any>} entries  of an RTCStatsReport
 * @param {Record<string, any> | null} server
 * @param {Counted | null} before
 * @returns {{figures: Figures, counted: Counted}}
 */
export function figures(entries: Iterable<any>, server: Record<string, any> | null, before: Counted | null): {
    figures: Figures;
    counted: Counted;
};
/**
 * null: not known (yet)
 */
export type Figures = {
    roundTripMs: number | null;
    /**
     * of what the server sends us, lately
     */
    lossInPercent: number | null;
    /**
     * of what we send, since we came
     */
    lossOutPercent: number | null;
    jitterMs: number | null;
    codec: string | null;
    /**
     * per second
     */
    kbitIn: number | null;
    kbitOut: number | null;
    /**
     * how long our browser holds sound back to even it out
     */
    bufferMs: number | null;
    /**
     * how long the server takes with our sound
     */
    serverMs: number | null;
};
/**
 * what is kept from one look for the next
 */
export type Counted = {
    /**
     * ms
     */
    at: number;
    /**
     * packets
     */
    received: number;
    lost: number;
    bytesIn: number;
    bytesOut: number;
    /**
     * s, summed over samples
     */
    delay: number;
    /**
     * samples
     */
    emitted: number;
};
