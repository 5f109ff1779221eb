// An app that isn't ours, with a voice room put into it as docs/embedding.md says.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { violations } from "../browser/support/axe.mjs";
import { openBrowser, Person } from "../browser/support/person.mjs";
import { ROOT, Server } from "../browser/support/server.mjs";
import { exactly } from "../browser/support/exactly.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const TONES = [500, 800];
let server, browser, ada, ben;

before(async () => {
  server = await Server.start("embedding", {}, HERE, { ready: "/" });
  browser = await openBrowser();
  [ada, ben] = await Promise.all(["Ada", "Ben"].map((name, i) => Person.arrive(name, TONES[i], { browser })));
});

after(async () => {
  await browser?.close();
  await server?.kill();
});

const widget = (person) => person.page.locator('.voice-room[data-status="connected"]');

async function joins(person) {
  await person.page.getByRole("button", { name: "Join standup" }).click();
  await widget(person).waitFor();
}

test("two people hear each other", async () => {
  for (const person of [ada, ben]) {
    await person.page.goto(`${server.url}/sign-in?name=${person.name}`);
    await person.page.getByRole("heading", { name: `Desk of ${person.name}` }).waitFor();
    await joins(person);
  }
  await ada.hears([TONES[1]], TONES);
  await ben.hears([TONES[0]], TONES);
  for (const person of [ada, ben]) {
    for (const name of ["Ada", "Ben"]) await person.participant(name).and(person.page.locator('[data-speaking="true"]')).waitFor();
  }
});

test("everybody can use it, as far as axe can tell", async () => {
  for (const colorScheme of ["light", "dark"]) {
    await ada.page.emulateMedia({ colorScheme });
    assert.deepEqual(await violations(ada.page), [], colorScheme);
  }
});

test("mute works, and shows", async () => {
  await ben.microphone.click();
  await ada.hears([], TONES);
  await ada.participant("Ben").getByText("Ben, muted").waitFor();
  await ben.microphone.click();
  await ada.hears([TONES[1]], TONES);
});

test("the app's own view goes on beside it", async () => {
  await ada.page.getByRole("button", { name: "One more" }).click();
  await ada.page.getByText("There are 2 sheets").waitFor();
  await ada.hears([TONES[1]], TONES);
});

test("who opens a second page takes the place of the first", async () => {
  const second = await ben.context.newPage();
  await second.goto(`${server.url}/`);
  await second.getByRole("button", { name: "Join standup" }).click();
  await second.locator('.voice-room[data-status="connected"]').waitFor();
  await ben.page.locator('[data-problem="replaced"]').waitFor();
  await exactly(second.locator("[data-participant]"), 2);
  await second.close();
  await ben.page.getByRole("button", { name: "Use this tab" }).click();
  await widget(ben).waitFor();
  await ada.hears([TONES[1]], TONES);
});

test("who leaves is gone, and may come back", async () => {
  await ben.page.getByRole("button", { name: "Leave" }).click();
  await ada.participant("Ben").waitFor({ state: "detached" });
  await ada.hears([], TONES);
  await joins(ben);
  await ada.hears([TONES[1]], TONES);
});

test("the same room is an element of a page without LiveView", async () => {
  await ben.page.getByRole("button", { name: "Leave" }).click();
  await ben.page.goto(`${server.url}/plain`);
  await ben.page.getByRole("heading", { name: "Reception" }).waitFor();
  await joins(ben);
  await ada.hears([TONES[1]], TONES);
  await ben.hears([TONES[0]], TONES);
  assert.deepEqual(await violations(ben.page), []);
  // Without the element there is no call.
  await ben.page.evaluate(() => document.querySelector("voice-room").remove());
  await ada.participant("Ben").waitFor({ state: "detached" });
  await ben.page.goto(`${server.url}/`);
  await joins(ben);
  await ada.hears([TONES[1]], TONES);
});

test("nobody gets in whom the app doesn't know, nor a page of another site", async () => {
  const stranger = await Person.arrive("Eve", 1100, { browser });
  await stranger.page.goto(`${server.url}/`);
  await stranger.page.getByRole("button", { name: "Join standup" }).click();
  await stranger.page.getByRole("alert").getByText("You can't enter this room from here.").waitFor();
  await exactly(ada.page.locator("[data-participant]"), 2);
  await stranger.go();

  // With Ada's cookie, but without the token that only the app's own pages have.
  const [status, response] = await ada.page.evaluate(async () => {
    const socket = new WebSocket("/voice/websocket?vsn=2.0.0&room=standup");
    await new Promise((resolve) => (socket.onopen = resolve));
    const answer = new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(JSON.parse(data)[4])));
    socket.send(JSON.stringify(["1", "1", "room:standup", "phx_join", {}]));
    const { status, response } = await answer;
    socket.close();
    return [status, response];
  });
  assert.deepEqual([status, response.reason], ["error", "not_let_in"]);
});

test("the console complained about nothing", () => {
  for (const person of [ada, ben]) assert.deepEqual(person.consoleErrors, [], person.name);
});

test("after a crash of the server both are back in their room, muted, and open the microphone themselves", async () => {
  await server.kill();
  await server.boot();
  for (const person of [ada, ben]) {
    await person.page.locator('[data-problem="restored"]').getByText("You're muted").waitFor({ timeout: 40_000 });
    await widget(person).waitFor();
  }
  await ada.hears([], TONES);
  await ben.page.locator('[data-problem="restored"]').getByRole("button", { name: "Unmute" }).click();
  await ada.hears([TONES[1]], TONES);
  await ben.hears([], TONES);
});

test("without what it remembered, nobody is put into another room of that name", async () => {
  await server.kill();
  server.forget();
  await server.boot();
  for (const person of [ada, ben]) await person.page.locator('[data-problem="room_ended"]').waitFor({ timeout: 40_000 });
  await ada.page.getByRole("button", { name: "Open a new room" }).click();
  await widget(ada).waitFor();
  await exactly(ada.page.locator("[data-participant]"), 1);
});

test("the guide says what this app does", () => {
  const guide = readFileSync(join(ROOT, "docs/embedding.md"), "utf8");
  const blocks = [...guide.matchAll(/^`([^`\n]+)`[^\n]*:\n\n```\w+\n([\s\S]*?)^```/gm)];
  assert.ok(blocks.length >= 6, `the guide has ${blocks.length} blocks of code that name a file`);
  let lines = 0;
  for (const [, path, code] of blocks) {
    const file = plain(readFileSync(join(HERE, path), "utf8"));
    // The guide leaves something out where it has three dots.
    for (const piece of code.split(/^\s*(?:#|\/\/|<!--) \.\.\.(?: -->)?$/m)) {
      assert.ok(file.includes(plain(piece)), `${path} hasn't got what the guide says:\n${piece}`);
    }
    lines += code.split("\n").filter((line) => /\S/.test(line) && !/^\s*(#|\/\/|<!--) \.\.\./.test(line)).length;
  }
  assert.ok(lines <= 30, `${lines} lines in the guide, with those around them`);
});

/** Without what differs only by where it stands. */
function plain(code) {
  return code
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .join("\n");
}
