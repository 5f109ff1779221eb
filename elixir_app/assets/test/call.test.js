// The one call of a page: what ends it, what doesn't, and what the next page knows of it.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { connections, FakeWebSocket, install, settle, sockets } from "./support/fakes.js";

const { Call } = await (install(), import("../js/call.js"));

const PLACE = {
  room: "standup",
  name: "Ada",
  token: "t",
  session: "s",
  tokenUrl: "/rooms/standup/token?name=Ada",
  socket: "/voice",
  path: "/rooms/standup?name=Ada",
};
let call, calls, fetched;

beforeEach(() => {
  install();
  FakeWebSocket.reply = (event) =>
    event === "phx_join" ? ["ok", { you: "Ada", participants: [], resumed: false, config: {} }] : ["ok", { sdp: "v=0", muted: false }];
  fetched = [];
  globalThis.fetch = async (url) => {
    fetched.push(url);
    return { ok: true, json: async () => ({ token: "fresh" }) };
  };
  calls = [];
  call = newPage();
});

afterEach(() => calls.forEach((one) => one.leave()));

function newPage() {
  const page = new Call();
  calls.push(page);
  return page;
}

test("entering where one is already changes nothing; elsewhere, it moves", async () => {
  call.enter(PLACE);
  await settle();
  const { room } = call;
  call.enter({ ...PLACE, token: "another", session: "of the view's remount" });
  assert.equal(call.room, room);
  assert.equal(sockets.length, 1);

  call.enter({ ...PLACE, room: "kitchen" });
  await settle();
  assert.equal(room.status, "left");
  assert.equal(call.place.room, "kitchen");
  assert.equal(sockets.length, 2);
});

test("sent elsewhere by a moderator, it ends where it was only when it is connected there, as muted as before", async () => {
  call.enter(PLACE);
  await settle();
  connections.at(-1).becomes("connected");
  call.room.setMuted(true);
  const { room: former } = call;
  const kitchen = { ...PLACE, room: "kitchen", path: "/rooms/kitchen?name=Ada" };
  assert.equal(call.isSentTo(kitchen), false);
  call.sendTo(kitchen.path);
  assert.equal(call.isSentTo(kitchen), true);
  call.enter(kitchen);
  await settle();
  assert.equal(call.place.room, "kitchen");
  assert.equal(call.isSentTo(kitchen), false);
  assert.equal(call.room.muted, true);
  assert.equal(former.status, "connected");
  connections.at(-1).becomes("connected");
  await settle();
  assert.equal(call.status, "connected");
  assert.equal(former.status, "left");
});

test("leaving ends it, and the next page knows of none", async () => {
  call.enter(PLACE);
  await settle();
  const { room } = call;
  call.leave();
  assert.equal(room.status, "left");
  assert.equal(call.place, null);
  const next = newPage();
  await next.resume();
  assert.equal(next.room, null);
  assert.deepEqual(fetched, []);
});

test("a page that was loaded anew goes on, with a fresh token, and as muted as it was", async () => {
  call.enter(PLACE);
  await settle();
  call.room.setMuted(true);
  call.unload();
  assert.equal(call.room.status, "left");

  const next = newPage();
  await next.resume();
  await settle();
  assert.deepEqual(fetched, [PLACE.tokenUrl]);
  assert.equal(next.place.token, "fresh");
  assert.equal(next.room.muted, true);
  assert.equal(sockets.at(-1).of("offer")[0].muted, true);
});

test("a copy of the tab, and a page that comes much later, don't take the call over", async () => {
  call.enter(PLACE);
  await settle();
  const copy = newPage();
  await copy.resume();
  assert.equal(copy.room, null);

  call.unload();
  const now = Date.now;
  Date.now = () => now() + 61_000;
  try {
    await copy.resume();
    assert.equal(copy.room, null);
  } finally {
    Date.now = now;
  }
});

test("who is signed out meanwhile isn't bothered", async () => {
  call.enter(PLACE);
  await settle();
  call.unload();
  globalThis.fetch = async () => ({ ok: false, status: 401, json: async () => ({ reason: "signed_out" }) });
  const next = newPage();
  await next.resume();
  assert.equal(next.room, null);
  assert.deepEqual(next.problems, []);
});

test("a call that was ended by others stays to say why, until one leaves or enters again", async () => {
  call.enter(PLACE);
  await settle();
  connections[0].becomes("connected");
  sockets[0].push("closed", { reason: "removed", message: "You were removed from the room." });
  assert.equal(call.status, "ended");
  assert.equal(call.active, false);
  assert.deepEqual(call.problems.map(({ code }) => code), ["removed"]);
  call.unload();
  const next = newPage();
  await next.resume();
  assert.equal(next.room, null);

  call.enter(PLACE);
  await settle();
  assert.equal(call.active, true);
  assert.deepEqual(call.problems, []);
});

test("problems come and go under the call's own name", async () => {
  let drawn = 0;
  call.addEventListener("problems", () => (drawn += 1));
  navigator.mediaDevices.getUserMedia = async () => {
    throw new DOMException("no", "NotAllowedError");
  };
  call.enter(PLACE);
  await settle();
  assert.deepEqual(call.problems.map(({ code }) => code), ["microphone_refused"]);
  call.solved("microphone");
  assert.deepEqual(call.problems, []);
  assert.ok(drawn >= 2);
});

test("somebody who only listens isn't asked for a microphone", async () => {
  let asked = 0;
  navigator.mediaDevices.getUserMedia = async () => {
    asked += 1;
    throw new DOMException("no", "NotAllowedError");
  };
  call.enter(PLACE, { listenOnly: true });
  await settle();
  assert.equal(asked, 0);
  assert.deepEqual(call.problems.map(({ code }) => code), ["listening_only"]);
  assert.equal(connections.length, 1);
});

test("who only listens does so on the next page, too, deafened if they were; until they open the microphone", async () => {
  let asked = 0;
  const { getUserMedia } = navigator.mediaDevices;
  navigator.mediaDevices.getUserMedia = (...more) => {
    asked += 1;
    return getUserMedia(...more);
  };
  call.enter(PLACE, { listenOnly: true });
  await settle();
  call.room.setDeafened(true);
  call.unload();

  const next = newPage();
  assert.ok(next.isKept(PLACE));
  assert.ok(!next.isKept({ ...PLACE, room: "kitchen" }));
  next.enter(PLACE);
  await settle();
  assert.equal(asked, 0);
  assert.equal(next.room.own.deafened, true);
  assert.deepEqual(next.problems.map(({ code }) => code), ["listening_only"]);
  await next.room.openMicrophone();
  next.unload();

  const third = newPage();
  await third.resume();
  await settle();
  assert.equal(asked, 2);
  assert.deepEqual(third.problems, []);
});
