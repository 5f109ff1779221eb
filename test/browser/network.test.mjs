// Ways in: people whose networks let only some things through. Each test has a network of its own, in a namespace.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createConnection, isIPv6 } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Network, noNetworks } from "./support/network.mjs";
import { everybodyGoes, openBrowser, Person } from "./support/person.mjs";
import { ROOT, Server, TMP } from "./support/server.mjs";
import { freeTcpPort } from "../support/ports.mjs";

const TONES = [500, 800];
const skip = noNetworks();

// Keeps connections at hand.
const KEEP = `{
  const Plain = RTCPeerConnection;
  globalThis.connections = [];
  globalThis.RTCPeerConnection = class extends Plain {
    constructor(...more) {
      super(...more);
      connections.push(this);
    }
  };
}`;

/** The candidates of the pair that the person's connection uses. */
async function selected(person) {
  return await person.page.evaluate(async () => {
    const stats = await connections.at(-1).getStats();
    const transport = [...stats.values()].find(({ type }) => type === "transport");
    const pair = stats.get(transport.selectedCandidatePairId);
    const [local, remote] = [stats.get(pair.localCandidateId), stats.get(pair.remoteCandidateId)];
    return {
      local: local.candidateType,
      relayProtocol: local.relayProtocol,
      protocol: remote.protocol,
      remote: remote.address ?? remote.ip,
    };
  });
}

/**
 * Two people join from inside a network, and hear each other; then `check` is called with one of them.
 *
 * @param {Network} network
 * @param {string} host  the server's, in addresses of pages
 * @param {((port: number) => string[]) | null} firewall  what it lets out, given the port of the pages; `null`: everything
 * @param {(person: Person) => Promise<void>} check
 * @param {Record<string, string>} env  of the server; with `HTTPS_PORT` the pages come from there, with a certificate that nobody knows
 */
async function call(network, host, firewall, check, env = {}) {
  const people = [];
  let server, browser;
  try {
    server = await Server.start(network.name, env);
    const port = env.HTTPS_PORT ?? server.port;
    if (firewall) network.firewall(...firewall(port));
    const url = `${env.HTTPS_PORT ? "https" : "http"}://${host}:${port}`;
    // Browsers give the microphone to pages on HTTPS or localhost only.
    const trust = env.HTTPS_PORT ? "--ignore-certificate-errors" : `--unsafely-treat-insecure-origin-as-secure=${url}`;
    browser = await openBrowser([trust], network.chromium);
    for (const [i, name] of ["Ada", "Ben"].entries()) {
      const person = await Person.arrive(name, TONES[i], { browser, init: KEEP });
      people.push(person);
      await person.join(url, network.name);
    }
    await people[0].hears([TONES[1]], TONES);
    await people[1].hears([TONES[0]], TONES);
    await check(people[0]);
  } finally {
    await everybodyGoes(people);
    await browser?.close();
    await server?.kill();
    network.close();
  }
}

test("a network that lets no UDP out: ICE-TCP", { skip }, async () => {
  const network = new Network();
  await call(network, network.server.ipv4, () => ["meta l4proto tcp accept"], async (ada) => {
    const { local, protocol } = await selected(ada);
    assert.equal(protocol, "tcp");
    assert.notEqual(local, "relay");
  });
});

test("a network without IPv4", { skip }, async () => {
  const network = new Network({ ipv4: false, ipv6: true });
  await call(network, `[${network.server.ipv6}]`, null, async (ada) => {
    const { protocol, remote } = await selected(ada);
    assert.equal(protocol, "udp");
    // One of this machine's own addresses, which all lead to the server.
    assert.equal(isIPv6(remote), true, remote);
  });
});

for (const protocol of ["tcp", "udp"]) {
  test(`a network that lets out pages and port 3478 by ${protocol}: the built-in TURN server`, { skip }, async () => {
    const network = new Network();
    const firewall = (port) => [`tcp dport ${port} accept`, `${protocol} dport 3478 accept`];
    const check = async (ada) => {
      const { local, relayProtocol } = await selected(ada);
      assert.deepEqual({ local, relayProtocol }, { local: "relay", relayProtocol: protocol });
    };
    await call(network, network.server.ipv4, firewall, check, { TURN_PORT: "3478", PUBLIC_IP: network.server.ipv4 });
  });
}

