// The one call of a page: what ends it, what doesn't, and what the next page knows of it.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { connections, FakeWebSocket, install, settle, sockets } from "./support/fakes.js";

const { Call } = await (install(), import("../js/call.js"));
const { announceCall } = await import("../js/announcements.js");

const PLACE = {
  room: "standup",
  name: "Ada",
  token: "t",
  session: "s",
  tokenUrl: "/rooms/standup/token?name=Ada",
  socket: "/voice",
  goodbyeUrl: "/goodbye",
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

const KITCHEN = { ...PLACE, room: "kitchen", path: "/rooms/kitchen?name=Ada" };

/** Ada is connected, and a moderator sends her to the kitchen. */
async function sentToKitchen({ before = () => {}, reply } = {}) {
  call.enter(PLACE);
  await settle();
  connections.at(-1).becomes("connected");
  before(call.room);
  const { room: former } = call;
  if (reply) FakeWebSocket.reply = reply;
  call.sendTo(KITCHEN.path);
  call.enter(KITCHEN);
  await settle();
  return former;
}

for (const silenced of [{ silenced: true }, { role: "listener" }]) {
  test(`sent elsewhere while nobody hears them (${Object.keys(silenced)}), their microphone doesn't open there by itself`, async () => {
    const { reply } = FakeWebSocket;
    const ada = { id: "Ada", name: "Ada", muted: false, ...silenced };
    FakeWebSocket.reply = (event) =>
      event === "phx_join" ? ["ok", { you: "Ada", participants: [ada], resumed: false, config: {} }] : reply(event);
    const former = await sentToKitchen({ reply });
    assert.equal(former.status, "connected");
    assert.equal(call.room.muted, true);
    assert.equal(sockets.at(-1).of("offer")[0].muted, true);
    // Nobody was asked for one before.
    assert.equal(call.room.microphone, null);
  });
}

test("muted and deafened on the way to another room, they are so in the former one, too", async () => {
  const former = await sentToKitchen();
  assert.equal(former.muted, false);
  call.room.setMuted(true);
  assert.equal(former.muted, true);
  call.room.setMuted(false);
  assert.equal(former.muted, true);
  call.room.setDeafened(true);
  assert.equal(former.own.deafened, true);
});

test("refused by the room to which they were sent, they are where they were, and are told why", async () => {
  const { reply } = FakeWebSocket;
  const statuses = [];
  const backs = [];
  call.addEventListener("status", ({ detail }) => statuses.push(detail));
  call.addEventListener("back", ({ detail }) => backs.push([detail.room, call.isAt(KITCHEN)]));
  const former = await sentToKitchen({
    before: () => (statuses.length = 0),
    reply: (event) => (event === "phx_join" ? ["error", { reason: "room_full", message: "The kitchen is full." }] : reply(event)),
  });
  assert.equal(call.room, former);
  assert.equal(call.place, PLACE);
  assert.equal(call.status, "connected");
  assert.deepEqual(statuses, ["connecting", "connected"]);
  assert.deepEqual(backs, [["standup", true]]);
  assert.deepEqual(call.problems.map(({ title, action }) => [title, action]), [["The kitchen is full.", "dismiss"]]);
  assert.equal(JSON.parse(sessionStorage.getItem("roomtone:call")).room, "standup");
  // From now on it ends as any other.
  sockets[0].push("closed", { reason: "removed", message: "" });
  assert.equal(call.status, "ended");
});

test("back from a room that refused them, they hear of a recording that ends, though it began before they went", async () => {
  const { reply } = FakeWebSocket;
  const rung = [];
  announceCall(call, () => {}, (sound) => rung.push(sound));
  await sentToKitchen({
    before: () => sockets[0].push("recording", { on: true }),
    reply: (event) => (event === "phx_join" ? ["error", { reason: "room_full", message: "The kitchen is full." }] : reply(event)),
  });
  assert.equal(call.room.recording, true);
  assert.deepEqual(rung, ["recording", "recording"]);
  sockets[0].push("recording", { on: false });
  assert.deepEqual(rung, ["recording", "recording", "recorded"]);
});

test("not connected in time there, they are where they were", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const former = await sentToKitchen();
  const { room } = call;
  context.mock.timers.tick(30_000);
  assert.equal(call.room, former);
  assert.equal(room.status, "left");
  assert.deepEqual(call.problems.map(({ code }) => code), ["transfer_failed"]);
});

test("where a moderator sent them is forgotten when they enter their own room, and after a while", async () => {
  call.enter(PLACE);
  await settle();
  call.sendTo(KITCHEN.path);
  call.enter(PLACE);
  assert.equal(call.isSentTo(KITCHEN), false);
  call.sendTo(KITCHEN.path);
  const now = Date.now;
  Date.now = () => now() + 31_000;
  try {
    assert.equal(call.isSentTo(KITCHEN), false);
  } finally {
    Date.now = now;
  }
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

test("a page that goes says goodbye by HTTP for the call that it has then, not for the one before", async () => {
  const said = [];
  globalThis.fetch = async (url, { method, keepalive, body }) => {
    said.push([url, method, keepalive, JSON.parse(body).goodbye]);
    return { ok: true };
  };
  const join = async (goodbye) => {
    FakeWebSocket.reply = (event) => ["ok", event === "phx_join" ? { you: "Ada", participants: [], config: {}, goodbye } : { sdp: "v=0", muted: false }];
    call.enter(PLACE);
    await settle();
    assert.equal(sockets.at(-1).of("phx_join")[0].goodbye, true);
  };
  await join("the first");
  call.leave();
  await join("the second");
  call.unload();
  call.unload();
  assert.deepEqual(said, [["/goodbye", "POST", true, "the second"]]);
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
