// @ts-check
/** The list of microphones beside Mute: a menu, so that another one is two clicks away. */
import { chooseMicrophone, chosenMicrophone, listDevices } from "./devices.js";
import { byId } from "./dom.js";

/**
 * @param {import("./call.js").Call} call
 * @param {{signal: AbortSignal, settings: () => void}} options  `settings`: opens the panel with everything else
 */
export function showMicrophoneMenu(call, { signal, settings }) {
  const button = byId("microphones");
  const menu = byId("microphone-menu");
  if (!button || !menu) return;

  const items = () => /** @type {HTMLElement[]} */ ([...menu.querySelectorAll("button")]);
  const close = (focus = true) => {
    if (menu.hidden) return;
    menu.hidden = true;
    button.setAttribute("aria-expanded", "false");
    if (focus) button.focus();
  };
  const open = async () => {
    const { microphones } = await listDevices();
    const chosen = microphones.some(({ id }) => id === chosenMicrophone()) ? chosenMicrophone() : (microphones[0]?.id ?? "");
    menu.replaceChildren(
      ...microphones.map(({ id, label }) => {
        const item = entry(label, "menuitemradio", () => use(id));
        item.setAttribute("aria-checked", String(id === chosen));
        return item;
      }),
      ...(microphones.length ? [document.createElement("hr")] : []),
      entry(microphones.length ? "Settings" : "No microphone found. Settings", "menuitem", settings),
    );
    menu.hidden = false;
    button.setAttribute("aria-expanded", "true");
    items()[0]?.focus();
  };
  const use = async (/** @type {string} */ id) => {
    const outcome = await call.room?.useMicrophone(id);
    if (outcome === "opened" || outcome === "failed") chooseMicrophone(id);
  };
  /**
   * @param {string} label
   * @param {string} role
   * @param {() => void} action
   */
  const entry = (label, role, action) => {
    const item = document.createElement("button");
    item.type = "button";
    item.setAttribute("role", role);
    item.tabIndex = -1;
    item.textContent = label;
    item.addEventListener("click", () => {
      close();
      action();
    });
    return item;
  };

  button.addEventListener("click", () => (menu.hidden ? open() : close()), { signal });
  menu.addEventListener(
    "keydown",
    (event) => {
      const all = items();
      const at = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
      if (to !== undefined) all[(to + all.length) % all.length]?.focus();
      else if (event.key === "Escape") close();
      else if (event.key === "Tab") return close(false);
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
    { signal },
  );
  addEventListener(
    "pointerdown",
    ({ target }) => target instanceof Node && !menu.contains(target) && !button.contains(target) && close(false),
    { signal },
  );
}
