// Rooms with sides: who the room's policy puts on the left is heard on the left, whoever does the panning.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { Server, together } from "./support/server.mjs";

const TONES = [500, 1100];
// Keeps connections at hand.
const KEEP = `{
  const Plain = RTCPeerConnection;
  globalThis.connections = [];
  globalThis.RTCPeerConnection = class extends Plain {
    constructor(...more) {
      super(...more);
      connections.push(this);
    }
  };
}`;
const PATIENCE_MS = 30_000;
let server, browser, ada, ben;

before(async () => {
  [server, browser] = await together(Server.start("stereo", {}, undefined, { shell: true }), openBrowser());
  [ada, ben] = await Promise.all(["Ada", "Ben"].map((name, i) => Person.arrive(name, TONES[i], { browser, init: KEEP })));
});

after(async () => {
  await everybodyGoes([ada, ben]);
  await browser?.close();
  await server?.kill();
});

/** Ada and Ben in a room that was opened with these options. */
async function enter(room, options) {
  await server.run(`{:ok, _} = Roomtone.open_room("${room}", ${options})`);
  for (const person of [ada, ben]) await person.join(server.url, room);
  await ada.hears([TONES[1]], TONES);
}

/** Waits until Ada hears Ben as wanted, `times` looks in a row, of which the louder ear's agree: [left, right] in dB. */
async function heard(wanted, right, times = 1) {
  const deadline = Date.now() + PATIENCE_MS;
  let found = [];
  let ears;
  do {
    ears = await ada.ears(TONES[1]);
    found = right(...ears) ? [...found, Math.max(...ears)].slice(-times) : [];
    if (found.length === times && Math.max(...found) - Math.min(...found) <= 0.3) return ears;
  } while (Date.now() < deadline);
  assert.fail(`${wanted}, but left is ${ears[0]} dB, right ${ears[1]} dB`);
}

/** Waits until Ben's browser encodes so what it sends. */
async function sends(wanted) {
  const deadline = Date.now() + PATIENCE_MS;
  let found;
  do {
    found = await ben.page.evaluate(async () => {
      const stats = [...(await globalThis.connections.at(-1).getStats()).values()];
      const out = stats.find((one) => one.type === "outbound-rtp");
      const codec = stats.find((one) => one.id === out?.codecId);
      return { bitrate: out?.targetBitrate, stereo: codec?.sdpFmtpLine.split(";").includes("stereo=1") };
    });
    if (isDeepStrictEqual(found, wanted)) return;
    await sleep(100);
  } while (Date.now() < deadline);
  assert.deepEqual(found, wanted);
}

const near = (a, b) => Math.abs(a - b) < 1;

/** Waits until Ada hears Ben from where a panner with equal power puts him, and how loud that stays: [left, right] in dB. */
async function from(pan) {
  const apart = 20 * Math.log10(Math.tan(((1 + pan) * Math.PI) / 4));
  // Sound on one side only isn't quite silent on the other.
  const right = (left, right) => Math.max(left, right) > -60 && (Math.abs(apart) > 20 ? (right - left) * Math.sign(apart) >= 20 : near(right - left, apart));
  return await heard(`at ${pan}`, right, 3);
}

/** Moves Ben from one side over the middle to the other; `place` is told where. In the middle, each ear has so many dB of what a side has. */
async function goesRound(place, middle = -3) {
  await place(-1);
  const [full] = await from(-1);
  await place(0);
  await heard(`in the middle, ${full + middle} dB each`, (left, right) => near(left, right) && near(left, full + middle));
  await place(1);
  await heard(`on the right, ${full} dB`, (left, right) => right - left >= 20 && near(right, full));
}

/** By a cell of the room's table. */
const cell = (room) => async (pan) => await server.run(`Roomtone.put_mix("${room}", %{"Ada" => %{"Ben" => {0.9, ${pan}}}})`);

test("a mix in stereo", async () => {
  await enter("stage", "stereo: true");
  // Of which the server makes mono.
  await sends({ bitrate: 40_000, stereo: false });
  await goesRound(cell("stage"));
});

test("positions in a room with stereo", async () => {
  await enter("park", "kind: :spatial, stereo: true");
  await server.run('Roomtone.put_position("park", "Ada", %{x: 0, y: 0, z: 0})');
  await goesRound(async (side) => {
    await server.run(`Roomtone.put_position("park", "Ben", %{x: ${side}, y: 0, z: ${side === 0 ? -1 : 0}})`);
  });
});

