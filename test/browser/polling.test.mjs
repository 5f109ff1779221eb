// People behind a proxy that lets no WebSocket through join and talk by long polling.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { appliance } from "./support/appliance.mjs";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { Server, together } from "./support/server.mjs";

const TONES = [500, 800];
let server, browser, ben;

before(async () => {
  [server, browser] = await together(Server.start("polling"), openBrowser());
  ben = await Person.arrive("Ben", TONES[1], { browser });
  await ben.join(server.url, "standup");
});

after(async () => {
  await everybodyGoes([ben]);
  await browser?.close();
  await server?.kill();
});

async function behind(manner, use) {
  const wire = await appliance(server.port, manner);
  const ada = await Person.arrive("Ada", TONES[0], { browser });
  try {
    await ada.join(wire.url, "standup");
    await ada.hears([TONES[1]], TONES);
    await ben.hears([TONES[0]], TONES);
    await use(ada, wire);
  } finally {
    await everybodyGoes([ada]);
    await wire.close();
    await ben.participant("Ada").waitFor({ state: "detached", timeout: 40_000 });
  }
}

const signalling = async (person) => {
  await person.page.locator("#devices").click();
  await person.page.locator("#connection summary").click();
  return person.page.locator('[data-figure="signalling"]');
};

for (const manner of ["cuts", "refuses", "swallows"]) {
  test(`a proxy that ${manner} WebSockets: the page joins by polling, hears, mutes and chats`, async () => {
    await behind(manner, async (ada, { seen }) => {
      assert.ok(seen.longpoll > 4, "it didn't poll");
      // The two pages that joining takes, two sockets each, at most two tries of each.
      assert.ok(seen.websocket <= 8, `${seen.websocket} WebSockets`);
      await ada.microphone.click();
      await ben.participant("Ada").getByText("Muted").waitFor();
      await ben.hears([], TONES);
      await ada.page.locator("#chat-text").fill("Here I am.");
      await ada.page.keyboard.press("Enter");
      await ben.page.locator("#chat-log").getByText("Here I am.").last().waitFor();
      const { websocket } = seen;
      await (await signalling(ada)).getByText("Long polling, as a proxy, a firewall or a security program blocks WebSockets").waitFor();
      await sleep(3000);
      assert.equal(seen.websocket, websocket, "it went back to WebSockets");
      // A goodbye gets out of a page that closes, too.
      await ada.page.goto("about:blank");
      await ben.participant("Ada").waitFor({ state: "detached", timeout: 8000 });
    });
  });
}

test("a network that lets WebSockets through and breaks now and then: the page never polls", async () => {
  await behind("passes", async (ada, wire) => {
    await sleep(6000);
    for (let i = 0; i < 4; i += 1) {
      wire.cut();
      await sleep(300);
    }
    await ada.connected();
    await (await signalling(ada)).getByText("WebSocket", { exact: true }).waitFor();
    assert.equal(wire.seen.longpoll, 0);
    assert.ok(wire.seen.websocket >= 6);
  });
});
