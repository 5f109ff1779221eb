// The way of a page's sockets to the server, with the library's own Socket, on a clock that only the test moves.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { FakeWebSocket, install, settle, sockets } from "./support/fakes.js";

const { Socket } = await (install(), import("phoenix"));
const { Transport } = await import("../js/transport.js");
const { Signalling } = await import("../js/signalling.js");

const realFetch = globalThis.fetch;
const { close } = FakeWebSocket.prototype;
let now, polls, posted, polling, transport, socket;

beforeEach(() => {
  install();
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  now = 0;
  polls = 0;
  // The server's long polling: a session, then polls without news. Or none at all.
  polling = true;
  posted = [];
  globalThis.fetch = async (_url, { signal, method, body }) => {
    if (method === "POST") {
      posted.push(...body.split("\n").map((line) => JSON.parse(line)[3]));
      return { text: async () => JSON.stringify({ status: 200 }) };
    }
    polls += 1;
    if (!polling) throw new TypeError("network error");
    if (polls === 1) return { text: async () => JSON.stringify({ status: 410, token: "session", messages: [] }) };
    return new Promise((_resolve, reject) => {
      globalThis.endPoll = reject;
      signal?.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
    });
  };
  transport = new Transport(() => now);
  socket = new Socket("/live", transport.options({ first: 50, most: 2000 }));
});

afterEach(() => {
  socket.disconnect();
  mock.timers.reset();
  globalThis.fetch = realFetch;
});

/** Lets time go by, in small steps, and everything happen in it. */
async function wait(ms) {
  for (let left = ms; left > 0; left -= 50) {
    now += Math.min(left, 50);
    mock.timers.tick(Math.min(left, 50));
    await settle();
  }
}

const last = () => sockets.at(-1);
/** A word of the server's. */
const speak = () => last().push("phoenix", {});

test("two WebSockets that don't open: it polls", async () => {
  FakeWebSocket.fate = "fails";
  socket.connect();
  await wait(300);
  assert.equal(sockets.length, 2);
  assert.ok(transport.polling && socket.isConnected());
});

test("two WebSockets that open and break at once: it polls, even where a word came through", async () => {
  socket.connect();
  await wait(100);
  speak();
  last().breaks();
  await wait(300);
  assert.equal(sockets.length, 2);
  assert.ok(!transport.polling);
  last().breaks();
  await wait(600);
  assert.equal(sockets.length, 2);
  assert.ok(transport.polling && socket.isConnected());
});

test("a WebSocket that hangs for 2.5 s is enough", async () => {
  FakeWebSocket.fate = "hangs";
  socket.connect();
  await wait(2400);
  assert.ok(!transport.polling);
  await wait(400);
  assert.equal(sockets.length, 1);
  assert.ok(transport.polling && socket.isConnected());
});

test("a WebSocket that opens and says nothing until the library gives it up counts as one that failed", async () => {
  socket.heartbeatIntervalMs = 3000;
  FakeWebSocket.reply = () => null;
  socket.connect();
  await wait(16_000);
  assert.equal(sockets.length, 2);
  assert.ok(transport.polling && socket.isConnected());
});

test("once a WebSocket worked for 5 s the page never polls, on any of its sockets", async () => {
  socket.connect();
  await wait(100);
  speak();
  await wait(5000);
  const other = new Socket("/voice", transport.options({ first: 50, most: 2000 }));
  FakeWebSocket.fate = "fails";
  last().breaks();
  other.connect();
  await wait(20_000);
  FakeWebSocket.fate = "hangs";
  await wait(5000);
  other.disconnect();
  assert.ok(sockets.length > 10);
  assert.equal(polls, 0);
});

test("a socket whose server offers no long polling tries WebSockets alone, and one that hangs for 10 s", async () => {
  const alone = new Socket("/voice", transport.options({ first: 50, most: 2000 }, false));
  FakeWebSocket.fate = "hangs";
  alone.connect();
  await wait(9900);
  assert.equal(sockets.length, 1);
  FakeWebSocket.fate = "fails";
  await wait(5000);
  assert.ok(sockets.length >= 4, `${sockets.length} WebSockets`);
  FakeWebSocket.fate = "opens";
  await wait(3000);
  assert.ok(alone.isConnected());
  alone.disconnect();
  assert.ok(!transport.polling);
  // A room in somebody's app is one.
  FakeWebSocket.fate = "fails";
  const signalling = new Signalling({ url: "/voice", room: "r", token: "", longPoll: false });
  signalling.start();
  await wait(5000);
  signalling.stop();
  assert.equal(polls, 0);
});

test("a page that closes its own sockets soon, and a server that closes them in an orderly way, change nothing", async () => {
  for (let i = 0; i < 3; i += 1) {
    socket.connect();
    await wait(100);
    socket.disconnect();
    await wait(100);
  }
  for (const code of [1000, 1000, 1000]) {
    socket.connect();
    await wait(100);
    speak();
    FakeWebSocket.prototype.close.call(last(), code);
    socket.disconnect();
    await wait(100);
  }
  assert.equal(sockets.length, 6);
  assert.ok(!transport.polling);
});

