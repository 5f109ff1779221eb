// Microphones, speakers and what comes before the first call, with the devices that Chromium makes up: they beep twice a second.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { Server, together } from "./support/server.mjs";

const ROOM = "workshop";
let server, browser, ada, cleo;
const visitors = [];

// Keeps connections at hand, and what was asked of them; a page that was held up may be at its second one.
const KEEP = `{
  globalThis.sender = () => connections.at(-1)?.getSenders()[0];
  const Plain = RTCPeerConnection;
  globalThis.connections = [];
  globalThis.RTCPeerConnection = class extends Plain {
    offers = 0;
    constructor(...more) {
      super(...more);
      connections.push(this);
    }
    setLocalDescription(...more) {
      this.offers += 1;
      return super.setLocalDescription(...more);
    }
  };
}`;

/** Notes in `played` how high the loudest tone is that the page makes by itself, and which speaker it goes to. */
const LISTEN = `{
  globalThis.played = [];
  let ear;
  const listen = () => {
    const bins = new Float32Array(ear.frequencyBinCount);
    ear.getFloatFrequencyData(bins);
    const loudest = bins.indexOf(Math.max(...bins));
    if (bins[loudest] > -50) played.push({ hertz: (loudest * ear.context.sampleRate) / ear.fftSize, speaker: ear.context.sinkId });
  };
  const { connect } = AudioNode.prototype;
  AudioNode.prototype.connect = function (to, ...more) {
    if (to instanceof AudioDestinationNode) {
      if (!ear) setInterval(listen, 10);
      if (ear?.context !== this.context) ear = new AnalyserNode(this.context);
      connect.call(this, ear);
    }
    return connect.call(this, to, ...more);
  };
}`;

/** A browser that would ask for the microphone, as one that has never been here. */
const WOULD_ASK = `navigator.permissions.query = async () => ({ state: "prompt" });`;

before(async () => {
  [server, browser] = await together(Server.start("devices"), openBrowser());
  ada = await arrive("Ada", KEEP);
  await ada.join(server.url, ROOM);
});

after(async () => {
  await everybodyGoes([ada, ...visitors]);
  await browser?.close();
  await server?.kill();
});

async function arrive(name, init) {
  const person = await Person.arrive(name, 500, { browser, microphone: "device", init });
  visitors.push(person);
  return person;
}

/** The label of the microphone, which may come later than the connection. */
async function track(person) {
  return await (await person.page.waitForFunction(() => sender()?.track?.label)).jsonValue();
}
const packets = (person) =>
  person.page.evaluate(async () => {
    const stats = [...(await connections.at(-1).getStats()).values()];
    return stats.find(({ type }) => type === "outbound-rtp").packetsSent;
  });

test("another microphone, in the middle of a call and without a new offer", async () => {
  const { page } = ada;
  await page.evaluate(() => {
    const { mediaDevices } = navigator;
    const answered = new Promise((resolve) => (globalThis.answer = resolve));
    mediaDevices.enumerateDevices = () => answered.then(() => MediaDevices.prototype.enumerateDevices.call(mediaDevices));
  });
  await page.locator("#devices").click();
  assert.equal(await page.locator("#devices").getAttribute("aria-expanded"), "true");
  const choice = page.locator("#microphone-choice");
  // A browser may take a while to tell.
  for (const list of [choice, page.locator("#speaker-choice")])
    assert.deepEqual(await list.evaluate(({ innerText, disabled }) => [innerText.trim(), disabled]), ["Looking for devices…", true]);
  await page.evaluate(() => answer());
  await choice.locator("option").nth(2).waitFor({ state: "attached" });
  const before = await track(ada);
  const offers = () => page.evaluate(() => connections.map((one) => one.offers));
  const offered = await offers();
  await choice.selectOption({ label: "Fake Audio Input 2" });
  await page.waitForFunction(() => sender().track?.label === "Fake Audio Input 2");
  assert.notEqual(before, "Fake Audio Input 2");
  const sent = await packets(ada);
  await page.waitForFunction(
    async (sent) => [...(await connections.at(-1).getStats()).values()].find(({ type }) => type === "outbound-rtp").packetsSent > sent + 10,
    sent,
  );
  assert.deepEqual(await offers(), offered);
});

test("the meter shows what the microphone hears, muted or not", async () => {
  const { page } = ada;
  // From one frame to the next, with each beep, however few frames there are: between two of them it only falls.
  const rises = async () => {
    await page.evaluate(() => (globalThis.levelBefore = 1));
    await page.waitForFunction(() => {
      const { value } = document.querySelector("#microphone-level");
      const rose = value > globalThis.levelBefore + 0.1;
      globalThis.levelBefore = value;
      return rose;
    });
  };
  await rises();
  await ada.microphone.click();
  // The first may be of what was heard before the click.
  await rises();
  await rises();
  await ada.microphone.click();
});

