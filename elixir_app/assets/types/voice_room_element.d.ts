export class VoiceRoomElement extends HTMLElement {
    connectedCallback(): void;
    disconnectedCallback(): void;
    #private;
}
