// @ts-check
/**
 * The call outside of the page: the tab's title and icon, the lock screen, the keys of a headset, and a phone's screen, which stays on.
 */
import { basePath } from "./dom.js";
import { on } from "./events.js";

/**
 * @param {import("./call.js").Call} call
 * @param {{leave: () => void}} options
 */
export function showInBrowser(call, { leave }) {
  showTitleAndIcon(call);
  showMediaSession(call, leave);
  keepAwake(call);
}

/** The beginning of the tab's title, before that of the page. @param {{unread: number, state: "none" | "open" | "muted"}} now */
export function prefix({ unread, state }) {
  return `${unread > 0 ? `(${unread > 99 ? "99+" : unread}) ` : ""}${state === "muted" ? "Muted · " : ""}`;
}

/** @param {import("./call.js").Call} call */
function showTitleAndIcon(call) {
  const icon = /** @type {HTMLLinkElement | null} */ (document.querySelector("link[rel=icon][type='image/svg+xml']"));
  const title = document.querySelector("title");
  let unread = 0;
  // As the view sets it; ours goes in front of it.
  let own = "";
  let plain = document.title;

  const draw = () => {
    if (document.title !== own) plain = document.title;
    const { room, status } = call;
    // On the way in there is no microphone yet, which isn't worth an icon.
    const active = call.active && status !== "connecting";
    const heard = active && room && !room.muted && room.own.held === null && room.microphone !== null;
    const state = active ? (heard ? "open" : "muted") : "none";
    own = prefix({ unread, state: active && room?.muted ? "muted" : "none" }) + plain;
    if (document.title !== own) document.title = own;
    const picture = { none: "favicon.svg", open: "favicon-live.svg", muted: "favicon-muted.svg" }[state];
    const address = `${basePath()}/assets/${picture}`;
    if (icon && icon.getAttribute("href") !== address) icon.setAttribute("href", address);
    const { setAppBadge, clearAppBadge } = /** @type {any} */ (navigator);
    (unread > 0 ? setAppBadge?.call(navigator, unread) : clearAppBadge?.call(navigator))?.catch?.(() => {});
  };
  for (const name of ["own", "status", "place", "microphone"]) on(call, name, draw);
  on(call, "chat", ({ from }) => {
    if (from === call.room?.me || document.visibilityState === "visible") return;
    unread += 1;
    draw();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible" || unread === 0) return;
    unread = 0;
    draw();
  });
  if (title) new MutationObserver(() => document.title !== own && draw()).observe(title, { childList: true, characterData: true, subtree: true });
  draw();
}

/**
 * @param {import("./call.js").Call} call
 * @param {() => void} leave
 */
function showMediaSession(call, leave) {
  const session = /** @type {any} */ (navigator.mediaSession);
  if (!session) return;
  /**
   * @param {string} action
   * @param {(() => void) | null} handler
   */
  const act = (action, handler) => {
    try {
      session.setActionHandler(action, handler);
    } catch {
      // An action that this browser doesn't have.
    }
  };
  const draw = () => {
    const { active, room, place } = call;
    session.metadata = active && place ? new MediaMetadata({ title: place.room, artist: "Roomtone" }) : null;
    session.playbackState = active ? "playing" : "none";
    act("togglemicrophone", active ? () => room?.setMuted(!room.muted) : null);
    act("hangup", active ? leave : null);
    session.setMicrophoneActive?.(active && room !== null && !room.muted && room.microphone !== null)?.catch?.(() => {});
  };
  for (const name of ["own", "status", "place", "microphone"]) on(call, name, draw);
}

/** @param {import("./call.js").Call} call */
function keepAwake(call) {
  if (!navigator.wakeLock) return;
  /** @type {WakeLockSentinel | null} */
  let lock = null;
  let asking = false;
  const check = async () => {
    const wanted = () => call.active && document.visibilityState === "visible";
    if (!wanted()) {
      lock?.release();
      lock = null;
    } else if ((!lock || lock.released) && !asking) {
      asking = true;
      // Refused on a low battery, say: then the screen goes dark as always.
      lock = await navigator.wakeLock.request("screen").catch(() => null);
      asking = false;
      if (!wanted()) check();
    }
  };
  on(call, "status", check);
  on(call, "place", check);
  document.addEventListener("visibilitychange", check);
}
