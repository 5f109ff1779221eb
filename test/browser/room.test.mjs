// People in a room: who is heard, who is seen, and what the buttons do.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { everybodyGoes, HEARD, openBrowser, Person, SILENT } from "./support/person.mjs";
import { Server, together } from "./support/server.mjs";
import { exactly } from "./support/exactly.mjs";

const TONES = [500, 800, 1100];
// Less than the 15 s for which the place of somebody is kept whose connection is lost.
const LEFT_MS = 10_000;
let server, browser, ada, ben, cleo;

before(async () => {
  // These three have a browser each, as people have; their microphones are files. Passers-by share one.
  [server, browser] = await together(Server.start("room"), openBrowser());
  [ada, ben, cleo] = await Promise.all([
    Person.arrive("Ada", TONES[0]),
    Person.arrive("Ben", TONES[1]),
    Person.arrive("Cleo Zoë", TONES[2]),
  ]);
});

after(async () => {
  await everybodyGoes([ada, ben, cleo]);
  await browser?.close();
  await server?.kill();
});

test("two people hear each other and not themselves", async () => {
  await ada.join(server.url, "standup");
  await ben.join(server.url, "standup");
  await ada.hears([TONES[1]], TONES);
  await ben.hears([TONES[0]], TONES);
  // Mixed at its own level: the fake microphone's tone reads about −33 dB in such a bin.
  // A machine that stalls for a moment makes a frame be concealed, which reads lower: so it may take more than one look.
  const seen = [];
  while (seen.length < 20 && !seen.some((level) => Math.abs(level + 33.5) < 3)) seen.push(...(await ada.levels([TONES[1]])));
  assert.ok(seen.length < 20, `Ben's tone reads ${seen} dB at Ada's`);
});

test("each sees who is there and who speaks", async () => {
  for (const person of [ada, ben]) {
    for (const name of ["Ada", "Ben"]) await person.participant(name).and(person.page.locator('[data-speaking="true"]')).waitFor();
    await exactly(person.page.locator("[data-participant]"), 2);
  }
  // The ring has a width of its own for each level.
  await ada.page.waitForFunction(
    () => Number(document.querySelector('[data-ring="Ben"]').style.getPropertyValue("--level")) > 0.2,
  );
});

test("a third person is heard by both, and hears both", async () => {
  await cleo.join(server.url, "standup");
  await Promise.all([
    ada.hears([TONES[1], TONES[2]], TONES),
    ben.hears([TONES[0], TONES[2]], TONES),
    cleo.hears([TONES[0], TONES[1]], TONES),
  ]);
  await ada.participant("Cleo Zoë").waitFor();
  await ada.page.getByRole("log").getByText("Cleo Zoë joined.").waitFor();
});

test("another room hears nothing of it", async () => {
  const dora = await Person.arrive("Dora", 1400, { browser });
  try {
    await dora.join(server.url, "elsewhere");
    await dora.hears([], TONES);
    await ada.hears([TONES[1], TONES[2]], [...TONES, 1400]);
  } finally {
    await dora.go();
  }
});

test("mute silences one, for everybody, and unmute undoes it", async () => {
  assert.equal(await ben.microphone.getAttribute("data-muted"), "false");
  await ben.microphone.click();
  assert.equal(await ben.microphone.getAttribute("data-muted"), "true");
  await Promise.all([ada.hears([TONES[2]], TONES), cleo.hears([TONES[0]], TONES)]);
  await ada.participant("Ben").and(ada.page.locator('[data-speaking="false"]')).waitFor();
  await ada.participant("Ben").getByText("Muted").waitFor();
  // Muted people still listen.
  await ben.hears([TONES[0], TONES[2]], TONES);

  await ben.microphone.click();
  assert.equal(await ben.microphone.getAttribute("data-muted"), "false");
  await ada.hears([TONES[1], TONES[2]], TONES);
  await ada.participant("Ben").and(ada.page.locator('[data-speaking="true"]')).waitFor();
});

