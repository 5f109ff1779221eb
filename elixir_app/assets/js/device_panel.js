// @ts-check
/** The panel of a room where microphone and speaker can be changed in the middle of a sentence. */
import { DeviceChoice } from "./device_choice.js";
import { chooseMicrophone, chooseSpeaker } from "./devices.js";
import { on } from "./events.js";
import { byId } from "./page.js";
import { shortcutsWanted, wantShortcuts } from "./shortcuts.js";

/**
 * @param {import("./call.js").Call} call
 * @param {AbortSignal} signal
 */
export function showDevicePanel(call, signal) {
  const button = byId("devices");
  const panel = byId("devices-panel");
  if (!button || !panel) return;
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
    if (open) choice.open(call.room?.microphone ?? null);
    else choice.close();
  };
  button.addEventListener("click", () => show(panel.hidden), { signal });
  panel.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape") return;
      show(false);
      button.focus();
    },
    { signal },
  );
  on(call, "microphone", (track) => panel.hidden || choice.open(track), signal);

  const keys = byId("shortcuts");
  if (keys instanceof HTMLInputElement) {
    keys.checked = shortcutsWanted();
    keys.addEventListener("change", () => wantShortcuts(keys.checked), { signal });
  }
}
