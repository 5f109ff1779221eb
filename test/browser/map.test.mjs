// A room with a map: walking apart silences, walking together brings the voice back, by keys alone.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { violations } from "./support/axe.mjs";
import { everybodyGoes, HEARD, openBrowser, Person } from "./support/person.mjs";
import { Server } from "./support/server.mjs";

const TONES = [500, 1100];
const CLEO = 1700;
const ROOM = "yard";
const PATIENCE_MS = 30_000;
let server, browser, ada, ben;

before(async () => {
  [server, browser] = await Promise.all([Server.start("map", { DEMO: "on" }, undefined, { shell: true }), openBrowser()]);
  [ada, ben] = await Promise.all(["Ada", "Ben"].map((name, i) => Person.arrive(name, TONES[i], { browser })));
});

after(async () => {
  await everybodyGoes([ada, ben]);
  await browser?.close();
  await server?.kill();
});

/** Puts people on the plan, as the app may. */
async function place(positions) {
  const text = Object.entries(positions).map(([name, [x, y]]) => `"${name}" => %{x: ${x}, y: 0, z: ${y}}`);
  await server.run(`:ok = Roomtone.put_positions("${ROOM}", %{${text.join(", ")}})`);
  for (const [name, at] of Object.entries(positions))
    for (const person of [ada, ben]) await isAt(person, name, ([x, y]) => Math.hypot(x - at[0], y - at[1]) < 0.1);
}

/** Where a page shows a person. */
async function shown(person, name) {
  const transform = await person.page.locator(`[data-dot="${name}"]`).getAttribute("transform");
  return transform.match(/-?[\d.]+/g).map(Number);
}

/** Waits until a page shows a person at a fitting place. */
async function isAt(person, name, fits) {
  const deadline = Date.now() + PATIENCE_MS;
  let found;
  do {
    found = await shown(person, name);
    if (fits(found)) return found;
    await sleep(50);
  } while (Date.now() < deadline);
  assert.fail(`${name} is at ${found} on the page of ${person.name}`);
}

/** Waits until somebody who was walking has come to rest, for themselves and for the other. */
async function stands({ name }) {
  const deadline = Date.now() + PATIENCE_MS;
  let [before, now] = [null, null];
  do {
    [before, now] = [now, await Promise.all([ada, ben].map((person) => shown(person, name)))];
    if (isDeepStrictEqual(before, now)) return;
    await sleep(400);
  } while (Date.now() < deadline);
  assert.fail(`${name} walks on: ${now}`);
}

test("the form makes a room with a plan, and each page shows both people on it", async () => {
  const { page } = ada;
  await page.goto(`${server.url}/`);
  await page.getByText("Create a room").click();
  await page.locator("#name").fill("Ada");
  await page.locator("#room").fill(ROOM);
  await page.getByText("Map: walk about").click();
  await page.locator("#plan").selectOption("office");
  await page.getByRole("button", { name: "Create room" }).click();
  await ada.throughTheDoor();
  await ada.connected();
  await ben.join(server.url, ROOM);
  for (const person of [ada, ben]) for (const name of ["Ada", "Ben"]) await person.page.locator(`[data-dot="${name}"]`).waitFor({ state: "attached" });
  await ada.hears([TONES[1]], TONES);
});

test("out of range there is silence, and a walk by keys alone brings the voice back", async () => {
  await place({ Ada: [6, 10], Ben: [19, 10] });
  await ada.hears([], TONES);
  await ada.page.getByText("13 m east, out of hearing").waitFor();
  await ada.page.locator('li[data-person="Ben"] [data-does="walk"]').focus();
  await ada.page.keyboard.press("Enter");
  await isAt(ben, "Ada", ([x]) => x > 16.5);
  await ada.hears([TONES[1]], TONES);
});

test("arrow keys and W A S D walk, and a wall stops one", async () => {
  await place({ Ada: [15, 8] });
  await ada.page.locator('[data-part="drawing"]').focus();
  await ada.page.keyboard.down("ArrowRight");
  await isAt(ben, "Ada", ([x]) => x > 16);
  await ada.page.keyboard.up("ArrowRight");
  await stands(ada);
  // On a slow machine the key was down long enough to walk past the library.
  await place({ Ada: [16, 8] });
  await ada.page.keyboard.down("w");
  // The side of the library is at 5.
  await isAt(ben, "Ada", ([, y]) => y < 5.6);
  await sleep(500);
  await ada.page.keyboard.up("w");
  const [, y] = await shown(ben, "Ada");
  assert.ok(y > 5, `${y}`);
});

