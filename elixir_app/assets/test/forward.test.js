// Rooms that forward, and rooms with stereo: what is offered, and what becomes of what comes in slots.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Forward } from "../js/forward.js";
import { askForStereo, MediaLink } from "../js/media_link.js";

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

  async setLocalDescription(description = { sdp: "plain" }) {
    this.localDescription = description;
  }

  async setRemoteDescription() {}
  close() {}
}

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
  for (const name of ["GainNode", "StereoPannerNode", "MediaStreamAudioSourceNode", "MediaStreamAudioDestinationNode"])
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
  made[0].ontrack({ track: "t1", streams: [], transceiver: second });
  made[0].ontrack({ track: "t2", streams: ["s"], transceiver: own });
  assert.deepEqual(seen, [
    ["slot", { slot: 1, track: "t1" }],
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

test("what comes in a slot is silent until it is said how loud, and goes with its slot", () => {
  const forward = new Forward();
  forward.play(1, "track");
  const { nodes } = globalThis.context;
  const source = nodes.find((node) => node.options.mediaStream);
  const strip = source.outputs[0];
  assert.equal(strip.gain.value, 0);
  forward.set([
    { slot: 0, id: null, gain: 1, pan: 0 },
    { slot: 1, id: "ben", gain: 0.5, pan: -1 },
  ]);
  assert.equal(strip.gain.value, 0.5);
  assert.equal(strip.outputs[0].pan.value, -1);
  assert.equal(strip.outputs[0].outputs[0].stream, forward.stream);
  forward.set([{ slot: 1, id: null, gain: 1, pan: 0 }]);
  assert.equal(strip.gain.value, 0);

  forward.play(1, "another");
  assert.deepEqual(source.outputs, []);
  const next = nodes.filter((node) => node.options.mediaStream).at(-1);
  assert.equal(next.outputs[0], strip, "the gain of a slot stays");
  forward.close();
  assert.deepEqual(next.outputs, []);
});
