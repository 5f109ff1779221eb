// The pages themselves: by keyboard alone, on a small screen, in the dark; and with the headers they should come with.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { everybodyGoes, Person } from "./support/person.mjs";
import { Server, TMP } from "./support/server.mjs";

let server, others;
const opened = [];

before(async () => {
  server = await Server.start("page");
  others = await Promise.all([Person.arrive("Ben Okafor", 500), Person.arrive("Mei", 800)]);
  for (const person of others) await person.join(server.url, "Stand-up");
  await others[1].microphone.click();
});

after(async () => {
  await everybodyGoes([...others, ...opened]);
  await server?.kill();
});

test("keyboard alone: enter, mute, leave", async () => {
  const ada = await Person.arrive("Ada", 1100);
  opened.push(ada);
  const { page } = ada;
  const focused = () => page.evaluate(() => document.activeElement?.id || document.activeElement?.textContent?.trim());
  await page.goto(`${server.url}/`);
  // Past the links at the head of every page.
  for (let i = 0; i < 4; i += 1) await page.keyboard.press("Tab");
  assert.equal(await focused(), "name");
  await page.keyboard.type("Ada");
  await page.keyboard.press("Tab");
  await page.keyboard.type("Stand-up");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Join");
  await page.keyboard.press("Enter");
  await ada.connected();

  const order = [];
  for (let i = 0; i < 30 && order.at(-1) !== "leave"; i += 1) {
    await page.keyboard.press("Tab");
    order.push(await focused());
  }
  assert.deepEqual(
    order.filter((id) => ["copy-link", "chat-text", "mute", "deafen", "hand", "devices", "leave"].includes(id)),
    ["copy-link", "chat-text", "mute", "deafen", "hand", "devices", "leave"],
  );
  for (let i = 0; i < 4; i += 1) await page.keyboard.press("Shift+Tab");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, "none", "the focus can't be seen");
  await page.keyboard.press("Space");
  assert.equal(await ada.microphone.getAttribute("aria-pressed"), "true");
  for (let i = 0; i < 4; i += 1) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => url.pathname === "/");
});

test("a screen reader finds names for everything", async () => {
  const { page } = others[0];
  await page.getByRole("heading", { level: 1, name: "Stand-up" }).waitFor();
  await page.getByRole("button", { name: "Mute microphone", pressed: false }).waitFor();
  await page.getByRole("button", { name: "Leave" }).waitFor();
  await page.getByRole("region", { name: "People in this room" }).getByRole("listitem").first().waitFor();
  await page.getByRole("status").getByText("Connected").waitFor();
});

for (const scheme of ["light", "dark"]) {
  for (const width of [1280, 360]) {
    test(`it fits: ${width} px, ${scheme}`, async () => {
      const person = await Person.arrive("Adaeze Montgomery-Featherstonehaugh", 1400, {
        context: { viewport: { width, height: 740 }, colorScheme: scheme },
      });
      opened.push(person);
      const { page } = person;
      await page.goto(`${server.url}/?room=Stand-up`);
      await page.screenshot({ path: join(TMP, `front-${width}-${scheme}.png`) });
      await noSidewaysScroll(page);
      await person.join(server.url, "Stand-up");
      await person.participant("Ben Okafor").and(page.locator('[data-speaking="true"]')).waitFor();
      await page.waitForTimeout(500);
      await page.screenshot({ path: join(TMP, `room-${width}-${scheme}.png`) });
      await noSidewaysScroll(page);
      for (const button of await page.getByRole("button").all()) {
        const { width: w, height: h } = await button.boundingBox();
        assert.ok(w >= 40 && h >= 40, `a button of ${w}×${h} px is hard to hit`);
      }
      assert.deepEqual(person.consoleErrors.slice(0, 5), []);
      await person.leave();
      opened.pop();
      await person.go();
    });
  }
}

async function noSidewaysScroll(page) {
  const [scroll, client] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(scroll <= client, `the page is ${scroll} px wide on a screen of ${client} px`);
}

test("a problem is shown so that it is seen", async () => {
  const person = await Person.arrive("Ada", 1100, {
    microphone: "refused",
    context: { viewport: { width: 360, height: 740 } },
  });
  opened.push(person);
  await person.join(server.url, "Stand-up");
  await person.page.getByRole("alert").getByText("blocked").waitFor();
  await person.page.screenshot({ path: join(TMP, "problem-360-light.png") });
  await noSidewaysScroll(person.page);
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
