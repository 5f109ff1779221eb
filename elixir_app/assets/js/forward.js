// @ts-check

/**
 * @typedef {object} Way  how somebody is to be played
 * @property {number} gain  linear
 * @property {number} pan   -1 left … 1 right
 *
 * @typedef {Way & {source: number}} Source  of whom their packets say that they contributed them
 *
 * @typedef {object} Word  what the server says of it
 * @property {Source[]} slots   those who are in a slot, in the order of the slots
 * @property {Source[]} others  those who may come into one
 * @property {number} rest      the gain for whoever isn't told of
 *
 * @typedef {object} Strip  what a slot's sound goes through
 * @property {MediaStreamAudioSourceNode} source
 * @property {HTMLAudioElement} puller
 * @property {RTCRtpReceiver} receiver
 * @property {number | null} talker  whose sound it plays; nobody's for a while, if null
 * @property {number} heardAt        when the newest of it was played, by the receiver's telling
 * @property {number} looks          for how many looks there has been nothing newer
 *
 * @typedef {object} Control  of a slot, whoever is in it
 * @property {GainNode} gain
 * @property {StereoPannerNode} pan  of what both sides of it have in common
 * @property {GainNode} width        of what they differ in
 * @property {Way} now
 */

/** A new gain is reached in about this time, without a click. */
const RAMP_S = 0.01;
/** How often it is looked who is in the slots. What a receiver tells of takes about as long to get to our nodes. */
const LOOK_EVERY_S = 0.01;
/** After so many looks without sound a slot waits for whoever comes next. Lost packets don't make it wait. */
const PATIENCE = 20;

/**
 * Adds up the streams of a room that forwards: each talker's with the gain and the pan that the server says of them. What comes out is
 * one stream, to be played like that of any other room.
 *
 * A slot is another talker's from one packet to the next, and each packet says whose it is. So the server tells in advance how to
 * play whom, and here it is looked who is played just now: nobody is heard at the gain of the one before. A slot in which nobody talks
 * waits at the least gain that anybody may come with.
 */
export class Forward {
  #context;
  #out;
  #sum;
  /** @type {Control[]} */ #controls = [];
  /** @type {Map<number, Strip>} */ #strips = new Map();
  /** Until the server has said how loud, nothing is heard. */
  #rest = 0;
  #least = 0;
  /** @type {Map<number, Way>} */ #ways = new Map();

  constructor() {
    this.#context = new AudioContext({ latencyHint: "interactive" });
    this.#out = new MediaStreamAudioDestinationNode(this.#context, { channelCount: 2 });
    // A panner leaves each ear -3 dB of what is in the middle: with this it is as loud as in a room that mixes.
    this.#sum = new GainNode(this.#context, { gain: Math.SQRT2 });
    this.#sum.connect(this.#out);
    this.#lookAgain();
  }

  static get supported() {
    return typeof AudioContext === "function";
  }

  /** All slots together. */
  get stream() {
    return this.#out.stream;
  }

