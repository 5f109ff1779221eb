// Whether the stages of a packet's journey add up to what a sound needs: `node test/browser/chirp.mjs`. Not a test.
//
//   SECONDS=60    so long
//   MIXED=1       a third person talks softly, so that Ben hears a mix, and not Ada's packets as they came
//
// Ada's microphone chirps about once a second, and Ben's page notes when it hears that. Both are made of tracks that the page itself writes and
// reads, 10 ms at a time: the Web Audio API would add a queue that grows while the machine has other work. The journey that Ada's page shows ends with
// the playout of the device, for which Ben's ear doesn't wait, so that stage is left out, as is the way from the device to the page: these chirps come
// from no device, and what Chromium tells of such a track is no time that they take. And for Ben's jitter buffer, for which hers stands in, his
// own figure is taken. The journey is that of a packet's first sample. A chirp that begins later in a packet waits less for the packet, and as much
// longer for its turn at the ear, so it takes as long.
import { setTimeout as sleep } from "node:timers/promises";
import { openBrowser, Person } from "./support/person.mjs";
import { Server } from "./support/server.mjs";

const SECONDS = Number(process.env.SECONDS ?? 60);
const ROOM = "chirps";

// 1.007 s: chirps begin everywhere in a packet's frame of 20 ms. At whole seconds, all would begin at the same place of it, which differs from run to run.
const PERIOD = 48336;
// How long a block is that goes into the microphone, or comes out of the ear.
const BLOCK_MS = 10;
// Workers write and read the blocks, since the page's own thread has other work, and would send packets in bursts.
const SPEAK = `onmessage = ({ data: writable }) => {
  const writer = writable.getWriter();
  const begun = performance.now();
  let at = 0;
  setInterval(() => {
    for (; at + ${48 * BLOCK_MS} <= 48 * (performance.now() - begun); at += ${48 * BLOCK_MS}) {
      const data = new Float32Array(${48 * BLOCK_MS});
      for (let i = 0; i < data.length; i += 1) {
        // Between the chirps there is a quiet tone, so that packets never stop.
        const chirp = (at + i) % ${PERIOD} < 2400;
        // A device hands a block over when its last sample is there.
        if ((at + i) % ${PERIOD} === 0) postMessage(performance.timeOrigin + performance.now() - ${BLOCK_MS} + i / 48);
        data[i] = (chirp ? 0.4 : 0.02) * Math.sin((2 * Math.PI * 800 * (at + i)) / 48000);
      }
      const block = { format: "f32", sampleRate: 48000, numberOfFrames: data.length, numberOfChannels: 1, timestamp: at / 0.048, data };
      writer.write(new AudioData(block));
    }
  }, 2);
};`;
const LISTEN = `onmessage = async ({ data: readable }) => {
  const reader = readable.getReader();
  let quiet = 0;
  for (;;) {
    const { value: block, done } = await reader.read();
    if (done) return;
    const at = performance.timeOrigin + performance.now();
    const data = new Float32Array(block.numberOfFrames);
    block.copyTo(data, { planeIndex: 0, format: "f32-planar" });
    const rate = block.sampleRate / 1000;
    block.close();
    data.forEach((sample, i) => {
      if (Math.abs(sample) < 0.12) quiet += 1;
      else {
        if (quiet > 400 * rate) postMessage(at + i / rate);
        quiet = 0;
      }
    });
  }
};`;
const COMMON = `
globalThis.chirps = { made: [], own: [], heard: [] };
globalThis.begin = (text, stream, list) => {
  const worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
  worker.onmessage = ({ data }) => list.push(data);
  worker.postMessage(stream, [stream]);
};
globalThis.listen = (track, list) => begin(${JSON.stringify(LISTEN)}, new MediaStreamTrackProcessor({ track }).readable, list);`;
const MICROPHONE = `${COMMON}
navigator.mediaDevices.getUserMedia = async () => {
  const track = new MediaStreamTrackGenerator({ kind: "audio" });
  begin(${JSON.stringify(SPEAK)}, track.writable, chirps.made);
  // A call to itself, without a server. A remote stream flows only while an element plays it.
  const [from, to] = [new RTCPeerConnection(), new RTCPeerConnection()];
  from.onicecandidate = ({ candidate }) => to.addIceCandidate(candidate);
  to.onicecandidate = ({ candidate }) => from.addIceCandidate(candidate);
  to.ontrack = ({ track, streams: [stream] }) => {
    globalThis.own = { to, element: Object.assign(new Audio(), { srcObject: stream, muted: true }) };
    own.element.play();
    listen(track, chirps.own);
  };
  from.addTrack(track, new MediaStream([track]));
  await from.setLocalDescription();
  await to.setRemoteDescription(from.localDescription);
  await to.setLocalDescription();
  await from.setRemoteDescription(to.localDescription);
  return new MediaStream([track]);
};`;

