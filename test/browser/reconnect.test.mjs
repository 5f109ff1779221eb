// Calls that come back by themselves, without a click and without loading the page again.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { cuttable } from "./support/cuttable.mjs";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { Server, together } from "./support/server.mjs";
import { exactly } from "./support/exactly.mjs";

const TONES = [500, 800];
let server, browser, wire, ada, ben;

before(async () => {
  [server, browser] = await together(Server.start("reconnect"), openBrowser());
  wire = await cuttable(server.port);
  [ada, ben] = await Promise.all([Person.arrive("Ada", TONES[0], { browser }), Person.arrive("Ben", TONES[1], { browser })]);
  await ada.join(wire.url, "standup");
  await ben.join(server.url, "standup");
  await ada.hears([TONES[1]], TONES);
  await ben.hears([TONES[0]], TONES);
  await Promise.all([ada.mark(), ben.mark()]);
});

after(async () => {
  await everybodyGoes([ada, ben]);
  await browser?.close();
  await wire?.close();
  await server?.kill();
});

const nothingReloaded = async () => assert.ok((await ada.marked()) && (await ben.marked()), "a page was loaded again");

test("a cut socket comes back, and the sound never stops meanwhile", async () => {
  wire.block();
  await ada.page.locator('#room[data-status="reconnecting"]').waitFor();
  // Without a socket, what has ended can't come back.
  await ada.goesOnHearing(TONES[1]);
  // Ada's place is kept.
  await exactly(ben.participant("Ada"), 1);
  wire.restore();
  await ada.connected();
  await ben.goesOnHearing(TONES[0], 1);
  await nothingReloaded();
});

test("mute works after a reconnection, and one that was pressed meanwhile holds", async () => {
  wire.block();
  await ada.page.locator('#room[data-status="reconnecting"]').waitFor();
  await ada.microphone.click();
  await ben.hears([], TONES);
  // One condition, one text; and a message waits in its field. A socket that was cut twice within seconds is another condition.
  assert.match(
    await ada.page.locator("#status").innerText(),
    /^(Reconnecting…|Can't reach the server\. Retrying…|Each connection to the server breaks at once: .* Retrying…)$/,
  );
  assert.deepEqual(await ada.page.locator("#problems [data-problem]").allInnerTexts(), []);
  await ada.page.getByText("Your message stays here until it can be sent.").waitFor();
  await ada.page.locator("#chat-text").fill("Can you hear me?");
  await ada.page.keyboard.press("Enter");
  wire.restore();
  await ada.connected();
  await ada.page.locator("#chat-offline").waitFor({ state: "hidden" });
  if (await ada.page.locator("#chat-text").inputValue()) await ada.page.locator("#chat-text").press("Enter");
  await ben.page.locator("#chat-log").getByText("Can you hear me?").waitFor();
  await exactly(ben.page.locator("[data-message]"), 1);
  await ben.participant("Ada").getByText("Muted").waitFor();
  await ada.microphone.click();
  await ben.hears([TONES[0]], TONES);
});

test("a person whose connection stays away is out of the room after a while, and may come back", async () => {
  wire.block();
  await ben.participant("Ada").waitFor({ state: "detached", timeout: 40_000 });
  wire.restore();
  await ada.connected();
  await ada.hears([TONES[1]], TONES);
  await ben.hears([TONES[0]], TONES);
  await nothingReloaded();
});

test("a lost path of the sound is found again", async () => {
  // The server as a whole stands still for longer than ICE waits.
  server.freeze();
  await sleep(9000);
  server.thaw();
  await Promise.all([ada.connected(40_000), ben.connected(40_000)]);
  await ada.hears([TONES[1]], TONES, 30_000);
  await ben.hears([TONES[0]], TONES, 30_000);
  await nothingReloaded();
});

test("the server dies and starts again: both are back with no click, and what they hear of each other is theirs to say", async () => {
  await server.kill();
  await ada.page.locator('#room[data-status="reconnecting"]').waitFor({ timeout: 20_000 });
  await ada.page.getByRole("status").getByText(/Reconnecting|Retrying/).waitFor();
  await sleep(3000);
  await server.boot();
  await Promise.all([ada.connected(40_000), ben.connected(40_000)]);
  await ada.hears([], TONES, 30_000);
  for (const person of [ada, ben]) await person.microphone.click();
  await ada.hears([TONES[1]], TONES, 30_000);
  await ben.hears([TONES[0]], TONES, 30_000);
  await exactly(ada.page.locator("[data-participant]"), 2);
  await nothingReloaded();
});

test("a page in the background comes back, too", async () => {
  // As in a hidden tab, on which the library that keeps the socket gives up.
  await ada.page.evaluate(() => {
    Object.defineProperty(document, "visibilityState", { get: () => "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await ada.page.evaluate(() => dispatchEvent(new Event("visibilitychange")));
  wire.block();
  await ada.page.locator('#room[data-status="reconnecting"]').waitFor();
  wire.restore();
  await ada.connected(20_000);
  await ada.hears([TONES[1]], TONES);
});

test("the console complains about nothing but the lost connections", () => {
  const lost = /WebSocket connection to .* failed|Failed to load resource: net::ERR_/;
  for (const person of [ada, ben]) {
    assert.deepEqual(
      person.consoleErrors.filter((line) => !lost.test(line)),
      [],
      person.name,
    );
  }
});
