// @ts-check
/** What somebody sees before the microphone opens to a room that they didn't just ask for: whether they want that, and whether it works. */
import { DeviceChoice } from "./device_choice.js";
import { chooseMicrophone, chooseSpeaker, chosenMicrophone, microphoneWouldAsk, watchPermission } from "./devices.js";
import { openMicrophone } from "./microphone.js";
import { byId } from "./dom.js";
import { processingWanted, setting } from "./settings.js";
import { play } from "./sounds.js";

/** @returns {Promise<boolean>} whether the browser is about to ask for the microphone for the first time */
export async function microphoneIsNew() {
  return setting("called") === null && (await microphoneWouldAsk());
}

/**
 * Shows it until the person has decided.
 *
 * @param {AbortSignal} signal
 * @param {{elsewhere?: string | null, audience?: boolean}} [options]  `elsewhere`: the room of a call that ends if they go in; `audience`: they
 *   only listen there at first, so no microphone is asked for
 * @returns {Promise<"speak" | "listen">} never settles once the signal is aborted
 */
export function preJoin(signal, { elsewhere = null, audience = false } = {}) {
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
  let attempts = 0;
  let pending = false;
  /** The permission, if it has changed during an attempt. @type {PermissionState | null} */
  let meanwhile = null;
  const open = async () => {
    const attempt = (attempts += 1);
    [pending, meanwhile] = [true, null];
    const opened = await openMicrophone({ processing: processingWanted(), device: chosenMicrophone() });
    // Another one was chosen meanwhile: only the last choice counts, whichever comes first.
    if (done.signal.aborted || attempt !== attempts) {
      opened.track?.stop();
      return;
    }
    track?.stop();
    track = opened.track;
    words?.classList.toggle("error", opened.track === null);
    if (words) words.textContent = opened.track ? "Say something: the bar should move." : `${opened.problem.title} ${opened.problem.text}`;
    pending = false;
    if (meanwhile) permissionChanged(meanwhile);
    await choice.open(track);
  };
  // There is no button to try again, and a microphone that is blocked after all leaves a track that has ended.
  const permissionChanged = (/** @type {PermissionState} */ state) => {
    // The question is answered before the microphone is open: it would be opened twice.
    if (pending) meanwhile = state;
    else if (state === "denied" ? track !== null : track?.readyState !== "live") open();
  };

  return new Promise((resolve) => {
    const decide = (/** @type {"speak" | "listen"} */ how) => {
      done.abort();
      resolve(how);
    };
    byId("pre-join-test")?.addEventListener("click", () => play("test"), { signal: done.signal });
    byId("pre-join-go")?.addEventListener("click", () => decide("speak"), { signal: done.signal });
    byId("pre-join-listen")?.addEventListener("click", () => decide("listen"), { signal: done.signal });
    setText("pre-join-title", elsewhere === null ? "Ready to join?" : "Switch rooms?");
    setText("pre-join-elsewhere", elsewhere === null ? "" : `You'll leave ${elsewhere} when you join.`);
    setText("pre-join-go", elsewhere === null ? "Join now" : "Switch rooms");
    for (const part of panel.querySelectorAll("[data-microphone]")) if (part instanceof HTMLElement) part.hidden = audience;
    if (words)
      words.textContent = audience
        ? "You'll listen first. Your microphone is asked for when a moderator invites you to speak and you unmute."
        : "Allow the microphone when your browser asks.";
    panel.hidden = false;
    byId("pre-join-go")?.focus();
    if (audience) return;
    open();
    watchPermission(permissionChanged, done.signal);
  });
}

/**
 * @param {string} id
 * @param {string} text
 */
function setText(id, text) {
  const element = byId(id);
  if (!element) return;
  element.textContent = text;
  element.hidden = text === "";
}
