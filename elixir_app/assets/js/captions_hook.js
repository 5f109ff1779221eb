// @ts-check
/** The hook `Captions`: saves the captions that the server sends as a file. */

/** @typedef {import("phoenix_live_view").ViewHook} Hook */

export const Captions = {
  /** @this {Hook} */
  mounted() {
    this.handleEvent("captions", ({ text, name }) => save(String(text), String(name)));
  },
};

/**
 * @param {string} text
 * @param {string} name
 */
function save(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/vtt" }));
  link.download = name;
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
