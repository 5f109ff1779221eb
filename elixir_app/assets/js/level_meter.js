// @ts-check
/** Shows how loud a track is on a `<meter>` from 0 to 1. */
export class LevelMeter {
  #meter;
  /** @type {AudioContext | null} */ #context = null;
  /** @type {MediaStreamTrack | null} */ #track = null;
  #frame = 0;
  #resume = () => this.#context?.resume();

  /** @param {HTMLMeterElement} meter */
  constructor(meter) {
    this.#meter = meter;
  }

  /**
   * Starts, or goes on with another track. The track itself may be muted meanwhile: a copy of it is listened to, so that a person
   * sees their microphone work before they open it.
   *
   * @param {MediaStreamTrack | null} track
   */
  show(track) {
    this.stop();
    if (!track || track.readyState === "ended") return;
    this.#track = track.clone();
    this.#track.enabled = true;
    this.#context = new AudioContext();
    // On a page where nobody has clicked yet, it may wait for that.
    for (const event of ["pointerdown", "keydown"]) addEventListener(event, this.#resume);
    const analyser = new AnalyserNode(this.#context, { fftSize: 1024 });
    this.#context.createMediaStreamSource(new MediaStream([this.#track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let shown = 0;
    const draw = () => {
      analyser.getFloatTimeDomainData(samples);
      // Falls slower than it rises, as needles do.
      shown = Math.max(loudness(samples), shown * 0.9);
      this.#meter.value = shown;
      this.#frame = requestAnimationFrame(draw);
    };
    draw();
  }

  stop() {
    for (const event of ["pointerdown", "keydown"]) removeEventListener(event, this.#resume);
    cancelAnimationFrame(this.#frame);
    this.#track?.stop();
    this.#track = null;
    this.#context?.close();
    this.#context = null;
    this.#meter.value = 0;
  }
}

/**
 * 0 for what is below a whisper (−60 dBFS), 1 for full scale, even steps of decibels between.
 *
 * @param {Float32Array} samples
 */
export function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const decibels = 10 * Math.log10(sum / samples.length);
  return Math.min(1, Math.max(0, (decibels + 60) / 60));
}
