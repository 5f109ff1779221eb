// Two web nodes and two media nodes, as `bin/cluster` runs them: one room on both web nodes, and nodes that are killed during a call.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster } from "./support/cluster.mjs";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { freeTcpPort, freeUdpPort } from "../support/ports.mjs";
import { exactly } from "./support/exactly.mjs";

const TONES = [500, 800];
const ROOM = "standup";
/** How long anything may take on a machine that is slow. */
const PATIENCE = 60_000;
let cluster, browser, ada, ben;
/** Whether nodes and pages may be in a state that a test left behind when it failed. */
let spoiled = true;

before(async () => {
  // The proxy, and its nodes up to 29 ports further; the media ports of two nodes, from 110 ports above the first.
  const [port, udpPorts] = [await freeTcpPort(30), (await freeUdpPort(20)) - 110];
  cluster = await Cluster.start("calls", { port, udpPorts, webs: 2, medias: 2 });
  browser = await openBrowser();
  [ada, ben] = await Promise.all([Person.arrive("Ada", TONES[0], { browser }), Person.arrive("Ben", TONES[1], { browser })]);
  // The proxy brings each to a web node of their own.
  await ada.context.addCookies([{ name: "ROOMTONE_NODE", value: "web1", url: cluster.url }]);
  await ben.context.addCookies([{ name: "ROOMTONE_NODE", value: "web2", url: cluster.url }]);
});

after(async () => {
  await everybodyGoes([ada, ben]);
  await browser?.close();
  cluster?.kill();
});

/** The media node that both people are on. */
async function busy() {
  let node;
  const found = async () => {
    for (node of ["media1", "media2"]) if ((await cluster.health(node))?.participants === 2) return true;
  };
  await cluster.until(found, "both people are on one media node", PATIENCE);
  return node;
}

/** Both people are connected, hear each other, and nobody else. */
async function hearEachOther() {
  await Promise.all([ada.connected(PATIENCE), ben.connected(PATIENCE)]);
  await ada.hears([TONES[1]], TONES, PATIENCE);
  await ben.hears([TONES[0]], TONES, PATIENCE);
}

/** All nodes run and know each other, and both people are in a call on pages that are marked: whatever the test before did. */
async function ready() {
  await cluster.whole(PATIENCE);
  if (spoiled) {
    for (const person of [ada, ben]) {
      await person.page.goto("about:blank");
      await person.join(cluster.url, ROOM, { timeout: PATIENCE });
    }
  }
  await hearEachOther();
  await Promise.all([ada.mark(), ben.mark()]);
}

/** A test that depends on none before it. */
function check(name, run) {
  test(name, async () => {
    await ready();
    spoiled = true;
    await run();
    spoiled = false;
  });
}

async function stillMarked() {
  assert.ok((await ada.marked()) && (await ben.marked()), "a page was loaded again");
}

check("people on pages of two web nodes hear each other through one media node", async () => {
  const health = await cluster.health(await busy());
  assert.deepEqual([health.role, health.rooms, health.web_nodes], ["media", 1, 2]);
});

check("the media node is killed: both are back on the other one, without a click or a new page", async () => {
  const node = await busy();
  cluster.run("kill", node);
  const began = Date.now();
  await ada.hears([TONES[1]], TONES, PATIENCE);
  await ben.hears([TONES[0]], TONES, PATIENCE);
  console.log(`  sound is back ${Date.now() - began} ms after the kill`);
  assert.notEqual(await busy(), node);
  await stillMarked();
});

/**
 * Watches a page from now on: the returned function ends that, and gives the states that the call was in, and for how many
 * milliseconds at most it played nothing.
 */
async function watch(person) {
  await person.page.evaluate(() => {
    const room = document.querySelector("#room");
    const seen = { states: new Set([room.dataset.status]), silence: 0 };
    const observer = new MutationObserver(() => seen.states.add(room.dataset.status));
    observer.observe(room, { attributes: true, attributeFilter: ["data-status"] });
    const context = new AudioContext({ sampleRate: 48000 });
    const analyser = new AnalyserNode(context, { fftSize: 512 });
    const samples = new Float32Array(analyser.fftSize);
    let [stream, source, heardAt] = [null, null, performance.now()];
    const timer = setInterval(() => {
      const { srcObject } = document.querySelector("audio");
      if (stream !== srcObject) {
        source?.disconnect();
        stream = srcObject;
        source = context.createMediaStreamSource(stream);
        source.connect(analyser);
      }
      analyser.getFloatTimeDomainData(samples);
      const now = performance.now();
      if (samples.some((sample) => Math.abs(sample) > 0.01)) heardAt = now;
      else seen.silence = Math.max(seen.silence, now - heardAt);
    }, 5);
    globalThis.watched = () => {
      clearInterval(timer);
      observer.disconnect();
      context.close();
      return { ...seen, states: [...seen.states] };
    };
  });
  return async () => await person.page.evaluate(() => globalThis.watched());
}

check("the media node is stopped: the room leaves it first, without a break in the sound", async () => {
  const node = await busy();
  const watched = await Promise.all([watch(ada), watch(ben)]);
  const began = Date.now();
  cluster.run("stop", node);
  assert.ok(Date.now() - began < 1000 * (cluster.drainSeconds - 10), "it waited for the end of its time");
  assert.notEqual(await busy(), node);
  for (const end of watched) {
    const { states, silence } = await end();
    console.log(`  silent for ${Math.round(silence)} ms at most`);
    assert.deepEqual(states, ["connected"]);
  }
  await hearEachOther();
  await stillMarked();
});

for (const node of ["web2", "web1"]) {
  check(`${node} is killed: its person comes back by the other web node, without a click or a new page`, async () => {
    cluster.run("kill", node);
    const began = Date.now();
    await hearEachOther();
    console.log(`  both are back ${Date.now() - began} ms after the kill`);
    await stillMarked();
    await exactly(ben.participant("Ada"), 1, PATIENCE);
    assert.equal(await ben.page.locator('[data-problem="restored"]').count(), 0, "Ben was muted");
  });
}
