// @ts-check
import { chosenMicrophone, chosenSpeaker, listDevices, speakersCanBeChosen, watchDevices } from "./devices.js";
import { LevelMeter } from "./level_meter.js";

/**
 * @typedef {object} Elements
 * @property {HTMLSelectElement | null} microphone
 * @property {HTMLSelectElement | null} speaker
 * @property {HTMLMeterElement | null} meter
 */

/** Two lists and a level: which microphone, which speaker, and whether the microphone hears anything. */
export class DeviceChoice {
  #elements;
  /** @type {LevelMeter | null} */ #meter;
  /** @type {() => void} */ #unwatch = () => {};

  /**
   * @param {Elements} elements
   * @param {object} options
   * @param {(id: string) => void} options.onMicrophone
   * @param {(id: string) => void} options.onSpeaker
   * @param {AbortSignal} options.signal  ends it for good
   */
  constructor(elements, { onMicrophone, onSpeaker, signal }) {
    this.#elements = elements;
    this.#meter = elements.meter && new LevelMeter(elements.meter);
    const { microphone, speaker } = elements;
    microphone?.addEventListener("change", () => onMicrophone(microphone.value), { signal });
    speaker?.addEventListener("change", () => onSpeaker(speaker.value), { signal });
    signal.addEventListener("abort", () => this.close());
  }

  /** @param {MediaStreamTrack | null} track  what the meter shows */
  async open(track) {
    this.#unwatch();
    this.#unwatch = watchDevices(() => this.#fill());
    this.#meter?.show(track);
    await this.#fill();
  }

  close() {
    this.#unwatch();
    this.#unwatch = () => {};
    this.#meter?.stop();
  }

  async #fill() {
    const { microphones, speakers } = await listDevices();
    const { microphone, speaker } = this.#elements;
    if (microphone) offer(microphone, microphones, chosenMicrophone(), "No microphone found");
    if (!speaker) return;
    offer(speaker, speakers, chosenSpeaker(), "System default");
    const field = speaker.closest("label, .field") ?? speaker;
    if (field instanceof HTMLElement) field.hidden = !speakersCanBeChosen();
  }
}

/**
 * @param {HTMLSelectElement} select
 * @param {import("./devices.js").Device[]} devices
 * @param {string} chosen
 * @param {string} none  what to say when there are none
 */
function offer(select, devices, chosen, none) {
  const options = devices.length ? devices : [{ id: "", label: none }];
  select.replaceChildren(...options.map(({ id, label }) => new Option(label, id)));
  select.disabled = devices.length === 0;
  if (devices.some(({ id }) => id === chosen)) select.value = chosen;
}
