// The rules of a voice room that need no sound: who has the say about the microphone, and what the person is told.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { connections, FakeAudio, FakeWebSocket, install, settle, sockets } from "./support/fakes.js";

const { VoiceRoom } = await (install(), import("../js/voice_room.js"));
const { problem } = await import("../js/messages.js");

const ADA = { id: "Ada", name: "Ada", muted: false, speaking: false, connected: true };
let fakes, room, audio, seen;

/** The server, as far as microphones go: who is in, and how they are. */
let server;

beforeEach(() => {
  fakes = install();
  server = { people: [], resumed: false };
  FakeWebSocket.reply = (event, payload) => {
    const me = server.people.find(({ id }) => id === "Ada");
    switch (event) {
      case "phx_join":
        return ["ok", { you: "Ada", participants: server.people, resumed: server.resumed, moving: server.moving, config: {} }];
      case "offer":
        if (me) me.muted = payload.muted ?? me.muted;
        else server.people.push({ ...ADA, muted: payload.muted ?? false });
        return ["ok", { sdp: "v=0 answer", session: "s", muted: server.people[0].muted }];
      case "set":
        if (!me) return ["error", { reason: "not_in_room", message: "Not yet.", retry: false }];
        me.muted = payload.muted;
        return ["ok", payload];
      default:
        return ["ok", {}];
    }
  };
  audio = new FakeAudio();
  room = new VoiceRoom({ room: "r", token: "t", session: "s", audio });
  seen = [];
  for (const name of ["own", "problem", "solved"]) {
    room.addEventListener(name, ({ detail }) => seen.push([name, detail?.code ?? detail]));
  }
});

afterEach(() => room.leave());

const socket = () => sockets[sockets.length - 1];
const muteByServer = (muted) => {
  server.people[0].muted = muted;
  socket().push("participants", { changed: [{ id: "Ada", muted }] });
};
const muted = () => seen.filter(([name]) => name === "own").map(([, detail]) => detail.muted);

async function enter() {
  await room.join();
  await settle();
  connections[0].becomes("connected");
  assert.equal(room.status, "connected");
}

async function reconnect() {
  const before = sockets.length;
  socket().close(1006);
  for (let i = 0; i < 100 && sockets.length === before; i += 1) await new Promise((resolve) => setTimeout(resolve, 10));
  await settle();
}

test("a mute by the server shuts the microphone and shows", async () => {
  await enter();
  muteByServer(true);
  assert.deepEqual([room.muted, fakes.track.enabled, muted()], [true, false, [true]]);
  muteByServer(false);
  assert.deepEqual([room.muted, fakes.track.enabled, muted()], [false, true, [true, false]]);
  // Nobody pressed anything, so nothing was said.
  assert.deepEqual(socket().of("set"), []);
});

test("the server can't open a microphone that its owner has shut", async () => {
  await enter();
  room.setMuted(true);
  await settle();
  muteByServer(false);
  await settle();
  assert.deepEqual([room.muted, fakes.track.enabled], [true, false]);
  assert.deepEqual(socket().of("set"), [{ muted: true }, { muted: true }]);
});

test("somebody else's mute is theirs", async () => {
  await enter();
  server.people.push({ ...ADA, id: "Ben", name: "Ben" });
  socket().push("participants", { joined: server.people });
  socket().push("participants", { changed: [{ id: "Ben", muted: true }] });
  assert.equal(room.muted, false);
  assert.deepEqual(
    room.participants.map((p) => [p.id, p.muted]),
    [["Ada", false], ["Ben", true]],
  );
});

test("a mute by the server outlives a new offer and a new socket", async () => {
  await enter();
  muteByServer(true);
  socket().push("media_restart", {});
  await settle();
  assert.equal(server.people[0].muted, true);
  server.resumed = true;
  await reconnect();
  assert.equal(server.people[0].muted, true);
  assert.deepEqual(socket().of("set"), []);
  assert.equal(room.muted, true);
});

