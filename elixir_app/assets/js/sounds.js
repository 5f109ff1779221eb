// @ts-check
/** Soft sounds for what happens in a room, made here: two or three notes, 20 dB below speech. */
import { chosenSpeaker } from "./devices.js";
import { setting, keep } from "./settings.js";

/** @typedef {"joined" | "left" | "hand" | "recording" | "recorded" | "test"} Sound  `recording` and `recorded`: one begins, and has ended */

/** Hz, one note after the other. @type {Record<Sound, number[]>} */
const NOTES = { joined: [523, 784], left: [784, 523], hand: [659, 988], recording: [587, 587, 880], recorded: [880, 587, 587], test: [523, 659, 784] };
const NOTE_SECONDS = 0.12;
const GAIN = 0.04;
/** In a crowd, people come all the time. */
const APART_MS = 1000;

/** A recording is announced by them, whatever else is heard. @type {Set<Sound>} */
const ALWAYS = new Set(["recording", "recorded"]);

let last = -APART_MS;

export const soundsWanted = () => setting("sounds") !== "off";
/** @param {boolean} wanted */
export const wantSounds = (wanted) => keep("sounds", wanted ? "on" : "off");

/** @param {Sound} sound  played if it is wanted, and not right after another, except for those of a recording */
export function chime(sound) {
  const now = performance.now();
  if (!soundsWanted() || (now - last < APART_MS && !ALWAYS.has(sound))) return;
  last = now;
  play(sound);
}

/**
 * Plays it on the chosen speaker, where the browser lets a page choose.
 *
 * @param {Sound} sound
 */
export async function play(sound) {
  const context = new AudioContext();
  try {
    const speaker = chosenSpeaker();
    // Not in the types yet. A speaker that was unplugged: the system's then.
    if (speaker && "setSinkId" in context) await /** @type {any} */ (context).setSinkId(speaker).catch(() => {});
    const loudness = sound === "test" ? GAIN * 4 : GAIN;
    NOTES[sound].forEach((frequency, i) => {
      const begin = context.currentTime + 0.02 + i * NOTE_SECONDS;
      const note = new OscillatorNode(context, { frequency });
      const gain = new GainNode(context, { gain: 0 });
      gain.gain.setTargetAtTime(loudness, begin, 0.01);
      gain.gain.setTargetAtTime(0, begin + NOTE_SECONDS * 0.6, 0.05);
      note.connect(gain).connect(context.destination);
      note.start(begin);
      note.stop(begin + NOTE_SECONDS + 0.4);
    });
    await new Promise((resolve) => setTimeout(resolve, 1000 * (NOTES[sound].length * NOTE_SECONDS + 0.6)));
  } finally {
    context.close();
  }
}
