// @ts-check
/** The hook `Room`: the page of a room. The view draws the people; this attaches the call to it. */
import { takeAsked } from "./join_consent.js";
import { call } from "./call.js";
import { showConnectionPanel } from "./connection_panel.js";
import { showControls } from "./controls.js";
import { showDevicePanel } from "./device_panel.js";
import { showMicrophoneMenu } from "./microphone_menu.js";
import { on } from "./events.js";
import { focusHeading, keepFocus } from "./focus.js";
import { byId } from "./dom.js";
import { microphoneIsNew, preJoin } from "./pre_join.js";
import { lobbyPath } from "./problems.js";
import { ringHeight } from "./level_ring.js";
import { setting } from "./settings.js";
import { statusWords } from "./messages.js";

/**
 * @typedef {import("phoenix_live_view").ViewHook & {closing?: AbortController, focusAgain?: () => void, away?: boolean, tellWhereabouts?: () => void}} Hook
 * @typedef {import("./call.js").Place} Place
 */

export const Room = {
  /** @this {Hook} */
  mounted() {
    const page = this.el;
    const place = placeOf(page);
    if (document.body.hasAttribute("data-entering")) {
      document.body.removeAttribute("data-entering");
      // The form that had it is gone.
      if (document.activeElement === document.body) focusWhenDrawn();
    }
    this.closing = new AbortController();
    const { signal } = this.closing;
    // A patch by the view would take it back to "new".
    this.js().ignoreAttributes(page, ["data-status"]);
    showControls(call, {
      signal,
      leave: () => {
        call.leave();
        this.js().navigate(lobbyPath(place, { left: "1" }));
      },
    });
    // As the view takes it, until it is told otherwise.
    this.away = false;
    const settings = showDevicePanel(call, signal);
    showMicrophoneMenu(call, { signal, settings });
    showConnectionPanel(call, signal);
    showRings(page, signal);
    const draw = () => {
      drawStatus(page, place);
      this.tellWhereabouts?.();
    };
    this.tellWhereabouts = () => {
      const away = !(call.active && call.isAt(place));
      if (away === this.away) return;
      this.away = away;
      this.pushEvent("away", { away });
    };
    for (const name of ["status", "own", "place", "problems"]) on(call, name, draw, signal);
    this.handleEvent("transfer", ({ path }) => {
      if (!call.active || !call.isAt(place)) return;
      call.sendTo(String(path));
      this.js().navigate(String(path));
    });
    // This room doesn't have the person: their page is that of the former one again, where they still are.
    on(call, "back", ({ path }) => call.isAt(place) && this.js().navigate(path), signal);
    enter(place, signal, isAudience(page));
    draw();
  },

  /** @this {Hook} */
  beforeUpdate() {
    this.focusAgain = keepFocus(document.activeElement);
  },

  /** @this {Hook} */
  updated() {
    this.focusAgain?.();
  },

  /** The view is a new one, which takes this page for the one with the call. @this {Hook} */
  reconnected() {
    this.away = false;
    this.tellWhereabouts?.();
  },

  /** @this {Hook} */
  destroyed() {
    // The call itself goes on.
    this.closing?.abort();
    dispatchEvent(new Event("roomtone:page"));
  },
};

/**
 * @param {HTMLElement} page
 * @returns {Place}
 */
function placeOf(page) {
  const { room = "", name = "", token = "", session = "", tokenUrl = "", socket = "/voice", goodbyeUrl = "" } = page.dataset;
  return { room, name, token, session, tokenUrl, socket, goodbyeUrl, path: location.pathname + location.search };
}

/** The focus needs the page's layout, which comes with its first frame: asked for now, the browser would do it twice. */
function focusWhenDrawn() {
  requestAnimationFrame(() =>
    setTimeout(() => {
      // A person may have gone on meanwhile.
      if (document.activeElement === document.body) focusHeading();
    }),
  );
}

/** A page that came with a room may have joined it already. @type {Promise<void>} */
let joining = Promise.resolve();