test("a room that moves is left by its second connection when the server tells everybody to", async () => {
  await enter();
  socket().push("media_move", { step: "begin" });
  await settle();
  assert.deepEqual([connections.length, socket().of("offer").length], [2, 2]);
  connections[1].becomes("connected");
  const [before, after] = ["former", "other"].map((id) => ({ id, getTracks: () => [] }));
  connections[0].ontrack?.({ streams: [before] });
  connections[1].ontrack?.({ streams: [after] });
  assert.equal(audio.srcObject, before);
  socket().push("media_move", { step: "end" });
  assert.equal(audio.srcObject, after);
  assert.equal(room.status, "connected");
});

test("a room that another server has taken over is left by its second connection when all are there", async () => {
  await enter();
  [server.people, server.moving] = [[], true];
  await reconnect();
  assert.equal(room.status, "connected");
  assert.deepEqual([connections.length, socket().of("offer").length], [2, 1]);
  connections[1].becomes("connected");
  const after = { id: "other", getTracks: () => [] };
  connections[1].ontrack?.({ streams: [after] });
  assert.notEqual(audio.srcObject, after);
  socket().push("media_move", { step: "end" });
  assert.equal(audio.srcObject, after);
});

test("a page that resumes while others still come to the room waits for them", async () => {
  await enter();
  connections[0].becomes("connected");
  socket().push("media_move", { step: "begin" });
  await settle();
  connections[1].becomes("connected");
  const after = { id: "other", getTracks: () => [] };
  connections[1].ontrack?.({ streams: [after] });
  [server.resumed, server.moving] = [true, true];
  await reconnect();
  assert.notEqual(audio.srcObject, after);
  server.moving = false;
  await reconnect();
  assert.equal(audio.srcObject, after);
});

test("a mute while the socket was away is taken over, on resumption and on a new offer", async () => {
  await enter();
  server.people[0].muted = true;
  server.resumed = true;
  connections[0].becomes("connected");
  await reconnect();
  assert.deepEqual([room.muted, fakes.track.enabled], [true, false]);
  assert.equal(server.people[0].muted, true);

  server.people[0].muted = false;
  server.resumed = false;
  await reconnect();
  assert.deepEqual([room.muted, fakes.track.enabled], [false, true]);
});

test("what was pressed is told, at once or when the socket is back, and outlives a server that forgot", async () => {
  await enter();
  assert.deepEqual(socket().of("offer"), [{ sdp: "v=0 offer" }]);
  room.setMuted(true);
  await settle();
  assert.deepEqual(socket().of("set"), [{ muted: true }]);
  assert.equal(fakes.track.enabled, false);

  // A server that starts anew knows nobody.
  server.people = [];
  await reconnect();
  assert.deepEqual([server.people[0].muted, room.muted, fakes.track.enabled], [true, true, false]);

  // Pressed while the server couldn't be told.
  server.resumed = true;
  const gone = reconnect();
  room.setMuted(false);
  await gone;
  assert.deepEqual([server.people[0].muted, room.muted, fakes.track.enabled], [false, false, true]);
});

test("a server that isn't ready is told in its words while we go on asking, until it is", async () => {
  const answer = FakeWebSocket.reply;
  const busy = { reason: "too_many_requests", message: "Too many attempts.", retry: true };
  FakeWebSocket.reply = (event, payload) => (event === "phx_join" ? ["error", busy] : answer(event, payload));
  const told = [];
  room.addEventListener("problem", ({ detail }) => told.push(detail));
  await room.join();
  await settle();
  assert.deepEqual(told.map(({ code, title, action }) => [code, title, action]), [["server_not_ready", "Too many attempts.", null]]);
  assert.match(told[0].text, /Retrying/);
  assert.equal(room.status, "connecting");
  // Asking again says nothing new.
  for (let i = 0; i < 100 && socket().of("phx_join").length < 2; i += 1) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(socket().of("phx_join").length, 2);
  await settle();
  assert.equal(told.length, 1);

  FakeWebSocket.reply = answer;
  seen.length = 0;
  for (let i = 0; i < 100 && !seen.length; i += 1) await new Promise((resolve) => setTimeout(resolve, 20));
  await settle();
  assert.ok(seen.some((event) => String(event) === "solved,server_not_ready"), String(seen));
  assert.equal(connections.length, 1);
});

