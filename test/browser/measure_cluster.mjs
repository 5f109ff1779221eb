// How long a cluster's breaks last for pages in Chromium: `npm --prefix test/browser run measure:cluster`. Not a test.
//
//   KILLS=50      so many kills of a media node, and of a web node
//   PART=media    only `media`, `web` or `rolling`
//   DEV=1         the dev build instead of the one for production, which has to be built already:
//                 cargo build --release -p roomtone-nif && MIX_ENV=prod ROOMTONE_NATIVE=built mix compile
//
// Three people, each with a tone, are in one room of bin/cluster with two web nodes and three media nodes. Ada and Ben are on the room's
// first media node, Cy on another one. All three look for what is concealed of what they hear, and listen on their own audio threads: a page that draws
// itself anew looks at nothing for some 100 ms, while its sound goes on.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { freeTcpPort, freeUdpPort } from "../support/ports.mjs";
import { Cluster } from "./support/cluster.mjs";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";

const KILLS = Number(process.env.KILLS ?? 50);
const PARTS = process.env.PART ? [process.env.PART] : ["media", "web", "rolling"];
const PATIENCE = 60_000;
const ROOM = "standup";
const NODES = ["media1", "media2", "media3", "web1", "web2"];

// A page notes from its beginning when it last heard others, and the figures of all its connections, also of those that are over.
const NOTE = `{
  const connections = new Map();
  // Of each stream.
  const owners = new WeakMap();
  const Plain = RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Plain {
    constructor(...more) {
      super(...more);
      connections.set(this, {});
      this.addEventListener("track", ({ streams }) => streams.forEach((stream) => owners.set(stream, this)));
    }
  };
  const figures = ["packetsReceived", "packetsLost", "totalSamplesReceived"];
  // These count only while the connection is the one that is heard: what is sent by another goes unheard, and may well end in the middle.
  const ofHeard = ["concealedSamples", "silentConcealedSamples"];
  let heard = new Set();
  const read = async () => {
    for (const [connection, last] of connections) {
      if (connection.connectionState === "closed") continue;
      for (const stat of (await connection.getStats()).values()) {
        if (stat.type !== "inbound-rtp") continue;
        for (const figure of figures) last[figure] = stat[figure] ?? 0;
        for (const figure of ofHeard) {
          const now = stat[figure] ?? 0;
          if (heard.has(connection)) last[figure] = (last[figure] ?? 0) + now - (last.seen?.[figure] ?? 0);
          last.seen = { ...last.seen, [figure]: now };
        }
      }
    }
  };
  // The browser's figures are up to 50 ms old, so both count for a moment.
  const turn = async (stream) => {
    const next = stream && owners.get(stream);
    if (next) heard.add(next);
    for (let i = 0; i < 2; i += 1) {
      await new Promise((done) => setTimeout(done, 60));
      await read();
    }
    if (next) heard = new Set([next]);
  };
  setInterval(read, 100);
  /** Sums over all connections that there were; of what is concealed, over what was heard. */
  globalThis.received = async () => {
    await read();
    const all = [...figures, ...ofHeard];
    const sums = Object.fromEntries(all.map((figure) => [figure, 0]));
    for (const last of connections.values()) for (const figure of all) sums[figure] += last[figure] ?? 0;
    return { ...sums, connections: connections.size };
  };
  /** The server's port of the newest connection that has one. */
  globalThis.remotePort = async () => {
    for (const connection of [...connections.keys()].reverse()) {
      if (connection.connectionState !== "connected") continue;
      const stats = await connection.getStats();
      const transport = [...stats.values()].find(({ type }) => type === "transport");
      return stats.get(stats.get(transport.selectedCandidatePairId).remoteCandidateId).port;
    }
  };
  /** The times of gaps in what is heard, of 8 ms and longer: when each began and ended. */
  globalThis.gaps = [];
  globalThis.heardAt = null;
  const EAR = \`registerProcessor("ear", class extends AudioWorkletProcessor {
    #last = null;
    process([[samples]]) {
      const loud = (sample) => Math.abs(sample) > 0.005;
      const first = samples?.findIndex(loud) ?? -1;
      if (first < 0) return true;
      const from = currentTime + first / sampleRate;
      if (this.#last !== null && from - this.#last > 0.008) this.port.postMessage({ gap: [this.#last, from] });
      else if (currentTime - (this.told ?? 0) > 0.1) this.port.postMessage({ heard: (this.told = currentTime) });
      this.#last = currentTime + samples.findLastIndex(loud) / sampleRate;
      return true;
    }
  })\`;
  addEventListener("DOMContentLoaded", async () => {
    const context = new AudioContext({ sampleRate: 48000 });
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([EAR], { type: "text/javascript" })));
    const ear = new AudioWorkletNode(context, "ear");
    // It adds nothing, but isn't run otherwise.
    ear.connect(context.destination);
    /** A time of the audio thread by the page's clock, ms. */
    const onPage = (time) => {
      const { contextTime, performanceTime } = context.getOutputTimestamp();
      return performanceTime + 1000 * (time - contextTime);
    };
    ear.port.onmessage = ({ data: { gap, heard } }) => {
      if (gap) gaps.push(gap.map(onPage));
      heardAt = onPage(gap ? gap[1] : heard);
    };
    let source;
    const hear = (stream) => {
      source?.disconnect();
      source = stream && context.createMediaStreamSource(stream);
      source?.connect(ear);
    };
    // At the moment at which the page plays another stream, and not when that is seen.
    const plain = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "srcObject");
    Object.defineProperty(HTMLMediaElement.prototype, "srcObject", {
      ...plain,
      set(stream) {
        plain.set.call(this, stream);
        if (this !== document.querySelector("audio")) return;
        hear(stream);
        turn(stream);
      },
    });
    hear(document.querySelector("audio")?.srcObject);
    turn(document.querySelector("audio")?.srcObject);
  });
}`;

