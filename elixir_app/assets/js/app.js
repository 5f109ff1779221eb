// @ts-check
/** The pages of Roomtone: LiveViews that come and go, and around them the one call. */
import { Socket } from "phoenix";
import { LiveSocket } from "phoenix_live_view";
import { announceCall } from "./announcements.js";
import { listenForAsking, takeAsked } from "./join_consent.js";
import { call } from "./call.js";
import { showCallBar } from "./call_bar.js";
import { showInBrowser } from "./browser_state.js";
import { Captions } from "./captions_hook.js";
import { Chat } from "./chat_hook.js";
import { Invite } from "./invite_hook.js";
import { listenToForm } from "./enter_form.js";
import { FloorMap } from "./floor_map.js";
import { Journey } from "./journey_hook.js";
import { hintWhenMuted } from "./muted_talk.js";
import { basePath, byId, csrfToken, roomPage } from "./dom.js";
import { showProblems } from "./problems.js";
import { joinAtOnce, joinBefore, Room } from "./room_hook.js";
import { keepSettings } from "./setting_boxes.js";
import { listenToKeys } from "./shortcuts.js";
import { keepTyped } from "./kept_input.js";
import { transport } from "./transport.js";

// For the style sheet: whether this browser would give the page a microphone.
document.documentElement.toggleAttribute("data-insecure", !isSecureContext);

const liveSocket = new LiveSocket(`${basePath()}/live`, Socket, {
  ...transport.options({ first: 50, most: 5000 }),
  params: { _csrf_token: csrfToken() },
  hooks: { Room, Captions, Chat, Invite, FloorMap, Journey },
  dom: { onBeforeElUpdated: keepTyped },
});
liveSocket.connect();

/** From a headset, the lock screen: as by the button on the page, or the bar. */
function leave() {
  const here = byId("leave");
  if (here) here.click();
  else call.leave();
}

const navigate = (/** @type {string} */ path) => liveSocket.js().navigate(path);

showCallBar(call);
showProblems(call, navigate);
listenToKeys(call);
listenForAsking();
// After that one, which leaves the mark that the person asked to join.
listenToForm({
  free: () => !call.active && document.querySelector("[data-phx-main]") !== null,
  socket: liveSocket.getSocket(),
  join: joinBefore,
  navigate,
});
keepSettings();
announceCall(call);
hintWhenMuted(call);
showInBrowser(call, { leave: () => leave() });

// A view that wants something filled in.
addEventListener("phx:focus", (event) => event instanceof CustomEvent && byId(event.detail.id)?.focus());

// Captured, so as to speak before the socket's own listener closes it.
addEventListener("pagehide", (event) => event.persisted || call.unload(), { capture: true });

const page = roomPage();
if (page) joinAtOnce(page);
else {
  // A form that led elsewhere, to its own mistakes say.
  takeAsked(null);
  call.resume({ audio: /** @type {HTMLAudioElement | undefined} */ (byId("sound") ?? undefined) });
}
