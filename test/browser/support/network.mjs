// A network of its own for a browser: a namespace (iproute2) behind a pair of virtual interfaces, with a firewall (nftables) if wanted.
// It takes root. Nothing is changed outside the namespace but the server's end of the pair.
import { spawnSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EXECUTABLE } from "./person.mjs";
import { TMP } from "./server.mjs";

/** Why networks can't be made here; `false` if they can. For `skip:` of a test, whose report then shows it. */
export function noNetworks() {
  if (process.getuid?.() !== 0) return "needs root for network namespaces";
  for (const program of ["ip", "nft"]) {
    if (spawnSync(program, ["-V"]).error) return `needs ${program} (${program === "ip" ? "iproute2" : "nftables"})`;
  }
  return false;
}

function run(command, ...args) {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error ?? stderr}`);
}

let made = 0;

/**
 * A router in a namespace of its own between the server and a browser, which hides the browser behind its address. Each of the browser's
 * sockets has another port there for each address that it talks to: a symmetric NAT (RFC 4787: address- and port-dependent mapping).
 */
export class NatNetwork {
  #router;
  #first = 20_000;

  constructor() {
    made += 1;
    this.name = `rt${process.pid}-${made}`;
    this.#router = `${this.name}r`;
    const [outside, wan, lan, inside] = ["s", "w", "l", "c"].map((end) => `${this.name}${end}`);
    const net = made + 10;
    this.server = { ipv4: `10.98.${net}.1` };
    for (const namespace of [this.name, this.#router]) run("ip", "netns", "add", namespace);
    run("ip", "link", "add", outside, "type", "veth", "peer", "name", wan, "netns", this.#router);
    run("ip", "-n", this.#router, "link", "add", lan, "type", "veth", "peer", "name", inside, "netns", this.name);
    run("ip", "addr", "add", `${this.server.ipv4}/24`, "dev", outside);
    run("ip", "link", "set", outside, "up");
    run("ip", "-n", this.#router, "addr", "add", `10.98.${net}.2/24`, "dev", wan);
    run("ip", "-n", this.#router, "addr", "add", `10.99.${net}.1/24`, "dev", lan);
    run("ip", "-n", this.name, "addr", "add", `10.99.${net}.2/24`, "dev", inside);
    for (const device of ["lo", wan, lan]) run("ip", "-n", this.#router, "link", "set", device, "up");
    for (const device of ["lo", inside]) run("ip", "-n", this.name, "link", "set", device, "up");
    run("ip", "-n", this.name, "route", "add", "default", "via", `10.99.${net}.1`);
    run("ip", "netns", "exec", this.#router, "sysctl", "-qw", "net.ipv4.ip_forward=1");
    this.wan = wan;
    this.address = `10.98.${net}.2`;
    this.#translate();
    this.chromium = chromiumIn(this.name);
  }

  #translate() {
    const ports = `${this.#first}-${this.#first + 4_999}`;
    nft(
      this.#router,
      `flush ruleset
      table ip nat { chain post { type nat hook postrouting priority 100;
        oifname "${this.wan}" meta l4proto { tcp, udp } masquerade to :${ports} fully-random; }
      }`,
    );
  }

  /** Forgets all that it translates, as a router that restarts: what comes from then on has other ports. */
  rebind() {
    this.#first += 5_000;
    this.#translate();
    // Masquerading forgets a connection with the address that it had.
    const batch = `addr del ${this.address}/24 dev ${this.wan}\naddr add ${this.address}/24 dev ${this.wan}\n`;
    const { status, stderr } = spawnSync("ip", ["-n", this.#router, "-batch", "-"], { input: batch, encoding: "utf8" });
    if (status !== 0) throw new Error(`ip: ${stderr}`);
  }

  close() {
    for (const namespace of [this.name, this.#router]) spawnSync("ip", ["netns", "del", namespace]);
    spawnSync("ip", ["link", "del", `${this.name}s`]);
  }
}

/** Two interfaces of a browser to one address of the server, each with a way of its own; the first is the default one. */
export class TwoWays {
  #elsewhere;

  constructor() {
    made += 1;
    this.name = `rt${process.pid}-${made}`;
    this.#elsewhere = `${this.name}x`;
    run("ip", "netns", "add", this.#elsewhere);
    const net = made + 10;
    this.server = { ipv4: `10.96.${net}.1` };
    run("ip", "netns", "add", this.name);
    run("ip", "-n", this.name, "link", "set", "lo", "up");
    run("ip", "addr", "add", `${this.server.ipv4}/32`, "dev", "lo");
    [97, 98].forEach((part, i) => {
      const [ours, theirs] = [`${this.name}s${i}`, `${this.name}c${i}`];
      run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", this.name);
      run("ip", "addr", "add", `10.${part}.${net}.1/24`, "dev", ours);
      run("ip", "link", "set", ours, "up");
      run("ip", "-n", this.name, "addr", "add", `10.${part}.${net}.2/24`, "dev", theirs);
      run("ip", "-n", this.name, "link", "set", theirs, "up");
      run("ip", "-n", this.name, "route", "add", "default", "via", `10.${part}.${net}.1`, "metric", String(100 + i));
      // A socket of an interface leaves by it.
      run("ip", "-n", this.name, "route", "add", "default", "via", `10.${part}.${net}.1`, "table", String(100 + i));
      run("ip", "-n", this.name, "rule", "add", "from", `10.${part}.${net}.2`, "table", String(100 + i));
    });
    this.chromium = chromiumIn(this.name);
  }

  /** As when an adapter is pulled out, or a wireless network left behind: the address is gone, too. */
  cut() {
    // Not deleted, as that would take the server's end along.
    run("ip", "-n", this.name, "link", "set", `${this.name}c0`, "netns", this.#elsewhere);
  }

  close() {
    for (const namespace of [this.name, this.#elsewhere]) spawnSync("ip", ["netns", "del", namespace]);
    for (const end of ["s0", "s1"]) spawnSync("ip", ["link", "del", `${this.name}${end}`]);
    spawnSync("ip", ["addr", "del", `${this.server.ipv4}/32`, "dev", "lo"]);
  }
}

/** A program that starts Chromium in a namespace. @param {string} namespace */
function chromiumIn(namespace) {
  const path = join(TMP, `chromium-${namespace}`);
  writeFileSync(path, `#!/bin/sh\nexec ip netns exec ${namespace} ${EXECUTABLE} "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

/**
 * @param {string} namespace
 * @param {string} rules
 */
function nft(namespace, rules) {
  const { status, stderr } = spawnSync("ip", ["netns", "exec", namespace, "nft", "-f", "-"], { input: rules, encoding: "utf8" });
  if (status !== 0) throw new Error(`nft: ${stderr}`);
}

export class Network {
  /**
   * @param {{ipv4?: boolean, ipv6?: boolean}} families  that the browser's end has addresses of
   */
  constructor({ ipv4 = true, ipv6 = false } = {}) {
    made += 1;
    // Interfaces have names of at most 15 characters.
    this.name = `rt${process.pid}-${made}`;
    const [ours, theirs] = [`${this.name}s`, `${this.name}c`];
    const net = made + 10;
    /** The server's addresses as the browser reaches them. */
    this.server = { ipv4: `10.98.${net}.1`, ipv6: `fd98:${net}::1` };
    run("ip", "netns", "add", this.name);
    run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", this.name);
    run("ip", "link", "set", ours, "up");
    const inside = ["netns", "exec", this.name, "ip"];
    run("ip", ...inside, "link", "set", "lo", "up");
    run("ip", ...inside, "link", "set", theirs, "up");
    if (ipv4) {
      run("ip", "addr", "add", `${this.server.ipv4}/24`, "dev", ours);
      run("ip", ...inside, "addr", "add", `10.98.${net}.2/24`, "dev", theirs);
      run("ip", ...inside, "route", "add", "default", "via", this.server.ipv4);
    }
    if (ipv6) {
      run("ip", "addr", "add", `${this.server.ipv6}/64`, "dev", ours, "nodad");
      run("ip", ...inside, "addr", "add", `fd98:${net}::2/64`, "dev", theirs, "nodad");
      run("ip", ...inside, "route", "add", "default", "via", this.server.ipv6);
    }
    /** A program that starts Chromium inside. */
    this.chromium = chromiumIn(this.name);
  }

  /** Lets nothing leave the browser's network but answers and these, statements of nftables such as `tcp dport 443 accept`. @param {string[]} allowed */
  firewall(...allowed) {
    const lines = ['oifname "lo" accept', "meta l4proto ipv6-icmp accept", "ct state established,related accept", ...allowed];
    const rules = `flush ruleset
      table inet firewall { chain output { type filter hook output priority 0; policy drop; ${lines.join("; ")}; }
      }`;
    nft(this.name, rules);
  }

  close() {
    spawnSync("ip", ["netns", "del", this.name]);
    spawnSync("ip", ["link", "del", `${this.name}s`]);
  }
}