test("where polling fails, too, WebSockets are tried again", async () => {
  FakeWebSocket.fate = "fails";
  polling = false;
  socket.connect();
  await wait(2000);
  assert.ok(sockets.length >= 3 && polls >= 1);
  FakeWebSocket.fate = "opens";
  await wait(4000);
  assert.ok(socket.isConnected() && !transport.polling);
});

test("a session of polling that breaks leads back to WebSockets", async () => {
  FakeWebSocket.fate = "fails";
  socket.connect();
  await wait(1000);
  assert.ok(socket.isConnected() && transport.polling);
  FakeWebSocket.fate = "opens";
  globalThis.endPoll(new TypeError("network error"));
  await wait(1000);
  assert.ok(socket.isConnected() && !transport.polling);
  assert.equal(sockets.length, 3);
});

test("what a polling socket was given just before its page closed it is sent", async () => {
  FakeWebSocket.fate = "fails";
  socket.connect();
  await wait(1000);
  const channel = socket.channel("room:r");
  channel.join();
  await wait(100);
  assert.deepEqual(posted, ["phx_join"]);
  channel.leave();
  socket.disconnect();
  await settle();
  assert.deepEqual(posted, ["phx_join", "phx_leave"]);
});

test("sockets that live less than 5 s don't reset the back-off", async () => {
  polling = false;
  const opened = [];
  socket.onOpen(() => opened.push(now));
  socket.connect();
  for (let i = 0; i < 40; i += 1) {
    await wait(50);
    if (last().readyState === 1) {
      speak();
      last().breaks();
    }
  }
  // With a back-off of 50 ms each time there would be forty.
  assert.ok(opened.length < 10, `${opened.length} opened`);
  for (let i = 0; i < 60 && !socket.isConnected(); i += 1) await wait(50);
  speak();
  await wait(5000);
  const before = sockets.length;
  last().breaks();
  await wait(150);
  assert.equal(sockets.length, before + 1, "after one that lived it starts anew");
});

test("signalling names what is in the way: nothing answers, or each connection breaks", async () => {
  polling = false;
  for (const [fate, reason] of [
    ["fails", "unanswered"],
    ["opens", "cut_off"],
  ]) {
    FakeWebSocket.fate = fate;
    // Broken before the room is joined.
    FakeWebSocket.reply = () => queueMicrotask(() => last().breaks());
    const waiting = [];
    const signalling = new Signalling({ url: "/voice", room: "r", token: "t" });
    signalling.addEventListener("waiting", ({ detail }) => waiting.push(detail.reason));
    signalling.start();
    await wait(10_000);
    signalling.stop();
    assert.deepEqual([...new Set(waiting)], [reason]);
  }
});

test("a server that stops, and ends the channel before the socket, isn't taken for a proxy", async () => {
  polling = false;
  FakeWebSocket.fate = "opens";
  FakeWebSocket.reply = () => ["ok", {}];
  const waiting = [];
  const signalling = new Signalling({ url: "/voice", room: "r", token: "t" });
  signalling.addEventListener("waiting", ({ detail }) => waiting.push(detail.reason));
  signalling.start();
  // The test before may have left the page polling, which fails first.
  for (let i = 0; i < 100 && !signalling.joined; i += 1) await wait(50);
  assert.ok(signalling.joined);
  FakeWebSocket.fate = "fails";
  last().push("phx_close", {});
  last().breaks();
  await wait(10_000);
  signalling.stop();
  assert.deepEqual([...new Set(waiting)], ["unanswered"]);
});

test("a page that is online again joins anew though its dead socket never closes", async () => {
  polling = false;
  FakeWebSocket.fate = "opens";
  FakeWebSocket.reply = () => ["ok", {}];
  const events = new EventTarget();
  globalThis.addEventListener = events.addEventListener.bind(events);
  globalThis.removeEventListener = events.removeEventListener.bind(events);
  /** The one that is closing for as long as the browser waits for the server's answer. */
  let dead = null;
  FakeWebSocket.prototype.close = function (...args) {
    if (this !== dead) close.apply(this, args);
    else if (dead.readyState === 1) dead.readyState = 2;
  };
  const signalling = new Signalling({ url: "/voice", room: "r", token: "t" });
  const told = [];
  for (const name of ["joined", "lost"]) signalling.addEventListener(name, () => told.push(name));
  signalling.start();
  await wait(6000);
  assert.deepEqual(told, ["joined"]);
  dead = last();
  FakeWebSocket.reply = () => null;
  const request = signalling.request("chat", {});
  FakeWebSocket.reply = () => ["ok", {}];
  try {
    events.dispatchEvent(new Event("online"));
    assert.deepEqual(told, ["joined", "lost"]);
    await assert.rejects(request, { reason: "lost" });
    await wait(100);
    assert.notEqual(last(), dead);
    assert.deepEqual(told, ["joined", "lost", "joined"]);
    assert.equal(last().of("phx_join").length, 1);
  } finally {
    FakeWebSocket.prototype.close = close;
    signalling.stop();
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});
