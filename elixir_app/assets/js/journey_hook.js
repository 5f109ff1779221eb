// @ts-check
/** The hook `Journey`: tells the page of a packet's journey what this browser counts of the call, once a second. */
import { call } from "./call.js";
import { JourneyStats } from "./journey_stats.js";

const EVERY_MS = 1000;

/** @typedef {import("phoenix_live_view").ViewHook & {timer?: ReturnType<typeof setInterval>}} Hook */

export const Journey = {
  /** @this {Hook} */
  mounted() {
    const journey = new JourneyStats();
    const tell = async () => {
      const stats = await call.room?.stats().catch(() => null);
      if (stats) this.pushEvent("browser", journey.look(stats.values(), call.room?.microphone));
    };
    this.timer = setInterval(tell, EVERY_MS);
    tell();
  },

  /** @this {Hook} */
  destroyed() {
    clearInterval(this.timer);
  },
};