// Keeps the page's socket at hand, so that a test can put words into the server's mouth.
const KEEP_SOCKET = `{
  const Plain = WebSocket;
  globalThis.WebSocket = class extends Plain {
    send(text) {
      const [joinRef, , topic, event] = JSON.parse(text);
      if (event === "phx_join" && topic.startsWith("room:"))
        globalThis.serverSays = (name, payload) => this.onmessage({ data: JSON.stringify([joinRef, null, topic, name, payload]) });
      super.send(text);
    }
  };
}`;

test("a person muted by the server sees it, sends nothing, and may undo it", async () => {
  const eve = await Person.arrive("Eve", 1400, { browser, init: KEEP_SOCKET });
  try {
    await eve.join(server.url, "standup");
    await ada.hears([TONES[1], TONES[2], 1400], [...TONES, 1400]);
    await eve.page.evaluate(() => globalThis.serverSays("participants", { changed: [{ id: "Eve", muted: true }] }));
    assert.equal(await eve.microphone.getAttribute("data-muted"), "true");
    // The server only pretended: it is the page that sends silence.
    await ada.hears([TONES[1], TONES[2]], [...TONES, 1400]);
    await eve.microphone.click();
    assert.equal(await eve.microphone.getAttribute("data-muted"), "false");
    await ada.hears([TONES[1], TONES[2], 1400], [...TONES, 1400]);
    await eve.leave();
  } finally {
    await eve.go();
  }
});

test("a person who leaves is gone, and the others go on", async () => {
  await cleo.leave();
  await cleo.page.getByText("You left the room.").waitFor();
  await ada.participant("Cleo Zoë").waitFor({ state: "detached", timeout: LEFT_MS });
  await ada.page.getByRole("log").getByText("Cleo Zoë left.").waitFor();
  await ada.hears([TONES[1]], TONES);
  await ben.hears([TONES[0]], TONES);
});

test("a person who left may come back", async () => {
  // Name and room are still in the form.
  await cleo.page.getByRole("button", { name: "Join" }).click();
  await cleo.connected();
  await ada.hears([TONES[1], TONES[2]], TONES);
  await cleo.hears([TONES[0], TONES[1]], TONES);
});

test("the address of a room alone opens no microphone", async () => {
  const eve = await Person.arrive("Eve", 1400, { browser });
  const panel = eve.page.locator("#pre-join");
  const notIn = async () => {
    await panel.waitFor();
    assert.equal(await eve.page.locator("#room").getAttribute("data-status"), "new");
  };
  try {
    await eve.join(server.url, "standup");
    const address = eve.page.url();
    await eve.leave();
    await ada.participant("Eve").waitFor({ state: "detached" });
    await eve.page.goBack();
    await notIn();
    await eve.page.goto("about:blank");
    await eve.page.goto(address);
    await notIn();
    assert.equal(await ada.participant("Eve").count(), 0);
    await eve.page.getByRole("button", { name: "Join now" }).press("Enter");
    await eve.connected();
    // The button that had the focus is gone.
    assert.equal(await eve.page.evaluate(() => document.activeElement.tagName), "H1");
    await ada.participant("Eve").waitFor();

    await eve.page.evaluate(() => {
      const link = Object.assign(document.createElement("a"), { href: "/rooms/kitchen?name=Eve", textContent: "Kitchen" });
      Object.assign(link.dataset, { phxLink: "redirect", phxLinkState: "push" });
      document.querySelector("#main").append(link);
      link.click();
    });
    await panel.getByRole("heading", { name: "Switch rooms?" }).waitFor();
    await panel.getByText("You'll leave standup when you join.").waitFor();
    await notIn();
    await ada.participant("Eve").waitFor();
    await panel.getByRole("button", { name: "Switch rooms" }).click();
    await eve.connected();
    await ada.participant("Eve").waitFor({ state: "detached" });
    await eve.leave();
  } finally {
    await eve.go();
  }
});

