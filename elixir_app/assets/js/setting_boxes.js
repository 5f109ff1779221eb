// @ts-check
/** Checkboxes of any page that are a setting of this browser: `data-setting` names it. */
import { keep, setting } from "./settings.js";

const BOXES = "input[type=checkbox][data-setting]";

export function keepSettings() {
  addEventListener("change", ({ target }) => {
    if (target instanceof HTMLInputElement && target.matches(BOXES)) keep(named(target), target.checked ? "on" : "off");
  });
  addEventListener("phx:page-loading-stop", show);
  show();
}

function show() {
  for (const box of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll(BOXES))) box.checked = setting(named(box)) === "on";
}

/**
 * @param {HTMLInputElement} box
 * @returns {import("./settings.js").Setting}
 */
function named(box) {
  return /** @type {import("./settings.js").Setting} */ (box.dataset.setting);
}