test("a wall silences", async () => {
  await place({ Ada: [2, 6], Ben: [2, 8] });
  // The meeting room's door lets 0.15 through.
  const [through] = await ada.steady([TONES[1]]);
  await server.run(`:ok = Roomtone.put_door_gains("${ROOM}", %{})`);
  await ada.hears([], TONES);
  // Straight ahead, as he was straight behind: neither ear is nearer.
  await place({ Ben: [2, 4] });
  await ada.changes([TONES[1]], [through], [-20 * Math.log10(0.15)], { within: 1.5 });
});

test("a page that claims to be elsewhere is put back", async () => {
  await place({ Ada: [15, 10] });
  const reply = await ada.page.evaluate(async () => {
    const { call } = await import("/assets/js/call.js");
    return await call.room.walk(1, 19);
  });
  assert.deepEqual(reply, { x: 15, y: 10, back: "too_far" });
});

/** Of the plan "office". */
const [NEAR, RANGE] = [1.5, 9];

/** How loud somebody is at the left and the right ear of a listener who looks north, in dB of one who is on that side and near. */
function model([x, y], [u, v]) {
  const [east, north] = [u - x, v - y];
  const gain = Math.max(0, 1 - (Math.max(Math.hypot(east, north), NEAR) - NEAR) / (RANGE - NEAR));
  const right = (Math.atan2(east, Math.abs(north)) / Math.PI) * 2;
  const angle = ((1 + right) * Math.PI) / 4;
  return [Math.cos(angle), Math.sin(angle)].map((side) => 20 * Math.log10(gain * side + 1e-9));
}

/** How loud a tone is for Ada at the louder ear, once two looks agree: a machine that stalls makes one read lower. @param {number} tone */
async function settled(tone) {
  const deadline = Date.now() + PATIENCE_MS;
  let [before, now] = [-200, -200];
  do {
    [before, now] = [now, Math.max(...(await ada.ears(tone)))];
    if (now > HEARD && Math.abs(now - before) <= 0.3) return now;
  } while (Date.now() < deadline);
  assert.fail(`${tone} Hz doesn't settle: ${before}, ${now} dB`);
}

/**
 * Waits until Ada hears each of the others in each ear as the model says, to 1 dB, and 20 dB softer than the other ear where the model has
 * next to nothing.
 *
 * @param {Map<string, [tone: number, level: number]>} others  by name: how loud they are from one side, and near
 */
async function hearsAsTheModelSays(others) {
  const deadline = Date.now() + PATIENCE_MS;
  let wrong;
  do {
    wrong = [];
    const me = await shown(ada, "Ada");
    for (const [name, [tone, level]] of others) {
      const wanted = model(me, await shown(ada, name)).map((change) => level + change);
      const found = await ada.ears(tone);
      const right = (ear) => (wanted[ear] < wanted[1 - ear] - 25 ? found[ear] < found[1 - ear] - 20 : Math.abs(found[ear] - wanted[ear]) <= 1);
      if (![0, 1].every(right)) wrong.push(`${name}: ${found.map(Math.round)} dB, not ${wanted.map(Math.round)}`);
    }
  } while (wrong.length > 0 && Date.now() < deadline);
  assert.deepEqual(wrong, []);
}

/** Waits until Ada's list has others in this order. @param {string} names */
async function isListed(names) {
  const listed = (wanted) => [...document.querySelectorAll("[data-part=list] li")].map((row) => row.dataset.person).join() === wanted;
  await ada.page.waitForFunction(listed, names);
}

