// @ts-check
/** "You're muted", when somebody talks into a microphone that they have muted. Listened to here only; nothing of it is sent. */
import { on } from "./events.js";
import { loudness } from "./level_meter.js";
import { announce } from "./dom.js";
import { toast } from "./toasts.js";

const LOOK_MS = 100;
/** On the scale of {@link loudness}: −33 dBFS, speech rather than a keyboard. */
const LOUD = 0.45;
/** So many of the last ten looks. */
const LOOKS = 6;
const QUIET_MS = 30_000;

/**
 * @param {import("./call.js").Call} call
 * @param {() => void} [hint]
 */
export function hintWhenMuted(call, hint = () => say("You're muted. Press M to unmute.")) {
  /** @type {{stop: () => void} | null} */
  let ear = null;
  let told = -QUIET_MS;

  const listen = () => {
    const track = call.room?.microphone ?? null;
    const wanted = call.active && track !== null && call.room?.own.muted === true && call.room.own.held === null;
    if (!wanted) {
      ear?.stop();
      ear = null;
      return;
    }
    ear ??= listenTo(track, () => {
      if (performance.now() - told < QUIET_MS) return;
      told = performance.now();
      hint();
    });
  };
  // Another microphone: another ear.
  on(call, "microphone", () => {
    ear?.stop();
    ear = null;
    listen();
  });
  for (const name of ["own", "status", "place"]) on(call, name, listen);
}

/** @param {string} text */
function say(text) {
  toast(text);
  announce(text);
}

/**
 * @param {MediaStreamTrack} track  which gives silence itself: a copy is listened to
 * @param {() => void} onTalk
 */
function listenTo(track, onTalk) {
  const copy = track.clone();
  copy.enabled = true;
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 1024 });
  context.createMediaStreamSource(new MediaStream([copy])).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  /** @type {boolean[]} */
  let looks = [];
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    looks = [...looks.slice(-9), loudness(samples) > LOUD];
    if (looks.filter(Boolean).length >= LOOKS) onTalk();
  }, LOOK_MS);
  return {
    stop() {
      clearInterval(timer);
      copy.stop();
      context.close();
    },
  };
}
