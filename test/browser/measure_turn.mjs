// Time to connected with the built-in TURN server and without: `npm --prefix test/browser run measure:turn`. Not a test.
//
//   JOINS=20      so many newcomers for each of the two, in turn
import { openBrowser, Person } from "./support/person.mjs";
import { Server } from "./support/server.mjs";
import { freeTcpPort } from "../support/ports.mjs";

const JOINS = Number(process.env.JOINS ?? 20);

// Notes of a connection, in ms: from its making, and from the answer, until it is connected; and whether it goes through the TURN server.
const NOTE = `{
  const Plain = RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Plain {
    #made = performance.now();
    #answered;
    constructor(...more) {
      super(...more);
      this.addEventListener("connectionstatechange", async () => {
        if (this.connectionState !== "connected" || globalThis.noted) return;
        const now = performance.now();
        const stats = await this.getStats();
        const transport = [...stats.values()].find(({ type }) => type === "transport");
        const { candidateType } = stats.get(stats.get(transport.selectedCandidatePairId).localCandidateId);
        const servers = this.getConfiguration().iceServers.flatMap(({ urls }) => urls).length;
        globalThis.noted = { whole: now - this.#made, ice: now - this.#answered, candidateType, servers };
      });
    }
    setRemoteDescription(...more) {
      this.#answered ??= performance.now();
      return super.setRemoteDescription(...more);
    }
  };
}`;

const sorted = (numbers) => [...numbers].sort((a, b) => a - b);
const told = (numbers) => {
  const all = sorted(numbers);
  return `p50 ${all[Math.floor(all.length / 2)].toFixed(0)} ms, ${all[0].toFixed(0)} to ${all.at(-1).toFixed(0)} ms`;
};

const local = { PUBLIC_IP: "127.0.0.1" };
const [without, withTurn, browser] = await Promise.all([
  Server.start("measure-without", local),
  Server.start("measure-turn", { ...local, TURN_PORT: String(await freeTcpPort()) }),
  openBrowser(),
]);
const kinds = [
  { what: "without a TURN server", server: without, times: [] },
  { what: "with the built-in one", server: withTurn, times: [] },
];
try {
  for (let i = 0; i < JOINS + 1; i += 1) {
    for (const { server, times } of i % 2 ? kinds : [...kinds].reverse()) {
      const person = await Person.arrive(`Newcomer ${i}`, 800, { browser, init: NOTE });
      await person.join(server.url, "standup");
      await person.page.waitForFunction(() => globalThis.noted !== undefined);
      // The first one finds a server that hasn't done anything yet.
      if (i > 0) times.push(await person.page.evaluate(() => noted));
      await person.leave();
      await person.go();
    }
  }
  for (const { what, times } of kinds) {
    const of = (key) => told(times.map((time) => time[key]));
    const relayed = times.filter(({ candidateType }) => candidateType === "relay").length;
    console.log(`${what} (${times[0].servers} URLs):`);
    console.log(`  RTCPeerConnection made to connected: ${of("whole")}`);
    console.log(`  answer to connected:                 ${of("ice")}`);
    console.log(`  through the TURN server:             ${relayed} of ${times.length}`);
  }
} finally {
  await browser.close();
  await Promise.all(kinds.map(({ server }) => server.kill()));
}
