// The buttons of a call and the signs around it: push to talk, no microphone, muted by a moderator, toasts, sounds, title, icon, lock screen.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { ROOT, Server, together } from "./support/server.mjs";

const { default: readCode } = await import(pathToFileURL(createRequire(`${ROOT}/elixir_app/assets/package.json`).resolve("qr/decode.js")));

const ROOM = "studio";
let server, browser, ada, ben, kim;

before(async () => {
  [server, browser] = await together(Server.start("controls"), openBrowser());
  [ada, ben] = await Promise.all([
    // Notes the requests to the browser; a headless one has no screen to keep on.
    Person.arrive("Ada", 500, {
      browser,
      init: `{
        globalThis.asked = { locks: 0, handlers: {}, notes: [], shared: null };
        const lock = { released: false, release() { lock.released = true; globalThis.asked.locks -= 1; } };
        Object.defineProperty(navigator, "wakeLock", { value: { request: async () => { lock.released = false; globalThis.asked.locks += 1; return lock; } } });
        const set = MediaSession.prototype.setActionHandler;
        MediaSession.prototype.setActionHandler = function (action, handler) {
          globalThis.asked.handlers[action] = handler;
          return set.call(this, action, handler);
        };
        const start = OscillatorNode.prototype.start;
        OscillatorNode.prototype.start = function (...when) {
          globalThis.asked.notes.push(Math.round(this.frequency.value));
          return start.apply(this, when);
        };
        navigator.share = async (data) => { globalThis.asked.shared = data; };
      }`,
    }),
    Person.arrive("Ben", 800, { browser }),
  ]);
  await ada.join(server.url, ROOM);
});

after(async () => {
  await everybodyGoes([ada, ben, kim]);
  await browser?.close();
  await server?.kill();
});

const state = (person) => person.page.locator("#mute").getAttribute("data-state");

test("a newcomer is announced in a toast that lets clicks through", async () => {
  await ada.page.evaluate(() => (asked.notes = []));
  await ben.join(server.url, ROOM);
  const toast = ada.page.locator("#toasts p", { hasText: "Ben joined." });
  await toast.waitFor();
  assert.equal(await toast.evaluate((line) => getComputedStyle(line).pointerEvents), "none");
  await ada.page.locator("#talking").getByText("Speaking: Ben").waitFor();
  assert.equal(await ada.page.locator("#count").innerText(), "2 people");
  assert.deepEqual(await ada.page.evaluate(() => asked.notes), [523, 784]);
});

test("every control has a tooltip, with its key where it has one", async () => {
  const titles = await ada.page.locator(".room-title button, .controls .buttons button").evaluateAll((all) => all.map(({ id, title }) => [id, title]));
  assert.deepEqual(titles.filter(([, title]) => !title), []);
  assert.equal(Object.fromEntries(titles).mute, "Mute (M)");
  assert.equal(await ada.page.locator("#mute").getAttribute("aria-keyshortcuts"), "M");
});

