// Two web nodes and two media nodes, as `bin/cluster` runs them: one room on both web nodes, and nodes that are killed during a call.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Cluster } from "./support/cluster.mjs";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { freeTcpPort, freeUdpPort } from "../support/ports.mjs";
import { exactly } from "./support/exactly.mjs";

const TONES = [500, 800];
let cluster, browser, ada, ben;

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
  for (let look = 0; look < 50; look += 1) {
    for (const node of ["media1", "media2"]) if ((await cluster.health(node))?.participants === 2) return node;
    await sleep(100);
  }
  throw new Error(`nobody is on a media node:\n${cluster.run("status")}`);
}

test("people on pages of two web nodes hear each other through one media node", async () => {
  await ada.join(cluster.url, "standup");
  await ben.join(cluster.url, "standup");
  await ada.hears([TONES[1]], TONES);
  await ben.hears([TONES[0]], TONES);
  await Promise.all([ada.mark(), ben.mark()]);
  const health = await cluster.health(await busy());
  assert.deepEqual([health.role, health.rooms, health.web_nodes], ["media", 1, 2]);
});

test("the media node is killed: both are back on the other one, without a click or a new page", async () => {
  const node = await busy();
  cluster.run("kill", node);
  const began = Date.now();
  await ada.hears([TONES[1]], TONES, 20_000);
  await ben.hears([TONES[0]], TONES, 20_000);
  console.log(`  sound is back ${Date.now() - began} ms after the kill`);
  assert.notEqual(await busy(), node);
  assert.ok((await ada.marked()) && (await ben.marked()), "a page was loaded again");
  cluster.run("start", node);
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

test("the media node is stopped: the room leaves it first, without a break in the sound", async () => {
  const node = await busy();
  const watched = await Promise.all([watch(ada), watch(ben)]);
  const began = Date.now();
  cluster.run("stop", node);
  assert.ok(Date.now() - began < 40_000, "it waited for the end of its time");
  assert.notEqual(await busy(), node);
  for (const end of watched) {
    const { states, silence } = await end();
    console.log(`  silent for ${Math.round(silence)} ms at most`);
    assert.deepEqual(states, ["connected"]);
  }
  await ada.hears([TONES[1]], TONES);
  await ben.hears([TONES[0]], TONES);
  assert.ok((await ada.marked()) && (await ben.marked()), "a page was loaded again");
  cluster.run("start", node);
});

for (const node of ["web2", "web1"]) {
  test(`${node} is killed: its person comes back by the other web node, without a click or a new page`, async () => {
    cluster.run("kill", node);
    const began = Date.now();
    await ada.hears([TONES[1]], TONES, 30_000);
    await ben.hears([TONES[0]], TONES, 30_000);
    await Promise.all([ada.connected(), ben.connected()]);
    console.log(`  both are back ${Date.now() - began} ms after the kill`);
    assert.ok((await ada.marked()) && (await ben.marked()), "a page was loaded again");
    await exactly(ben.participant("Ada"), 1);
    assert.equal(await ben.page.locator('[data-problem="restored"]').count(), 0, "Ben was muted");
    cluster.run("start", node);
    // It is in the cluster when it knows the room of the other; the memory of the room follows at once.
    for (const end = Date.now() + 30_000; !(await cluster.health(node))?.rooms && Date.now() < end; ) await sleep(100);
    await sleep(2_000);
  });
}