test("waiting is over with the page", async () => {
  FakeWebSocket.reply = () => ["error", { reason: "media_busy", message: "Busy.", retry: true }];
  await room.join();
  await settle();
  room.leave();
  const waiting = seen.filter(([, code]) => code === "server_not_ready").map(([name]) => name);
  assert.deepEqual(waiting, ["problem", "solved"]);
});

test("offers that the server can't take just now aren't blamed on a firewall", async () => {
  const answer = FakeWebSocket.reply;
  const full = { reason: "overloaded", message: "The server carries as many people as it can.", retry: true };
  FakeWebSocket.reply = (event, payload) => (event === "offer" ? ["error", full] : answer(event, payload));
  const told = [];
  room.addEventListener("problem", ({ detail }) => told.push(detail));
  await room.join();
  for (let i = 0; i < 200 && !told.length; i += 1) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(told.map(({ code, title }) => [code, title]), [["server_not_ready", full.message]]);
});

test("only a browser that holds back the sound is said to", async () => {
  audio.refuses = new DOMException("The play() request was interrupted by a new load request.", "AbortError");
  await enter();
  await room.hear();
  assert.deepEqual(seen.filter(([name]) => name === "problem"), []);
  audio.refuses = new DOMException("play() failed because the user didn't interact.", "NotAllowedError");
  await room.hear();
  assert.deepEqual(seen.filter(([name]) => name === "problem"), [["problem", "autoplay_blocked"]]);
  // A page that is over has nothing to be heard.
  const late = room.hear();
  room.leave();
  await late;
  assert.equal(seen.filter(([name]) => name === "problem").length, 1);
});

test("a press isn't undone by what the server said before it knew of it", async () => {
  await enter();
  muteByServer(true);
  room.setMuted(false);
  socket().push("participants", { changed: [{ id: "Ada", muted: true }] });
  assert.equal(room.muted, false);
  await settle();
  muteByServer(true);
  assert.equal(room.muted, true);
});

test("a deafened person hears nothing and is muted, and the server is told", async () => {
  await enter();
  room.setDeafened(true);
  await settle();
  assert.equal(audio.muted, true);
  assert.deepEqual(socket().of("set"), [{ muted: true }, { deafened: true }]);
  // A room that begins anew is told again, with the offer's answer.
  server.people = [];
  await reconnect();
  await settle();
  assert.deepEqual(socket().of("set"), [{ deafened: true }]);
  assert.deepEqual(room.own, { muted: true, deafened: true, hand: false, autoGain: true, noiseSuppression: false, music: false, held: null });
  // Taken back, all is as it was before.
  room.setDeafened(false);
  assert.deepEqual([room.own.muted, room.own.deafened, audio.muted], [false, false, false]);
});

test("a person's noise is suppressed as the room has it until they choose, which a room that begins anew is told", async () => {
  await enter();
  server.people[0].noise_suppression = true;
  socket().push("participants", { changed: [{ id: "Ada", noise_suppression: true }] });
  assert.equal(room.own.noiseSuppression, true);
  assert.deepEqual(socket().of("set"), []);
  room.setNoiseSuppression(true);
  await settle();
  assert.deepEqual(socket().of("set"), [{ noise_suppression: true }]);
  room.setNoiseSuppression(false);
  await settle();
  server.people = [];
  await reconnect();
  await settle();
  assert.deepEqual(socket().of("set"), [{ noise_suppression: false }]);
});

test("a choice about noise that this browser remembers is told on entering", async () => {
  for (const noiseSuppression of [true, false]) {
    room.leave();
    server.people = [];
    room = new VoiceRoom({ room: "r", token: "t", session: "s", audio, noiseSuppression });
    await room.join();
    await settle();
    connections.at(-1).becomes("connected");
    await settle();
    assert.deepEqual(socket().of("set"), [{ noise_suppression: noiseSuppression }]);
  }
});

