// How long a newcomer waits, how much they load, and what a page of sixty people costs: `npm --prefix test/browser run measure`. Not a test.
//
//   JOINS=10      so many newcomers, one after the other
//   URLS=1        names what they load
//   TRACE=1       tells when each step on a newcomer's way was done, and measures nothing else
//   SOURCE=1      the server as `bin/server` runs it, without a bundle, instead of a release
//
//   BUILT=1       the release that is there from last time
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Person, openBrowser } from "./support/person.mjs";
import { Server } from "./support/server.mjs";

const JOINS = Number(process.env.JOINS ?? 10);
const ROOM = "standup";
/** 1.6 Mbit/s down, half of that up, and 150 ms for each request. */
const SLOW = { offline: false, latency: 150, downloadThroughput: 1.6e6 / 8, uploadThroughput: 0.8e6 / 8 };
const CROWD = { peers: 57, talkers: 0, seconds: 120 };
const TALKERS = 3;
const CROWD_S = 20;

/** A window that has just opened isn't at rest before that. */
const OPENED_MS = 1000;

// Runs in the newcomer's page before anything else: notes when the room is joined, and when the first packet is played that is louder than
// −50 dBFS, and tells when both are known. Without an AudioContext: the first of a page stops it for 60 ms.
const EAR = `{
  const connections = [];
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...args) {
      super(...args);
      connections.push(this);
    }
  };
  const tell = () => globalThis.connectedAt && globalThis.heardAt && console.debug("measured");
  const threshold = 10 ** (-50 / 20);
  const look = setInterval(() => {
    const played = connections.flatMap((one) => one.getReceivers()).flatMap((one) => one.getSynchronizationSources());
    if (!played.some(({ audioLevel }) => audioLevel > threshold)) return;
    clearInterval(look);
    globalThis.heardAt = performance.now();
    tell();
  }, 4);
  addEventListener("DOMContentLoaded", () => {
    const page = new MutationObserver(() => {
      if (!document.querySelector('#room[data-status="connected"]')) return;
      page.disconnect();
      globalThis.connectedAt = performance.now();
      tell();
    });
    page.observe(document.documentElement, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-status"] });
  });
}`;
// Notes when the view of a page is connected.
const LIVE = `addEventListener("DOMContentLoaded", () => {
  const page = new MutationObserver(() => {
    if (document.querySelector("[data-phx-main].phx-connected")) globalThis.liveAt ??= performance.now();
  });
  page.observe(document.documentElement, { subtree: true, attributes: true, attributeFilter: ["class"] });
});`;

// Notes the first time of each step. The names are those of the table in docs/benchmarks-app.md.
const TRACE = `{
  const trace = (globalThis.trace = {});
  const note = (name) => (trace[name] ??= performance.now());
  const wrap = (object, name, before, after) => {
    const original = object[name];
    object[name] = function (...args) {
      before?.call(this, ...args);
      const result = original.apply(this, args);
      result?.then?.((value) => after?.call(this, value), () => {});
      return result;
    };
  };
  addEventListener("DOMContentLoaded", () => note("scripts run"));
  wrap(globalThis, "fetch", () => note("form sent"), () => note("form answered"));
  wrap(navigator.mediaDevices ?? {}, "getUserMedia", () => note("microphone asked for"), () => note("microphone open"));
  const event = (data) => (typeof data === "string" ? JSON.parse(data) : []);
  globalThis.WebSocket = class extends WebSocket {
    constructor(url, ...more) {
      super(url, ...more);
      const kind = new URL(url, location).pathname.includes("/voice") ? "voice" : "view";
      const views = (globalThis.views ??= []);
      if (kind === "view") views.push(this);
      const own = kind === "view" ? "view " + views.length : kind;
      note(own + ": socket asked for");
      this.addEventListener("open", () => note(own + ": socket open"));
      const asked = {};
      this.addEventListener("message", ({ data }) => {
        const [, ref, topic, name] = event(data);
        if (name === "phx_reply" && asked[ref]) note(asked[ref] + " answered");
      });
      this.told = (data) => {
        const [, ref, topic, name] = event(data);
        asked[ref] = own + ": " + name + (name === "phx_join" && kind === "view" ? " " + Object.values(asked).filter((one) => one.includes("phx_join")).length : "");
        note(asked[ref] + " sent");
      };
    }
    send(data) {
      this.told(data);
      super.send(data);
    }
  };
  const connection = RTCPeerConnection.prototype;
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...args) {
      super(...args);
      const own = "connection " + (globalThis.connections = (globalThis.connections ?? 0) + 1);
      note(own + " made");
      this.own = own;
      this.addEventListener("icegatheringstatechange", () => note(own + ": gathering " + this.iceGatheringState));
      this.addEventListener("iceconnectionstatechange", () => note(own + ": ICE " + this.iceConnectionState));
      this.addEventListener("connectionstatechange", () => note(own + ": " + this.connectionState));
    }
  };
  wrap(connection, "setLocalDescription", undefined, function () { note(this.own + ": offer made"); });
  wrap(connection, "setRemoteDescription", function () { note(this.own + ": answer taken"); }, function () { note(this.own + ": answer set"); });
  addEventListener("playing", ({ target }) => target.id === "sound" && note("element plays"), { capture: true });
}`;

