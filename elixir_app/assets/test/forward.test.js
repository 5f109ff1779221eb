// Rooms that forward, and rooms with stereo: what is offered, and what becomes of what comes in slots.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Forward } from "../js/forward.js";
import { askForMusic, askForStereo, MediaLink } from "../js/media_link.js";

/** @type {FakePeerConnection[]} */
let made = [];

class FakePeerConnection {
  connectionState = "new";
  localDescription = null;
  transceivers = [];

  constructor() {
    made.push(this);
  }

  addTransceiver(_track, { direction }) {
    const transceiver = { direction, sender: { replaceTrack: async () => {} } };
    this.transceivers.push(transceiver);
    return transceiver;
  }

  async createOffer() {
    return { type: "offer", sdp: "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\n" };
  }

  signalingState = "stable";

  async setLocalDescription(description = { sdp: "plain" }) {
    this.localDescription = description;
    this.signalingState = "have-local-offer";
  }

  async setRemoteDescription({ sdp }) {
    this.answer = sdp;
    this.signalingState = "stable";
  }

  close() {}
}

const settle = async () => {
  for (let i = 0; i < 20; i += 1) await Promise.resolve();
};

class Param {
  value;
  constructor(value = 0) {
    this.value = value;
  }
  setTargetAtTime(value) {
    this.value = value;
  }
}

class Node {
  outputs = [];
  constructor(context, options = {}) {
    Object.assign(this, { context, options });
    this.gain = new Param(options.gain ?? 1);
    this.pan = new Param();
    this.stream = options.mediaStream ?? {};
    context.nodes.push(this);
  }
  connect(to) {
    this.outputs.push(to);
    return to;
  }
  disconnect() {
    this.outputs = [];
  }
  start() {}
  stop() {}
}

beforeEach(() => {
  made = [];
  Object.assign(globalThis, {
    RTCPeerConnection: FakePeerConnection,
    AudioContext: class {
      nodes = [];
      currentTime = 0;
      state = "running";
      constructor() {
        globalThis.context = this;
      }
      async close() {
        this.state = "closed";
      }
    },
    MediaStream: class {
      constructor(tracks) {
        this.tracks = tracks;
      }
    },
    Audio: class {
      async play() {}
    },
  });
  for (const name of ["ConstantSourceNode", "ChannelSplitterNode", "ChannelMergerNode", "GainNode", "StereoPannerNode", "MediaStreamAudioSourceNode", "MediaStreamAudioDestinationNode"])
    globalThis[name] = class extends Node {};
});

/** @type {MediaLink | null} */
let link = null;
// Else it would go on trying.
afterEach(() => link?.close());

async function offered(kind) {
  const offers = [];
  link = new MediaLink({ exchange: async (sdp) => (offers.push(sdp), "answer") });
  link.setKind(kind);
  link.connect();
  for (let i = 0; i < 20; i += 1) await Promise.resolve();
  return { link, offer: offers[0] };
}

test("a room that mixes is offered one line", async () => {
  const { offer } = await offered({});
  assert.deepEqual(made[0].transceivers.map((t) => t.direction), ["sendrecv"]);
  assert.equal(offer, "plain");
});

test("slots are lines that only receive, and their tracks are told by number", async () => {
  const { link } = await offered({ slots: 3 });
  assert.deepEqual(made[0].transceivers.map((t) => t.direction), ["sendrecv", "recvonly", "recvonly", "recvonly"]);
  const seen = [];
  link.addEventListener("slot", ({ detail }) => seen.push(["slot", detail]));
  link.addEventListener("stream", ({ detail }) => seen.push(["stream", detail]));
  const [own, , second] = made[0].transceivers;
  made[0].ontrack({ track: "t1", streams: [], transceiver: second, receiver: "r1" });
  made[0].ontrack({ track: "t2", streams: ["s"], transceiver: own });
  assert.deepEqual(seen, [
    ["slot", { slot: 1, track: "t1", receiver: "r1" }],
    ["stream", "s"],
  ]);
});

