// @ts-check
/**
 * What somebody typed before the view had come to life, on a slow line, isn't wiped out by its first words. The view knows nothing
 * of it; it renders the field as it was. Where the view does change a field, it has the say.
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
