// @ts-check
/** The settings of a room: microphone and speaker, to be changed in the middle of a sentence, sounds and keys. */
import { DeviceChoice } from "./device_choice.js";
import { chooseMicrophone, chooseSpeaker } from "./devices.js";
import { on } from "./events.js";
import { byId } from "./dom.js";
import { keep, setting } from "./settings.js";
import { play, soundsWanted, wantSounds } from "./sounds.js";
import { shortcutsWanted, wantShortcuts } from "./shortcuts.js";

/**
 * @param {import("./call.js").Call} call
 * @param {AbortSignal} signal
 * @returns {() => void}  opens it
 */
export function showDevicePanel(call, signal) {
  const button = byId("devices");
  const panel = byId("devices-panel");
  if (!button || !panel) return () => {};
  const choice = new DeviceChoice(
    {
      microphone: /** @type {HTMLSelectElement | null} */ (byId("microphone-choice")),
      speaker: /** @type {HTMLSelectElement | null} */ (byId("speaker-choice")),
      meter: /** @type {HTMLMeterElement | null} */ (byId("microphone-level")),
    },
    {
      async onMicrophone(id) {
        const { room } = call;
        const outcome = await room?.useMicrophone(id);
        if (outcome === "overtaken") return;
        if (outcome !== "unchanged") chooseMicrophone(id);
        // The list goes back to what it was.
        else if (!panel.hidden) choice.open(room?.microphone ?? null);
      },
      onSpeaker(id) {
        chooseSpeaker(id);
        call.room?.useSpeaker(id);
      },
      signal,
    },
  );
  const show = (/** @type {boolean} */ open) => {
    panel.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    if (open) {
      choice.open(call.room?.microphone ?? null);
      byId("devices-title")?.focus();
    } else {
      choice.close();
      button.focus();
    }
  };
  button.addEventListener("click", () => show(panel.hidden), { signal });
  byId("close-devices")?.addEventListener("click", () => show(false), { signal });
  // Wherever the focus is.
  addEventListener("keydown", (event) => event.key === "Escape" && !panel.hidden && show(false), { signal });
  byId("speaker-test")?.addEventListener("click", () => play("test"), { signal });
  on(call, "microphone", (track) => panel.hidden || choice.open(track), signal);

  setUpVoice(call, signal);
  setUp("shortcuts", shortcutsWanted, wantShortcuts, signal);
  setUp("sounds", soundsWanted, wantSounds, signal);
  return () => show(true);
}

/**
 * Switches of my own voice: remembered where I choose it, and shown as it is where the server chose it.
 *
 * @param {import("./call.js").Call} call
 * @param {AbortSignal} signal
 */
function setUpVoice(call, signal) {
  const autoGain = /** @type {HTMLInputElement | null} */ (byId("auto-gain"));
  const noise = /** @type {HTMLInputElement | null} */ (byId("noise-suppression"));
  const music = /** @type {HTMLInputElement | null} */ (byId("music"));
  if (!autoGain || !music) return;
  const show = () => {
    const own = call.room?.own;
    music.checked = own?.music ?? setting("music") === "on";
    autoGain.checked = own?.autoGain ?? setting("auto-gain") !== "off";
    // Music has neither.
    autoGain.disabled = music.checked;
    if (!noise) return;
    noise.checked = own?.noiseSuppression ?? setting("noise-suppression") === "on";
    noise.disabled = music.checked;
  };
  const word = (/** @type {HTMLInputElement} */ box) => (box.checked ? "on" : "off");
  autoGain.addEventListener("change", () => (keep("auto-gain", word(autoGain)), call.room?.setAutoGain(autoGain.checked)), { signal });
  noise?.addEventListener("change", () => (keep("noise-suppression", word(noise)), call.room?.setNoiseSuppression(noise.checked)), { signal });
  music.addEventListener("change", () => (keep("music", word(music)), call.room?.setMusic(music.checked), show()), { signal });
  for (const name of ["own", "place"]) on(call, name, show, signal);
  show();
}

/**
 * @param {string} id  of a checkbox
 * @param {() => boolean} wanted
 * @param {(wanted: boolean) => void} want
 * @param {AbortSignal} signal
 */
function setUp(id, wanted, want, signal) {
  const box = byId(id);
  if (!(box instanceof HTMLInputElement)) return;
  box.checked = wanted();
  box.addEventListener("change", () => want(box.checked), { signal });
}