for (const [what, settings] of [
  ["nothing but port 443 by TCP: pages and TURN over TLS, on that one port", async () => ({ HTTPS_PORT: "443" })],
  [
    "HTTPS and port 443, both by TCP: the built-in TURN server over TLS on a port of its own",
    async () => ({ HTTPS_PORT: String(await freeTcpPort()), TURN_TLS_PORT: "443" }),
  ],
]) {
  test(`a network that lets out ${what}`, { skip }, async () => {
    const network = new Network();
    const host = network.server.ipv4;
    const files = join(TMP, network.name);
    const { status, stdout, stderr } = spawnSync("mix", ["roomtone.cert", "--directory", files, "--quiet"], {
      cwd: ROOT,
      env: { ROOMTONE_CARGO_PROFILE: "dev", ...process.env, MIX_ENV: "dev", PHX_HOST: host },
      encoding: "utf8",
    });
    assert.equal(status, 0, stdout + stderr);
    const check = async (ada) => {
      const { local, relayProtocol } = await selected(ada);
      assert.deepEqual({ local, relayProtocol }, { local: "relay", relayProtocol: "tls" });
    };
    await call(network, host, (port) => [`tcp dport { ${port}, 443 } accept`], check, {
      HTTPS_CERT_FILE: join(files, "certificate.pem"),
      HTTPS_KEY_FILE: join(files, "key.pem"),
      PHX_HOST: host,
      ...(await settings()),
    });
  });
}

// ---- A TURN server of others: coturn ----------------------------------------------------------------------------------

const SECRET = "between coturn and roomtone";
const noCoturn = skip || (spawnSync("turnserver", ["--version"]).error ? "needs turnserver (coturn)" : false);

/** Runs coturn for a network, on port 443 of the server's address, and `use` with the settings for it. */
async function withCoturn(network, use) {
  const host = network.server.ipv4;
  const options = ["-n", "--use-auth-secret", `--static-auth-secret=${SECRET}`, "--realm=roomtone.test", "--listening-port=443"];
  const where = [`--listening-ip=${host}`, `--relay-ip=${host}`, "--no-tls", "--no-dtls", "--no-cli", "--log-file=stdout", "--pidfile="];
  const coturn = spawn("turnserver", [...options, ...where], { stdio: "ignore" });
  try {
    for (let attempt = 0; !(await opens(host, 443)); attempt += 1) {
      assert.ok(attempt < 300 && coturn.exitCode === null, "coturn doesn't listen");
      await sleep(100);
    }
    await use({ TURN_URLS: `turn:${host}:443?transport=tcp,turn:${host}:443?transport=udp`, TURN_SECRET: SECRET });
  } finally {
    coturn.kill("SIGKILL");
  }
}

async function opens(host, port) {
  return await new Promise((resolve) => {
    const socket = createConnection(port, host, () => resolve(true));
    socket.on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}

test("a network that lets nothing out but TCP to pages and to port 443: TURN", { skip: noCoturn }, async () => {
  const network = new Network();
  await withCoturn(network, async (env) => {
    const firewall = (port) => [`tcp dport { ${port}, 443 } accept`];
    const check = async (ada) => {
      const { local, relayProtocol } = await selected(ada);
      assert.deepEqual({ local, relayProtocol }, { local: "relay", relayProtocol: "tcp" });
    };
    await call(network, network.server.ipv4, firewall, check, env);
  });
});

test("a network that lets everything out needs no TURN server", { skip: noCoturn }, async () => {
  const network = new Network();
  await withCoturn(network, async (env) => {
    const check = async (ada) => {
      const { local, protocol } = await selected(ada);
      assert.notEqual(local, "relay");
      assert.equal(protocol, "udp");
    };
    await call(network, network.server.ipv4, null, check, env);
  });
});