/** Fills in the lobby's form once the page's own scripts have run: before that, the room would ask for the microphone once more. */
const FORM = ([name, room]) => {
  if (location.pathname !== "/") return;
  addEventListener("DOMContentLoaded", () => {
    document.querySelector("[name=name]").value = name;
    document.querySelector("[name=room]").value = room;
    document.querySelector("#enter [type=submit]").click();
  });
};

/** Talks like a person, as far as the levels of it go: words, and every few seconds a pause. */
const TALK = () => {
  const words = () => {
    const pause = Math.floor(performance.now() / 2500) % 3 === talker;
    microphone.gain.value = pause ? 0 : 0.02 + 0.2 * Math.random();
    setTimeout(words, 150);
  };
  words();
};

const middle = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
const told = (numbers) => `p50 ${Math.round(middle(numbers))} ms, ${Math.round(Math.min(...numbers))} to ${Math.round(Math.max(...numbers))} ms`;
const kB = (bytes) => `${(bytes / 1000).toFixed(0)} kB`;

const { server, crowd, stop } = await (process.env.SOURCE ? fromSource() : fromRelease());
const browser = await openBrowser();
try {
  const talker = await Person.arrive("Tone", 500, { browser });
  await talker.join(server.url, ROOM);
  const [connected, heard] = [[], []];
  const steps = {};
  let weight;
  for (let i = 0; i < JOINS; i += 1) {
    // Each in a context of their own: nothing is cached.
    const person = await Person.arrive(`Newcomer ${i}`, 800, { browser, microphone: "device" });
    await person.page.addInitScript(EAR);
    await sleep(OPENED_MS);
    if (process.env.TRACE) await person.page.addInitScript(TRACE);
    const took = await visit(person);
    connected.push(took.connected);
    heard.push(took.heard);
    weight ??= took.weight;
    for (const [step, ms] of Object.entries(took.trace)) (steps[step] ??= []).push(ms);
    await person.leave();
    await person.go();
  }
  console.log(`GET / to joined:    ${told(connected)}`);
  console.log(`GET / to hearing:   ${told(heard)}`);
  console.log(`lobby and room:     ${kB(weight.bytes)} on the wire in ${weight.requests} requests`);
  for (const [step, times] of Object.entries(steps).sort(([, one], [, other]) => middle(one) - middle(other)))
    console.log(`${String(Math.round(middle(times))).padStart(6)} ms  ${step} (${times.length} of ${JOINS})`);
  if (process.env.URLS) console.log(weight.urls.join("\n"));

  const visits = [];
  for (let i = 0; i < Math.min(process.env.TRACE ? 0 : JOINS, 5); i += 1) visits.push(await slowly(i));
  for (const [i, which] of visits.length ? ["first", "second"].entries() : []) {
    const of = (key) => visits.map((pair) => pair[i][key]);
    console.log(`1.6 Mbit/s, ${which}:`.padEnd(20) + `painted ${told(of("painted"))}; live ${told(of("live"))}; ${kB(middle(of("bytes")))}`);
  }
  await talker.go();
  if (crowd && !process.env.TRACE) await sixty();
} finally {
  await browser.close();
  await stop();
}

async function fromSource() {
  const server = await Server.start("measure");
  return { server, stop: () => server.kill() };
}

async function fromRelease() {
  const { build, Crowd, Release } = await import("../release/support.mjs");
  if (!process.env.BUILT) build();
  const server = await Release.start("measure", { MAX_PARTICIPANTS: "100" });
  return { server, crowd: () => new Crowd(server, "hall", CROWD), stop: () => server.kill() };
}

/** Counts the requests of a page that went to the server, and their bytes. @param {import("playwright-core").CDPSession} session */
async function count(session) {
  const load = { bytes: 0, requests: 0, urls: [] };
  const ours = new Set();
  const urls = new Map();
  await session.send("Network.enable");
  session.on("Network.responseReceived", ({ requestId, response }) => {
    urls.set(requestId, response.url);
    if (response.url.startsWith("http") && !response.fromDiskCache) ours.add(requestId);
  });
  session.on("Network.requestServedFromCache", ({ requestId }) => ours.delete(requestId));
  session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    if (!ours.has(requestId) || encodedDataLength === 0) return;
    load.requests += 1;
    load.bytes += encodedDataLength;
    load.urls.push(`${(encodedDataLength / 1000).toFixed(1).padStart(6)} kB  ${urls.get(requestId)}`);
  });
  return load;
}