test("a hidden tab counts the unread messages in its title, until it is looked at", async () => {
  const { page } = ada;
  const show = (state) =>
    page.evaluate((state) => {
      Object.defineProperty(document, "visibilityState", { get: () => state, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, state);
  const title = (wanted) => page.waitForFunction((wanted) => document.title === wanted, wanted);
  await show("hidden");
  for (const text of ["Are you there?", "Hello?"]) {
    await ben.page.locator("#chat-text").fill(text);
    await ben.page.keyboard.press("Enter");
    await page.locator("#chat-log").getByText(text).waitFor();
  }
  await title("(2) studio · Roomtone");
  // My own don't count.
  await page.locator("#chat-text").fill("I am.");
  await page.keyboard.press("Enter");
  await page.locator("#chat-log").getByText("I am.").waitFor();
  await title("(2) studio · Roomtone");
  await show("visible");
  await title("studio · Roomtone");
});

test("push to talk is seen for as long as the space bar is held", async () => {
  const { page } = ada;
  await page.locator("#mute").click();
  assert.equal(await page.locator("#mute").innerText(), "Unmute");
  await page.locator("h1").click();
  await page.keyboard.down("Space");
  await page.locator('#mute[data-state="talking"]').waitFor();
  assert.equal(await page.locator("#mute").innerText(), "Talking");
  // The view's next patch leaves it as it is.
  await ben.page.locator("#hand").click();
  await ada.participant("Ben").and(page.locator('[data-hand="true"]')).waitFor();
  assert.equal(await state(ada), "talking");
  const colour = () => page.locator("#mute").evaluate((button) => getComputedStyle(button).backgroundColor);
  const talking = await colour();
  await page.keyboard.up("Space");
  await page.locator('#mute[data-state="muted"]').waitFor();
  assert.notEqual(await colour(), talking);
  await page.locator("#toasts").getByText("Ben raised their hand.").waitFor({ state: "attached" });
});

test("a person who talks while muted is told", async () => {
  await ada.page.locator("#toasts").getByText("You're muted.").waitFor({ state: "attached" });
});

test("the tab tells that I'm muted, the headset unmutes, and the screen stays on", async () => {
  const { page } = ada;
  assert.equal(await page.title(), "Muted · studio · Roomtone");
  const icon = () => page.locator("link[rel=icon][type='image/svg+xml']").getAttribute("href");
  assert.equal(await icon(), "/assets/favicon-muted.svg");
  assert.equal(await page.evaluate(() => asked.locks), 1);
  await page.evaluate(() => asked.handlers.togglemicrophone());
  await page.locator('#mute[data-state="on"]').waitFor();
  assert.equal(await page.title(), "studio · Roomtone");
  assert.equal(await icon(), "/assets/favicon-live.svg");
});

test("the button tells who muted me, and why pressing it does nothing", async () => {
  await ada.about("Ben");
  await ada.page.locator("#silence").click();
  await ben.page.locator('#mute[data-state="silenced"]').waitFor();
  assert.equal(await ben.page.locator("#mute").innerText(), "Muted by moderator");
  await ben.page.locator("#toasts").getByText("A moderator muted you.").waitFor({ state: "attached" });
  const muted = await ben.microphone.getAttribute("data-muted");
  await ben.page.locator("#mute").click();
  assert.equal(await ben.microphone.getAttribute("data-muted"), muted);
  await ada.page.locator("#silence").click();
  await ben.page.locator('#mute:not([data-state="silenced"])').waitFor();
  await ada.page.locator("#close-person").click();
});

test("another microphone is two keys away, and the focus goes back", async () => {
  const { page } = ada;
  await page.locator("#microphones").focus();
  await page.keyboard.press("Enter");
  const items = page.getByRole("menuitemradio");
  await items.first().waitFor();
  assert.equal(await items.first().getAttribute("aria-checked"), "true");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.locator("#microphone-menu").waitFor({ state: "hidden" });
  assert.equal(await page.evaluate(() => document.activeElement.id), "microphones");
});

test("the card of a person opens what can be done, from anywhere on it", async () => {
  const box = await ada.participant("Ben").boundingBox();
  await ada.page.mouse.click(box.x + 12, box.y + box.height - 12);
  await ada.page.locator("#person-panel").getByRole("heading", { name: "Ben" }).waitFor();
  await ada.page.keyboard.press("Escape");
});

/** The text of the QR code on the page, as a camera reads it. */
async function scanned(page) {
  const { size, dark } = await page.locator("#qr svg").evaluate((svg) => ({
    size: svg.viewBox.baseVal.width,
    dark: [...svg.querySelector("path").getAttribute("d").matchAll(/M(\d+) (\d+)/g)].map(([, x, y]) => [Number(x), Number(y)]),
  }));
  // Eight pixels for each module, and a white margin.
  const [scale, margin] = [8, 32];
  const width = size * scale + 2 * margin;
  const data = new Uint8Array(width * width * 4).fill(255);
  for (const [x, y] of dark) {
    for (let row = 0; row < scale; row += 1) {
      const begin = ((margin + y * scale + row) * width + margin + x * scale) * 4;
      for (let i = 0; i < scale * 4; i += 1) if (i % 4 !== 3) data[begin + i] = 0;
    }
  }
  return readCode({ width, height: width, data });
}

test("a browser that can't share has no button for it", async () => {
  const { page } = ben;
  await page.evaluate(() => delete Navigator.prototype.share);
  await page.locator("#show-invite").click();
  await page.locator("#qr svg").waitFor();
  assert.equal(await page.locator("#share").isVisible(), false);
  await page.keyboard.press("Escape");
});

test("the link to the room is one click away: to copy, to share, and as a code to scan", async () => {
  const { page } = ada;
  await ada.context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.locator("#show-invite").click();
  const field = page.locator("#room-link");
  assert.equal(await field.inputValue(), `${server.url}/rooms/${ROOM}`);
  // Selected, to be copied by hand.
  assert.equal(await page.evaluate(() => document.getSelection().toString()), `${server.url}/rooms/${ROOM}`);
  await page.locator("[data-copy=room-link]").click();
  await page.locator("[data-copy=room-link]").getByText("Copied").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), `${server.url}/rooms/${ROOM}`);
  await page.locator("#share").click();
  assert.equal(await page.evaluate(() => asked.shared.url), `${server.url}/rooms/${ROOM}`);
  await page.getByRole("img", { name: /QR code/ }).waitFor();
  assert.equal(await scanned(page), `${server.url}/rooms/${ROOM}`);
  await page.keyboard.press("Escape");
  await page.locator("#invite").waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.id), "show-invite");
});

