// @ts-check
/** The hook `Invite`: the room's link, to copy, to hand to another app, or to scan from the screen. */
import { announce, byId, part } from "./dom.js";

/** @typedef {import("phoenix_live_view").ViewHook & {closing?: AbortController}} Hook */

export const Invite = {
  /** @this {Hook} */
  mounted() {
    this.closing = new AbortController();
    const { signal } = this.closing;
    const link = this.el.dataset.link ?? location.href;
    this.el.addEventListener("click", ({ target }) => target instanceof Element && copyFor(target.closest("[data-copy]")), { signal });
    // So that it can be copied by hand where the browser doesn't let a page do it.
    this.el.addEventListener("focusin", ({ target }) => target instanceof HTMLInputElement && target.readOnly && target.select(), { signal });
    const field = document.activeElement;
    if (field instanceof HTMLInputElement && field.readOnly) field.select();
    offerToShare(link, signal);
    drawCode(link);
  },

  /** @this {Hook} */
  destroyed() {
    this.closing?.abort();
  },
};

/** @param {Element | null} button  whose `data-copy` names a field */
async function copyFor(button) {
  const field = byId((button instanceof HTMLElement && button.dataset.copy) || "");
  if (!button || !(field instanceof HTMLInputElement)) return;
  const copied = await copy(field);
  announce(copied ? "Link copied." : "The browser didn't let the link be copied. It is selected: copy it yourself.");
  const label = part(button, "label");
  if (!label || !copied) return;
  label.textContent = "Copied";
  setTimeout(() => (label.textContent = "Copy"), 2500);
}

/**
 * @param {HTMLInputElement} field
 * @returns {Promise<boolean>}
 */
async function copy(field) {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    // No clipboard over plain HTTP: the older way asks for no permission, but for what is selected.
    field.select();
    return document.execCommand("copy");
  }
}

/**
 * @param {string} link
 * @param {AbortSignal} signal
 */
function offerToShare(link, signal) {
  const button = byId("share");
  if (!button || !navigator.share) return;
  button.hidden = false;
  // The person may close the system's dialog: nothing was asked for then.
  button.addEventListener("click", () => navigator.share({ title: document.title, url: link }).catch(() => {}), { signal });
}

/** @param {string} link */
async function drawCode(link) {
  const figure = byId("qr");
  if (!figure) return;
  try {
    const { default: encode } = await import("qr");
    const rows = encode(link, "raw", { border: 1 });
    figure.replaceChildren(picture(rows, `QR code of the link to this room`));
    figure.hidden = false;
  } catch {
    // A link too long for a code, or a client that was deployed without the library: the link above does.
  }
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {boolean[][]} rows  true: dark
 * @param {string} label
 */
function picture(rows, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${rows.length} ${rows.length}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  svg.setAttribute("shape-rendering", "crispEdges");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", rows.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : ""))).join(""));
  svg.append(path);
  return svg;
}
