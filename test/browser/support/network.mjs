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
    this.chromium = join(TMP, `chromium-${this.name}`);
    writeFileSync(this.chromium, `#!/bin/sh\nexec ip netns exec ${this.name} ${EXECUTABLE} "$@"\n`);
    chmodSync(this.chromium, 0o755);
  }

  /** Lets nothing leave the browser's network but answers and these, statements of nftables such as `tcp dport 443 accept`. @param {string[]} allowed */
  firewall(...allowed) {
    const lines = ['oifname "lo" accept', "meta l4proto ipv6-icmp accept", "ct state established,related accept", ...allowed];
    const rules = `flush ruleset
      table inet firewall { chain output { type filter hook output priority 0; policy drop; ${lines.join("; ")}; }
      }`;
    const { status, stderr } = spawnSync("ip", ["netns", "exec", this.name, "nft", "-f", "-"], { input: rules, encoding: "utf8" });
    if (status !== 0) throw new Error(`nft: ${stderr}`);
  }

  close() {
    spawnSync("ip", ["netns", "del", this.name]);
    spawnSync("ip", ["link", "del", `${this.name}s`]);
  }
}
