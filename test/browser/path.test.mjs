// Roomtone under a path of a host that has other things, behind Debian's nginx and haproxy.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { haproxy, noHaproxy } from "./support/haproxy.mjs";
import { nginx, noNginx } from "./support/nginx.mjs";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { Server, together } from "./support/server.mjs";

const TONES = [500, 800];
let server, browser, ada, ben;

before(async () => {
  if (noNginx && noHaproxy) return;
  [server, browser] = await together(Server.start("path", { PHX_PATH: "/voice", TRUSTED_PROXIES: "127.0.0.1" }), openBrowser());
  [ada, ben] = await Promise.all([Person.arrive("Ada", TONES[0], { browser }), Person.arrive("Ben", TONES[1], { browser })]);
});

after(async () => {
  await everybodyGoes([ada, ben].filter(Boolean));
  await browser?.close();
  await server?.kill();
});

for (const [manner, skip, open] of [
  ["nginx passes on", noNginx, () => nginx({ "/voice": server.port })],
  ["nginx takes away", noNginx, () => nginx({ "/voice": server.port }, { takesAway: true })],
  ["haproxy passes on", noHaproxy, () => haproxy({ "/voice": server.port })],
]) {
  test(`${manner} the path: two people meet under it and ask for nothing outside`, { skip }, async () => {
    const front = await open();
    try {
      await meet(front);
    } finally {
      await front.close();
    }
  });
}

async function meet(front) {
  const asked = [];
  for (const { page } of [ada, ben]) {
    page.on("request", (request) => asked.push(request.url()));
    page.on("websocket", (socket) => asked.push(socket.url()));
    page.on("response", (response) => response.status() >= 400 && asked.push(`${response.status()} for ${response.url()}`));
  }
  await ada.join(`${front.url}/voice`, "standup");
  await ben.join(`${front.url}/voice`, "standup");
  await ada.hears([TONES[1]], TONES);
  await ben.hears([TONES[0]], TONES);
  assert.equal(new URL(ada.page.url()).pathname, "/voice/rooms/standup");

  // To the lobby and back, within the one document.
  await ada.mark();
  await ada.page.locator(".brand").click();
  await ada.page.locator("#call:not([hidden])").waitFor();
  assert.equal(new URL(ada.page.url()).pathname, "/voice/");
  await ada.page.locator("#call-back").click();
  await ada.connected();
  assert.ok(await ada.marked(), "a page was loaded again");
  assert.equal(new URL(ada.page.url()).pathname, "/voice/rooms/standup");

  await ada.page.reload();
  await ada.connected();
  await ada.hears([TONES[1]], TONES);

  await ada.page.locator("#leave").click();
  await ada.page.waitForURL(`${front.url}/voice/?*`);
  const icon = await ada.page.locator("link[rel=icon][type='image/svg+xml']").getAttribute("href");
  assert.equal(icon, "/voice/assets/favicon.svg");

  const cookies = await ada.context.cookies(`${front.url}/voice/`);
  assert.deepEqual([...new Set(cookies.map(({ name, path }) => `${name} ${path}`))], ["_roomtone /voice"]);
  assert.ok(asked.filter((url) => url.startsWith("ws:")).length >= 4);
  const there = (url) => url.startsWith("data:") || url.startsWith("blob:") || new RegExp(`^(http|ws)://localhost:\\d+/voice(/|$)`).test(url);
  assert.deepEqual(asked.filter((url) => !there(url)), []);
  assert.equal(await (await fetch(`${front.url}/rooms/standup`)).text(), "another app");
  await ben.page.locator("#leave").click();
  await ben.page.waitForURL(`${front.url}/voice/?*`);
  for (const { page } of [ada, ben]) page.removeAllListeners();
}
