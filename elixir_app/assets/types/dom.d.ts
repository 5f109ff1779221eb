/** The few things that everything on the page needs. */
/**
 * @param {string} id
 * @returns {HTMLElement | null}
 */
export function byId(id: string): HTMLElement | null;
/** The path that all pages of ours are under; empty where they have the whole host. */
export function basePath(): string;
/** The element of a room's page, where that is what is shown. @returns {HTMLElement | null} */
export function roomPage(): HTMLElement | null;
/**
 * @param {ParentNode | null} parent
 * @param {string} name  as in `data-part`
 * @returns {HTMLElement | null}
 */
export function part(parent: ParentNode | null, name: string): HTMLElement | null;
/** The token by which the server knows that a request comes from a page of its own. */
export function csrfToken(): string;
/**
 * Has a screen reader say it, when there's a pause.
 *
 * @param {string} text
 */
export function announce(text: string): void;
