// The npm client phoenix_live_view in a Chromium goes through every message that phoenix_lite knows, and
// prints "ok <step>" for each step.
import { strict as assert } from "node:assert";
import { connect, createServer } from "node:net";
import { chromium } from "playwright-core";

const port = Number(process.argv[2]);
const sockets = new Set();
let blocked = false;

// Between the browser and the server, so that connections can be cut.
const proxy = createServer((client) => {
  if (blocked) return client.destroy();
  const upstream = connect(port, "127.0.0.1");
  for (const [one, other] of [
    [client, upstream],
    [upstream, client],
  ]) {
    sockets.add(one);
    one.on("error", () => {});
    one.on("close", () => (sockets.delete(one), other.destroy()));
    one.pipe(other);
  }
});
await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
const url = `http://localhost:${proxy.address().port}`;
const cut = () => sockets.forEach((socket) => socket.destroy());

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"],
});
const context = await browser.newContext();
const page = await context.newPage();
page.setDefaultTimeout(15_000);
const problems = [];
page.on("pageerror", (error) => problems.push(String(error.stack)));
page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
let frames = [];
page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => frames.push(JSON.parse(payload))));

const text = (selector, expected) => page.waitForFunction(([s, e]) => document.querySelector(s)?.textContent.trim() === e, [selector, expected]);
const gone = (selector) => page.waitForFunction((s) => !document.querySelector(s), selector);
const connected = () => page.waitForSelector("[data-phx-main].phx-connected");
const log = () => page.evaluate(() => window.log.splice(0));
const born = () => page.evaluate(() => window.born);
const title = (expected) => page.waitForFunction((t) => document.title === t, expected);
const path = () => new URL(page.url()).pathname + new URL(page.url()).search;
const logged = (line) => page.waitForFunction((l) => window.log.includes(l), line);
/** The diffs that arrive while something is done. */
const diffs = async (action) => {
  frames = [];
  await action();
  return frames.map(([, , , event, payload]) => (event === "diff" ? payload : payload?.response?.diff)).filter(Boolean);
};

