// @ts-check

/**
 * @typedef {object} Playback  how somebody is to be played
 * @property {number} gain  linear
 * @property {number} pan   -1 left … 1 right
 *
 * @typedef {Playback & {source: number}} Source  of whom their packets say that they contributed them
 *
 * @typedef {object} SlotMessage  what the server says of it
 * @property {Source[]} slots   those who are in a slot, in the order of the slots
 * @property {Source[]} others  those who may come into one
 * @property {number} rest      the gain for whoever isn't told of
 *
 * @typedef {object} ChannelStrip  what a slot's sound goes through
 * @property {MediaStreamAudioSourceNode} source
 * @property {HTMLAudioElement} puller
 * @property {RTCRtpReceiver} receiver
 * @property {number | null} talker  whose sound it plays; nobody's for a while, if null
 * @property {Playback | null} last       how the talker is played to the end, of whom nothing is told any more
 * @property {number} heardAt        when the newest of it was played, by the receiver's telling
 * @property {number} looks          for how many looks there has been nothing newer
 *
 * @typedef {object} Control  of a slot, whoever is in it
 * @property {GainNode} gain
 * @property {StereoPannerNode} pan  of what both sides of it have in common
 * @property {GainNode} width        of what they differ in
 * @property {Playback} now
 */

/** A new gain is reached in about this time, without a click. */
const RAMP_S = 0.01;
/** How often it is looked who is in the slots. A receiver's report takes about as long to get to our nodes. */
const LOOK_EVERY_S = 0.01;
/** After so many looks without sound a slot waits for whoever comes next. Lost packets don't make it wait. */
const PATIENCE = 20;

/**
 * Adds up the streams of a room that forwards: each talker's with the gain and the pan that the server gives them. The result is one
 * stream, to be played like that of any other room.
 *
 * A slot is another talker's from one packet to the next, and each packet says whose it is. So the server tells in advance how to
 * play whom, and here it is looked who is played just now: nobody is heard at the gain of the one before. A slot in which nobody talks
 * waits at the least gain that anybody may come with.
 */
export class Forward {
  #context;
  #out;
  #stereo = false;
  /** @type {Control[]} */ #controls = [];
  /** @type {Map<number, ChannelStrip>} */ #strips = new Map();
  /** Until the server has said how loud, nothing is heard. */
  #rest = 0;
  #least = 0;
  /** @type {Map<number, Playback>} */ #playbacks = new Map();

  constructor() {
    this.#context = new AudioContext({ latencyHint: "interactive" });
    this.#out = new MediaStreamAudioDestinationNode(this.#context, { channelCount: 2 });
    this.#lookAgain();
  }

  static get supported() {
    return typeof AudioContext === "function";
  }

  /** All slots together. */
  get stream() {
    return this.#out.stream;
  }

  /** @param {boolean} stereo  whether the room has it */
  setStereo(stereo) {
    if (stereo === this.#stereo) return;
    this.#stereo = stereo;
    for (const control of this.#controls) this.#turn(control, control.now);
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
    this.#strips.set(slot, { source, puller, receiver, talker: null, last: null, heardAt: 0, looks: 0 });
    this.#apply();
  }

  /** @param {SlotMessage} word */
  set({ slots, others, rest }) {
    const before = this.#playbacks;
    this.#rest = rest;
    // Those in the slots are among the others where they differ from the rest, but for a room with more others than are told of.
    const told = [...slots.filter(({ source }) => source > 0), ...others];
    this.#playbacks = new Map(told.map(({ source, gain, pan }) => [source, { gain, pan }]));
    for (const strip of this.#strips.values()) strip.last = this.#lastOf(strip, before);
    // A talker at 0 isn't sent.
    const gains = [rest, ...others.map(({ gain }) => gain)].filter((gain) => gain > 0);
    this.#least = gains.length > 0 ? Math.min(...gains) : 0;
    this.#apply();
  }

  /**
   * The server says nothing more of a talker who was soft and was turned off, or has left, while some of their sound is still to be
   * played: that must not be as loud as the rest.
   *
   * @param {ChannelStrip} strip
   * @param {Map<number, Playback>} before  what was told until now
   */
  #lastOf({ talker, last }, before) {
    if (talker === null || this.#playbacks.has(talker)) return null;
    const way = before.get(talker) ?? last;
    return way && { gain: Math.min(way.gain, this.#rest), pan: way.pan };
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
        if (strip.talker !== newest.source) strip.last = null;
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
    for (const [slot, strip] of this.#strips) {
      const control = this.#control(slot);
      const way = this.#wayOf(strip);
      if (way.gain !== control.now.gain || way.pan !== control.now.pan) this.#turn(control, way);
    }
  }

  /** @param {ChannelStrip} strip */
  #wayOf({ talker, last }) {
    if (talker === null) return { gain: this.#least, pan: 0 };
    return this.#playbacks.get(talker) ?? last ?? { gain: this.#rest, pan: 0 };
  }

  /**
   * @param {Control} control
   * @param {Playback} way
   */
  #turn(control, way) {
    control.now = way;
    const [near, far] = ears(way.pan);
    // Panned with equal power, which is as the server does it where there is stereo. Where there is none it leaves a voice as loud as it
    // is in both ears, so the nearer ear has all of it here too.
    const gain = this.#stereo ? way.gain : way.gain / near;
    for (const [param, value] of /** @type {const} */ ([
      [control.gain.gain, gain],
      [control.pan.pan, way.pan],
      // Of the sides all is left in the middle (as loud there as what they have in common), nothing at either side.
      [control.width.gain, far],
    ]))
      param.setTargetAtTime(value, this.#context.currentTime, RAMP_S / 3);
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
      gain.connect(pan).connect(this.#out);
      this.#controls.push({ gain, pan, width: this.#sides(gain), now: { gain: 0, pan: 0 } });
    }
    return this.#controls[slot];
  }

  /**
   * The difference between the two sides of a sound, to be added to what they have in common.
   *
   * @param {AudioNode} sound
   */
  #sides(sound) {
    const apart = new ChannelSplitterNode(this.#context, { numberOfOutputs: 2 });
    const together = new ChannelMergerNode(this.#context, { numberOfInputs: 2 });
    const difference = new GainNode(this.#context, { gain: Math.SQRT1_2 });
    const negative = new GainNode(this.#context, { gain: -1 });
    sound.connect(apart);
    for (const [side, gain] of /** @type {const} */ ([[0, 0.5], [1, -0.5]])) {
      const half = new GainNode(this.#context, { gain });
      apart.connect(half, side);
      half.connect(difference);
    }
    difference.connect(together, 0, 0);
    difference.connect(negative).connect(together, 0, 1);
    together.connect(this.#out);
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
 * The share of a sound that a panner with equal power leaves in the nearer ear, and in the other.
 *
 * @param {number} pan
 */
function ears(pan) {
  const angle = ((1 - Math.abs(pan)) * Math.PI) / 4;
  return [Math.cos(angle), Math.sin(angle)];
}
