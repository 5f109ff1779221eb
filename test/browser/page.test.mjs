// The pages themselves: by keyboard alone, on a small screen, in the dark, for those who can't see them; and with the headers they
// should come with.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { violations } from "./support/axe.mjs";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { Server, TMP, together } from "./support/server.mjs";

const base64 = (bytes) => randomBytes(bytes).toString("base64").replace(/=+$/, "");
const ROOM = "Stand-up";
let server, browser, ben, mei, ada;

before(async () => {
  // With somebody in the file of users, there is a page to sign in. Nobody knows the password of the hash.
  const users = join(TMP, "users");
  writeFileSync(users, `Zoe:$argon2id$v=19$m=19456,t=2,p=1$${base64(16)}$${base64(32)}\n`);
  [server, browser] = await together(Server.start("page", { USERS_FILE: users }), openBrowser());
  [ben, mei] = await Promise.all([Person.arrive("Ben Okafor", 500, { browser }), Person.arrive("Mei", 800, { browser })]);
  for (const person of [ben, mei]) await person.join(server.url, ROOM);
  await mei.microphone.click();
  await mei.page.locator("#hand").click();
});

after(async () => {
  await everybodyGoes([ada, ben, mei]);
  await browser?.close();
  await server?.kill();
});

test("keyboard alone: enter, mute, leave", async () => {
  ada = await Person.arrive("Ada", 1100, { browser });
  const { page } = ada;
  const focused = () => page.evaluate(() => document.activeElement?.id || document.activeElement?.innerText?.trim());
  await page.goto(`${server.url}/`);
  // Past the links at the head of every page.
  for (let i = 0; i < 10 && (await focused()) !== "name"; i += 1) await page.keyboard.press("Tab");
  assert.equal(await focused(), "name");
  await page.keyboard.type("Ada");
  await page.keyboard.press("Tab");
  await page.keyboard.type("Stand-up");
  // Past "Join muted".
  for (let i = 0; i < 2; i += 1) await page.keyboard.press("Tab");
  assert.equal(await focused(), "Join");
  await page.keyboard.press("Enter");
  await ada.connected();
  // The form that had the focus is gone.
  await page.waitForFunction(() => document.activeElement?.tagName === "H1");
  // The view hears of it on its own.
  await page.locator("#chat-text:enabled").waitFor();

  const order = [];
  for (let i = 0; i < 30 && order.at(-1) !== "leave"; i += 1) {
    await page.keyboard.press("Tab");
    order.push(await focused());
  }
  assert.deepEqual(
    order.filter((id) => ["show-invite", "chat-text", "mute", "microphones", "deafen", "hand", "devices", "leave"].includes(id)),
    ["show-invite", "chat-text", "mute", "microphones", "deafen", "hand", "devices", "leave"],
  );
  for (let i = 0; i < 5; i += 1) await page.keyboard.press("Shift+Tab");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, "none", "the focus can't be seen");
  await page.keyboard.press("Space");
  assert.equal(await ada.microphone.getAttribute("data-muted"), "true");
  for (let i = 0; i < 5; i += 1) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => url.pathname === "/");
});

test("a screen reader finds names for everything", async () => {
  const { page } = ben;
  await page.getByRole("heading", { level: 1, name: "Stand-up" }).waitFor();
  await page.getByRole("button", { name: "Mute" }).waitFor();
  await page.getByRole("button", { name: "Leave" }).waitFor();
  await page.getByRole("region", { name: "People in this room" }).getByRole("listitem").first().waitFor();
  await page.getByRole("status").getByText("Connected").waitFor();
});

test("the first stop of the keyboard leads past the head of the page", async () => {
  const { page } = ada;
  await page.goto(`${server.url}/about`);
  await page.keyboard.press("Tab");
  const skip = page.getByRole("link", { name: "Skip to content" });
  assert.ok(await skip.evaluate((link) => link === document.activeElement && link.getBoundingClientRect().top >= 0));
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
});