/**
 * Joins the room of a page that has just come, where nothing has to be asked. The page has all that it takes, and its view is connected
 * meanwhile.
 *
 * @param {HTMLElement} page
 */
export function joinAtOnce(page) {
  joinIfAsked(placeOf(page), isAudience(page));
}

/**
 * The same for a page that is still to come: the server's answer to a form has what it takes.
 *
 * @param {Place} place
 * @param {boolean} audience  whether one only listens there at first
 * @returns {Promise<void>} resolves when the media connect, or when the page of the room is needed for it
 */
export async function joinBefore(place, audience) {
  document.body.toggleAttribute("data-entering", true);
  joinIfAsked(place, audience);
  await joining;
  if (call.active && call.status !== "connected") await answered();
}

/** Resolves when the server has answered the call's offer, or when the call is over. @returns {Promise<void>} */
function answered() {
  const done = new AbortController();
  return new Promise((resolve) => {
    const settle = () => {
      done.abort();
      resolve();
    };
    on(call, "answered", settle, done.signal);
    on(call, "place", settle, done.signal);
    on(call, "status", () => call.active || settle(), done.signal);
  });
}

/**
 * @param {Place} place
 * @param {boolean} audience
 */
function joinIfAsked(place, audience) {
  joining = mayJoin(place, audience).then((may) => (may ? join(place, "speak") : undefined));
}

/**
 * Joins: without a question only where the person has just asked for it, or where the call of the page before this one goes on.
 *
 * @param {Place} place
 * @param {AbortSignal} signal
 * @param {boolean} audience  whether one only listens there at first, so that there is no microphone to ask for
 */
async function enter(place, signal, audience) {
  await joining;
  const may = await mayJoin(place, audience);
  if (signal.aborted) return;
  if (may) return join(place, "speak");
  const how = await preJoin(signal, { elsewhere: elsewhere(place), audience });
  if (signal.aborted) return;
  // The button that had the focus is gone; here M and the space bar are the microphone's.
  focusHeading();
  join(place, how);
}

/**
 * @param {Place} place
 * @param {boolean} audience
 */
async function mayJoin(place, audience) {
  const asked = takeAsked(new URL(place.path, location.href).pathname);
  if (call.active) return call.isAt(place) || call.isSentTo(place);
  return call.isKept(place) || (asked && (audience || !(await microphoneIsNew())));
}

/**
 * @param {Place} place
 * @param {"speak" | "listen"} how
 */
function join(place, how) {
  const audio = /** @type {HTMLAudioElement | undefined} */ (byId("sound") ?? undefined);
  call.enter(place, { audio, listenOnly: how === "listen", muted: setting("join-muted") === "on" });
}

/** The room of the call that ends with joining this one. @param {Place} place */
function elsewhere(place) {
  return call.active && !call.isAt(place) ? (call.place?.room ?? "") : null;
}

/** @param {HTMLElement} page */
function isAudience(page) {
  return page.dataset.audience === "true";
}

/**
 * @param {HTMLElement} page
 * @param {Place} place
 */
function drawStatus(page, place) {
  const status = call.isAt(place) ? call.status : "new";
  page.dataset.status = status;
  const words = call.isAt(place) ? statusWords(call) : "";
  const line = byId("status");
  // Screen readers read out again what is written again.
  if (line && line.textContent !== words) line.textContent = words;
}

/**
 * Rings around the people, as loud as they speak.
 *
 * @param {HTMLElement} page
 * @param {AbortSignal} signal
 */
function showRings(page, signal) {
  const rings = () => /** @type {NodeListOf<HTMLElement>} */ (page.querySelectorAll("[data-ring]"));
  on(
    call,
    "levels",
    (levels) => {
      for (const ring of rings()) {
        const height = ringHeight(levels[ring.dataset.ring ?? ""]).toFixed(2);
        // Most of a crowd is silent: nothing to draw.
        if (ring.style.getPropertyValue("--level") !== height) ring.style.setProperty("--level", height);
      }
    },
    signal,
  );
}
