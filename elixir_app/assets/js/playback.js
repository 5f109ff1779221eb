// @ts-check
import { Forward } from "./forward.js";
import { problem } from "./messages.js";

/**
 * Plays a room on an audio element, and before it, in a room that forwards, adds up its slots.
 *
 * Events: `problem` and `solved`, as a room's, where the browser holds back the sound.
 */
export class Playback extends EventTarget {
  /** @type {HTMLAudioElement} */ #audio;
  /** Plays the stream that comes after the present one, unheard until then. @type {HTMLAudioElement | null} */ #ahead = null;
  /** Ours, as the page has set it, while the one ahead is heard in its place; else null. @type {number | null} */ #volume = null;
  /** @type {Forward | null} */ #forward = null;
  /** The speaker that was asked for last; null: whichever the element has. @type {string | null} */ #speaker = null;
  #stereo = false;
  #over = false;

  /** @param {HTMLAudioElement} audio */
  constructor(audio) {
    super();
    this.#audio = audio;
    audio.autoplay = true;
  }

  get audio() {
    return this.#audio;
  }

  /** @param {MediaStream} stream */
  play(stream) {
    if (stream !== this.#forward?.stream) this.#dropForward();
    if (this.#audio.srcObject === stream) {
      this.hear();
      return;
    }
    if (this.#ahead?.srcObject !== stream) this.#dropAhead();
    const ahead = this.#ahead;
    // From another speaker it would be heard in the wrong place: then the short gap is better.
    if (ahead && !this.#audio.paused && ahead.sinkId === this.#audio.sinkId) this.#hearAhead(ahead);
    this.#audio.srcObject = stream;
    this.hear().then(() => {
      if (this.#ahead === ahead) this.#dropAhead();
    });
  }

  /**
   * Another stream will soon take the place of the present one. A browser closes its output when it plays nothing more, and needs 30 ms
   * to open it again, on a busy machine 100 and more. So an element of its own plays that stream before, without a sound.
   *
   * @param {MediaStream | null} stream  null: it doesn't come after all
   */
  prepare(stream) {
    this.#dropAhead();
    if (!stream || this.#over) return;
    const ahead = new Audio();
    ahead.muted = true;
    this.#placeNew(ahead);
    ahead.srcObject = stream;
    ahead.play().catch(() => {
      // Muted, so autoplay is no matter; it was let go meanwhile.
    });
    this.#ahead = ahead;
  }

  /**
   * Heard in place of ours until that has begun with this stream, and then no more, without a moment of both or of neither.
   *
   * @param {HTMLAudioElement} ahead
   */
  #hearAhead(ahead) {
    const { volume } = this.#audio;
    this.#audio.volume = 0;
    // On iOS a page can't set it, and both would be heard.
    if (this.#audio.volume !== 0) return;
    this.#volume = volume;
    ahead.volume = volume;
    ahead.muted = this.#audio.muted;
  }

  #dropAhead() {
    if (!this.#ahead) return;
    if (this.#volume !== null) this.#audio.volume = this.#volume;
    this.#volume = null;
    this.#ahead.srcObject = null;
    this.#ahead = null;
  }

  /**
   * @param {number} slot
   * @param {MediaStreamTrack} track
   * @param {RTCRtpReceiver} receiver
   */
  playSlot(slot, track, receiver) {
    const forward = this.#forwarding();
    forward.play(slot, track, receiver);
    this.play(forward.stream);
  }

  /** @param {import("./forward.js").SlotMessage} message  how to play whom */
  setSlots(message) {
    this.#forwarding().set(message);
  }

  /** @param {boolean} stereo  whether the room has it */
  setStereo(stereo) {
    this.#stereo = stereo;
    this.#forward?.setStereo(stereo);
  }

  /** @param {boolean} muted */
  mute(muted) {
    this.#audio.muted = muted;
    // It is heard in place of ours.
    if (this.#ahead && this.#volume !== null) this.#ahead.muted = muted;
  }

  /** Plays what autoplay held back; call it from a click. */
  async hear() {
    // Not waited for: it may be held back until a click, as what follows then says.
    this.#forward?.resume();
    try {
      await this.#audio.play();
      this.#emit("solved", "autoplay_blocked");
    } catch (error) {
      // Anything else is an interruption: another stream came, or the end.
      const blocked = error instanceof Error && error.name === "NotAllowedError";
      if (blocked && !this.#over) this.#emit("problem", problem("autoplay_blocked"));
    }
  }

  /**
   * Plays on another speaker, where the browser allows that.
   *
   * @param {string} id  as `enumerateDevices` gives it; empty: whichever the browser takes
   */
  async useSpeaker(id) {
    this.#speaker = id;
    const audio = this.#audio;
    if (this.#ahead) takeTo(this.#ahead, id);
    const taken = await takeTo(audio, id);
    if (!taken && this.#speaker === id && this.#audio === audio) this.#speaker = audio.sinkId;
  }

  /**
   * Takes a new element to the speaker on which ours plays, or will as soon as the browser has taken it there.
   *
   * @param {HTMLAudioElement} element
   */
  #placeNew(element) {
    const speaker = this.#speaker ?? this.#audio.sinkId;
    if (speaker) takeTo(element, speaker);
  }

  /** Goes on playing on an element of its own, so that another room may have the one that this was given. */
  playApart() {
    this.#dropAhead();
    const given = this.#audio;
    const apart = new Audio();
    apart.muted = given.muted;
    apart.volume = given.volume;
    this.#placeNew(apart);
    apart.srcObject = given.srcObject;
    given.srcObject = null;
    this.#audio = apart;
    this.hear();
  }

  /** Lets go of the element, for whoever plays on it next. */
  end() {
    this.#over = true;
    this.#dropAhead();
    this.#audio.srcObject = null;
    this.#dropForward();
    this.#audio.muted = false;
  }

  #forwarding() {
    this.#forward ??= new Forward();
    this.#forward.setStereo(this.#stereo);
    return this.#forward;
  }

  #dropForward() {
    this.#forward?.close();
    this.#forward = null;
  }

  /**
   * @param {string} name
   * @param {unknown} detail
   */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/**
 * @param {HTMLAudioElement} element
 * @param {string} speaker
 * @returns {Promise<boolean>} false: it was unplugged, or may not be used, and the sound goes on where it was
 */
async function takeTo(element, speaker) {
  try {
    await element.setSinkId?.(speaker);
    return true;
  } catch {
    return false;
  }
}
