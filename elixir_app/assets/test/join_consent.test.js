// Whether a person asked to join a room, and which one.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { install } from "./support/fakes.js";

const { askToEnter, takeAsked } = await (install(), import("../js/join_consent.js"));

beforeEach(() => {
  install();
});

test("nobody asked by the address alone", () => {
  assert.equal(takeAsked("/rooms/standup"), false);
});

test("a mark is good once, for its room", () => {
  askToEnter("/rooms/standup");
  assert.equal(takeAsked("/rooms/standup"), true);
  assert.equal(takeAsked("/rooms/standup"), false);
  askToEnter("/rooms/standup");
  assert.equal(takeAsked("/rooms/kitchen"), false);
  assert.equal(takeAsked("/rooms/standup"), false);
});

test("a form's is good for the next page, if that is a room's", () => {
  askToEnter(null);
  assert.equal(takeAsked("/rooms/standup"), true);
  askToEnter(null);
  assert.equal(takeAsked(null), false);
  assert.equal(takeAsked("/rooms/standup"), false);
});

test("a link to another page is no wish to enter", () => {
  askToEnter("/about");
  assert.equal(takeAsked("/about"), false);
});

test("it doesn't last", () => {
  askToEnter("/rooms/standup");
  const { now } = Date;
  Date.now = () => now() + 30_000;
  try {
    assert.equal(takeAsked("/rooms/standup"), false);
  } finally {
    Date.now = now;
  }
});

test("without a storage nobody goes in unasked", () => {
  Object.defineProperty(globalThis, "sessionStorage", {
    get() {
      throw new DOMException("no", "SecurityError");
    },
    configurable: true,
  });
  askToEnter("/rooms/standup");
  assert.equal(takeAsked("/rooms/standup"), false);
});
