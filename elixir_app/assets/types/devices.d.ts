/**
 * @typedef {{id: string, label: string}} Device
 */
/**
 * Those that the browser tells us about: without a permission for the microphone that is none, or only how many.
 *
 * @returns {Promise<{microphones: Device[], speakers: Device[]}>}
 */
export function listDevices(): Promise<{
    microphones: Device[];
    speakers: Device[];
}>;
/** Whether this browser lets a page choose where its sound comes out. */
export function speakersCanBeChosen(): boolean;
/**
 * Whether asking for the microphone would put a question on the screen, which it does once for each page as a rule.
 *
 * @returns {Promise<boolean>}
 */
export function microphoneWouldAsk(): Promise<boolean>;
/**
 * Calls back when the person allows the microphone, or takes that back: in the browser's address bar, say.
 *
 * @param {(state: PermissionState) => void} callback
 * @param {AbortSignal} signal
 */
export function watchPermission(callback: (state: PermissionState) => void, signal: AbortSignal): Promise<void>;
/**
 * Calls back when a device was plugged in or out, until the returned function is called.
 *
 * @param {() => void} callback
 * @returns {() => void}
 */
export function watchDevices(callback: () => void): () => void;
export function chosenMicrophone(): string;
export function chosenSpeaker(): string;
export function chooseMicrophone(id: string): void;
export function chooseSpeaker(id: string): void;
export type Device = {
    id: string;
    label: string;
};
