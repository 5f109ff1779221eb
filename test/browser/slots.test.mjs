// A room that forwards in one slot only: whoever comes into it is heard as loud as they are to be, from their first word on.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { Server } from "./support/server.mjs";

const TONES = [500, 1100, 1700];
// A page that is held up for as long as it takes to hear somebody looks too late; not each time.
const ROUNDS = 5;
const MOST_ROUNDS = 7;
let server, browser, ada, ben, cleo;

before(async () => {
  server = await Server.start("slots", {}, undefined, { shell: true });
  await server.run('{:ok, _} = Roomtone.open_room("den", kind: :forward, forward_slots: 1)');
  browser = await openBrowser();
  [ada, ben, cleo] = await Promise.all(
    ["Ada", "Ben", "Cleo"].map((name, i) => Person.arrive(name, TONES[i], { browser })),
  );
  for (const person of [ada, ben, cleo]) await person.join(server.url, "den");
});

after(async () => {
  await everybodyGoes([ada, ben, cleo]);
  await browser?.close();
  await server?.kill();
});

/** How loud each of them speaks, as an amplitude. */
async function speak(...amplitudes) {
  for (const [i, person] of [ada, ben, cleo].entries())
    await person.page.evaluate((value) => (globalThis.microphone.gain.value = value), amplitudes[i]);
}

/** How loud a tone is for Ada in the 0.7 s after these speak so. */
async function levels(tone, ...amplitudes) {
  const done = await ada.record(tone);
  await speak(...amplitudes);
  await sleep(700);
  return await done();
}

/** How loud it is once nothing changes any more. */
async function settled(tone, ...amplitudes) {
  const sorted = (await levels(tone, ...amplitudes)).slice(-60).sort((a, b) => a - b);
  return sorted[30];
}

/** Makes it so that something holds a few times. */
async function holds(round) {
  const found = [];
  let held = 0;
  while (held < ROUNDS && found.length < MOST_ROUNDS) {
    const [level, right] = await round();
    found.push(level);
    held += right ? 1 : 0;
  }
  assert.ok(held >= ROUNDS, `${found} dB`);
}

test("who is soft is never heard as loud as the one before", async () => {
  await speak(0, 0.3, 0);
  await ada.hears([TONES[1]], TONES);
  const full = await settled(TONES[1], 0, 0.3, 0);
  await server.run('Roomtone.put_mix("den", %{"Ada" => %{"Ben" => 0.1}})');
  await holds(async () => {
    // Cleo speaks so softly that the louder one gets the slot in the midst of it.
    await speak(0, 0, 0.005);
    await ada.hears([TONES[2]], [TONES[1], TONES[2]], 15_000, -66);
    const loudest = Math.max(...(await levels(TONES[1], 0, 0.3, 0.005)));
    return [loudest - full, Math.abs(loudest - full + 20) < 2];
  });
});

test("who is loud is so from the beginning, although somebody soft may come", async () => {
  const full = await settled(TONES[2], 0, 0, 0.3);
  await holds(async () => {
    await speak(0, 0, 0);
    await ada.hears([], TONES);
    const heard = await levels(TONES[2], 0, 0, 0.3);
    // In steps of 5 ms, over windows of 20 ms: from when there is anything until it is as loud as it gets.
    const rise = heard.findIndex((level) => level > full - 2) - heard.findIndex((level) => level > full - 50);
    return [rise * 5, rise > 0 && rise * 5 <= 40];
  });
});

test("nothing was complained of", () => {
  for (const person of [ada, ben, cleo]) assert.deepEqual(person.consoleErrors, [], person.name);
});
