// @ts-check
/**
 * `<voice-room room="standup"></voice-room>`: the room of `<.voice_room>` on any page, without LiveView and without a bundler.
 *
 *     <script type="importmap">{"imports": {"phoenix": "/roomtone/vendor/phoenix.mjs"}}</script>
 *     <script type="module" src="/roomtone/js/voice_room_element.js"></script>
 *
 * Attributes: `room`; `title`, shown in place of the room's name; `socket`, the path that the endpoint gave `voice_socket`;
 * `join`, to enter without a click. The call lasts as long as the element is on the page. The page needs the `csrf-token` in a
 * `<meta>` tag, as Phoenix's layouts have it.
 */
import { Widget } from "./voice_room_hook.js";

export class VoiceRoomElement extends HTMLElement {
  /** @type {Widget | null} */ #widget = null;

  connectedCallback() {
    const room = this.getAttribute("room");
    if (!room) throw new Error("<voice-room> needs the attribute room");
    const title = this.getAttribute("title") ?? room;
    this.classList.add("voice-room");
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", `Voice room ${title}`);
    Object.assign(this.dataset, { room, title, socket: this.getAttribute("socket") ?? "/voice" });
    if (this.hasAttribute("join")) this.dataset.join = "";
    this.#widget = new Widget(this);
  }

  disconnectedCallback() {
    this.#widget?.destroy();
    this.#widget = null;
  }
}

if (!customElements.get("voice-room")) customElements.define("voice-room", VoiceRoomElement);
