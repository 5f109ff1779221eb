// @ts-check
/** The hook `Chat`: keeps the newest message in sight, says when each was written, and empties the field when one was sent. */

/** @typedef {import("phoenix_live_view").ViewHook & {atEnd?: boolean, watching?: ResizeObserver}} Hook */

const NEAR_PX = 40;

/** @param {HTMLElement} element */
function log(element) {
  return element.querySelector("[role=log]");
}

export const Chat = {
  /** @this {Hook} */
  mounted() {
    this.handleEvent("said", () => this.el.querySelector("form")?.reset());
    tellTimes(this.el);
    const box = log(this.el);
    if (!box) return;
    this.atEnd = true;
    // Somebody who reads older messages stays with them.
    box.addEventListener("scroll", () => box.clientHeight > 0 && (this.atEnd = isAtEnd(box)));
    // It is hidden and shown on a narrow screen, and gets smaller under a banner. The first time is right after its first layout.
    this.watching = new ResizeObserver(() => this.atEnd && scrollDown(box));
    this.watching.observe(box);
  },

  /** @this {Hook} */
  destroyed() {
    this.watching?.disconnect();
  },

  /** @this {Hook} */
  disconnected() {
    offline(this.el, true);
  },

  /** @this {Hook} */
  reconnected() {
    offline(this.el, false);
  },

  /** @this {Hook} */
  updated() {
    tellTimes(this.el);
    if (this.atEnd) scrollDown(log(this.el));
  },
};

/** @param {Element} box */
function isAtEnd(box) {
  return box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX;
}

/** @param {Element | null} box */
function scrollDown(box) {
  if (box) box.scrollTop = box.scrollHeight;
}

/** As clocks show it where this browser is. @param {HTMLElement} element */
function tellTimes(element) {
  for (const time of element.querySelectorAll("time")) {
    if (!time.textContent) time.textContent = new Date(time.dateTime).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  }
}

/**
 * A message can't be sent now; it stays in the field.
 *
 * @param {HTMLElement} element
 * @param {boolean} offline
 */
function offline(element, offline) {
  const note = /** @type {HTMLElement | null} */ (element.querySelector("#chat-offline"));
  if (note) note.hidden = !offline;
}
