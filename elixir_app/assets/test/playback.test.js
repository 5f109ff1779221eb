// How one stream takes the place of another without a moment of neither.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Playback } from "../js/playback.js";

/** @type {Player[]} */
let made = [];
/** Speakers that aren't there. */
const unplugged = new Set();

/** An element that begins to play when it is told to. */
class Player {
  srcObject = null;
  muted = false;
  volume = 1;
  paused = true;
  sinkId = "";
  begin = () => {};
  refuse = () => {};

  constructor() {
    made.push(this);
  }

  play() {
    return new Promise((resolve, reject) => {
      this.begin = () => {
        this.paused = false;
        resolve(undefined);
      };
      this.refuse = () => reject(Object.assign(new Error(), { name: "NotAllowedError" }));
    });
  }

  /** As a browser, which takes its time. */
  async setSinkId(id) {
    await settle();
    if (unplugged.has(id)) throw new Error();
    this.sinkId = id;
  }

  /** The stream that is heard by it. */
  get heard() {
    return this.paused || this.muted || this.volume === 0 ? null : this.srcObject;
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve));
const stream = (/** @type {string} */ name) => /** @type {any} */ ({ name });

/** @type {Player} */
let ours;
/** @type {Playback} */
let playback;
const [first, second] = [stream("first"), stream("second")];

beforeEach(async () => {
  made = [];
  globalThis.Audio = /** @type {any} */ (Player);
  ours = new Player();
  playback = new Playback(/** @type {any} */ (ours));
  playback.play(first);
  ours.begin();
  await settle();
});

/** The element that plays the second stream before its turn. */
function prepared() {
  playback.prepare(second);
  const ahead = made[1];
  ahead.begin();
  return ahead;
}

test("the stream that comes next is played before, without a sound", () => {
  const ahead = prepared();
  assert.deepEqual([ahead.srcObject, ahead.heard, ours.heard], [second, null, first]);
});

test("the stream that comes next is heard at once when its turn comes, and never twice", async () => {
  const ahead = prepared();
  playback.play(second);
  ours.paused = true;
  assert.deepEqual([ahead.heard, ours.heard], [second, null]);
  ours.begin();
  assert.deepEqual([ahead.heard, ours.heard], [second, null]);
  await settle();
  assert.deepEqual([ahead.heard, ahead.srcObject, ours.heard], [null, null, second]);
});

test("a person who is deafened hears nothing while one stream takes the place of another", async () => {
  playback.mute(true);
  const ahead = prepared();
  playback.play(second);
  assert.equal(ahead.heard, null);
  playback.mute(false);
  assert.equal(ahead.heard, second);
  playback.mute(true);
  assert.equal(ahead.heard, null);
  ours.begin();
  await settle();
  assert.deepEqual([ours.heard, ours.volume], [null, 1]);
});

test("a person who is deafened, and not any more, before the turn of the next stream doesn't hear that", () => {
  const ahead = prepared();
  for (const deafened of [true, false]) {
    playback.mute(deafened);
    assert.equal(ahead.heard, null);
  }
});

const third = stream("third");
/** Each may come instead of the next stream, or during its turn. */
const interruptions = {
  "nothing after all": () => playback.prepare(null),
  "another stream to prepare": () => playback.prepare(third),
  "another stream to play": () => playback.play(third),
  "an element of its own": () => playback.playApart(),
  "the end": () => playback.end(),
};

for (const [name, interrupt] of Object.entries(interruptions)) {
  for (const turn of [false, true]) {
    test(`${name} ${turn ? "during" : "before"} the turn of the next stream leaves nothing behind`, async () => {
      ours.volume = 0.3;
      playback.mute(true);
      const ahead = prepared();
      if (turn) {
        playback.play(second);
        playback.mute(false);
        assert.deepEqual([ahead.heard, ours.volume], [second, 0]);
      }
      interrupt();
      assert.deepEqual([ahead.srcObject, ours.volume], [null, 0.3]);
      ours.begin();
      await settle();
      assert.deepEqual([ahead.srcObject, ours.volume, playback.audio.volume], [null, 0.3, 0.3]);
      // The end lets go of an element that isn't muted; nothing else changes that.
      assert.equal(playback.audio.muted, !turn && name !== "the end");
      const left = made.filter((player) => player !== /** @type {any} */ (playback.audio) && player.srcObject !== null);
      assert.deepEqual(left.map(({ srcObject, muted }) => [srcObject, muted]), name === "another stream to prepare" ? [[third, true]] : []);
    });
  }
}

test("a page whose sound is held back until a click hears the next stream after that, and nothing before", async () => {
  const ahead = prepared();
  ours.paused = true;
  playback.play(second);
  ours.refuse();
  await settle();
  assert.deepEqual([ahead.srcObject, ahead.muted, ours.volume], [null, true, 1]);
});

test("the next stream is heard from the speaker that was chosen, before it was prepared or since", async () => {
  // Each is chosen before the browser has taken any element to the one before.
  playback.useSpeaker("headphones");
  const ahead = prepared();
  await settle();
  assert.deepEqual([ours.sinkId, ahead.sinkId], ["headphones", "headphones"]);
  await playback.useSpeaker("loudspeaker");
  assert.equal(ahead.sinkId, "loudspeaker");
  await playback.useSpeaker("");
  assert.equal(ahead.sinkId, "");
  playback.play(second);
  assert.equal(ahead.heard, second);
  await playback.useSpeaker("headphones");
  assert.deepEqual([ours.sinkId, ahead.sinkId], ["headphones", "headphones"]);
});

test("the next stream isn't heard before its turn ends if its speaker isn't ours", async () => {
  const ahead = prepared();
  ours.sinkId = "the page's own choice";
  playback.play(second);
  assert.deepEqual([ahead.heard, ours.volume], [null, 1]);
  ours.begin();
  await settle();
  assert.deepEqual([ours.heard, ahead.srcObject], [second, null]);
});

test("a speaker that was unplugged leaves all where it was", async () => {
  await playback.useSpeaker("headphones");
  unplugged.add("loudspeaker");
  await playback.useSpeaker("loudspeaker");
  const ahead = prepared();
  await settle();
  assert.deepEqual([ours.sinkId, ahead.sinkId], ["headphones", "headphones"]);
});

test("a playback of its own is heard from the speaker that was chosen", async () => {
  playback.useSpeaker("headphones");
  playback.playApart();
  await settle();
  assert.equal(/** @type {any} */ (playback.audio).sinkId, "headphones");
  assert.notEqual(playback.audio, ours);
});

test("the volume that the page has set holds for the next stream, and after its turn", async () => {
  ours.volume = 0.3;
  let ahead = prepared();
  playback.prepare(null);
  assert.equal(ours.volume, 0.3);
  made.length = 1;
  ahead = prepared();
  playback.play(second);
  assert.deepEqual([ahead.heard, ahead.volume, ours.volume], [second, 0.3, 0]);
  ours.begin();
  await settle();
  assert.deepEqual([ours.heard, ours.volume], [second, 0.3]);
  playback.playApart();
  assert.equal(playback.audio.volume, 0.3);
});

test("a page that can't set the volume, as on iOS, never plays a stream twice", async () => {
  Object.defineProperty(ours, "volume", { get: () => 1, set: () => {} });
  const ahead = prepared();
  playback.play(second);
  playback.mute(true);
  playback.mute(false);
  assert.equal(ahead.heard, null);
  ours.begin();
  await settle();
  assert.deepEqual([ours.heard, ahead.srcObject], [second, null]);
});
