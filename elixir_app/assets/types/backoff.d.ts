/**
 * How long to wait before the n-th try (from 1): doubling from `first` up to `most`, spread by a quarter each way so that
 * the clients of a restarted server don't all come in the same instant.
 *
 * @param {number} tries
 * @param {{first?: number, most?: number, random?: () => number}} [options]
 * @returns {number} milliseconds
 */
export function backoff(tries: number, { first, most, random }?: {
    first?: number;
    most?: number;
    random?: () => number;
}): number;
