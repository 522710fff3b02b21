/**
 * When to knock again at a proxy that does not answer.
 */

const FIRST_MS = 400;
const LONGEST_MS = 8000;

/**
 * @param {number} attempt 0 for the first one after a loss.
 * @param {() => number} [random] From 0 up to 1.
 * @returns {number} Milliseconds to wait: doubling, capped, with up to half of it left to chance, so that a thousand
 *   pages that lost the same proxy do not come back at the same moment.
 */
export function pause(attempt, random = Math.random) {
  const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 10));
  return Math.round(most / 2 + (random() * most) / 2);
}
