// When a silence is a broken path, on a clock that only the test moves.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { settle } from "./support/fakes.js";
import { PathWatch } from "../js/path_watch.js";

let now, flowing, answers, sending, talking, connection, asked, repairs, watch;

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  now = 1000;
  flowing = answers = sending = talking = true;
  asked = { ping: 0, sent: 0 };
  repairs = [];
  let newest = 0;
  let sent = 0;
  connection = {
    getReceivers: () => [{ getSynchronizationSources: () => (newest > 0 || flowing ? [{ timestamp: flowing ? (newest = now) : newest }] : []) }],
  };
  watch = new PathWatch({
    connection: () => connection,
    expected: () => talking,
    ping: async () => {
      asked.ping += 1;
      return answers;
    },
    sent: async () => {
      asked.sent += 1;
      if (sending) sent += 1;
      return sent;
    },
    restart: () => repairs.push(["restart", now]),
    reconnect: () => repairs.push(["reconnect", now]),
    now: () => now,
  });
  watch.start();
});

afterEach(() => {
  watch.stop();
  mock.timers.reset();
});

async function wait(ms) {
  for (let left = ms; left > 0; left -= 20) {
    now += 20;
    mock.timers.tick(20);
    await settle();
  }
}

const kinds = () => repairs.map(([kind]) => kind);

test("sound that comes asks nobody", async () => {
  await wait(5000);
  assert.deepEqual([asked, repairs], [{ ping: 0, sent: 0 }, []]);
});

test("a server that answers and goes on sending what doesn't come: ICE restarts, soon", async () => {
  await wait(1000);
  flowing = false;
  const since = now;
  await wait(1000);
  assert.deepEqual(kinds(), ["restart"]);
  assert.ok(repairs[0][1] - since < 800, `after ${repairs[0][1] - since} ms`);
});

test("a server that doesn't answer: the signalling first", async () => {
  await wait(1000);
  flowing = answers = false;
  await wait(1000);
  assert.deepEqual(kinds(), ["reconnect"]);
  assert.ok(watch.isSilent);
  flowing = true;
  await wait(200);
  assert.ok(!watch.isSilent);
});

test("nobody talks, or the server sends nothing: the silence is its own, and asked about once", async () => {
  for (const quiet of [() => (talking = false), () => (talking = sending = true) && (sending = false)]) {
    quiet();
    await wait(1000);
    flowing = false;
    await wait(800);
    assert.deepEqual(repairs, []);
    flowing = true;
  }
  talking = false;
  await wait(1000);
  flowing = false;
  const before = asked.ping;
  await wait(10_000);
  assert.equal(asked.ping, before + 1);
});

test("somebody who talks into a silence that was explained is missed, if they don't come", async () => {
  talking = false;
  await wait(1000);
  flowing = false;
  await wait(2000);
  assert.deepEqual(repairs, []);
  talking = true;
  await wait(500);
  assert.deepEqual(kinds(), ["restart"]);
});

test("a call that never had sound, and one without a connection, are let alone", async () => {
  flowing = false;
  await wait(5000);
  flowing = true;
  await wait(1000);
  connection = null;
  answers = false;
  await wait(5000);
  watch.changed();
  await wait(1000);
  assert.deepEqual([asked.ping, repairs], [0, []]);
});

test("the browser's word of another network is enough; many of them repair once", async () => {
  await wait(1000);
  watch.changed();
  watch.changed();
  flowing = false;
  await settle();
  await wait(100);
  watch.changed();
  await wait(1000);
  assert.deepEqual(kinds(), ["restart"]);
});

test("repairs that don't help come less and less often", async () => {
  const broken = async (ms) => {
    flowing = true;
    await wait(800);
    flowing = false;
    await wait(ms);
  };
  await wait(1000);
  for (let i = 0; i < 60; i += 1) await broken(1000);
  // Two minutes.
  assert.ok(repairs.length >= 3 && repairs.length <= 8, `${repairs.length} repairs`);
});
