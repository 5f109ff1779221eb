// The microphone before somebody joins, while the browser's permission for it changes.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

const settle = () => new Promise((resolve) => setImmediate(resolve));

/** @type {Record<string, any>} */
let parts;
/** @type {EventTarget & {state: string}} */
let permission;
/** The attempts to open the microphone that the browser hasn't answered yet. @type {{allow: () => any, refuse: () => void}[]} */
let asked;
/** @type {AbortController} */
let leaving;

/** @returns {any} */
function element() {
  return Object.assign(new EventTarget(), { hidden: true, textContent: "", classList: { toggle() {} }, focus() {}, querySelectorAll: () => [] });
}

beforeEach(async () => {
  parts = { "pre-join": element(), "pre-join-words": element(), "pre-join-go": element() };
  permission = Object.assign(new EventTarget(), { state: "prompt" });
  asked = [];
  leaving = new AbortController();
  const mediaDevices = {
    getUserMedia: () =>
      new Promise((resolve, reject) => {
        asked.push({
          allow() {
            const track = { readyState: "live", stop: () => (track.readyState = "ended") };
            resolve({ getAudioTracks: () => [track] });
            return track;
          },
          refuse: () => reject(new DOMException("made up by the test", "NotAllowedError")),
        });
      }),
  };
  Object.assign(globalThis, { isSecureContext: true, location: { search: "" }, document: { getElementById: (/** @type {string} */ id) => parts[id] ?? null } });
  const navigator = { mediaDevices, permissions: { query: async () => permission } };
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
  const { preJoin } = await import("../js/pre_join.js");
  preJoin(leaving.signal);
  await settle();
});

afterEach(() => leaving.abort());

/** @param {string} state */
async function becomes(state) {
  permission.state = state;
  permission.dispatchEvent(new Event("change"));
  await settle();
}

const words = () => parts["pre-join-words"].textContent;

test("a microphone that is allowed, blocked and allowed again is open, and the words tell each", async () => {
  const first = asked[0].allow();
  await settle();
  assert.match(words(), /the bar should move/);
  first.readyState = "ended";
  await becomes("denied");
  asked[1].refuse();
  await settle();
  assert.match(words(), /blocked/);
  await becomes("granted");
  const second = asked[2].allow();
  await settle();
  assert.match(words(), /the bar should move/);
  assert.equal(second.readyState, "live");
  assert.equal(asked.length, 3);
});

test("a microphone that ended when it was blocked is opened again, though no refusal was seen", async () => {
  const first = asked[0].allow();
  await settle();
  first.readyState = "ended";
  await becomes("granted");
  assert.equal(asked.length, 2);
});

test("the answer to the browser's question opens the microphone once", async () => {
  await becomes("granted");
  assert.equal(asked.length, 1);
  const track = asked[0].allow();
  await settle();
  assert.equal(asked.length, 1);
  assert.equal(track.readyState, "live");
});

test("a microphone that is blocked and allowed during an attempt is open after it", async () => {
  await becomes("denied");
  await becomes("granted");
  asked[0].refuse();
  await settle();
  assert.equal(asked.length, 2);
  const track = asked[1].allow();
  await settle();
  assert.equal(track.readyState, "live");
  await becomes("denied");
  asked[2].refuse();
  await settle();
  assert.match(words(), /blocked/);
});