test("each ear hears two others by their distance and side, also after a walk by keys and by a finger on the map", async () => {
  const { page } = ada;
  const cleo = await Person.arrive("Cleo", CLEO, { browser });
  try {
    await cleo.join(server.url, ROOM);
    await page.locator('[data-dot="Cleo"]').waitFor({ state: "attached" });
    await place({ Ada: [15, 10], Ben: [16, 10], Cleo: [14, 10] });
    const others = new Map();
    for (const [name, tone] of [["Ben", TONES[1]], ["Cleo", CLEO]]) others.set(name, [tone, await settled(tone)]);
    await place({ Ben: [19, 10], Cleo: [11, 10] });
    await hearsAsTheModelSays(others);
    await page.locator('[data-part="drawing"]').focus();
    await page.keyboard.down("ArrowRight");
    await isAt(ben, "Ada", ([x]) => x > 16);
    await page.keyboard.up("ArrowRight");
    await stands(ada);
    await isListed("Ben,Cleo");
    await hearsAsTheModelSays(others);
    // Ahead and to the right, at one of the fifteen directions that a mix has; and the other behind her, which sounds like ahead.
    await place({ Ada: [15, 10], Ben: [17.39, 7], Cleo: [15, 13] });
    await hearsAsTheModelSays(others);

    const [x, y] = await page.evaluate(() => {
      const plan = document.querySelector('[data-dot="Ben"]').parentNode;
      const point = new DOMPoint(20, 10).matrixTransform(plan.getScreenCTM());
      return [point.x, point.y];
    });
    await place({ Ben: [18, 10], Cleo: [13, 10] });
    await isListed("Cleo,Ben");
    const session = await page.context().newCDPSession(page);
    await session.send("Emulation.setTouchEmulationEnabled", { enabled: true });
    await session.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: [{ x, y }] });
    await isAt(ben, "Ada", ([x]) => x > 19.5);
    await session.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
    await session.send("Emulation.setTouchEmulationEnabled", { enabled: false });
    await stands(ada);
    await hearsAsTheModelSays(others);
    await cleo.leave();
  } finally {
    await cleo.go();
  }
});

test("a row of the list stays where it is while its words change", async () => {
  await place({ Ada: [15, 10], Ben: [18, 10] });
  const { page } = ada;
  await page.getByText("3 m east").waitFor();
  // Cleo's row is gone.
  await isListed("Ben");
  await page.evaluate(() => {
    globalThis.moved = 0;
    new MutationObserver((changes) => (globalThis.moved += changes.length)).observe(document.querySelector('[data-part="list"]'), { childList: true });
  });
  for (const x of [19, 20]) {
    await place({ Ben: [x, 10] });
    await page.getByText(`${x - 15} m east`).waitFor();
  }
  assert.equal(await page.evaluate(() => globalThis.moved), 0);
});

test("follows somebody", async () => {
  await place({ Ada: [15, 10], Ben: [18, 10] });
  await ada.page.locator('li[data-person="Ben"] [data-does="follow"]').click();
  await place({ Ben: [18, 17] });
  await isAt(ben, "Ada", ([x, y]) => Math.hypot(x - 18, y - 17) < 3);
  await ada.page.locator('li[data-person="Ben"] [data-does="follow"][aria-pressed="true"]').click();
});

