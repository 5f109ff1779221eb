// Rooms with sides: who the room's policy puts on the left is heard on the left, whoever does the panning.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { Server } from "./support/server.mjs";

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
  server = await Server.start("stereo", {}, undefined, { shell: true });
  browser = await openBrowser();
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

/** Waits until Ada hears Ben as wanted: [left, right] in dB. */
async function heard(wanted, right) {
  const deadline = Date.now() + PATIENCE_MS;
  let ears;
  do {
    ears = await ada.ears(TONES[1]);
    if (right(...ears)) return ears;
  } while (Date.now() < deadline);
  assert.fail(`${wanted}, but left is ${ears[0]} dB, right ${ears[1]} dB`);
}

/** How Ben's browser encodes what it sends. */
async function sends() {
  return await ben.page.evaluate(async () => {
    const stats = [...(await globalThis.connections.at(-1).getStats()).values()];
    const out = stats.find((one) => one.type === "outbound-rtp");
    const codec = stats.find((one) => one.id === out.codecId);
    return { bitrate: out.targetBitrate, stereo: codec.sdpFmtpLine.split(";").includes("stereo=1") };
  });
}

const near = (a, b) => Math.abs(a - b) < 1;

/** Moves Ben from one side over the middle to the other; `place` is told where. */
async function goesRound(place) {
  await place(-1);
  const [full] = await heard("on the left", (left, right) => left > -60 && left - right >= 20);
  await place(0);
  await heard(`in the middle, ${full - 3} dB each`, (left, right) => near(left, right) && near(left, full - 3));
  await place(1);
  await heard(`on the right, ${full} dB`, (left, right) => right - left >= 20 && near(right, full));
}

/** By a cell of the room's table. */
const cell = (room) => async (pan) => await server.run(`Roomtone.put_mix("${room}", %{"Ada" => %{"Ben" => {0.9, ${pan}}}})`);

test("a mix in stereo", async () => {
  await enter("stage", "stereo: true");
  // Of which the server makes mono.
  assert.deepEqual(await sends(), { bitrate: 40_000, stereo: false });
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
    assert.deepEqual(await sends(), stereo ? { bitrate: 60_000, stereo: true } : { bitrate: 40_000, stereo: false });
    await goesRound(cell(room));
  });
}

test("who is in the middle is as loud in one kind of room as in the other", async () => {
  await enter("table", "kind: :mix");
  const [mixed] = await ada.steady([TONES[1]]);
  await enter("bench", "kind: :forward");
  await ada.changes([TONES[1]], [mixed], [0], { within: 1 });
});

test("nothing was complained of", () => {
  for (const person of [ada, ben]) assert.deepEqual(person.consoleErrors, [], person.name);
});