test("the button of a person without a microphone says it, and asks again when pressed", async () => {
  kim = await Person.arrive("Kim", 1100, {
    browser,
    init: `{
      const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      let failed = false;
      navigator.mediaDevices.getUserMedia = (wanted) => {
        if (failed) return real(wanted);
        failed = true;
        return Promise.reject(new DOMException("made up by the test", "NotFoundError"));
      };
    }`,
  });
  await kim.join(server.url, ROOM);
  await kim.page.locator('#mute[data-state="none"]').waitFor();
  // The others see it, too: nobody waits for an answer.
  await ada.participant("Kim").getByText("No mic").waitFor();
  await kim.page.locator("#mute").click();
  await kim.page.locator('#mute[data-state="on"]').waitFor();
  await ada.participant("Kim").and(ada.page.locator('[data-microphone="true"][data-speaking="true"]')).waitFor();
});

test("a person who comes late has none of the messages from before, and reads why", async () => {
  assert.equal(await ada.page.locator("#chat-log [data-message]").count(), 3);
  await kim.page.locator("#chat-log").getByText("No messages since you joined.").waitFor();
  assert.equal(await kim.page.locator("#chat-log [data-message]").count(), 0);
});

test("sounds are off for a person who wants none", async () => {
  const { page } = ada;
  await page.evaluate(() => (asked.notes = []));
  await page.locator("#devices").click();
  await page.locator("#sounds").uncheck();
  await page.keyboard.press("Escape");
  await ben.page.locator("#hand").click();
  await ben.page.locator("#hand").click();
  await page.locator("#toasts").getByText("Ben raised their hand.").waitFor({ state: "attached" });
  assert.deepEqual(await page.evaluate(() => asked.notes), []);
});

test("a person who chose to join muted is muted in the next room, too", async () => {
  await kim.leave();
  // By keyboard: what was just done has the focus.
  assert.equal(await kim.page.evaluate(() => document.activeElement.id), "left");
  await kim.page.getByLabel("Join muted").check();
  await kim.join(server.url, "kitchen");
  assert.equal(await kim.microphone.getAttribute("data-muted"), "true");
  await kim.page.reload();
  await kim.connected();
  assert.equal(await kim.microphone.getAttribute("data-muted"), "true");
});

test("the headset's other button leaves, and the screen may go dark again", async () => {
  const { page } = ada;
  await page.evaluate(() => asked.handlers.hangup());
  await page.waitForURL((url) => url.pathname === "/");
  await page.waitForFunction(() => asked.locks === 0 && asked.handlers.hangup === null);
  assert.match(await page.locator("link[rel=icon][type='image/svg+xml']").getAttribute("href"), /favicon\.svg$/);
});

test("a link from somebody else's address bar leads in under one's own name", async () => {
  await kim.page.goto(`${server.url}/rooms/${ROOM}?name=Ada`);
  const panel = kim.page.getByRole("group", { name: "Ready to join?" });
  await panel.getByText("You'll join as Kim.").waitFor();
  await panel.getByRole("button", { name: "Join now" }).click();
  await ben.participant("Kim").waitFor();
  assert.equal(await ben.participant("Ada").count(), 0);
});

test("nothing was complained about in the console", () => {
  for (const person of [ada, ben, kim]) assert.deepEqual(person.consoleErrors, [], person.name);
});
