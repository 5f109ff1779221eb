export namespace VoiceRoom {
    /** @this {import("phoenix_live_view").ViewHook & {widget?: Widget}} */
    function mounted(this: import("phoenix_live_view").ViewHook<HTMLElement> & {
        widget?: Widget;
    }): void;
    /** @this {import("phoenix_live_view").ViewHook & {widget?: Widget}} */
    function destroyed(this: import("phoenix_live_view").ViewHook<HTMLElement> & {
        widget?: Widget;
    }): void;
}
/** A room as an element shows it, and the call behind it. */
export class Widget {
    /** @param {HTMLElement} element */
    constructor(element: HTMLElement);
    destroy(): void;
    #private;
}
export type Participant = import("./voice_room.js").Participant;
