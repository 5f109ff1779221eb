import assert from "node:assert/strict";
import { test } from "node:test";
import { backoff } from "../js/backoff.js";
import { microphoneProblem, problem } from "../js/messages.js";

test("the wait doubles up to its bound, spread by a quarter each way", () => {
  const middle = (tries) => backoff(tries, { first: 100, most: 1000, random: () => 0.5 });
  assert.deepEqual([1, 2, 3, 4, 5, 1000].map(middle), [100, 200, 400, 800, 1000, 1000]);
  assert.equal(backoff(1, { first: 100, random: () => 0 }), 75);
  assert.ok(backoff(99, { most: 4000, random: () => 0.999 }) <= 5000);
});

test("each way for a microphone to fail has words of its own", () => {
  const names = ["NotAllowedError", "NotFoundError", "NotReadableError", "TypeError"];
  const problems = names.map((name) => microphoneProblem(new DOMException("", name)));
  assert.equal(new Set(problems.map((p) => p.title)).size, names.length);
  for (const { code, title, text, action } of problems) {
    assert.match(code, /^microphone_/);
    assert.match(title, /\w+ \w+.*\.$/);
    assert.ok(text.length > 20);
    assert.equal(action, "retry-microphone");
  }
});

test("what only the server knows is said in its words", () => {
  assert.equal(problem("identity_taken", "Someone with this name is already in this room.").title, "Someone with this name is already in this room.");
  assert.equal(problem("whatever").title, "Something went wrong.");
});