const middle = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
/** From each chirp to when it was heard next. */
const delays = (made, heard) => heard.map((at) => at - Math.max(...made.filter((from) => from <= at))).filter((ms) => ms < 800);
const ms = (text) => Number.parseFloat(text) * (text.includes("µs") ? 0.001 : 1);

/** Seconds that sound waited in the jitter buffer of a page, or of Ada's call to herself, summed over samples, and their number. */
const buffered = async ({ page }) =>
  await page.evaluate(async () => {
    const { call } = await import("/assets/js/call.js");
    const stats = globalThis.own ? await own.to.getStats() : await call.room.stats();
    const stream = [...stats.values()].find(({ type }) => type === "inbound-rtp");
    return [stream.jitterBufferDelay, stream.jitterBufferEmittedCount];
  });

const server = await Server.start("chirp");
const browser = await openBrowser();
try {
  const ada = await Person.arrive("Ada", 500, { browser, init: MICROPHONE, context: { bypassCSP: true } });
  const ben = await Person.arrive("Ben", 1100, { browser, init: COMMON, context: { bypassCSP: true } });
  for (const person of [ada, ben]) await person.join(server.url, ROOM);
  if (process.env.MIXED) {
    const cleo = await Person.arrive("Cleo", 300, { browser });
    await cleo.join(server.url, ROOM);
    await cleo.page.evaluate(() => (microphone.gain.value = 0.03));
  }
  await ben.page.evaluate(() => listen(document.querySelector("audio").srcObject.getAudioTracks()[0], chirps.heard));
  await ada.page.getByRole("button", { name: "Journey of my sound" }).click();
  await ada.page.getByRole("link", { name: "All stages, and what each step does" }).click();
  await ada.page.locator('#journey[data-state="going"]').waitFor();
  // Ada's call to herself may connect late.
  const streams = () => Promise.all([ada, ben].map(buffered));
  const deadline = Date.now() + 20_000;
  while (Date.now() < deadline && !(await streams().catch(() => null))) await sleep(200);
  // The page shows the last minute, and the first seconds of a call aren't like the others.
  await sleep(10_000);
  for (const person of [ada, ben]) await person.page.evaluate(() => Object.values(chirps).forEach((list) => (list.length = 0)));
  // The median of each second's, because the journey's is a median, too.
  const waits = [[], []];
  const both = () => Promise.all([ben, ada].map(buffered));
  for (let second = 0, before = await both(); second < SECONDS; second += 1) {
    await sleep(1000);
    const after = await both();
    after.forEach(([delay, count], i) => waits[i].push((1000 * (delay - before[i][0])) / (count - before[i][1])));
    before = after;
  }
  const [waited, waitedAlone] = waits.map(middle);
  const { made, own } = await ada.page.evaluate(() => chirps);
  const { heard } = await ben.page.evaluate(() => chirps);
  const total = await ada.page.locator("#journey-total").textContent();
  const stages = await ada.page.locator("[data-stage]").evaluateAll((rows) => rows.map((row) => [row.dataset.stage, row.cells[3].textContent]));
  const { capture = 0, frame, lookahead, playout, buffer, decode_there: decode = 0 } = Object.fromEntries(stages.map(([stage, time]) => [stage, ms(time)]));
  const shown = ms(total.match(/([\d.]+ (?:ms|µs)) \(median\)/)[1]) - playout - capture;
  const journey = shown - buffer + waited;
  const [whole, alone] = [middle(delays(made, heard)), middle(delays(made, own))];
  // The part of it that isn't a stage.
  const rest = alone - waitedAlone - (frame + lookahead + decode);
  console.log(stages.map(([stage, time]) => `${stage} ${time}`).join(", "));
  console.log(`${heard.length} chirps: ${Math.round(whole)} ms from the microphone to the ear`);
  console.log(`the journey, p50, without the devices: ${Math.round(shown)} ms; with Ben's own jitter buffer, ${Math.round(waited)} ms: ${Math.round(journey)} ms`);
  console.log(`without a server: ${Math.round(alone)} ms, ${Math.round(waitedAlone)} ms of it in the jitter buffer, and ${rest.toFixed(1)} ms in none of the stages`);
  console.log(`difference: ${(whole - journey).toFixed(1)} ms, ${(whole - rest - journey).toFixed(1)} ms of it not of the browser's own`);
} finally {
  await browser.close();
  await server.kill();
}
