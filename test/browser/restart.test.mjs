// A server that is asked to stop, as with every deploy: people finish what they say, and come back by themselves.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { Server, together } from "./support/server.mjs";

const TONES = [500, 800];
let server, browser, ada, ben, ended;

before(async () => {
  [server, browser] = await together(Server.start("restart", { DRAIN_SECONDS: "10" }), openBrowser());
  [ada, ben] = await Promise.all([Person.arrive("Ada", TONES[0], { browser }), Person.arrive("Ben", TONES[1], { browser })]);
  await ada.join(server.url, "standup");
  await ben.join(server.url, "standup");
  await ada.hears([TONES[1]], TONES);
  await ben.hears([TONES[0]], TONES);
});

after(async () => {
  await everybodyGoes([ada, ben]);
  await browser?.close();
  await server?.kill();
});

async function health() {
  const response = await fetch(`${server.url}/healthz`);
  return { status: response.status, ...(await response.json()) };
}

test("while it waits, the call goes on", async () => {
  assert.equal((await health()).status, "ok");
  ended = server.terminate();
  let state;
  do state = await health();
  while (state.status !== "draining");
  assert.equal(state.participants, 2);
  await ada.page.getByRole("alert").getByText("The server is about to restart.").waitFor();
  await ada.goesOnHearing(TONES[1], 3);
  assert.equal(await ada.page.locator("#room").getAttribute("data-status"), "connected");
});

test("then it ends in good order, and everybody is told that the way back is being looked for", async () => {
  assert.equal(await ended, 0, server.log());
  for (const person of [ada, ben])
    await person.page.locator('#room[data-status="reconnecting"]').waitFor({ timeout: 20_000 });
  // One condition, one text: it isn't about to restart any more.
  for (const person of [ada, ben]) {
    await person.page.getByRole("alert").getByText("The server is about to restart.").waitFor({ state: "detached" });
    assert.match(await person.page.locator("#status").innerText(), /^(Reconnecting…|Can't reach the server\. Retrying…)$/);
  }
});

test("once it runs again, all are back without a click, muted; each opens the microphone themselves", async () => {
  await server.boot();
  await Promise.all([ada.connected(40_000), ben.connected(40_000)]);
  await ada.page.locator('[data-problem="restored"]').getByText("You're muted; unmute when you're ready.").waitFor();
  await ada.hears([], TONES, 30_000);
  await ada.page.locator('[data-problem="restored"]').getByRole("button", { name: "Unmute" }).click();
  await ben.microphone.click();
  for (const person of [ada, ben]) await person.page.locator('[data-problem="restored"]').waitFor({ state: "detached" });
  await ada.hears([TONES[1]], TONES, 30_000);
  await ben.hears([TONES[0]], TONES, 30_000);
  // Whether pages are loaded anew is LiveView's decision: it does that where a server ends its sockets as a good end.
});