test("a person without a microphone tells it, also to a room that begins anew, until they have one", async () => {
  room.join({ listenOnly: true });
  await settle();
  connections[0].becomes("connected");
  await settle();
  assert.deepEqual(socket().of("set"), [{ microphone: false }]);
  server.people = [];
  await reconnect();
  await settle();
  assert.deepEqual(socket().of("set"), [{ microphone: false }]);
  await room.openMicrophone();
  await settle();
  assert.deepEqual(socket().of("set").at(-1), { microphone: true });
});

test("a message in the chat is handed on", async () => {
  await enter();
  const messages = [];
  room.addEventListener("chat", ({ detail }) => messages.push(detail.text));
  socket().push("chat", { id: 1, from: "Ben", name: "Ben", text: "Hello", at: "2026-01-01T10:00:00Z" });
  assert.deepEqual(messages, ["Hello"]);
});

test("a caption is handed on", async () => {
  await enter();
  const captions = [];
  room.addEventListener("caption", ({ detail }) => captions.push(`${detail.speaker}: ${detail.text}`));
  socket().push("caption", { id: 1, speaker: "Ben", name: "Ben", text: "Hello", from: "2026-01-01T10:00:00Z", until: "2026-01-01T10:00:01Z" });
  assert.deepEqual(captions, ["Ben: Hello"]);
});

test("deafening leaves a muted person muted, and whoever unmutes hears again", async () => {
  await enter();
  room.setMuted(true);
  room.setDeafened(true);
  room.setDeafened(false);
  assert.equal(room.own.muted, true);
  room.setDeafened(true);
  room.setMuted(false);
  assert.deepEqual([room.own.muted, room.own.deafened], [false, false]);
});

test("a hand goes up by me, and down by me or a moderator", async () => {
  await enter();
  room.setHand(true);
  await settle();
  assert.deepEqual(socket().of("set"), [{ hand: true }]);
  socket().push("participants", { changed: [{ id: "Ada", hand: false }] });
  assert.equal(room.own.hand, false);
  // It was put down for good.
  await settle();
  assert.deepEqual(socket().of("set"), [{ hand: true }]);
});

test("who isn't to be heard sends nothing, and their own button stays as it was", async () => {
  await enter();
  socket().push("participants", { joined: [ADA] });
  socket().push("participants", { changed: [{ id: "Ada", silenced: true }] });
  assert.deepEqual([room.muted, room.own.held, fakes.track.enabled], [false, "silenced", false]);
  socket().push("participants", { changed: [{ id: "Ada", silenced: false, role: "listener" }] });
  assert.deepEqual([room.own.held, fakes.track.enabled], ["listener", false]);
  assert.equal(room.muted, false);
});

const problems = () => seen.filter(([name]) => name === "problem").map(([, code]) => code);
const asks = () => {
  let count = 0;
  const ask = navigator.mediaDevices.getUserMedia;
  navigator.mediaDevices.getUserMedia = (wish) => ((count += 1), ask(wish));
  return () => count;
};
/** The server's answer to a join, where it differs from the one of all tests. */
const joinReply = (more) => {
  const plain = FakeWebSocket.reply;
  FakeWebSocket.reply = (event, payload) => {
    const [status, response] = plain(event, payload);
    return [status, event === "phx_join" ? { ...response, ...more } : response];
  };
};

test("who may speak again is muted, told so, and opens the microphone themselves", async () => {
  await enter();
  socket().push("participants", { joined: [ADA] });
  for (const [shut, free] of [
    [{ role: "listener" }, { role: "speaker" }],
    [{ silenced: true }, { silenced: false }],
  ]) {
    seen = [];
    socket().push("participants", { changed: [{ id: "Ada", ...shut }] });
    socket().push("participants", { changed: [{ id: "Ada", ...free }] });
    assert.deepEqual([room.own.held, room.muted, fakes.track.enabled], [null, true, false]);
    assert.deepEqual(problems(), ["may_speak"]);
    // Neither does a server that thinks otherwise.
    socket().push("participants", { changed: [{ id: "Ada", muted: false }] });
    assert.deepEqual([room.muted, fakes.track.enabled], [true, false]);
    room.unmute();
    await settle();
    assert.deepEqual([room.muted, fakes.track.enabled], [false, true]);
    assert.ok(seen.some(([name, code]) => name === "solved" && code === "may_speak"));
  }
  assert.equal(socket().of("set").at(-1).muted, false);
});

