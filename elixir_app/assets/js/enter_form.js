// @ts-check
/**
 * The form that leads into a room, sent without leaving the page. The answer sets the cookie, as for any form, and has all that joining
 * takes: the call begins at once, and the room's view comes while the media connect, over a socket of the new session.
 *
 * The form is sent as a form, too, where that isn't enough: with something wrong in it, so that the server's page tells it; with a passcode
 * to try, which counts as one try; and in a call, which another page ends.
 */
import { askToEnter, takeAsked } from "./join_consent.js";
import { MediaLink } from "./media_link.js";

/**
 * @typedef {object} Answer
 * @property {string | null} path  of the room's page; null where something is wrong
 * @property {null | (Omit<import("./call.js").Place, "path" | "tokenUrl" | "goodbyeUrl"> & {token_url: string, goodbye_url: string, audience: boolean})} place  what joining takes;
 *   null where the room's page has to ask or tell something first
 */

/** The call goes first, as long as it needs the page's thread: drawing the room would hold up its offer. So long at most. */
const CALL_FIRST_MS = 300;
/** A view that isn't there by then doesn't come over this socket: its page is loaded instead, and the call goes on there. */
const VIEW_MS = 5000;
/** A server that takes longer is asked as by any form: the browser then shows that it waits, and for what. */
const ANSWER_MS = 10_000;

/**
 * @param {object} page
 * @param {() => boolean} page.free  whether a view is there to be followed by another, and no call
 * @param {any} page.socket  of the views
 * @param {(place: import("./call.js").Place, audience: boolean) => Promise<void>} page.join  resolves when the call needs the page's thread no more
 * @param {(path: string) => void} page.navigate
 */
export function listenToForm({ free, socket, join, navigate }) {
  let sending = false;
  let asForm = false;
  addEventListener(
    "submit",
    async (event) => {
      const { target: form, submitter } = event;
      if (!(form instanceof HTMLFormElement) || form.id !== "enter" || event.defaultPrevented || asForm) return;
      const fields = new FormData(form, submitter);
      if (!sending && (!free() || hasPasscodeToTry(fields))) return;
      event.preventDefault();
      // The library would send it.
      event.stopPropagation();
      // The mark that the person asked to join any room: here the answer tells which.
      takeAsked(null);
      if (sending) return;
      sending = true;
      form.setAttribute("aria-busy", "true");
      const sent = send(form, fields);
      // The browser prepares for the call while the server works.
      MediaLink.warm();
      const answer = await sent;
      const done = () => {
        sending = false;
        form.removeAttribute("aria-busy");
      };
      // The person is on another page by now, and isn't called back from there.
      if (!form.isConnected) return done();
      if (!answer?.path) {
        done();
        asForm = true;
        try {
          // The view may have taken the button away meanwhile.
          form.requestSubmit(submitter?.isConnected ? submitter : null);
        } finally {
          asForm = false;
        }
        return;
      }
      const { path, place } = answer;
      askToEnter(new URL(path, location.href).pathname);
      const called = place && join({ ...place, tokenUrl: place.token_url, goodbyeUrl: place.goodbye_url, path }, place.audience);
      const opened = async () => {
        await soon(called);
        done();
        // As above.
        if (form.isConnected) navigate(path);
      };
      reopen(socket, { opened, late: () => location.assign(path) });
    },
    true,
  );
}

/** @param {Promise<void> | null} called */
async function soon(called) {
  if (!called) return;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  await Promise.race([called, new Promise((resolve) => (timer = setTimeout(resolve, CALL_FIRST_MS)))]);
  clearTimeout(timer);
}

/** @param {FormData} fields */
function hasPasscodeToTry(fields) {
  return fields.get("create") !== "true" && (fields.get("passcode") ?? "") !== "";
}

/**
 * @param {HTMLFormElement} form
 * @param {FormData} fields
 * @returns {Promise<Answer | null>} null where the server can't be asked so, or takes too long
 */
async function send(form, fields) {
  try {
    // Without files, there are only strings.
    const body = new URLSearchParams(/** @type {any} */ (fields));
    const response = await fetch(form.action, {
      method: "POST",
      headers: { accept: "application/json" },
      body,
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

/**
 * Opens the views' socket anew: it is of the session that the browser had when it was opened.
 *
 * @param {any} socket
 * @param {{opened: () => void, late: () => void}} then
 */
function reopen(socket, { opened, late }) {
  /** @type {string[]} */
  const refs = [];
  const timer = setTimeout(() => {
    socket.off(refs);
    late();
  }, VIEW_MS);
  const anew = () => {
    socket.off(refs.splice(0));
    refs.push(
      socket.onOpen(() => {
        socket.off(refs);
        clearTimeout(timer);
        opened();
      }),
    );
    socket.conn?.abandon?.();
    socket.disconnect(() => {
      // The view that is there is about to be left: the server needn't draw it once more.
      for (const channel of [...socket.channels]) channel.leave();
      socket.connect();
    });
  };
  // Browsers complain about a socket that is closed before it is open.
  if (socket.connectionState() === "connecting") refs.push(socket.onOpen(anew));
  else anew();
}