test("everybody can use the page, as far as a program can tell", async () => {
  for (const [width, height] of [
    [1280, 800],
    [360, 740],
  ]) {
    await ada.page.setViewportSize({ width, height });
    await ada.page.evaluate(() => document.querySelector(".people").scrollTo(0, 0));
    if (process.env.SCREENSHOTS) await ada.page.screenshot({ path: `${process.env.SCREENSHOTS}/map-${width}.png` });
    assert.deepEqual(await violations(ada.page), []);
    assert.ok(await ada.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  }
});

/** The stages of a packet that is mixed, in their order. */
const JOURNEY =
  "capture frame lookahead uplink receive find open insert wait decode mix encode seal send lookahead_again place downlink buffer decode_there playout".split(" ");

test("a panel shows the journey of my sound, and leads to the page with every stage in order", async () => {
  await place({ Ada: [15, 10], Ben: [17, 10] });
  const { page } = ada;
  await page.setViewportSize({ width: 1280, height: 800 });
  // First the panel, with a row for each step, beside the people or over them.
  await page.getByRole("button", { name: "Journey of my sound" }).click();
  await page.locator('#journey-panel[data-state="going"]').waitFor({ timeout: PATIENCE_MS });
  await page.waitForFunction(() => document.querySelectorAll("#journey-panel [data-step]").length === 10, null, { timeout: PATIENCE_MS });
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 800 });
      if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/journey-panel-${scheme}-${width}.png` });
      assert.deepEqual(await violations(page), []);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
      assert.ok(await page.locator("#journey-panel").evaluate((panel) => panel.scrollWidth <= panel.clientWidth));
    }
  }
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.getByRole("link", { name: "All stages, and what each step does" }).click();
  await page.locator('#journey[data-state="going"]').waitFor({ timeout: PATIENCE_MS });
  await page.waitForFunction((stages) => stages.every((stage) => document.querySelector(`[data-stage="${stage}"]`)), JOURNEY, { timeout: PATIENCE_MS });
  await page.locator("#journey-state", { hasText: "The last packet went to Ben" }).waitFor();
  const rows = await page.locator("[data-stage]").evaluateAll((rows) =>
    rows.map((row) => ({ stage: row.dataset.stage, known: row.dataset.known, x: Number(row.querySelector("rect")?.getAttribute("x")) })),
  );
  assert.deepEqual(rows.map(({ stage }) => stage), JOURNEY);
  assert.ok(rows.every(({ x }, i) => x >= (rows[i - 1]?.x ?? 0)), JSON.stringify(rows));
  assert.equal(rows.find(({ stage }) => stage === "wait").known, "measured");
  assert.equal(rows.find(({ stage }) => stage === "uplink").known, "estimated");
  assert.equal(await page.getByRole("heading", { level: 2 }).count(), 10);
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 800 });
      if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/journey-${scheme}-${width}.png`, fullPage: true });
      assert.deepEqual(await violations(page), []);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    }
  }
  // By the keyboard: a click waits until the page has drawn two frames in the same layout.
  await page.getByRole("link", { name: "Back to the room" }).press("Enter");
  await ada.connected();
  await ada.hears([TONES[1]], TONES);
});

/**
 * How loud each ear is, in dB: left and right, over about a second and a half, words and pauses together.
 *
 * @param {Person} person
 * @returns {Promise<[number, number]>}
 */
async function speech(person) {
  return await person.page.evaluate(async () => {
    const context = new AudioContext({ sampleRate: 48000 });
    await context.resume();
    const source = context.createMediaStreamSource(document.querySelector("audio").srcObject);
    const both = new GainNode(context, { channelCount: 2, channelCountMode: "explicit" });
    const apart = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
    source.connect(both).connect(apart);
    const ears = [0, 1].map((side) => {
      const analyser = new AnalyserNode(context, { fftSize: 2048 });
      apart.connect(analyser, side);
      return analyser;
    });
    const samples = new Float32Array(2048);
    const energies = [0, 0];
    for (let look = 0; look < 30; look += 1) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      ears.forEach((analyser, side) => {
        analyser.getFloatTimeDomainData(samples);
        energies[side] += samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      });
    }
    await context.close();
    return energies.map((energy) => 10 * Math.log10(energy / 30 + 1e-12));
  });
}

test("the demo room lets one visitor hear speech, on the side where it is", async () => {
  const cem = await Person.arrive("Cem", 900, { browser });
  try {
    await cem.page.goto(`${server.url}/`);
    await cem.page.locator('[data-room-name="Demo"]').getByText("Try it alone").waitFor();
    await cem.join(server.url, "Demo");
    for (const name of ["Ida", "Jonas", "Mina", "Theo"]) await cem.page.locator(`[data-dot="${name}"]`).waitFor({ state: "attached" });
    const heard = async (x, fits) => {
      await server.run(`:ok = Roomtone.put_positions("Demo", %{"Cem" => %{x: ${x}, y: 0, z: 19}})`);
      const deadline = Date.now() + 2 * PATIENCE_MS;
      const looks = [];
      do {
        looks.push(await speech(cem));
        if (fits(...looks.at(-1))) return;
      } while (Date.now() < deadline);
      assert.fail(`at ${x} m Cem hears ${looks.map((look) => look.map(Math.round).join("/")).join(", ")} dB`);
    };
    // Those who talk most walk between 15 and 25 m.
    await heard(12.5, (left, right) => right > -55 && right > left + 3);
    await heard(27.5, (left, right) => left > -55 && left > right + 3);
    await heard(1, (left, right) => left < -80 && right < -80);
    assert.deepEqual(cem.consoleErrors, []);
  } finally {
    await cem.go();
  }
});

test("nothing was complained of", () => {
  for (const person of [ada, ben]) assert.deepEqual(person.consoleErrors, [], person.name);
});
