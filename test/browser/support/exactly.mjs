import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** There are `count` elements, at once or soon: a page shows who is in the room a moment after it is connected. */
export async function exactly(locator, count, timeout = 15_000) {
  const end = Date.now() + timeout;
  while ((await locator.count()) !== count && Date.now() < end) await sleep(50);
  assert.equal(await locator.count(), count);
}