for (const stereo of [false, true]) {
  test(`the page pans what is forwarded, ${stereo ? "also where browsers send stereo" : "as each sent it"}`, async () => {
    const room = stereo ? "choir" : "desk";
    await enter(room, `kind: :forward, forward_slots: 2, stereo: ${stereo}`);
    await sends(stereo ? { bitrate: 60_000, stereo: true } : { bitrate: 40_000, stereo: false });
    // Without stereo, who is in the middle is as loud as in a mix, and nobody is louder than that.
    await goesRound(cell(room), stereo ? -3 : 0);
  });
}

test("a talker in the middle is as loud in either kind of room", async () => {
  await enter("table", "kind: :mix");
  const [mixed] = await ada.steady([TONES[1]]);
  await enter("bench", "kind: :forward");
  await ada.changes([TONES[1]], [mixed], [0], { within: 1 });
});

test("with stereo each ear hears the same in both kinds of room", async () => {
  const places = [-1, 0, 0.5];
  const heardIn = async (room, kind) => {
    await enter(room, `kind: ${kind}, stereo: true`);
    const levels = [];
    for (const pan of places) {
      await cell(room)(pan);
      levels.push(await from(pan));
    }
    return levels;
  };
  const mixed = await heardIn("hall", ":mix");
  const forwarded = await heardIn("loft", ":forward");
  for (const [i, ears] of forwarded.entries())
    for (const side of [0, 1])
      if (mixed[i][side] > Math.max(...mixed[i]) - 20) assert.ok(near(ears[side], mixed[i][side]), `${places[i]}: ${ears} dB, mixed ${mixed[i]}`);
});

// A microphone with a tone on each side, and what was asked of it.
const STEREO_MICROPHONE = `{
  const context = new AudioContext({ sampleRate: 48000 });
  const merger = new ChannelMergerNode(context, { numberOfInputs: 2 });
  for (const [side, frequency] of [500, 1100].entries()) {
    const oscillator = new OscillatorNode(context, { frequency });
    oscillator.connect(new GainNode(context, { gain: 0.1 })).connect(merger, 0, side);
    oscillator.start();
  }
  globalThis.asked = [];
  navigator.mediaDevices.getUserMedia = async ({ audio }) => {
    asked.push(audio);
    const destination = new MediaStreamAudioDestinationNode(context, { channelCount: audio.channelCount ? 2 : 1 });
    merger.connect(destination);
    await context.resume();
    return destination.stream;
  };
}`;

test("music keeps its sides, in a room whose mix has none, from a switch on the page on", async () => {
  const cleo = await Person.arrive("Cleo", 0, { browser, init: KEEP + STEREO_MICROPHONE });
  try {
    await ben.leave();
    await server.run('{:ok, _} = Roomtone.open_room("salon")');
    await ada.join(server.url, "salon");
    await cleo.join(server.url, "salon");
    const apart = async (wanted) => {
      const deadline = Date.now() + PATIENCE_MS;
      let ears;
      do {
        ears = [await ada.ears(500), await ada.ears(1100)];
        const [[left, leftInRight], [rightInLeft, right]] = ears;
        if (Math.max(left, rightInLeft) > -60 && (wanted ? left - leftInRight > 20 && right - rightInLeft > 20 : near(left, leftInRight))) return;
      } while (Date.now() < deadline);
      assert.fail(`${wanted ? "two sides" : "one sound"} wanted, heard ${ears}`);
    };
    await apart(false);
    // The form may have prepared one that wasn't used.
    const count = () => cleo.page.evaluate(() => connections.length);
    const before = await count();
    await cleo.page.locator("#devices").click();
    await cleo.page.locator("#music").check();
    await apart(true);
    const { echoCancellation, noiseSuppression, autoGainControl } = await cleo.page.evaluate(() => asked.at(-1));
    assert.deepEqual([echoCancellation, noiseSuppression, autoGainControl], [false, false, false]);
    const bitrate = () =>
      cleo.page.evaluate(async () => [...(await connections.at(-1).getStats()).values()].find(({ type }) => type === "outbound-rtp")?.targetBitrate);
    assert.equal(await bitrate(), 128_000);
    for (const id of ["#auto-gain", "#noise-suppression"]) assert.ok(await cleo.page.locator(id).isDisabled());
    // The server may end it, too.
    await server.run('Roomtone.put_music("salon", "Cleo", false)');
    await apart(false);
    assert.ok(!(await cleo.page.locator("#music").isChecked()));
    assert.equal(await bitrate(), 40_000);
    assert.equal(await count(), before, "a connection was made anew");
    assert.deepEqual(cleo.consoleErrors, []);
  } finally {
    await everybodyGoes([cleo]);
  }
});

test("nothing was complained of", () => {
  for (const person of [ada, ben]) assert.deepEqual(person.consoleErrors, [], person.name);
});
