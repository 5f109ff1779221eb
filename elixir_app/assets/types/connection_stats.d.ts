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
     * of what we send, lately where the browser tells, else since we came
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
    /**
     * of what we hear, made up by our browser lately
     */
    concealedPercent: number | null;
    /**
     * packets of ours: lost, and brought back by copies or FEC
     */
    lostOut: {
        lost: number;
        repaired: number;
    } | null;
    /**
     * copies of earlier packets in each that the server sends us
     */
    redundancy: number | null;
    /**
     * kbit/s of the mix encoded for our connection; 0: as for everybody
     */
    reducedKbit: number | null;
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
    /**
     * samples
     */
    concealed: number;
    /**
     * samples
     */
    heard: number;
};
