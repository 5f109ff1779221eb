// @ts-check
/** The hook `Chat`: keeps the newest message in sight, and empties the field when one was sent. */

/** @typedef {import("phoenix_live_view").ViewHook & {atEnd?: boolean}} Hook */

const NEAR_PX = 40;

/** @param {HTMLElement} element */
function log(element) {
  return element.querySelector("[role=log]");
}

export const Chat = {
  /** @this {Hook} */
  mounted() {
    this.handleEvent("said", () => this.el.querySelector("form")?.reset());
    scrollDown(log(this.el));
  },

  /** @this {Hook} */
  beforeUpdate() {
    const box = log(this.el);
    // Who reads what was written before is left there.
    this.atEnd = !box || box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX;
  },

  /** @this {Hook} */
  updated() {
    if (this.atEnd) scrollDown(log(this.el));
  },
};

/** @param {Element | null} box */
function scrollDown(box) {
  if (box) box.scrollTop = box.scrollHeight;
}
