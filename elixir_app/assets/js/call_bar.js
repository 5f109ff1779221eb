// @ts-check
/** The bar that stays while one is in a call and looks at another page. */
import { on } from "./events.js";
import { basePath, byId, part, roomPage } from "./dom.js";
import { statusWords } from "./messages.js";

/**
 * Whether a page that has loaded isn't the one on the way to which a person is in the call already: they went elsewhere before it came, or
 * it has no place for the call. The library tells a `redirect` before the view is drawn, and `initial` after that.
 *
 * @param {{kind: string, to?: string}} loaded
 */
function endsEntering({ kind, to = "" }) {
  const toRoom = new URL(to, location.href).pathname.startsWith(`${basePath()}/rooms/`);
  return kind === "redirect" ? !toRoom : kind === "initial" && toRoom && !roomPage();
}

/**
 * @param {import("./call.js").Call} call
 */
export function showCallBar(call) {
  const bar = byId("call");
  if (!bar) return;
  const draw = () => drawBar(bar, call);
  byId("call-mute")?.addEventListener("click", () => call.room?.setMuted(!call.room.muted));
  byId("call-leave")?.addEventListener("click", () => call.leave());
  for (const name of ["place", "status", "own", "participants", "problems"]) on(call, name, draw);
  // Which page is on the screen decides whether the bar is needed.
  addEventListener("phx:page-loading-stop", (event) => {
    if (event instanceof CustomEvent && endsEntering(event.detail)) document.body.removeAttribute("data-entering");
    draw();
  });
  addEventListener("roomtone:page", draw);
  draw();
}

/**
 * @param {HTMLElement} bar
 * @param {import("./call.js").Call} call
 */
function drawBar(bar, call) {
  const { place, room, status } = call;
  // On the way there, too: the page of the room comes in a moment.
  const here = place !== null && (roomPage()?.dataset.room === place.room || document.body.hasAttribute("data-entering"));
  bar.hidden = place === null || here;
  document.body.toggleAttribute("data-call", place !== null && !here);
  if (!place || !room) return;
  bar.dataset.status = status;
  byId("call-back")?.setAttribute("href", place.path);
  byId("call-mute")?.setAttribute("aria-checked", String(!room.muted));
  byId("call-mute")?.toggleAttribute("disabled", status === "ended");
  setText(part(bar, "room"), place.room);
  setText(part(bar, "status"), statusWords(call));
  const people = room.participants.length;
  setText(part(bar, "count"), people === 0 ? "" : people === 1 ? "1 person" : `${people} people`);
}

/**
 * Screen readers read out again what is written again.
 *
 * @param {HTMLElement | null} element
 * @param {string} text
 */
function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}