test("a closed page has left", async () => {
  await cleo.page.goto("about:blank");
  await ada.participant("Cleo Zoë").waitFor({ state: "detached", timeout: LEFT_MS });
});

/** Loses what a page that goes gives its sockets, as a browser may. */
const LOSE_GOODBYE = `{
  let going = false;
  addEventListener("pagehide", () => (going = true));
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (data) {
    if (!going) send.call(this, data);
  };
}`;

test("a closed page has left even if its socket lost the goodbye, in its first call and in the next", async () => {
  for (const calls of [1, 2]) {
    const eve = await Person.arrive(`Eve ${calls}`, 1400, { browser, init: LOSE_GOODBYE });
    try {
      await eve.join(server.url, "standup");
      if (calls === 2) {
        await eve.leave();
        await ada.participant(eve.name).waitFor({ state: "detached", timeout: LEFT_MS });
        await eve.page.getByRole("button", { name: "Join" }).click();
        await eve.connected();
      }
      await ada.participant(eve.name).waitFor();
      await eve.page.goto("about:blank");
      await ada.participant(eve.name).waitFor({ state: "detached", timeout: LEFT_MS });
    } finally {
      await eve.go();
    }
  }
});

test("a name in use can't be taken by another browser", async () => {
  const thief = await Person.arrive("Ada", 1400, { browser });
  try {
    // The form refuses the name in any spelling, for the room in any spelling, with another to take instead, and no room page opens.
    await thief.page.goto(`${server.url}/`);
    await thief.page.locator("#room").fill("Standup ");
    await thief.page.locator("#name").fill("aDA");
    await thief.page.getByRole("button", { name: "Join", exact: true }).click();
    await thief.page.locator("#name-error").getByText("Ada").waitFor();
    assert.equal(await thief.page.locator("#name").inputValue(), "aDA 2");
    assert.equal(await thief.page.evaluate(() => document.activeElement.id), "name");
    assert.equal(await thief.page.locator("[data-participant]").count(), 0);
    await ben.hears([TONES[0]], [...TONES, 1400]);
    // The address with the name in it is worth nothing in another browser.
    await thief.page.goto(`${server.url}/rooms/standup?name=Ben`);
    await thief.page.getByRole("button", { name: "Join" }).waitFor();
  } finally {
    await thief.go();
  }
});

test("a second page of the same person takes over, and the first one is told", async () => {
  const second = await ada.context.newPage();
  await second.goto(ada.page.url());
  // The address alone opens nobody's microphone, and isn't the person who is in the room.
  await second.locator("#chat-text:disabled").waitFor({ state: "attached" });
  await second.getByRole("button", { name: "Join now" }).click();
  await second.locator('#room[data-status="connected"]').waitFor();
  await second.locator("#chat-text:enabled").waitFor();
  await ada.page.locator('[data-problem="replaced"]').waitFor();
  // The call isn't here any more: neither is writing in its name, nor closing the room.
  await ada.page.locator("#chat-text:disabled").waitFor();
  assert.equal(await ada.page.locator("#close-room").count(), 0);
  await second.locator("#close-room").waitFor();
  await exactly(second.locator('[data-participant="Ada"]'), 1);
  await ben.hears([TONES[0]], TONES);
  await second.close();
  await ada.page.getByRole("button", { name: "Use this tab" }).click();
  await ada.connected();
  await ada.page.locator("#chat-text:enabled").waitFor();
  await ada.hears([TONES[1]], TONES);
  await ben.hears([TONES[0]], TONES);
});

test("reloading the page comes back by itself", async () => {
  await ben.page.reload();
  await ben.connected();
  await ben.hears([TONES[0]], TONES);
  await ada.hears([TONES[1]], TONES);
  await exactly(ada.page.locator("[data-participant]"), 2);
});

test("nothing was complained about in the console", () => {
  for (const person of [ada, ben, cleo]) assert.deepEqual(person.consoleErrors.slice(0, 5), [], person.name);
  assert.ok(HEARD > SILENT);
});
