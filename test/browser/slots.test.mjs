// A room that forwards in one slot only: whoever comes into it is heard as loud as they are to be, from their first word on.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { everybodyGoes, openBrowser, Person, TAPE_MS } from "./support/person.mjs";
import { Server } from "./support/server.mjs";

const TONES = [500, 1100, 1700];
const ROUNDS = 5;
const MOST_ROUNDS = 40;
// A page that looks later than this finds somebody only when they are heard already: after the look before, and after they began to be played.
const LOOK_MS = 30;
const LATE_MS = 10;
// Keeps of each look at whose sound is played how long after the one before it was, whether it found somebody, and how late.
const LOOKS = `{
  const plain = RTCRtpReceiver.prototype.getContributingSources;
  let [before, last] = [0, null];
  globalThis.looks = [];
  RTCRtpReceiver.prototype.getContributingSources = function () {
    const sources = plain.call(this);
    const now = performance.now();
    const newest = sources.reduce((best, one) => (best && best.timestamp >= one.timestamp ? best : one), null);
    const found = newest !== null && (newest.source !== last?.source || newest.timestamp > last.timestamp + 100);
    looks.push({ after: now - before, found, late: found ? performance.timeOrigin + now - newest.timestamp : 0 });
    [before, last] = [now, newest ?? last];
    return sources;
  };
}`;
let server, browser, ada, ben, cleo;

before(async () => {
  server = await Server.start("slots", {}, undefined, { shell: true });
  await server.run('{:ok, _} = Roomtone.open_room("den", kind: :forward, forward_slots: 1)');
  browser = await openBrowser();
  [ada, ben, cleo] = await Promise.all(
    ["Ada", "Ben", "Cleo"].map((name, i) => Person.arrive(name, TONES[i], { browser, init: i === 0 ? LOOKS : undefined })),
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

/** How loud a tone is for Ada in the 0.8 s after these speak so. */
async function levels(tone, ...amplitudes) {
  const done = await ada.record(tone);
  await ada.page.evaluate(() => (looks.length = 0));
  await speak(...amplitudes);
  await sleep(800);
  return await done();
}

/** Whether Ada's page had nothing else to do when it mattered, in those 0.8 s. */
async function undisturbed() {
  const looks = await ada.page.evaluate(() => globalThis.looks);
  const found = looks.filter((look) => look.found);
  return found.length > 0 && found.every(({ after, late }) => after <= LOOK_MS && late <= LATE_MS) && looks.every(({ after }) => after <= TAPE_MS);
}

/** How loud it is once nothing changes any more: what two recordings in a row agree on, since a machine that stalls makes one softer. */
async function settled(tone, ...amplitudes) {
  const found = [];
  while (found.length < 10) {
    const sorted = (await levels(tone, ...amplitudes)).slice(-60).sort((a, b) => a - b);
    found.push(sorted[30]);
    const [before, now] = found.slice(-2);
    if (Math.abs(now - before) <= 0.5) return now;
  }
  throw new Error(`${tone} Hz doesn't settle: ${found.map((level) => level.toFixed(1)).join(", ")} dB`);
}

/**
 * Makes it so a few times, of the rounds in which the page wasn't held up as far as it can tell itself. Its audio thread or the whole browser may be all the
 * same, so it must be right in most of them; where gains came too late by design, it would be right in none.
 */
async function holds(t, round) {
  const rounds = [];
  for (let tries = 0; tries < MOST_ROUNDS && rounds.length < ROUNDS; tries += 1) {
    const [found, right] = await round();
    if (await undisturbed()) rounds.push({ found, right });
  }
  const all = rounds.map(({ found }) => found).join(", ");
  t.diagnostic(all);
  if (rounds.length < ROUNDS) return t.skip("the machine is too busy");
  assert.ok(rounds.filter(({ right }) => right).length > ROUNDS / 2, all);
}

test("a soft talker is never as loud as the one before", async (t) => {
  await speak(0, 0.3, 0);
  await ada.hears([TONES[1]], TONES);
  const full = await settled(TONES[1], 0, 0.3, 0);
  await server.run('Roomtone.put_mix("den", %{"Ada" => %{"Ben" => 0.1}})');
  await holds(t, async () => {
    // Cleo speaks so softly that the louder one gets the slot meanwhile.
    await speak(0, 0, 0.005);
    await ada.hears([TONES[2]], [TONES[1], TONES[2]], 15_000, -66);
    const loudest = Math.max(...(await levels(TONES[1], 0, 0.3, 0.005)));
    // A talker who stayed as loud as before for a few milliseconds has a little more than their -20 dB.
    return [`${(loudest - full).toFixed(1)} dB`, loudest - full > -22 && loudest - full < -14];
  });
});

test("a loud talker is loud from the beginning, although a soft one may come", async (t) => {
  const full = await settled(TONES[2], 0, 0, 0.3);
  await holds(t, async () => {
    await speak(0, 0, 0);
    await ada.hears([], TONES);
    const heard = await levels(TONES[2], 0, 0, 0.3);
    // In steps of 5 ms, over windows of 20 ms: from when there is anything until it is as loud as it gets.
    const loud = heard.findIndex((level) => level > full - 2);
    const rise = loud - heard.findIndex((level) => level > full - 50);
    return [loud < 0 ? "never" : `${rise * 5} ms`, loud >= 0 && rise * 5 <= 40];
  });
});

test("nothing was complained of", () => {
  for (const person of [ada, ben, cleo]) assert.deepEqual(person.consoleErrors, [], person.name);
});