test("the page can be installed as an app", async () => {
  const session = await ada.context.newCDPSession(ada.page);
  const { errors, data, url } = await session.send("Page.getAppManifest");
  assert.deepEqual(errors, []);
  for (const { src, sizes } of JSON.parse(data).icons) {
    // Relative to the manifest, so that a prefix holds for both.
    const [width, height] = await ada.page.evaluate(async (src) => {
      const image = Object.assign(new Image(), { src });
      await image.decode();
      return [image.naturalWidth, image.naturalHeight];
    }, new URL(src, url).href);
    if (sizes !== "any") assert.equal(`${width}x${height}`, sizes, src);
  }
  const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
  // Each person here has a private window, in which nothing is installed.
  assert.deepEqual(installabilityErrors.filter(({ errorId }) => errorId !== "in-incognito"), []);
});

test("the form to create a room has one button, at its end, and an existing room can be joined", async () => {
  const { page } = ada;
  await page.goto(`${server.url}/`);
  await page.getByText("Create a room").click();
  const buttons = page.locator("#enter button:visible");
  assert.deepEqual(await buttons.allInnerTexts(), ["Create room"]);
  assert.ok(await page.locator("#enter").evaluate((form) => [...form.querySelectorAll("input, button")].at(-1).matches("button")));
  await page.locator("#name").fill("Ada");
  await page.locator("#room").fill(ROOM.toUpperCase());
  await buttons.click();
  await page.getByText("A room with this name already exists.").waitFor();
  await looksRight(ada, "create");
  await page.getByRole("button", { name: "Join it" }).click();
  await ada.connected();
  // As it was first typed.
  await page.getByRole("heading", { level: 1, name: ROOM, exact: true }).waitFor();
  await ada.leave();
});

test("a field that was left empty is told in its own words, and the tab names the page", async () => {
  const { page } = ada;
  await page.goto(`${server.url}/`);
  for (const field of ["#name", "#room"]) await page.locator(field).fill("  ");
  await page.getByRole("button", { name: "Join", exact: true }).click();
  await page.locator("#name-error").getByText("Enter your name.").waitFor();
  await page.locator("#room-error").getByText("Enter a room name.").waitFor();
  assert.equal(await page.title(), "Join a room · Roomtone");
});

test("without a script the form works, and the room's page has no button that does nothing", async () => {
  const nora = await Person.arrive("Nora", 1400, { browser, context: { javaScriptEnabled: false } });
  try {
    await nora.join(server.url, ROOM, { waitConnected: false });
    await nora.page.locator("noscript strong", { hasText: "This page needs JavaScript." }).waitFor();
    assert.deepEqual(await nora.page.locator("button:visible, input:visible").evaluateAll((all) => all.map(({ id }) => id)), []);
  } finally {
    await nora.go();
  }
});

const sizes = [];
for (const colorScheme of ["light", "dark"]) for (const width of [1280, 360]) sizes.push({ colorScheme, width });

/**
 * Looks at what is on the screen wide and narrow, light and dark.
 *
 * @param {Person} person
 * @param {string} scene  for the screenshots
 */
async function looksRight({ page }, scene) {
  for (const { colorScheme, width } of sizes) {
    await page.setViewportSize({ width, height: 740 });
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    const where = `${scene}, ${width} px, ${colorScheme}`;
    await page.screenshot({ path: join(TMP, `${scene}-${width}-${colorScheme}.png`) });
    const [scroll, client] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    assert.ok(scroll <= client, `${where}: the page is ${scroll} px wide`);
    const small = await page.evaluate(() =>
      [...document.querySelectorAll("button, a.button, select")]
        .filter((one) => one.checkVisibility())
        .map((one) => ({ what: one.id || one.textContent.trim() || one.ariaLabel, box: one.getBoundingClientRect() }))
        .filter(({ box }) => box.width < 40 || box.height < 40)
        .map(({ what, box }) => `${what}: ${Math.round(box.width)}×${Math.round(box.height)}`),
    );
    assert.deepEqual(small, [], `${where}: hard to hit`);
    assert.deepEqual(await violations(page), [], where);
  }
  await page.setViewportSize({ width: 1280, height: 740 });
}