  /**
   * Plays what comes in a slot, in place of what came before.
   *
   * @param {number} slot
   * @param {MediaStreamTrack} track
   * @param {RTCRtpReceiver} receiver  of that track
   */
  play(slot, track, receiver) {
    this.#drop(slot);
    const stream = new MediaStream([track]);
    // Chromium gives a remote track's sound to Web Audio only while a media element pulls it.
    const puller = new Audio();
    puller.muted = true;
    puller.srcObject = stream;
    puller.play().catch(() => {
      // Muted, so autoplay is no matter; it was replaced meanwhile.
    });
    const source = new MediaStreamAudioSourceNode(this.#context, { mediaStream: stream });
    source.connect(this.#control(slot).gain);
    this.#strips.set(slot, { source, puller, receiver, talker: null, heardAt: 0, looks: 0 });
    this.#apply();
  }

  /** @param {Word} word */
  set({ slots, others, rest }) {
    this.#rest = rest;
    // Those in the slots are among the others where they differ from the rest, but for a room with more others than are told of.
    const told = [...slots.filter(({ source }) => source > 0), ...others];
    this.#ways = new Map(told.map(({ source, gain, pan }) => [source, { gain, pan }]));
    // Who is at 0 doesn't come.
    const gains = [rest, ...others.map(({ gain }) => gain)].filter((gain) => gain > 0);
    this.#least = gains.length > 0 ? Math.min(...gains) : 0;
    this.#apply();
  }

  /** By the clock of the sound: unlike timers, it isn't slowed down while nobody looks at the page. */
  #lookAgain() {
    const beat = new ConstantSourceNode(this.#context, { offset: 0 });
    beat.onended = () => {
      beat.disconnect();
      if (this.#context.state === "closed") return;
      this.#look();
      this.#lookAgain();
    };
    beat.connect(this.#out);
    beat.start();
    beat.stop(this.#context.currentTime + LOOK_EVERY_S);
  }

  #look() {
    for (const strip of this.#strips.values()) {
      const newest = strip.receiver
        .getContributingSources()
        .reduce((/** @type {RTCRtpContributingSource | null} */ best, one) => (best && best.timestamp >= one.timestamp ? best : one), null);
      if (newest && newest.timestamp > strip.heardAt) {
        strip.talker = newest.source;
        strip.heardAt = newest.timestamp;
        strip.looks = 0;
      } else {
        strip.looks += 1;
        if (strip.looks >= PATIENCE) strip.talker = null;
      }
    }
    this.#apply();
  }

  #apply() {
    for (const [slot, { talker }] of this.#strips) {
      const waiting = { gain: this.#least, pan: 0 };
      const way = talker === null ? waiting : (this.#ways.get(talker) ?? { gain: this.#rest, pan: 0 });
      const control = this.#control(slot);
      if (way.gain === control.now.gain && way.pan === control.now.pan) continue;
      control.now = way;
      control.gain.gain.setTargetAtTime(way.gain, this.#context.currentTime, RAMP_S / 3);
      control.pan.pan.setTargetAtTime(way.pan, this.#context.currentTime, RAMP_S / 3);
      control.width.gain.setTargetAtTime(width(way.pan), this.#context.currentTime, RAMP_S / 3);
    }
  }

  /** @param {number} slot */
  #control(slot) {
    while (this.#controls.length <= slot) {
      // One and the same for a voice in mono, and for one that a browser made two equal channels of.
      /** @type {AudioNodeOptions} */
      const both = { channelCount: 2, channelCountMode: "explicit" };
      /** @type {AudioNodeOptions} */
      const one = { channelCount: 1, channelCountMode: "explicit" };
      const gain = new GainNode(this.#context, { gain: 0, ...both });
      const pan = new StereoPannerNode(this.#context, one);
      gain.connect(pan).connect(this.#sum);
      this.#controls.push({ gain, pan, width: this.#sides(gain), now: { gain: 0, pan: 0 } });
    }
    return this.#controls[slot];
  }

  /**
   * What the two sides of a sound differ in, to be added to what they have in common.
   *
   * @param {AudioNode} sound
   */
  #sides(sound) {
    const apart = new ChannelSplitterNode(this.#context, { numberOfOutputs: 2 });
    const together = new ChannelMergerNode(this.#context, { numberOfInputs: 2 });
    const difference = new GainNode(this.#context, { gain: width(0) });
    const negative = new GainNode(this.#context, { gain: -1 });
    sound.connect(apart);
    for (const [side, gain] of /** @type {const} */ ([[0, 0.5], [1, -0.5]])) {
      const half = new GainNode(this.#context, { gain });
      apart.connect(half, side);
      half.connect(difference);
    }
    difference.connect(together, 0, 0);
    difference.connect(negative).connect(together, 0, 1);
    together.connect(this.#sum);
    return difference;
  }

  /** @param {number} slot */
  #drop(slot) {
    const strip = this.#strips.get(slot);
    if (!strip) return;
    this.#strips.delete(slot);
    strip.source.disconnect();
    strip.puller.srcObject = null;
  }

  /** Begins to sound where autoplay held it back; for a click. */
  async resume() {
    if (this.#context.state === "suspended") await this.#context.resume();
  }

  close() {
    for (const slot of [...this.#strips.keys()]) this.#drop(slot);
    // Rejects if it is closed already, which is all that is wanted.
    this.#context.close().catch(() => {});
  }
}

/**
 * How much of what the sides of a sound differ in is left where it is panned to: all of it in the middle (as loud there as the rest, of which each ear has
 * −3 dB), nothing at either side.
 *
 * @param {number} pan
 */
function width(pan) {
  const angle = ((pan + 1) * Math.PI) / 4;
  return Math.min(Math.cos(angle), Math.sin(angle));
}
