// A person: a Chromium with a fake microphone that plays one tone.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";
import { TMP } from "./server.mjs";
import { writeTone } from "./tones.mjs";

export const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** dB of one FFT bin. A tone of ours (0.1 of full scale) reads about −33 when mixed at its own level. */
export const HEARD = -45;
export const SILENT = -70;
/** In samples: what a recording is made in pieces of. */
const TAPE = 4096;
export const TAPE_MS = TAPE / 48;

/**
 * Chromium without the pop-up of its own address bar: each new window loads that beside its first page, for half a second of processor time. The others
 * are those that Playwright switches off; of two such lists, the last one counts.
 */
const NO_POPUP = [
  ..."AimEnabled AvoidUnnecessaryBeforeUnloadCheckSync DestroyProfileOnBrowserClose HttpsUpgrades LensOverlay MediaRouter OptimizationHints".split(" "),
  ..."PaintHolding ThirdPartyStoragePartitioning WebUIOmniboxPopup WebUIOmniboxAimPopup WebUIOmniboxFullPopup PreloadTopChromeWebUI".split(" "),
];

const COMMON = [
  `--disable-features=${NO_POPUP}`,
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/**
 * A microphone made in the page itself, for those who share a browser: its own fake one plays the same file to all of them.
 * `globalThis.microphone.gain.value` is how loud it is.
 */
const toneMicrophone = (tone) => `{
  const context = new AudioContext({ sampleRate: 48000 });
  const oscillator = new OscillatorNode(context, { frequency: ${tone} });
  const gain = new GainNode(context, { gain: 0.1 });
  oscillator.connect(gain);
  oscillator.start();
  globalThis.microphone = gain;
  if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = async () => {
    const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    gain.connect(destination);
    await context.resume();
    return destination.stream;
  };
}`;

/**
 * Opens a browser for several people; each has a context of their own, so a session of their own.
 *
 * @param {string[]} args
 * @param {string} executablePath  another program to start it by, such as {@link import("./network.mjs").Network}'s
 */
export async function openBrowser(args = [], executablePath = EXECUTABLE) {
  return await chromium.launch({
    executablePath,
    args: [...COMMON, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required", ...args],
  });
}

/** How each kind of microphone is made. */
const MICROPHONES = {
  tone: (file) => [
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    `--use-file-for-fake-audio-capture=${file}`,
    "--autoplay-policy=no-user-gesture-required",
  ],
  // There is a device, but nobody allows it.
  refused: () => ["--use-fake-device-for-media-stream", "--deny-permission-prompts"],
};

export class Person {
  constructor({ name, tone, browser, context, page }) {
    Object.assign(this, { name, tone, browser, context, page });
    this.consoleErrors = [];
    page.on("console", (message) => {
      if (message.type() === "error") this.consoleErrors.push(`${message.text()} (${message.location().url})`);
    });
    page.on("pageerror", (error) => this.consoleErrors.push(String(error.stack ?? error)));
  }

  /**
   * @param {string} name
   * @param {number} tone  Hz
   * @param {{microphone?: keyof typeof MICROPHONES, context?: object, init?: string, browser?: import("playwright-core").Browser}} options
   *   `browser`: one to share with others, from {@link openBrowser}
   */
  static async arrive(name, tone, { microphone = "tone", context: contextOptions = {}, init, browser: shared } = {}) {
    const file = join(TMP, `tone-${tone}.wav`);
    if (!existsSync(file)) writeTone(file, tone);
    const browser =
      shared ??
      (await chromium.launch({
        executablePath: EXECUTABLE,
        args: [...COMMON, ...MICROPHONES[microphone](file)],
      }));
    const context = await browser.newContext(contextOptions);
    // Echo cancellation and noise suppression would take a steady tone away, as they should.
    await context.addInitScript(() => location.protocol.startsWith("http") && localStorage.setItem("roomtone:processing", "off"));
    if (shared && microphone === "tone") await context.addInitScript(toneMicrophone(tone));
    if (init) await context.addInitScript(init);
    return new Person({ name, tone, browser: shared ? null : browser, context, page: await context.newPage() });
  }

  /**
   * From the front page, as anybody would.
   *
   * @param {{waitConnected?: boolean, timeout?: number}} options  `timeout`: for each of the steps, ms
   */
  async join(url, room, { waitConnected = true, timeout = 20_000 } = {}) {
    await this.page.goto(`${url}/`);
    await this.page.locator("[name=name]").fill(this.name);
    await this.page.locator("[name=room]").fill(room);
    await this.page.getByRole("button", { name: "Join" }).click();
    if (waitConnected) {
      await this.throughTheDoor(timeout);
      await this.connected(timeout);
    }
  }

  /** A person who comes by a link, or whose browser would ask for the microphone for the first time, is asked before joining. */
  async throughTheDoor(timeout = 20_000) {
    await this.page.locator('#room[data-status="connected"], #pre-join:not([hidden])').first().waitFor({ timeout });
    const go = this.page.locator("#pre-join-go");
    if (await go.isVisible()) await go.click();
  }

  async connected(timeout = 20_000) {
    await this.page.locator('#room[data-status="connected"]').waitFor({ timeout });
  }

  participant(name) {
    return this.page.locator(`[data-participant="${name}"]`);
  }

  get microphone() {
    return this.page.locator("#mute, .voice-room-mute");
  }

  /** Loudness of each tone in what this page plays, over about 0.4 s. */
  async levels(tones) {
    return await this.page.evaluate(async (frequencies) => {
      const stream = document.querySelector("audio")?.srcObject;
      if (!stream) return frequencies.map(() => -200);
      globalThis.ear ??= {};
      const ear = globalThis.ear;
      if (ear.stream !== stream) {
        ear.stream = stream;
        ear.context ??= new AudioContext({ sampleRate: 48000 });
        await ear.context.resume();
        ear.source?.disconnect();
        ear.source = ear.context.createMediaStreamSource(stream);
        ear.analyser = new AnalyserNode(ear.context, { fftSize: 8192, smoothingTimeConstant: 0 });
        ear.source.connect(ear.analyser);
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
      const bins = new Float32Array(ear.analyser.frequencyBinCount);
      const sums = frequencies.map(() => 0);
      const rounds = 4;
      for (let round = 0; round < rounds; round += 1) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        ear.analyser.getFloatFrequencyData(bins);
        frequencies.forEach((frequency, i) => {
          const bin = Math.round((frequency * ear.analyser.fftSize) / ear.context.sampleRate);
          // Silence is −Infinity dB.
          sums[i] += Math.max(-200, ...bins.slice(bin - 1, bin + 2));
        });
      }
      return sums.map((sum) => Math.round((sum / rounds) * 10) / 10);
    }, tones);
  }

  /**
   * How loud a tone is in each ear, in dB: left and right, over about half a second.
   *
   * @param {number} tone
   * @returns {Promise<[number, number]>}
   */
  async ears(tone) {
    return await this.page.evaluate(async (frequency) => {
      const context = new AudioContext({ sampleRate: 48000 });
      await context.resume();
      const source = context.createMediaStreamSource(document.querySelector("audio").srcObject);
      // One channel is heard on both sides.
      const both = new GainNode(context, { channelCount: 2, channelCountMode: "explicit" });
      const apart = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
      source.connect(both).connect(apart);
      const ears = [0, 1].map((side) => {
        const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
        apart.connect(analyser, side);
        return analyser;
      });
      const bin = Math.round((frequency * 8192) / 48000);
      await new Promise((resolve) => setTimeout(resolve, 500));
      const levels = ears.map((analyser) => {
        const bins = new Float32Array(analyser.frequencyBinCount);
        analyser.getFloatFrequencyData(bins);
        return Math.max(-200, ...bins.slice(bin - 1, bin + 2));
      });
      await context.close();
      return levels;
    }, tone);
  }

  /**
   * How loud a tone is in what this page plays, in dB, every 5 ms of it from now on; both ears together. The returned function ends that, and gives
   * the levels. Of a page that is held up for longer than {@link TAPE_MS} some is missing.
   *
   * @param {number} tone
   */
  async record(tone) {
    await this.page.evaluate(async (length) => {
      const context = new AudioContext({ sampleRate: 48000 });
      await context.resume();
      const source = context.createMediaStreamSource(document.querySelector("audio").srcObject);
      const tape = context.createScriptProcessor(length, 1, 1);
      const pieces = [];
      tape.onaudioprocess = ({ inputBuffer }) => pieces.push(inputBuffer.getChannelData(0).slice());
      source.connect(tape).connect(context.destination);
      globalThis.tape = { context, pieces };
      while (pieces.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
    }, TAPE);
    return async () =>
      await this.page.evaluate(async (frequency) => {
        const { context, pieces } = globalThis.tape;
        await context.close();
        const sound = new Float32Array(pieces.length * pieces[0].length);
        pieces.forEach((piece, i) => sound.set(piece, i * piece.length));
        // Windows of 20 ms that fade in and out.
        const length = 960;
        const levels = [];
        for (let start = 0; start + length <= sound.length; start += 240) {
          let [re, im] = [0, 0];
          for (let i = 0; i < length; i += 1) {
            const weight = sound[start + i] * (1 - Math.cos((2 * Math.PI * i) / length));
            const phase = (2 * Math.PI * frequency * i) / 48000;
            re += weight * Math.cos(phase);
            im += weight * Math.sin(phase);
          }
          levels.push(20 * Math.log10((2 * Math.hypot(re, im)) / length + 1e-10));
        }
        return levels;
      }, tone);
  }

  /**
   * Waits until exactly the given tones are heard, and the other ones of `all` are not.
   *
   * @param {number[]} wanted
   * @param {number[]} all
   * @param {number} timeout  ms
   * @param {number} heard  how loud the wanted ones are at least, dB
   */
  async hears(wanted, all, timeout = 15_000, heard = HEARD) {
    const deadline = Date.now() + timeout;
    let levels;
    do {
      levels = await this.levels(all);
      const right = all.every((tone, i) => (wanted.includes(tone) ? levels[i] > heard : levels[i] < SILENT));
      if (right) return levels;
      await sleep(100);
    } while (Date.now() < deadline);
    const found = all.map((tone, i) => `${tone} Hz ${levels[i]} dB`).join(", ");
    throw new Error(`${this.name} should hear ${wanted.join(", ") || "nothing"} of ${all.join(", ")} Hz, but: ${found}`);
  }

  /**
   * The level that a tone settles at, in dB: looks until two looks in a row agree, since a machine that stalls makes one read lower.
   *
   * @param {number[]} tones
   * @returns {Promise<number[]>}
   */
  async steady(tones, timeout = 30_000) {
    const deadline = Date.now() + timeout;
    let before = await this.levels(tones);
    do {
      const now = await this.levels(tones);
      if (now.every((level, i) => Math.abs(level - before[i]) <= 0.3)) return now;
      before = now;
    } while (Date.now() < deadline);
    throw new Error(`${this.name}'s levels don't settle; the last are ${before}`);
  }

  /**
   * Waits until tones are so many dB louder than they were.
   *
   * @param {number[]} tones
   * @param {number[]} base  what they were
   * @param {number[]} change  dB
   */
  async changes(tones, base, change, { within = 0.5, timeout = 30_000 } = {}) {
    const deadline = Date.now() + timeout;
    let found;
    do {
      found = await this.steady(tones);
      if (found.every((level, i) => Math.abs(level - base[i] - change[i]) <= within)) return found;
    } while (Date.now() < deadline);
    throw new Error(`${this.name} hears ${tones} Hz at ${found} dB, which should be ${change} dB off ${base}`);
  }

  /**
   * That a tone goes on, in so many looks. A machine that stalls spoils some of them (in one, a single silent read takes 40 dB off the
   * mean), but a sound that has ended is in none.
   *
   * @param {number} tone
   * @param {number} looks
   * @param {number} most  to look at
   */
  async goesOnHearing(tone, looks = 5, most = looks + 4) {
    const seen = [];
    while (seen.filter((level) => level > HEARD).length < looks) {
      if (seen.length >= most) throw new Error(`${this.name} should go on hearing ${tone} Hz, but it is at ${seen.join(", ")} dB`);
      seen.push(...(await this.levels([tone])));
    }
  }

  /** Opens what one may do about somebody else. */
  async about(name) {
    await this.page.getByRole("button", { name: `Options for ${name}` }).click();
    await this.page.locator("#person-panel").getByRole("heading", { name }).waitFor();
  }

  /** Moves the slider of whoever {@link about} is open for, as a hand would: which has the focus there. */
  async setVolume(percent) {
    await this.page.locator("#volume").evaluate((slider, value) => {
      slider.focus();
      slider.value = value;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    }, String(percent));
    await this.page.locator("#person-panel output").getByText(`${percent} %`, { exact: true }).waitFor();
  }

  async mark() {
    await this.page.evaluate(() => (globalThis.untouched = true));
  }

  /** Whether the page is still the one that was marked: nothing was reloaded. */
  async marked() {
    return await this.page.evaluate(() => globalThis.untouched === true);
  }

  async leave() {
    await this.page.getByRole("button", { name: "Leave" }).click();
    await this.page.waitForURL((url) => url.pathname === "/");
  }

  /** Gone without a word, as with a crash: the room keeps their place for a while. */
  async go() {
    await (this.browser ?? this.context).close();
  }
}

/** Closes whoever came, whatever happened. */
export async function everybodyGoes(people) {
  await Promise.allSettled(people.filter(Boolean).map((person) => person.go()));
}