test("text that was typed before the page is connected is kept", async () => {
  const slow = await Person.arrive("Nia", 1400, {
    browser,
    init: `{
      const send = WebSocket.prototype.send;
      globalThis.held = location.pathname === "/" ? [] : null;
      WebSocket.prototype.send = function (text) {
        if (globalThis.held) held.push(() => send.call(this, text));
        else send.call(this, text);
      };
    }`,
  });
  try {
    const { page } = slow;
    await page.goto(`${server.url}/`);
    await page.locator("[name=name]").fill("Nia");
    await page.locator("[name=room]").fill("kitchen");
    await page.getByRole("heading", { level: 1 }).click();
    await page.waitForFunction(() => held.length > 0);
    await page.evaluate(() => {
      const waiting = held;
      globalThis.held = null;
      for (const one of waiting) one();
    });
    await page.locator("[data-phx-main].phx-connected").waitFor();
    assert.equal(await page.locator("[name=name]").inputValue(), "Nia");
    assert.equal(await page.locator("[name=room]").inputValue(), "kitchen");
    await page.getByRole("button", { name: "Join" }).click();
    await slow.connected();
    await slow.leave();
  } finally {
    await slow.go();
  }
});

test("the lobby", async () => {
  await ada.page.goto(`${server.url}/?room=${ROOM}`);
  await ada.page.locator(`[data-room-name="${ROOM}"]`).waitFor();
  await looksRight(ada, "lobby");
});

test("the lobby, with what was typed wrong", async () => {
  await ada.page.locator("[name=name]").fill("a/b");
  await ada.page.getByRole("button", { name: "Join" }).click();
  await ada.page.locator('[aria-invalid="true"]').waitFor();
  await looksRight(ada, "lobby-wrong");
});

test("how it works, and the form to sign in", async () => {
  await ada.page.goto(`${server.url}/about`);
  await looksRight(ada, "about");
  await ada.page.goto(`${server.url}/sign-in`);
  await looksRight(ada, "sign-in");
});

test("the room", async () => {
  await looksRight(ben, "room");
});

test("a person in it", async () => {
  await ben.about("Mei");
  await looksRight(ben, "room-person");
  await ben.page.locator("#close-person").click();
});

test("the panel to invite people", async () => {
  await ben.page.locator("#show-invite").click();
  await ben.page.locator("#qr svg").waitFor();
  // The panel is as high as there is room for, and scrolls as a whole.
  assert.equal(await ben.page.locator(".side").evaluate((side) => [...side.children].filter((one) => one.checkVisibility()).length), 1);
  await looksRight(ben, "room-invite");
  await ben.page.locator("#close-invite").click();
});

test("its chat", async () => {
  await mei.page.setViewportSize({ width: 360, height: 740 });
  await mei.page.locator("#show-chat").click();
  await mei.page.locator("#chat-text").fill("Hello, everybody. Does the sound reach you all right?");
  await mei.page.keyboard.press("Enter");
  await mei.page.locator("#chat-log [data-message]").waitFor();
  await looksRight(mei, "room-chat");
  await mei.page.setViewportSize({ width: 360, height: 740 });
  await mei.page.locator("#close-chat").click();
  await mei.page.setViewportSize({ width: 1280, height: 740 });
});

test("its settings, with the figures of the connection", async () => {
  await mei.page.locator("#devices").click();
  await mei.page.locator("#connection summary").click();
  await looksRight(mei, "room-settings");
  const keys = mei.page.locator("#shortcuts");
  assert.ok(await keys.isVisible());
  // A telephone has none.
  const session = await mei.context.newCDPSession(mei.page);
  await session.send("Emulation.setTouchEmulationEnabled", { enabled: true });
  await keys.waitFor({ state: "hidden" });
  await session.send("Emulation.setTouchEmulationEnabled", { enabled: false });
  // By Escape, wherever the focus is; and the focus is where it was.
  await mei.page.keyboard.press("Escape");
  await mei.page.locator("#devices-panel").waitFor({ state: "hidden" });
  assert.equal(await mei.page.evaluate(() => document.activeElement?.id), "devices");
  await mei.page.locator("#microphones").click();
  await mei.page.locator("#microphone-menu [role^=menuitem]").first().waitFor();
  assert.deepEqual(await violations(mei.page), [], "the list of microphones");
  await mei.page.keyboard.press("Escape");
});

test("the question before the room is closed", async () => {
  await ben.page.locator("#close-room").click();
  await looksRight(ben, "room-close");
  await ben.page.getByRole("button", { name: "Cancel", exact: true }).click();
});