test("stereo is asked for where the room has it, on each line of Opus that says nothing else", async () => {
  const { offer } = await offered({ stereo: true });
  assert.match(offer, /^a=fmtp:111 stereo=1;minptime=10\r$/m);
  assert.equal(made[0].localDescription.sdp, offer);
  const sdp = "a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:109 OPUS/48000/2\r\na=fmtp:109 maxplaybackrate=48000;stereo=1\r\n";
  assert.equal(askForStereo(sdp), sdp);
});

const ANSWER = "m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 maxaveragebitrate=40000;useinbandfec=1\r\n";

test("music is stereo of many bits, in plain Opus", () => {
  assert.equal(
    askForMusic(ANSWER),
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1;stereo=1;maxaveragebitrate=128000\r\n",
  );
  assert.equal(askForMusic(askForMusic(ANSWER)), askForMusic(ANSWER));
});

test("music begins and ends in a call by the former answer, without the server", async () => {
  let asked = 0;
  const link = new MediaLink({ exchange: async () => ((asked += 1), ANSWER) });
  const took = () => made[0].answer;
  link.connect();
  await settle();
  assert.equal(took(), ANSWER);
  link.setMusic(true);
  await settle();
  assert.equal(took(), askForMusic(ANSWER));
  link.hearMusic();
  await settle();
  assert.match(made[0].localDescription.sdp, /stereo=1/);
  assert.equal(took(), askForMusic(ANSWER));
  link.setMusic(false);
  await settle();
  assert.equal(took(), ANSWER);
  assert.equal(asked, 1);
  assert.equal(made.length, 1);
  link.close();
});

test("music that was wanted before the answer is in it", async () => {
  const link = new MediaLink({ exchange: async () => ANSWER });
  link.setMusic(true);
  link.connect();
  await settle();
  assert.equal(made[0].answer, askForMusic(ANSWER));
  link.close();
});

/** The sound's clock goes on by as much as it takes to look once. */
function look() {
  const beats = globalThis.context.nodes.filter((node) => node.onended);
  const beat = beats.at(-1);
  beat.onended();
  return beats.length;
}

/** A receiver that plays what is of these sources: `[source, timestamp]`. */
const receiver = (...sources) => ({ sources, getContributingSources: () => sources.map(([source, timestamp]) => ({ source, timestamp })) });

/** A forward with somebody to be played in a slot, and what their sound goes through. */
function playing(who) {
  const forward = new Forward();
  forward.play(1, "track", who);
  const source = globalThis.context.nodes.find((node) => node.options.mediaStream);
  const strip = source.outputs[0];
  // Of a voice, with what a panner with equal power leaves of it.
  const ears = () => {
    const angle = ((strip.outputs[0].pan.value + 1) * Math.PI) / 4;
    return [Math.cos(angle), Math.sin(angle)].map((part) => strip.gain.value * part);
  };
  const heard = () => [Math.max(...ears()), strip.outputs[0].pan.value];
  return { forward, source, strip, ears, heard };
}

/** But for what is rounded. */
const close = (found, wanted, about) =>
  assert.ok(found.every((value, i) => Math.abs(value - wanted[i]) < 1e-9), `${about ?? ""} ${found}, not ${wanted}`);

const way = (source, gain, pan) => ({ source, gain, pan });

test("what comes in a slot is silent until it is said how loud, and goes with its slot", () => {
  const who = receiver([7, 100]);
  const { forward, source, strip, heard } = playing(who);
  look();
  close(heard(), [0, 0]);
  forward.set({ slots: [way(0, 0, 0), way(7, 0.5, -1)], others: [], rest: 1 });
  close(heard(), [0.5, -1]);
  assert.equal(strip.outputs[0].outputs[0].stream, forward.stream);

  forward.play(1, "another", who);
  assert.deepEqual(source.outputs, []);
  const next = globalThis.context.nodes.filter((node) => node.options.mediaStream).at(-1);
  assert.equal(next.outputs[0], strip, "the way of a slot stays");
  forward.close();
  assert.deepEqual(next.outputs, []);
});