test("another speaker", async () => {
  const { page } = ada;
  const choice = page.locator("#speaker-choice");
  await choice.selectOption({ label: "Fake Audio Output 1" });
  const wanted = await choice.inputValue();
  await page.waitForFunction((id) => document.querySelector("#sound").sinkId === id, wanted);
});

test("Escape closes the panel and gives the focus back", async () => {
  const { page } = ada;
  await page.locator("#microphone-choice").focus();
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#devices-panel").isVisible(), false);
  assert.equal(await page.evaluate(() => document.activeElement.id), "devices");
});

test("a choice is remembered", async () => {
  const { page } = ada;
  await page.reload();
  await ada.connected();
  await page.waitForFunction(() => sender()?.track?.label === "Fake Audio Input 2");
  await page.locator("#devices").click();
  await page.waitForFunction(() => document.querySelector("#microphone-choice").selectedOptions[0]?.label === "Fake Audio Input 2");
  assert.equal(await page.locator("#speaker-choice").evaluate((choice) => choice.selectedOptions[0].label), "Fake Audio Output 1");
  const wanted = await page.locator("#speaker-choice").inputValue();
  await page.waitForFunction((id) => document.querySelector("#sound").sinkId === id, wanted);
});

test("a newcomer sees that the microphone works before anybody hears them", async () => {
  const ben = await arrive("Ben", WOULD_ASK + KEEP);
  const { page } = ben;
  await ben.join(server.url, ROOM, { waitConnected: false });
  const panel = page.getByRole("group", { name: "Ready to join?" });
  await panel.waitFor();
  await panel.getByText("Say something: the bar should move.").waitFor();
  await page.waitForFunction(() => document.querySelector("#pre-join-level").value > 0.3);
  assert.equal(await page.evaluate(() => document.activeElement.id), "pre-join-go");
  // The form made one ahead, so that the browser's first offer doesn't take long, and closes it.
  await page.waitForFunction(() => connections.every(({ signalingState }) => signalingState === "closed"));
  await panel.getByLabel("Microphone", { exact: true }).and(page.locator("select")).selectOption({ label: "Fake Audio Input 1" });
  await panel.getByRole("button", { name: "Join now" }).focus();
  await page.keyboard.press("Enter");
  await ben.connected();
  assert.equal(await panel.isVisible(), false);
  // By keyboard: not lost with the button.
  assert.equal(await page.evaluate(() => document.activeElement.localName), "h1");
  assert.equal(await track(ben), "Fake Audio Input 1");
  // Only the first time.
  await page.reload();
  await ben.connected();
  await ben.leave();
});

test("a newcomer reads who is there and hears a test of the chosen speaker, before anybody sees them", async () => {
  cleo = await arrive("Cleo", WOULD_ASK + KEEP + LISTEN);
  const { page } = cleo;
  await cleo.join(server.url, ROOM, { waitConnected: false });
  const panel = page.getByRole("group", { name: "Ready to join?" });
  await panel.getByText("Ada is here.").waitFor();
  const speaker = panel.getByLabel("Speaker", { exact: true });
  await speaker.selectOption({ label: "Fake Audio Output 2" });
  const wanted = await speaker.inputValue();
  // The highest of its three notes. A page that stalls for as long as it lasts misses it, so a few tries count.
  const heard = () =>
    page
      .waitForFunction((wanted) => played.some(({ hertz, speaker }) => Math.abs(hertz - 784) < 30 && speaker === wanted), wanted, { timeout: 4_000 })
      .then(() => true, () => false);
  let tries = 5;
  do await panel.getByRole("button", { name: "Test" }).click();
  while (!(await heard()) && (tries -= 1) > 0);
  assert.ok(tries > 0, "the test of the speaker isn't heard there");
  assert.equal(await ada.participant("Cleo").count(), 0);
});

test("a person may join without a microphone, and take one later", async () => {
  const { page } = cleo;
  await page.getByRole("button", { name: "Join without microphone" }).click();
  await cleo.connected();
  assert.equal(await page.evaluate(() => sender().track), null);
  const words = page.getByRole("alert").getByText("You're here without a microphone.");
  await words.waitFor();
  await page.getByRole("button", { name: "Use the microphone" }).click();
  await words.waitFor({ state: "detached" });
  await page.waitForFunction(() => sender().track?.readyState === "live");
  await cleo.leave();
});

test("an unplugged microphone is told, and replaced by another one", async () => {
  const before = await ada.page.evaluate(() => sender().track.id);
  await ada.page.evaluate(() => {
    const { track } = sender();
    track.stop();
    track.dispatchEvent(new Event("ended"));
  });
  await ada.page.waitForFunction(
    (before) => {
      const { track } = sender();
      return track?.readyState === "live" && track.id !== before;
    },
    before,
  );
  await ada.page.locator('[data-problem="microphone_lost"]').waitFor({ state: "detached" });
});

test("the console complained about nothing", () => {
  for (const person of visitors) assert.deepEqual(person.consoleErrors, [], person.name);
});