test("the lobby, with a call elsewhere", async () => {
  await mei.page.locator("header a").first().click();
  await mei.page.locator("#call").waitFor();
  await looksRight(mei, "lobby-call");
});

/** The controls that the bar of "Join now" hides from a keyboard, and a gap below it through which something is seen. */
function behindTheBar() {
  const panel = document.querySelector("#pre-join");
  const bar = panel.querySelector(".actions");
  const wrong = [];
  for (const control of panel.querySelectorAll("a, select:enabled, input, button")) {
    if (control.checkVisibility() && !bar.contains(control)) {
      panel.scrollTo(0, 0);
      control.focus();
      const [focus, edge] = [control.getBoundingClientRect().bottom, bar.getBoundingClientRect().top];
      if (focus > edge) wrong.push(`${control.id}: ${focus} > ${edge}`);
    }
  }
  panel.scrollTo(0, 0);
  const gap = panel.getBoundingClientRect().bottom - bar.getBoundingClientRect().bottom;
  if (panel.scrollHeight > panel.clientHeight + 24 && Math.abs(gap) > 1) wrong.push(`${gap} px below the bar`);
  return wrong;
}

test("the question to a newcomer, and a problem", async () => {
  const person = await Person.arrive("Adaeze Montgomery-Featherstonehaugh", 1400, {
    browser,
    microphone: "none",
    init: `
      globalThis.permission = Object.assign(new EventTarget(), { state: "prompt" });
      navigator.permissions.query = async () => permission;
      const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => {
        if (permission.state === "granted") return real(wanted);
        throw new DOMException("made up by the test", "NotAllowedError");
      };`,
  });
  try {
    await person.join(server.url, ROOM, { waitConnected: false });
    await person.page.locator("#pre-join").getByText("blocked").waitFor();
    await looksRight(person, "pre-join");
    // In sight with all that is above it, and nothing is there to press that does nothing yet.
    for (const [width, height] of [[360, 740], [320, 568], [844, 390], [1280, 740]]) {
      await person.page.setViewportSize({ width, height });
      const { top, bottom } = await person.page.locator("#pre-join-go").evaluate((button) => button.getBoundingClientRect().toJSON());
      assert.ok(top >= 0 && bottom <= height, `${width}×${height}: "Join now" ends at ${bottom}`);
      assert.deepEqual(await person.page.evaluate(behindTheBar), [], `${width}×${height}`);
    }
    assert.equal(await person.page.locator("#show-invite:visible, #show-chat:visible, #show-journey:visible").count(), 0);
    // Allowed in the address bar, and taken back again.
    await person.page.evaluate(() => {
      permission.state = "granted";
      permission.dispatchEvent(new Event("change"));
    });
    await person.page.locator("#pre-join-words").getByText("the bar should move").waitFor();
    await person.page.evaluate(() => (permission.state = "denied"));
    await person.page.locator("#pre-join-go").click();
    await person.connected();
    await person.page.getByRole("alert").getByText("blocked").waitFor();
    await person.participant("Ben Okafor").and(person.page.locator('[data-speaking="true"]')).waitFor();
    await looksRight(person, "problem");
    await person.leave();
  } finally {
    await person.go();
  }
});

test("the page of a removed person", async () => {
  await mei.page.locator("#call-back").click();
  await mei.connected();
  await ben.about("Mei");
  await ben.page.locator("#remove").click();
  await ben.page.locator("#remove-really").click();
  await mei.page.locator("#outside").waitFor();
  await looksRight(mei, "outside");
});

test("the console complained about nothing", () => {
  for (const person of [ada, ben, mei]) {
    // A form with a mistake comes back with the status 409 or 422.
    assert.deepEqual(person.consoleErrors.filter((line) => !/status of (409|422)/.test(line)), [], person.name);
  }
});

test("the page comes with a policy that allows nothing from elsewhere", async () => {
  const answer = await fetch(`${server.url}/`);
  const policy = answer.headers.get("content-security-policy");
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, /frame-ancestors 'none'/);
  assert.doesNotMatch(policy, /unsafe|\*/);
  assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
  assert.match(answer.headers.get("permissions-policy"), /microphone=\(self\)/);
  const cookie = answer.headers.get("set-cookie");
  assert.match(cookie, /HttpOnly/i);
  assert.match(cookie, /SameSite=Lax/i);
});
