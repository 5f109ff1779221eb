// Users, invitations and passcodes, with the real hashes of a real file.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { ROOT, Server, TMP, together } from "./support/server.mjs";

const SHOTS = join(TMP, "sign-in");
const USERS = join(TMP, "users.txt");
const TONES = [500, 800];
let server, browser, people;

/** A task beside the server, as its operator runs it. */
function mix(args, input = "") {
  const { status, stdout, stderr } = spawnSync("mix", args, {
    cwd: ROOT,
    env: { ROOMTONE_CARGO_PROFILE: "dev", ...process.env, MIX_ENV: "dev" },
    input,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`mix ${args[0]} failed:\n${stdout}\n${stderr}`);
  return stdout.trim().split("\n").at(-1);
}

const arrive = async (name, tone, options = {}) => {
  const person = await Person.arrive(name, tone, { browser, ...options });
  people.push(person);
  return person;
};

async function signIn(person, password, path = "/") {
  server.secret(password);
  await person.page.goto(`${server.url}${path}`);
  await person.page.getByRole("link", { name: "Sign in" }).first().click();
  await person.page.getByLabel("Your name").fill(person.name);
  await person.page.getByLabel("Password").fill(password);
  await person.page.getByRole("button", { name: "Sign in" }).click();
}

async function enter(person, room) {
  await person.page.locator("[name=room]").fill(room);
  await person.page.getByRole("button", { name: "Join", exact: true }).click();
  await person.throughTheDoor();
  await person.connected();
}

before(async () => {
  mkdirSync(SHOTS, { recursive: true });
  rmSync(USERS, { force: true });
  mix(["roomtone.user", "--stdin", "--file", USERS, "Ada"], "correct horse\n");
  [server, browser] = await together(Server.start("sign-in", { USERS_FILE: USERS }), openBrowser());
  people = [];
});

after(async () => {
  await everybodyGoes(people ?? []);
  await browser?.close();
  await server?.kill();
});

test("a wrong password is refused in words, the right one leads to the rooms", async () => {
  const ada = await arrive("Ada", TONES[0]);
  await signIn(ada, "wrong horse");
  await ada.page.getByRole("alert").getByText("Wrong name or password.").waitFor();
  assert.equal(await ada.page.getByLabel("Your name").inputValue(), "Ada");
  assert.equal(await ada.page.getByLabel("Password").inputValue(), "");
  await ada.page.getByLabel("Password").fill("correct horse");
  await ada.page.getByRole("button", { name: "Sign in" }).click();
  await ada.page.getByRole("button", { name: "Sign out" }).waitFor();
  assert.equal(await ada.page.locator("[name=name]").count(), 0, "a user is asked for no name");
  await enter(ada, "signed in");
  await ada.participant("Ada").waitFor();
});

test("signing out in one tab ends the call in the other, which is told why", async () => {
  const ada = await arrive("Ada", TONES[0]);
  await signIn(ada, "correct horse");
  await enter(ada, "over");
  const ben = await arrive("Ben", TONES[1]);
  await ben.join(server.url, "over");
  await ben.hears([TONES[0]], TONES);

  const other = await ada.context.newPage();
  await other.goto(`${server.url}/`);
  await other.getByRole("button", { name: "Sign out" }).click();
  await other.getByText("You are signed out.").waitFor();
  await ben.participant("Ada").waitFor({ state: "detached" });
  await ben.hears([], TONES);
  // The other tab is no longer in the call, nor comes back to it.
  await ada.page.waitForFunction(() => document.querySelector('#room[data-status="connected"]') === null);
  await other.getByRole("link", { name: "Sign in" }).waitFor();
});

test("a guest can't have a user's name", async () => {
  const eve = await arrive("ada", TONES[1]);
  await eve.join(server.url, "anywhere", { waitConnected: false });
  await eve.page.getByText("This name belongs to a registered user.").waitFor();
});

test("a room opens to its passcode, and to an invitation without it", async () => {
  const mo = await arrive("Mo", TONES[0]);
  await mo.page.goto(`${server.url}/`);
  await mo.page.locator("[name=name]").fill("Mo");
  await mo.page.locator("[name=room]").fill("board");
  await mo.page.getByText("Create a room").click();
  await mo.page.locator("[name=passcode]").fill("4711");
  await mo.page.getByRole("button", { name: "Create room" }).click();
  await mo.throughTheDoor();
  await mo.connected();

  const ben = await arrive("Ben", TONES[1]);
  await ben.join(server.url, "board", { waitConnected: false });
  await ben.page.getByText("This room has a passcode.").waitFor();
  assert.equal(await ben.participant("Mo").count(), 0);
  await ben.page.locator("[name=passcode]").fill("0815");
  await ben.page.getByRole("button", { name: "Join", exact: true }).click();
  await ben.page.getByText("That isn't the room's passcode.").waitFor();
  await ben.page.goto(`${server.url}/rooms/board?name=Ben`);
  await ben.page.locator("[name=passcode]").fill("4711");
  await ben.page.getByRole("button", { name: "Join", exact: true }).click();
  await ben.throughTheDoor();
  await ben.connected();
  await mo.hears([TONES[1]], TONES);

  // The maker of the room creates a link on its page.
  await mo.page.setViewportSize({ width: 360, height: 740 });
  await mo.page.getByRole("button", { name: "Invite people" }).click();
  await mo.page.getByLabel("Permissions").selectOption("listen");
  await mo.page.getByRole("button", { name: "Create link" }).click();
  const field = mo.page.getByLabel("Invitation link");
  const link = await field.inputValue();
  assert.match(link, /^http:\/\/localhost:\d+\/invitations\//);
  // Selected and in sight, on a telephone, too; and with a button to copy it.
  await mo.page.waitForFunction((link) => document.getSelection().toString() === link, link);
  await mo.page.waitForFunction(() =>
    ["#invitation-link", "[data-copy=invitation-link]"].every((selector) => {
      const element = document.querySelector(selector);
      const { left, right, top, bottom } = element.getBoundingClientRect();
      return element.contains(document.elementFromPoint((left + right) / 2, (top + bottom) / 2));
    }),
  );
  const cleo = await arrive("Cleo", 1100);
  await cleo.page.goto(link);
  await cleo.page.getByText("You're invited to this room, to listen.").waitFor();
  await cleo.page.getByLabel("Your name").fill("Cleo");
  await cleo.page.getByRole("button", { name: "Join", exact: true }).click();
  await cleo.throughTheDoor();
  await cleo.connected();
  await cleo.hears(TONES, [...TONES, 1100]);
  await mo.hears([TONES[1]], [...TONES, 1100]);
});

test("an invitation from the command line", async () => {
  const link = mix(["roomtone.invite", "--room", "reception", "--url", server.url]);
  const dora = await arrive("Dora", TONES[0]);
  await dora.page.goto(link);
  await dora.page.getByLabel("Your name").fill("Dora");
  await dora.page.getByRole("button", { name: "Join", exact: true }).click();
  await dora.throughTheDoor();
  await dora.connected();
});

test("the pages as they look, and what a screen reader finds wrong with them", async () => {
  const link = mix(["roomtone.invite", "--room", "reception", "--url", server.url]);
  const axe = join(ROOT, "test/browser/node_modules/axe-core/axe.min.js");

  for (const [width, height] of [[1280, 800], [360, 740]]) {
    for (const colorScheme of ["light", "dark"]) {
      const zoe = await arrive("Zoë", TONES[0], { context: { viewport: { width, height }, colorScheme, bypassCSP: true } });
      const pages = { "sign-in": `${server.url}/sign-in?room=reception`, invitation: link, "not-an-invitation": `${server.url}/invitations/x` };
      for (const [name, url] of Object.entries(pages)) {
        await zoe.page.goto(url);
        await zoe.page.screenshot({ path: join(SHOTS, `${name}-${width}-${colorScheme}.png`) });
        const wide = await zoe.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(wide, 0, `${name} at ${width} is ${wide} px too wide`);
        await zoe.page.addScriptTag({ path: axe });
        const { violations } = await zoe.page.evaluate(() => globalThis.axe.run());
        assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`), [], name);
      }
    }
  }
});
