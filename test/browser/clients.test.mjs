// The page of docs/clients.md, in Chromium: plain JavaScript without a library of ours, from another origin than the server's.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { HEARD, SILENT, openBrowser } from "./support/person.mjs";
import { ROOT, Server, together } from "./support/server.mjs";

const ROOM = "clients";
let server;
let browser;
let elsewhere;
let pages;

/** The code block of the guide that is a whole page. */
const guidesPage = () => readFileSync(join(ROOT, "docs/clients.md"), "utf8").match(/```html\n(<!doctype html>[^]*?)```/)[1];

before(async () => {
  const html = guidesPage();
  pages = createServer((_request, response) => response.setHeader("content-type", "text/html").end(html));
  await new Promise((resolve) => pages.listen(0, "127.0.0.1", resolve));
  elsewhere = `http://localhost:${pages.address().port}/`;
  [server, browser] = await together(Server.start("clients"), openBrowser());
});

after(async () => {
  await browser?.close();
  await server?.kill();
  pages?.close();
});

/** A page of the guide, with a microphone that plays a tone and an ear that tells how loud one is. */
async function open(tone, protocol, name) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.addInitScript(`
    navigator.mediaDevices.getUserMedia = async () => {
      const context = new AudioContext({ sampleRate: 48000 });
      const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
      const oscillator = new OscillatorNode(context, { frequency: ${tone} });
      oscillator.connect(new GainNode(context, { gain: 0.1 })).connect(destination);
      oscillator.start();
      return destination.stream;
    };
    globalThis.loudness = (hz) => {
      if (!globalThis.ear) {
        const context = new AudioContext({ sampleRate: 48000 });
        globalThis.ear = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
        context.createMediaStreamSource(document.querySelector("audio").srcObject).connect(ear);
      }
      const bins = new Float32Array(ear.frequencyBinCount);
      ear.getFloatFrequencyData(bins);
      const at = Math.round((hz / 48000) * 8192);
      return Math.max(...bins.slice(at - 1, at + 2));
    };
  `);
  await page.goto(`${elsewhere}#${new URLSearchParams({ url: `${server.url}/${protocol}/${ROOM}`, token: server.token(ROOM, name) })}`);
  await page.click("#join");
  await state(page, "connected");
  return page;
}

const state = (page, wanted) => page.waitForFunction((text) => document.querySelector("#state").value === text, wanted, { timeout: 15_000 });
const hears = (page, hz) => page.waitForFunction(([hz, loud]) => loudness(hz) > loud, [hz, HEARD], { timeout: 20_000, polling: 100 });
const hearsNothing = (page, hz) => page.waitForFunction(([hz, loud]) => loudness(hz) < loud, [hz, SILENT], { timeout: 20_000, polling: 100 });

test("the guide's page has 30 lines", () => {
  assert.ok(guidesPage().trim().split("\n").length <= 30, guidesPage());
});

test("two people on the guide's page hear each other, a third one listens by WHEP, and ICE is restarted in mid-call", async () => {
  const low = await open(500, "whip", "Low");
  const high = await open(900, "whip", "High");
  const ear = await open(1300, "whep", "Ear");
  await Promise.all([hears(low, 900), hears(high, 500), hears(ear, 500), hears(ear, 900)]);
  await Promise.all([hearsNothing(low, 500), hearsNothing(low, 1300)]);

  // The guide's page leaves this out: new credentials by PATCH, which RFC 9725 has instead of another offer.
  const restarted = await low.evaluate(async () => {
    const before = peer.remoteDescription.sdp;
    await peer.setLocalDescription(await peer.createOffer({ iceRestart: true }));
    const lines = peer.localDescription.sdp.split("\r\n");
    const ours = lines.filter((line) => /^(m=audio|a=mid:|a=ice-ufrag:|a=ice-pwd:|a=candidate:)/.test(line)).join("\r\n") + "\r\n";
    const send = (body, tag) =>
      fetch(session, { method: "PATCH", headers: { ...headers, "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": tag }, body });
    const response = await send(ours, "*");
    const theirs = await response.text();
    const value = (key) => theirs.match(new RegExp(`a=${key}:(.*)`))[1].trim();
    const answer = before.replace(/a=ice-ufrag:.*/g, `a=ice-ufrag:${value("ice-ufrag")}`).replace(/a=ice-pwd:.*/g, `a=ice-pwd:${value("ice-pwd")}`);
    await peer.setRemoteDescription({ type: "answer", sdp: answer });
    const tag = response.headers.get("ETag");
    return { status: response.status, changed: answer !== before, trickled: (await send(ours, tag)).status, outdated: (await send(ours, '"x"')).status };
  });
  assert.deepEqual(restarted, { status: 200, changed: true, trickled: 204, outdated: 412 });
  await low.waitForFunction(
    async () => {
      const pairs = [...(await peer.getStats()).values()].filter((entry) => entry.type === "candidate-pair" && entry.nominated);
      const ufrag = peer.remoteDescription.sdp.match(/a=ice-ufrag:(.*)/)[1].trim();
      const remote = [...(await peer.getStats()).values()].filter((entry) => entry.type === "remote-candidate").map((entry) => entry.usernameFragment);
      return pairs.length > 0 && remote.includes(ufrag) && peer.iceConnectionState === "connected";
    },
    undefined,
    { timeout: 15_000, polling: 200 },
  );
  await Promise.all([hears(low, 900), hears(high, 500)]);

  await high.click("#leave");
  await hearsNothing(low, 900);
  // The session is over.
  const gone = await high.evaluate(async () => (await fetch(session, { method: "DELETE", headers })).status);
  assert.equal(gone, 404);
});
