// The page of operators, as a browser on the server's machine sees it: live, in light and dark, from 1280 to 360 px, for everybody.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { violations } from "./support/axe.mjs";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { Server, TMP } from "./support/server.mjs";

const ROOM = "Stand-up & tea";
const SHOTS = join(TMP, "operate");
let server, browser, ada, page;
const errors = [];

before(async () => {
  mkdirSync(SHOTS, { recursive: true });
  server = await Server.start("operate", {}, undefined, { shell: true });
  browser = await openBrowser();
  ada = await Person.arrive("Ada", 500, { browser });
  await ada.join(server.url, ROOM);
  page = await (await browser.newContext()).newPage();
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(`${server.url}/operate`);
});

after(async () => {
  await everybodyGoes([ada]);
  await browser?.close();
  await server?.kill();
});

test("the page shows the call that goes on, and follows it", async () => {
  await page.locator("#rooms th", { hasText: ROOM }).waitFor();
  await page.locator("#participants-now", { hasText: "1" }).waitFor();
  // The first point needs two readings, five seconds from each other; then there is traffic in the charts.
  await page.locator("#charts").waitFor({ timeout: 30_000 });
  const packets = page.locator("#chart-packets svg");
  await assert.doesNotReject(page.waitForFunction(() => /in: now (?!0 )[\d.,]+ \/s/.test(document.querySelector("#chart-packets svg").ariaLabel), null, { timeout: 30_000 }));
  assert.match(await packets.getAttribute("aria-label"), /^Packets\. in: now .* in the last ten minutes\. out: now/);
  await page.waitForFunction(() => document.querySelector("#chart-people path").getAttribute("d").includes("L"), null, { timeout: 30_000 });
});

test("a room's link shows its participants' connections, by keyboard too", async () => {
  await page.locator("#rooms a", { hasText: ROOM }).focus();
  await page.keyboard.press("Enter");
  await page.locator("#connections th", { hasText: "Ada" }).waitFor();
  await page.waitForFunction(() => Number(document.querySelector("#connections td.number").textContent.replace(",", "")) > 50);
  assert.equal(new URL(page.url()).searchParams.get("room"), ROOM);
  assert.equal(await page.locator("#room-title").textContent(), `Room ${ROOM}`);
});

for (const scheme of ["light", "dark"]) {
  for (const width of [1280, 360]) {
    test(`everything fits and axe finds nothing: ${scheme}, ${width} px`, async () => {
      await page.emulateMedia({ colorScheme: scheme });
      await page.setViewportSize({ width, height: 800 });
      await page.screenshot({ path: join(SHOTS, `${scheme}-${width}.png`), fullPage: true });
      assert.deepEqual(await violations(page), []);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(over <= 0, `${over} px wider than the window`);
    });
  }
}

test("the metrics are there for a program on this machine", async () => {
  const answer = await fetch(`${server.url}/metrics`);
  assert.equal(answer.status, 200);
  const text = await answer.text();
  assert.match(text, /^roomtone_participants 1$/m);
  assert.match(text, /^roomtone_first_sound_seconds_count\{direction="in"\} 1$/m);
  const forwarded = await fetch(`${server.url}/metrics`, { headers: { "x-forwarded-for": "192.0.2.7" } });
  assert.equal(forwarded.status, 403);
});

test("a participant's name leads to the journey of their packets", async () => {
  await page.locator("#connections a", { hasText: "Ada" }).click();
  await page.getByRole("heading", { name: "The journey of Ada's sound" }).waitFor();
  // She is alone: the server finds her packet, opens it, and has nobody to send it to.
  await page.locator("#journey-state", { hasText: "went to nobody" }).waitFor({ timeout: 30_000 });
  await page.locator('[data-stage="open"]').waitFor({ timeout: 30_000 });
  assert.deepEqual(await violations(page), []);
  await page.getByRole("link", { name: "Back to the room" }).click();
  await page.locator("#connections th", { hasText: "Ada" }).waitFor();
});

test("the browser's console stays empty", () => assert.deepEqual(errors, []));
