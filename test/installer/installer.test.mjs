// An application shaped as `mix phx.new` makes it gets voice rooms by `mix roomtone.install --yes`, is bundled and started, and
// two people hear each other on its page.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openBrowser, Person } from "../browser/support/person.mjs";
import { ROOT, Server, TMP } from "../browser/support/server.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const SHOP = join(TMP, "shop");
const MODULES = join(ROOT, "elixir_app/assets/node_modules");
const TONES = [500, 800];
const ENV = { ROOMTONE_CARGO_PROFILE: "dev", ...process.env, MIX_ENV: "dev", ROOMTONE_PATH: ROOT, MIX_BUILD_PATH: join(ROOT, "tmp/installer-build") };
let server, browser, ada, ben;

function run(command, args, options = {}) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: SHOP, env: ENV, encoding: "utf8", ...options });
  assert.equal(status, 0, `${command} ${args.join(" ")} failed:\n${stdout}\n${stderr}`);
  return stdout;
}

/**
 * Puts a copy of what is compiled of Roomtone into `folder`, as new as can be: Mix compiles it again where the settings are newer. In `test`
 * Roomtone has modules of its own tests, so that of `dev` is what an application has in each environment. phoenix_lite has those of its tests
 * in an application, too.
 *
 * @param {string} folder
 * @param {"dev" | "test"} env  of the application
 */
function built(folder, env) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, "lib"), { recursive: true });
  // In this order: Mix compiles what is older than that which it depends on.
  for (const path of [join(env, "lib/phoenix_lite"), "dev/lib/roomtone"]) {
    const compiled = join(ROOT, "_build", path);
    if (existsSync(compiled)) run("cp", ["-r", compiled, join(folder, "lib")]);
  }
}

before(async () => {
  rmSync(SHOP, { recursive: true, force: true });
  cpSync(join(HERE, "shop"), SHOP, { recursive: true });
  built(ENV.MIX_BUILD_PATH, "dev");
});

after(async () => {
  await browser?.close();
  await server?.kill();
});

test("the task changes the application once", () => {
  const said = run("mix", ["roomtone.install", "--yes"]);
  assert.match(said, /Voice rooms are installed\./);
  assert.doesNotMatch(said, /left to do/);
  // It has changed the settings.
  built(ENV.MIX_BUILD_PATH, "dev");
  const script = readFileSync(join(SHOP, "assets/js/app.js"), "utf8");
  assert.doesNotMatch(run("mix", ["roomtone.install", "--yes"]), /change  |new   /);
  assert.equal(readFileSync(join(SHOP, "assets/js/app.js"), "utf8"), script);
  run("mix", ["roomtone.gen.live", "Standup", "--yes"]);
  assert.ok(existsSync(join(SHOP, "lib/shop_web/live/standup_live.ex")));
});

test("the application compiles without a warning, and esbuild bundles its script", () => {
  run("mix", ["compile", "--warnings-as-errors"]);
  // As the esbuild of phx.new, which looks for packages in the folder of dependencies.
  const args = ["js/app.js", "--bundle", "--target=es2022", "--outdir=../priv/static/assets/js"];
  run(join(MODULES, ".bin/esbuild"), args, { cwd: join(SHOP, "assets"), env: { ...ENV, NODE_PATH: MODULES } });
});

test("the test that it gets passes, without sockets", () => {
  const build = `${ENV.MIX_BUILD_PATH}-test`;
  built(build, "test");
  const said = run("mix", ["test"], { env: { ...ENV, MIX_ENV: "test", MIX_BUILD_PATH: build } });
  assert.match(said, /2 tests, 0 failures/);
});

test("two people hear each other at /voice, and in the room of another page", async () => {
  process.env.ROOMTONE_COMPILED = SHOP;
  server = await Server.start("installer", { ROOMTONE_PATH: ROOT, MIX_BUILD_PATH: ENV.MIX_BUILD_PATH }, SHOP, { ready: "/" });
  browser = await openBrowser();
  [ada, ben] = await Promise.all(["Ada", "Ben"].map((name, i) => Person.arrive(name, TONES[i], { browser })));
  for (const [path, room] of [["/voice", "lobby"], ["/standup", "standup"]]) {
    for (const person of [ada, ben]) {
      await person.page.goto(server.url + path);
      await person.page.getByRole("button", { name: `Join ${room}` }).click();
      await person.page.locator('.voice-room[data-status="connected"]').waitFor();
    }
    await ada.hears([TONES[1]], TONES);
    await ben.hears([TONES[0]], TONES);
    await ada.page.getByText("2 in the room").waitFor();
    // The style sheet is there: without it the buttons look like text.
    const border = await ada.page.getByRole("button", { name: "Leave" }).evaluate((button) => getComputedStyle(button).borderRadius);
    assert.notEqual(border, "0px");
  }
});

test("a room that the application doesn't name is closed to everybody", async () => {
  await ada.page.evaluate(() => document.querySelector(".voice-room").remove());
  const answer = await ada.page.evaluate(async () => {
    const csrf = document.querySelector("meta[name=csrf-token]").content;
    const socket = new WebSocket(`/voice/websocket?vsn=2.0.0&room=cellar&_csrf_token=${encodeURIComponent(csrf)}`);
    await new Promise((resolve) => (socket.onopen = resolve));
    const reply = new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(JSON.parse(data)[4])));
    socket.send(JSON.stringify(["1", "1", "room:cellar", "phx_join", {}]));
    return await reply;
  });
  assert.deepEqual([answer.status, answer.response.reason], ["error", "not_let_in"]);
});

test("the console complained about nothing", () => {
  for (const person of [ada, ben]) assert.deepEqual(person.consoleErrors, [], person.name);
});
