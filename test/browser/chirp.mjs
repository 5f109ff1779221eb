// Whether the stages of a packet's journey add up to what a sound needs: `node test/browser/chirp.mjs`. Not a test.
//
// Ada's microphone chirps once a second, and Ben's page notes when it hears that. The Web Audio API, of which microphone and ear are made, takes a
// time of its own, which is measured without a call in between, and subtracted. The journey that Ada's page shows ends with the playout of the
// device, for which Ben's ear doesn't wait, so that stage is left out; and for Ben's jitter buffer, for which hers stands in, his own figure is taken.
import { setTimeout as sleep } from "node:timers/promises";
import { openBrowser, Person } from "./support/person.mjs";
import { Server } from "./support/server.mjs";

const SECONDS = Number(process.env.SECONDS ?? 40);
const ROOM = "chirps";

const WORKLET = `
registerProcessor("chirps", class extends AudioWorkletProcessor {
  at = 0;
  process(_inputs, [[out]]) {
    for (let i = 0; i < out.length; i += 1, this.at += 1) {
      // Between the chirps there is a quiet tone, so that packets never stop.
      const chirp = this.at % 48000 < 2400;
      if (this.at % 48000 === 0) this.port.postMessage(Date.now());
      out[i] = (chirp ? 0.4 : 0.02) * Math.sin((2 * Math.PI * 800 * this.at) / 48000);
    }
    return true;
  }
});
registerProcessor("ear", class extends AudioWorkletProcessor {
  quiet = 0;
  process([[samples]]) {
    for (const sample of samples ?? []) {
      if (Math.abs(sample) < 0.12) this.quiet += 1;
      else {
        if (this.quiet > 20000) this.port.postMessage(Date.now());
        this.quiet = 0;
      }
    }
    return true;
  }
});`;
const COMMON = `
globalThis.chirps = { made: [], control: [], heard: [] };
globalThis.worklet = async (context) => {
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([${JSON.stringify(WORKLET)}], { type: "text/javascript" })));
};
globalThis.listen = (context, stream, list) => {
  const ear = new AudioWorkletNode(context, "ear");
  ear.port.onmessage = ({ data }) => list.push(data);
  context.createMediaStreamSource(stream).connect(ear);
};`;
const MICROPHONE = `${COMMON}
navigator.mediaDevices.getUserMedia = async () => {
  const context = new AudioContext({ sampleRate: 48000 });
  await worklet(context);
  const chirp = new AudioWorkletNode(context, "chirps", { numberOfInputs: 0, outputChannelCount: [1] });
  chirp.port.onmessage = ({ data }) => chirps.made.push(data);
  const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
  chirp.connect(destination);
  await context.resume();
  listen(context, destination.stream, chirps.control);
  return destination.stream;
};`;

const middle = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
/** From each chirp to when it was heard next. */
const delays = (made, heard) => heard.map((at) => at - Math.max(...made.filter((from) => from <= at))).filter((ms) => ms < 800);
const ms = (text) => Number.parseFloat(text) * (text.includes("µs") ? 0.001 : 1);

/** Seconds that sound waited in the jitter buffer of a page, summed over samples, and their number. */
const buffered = async ({ page }) =>
  await page.evaluate(async () => {
    const { call } = await import("/assets/js/call.js");
    const stream = [...(await call.room.stats()).values()].find(({ type }) => type === "inbound-rtp");
    return [stream.jitterBufferDelay, stream.jitterBufferEmittedCount];
  });

const server = await Server.start("chirp");
const browser = await openBrowser();
try {
  const ada = await Person.arrive("Ada", 500, { browser, init: MICROPHONE, context: { bypassCSP: true } });
  const ben = await Person.arrive("Ben", 1100, { browser, init: COMMON, context: { bypassCSP: true } });
  for (const person of [ada, ben]) await person.join(server.url, ROOM);
  await ben.page.evaluate(async () => {
    const context = new AudioContext({ sampleRate: 48000 });
    await worklet(context);
    await context.resume();
    listen(context, document.querySelector("audio").srcObject, chirps.heard);
  });
  await ada.page.getByRole("link", { name: "Journey of my sound" }).click();
  await ada.page.locator('#journey[data-state="going"]').waitFor();
  await sleep(10_000);
  for (const person of [ada, ben]) await person.page.evaluate(() => Object.values(chirps).forEach((list) => (list.length = 0)));
  const before = await buffered(ben);
  await sleep(1000 * SECONDS);
  const after = await buffered(ben);
  const waited = (1000 * (after[0] - before[0])) / (after[1] - before[1]);
  const { made, control } = await ada.page.evaluate(() => chirps);
  const { heard } = await ben.page.evaluate(() => chirps);
  const total = await ada.page.locator("#journey-total").textContent();
  const stages = await ada.page.locator("[data-stage]").evaluateAll((rows) => rows.map((row) => [row.dataset.stage, row.cells[3].textContent]));
  const { playout, buffer } = Object.fromEntries(stages);
  const shown = ms(total.match(/([\d.]+ (?:ms|µs)) \(median\)/)[1]) - ms(playout);
  const journey = shown - ms(buffer) + waited;
  const [whole, own] = [middle(delays(made, heard)), middle(delays(made, control))];
  console.log(stages.map(([stage, time]) => `${stage} ${time}`).join(", "));
  console.log(`${heard.length} chirps: ${whole} ms to the ear, ${own} ms of it without a call: ${whole - own} ms`);
  console.log(`the journey, p50, without the playout: ${Math.round(shown)} ms; with Ben's own jitter buffer, ${Math.round(waited)} ms: ${Math.round(journey)} ms`);
  console.log(`difference: ${Math.round(whole - own - journey)} ms`);
} finally {
  await browser.close();
  await server.kill();
}