test("the audience isn't asked for a microphone before they may speak and unmute", async () => {
  const asked = asks();
  joinReply({ held: "listener" });
  await enter();
  server.people[0].role = "listener";
  socket().push("participants", { joined: server.people });
  room.setMuted(true);
  room.setMuted(false);
  await settle();
  assert.deepEqual([asked(), room.own.held], [0, "listener"]);
  socket().push("participants", { changed: [{ id: "Ada", role: "speaker" }] });
  await settle();
  assert.deepEqual([asked(), room.muted, problems()], [0, true, ["may_speak"]]);
  room.unmute();
  await settle();
  assert.deepEqual([asked(), room.muted, room.microphone.enabled], [1, false, true]);
});

test("whoever comes back to a room that was restored is muted before anything is sent, and told so", async () => {
  FakeWebSocket.reply = (
    (plain) => (event, payload) =>
      event === "offer" ? ["ok", { ...plain(event, payload)[1], room_id: "board.1" }] : plain(event, payload)
  )(FakeWebSocket.reply);
  await enter();
  assert.deepEqual([room.roomId, fakes.track.enabled], ["board.1", true]);
  // The server starts anew, and knows nobody yet.
  server.people = [];
  joinReply({ restored: true, held: null });
  // Pressed while it was away: before anybody could know of it.
  const open = [];
  room.addEventListener("own", () => open.push(fakes.track.enabled));
  await reconnect();
  assert.deepEqual(socket().of("phx_join"), [{ session: "s", room_id: "board.1" }]);
  assert.deepEqual(
    socket().of("offer").map(({ muted }) => muted),
    [true],
  );
  assert.deepEqual([room.muted, fakes.track.enabled, problems()], [true, false, ["restored"]]);
  assert.deepEqual(open, [false]);
  room.setMuted(false);
  await settle();
  assert.deepEqual([server.people[0].muted, fakes.track.enabled], [false, true]);
});

test("the role is kept while the server doesn't know us, so the microphone of the audience stays shut", async () => {
  await enter();
  socket().push("participants", { joined: [{ ...ADA, role: "listener" }] });
  assert.equal(fakes.track.enabled, false);
  server.people = [];
  joinReply({ restored: true, held: "listener" });
  await reconnect();
  assert.deepEqual([room.own.held, fakes.track.enabled, problems()], ["listener", false, ["restored_listening"]]);
});

test("who had just looked into a room comes back to that one, too", async () => {
  joinReply({ room_id: "board.1" });
  const plain = FakeWebSocket.reply;
  // The server ends before it answers.
  FakeWebSocket.reply = (event, payload) => (event === "offer" ? undefined : plain(event, payload));
  room.join();
  await settle();
  await reconnect();
  assert.deepEqual(socket().of("phx_join"), [{ session: "s", room_id: "board.1" }]);
});

test("a person whose room has ended is told, and put into no other of its name", async () => {
  await enter();
  joinReply({});
  const plain = FakeWebSocket.reply;
  const ended = { reason: "room_ended", message: "The room that you were in has ended.", retry: false };
  FakeWebSocket.reply = (event, payload) => (event === "phx_join" ? ["error", ended] : plain(event, payload));
  await reconnect();
  assert.deepEqual([room.status, room.microphone, problems()], ["ended", null, ["room_ended"]]);
  assert.deepEqual(socket().of("offer"), []);
});

test("the session that the server makes up is shown when we come back", async () => {
  const plain = FakeWebSocket.reply;
  FakeWebSocket.reply = (event, payload) => {
    const answer = plain(event, payload);
    return event === "offer" ? ["ok", { ...answer[1], session: "made up" }] : answer;
  };
  await enter();
  await reconnect();
  assert.deepEqual(socket().of("phx_join"), [{ session: "made up" }]);
});