const steps = {
  async "mount and join"() {
    await page.goto(`${url}/live/p/3?x=%3Cq%3E`);
    await connected();
    await text("#where", "3 <q> /live/p/3");
    await text("#who", "guest");
    await title("Page 3 · lite");
    await logged("hello 1");
    assert.deepEqual(await log(), ["mounted hook", "hello 1"]);
  },
  async "click: only what changed is sent"() {
    const sent = await diffs(async () => {
      await page.click("#inc");
      await text("#count", "2");
    });
    // The count, and the text in what the client ignores.
    assert.ok(JSON.stringify(sent).length < 60, JSON.stringify(sent));
    await page.click("#inc");
    await text("#count", "4");
    assert.equal(await page.getAttribute("#count", "class"), "many");
    assert.equal(await page.textContent("#ignored"), "server 0");
  },
  async "if and for"() {
    await page.click("#show");
    await text("#shown", "shown 4");
    assert.equal(await page.isDisabled("#show"), true);
    for (const row of [1, 2, 3]) {
      const sent = await diffs(async () => {
        await page.click("#push-row");
        await page.waitForSelector(`#row-${row}`);
      });
      if (row === 3) assert.ok(JSON.stringify(sent).length < 80, JSON.stringify(sent));
    }
    assert.equal(await page.textContent("#rows"), "12!3");
    await page.click("#drop-row");
    await gone("#row-1");
    assert.equal(await page.textContent("#rows"), "2!3");
  },
  async "a choice that isn't sent yet stays when something else changes"() {
    await page.selectOption("#choice", "listen");
    await page.click("#inc");
    await text("#count", "6");
    assert.equal(await page.inputValue("#choice"), "listen");
  },
  async "keys"() {
    await page.press("#keys", "a");
    await text("#key", "a");
  },
  async "form: change and submit"() {
    await page.fill("#name", "Jé");
    await text("#error", "too short: f.name");
    await page.fill("#name", "Jé & <b>");
    await text("#error", "");
    await page.click("#submit");
    await text("#saved", `%{"btn" => "b1", "f" => %{"name" => "Jé & <b>", "tags" => ["t1"]}}`);
    await text("#flash-info", "saved");
  },
  async "lv:clear-flash"() {
    await page.click("#flash-info");
    await gone("#flash-info");
  },
  async "hook: reply, halted by attach_hook, push_event"() {
    await log();
    assert.deepEqual(await page.evaluate(() => window.ask("hook", { n: 4 })), { n: 5 });
    await text("#hook", "hooked 4");
    assert.deepEqual((await log()).sort(), ["hello 4", "updated hook"]);
    assert.deepEqual(await page.evaluate(() => window.ask("gated", {})), { gate: "shut" });
  },
  async "handle_info: a diff without being asked"() {
    await page.evaluate(() => window.ask("tick", {}));
    await text("#count", "106");
    await logged("ticked");
  },
  async "patch: a link, and back"() {
    const before = await born();
    await page.click("#flash");
    await text("#flash-note", "hello flash");
    await page.click("#patch");
    await text("#where", "7 1 /live/p/7");
    await gone("#flash-note");
    assert.equal(path(), "/live/p/7?x=1");
    await title("Page 7 · lite");
    await page.goBack();
    await text("#where", "3 <q> /live/p/3");
    await text("#count", "106");
    assert.equal(await born(), before);
    // The dead page's, never patched.
    assert.equal(await page.textContent("#outside"), "/live/p/3");
  },
  async "navigate: a link, back, push_navigate with flash"() {
    const before = await born();
    await log();
    await page.click("#to-other");
    await text("#other", "other 1");
    await title("Other · lite");
    assert.equal(path(), "/live/other?q=1");
    await logged("mounted hook2");
    await logged("destroyed hook");
    await page.click("#to-home");
    await text("#where", "none  /live");
    await text("#count", "0");
    await page.click("#push-navigate");
    await text("#other", "other");
    await text("#flash-info", "navigated");
    await page.goBack();
    await text("#where", "none  /live");
    assert.equal(await born(), before);
  },
  async "mount that navigates"() {
    await page.evaluate(() => window.liveSocket.js().navigate("/live/other?away=1"));
    await text("#where", "9  /live/p/9");
  },
  async "a patch link to another view navigates"() {
    await page.evaluate(() => window.liveSocket.js().patch("/live/other?q=patchlink"));
    await text("#other", "other patchlink");
    await page.click("#to-home");
    await text("#where", "none  /live");
  },
  async "from handle_info: navigate, redirect"() {
    await page.goto(`${url}/live`);
    await connected();
    const before = await born();
    await page.evaluate(() => window.ask("later", { to: "/live/other?q=info", how: "navigate" }));
    await text("#other", "other info");
    await text("#flash-info", "navigated");
    assert.equal(await born(), before);
    await page.click("#to-home");
    await text("#where", "none  /live");
    await page.evaluate(() => void window.ask("later", { to: "/flash", how: "redirect" }));
    await text("#told", '%{"info" => "redirected"}');
  },
  async "a mount that finds out late: navigate, redirect, an error's page"() {
    await page.goto(`${url}/live/other?late=navigate`);
    await text("#where", "10  /live/p/10");
    await page.goto(`${url}/live/other?late=redirect`);
    await text("#told", "%{}");
    const error = page.waitForResponse((response) => response.status() === 400);
    await page.goto(`${url}/live/other?late=missing`).catch(() => {});
    await error;
    await text("body", "page: Bad Request");
    // The page after it is none of an error.
    await page.goto(`${url}/live/other?q=fine`);
    await text("#other", "other fine");
  },
  async "redirect, with flash"() {
    await page.goto(`${url}/live`);
    await connected();
    await page.click("#redirect");
    await text("#told", '%{"info" => "redirected"}');
    await page.reload();
    await text("#told", "%{}");
    await page.goto(`${url}/live/guarded`);
    await text("#told", '%{"error" => "not you"}');
  },
  async "another live_session is another page"() {
    await page.goto(`${url}/live`);
    await connected();
    const before = await born();
    await page.click("#to-elsewhere");
    await text("#elsewhere", "elsewhere");
    await connected();
    await page.click("#n");
    await text("#n", "1");
    assert.notEqual(await born(), before);
  },
  async "a form that the view has the browser send"() {
    await page.click("#trigger");
    await text("#saved", "saved zed");
  },
  async "crash: the view comes back, and the form with it"() {
    await page.goto(`${url}/live/p/5`);
    await connected();
    await page.click("#inc");
    await text("#count", "2");
    await page.fill("#name", "ab");
    await text("#error", "too short: f.name");
    const before = await born();
    await page.click("#crash");
    await text("#count", "0");
    await text("#error", "too short: f.name");
    assert.equal(await page.inputValue("#name"), "ab");
    assert.equal(await born(), before);
    await text("#where", "5  /live/p/5");
  },
  async "the socket is cut: it comes back by itself, and the form with it"() {
    await page.fill("#name", "kept");
    await page.click("#inc");
    await text("#count", "2");
    await log();
    const before = await born();
    blocked = true;
    cut();
    await page.waitForSelector("[data-phx-main].phx-error");
    await logged("disconnected");
    blocked = false;
    await connected();
    await logged("reconnected");
    await text("#count", "0");
    assert.equal(await page.inputValue("#name"), "kept");
    assert.equal(await born(), before);
    await page.click("#inc");
    await text("#count", "2");
  },
  async "a broadcast of disconnect: the socket closes, and comes back"() {
    await page.goto(`${url}/login?name=zoe`);
    await page.goto(`${url}/live`);
    await connected();
    await text("#who", "zoe");
    const before = await born();
    await page.click("#inc");
    await text("#count", "2");
    await page.evaluate(() => fetch("/kick?name=zoe"));
    await logged("reconnected");
    await text("#count", "0");
    assert.equal(await born(), before);
  },
  async "a session that is gone: the page loads itself again, once"() {
    const before = await born();
    await context.clearCookies();
    cut();
    await page.waitForFunction((b) => window.born !== undefined && window.born !== b, before);
    await connected();
    await page.click("#inc");
    await text("#count", "2");
    const after = await born();
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.equal(await born(), after);
  },
};

try {
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step();
    } catch (error) {
      console.log(`FAILED ${name}\n${error.stack}`);
      console.log(problems.slice(-10).join("\n"));
      console.log(JSON.stringify(frames.slice(-8)).slice(0, 3000));
      console.log(await page.evaluate(() => [location.href, JSON.stringify(window.log), document.body.outerHTML.slice(0, 6000)].join("\n")).catch(String));
      process.exitCode = 1;
      break;
    }
    console.log(`ok ${name}`);
  }
} finally {
  await browser.close();
  cut();
  proxy.close();
}
// Connections that a step cut leave errors in the console. Code that throws is a bug.
const bugs = problems.filter((text) => /TypeError|ReferenceError|hook|duplicate/i.test(text));
if (bugs.length > 0) {
  console.log(bugs.join("\n"));
  process.exitCode = 1;
}