const sorted = (numbers) => [...numbers].sort((a, b) => a - b);
const at = (numbers, share) => sorted(numbers)[Math.min(numbers.length - 1, Math.floor(share * numbers.length))];
const told = (numbers) =>
  numbers.length === 0
    ? "none"
    : `p50 ${at(numbers, 0.5).toFixed(0)} ms, p99 ${at(numbers, 0.99).toFixed(0)} ms, at most ${at(numbers, 1).toFixed(0)} ms (${numbers.length})`;

const production = { MIX_ENV: "prod", ROOMTONE_CARGO_PROFILE: "release" };
const UDP_PORTS = (await freeUdpPort(30)) - 110;
const cluster = await Cluster.start("measure", {
  port: await freeTcpPort(30),
  udpPorts: UDP_PORTS,
  webs: 2,
  medias: 3,
  more: {
    MAX_NODE_PARTICIPANTS: "2",
    PUBLIC_IP: "127.0.0.1",
    LIMIT_LOOPBACK: "off",
    TOKEN_SECRET: randomBytes(32).toString("hex"),
    SECRET_KEY_BASE: randomBytes(64).toString("hex"),
    ...(process.env.DEV ? {} : production),
  },
});
const browser = await openBrowser();
const people = [];

/** The figures of a person's page since its beginning. */
const received = (person) => person.page.evaluate(() => globalThis.received());

/** The difference of two readings. */
const since = (before, after) => Object.fromEntries(Object.keys(after).map((figure) => [figure, after[figure] - before[figure]]));

/** The longest time without sound, ms, of gaps that ended after a moment of the page's own clock; 0 without one. One that goes on isn't counted. */
const gap = (person, from) =>
  person.page.evaluate((from) => Math.max(0, ...gaps.filter(([, end]) => end > from).map(([start, end]) => end - start)), from);

const clock = (person) => person.page.evaluate(() => performance.now());

/** The media node that a person's page is connected to. */
async function mediaNode(person) {
  const port = await person.page.evaluate(() => globalThis.remotePort());
  return port && `media${Math.floor((port - UDP_PORTS - 100) / 10)}`;
}

/** The media node of Cy's page, which is not that of the others. */
async function alone() {
  await cluster.until(async () => (await mediaNode(people[2])) !== (await mediaNode(people[0])), "Cy is on another media node", PATIENCE);
  return await mediaNode(people[2]);
}

/** Everybody's pages are in charge again and hear. */
async function settled() {
  await cluster.whole(PATIENCE);
  for (const person of people) await person.connected(PATIENCE);
  await sleep(1_000);
}

const untouched = async () => {
  for (const person of people) if (!(await person.marked())) throw new Error(`${person.name}'s page was loaded again`);
};

/** Where the page is, the state of its room, and all words of it. */
function toldByPage() {
  const status = document.querySelector("#room")?.dataset.status;
  return `${location.href}, ${status ?? "no room"}: ${document.body.innerText.replace(/\s+/g, " ").slice(0, 600)}`;
}

