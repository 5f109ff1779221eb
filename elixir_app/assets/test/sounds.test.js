// The sounds of a call: which are heard right after each other.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { install } from "./support/fakes.js";

const { announceCall } = await (install(), import("../js/announcements.js"));
const { chime, wantSounds } = await import("../js/sounds.js");

/** The notes of each sound that was played. @type {number[][]} */
let played;

class FakeNode {
  gain = { setTargetAtTime() {} };
  connect(next) {
    return next;
  }
  start() {}
  stop() {}
}

beforeEach(() => {
  install();
  played = [];
  globalThis.AudioContext = class {
    currentTime = 0;
    notes = [];
    constructor() {
      played.push(this.notes);
    }
    close() {}
  };
  globalThis.GainNode = FakeNode;
  globalThis.OscillatorNode = class extends FakeNode {
    constructor(context, { frequency }) {
      super();
      context.notes.push(frequency);
    }
  };
});

test("a recording is heard right after somebody joined, and any other sound isn't", (context) => {
  context.mock.method(performance, "now", () => 60_000);
  const call = new EventTarget();
  announceCall(call, (_text, sound) => sound && chime(sound));
  const tell = (name, detail) => call.dispatchEvent(new CustomEvent(name, { detail }));
  tell("joined", { name: "Ben" });
  tell("recording", true);
  tell("left", { name: "Ben" });
  tell("recording", false);
  assert.deepEqual(played, [[523, 784], [587, 587, 880], [880, 587, 587]]);
});

test("a recording isn't heard by somebody who has switched off sounds", () => {
  wantSounds(false);
  chime("recording");
  assert.deepEqual(played, []);
});