test("another microphone takes over, and the old one is let go", async () => {
  await enter();
  const stopped = [];
  fakes.track.stop = () => stopped.push("old");
  const other = { enabled: true, stop() {} };
  const asked = [];
  navigator.mediaDevices.getUserMedia = async ({ audio: wanted }) => {
    asked.push(wanted.deviceId);
    return { getAudioTracks: () => [other] };
  };
  room.setMuted(true);
  await room.useMicrophone("usb");
  assert.deepEqual(asked, [{ exact: "usb" }]);
  assert.deepEqual(stopped, ["old"]);
  assert.equal(other.enabled, false);
  assert.equal(room.microphone, other);
  assert.equal(connections.length, 1);
});

test("a microphone that doesn't start leaves the former one, and the person is told", async () => {
  await enter();
  let stopped = false;
  fakes.track.stop = () => (stopped = true);
  const problems = [];
  room.addEventListener("problem", ({ detail }) => problems.push(detail.code));
  const { getUserMedia } = navigator.mediaDevices;
  navigator.mediaDevices.getUserMedia = async () => {
    throw new DOMException("in use", "NotReadableError");
  };
  assert.equal(await room.useMicrophone("usb"), "unchanged");
  assert.equal(room.microphone, fakes.track);
  assert.equal(stopped, false);
  assert.deepEqual(problems, ["microphone_unchanged"]);
  assert.match(problem("microphone_unchanged").text, /still on the former one/);

  // The former one again, not the one that failed.
  const asked = [];
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    asked.push(wanted.audio.deviceId);
    return await getUserMedia(wanted);
  };
  await room.openMicrophone();
  assert.deepEqual(asked, [undefined]);
});

test("of two microphones chosen one after the other, the last one counts, whichever comes first", async () => {
  await enter();
  const waiting = {};
  navigator.mediaDevices.getUserMedia = ({ audio }) => new Promise((resolve) => (waiting[audio.deviceId.exact] = resolve));
  const stopped = [];
  const track = (name) => ({ enabled: true, stop: () => stopped.push(name) });
  const [a, b] = [track("a"), track("b")];
  const both = [room.useMicrophone("a"), room.useMicrophone("b")];
  await settle();
  waiting.b({ getAudioTracks: () => [b] });
  await settle();
  waiting.a({ getAudioTracks: () => [a] });
  assert.deepEqual(await Promise.all(both), ["overtaken", "opened"]);
  assert.equal(room.microphone, b);
  assert.deepEqual(stopped, ["a"]);
});

test("the microphone stays shut until the server has let one in", async () => {
  const set = [];
  const track = { stop() {}, set enabled(value) { set.push(value); } };
  navigator.mediaDevices.getUserMedia = async () => ({ getAudioTracks: () => [track] });
  const { reply } = FakeWebSocket;
  // A page that was loaded again goes on with its call, whose room has ended meanwhile.
  FakeWebSocket.reply = (event, payload) =>
    event === "offer" ? ["error", { reason: "room_ended", message: "This room has ended.", retry: false }] : reply(event, payload);
  await room.join();
  await settle();
  assert.equal(room.status, "ended");
  assert.ok(set.length > 0 && !set.includes(true), `enabled: ${set}`);
});

test("the map begins with where people are by now, for a page that draws it later", async () => {
  const reply = FakeWebSocket.reply;
  FakeWebSocket.reply = (event, payload) => {
    const [status, answer] = reply(event, payload);
    return [status, event === "phx_join" ? { ...answer, map: { plan: {}, range: null, walk: true, positions: { Ben: [1, 1], Cleo: [3, 3] } } } : answer];
  };
  await enter();
  const { map } = room;
  socket().push("positions", { positions: { Ada: [2, 2], Ben: [1, 4], Cleo: null } });
  assert.equal(room.map, map);
  assert.deepEqual(map.positions, { Ada: [2, 2], Ben: [1, 4] });
});
