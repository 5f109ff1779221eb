// @ts-check
/** What somebody sees whose browser is about to ask for the microphone for the first time: what for, and whether it works. */
import { DeviceChoice } from "./device_choice.js";
import { chooseMicrophone, chooseSpeaker, chosenMicrophone, microphoneWouldAsk } from "./devices.js";
import { openMicrophone } from "./microphone.js";
import { byId } from "./page.js";
import { processingWanted, setting } from "./settings.js";

/** @returns {Promise<boolean>} whether it should be shown before joining */
export async function preJoinWanted() {
  return byId("pre-join") !== null && setting("called") === null && (await microphoneWouldAsk());
}

/**
 * Shows it until the person has decided.
 *
 * @param {AbortSignal} signal
 * @returns {Promise<"speak" | "listen">} never settles once the signal is aborted
 */
export function preJoin(signal) {
  const panel = /** @type {HTMLElement} */ (byId("pre-join"));
  const words = byId("pre-join-words");
  const done = new AbortController();
  signal.addEventListener("abort", () => done.abort(), { once: true });
  /** @type {MediaStreamTrack | null} */
  let track = null;
  done.signal.addEventListener("abort", () => {
    track?.stop();
    panel.hidden = true;
  });

  const choice = new DeviceChoice(
    {
      microphone: /** @type {HTMLSelectElement | null} */ (byId("pre-join-microphone")),
      speaker: /** @type {HTMLSelectElement | null} */ (byId("pre-join-speaker")),
      meter: /** @type {HTMLMeterElement | null} */ (byId("pre-join-level")),
    },
    {
      onMicrophone(id) {
        chooseMicrophone(id);
        open();
      },
      onSpeaker: chooseSpeaker,
      signal: done.signal,
    },
  );
  const open = async () => {
    const opened = await openMicrophone({ processing: processingWanted(), device: chosenMicrophone() });
    if (done.signal.aborted) {
      opened.track?.stop();
      return;
    }
    track?.stop();
    track = opened.track;
    if (words) words.textContent = opened.track ? "Say something: the bar should move." : `${opened.problem.title} ${opened.problem.text}`;
    await choice.open(track);
  };

  return new Promise((resolve) => {
    const decide = (/** @type {"speak" | "listen"} */ how) => {
      done.abort();
      resolve(how);
    };
    byId("pre-join-go")?.addEventListener("click", () => decide("speak"), { signal: done.signal });
    byId("pre-join-listen")?.addEventListener("click", () => decide("listen"), { signal: done.signal });
    if (words) words.textContent = "Your browser asks whether this page may use the microphone.";
    panel.hidden = false;
    byId("pre-join-go")?.focus();
    open();
  });
}
