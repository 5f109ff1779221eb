// A room that forwards: the same page, with the talkers' own packets in slots, and the gains applied by Web Audio.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { Server, together } from "./support/server.mjs";

const TONES = [500, 800, 1100, 1400];
let server, browser, ada, ben, cleo, dora;

before(async () => {
  [server, browser] = await together(Server.start("forward"), openBrowser());
  [ada, ben, cleo, dora] = await Promise.all(
    ["Ada", "Ben", "Cleo", "Dora"].map((name, i) => Person.arrive(name, TONES[i], { browser })),
  );
});

after(async () => {
  await everybodyGoes([ada, ben, cleo, dora]);
  await browser?.close();
  await server?.kill();
});

test("somebody makes a room that forwards, and all hear each other and not themselves", async () => {
  await ada.page.goto(`${server.url}/`);
  await ada.page.locator("[name=name]").fill("Ada");
  await ada.page.locator("[name=room]").fill("stage");
  await ada.page.getByText("Create a room").click();
  await ada.page.locator('[name=kind][value="forward"]').check();
  await ada.page.getByRole("button", { name: "Create room" }).click();
  await ada.throughTheDoor();
  await ada.connected();
  for (const person of [ben, cleo, dora]) await person.join(server.url, "stage");
  for (const [i, person] of [ada, ben, cleo, dora].entries())
    await person.hears(TONES.filter((_, j) => j !== i), TONES);
});

/** The page plays one stream, and the connection brings a track for each slot. */
test("there is a track for each slot, and one stream of them all", async () => {
  const played = await ada.page.locator("audio").first().evaluate((audio) => audio.srcObject.getAudioTracks().length);
  assert.equal(played, 1);
});

async function volume(person, name, percent) {
  await person.about(name);
  await person.setVolume(percent);
  await person.page.locator("#close-person").click();
}

test("three talkers are as loud as the listener has set them, and for nobody else", async () => {
  const others = [TONES[1], TONES[2], TONES[3]];
  const base = await ada.steady(others);
  const atBen = await ben.steady([TONES[2], TONES[3]]);
  await volume(ada, "Ben", 50);
  await volume(ada, "Dora", 200);
  await ada.changes(others, base, [-6.02, 0, 6.02]);
  await ben.changes([TONES[2], TONES[3]], atBen, [0, 0]);
  // The server doesn't send a talker whom I turned off.
  await volume(ada, "Cleo", 0);
  await ada.hears([TONES[1], TONES[3]], TONES);
  for (const name of ["Ben", "Cleo", "Dora"]) await volume(ada, name, 100);
  await ada.changes(others, base, [0, 0, 0]);
});

test("mute for me, mute and deafen work as everywhere", async () => {
  await ada.about("Dora");
  const own = ada.page.getByRole("switch", { name: "Mute for me" });
  await own.click();
  await ada.hears([TONES[1], TONES[2]], TONES);
  await ben.hears([TONES[0], TONES[2], TONES[3]], TONES);
  await own.click();
  await ada.hears([TONES[1], TONES[2], TONES[3]], TONES);
  await ada.page.locator("#close-person").click();
  await ben.microphone.click();
  await ada.hears([TONES[2], TONES[3]], TONES);
  await ben.microphone.click();
  await ada.hears([TONES[1], TONES[2], TONES[3]], TONES);
  const deafen = cleo.page.getByRole("switch", { name: "Deafen" });
  await deafen.click();
  assert.equal(await cleo.page.locator("#sound").evaluate((sound) => sound.muted), true);
  await cleo.hears([], TONES);
  await deafen.click();
  await cleo.hears([TONES[0], TONES[1], TONES[3]], TONES);
});

test("a page that is loaded anew hears all again", async () => {
  await dora.page.reload();
  await dora.throughTheDoor();
  await dora.connected();
  await dora.hears([TONES[0], TONES[1], TONES[2]], TONES);
  await ada.hears([TONES[1], TONES[2], TONES[3]], TONES);
});

test("nothing was complained of", () => {
  for (const person of [ada, ben, cleo, dora]) assert.deepEqual(person.consoleErrors, [], person.name);
});