/** From `GET /` through the form into the room, as fast as a hand could that needs no time: in one go, once the scripts have run. */
async function visit(person) {
  const { page } = person;
  const load = await count(await person.context.newCDPSession(page));
  await page.addInitScript(FORM, [person.name, ROOM]);
  // A function that is waited for in the page would take its thread for 20 ms.
  const measured = page.waitForEvent("console", { predicate: (message) => message.text() === "measured", timeout: 60_000 });
  const began = Date.now();
  await Promise.all([measured, page.goto(`${server.url}/`, { waitUntil: "commit" })]);
  const times = await page.evaluate(() => {
    const [page] = performance.getEntriesByType("navigation");
    const script = performance.getEntriesByType("resource").find(({ name }) => name.endsWith(".js"));
    const before = { "page asked for": page.requestStart, "page answered": page.responseEnd, "script there": script?.responseEnd };
    return { origin: performance.timeOrigin, connected: connectedAt, heard: heardAt, trace: globalThis.trace && { ...before, ...trace, "in the room": connectedAt, "first sound": heardAt } };
  });
  const since = (ms) => times.origin + ms - began;
  const trace = Object.fromEntries(Object.entries(times.trace ?? {}).map(([step, at]) => [step, since(at)]));
  return { connected: since(times.connected), heard: since(times.heard), weight: load, trace };
}

/** The lobby on a slow line, by somebody who has never been there, and again. */
async function slowly(i) {
  const person = await Person.arrive(`Slow ${i}`, 800, { browser });
  const { page, context } = person;
  await page.addInitScript(LIVE);
  const session = await context.newCDPSession(page);
  const load = await count(session);
  await session.send("Network.emulateNetworkConditions", SLOW);
  const visits = [];
  for (const _ of [1, 2]) {
    const before = load.bytes;
    await page.goto(`${server.url}/`);
    await page.waitForFunction(() => globalThis.liveAt !== undefined && performance.getEntriesByName("first-contentful-paint").length > 0);
    const times = await page.evaluate(() => ({ live: liveAt, painted: performance.getEntriesByName("first-contentful-paint")[0].startTime }));
    visits.push({ ...times, bytes: load.bytes - before });
    await page.goto("about:blank");
  }
  await person.go();
  return visits;
}

/** The processor time of a process's main thread, in seconds, as Linux counts it. @param {number} id */
function threadSeconds(id) {
  const stat = readFileSync(`/proc/${id}/task/${id}/stat`, "utf8");
  // After the name in brackets, which is the second field; utime and stime are the 14th and 15th, in 1/100 s (proc_pid_stat(5)).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** The processor time of one page's main thread, with sixty people in its room of whom three talk, and how often their order changed. */
async function sixty() {
  const people = crowd();
  const talkers = [];
  for (let i = 0; i < TALKERS; i += 1) {
    const talker = await Person.arrive(`Talker ${i}`, 500 + 300 * i, { browser });
    talkers.push(talker);
    await talker.join(server.url, "hall");
    await talker.page.evaluate((i) => (globalThis.talker = i), i);
    await talker.page.evaluate(TALK);
    // The call goes on, and the page of the room isn't drawn.
    await talker.page.getByRole("link", { name: "How it works" }).click();
  }
  const person = await Person.arrive("Watcher", 800, { browser });
  const { page } = person;
  await person.join(server.url, "hall");
  await page.locator("#count").getByText(`${CROWD.peers + TALKERS + 1} people`).waitFor({ timeout: 60_000 });
  await sleep(5000);
  const session = await browser.newBrowserCDPSession();
  // The first thread of a process is its main one. Of all pages, the one that does most is meant.
  const spent = async () => {
    const { processInfo } = await session.send("SystemInfo.getProcessInfo");
    return new Map(processInfo.filter(({ type }) => type === "renderer").map(({ id }) => [id, threadSeconds(id)]));
  };
  await page.bringToFront();
  await page.evaluate(() => {
    globalThis.moves = globalThis.frames = globalThis.levels = 0;
    const frame = () => requestAnimationFrame(frame, (frames += 1));
    frame();
    new MutationObserver((changes) => (levels += changes.length)).observe(document.querySelector("#people"), {
      attributes: true,
      subtree: true,
      attributeFilter: ["style"],
    });
    new MutationObserver((changes) => (moves += changes.filter(({ addedNodes }) => addedNodes.length > 0).length)).observe(
      document.querySelector("#people"),
      { childList: true },
    );
  });
  const began = Date.now();
  const before = await spent();
  await sleep(CROWD_S * 1000);
  const after = await spent();
  const seconds = (Date.now() - began) / 1000;
  const most = Math.max(...[...after].map(([id, now]) => now - (before.get(id) ?? now)));
  console.log(
    `sixty people:       main thread ${((100 * most) / seconds).toFixed(1)} % of a core; ` +
      `${await page.evaluate(() => `${moves} cards moved, ${levels} rings and ${frames} frames drawn`)} in ${Math.round(seconds)} s`,
  );
  for (const one of [person, ...talkers]) await one.go();
  people.goHome();
  await people.done;
}
