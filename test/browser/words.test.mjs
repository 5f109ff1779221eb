// Messages to people when something doesn't work, and that they can go on as well as possible.
import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { after, before, test } from "node:test";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { Server, together } from "./support/server.mjs";

const TONES = [500, 800];
let server, browser, speaker;
const visitors = [];

before(async () => {
  [server, browser] = await together(Server.start("words", { MAX_PARTICIPANTS: "3" }), openBrowser());
  speaker = await Person.arrive("Ada", TONES[0], { browser });
  await speaker.join(server.url, "standup");
});

after(async () => {
  await everybodyGoes([speaker, ...visitors]);
  await browser?.close();
  await server?.kill();
});

async function visitor(name, options = {}) {
  // Only a browser of one's own refuses by itself.
  const person = await Person.arrive(name, TONES[1], options.microphone ? options : { browser, ...options });
  visitors.push(person);
  return person;
}

async function leaves(person) {
  await person.leave();
  visitors.splice(visitors.indexOf(person), 1);
  await person.go();
  await speaker.participant(person.name).waitFor({ state: "detached" });
}

/** Replaces getUserMedia by one that fails once with the given error. */
const failingMicrophone = (error) => `
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  let failed = false;
  navigator.mediaDevices.getUserMedia = (wanted) => {
    if (failed) return real(wanted);
    failed = true;
    return Promise.reject(new DOMException("made up by the test", "${error}"));
  };`;

test("a refused microphone is said in words, and listening works", async () => {
  const guest = await visitor("Ben", { microphone: "refused" });
  await guest.join(server.url, "standup");
  const words = guest.page.getByRole("alert");
  await words.getByText("The microphone is blocked for this page.").waitFor();
  await words.getByRole("button", { name: "Try again" }).waitFor();
  await guest.hears([TONES[0]], TONES);
  await leaves(guest);
});

for (const [error, sentence] of [
  ["NotFoundError", "No microphone found."],
  ["NotReadableError", "Another program is using the microphone."],
]) {
  test(`${error}: "${sentence}", and a second try may work`, async () => {
    const guest = await visitor("Ben", { init: failingMicrophone(error) });
    await guest.join(server.url, "standup");
    await guest.page.getByRole("alert").getByText(sentence).waitFor();
    await speaker.hears([], TONES);
    await guest.page.getByRole("button", { name: "Try again" }).click();
    await guest.page.getByText(sentence).waitFor({ state: "detached" });
    // The same connection: a microphone that comes later needs no new one.
    await speaker.hears([TONES[1]], TONES);
    await leaves(guest);
  });
}

test("a page that is neither on HTTPS nor on localhost says why there's no microphone", async (t) => {
  const address = Object.values(networkInterfaces())
    .flat()
    .find((one) => one.family === "IPv4" && !one.internal)?.address;
  if (!address) return t.skip("this machine has no address but loopback");
  const guest = await visitor("Ben");
  const { page } = guest;
  await page.goto(`http://${address}:${server.port}/`);
  // Before anybody is in a call; and nothing there promises a microphone.
  await page.locator("#insecure").getByText("bin/server --https").waitFor();
  assert.equal(await page.getByText("Your browser will ask for the microphone.").isVisible(), false);
  await guest.join(`http://${address}:${server.port}`, "standup");
  await page.getByRole("alert").getByText("The microphone works only on a secure page.").waitFor();
  await page.getByRole("alert").getByText("bin/server --https").waitFor();
  // No page may write to the clipboard there: the link is selected, to be copied by hand.
  await page.locator("#show-invite").click();
  await page.waitForFunction((link) => document.getSelection().toString() === link, `http://${address}:${server.port}/rooms/standup`);
  await page.keyboard.press("Escape");
  assert.deepEqual(guest.consoleErrors, []);
  await leaves(guest);
});

test("sound that the browser holds back needs one click", async () => {
  const guest = await visitor("Ben", {
    init: `
      const play = HTMLMediaElement.prototype.play;
      let clicked = false;
      addEventListener("click", (event) => { clicked = event.isTrusted; }, true);
      HTMLMediaElement.prototype.play = function () {
        return clicked ? play.call(this) : Promise.reject(new DOMException("made up by the test", "NotAllowedError"));
      };`,
  });
  await guest.join(server.url, "standup");
  // The click on "Join" was on this page. One that is loaded anew goes on with the call, and nobody has clicked on it yet.
  await guest.page.reload();
  await guest.page.getByText("The browser is holding back the sound.").waitFor();
  await guest.page.getByRole("button", { name: "Turn on sound" }).click();
  await guest.page.getByText("The browser is holding back the sound.").waitFor({ state: "detached" });
  assert.equal(await guest.page.locator("audio").evaluate((audio) => audio.paused), false);
  await leaves(guest);
});

test("a full room is told on the page, and a free place again", async () => {
  const second = await visitor("Ben");
  await second.join(server.url, "standup");
  const third = await visitor("Cleo");
  await third.join(server.url, "standup");
  const fourth = await visitor("Dora");
  await fourth.join(server.url, "standup", { waitConnected: false });
  const words = fourth.page.locator('#outside[data-reason="full"]');
  await words.getByRole("heading", { name: "The room is full." }).waitFor();
  // It tells of a place once it is alive; who comes alive after that is simply asked whether to go in.
  await fourth.page.locator("[data-phx-main].phx-connected").waitFor();
  assert.equal(await words.getByRole("button", { name: "Waiting for a place" }).isDisabled(), true);
  assert.deepEqual(await fourth.page.getByRole("alert").getByText("full").count(), 0);
  await leaves(third);
  await words.getByRole("button", { name: "A place is free: join" }).click();
  await fourth.connected();
  await leaves(fourth);
  await leaves(second);
});

test("a name that can't be is refused at the form, in words, and nothing typed is lost", async () => {
  const guest = await visitor("a/b<script>");
  await guest.join(server.url, "standup", { waitConnected: false });
  const field = guest.page.locator('[name=name][aria-invalid="true"]');
  await field.waitFor();
  assert.equal(await field.inputValue(), "a/b<script>");
  assert.equal(await guest.page.locator("[name=room]").inputValue(), "standup");
  const description = await field.getAttribute("aria-describedby");
  assert.match(await guest.page.locator(`#${description}`).innerText(), /\w+ \w+/);
  visitors.splice(visitors.indexOf(guest), 1);
  await guest.go();
});

test("a link in the room's field leads to its room, without a scheme too, and one to another server is refused by its name", async () => {
  // Emoji are fine in names.
  const guest = await visitor("Ben 👍🏽");
  const { page } = guest;
  await guest.join(server.url, "https://other.example/rooms/standup", { waitConnected: false });
  await page.locator("#room-error").getByText("other.example").waitFor();
  await page.locator("#room").fill(`${new URL(server.url).host}/rooms/standup`);
  await page.getByRole("button", { name: "Join", exact: true }).click();
  await guest.connected();
  await speaker.participant("Ben 👍🏽").waitFor();
  await leaves(guest);
});

test("an address that leads nowhere is answered in words", async () => {
  const answer = await fetch(`${server.url}/nowhere/at/all`);
  assert.equal(answer.status, 404);
  assert.match(await answer.text(), /There is nothing here/);
});
