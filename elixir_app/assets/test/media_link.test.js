// The rules by which a connection is repaired, against a peer connection that does what it is told.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { MediaLink } from "../js/media_link.js";
import { SignallingError } from "../js/signalling.js";

/** @type {FakePeerConnection[]} */
let made = [];
/** @type {MediaLink[]} */
let links = [];

class FakePeerConnection {
  connectionState = "new";
  closed = false;
  restarts = 0;
  offers = 0;
  localDescription = null;

  constructor() {
    made.push(this);
  }

  addTransceiver(track, { direction }) {
    this.sent = { track, direction };
    return { sender: { replaceTrack: async (next) => (this.sent.track = next) } };
  }

  restartIce() {
    this.restarts += 1;
  }

  async setLocalDescription() {
    this.offers += 1;
    this.localDescription = { sdp: `offer ${this.offers} of ${made.indexOf(this)}` };
  }

  async setRemoteDescription({ sdp }) {
    this.answer = sdp;
  }

  close() {
    this.closed = true;
  }

  becomes(state) {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
}

beforeEach(() => {
  made = [];
  globalThis.RTCPeerConnection = FakePeerConnection;
  mock.timers.enable({ apis: ["setTimeout"] });
});

// A link left open would go on with the real timers, and this process would never end.
afterEach(() => {
  for (const link of links) link.close();
  links = [];
  mock.timers.reset();
});

/** @param {ConstructorParameters<typeof MediaLink>[0]} options */
function opened(options) {
  const link = new MediaLink(options);
  links.push(link);
  return link;
}

const settle = async () => {
  for (let i = 0; i < 20; i += 1) await Promise.resolve();
};

async function connecting(exchange) {
  const link = opened({ exchange });
  const seen = [];
  for (const name of ["connected", "lost", "refused", "unreachable"]) link.addEventListener(name, () => seen.push(name));
  link.connect();
  await settle();
  return { link, seen };
}

async function connected() {
  const started = await connecting(async (sdp) => `answer to ${sdp}`);
  made[0].becomes("connected");
  return started;
}

test("one offer, one answer, send and receive, also without a microphone", async () => {
  const { link, seen } = await connected();
  assert.equal(made.length, 1);
  assert.equal(made[0].answer, "answer to offer 1 of 0");
  assert.deepEqual(made[0].sent, { track: "audio", direction: "sendrecv" });
  assert.deepEqual(seen, ["connected"]);
  const track = /** @type {any} */ ({ kind: "audio" });
  link.setTrack(track);
  assert.equal(made[0].sent.track, track);
  assert.equal(made[0].offers, 1);
});

test("an offer that was made ahead is the first one, and is used once", async () => {
  const link = opened({ exchange: async (sdp) => `answer to ${sdp}` });
  link.prepare();
  await settle();
  assert.equal(made[0].offers, 1);
  link.setIceServers([]);
  link.setKind({});
  link.connect();
  await settle();
  assert.equal(made.length, 1);
  assert.equal(made[0].offers, 1);
  assert.equal(made[0].answer, "answer to offer 1 of 0");
  link.connect();
  await settle();
  assert.equal(made.length, 2);
  assert.ok(made[0].closed);
});

test("an offer that was made ahead for another kind of room, or without its ICE servers, is thrown away", async () => {
  for (const change of [(link) => link.setKind({ slots: 3 }), (link) => link.setIceServers([{ urls: "turn:turn.example" }])]) {
    made = [];
    const link = opened({ exchange: async (sdp) => `answer to ${sdp}` });
    link.prepare();
    await settle();
    change(link);
    link.connect();
    await settle();
    assert.ok(made[0].closed);
    assert.equal(made[0].answer, undefined);
    assert.equal(made[1].answer, "answer to offer 1 of 1");
  }
});

test("a short disturbance is waited out, a longer one restarts ICE on the same connection", async () => {
  const { seen } = await connected();
  made[0].becomes("disconnected");
  mock.timers.tick(1000);
  made[0].becomes("connected");
  mock.timers.tick(10_000);
  await settle();
  assert.equal(made[0].restarts, 0);
  made[0].becomes("disconnected");
  mock.timers.tick(1600);
  await settle();
  assert.equal(made[0].restarts, 1);
  assert.equal(made[0].offers, 2);
  assert.equal(made.length, 1);
  assert.deepEqual(seen, ["connected", "lost", "connected", "lost"]);
});

test("a restart that leads nowhere, and a failure, get a new connection", async () => {
  await connected();
  made[0].becomes("disconnected");
  mock.timers.tick(1600);
  await settle();
  mock.timers.tick(8100);
  mock.timers.tick(1000);
  await settle();
  assert.equal(made.length, 2);
  assert.ok(made[0].closed);
  made[1].becomes("failed");
  mock.timers.tick(2000);
  await settle();
  assert.equal(made.length, 3);
});

test("while the signalling is away nothing is tried; afterwards only what is broken is mended", async () => {
  const { link } = await connected();
  link.pause();
  made[0].becomes("disconnected");
  mock.timers.tick(60_000);
  await settle();
  assert.equal(made[0].offers, 1);
  made[0].becomes("connected");
  link.resume();
  await settle();
  assert.equal(made.length, 1);
  link.pause();
  made[0].becomes("failed");
  link.resume();
  await settle();
  assert.equal(made.length, 2);
});

test("a passing error is tried again, later and later, and told after some tries", async () => {
  let tries = 0;
  const { seen } = await connecting(async () => {
    tries += 1;
    throw new SignallingError("media_busy", "", true);
  });
  for (let i = 0; i < 40; i += 1) {
    mock.timers.tick(1000);
    await settle();
  }
  assert.ok(tries >= 6 && tries <= 20, `${tries} tries in 40 s`);
  assert.equal(seen.filter((name) => name === "unreachable").length, 1);
  assert.ok(made.slice(0, -1).every((pc) => pc.closed));
});

test("a refusal is final", async () => {
  let tries = 0;
  const { seen } = await connecting(async () => {
    tries += 1;
    throw new SignallingError("room_full", "The room is full.", false);
  });
  await settle();
  mock.timers.tick(60_000);
  await settle();
  assert.equal(tries, 1);
  assert.ok(seen.includes("refused"));
  assert.ok(made[0].closed);
});

test("an answer that comes too late, for an offer that was overtaken, changes nothing", async () => {
  const answers = [];
  const { link } = await connecting((sdp) => new Promise((resolve) => answers.push(() => resolve(`answer to ${sdp}`))));
  link.connect();
  await settle();
  answers[0]();
  await settle();
  assert.equal(made[0].answer, undefined);
  answers[1]();
  await settle();
  assert.equal(made[1].answer, "answer to offer 1 of 1");
});

test("closed is closed", async () => {
  const { link, seen } = await connected();
  link.close();
  mock.timers.tick(60_000);
  await settle();
  assert.equal(made.length, 1);
  assert.ok(made[0].closed);
  assert.deepEqual(seen, ["connected", "lost"]);
});

// ---- The server's part moves to another node ----

async function moving() {
  const started = await connected();
  const played = [];
  started.link.addEventListener("stream", ({ detail }) => played.push(detail));
  started.link.move();
  await settle();
  return { ...started, played };
}

test("a second connection is made while the first goes on, and takes its place when the server says", async () => {
  const { link, seen, played } = await moving();
  assert.equal(made.length, 2);
  assert.equal(made[1].answer, "answer to offer 1 of 1");
  const track = /** @type {any} */ ({ kind: "audio" });
  link.setTrack(track);
  assert.deepEqual([made[0].sent.track, made[1].sent.track], [track, track]);
  made[1].ontrack({ streams: ["the new sound"] });
  made[1].becomes("connected");
  assert.deepEqual([played, link.peerConnection], [[], made[0]]);
  link.changeOver();
  assert.deepEqual([played, link.peerConnection], [["the new sound"], made[1]]);
  // Another page may change over later, and hears us by it until then.
  mock.timers.tick(900);
  assert.equal(made[0].closed, false);
  mock.timers.tick(200);
  assert.ok(made[0].closed);
  assert.deepEqual(seen, ["connected"]);
  // From here on it is repaired as any other.
  made[1].becomes("failed");
  mock.timers.tick(2000);
  await settle();
  assert.equal(made.length, 3);
});

test("the sound of a second connection is told before its turn, and that it won't come", async () => {
  const { link } = await moving();
  const told = [];
  link.addEventListener("next", ({ detail }) => told.push(detail));
  made[1].ontrack({ streams: ["sound of the second"] });
  made[1].becomes("failed");
  assert.deepEqual(told, ["sound of the second", null]);
  mock.timers.tick(200);
  await settle();
  made[2].ontrack({ streams: ["sound of the third"] });
  made[2].becomes("connected");
  link.changeOver();
  link.connect();
  assert.deepEqual(told, ["sound of the second", null, "sound of the third"]);
});

test("a link whose signalling comes back elsewhere makes a second connection if the first goes on, else a new one", async () => {
  const { link } = await connected();
  link.pause();
  link.rejoin();
  await settle();
  assert.deepEqual([made.length, made[0].closed, link.peerConnection], [2, false, made[0]]);
  made[1].becomes("connected");
  link.changeOver();
  link.pause();
  made[1].connectionState = "disconnected";
  link.rejoin();
  await settle();
  assert.deepEqual([made.length, made[1].closed, link.peerConnection], [3, true, made[2]]);
  made[2].becomes("connected");
  link.pause();
  link.rejoin({ gone: true });
  await settle();
  assert.deepEqual([made.length, made[2].closed, link.peerConnection], [4, true, made[3]]);
});

test("a first connection that is disturbed gives way to the second, as soon as that is up", async () => {
  for (const order of [[0, 1], [1, 0]]) {
    made = [];
    const { link, seen } = await moving();
    for (const which of order) made[which].becomes(which === 0 ? "disconnected" : "connected");
    assert.equal(link.peerConnection, made[1]);
    assert.deepEqual(seen, ["connected"]);
  }
});

test("a silent path of the first connection is left for the second, not repaired", async () => {
  const { link } = await moving();
  made[1].becomes("connected");
  link.restart();
  assert.deepEqual([link.peerConnection, made[0].restarts], [made[1], 0]);
});

test("a link that isn't told to change over does so by itself", async () => {
  const { link } = await moving();
  made[1].becomes("connected");
  mock.timers.tick(4500);
  assert.equal(link.peerConnection, made[0]);
  mock.timers.tick(600);
  assert.equal(link.peerConnection, made[1]);
});

test("a link whose signalling comes back changes over then, unless the server says that others are still on their way", async () => {
  const { link } = await moving();
  made[1].becomes("connected");
  link.pause();
  link.resume({ moving: true });
  assert.equal(link.peerConnection, made[0]);
  link.pause();
  link.resume();
  assert.equal(link.peerConnection, made[1]);
});

test("a link whose signalling comes back between two tries of a second connection goes on with them", async () => {
  const { link } = await moving();
  made[1].becomes("failed");
  link.resume();
  mock.timers.tick(200);
  await settle();
  made[2].becomes("connected");
  assert.deepEqual([made.length, link.peerConnection], [3, made[2]]);
});

test("a second connection that hangs is tried again, and without any in time the link connects anew", async () => {
  const { link } = await moving();
  made[1].becomes("connecting");
  mock.timers.tick(2900);
  await settle();
  assert.deepEqual([made.length, made[1].closed], [2, false]);
  mock.timers.tick(150);
  mock.timers.tick(250);
  await settle();
  assert.deepEqual([made.length, made[1].closed, link.peerConnection], [3, true, made[0]]);
  mock.timers.tick(1800);
  await settle();
  assert.deepEqual([made.length, made[0].closed, made[2].closed, link.peerConnection], [4, true, true, made[3]]);
  // The link is repaired as any other.
  made[3].becomes("connected");
  mock.timers.tick(20_000);
  await settle();
  assert.equal(made.length, 4);
});

test("a second connection whose offer gets no answer is tried again", async () => {
  const { link } = await connecting((sdp) => (sdp.includes("of 1") ? new Promise(() => {}) : Promise.resolve(`answer to ${sdp}`)));
  made[0].becomes("connected");
  link.move();
  await settle();
  mock.timers.tick(3100);
  mock.timers.tick(250);
  await settle();
  assert.deepEqual([made.length, made[1].closed, made[2].answer], [3, true, "answer to offer 1 of 2"]);
});

test("a second connection that is up waits for its turn as long as it takes", async () => {
  const { link } = await moving();
  made[1].becomes("connected");
  mock.timers.tick(4000);
  await settle();
  assert.deepEqual([made.length, link.peerConnection], [2, made[0]]);
});

test("a link that isn't connected yet when the server's part moves connects anew", async () => {
  for (const state of ["new", "connecting", "disconnected", "failed"]) {
    made = [];
    const { link } = await connecting(async (sdp) => `answer to ${sdp}`);
    made[0].connectionState = state;
    link.move();
    await settle();
    assert.deepEqual([made.length, made[0].closed, link.peerConnection], [2, true, made[1]], state);
  }
});

test("a second connection that fails, or that the server can't have yet, is tried again", async () => {
  const { link } = await connecting(async (sdp) => {
    if (sdp.includes("of 1")) throw new SignallingError("room_closed", "", true);
    return `answer to ${sdp}`;
  });
  made[0].becomes("connected");
  link.move();
  await settle();
  mock.timers.tick(200);
  await settle();
  made[2].becomes("failed");
  // It counts for the next one, too.
  link.changeOver();
  mock.timers.tick(300);
  await settle();
  assert.deepEqual([made.length, link.peerConnection], [4, made[0]]);
  made[3].becomes("connected");
  assert.equal(link.peerConnection, made[3]);
});

/** @param {boolean} retry  whether offers of a second connection may be sent again */
async function refusing(retry) {
  const { link } = await connecting(async (sdp) => {
    if (!sdp.endsWith("of 0")) throw new SignallingError("media_busy", "", retry);
    return `answer to ${sdp}`;
  });
  made[0].becomes("connected");
  link.move();
  return link;
}

/** @param {number} ms */
async function pass(ms) {
  for (let i = 0; i < ms / 100; i += 1) {
    await settle();
    mock.timers.tick(100);
  }
  await settle();
}

test("a second connection is given up after a refusal that is final", async () => {
  const link = await refusing(false);
  await pass(10_000);
  assert.deepEqual([made.length, link.peerConnection], [2, made[0]]);
});

test("after five second connections that failed a new one follows once the first has ended", async () => {
  const link = await refusing(true);
  await pass(4_900);
  assert.deepEqual([made.length, link.peerConnection], [6, made[0]]);
  await pass(200);
  assert.equal(link.peerConnection, made[6]);
});

test("after five second connections that failed a new one follows at once where the change-over is told", async () => {
  const link = await refusing(true);
  await pass(3_000);
  assert.equal(made.length, 6);
  link.changeOver();
  await settle();
  assert.equal(link.peerConnection, made[6]);
});

test("a second connection whose answer was lost in a pause is made again", async () => {
  let lost = false;
  const { link } = await connecting((sdp) => (lost ? new Promise(() => {}) : Promise.resolve(`answer to ${sdp}`)));
  made[0].becomes("connected");
  lost = true;
  link.move();
  await settle();
  link.pause();
  await pass(10_000);
  assert.deepEqual([made.length, link.peerConnection], [2, made[0]]);
  lost = false;
  link.resume({ moving: true });
  await settle();
  made[2].becomes("connected");
  link.changeOver();
  assert.equal(link.peerConnection, made[2]);
});

test("a second connection takes its answer even if the first has failed meanwhile", async () => {
  /** @type {(() => void)[]} */
  const answers = [];
  const { link } = await connecting((sdp) =>
    sdp.endsWith("of 0") ? Promise.resolve("") : new Promise((resolve) => answers.push(() => resolve(`answer to ${sdp}`))),
  );
  made[0].becomes("connected");
  link.move();
  await settle();
  made[0].becomes("failed");
  assert.equal(link.peerConnection, made[1]);
  answers[0]();
  await settle();
  assert.equal(made[1].answer, "answer to offer 1 of 1");
});

test("a second connection that comes up late takes the place of the first then", async () => {
  const { link, seen } = await moving();
  link.changeOver();
  assert.equal(link.peerConnection, made[0]);
  made[1].becomes("connected");
  assert.equal(link.peerConnection, made[1]);
  assert.deepEqual(seen, ["connected"]);
});

test("a first connection that ends early is followed by the second, however far that has come", async () => {
  const { link, seen } = await moving();
  made[0].becomes("disconnected");
  mock.timers.tick(2500);
  await settle();
  assert.deepEqual([made.length, made[0].restarts], [2, 0]);
  made[0].becomes("failed");
  assert.equal(link.peerConnection, made[1]);
  made[1].becomes("connected");
  assert.deepEqual(seen, ["connected", "lost", "connected"]);
});

test("a second connection that the server refuses, or that fails, leaves the first as it is", async () => {
  const { link } = await connecting(async (sdp) => {
    if (sdp.includes("of 1")) throw new SignallingError("media_restarted", "", true);
    return `answer to ${sdp}`;
  });
  made[0].becomes("connected");
  link.move();
  await settle();
  link.move();
  await settle();
  made[2].becomes("failed");
  link.changeOver();
  assert.deepEqual(
    made.map(({ closed }) => closed),
    [false, true, true],
  );
  assert.equal(link.peerConnection, made[0]);
});

test("a link that is closed, or connects anew, lets go of both connections", async () => {
  for (const end of [(link) => link.close(), (link) => link.connect()]) {
    made = [];
    const { link } = await moving();
    end(link);
    assert.ok(made[0].closed && made[1].closed);
  }
});
