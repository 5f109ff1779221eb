// How long a newcomer waits, and how much they load: `npm --prefix test/browser run measure`. Not a test.
import { Person, openBrowser } from "./support/person.mjs";
import { Server } from "./support/server.mjs";

const JOINS = Number(process.env.JOINS ?? 10);
const ROOM = "standup";

// Runs in the newcomer's page before anything else: notes when the first sound is heard, by looking at all that comes out of the room.
const EAR = `addEventListener("DOMContentLoaded", () => {
  const context = new AudioContext({ sampleRate: 48000 });
  const analyser = new AnalyserNode(context, { fftSize: 256 });
  const samples = new Float32Array(analyser.fftSize);
  const threshold = 10 ** (-50 / 20);
  let stream;
  const look = setInterval(() => {
    const now = document.querySelector("#sound")?.srcObject;
    if (now && now !== stream) {
      stream = now;
      context.createMediaStreamSource(now).connect(analyser);
    }
    analyser.getFloatTimeDomainData(samples);
    if (!samples.some((sample) => Math.abs(sample) > threshold)) return;
    clearInterval(look);
    globalThis.heardAt = performance.now();
  }, 4);
  const page = new MutationObserver(() => {
    if (document.querySelector('#room[data-status="connected"]')) globalThis.connectedAt ??= performance.now();
  });
  page.observe(document.documentElement, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-status"] });
});`;

const middle = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
const told = (numbers) => `p50 ${Math.round(middle(numbers))} ms, ${Math.round(Math.min(...numbers))} to ${Math.round(Math.max(...numbers))} ms`;

const server = await Server.start("measure");
const browser = await openBrowser();
try {
  const talker = await Person.arrive("Tone", 500, { browser });
  await talker.join(server.url, ROOM);
  const connected = [];
  const heard = [];
  let weight;
  for (let i = 0; i < JOINS; i += 1) {
    // Each in a context of their own: nothing is cached.
    const person = await Person.arrive(`Newcomer ${i}`, 800, { browser });
    const { page } = person;
    await page.addInitScript(EAR);
    const took = await visit(person);
    connected.push(took.connected);
    heard.push(took.heard);
    weight ??= took.weight;
    await person.leave();
    await person.go();
  }
  console.log(`GET / to joined:  ${told(connected)}`);
  console.log(`GET / to hearing: ${told(heard)}`);
  console.log(`page weight:      ${(weight.bytes / 1000).toFixed(0)} kB on the wire in ${weight.requests} requests`);
} finally {
  await browser.close();
  await server.kill();
}

/** From `GET /` through the form into the room, as fast as a hand could that needs no time. */
async function visit(person) {
  const { page } = person;
  const load = { bytes: 0, requests: 0 };
  const sizes = [];
  page.on("requestfinished", (request) => {
    if (!request.url().startsWith("http")) return;
    sizes.push(
      request.sizes().then(({ responseBodySize, responseHeadersSize }) => {
        load.requests += 1;
        load.bytes += responseBodySize + responseHeadersSize;
      }),
    );
  });
  const began = Date.now();
  await page.goto(`${server.url}/`, { waitUntil: "commit" });
  await page.locator("[name=name]").fill(person.name);
  await page.locator("[name=room]").fill(ROOM);
  // Its scripts have to run before the form, or the room asks once more.
  await page.waitForLoadState("load");
  await page.getByRole("button", { name: "Join" }).click();
  await page.waitForFunction(() => globalThis.connectedAt !== undefined && globalThis.heardAt !== undefined, null, { timeout: 60_000, polling: 10 });
  const times = await page.evaluate(() => ({ origin: performance.timeOrigin, connected: connectedAt, heard: heardAt }));
  await Promise.all(sizes);
  return { connected: times.origin + times.connected - began, heard: times.origin + times.heard - began, weight: load };
}
