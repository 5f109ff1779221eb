// @ts-check
/**
 * How long to wait before the n-th try (from 1): doubling from `first` up to `most`, spread by a quarter each way so that
 * the clients of a restarted server don't all come in the same instant.
 *
 * @param {number} tries
 * @param {{first?: number, most?: number, random?: () => number}} [options]
 * @returns {number} milliseconds
 */
export function backoff(tries, { first = 100, most = 4000, random = Math.random } = {}) {
  const plain = Math.min(most, first * 2 ** Math.min(Math.max(tries - 1, 0), 16));
  return Math.round(plain * (0.75 + random() / 2));
}