async function mediaKills() {
  const [ada, ben, cy] = people;
  const times = [];
  let lost = 0;
  let longest = 0;
  for (let i = 0; i < KILLS; i += 1) {
    const node = await alone();
    const before = await Promise.all([ada, ben].map(received));
    const starts = await Promise.all(people.map(clock));
    cluster.run("kill", node);
    await cluster.until(async () => ![undefined, node].includes(await mediaNode(cy)), "Cy is on another media node", PATIENCE);
    const moved = await clock(cy);
    await cy.page.waitForFunction((moved) => heardAt > moved, moved, { timeout: PATIENCE, polling: 20 });
    await cy.connected(PATIENCE);
    await sleep(500);
    times.push(await gap(cy, starts[2]));
    const after = await Promise.all([ada, ben].map(received));
    after.forEach((figures, n) => (lost += since(before[n], figures).packetsLost));
    for (const [n, person] of [ada, ben].entries()) longest = Math.max(longest, await gap(person, starts[n]));
    cluster.run("start", node);
    await settled();
    await untouched();
    process.stderr.write(`\r${i + 1} of ${KILLS} media nodes killed, ${told(times)}   `);
  }
  process.stderr.write("\n");
  console.log(`| media node killed: Cy's page is without sound for | ${told(times)} |`);
  console.log(`| … meanwhile Ada and Ben, on another media node | ${lost} packets lost, without sound for ${longest.toFixed(0)} ms at most |`);
}

async function webKills() {
  const [, , cy] = people;
  // A node that starts again gives up its rooms only to one that has been up for 30 s: see Roomtone.Cluster.Keeper.
  await sleep(31_000);
  const back = [];
  let lost = 0;
  let longest = 0;
  for (let i = 0; i < KILLS; i += 1) {
    const cookies = await cy.context.cookies(cluster.url);
    const node = cookies.find(({ name }) => name === "ROOMTONE_NODE").value;
    const before = await Promise.all(people.map(received));
    const starts = await Promise.all(people.map(clock));
    cluster.run("kill", node);
    const killed = Date.now();
    // A raised hand is shown once the room's process says that it is raised: then the page is in charge.
    const hand = cy.page.locator("#hand");
    const was = await hand.getAttribute("aria-checked");
    await hand.click();
    await cy.page.waitForFunction((was) => document.querySelector("#hand").getAttribute("aria-checked") !== was, was, { timeout: PATIENCE, polling: 10 });
    back.push(Date.now() - killed);
    await sleep(1_000);
    const after = await Promise.all(people.map(received));
    after.forEach((figures, n) => (lost += since(before[n], figures).packetsLost));
    for (const [n, person] of people.entries()) longest = Math.max(longest, await gap(person, starts[n]));
    cluster.run("start", node);
    await settled();
    await untouched();
    process.stderr.write(`\r${i + 1} of ${KILLS} web nodes killed, ${told(back)}   `);
  }
  process.stderr.write("\n");
  console.log(`| web node killed: Cy's page is in charge again after | ${told(back)} |`);
  console.log(`| … meanwhile all three | ${lost} packets lost, without sound for ${longest.toFixed(0)} ms at most |`);
}

async function rolling() {
  const before = await Promise.all(people.map(received));
  const starts = await Promise.all(people.map(clock));
  for (const node of NODES) {
    const [figures, from] = [await Promise.all(people.map(received)), await Promise.all(people.map(clock))];
    cluster.run("restart", node);
    await settled();
    for (const [n, person] of people.entries()) {
      const { concealedSamples, connections } = since(figures[n], await received(person));
      const longest = await gap(person, from[n]);
      process.stderr.write(`${node}: ${person.name} ${(concealedSamples / 48).toFixed(0)} ms concealed, gap ${longest.toFixed(0)} ms, ${connections} moves\n`);
    }
  }
  const after = await Promise.all(people.map(received));
  await untouched();
  for (const [n, person] of people.entries()) {
    const { packetsLost, concealedSamples, silentConcealedSamples, connections } = since(before[n], after[n]);
    const [concealed, silent] = [concealedSamples / 48, silentConcealedSamples / 48];
    console.log(
      `| rolling restart of all nodes, ${person.name} | ${concealed.toFixed(0)} ms concealed in all (${silent.toFixed(0)} of them silent), ` +
        `longest gap ${(await gap(person, starts[n])).toFixed(0)} ms, ${packetsLost} packets lost, ${connections} moves |`,
    );
  }
}

try {
  for (const [n, [name, tone]] of [["Ada", 500], ["Ben", 800], ["Cy", 1100]].entries()) {
    // The page's own policy lets no module be loaded that was made in it.
    const person = await Person.arrive(name, tone, { browser, init: NOTE, context: { bypassCSP: true } });
    people.push(person);
    await person.context.addCookies([{ name: "ROOMTONE_NODE", value: n === 1 ? "web2" : "web1", url: cluster.url }]);
    await person.join(cluster.url, ROOM, { timeout: PATIENCE });
    await person.mark();
  }
  await settled();
  console.log("| | |\n|---|---|");
  if (PARTS.includes("media")) await mediaKills();
  if (PARTS.includes("web")) await webKills();
  if (PARTS.includes("rolling")) await rolling();
} catch (error) {
  for (const { name, page } of people) console.error(`${name}: ${await page.evaluate(toldByPage).catch(String)}`);
  console.error("The nodes' logs are in tmp/cluster.");
  throw error;
} finally {
  await everybodyGoes(people);
  await browser.close();
  cluster.kill();
}
