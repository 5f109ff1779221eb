// @ts-check
/**
 * Keeps text that was typed before the view was connected, on a slow line: the view knows nothing of it and renders the field as it
 * was. A field that the view does change gets the view's text.
 *
 * @param {Element} from  as it is
 * @param {Element} to    as the view renders it
 */
export function keepTyped(from, to) {
  if (!(from instanceof HTMLInputElement) || !(to instanceof HTMLInputElement) || from.type !== to.type) return;
  if (from.type === "checkbox") {
    if (from.defaultChecked === to.defaultChecked) to.checked = from.checked;
  } else if (TYPED.includes(from.type) && from.defaultValue === to.defaultValue) {
    to.value = from.value;
  }
}

const TYPED = ["text", "password", "search", "email", "url"];