test("each is played as they are to be from when their sound comes, whatever the slots are said to be", () => {
  const who = receiver([7, 100]);
  const { forward, heard } = playing(who);
  forward.set({ slots: [way(0, 0, 0), way(7, 1, 0)], others: [way(8, 0.1, 0.5), way(9, 2, 0)], rest: 1 });
  look();
  close(heard(), [1, 0]);
  // The receiver goes on reporting earlier sources for some seconds.
  who.sources.push([8, 120]);
  look();
  close(heard(), [0.1, 0.5]);
  who.sources[0][1] = 140;
  look();
  close(heard(), [1, 0]);
  who.sources.push([55, 160]);
  forward.set({ slots: [], others: [], rest: 0.3 });
  look();
  close(heard(), [0.3, 0], "of whom nothing is told");
});

test("a slot in which nobody talks waits at the least gain that somebody may come with, but not for a lost packet", () => {
  const who = receiver([7, 100]);
  const { forward, heard } = playing(who);
  forward.set({ slots: [way(7, 1, 0.5)], others: [way(7, 1, 0.5), way(8, 0.1, 0.5)], rest: 1 });
  close(heard(), [0.1, 0]);
  look();
  for (let i = 0; i < 10; i += 1) look();
  close(heard(), [1, 0.5]);
  for (let i = 0; i < 10; i += 1) look();
  close(heard(), [0.1, 0]);
  forward.set({ slots: [], others: [way(8, 0.5, 0)], rest: 0 });
  close(heard(), [0.5, 0], "nobody else can come");
});

test("who is turned off or leaves is as soft to the end as they were", () => {
  const who = receiver([7, 100]);
  const { forward, heard } = playing(who);
  const told = { slots: [way(7, 0.1, 0.5)], others: [way(7, 0.1, 0.5), way(8, 0.01, 0)], rest: 1 };
  const untold = { slots: [way(0, 0, 0)], others: [way(8, 0.01, 0)], rest: 1 };
  forward.set(told);
  look();
  for (let times = 0; times < 2; times += 1) {
    forward.set(untold);
    who.sources[0][1] += 20;
    look();
    close(heard(), [0.1, 0.5]);
  }
  for (let i = 0; i < 20; i += 1) look();
  close(heard(), [0.01, 0], "after all of it was played");

  // They come back, and everybody hears them.
  who.sources[0][1] += 20;
  look();
  close(heard(), [1, 0]);

  forward.set(told);
  forward.set(untold);
  close(heard(), [0.1, 0.5]);
  forward.set(told);
  close(heard(), [0.1, 0.5]);
  forward.set(untold);
  who.sources.push([9, 1000]);
  look();
  close(heard(), [1, 0], "somebody else");
  who.sources[0][1] = 1020;
  look();
  close(heard(), [1, 0], "and they again, from the beginning of a turn");

  forward.set({ slots: [way(7, 2, 0)], others: [way(7, 2, 0)], rest: 1 });
  forward.set({ ...untold, rest: 0.5 });
  close(heard(), [0.5, 0], "who was loud isn't louder than the rest");
});

test("with stereo each ear gets what a mix would give it; without, the nearer ear all of it", () => {
  const { forward, strip, ears } = playing(receiver([7, 100]));
  look();
  const put = (pan) => forward.set({ slots: [way(7, 0.8, pan)], others: [], rest: 1 });
  const width = () => {
    const [, apart] = strip.outputs;
    return strip.gain.value * apart.outputs[0].outputs[0].gain.value;
  };
  const [deep, high] = [Math.sin(Math.PI / 8), Math.cos(Math.PI / 8)];
  for (const [pan, stereo, plain] of [
    [-1, [1, 0], [1, 0]],
    [-0.5, [high, deep], [1, deep / high]],
    [0, [Math.SQRT1_2, Math.SQRT1_2], [1, 1]],
    [0.5, [deep, high], [deep / high, 1]],
    [1, [0, 1], [0, 1]],
  ]) {
    for (const [on, wanted] of [[false, plain], [true, stereo], [false, plain]]) {
      forward.setStereo(on);
      put(pan);
      close(ears(), wanted.map((part) => 0.8 * part), `${pan}`);
      close([width()], [0.8 * Math.min(...wanted)], `what the sides at ${pan} differ in`);
    }
  }
});

test("it looks as long as there is something to play", () => {
  const { forward } = playing(receiver());
  const looks = look();
  assert.equal(look(), looks + 1);
  forward.close();
  look();
  assert.equal(look(), looks + 2);
});
