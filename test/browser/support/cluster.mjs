// A cluster, as `bin/cluster` runs it, on ports of its own.
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { compile, ROOT, TMP } from "./server.mjs";

const SCRIPT = join(ROOT, "bin/cluster");

export class Cluster {
  #env;

  constructor(port, env) {
    this.port = port;
    this.#env = env;
    /** The address of the proxy in front. */
    this.url = `http://localhost:${port}`;
  }

  /**
   * @param {string} name  for the folder of its logs
   * @param {{port: number, udpPorts: number, webs: number, medias: number}} sizes
   */
  static async start(name, { port, udpPorts, webs, medias }) {
    const folder = join(TMP, `cluster-${name}`);
    const env = {
      ROOMTONE_CARGO_PROFILE: "dev",
      ...process.env,
      MIX_ENV: "dev",
      DEMO: "off",
      ROOMTONE_NATIVE: "built",
      CLUSTER_DIR: folder,
      PORT: String(port),
      UDP_PORTS: String(udpPorts),
      WEB: String(webs),
      MEDIA: String(medias),
      DRAIN_SECONDS: "60",
    };
    const cluster = new Cluster(port, env);
    compile();
    // Left over from a run that was killed.
    cluster.kill();
    rmSync(folder, { recursive: true, force: true });
    cluster.run("start");
    return cluster;
  }

  #run(command, names, { quiet = false } = {}) {
    const { status, stdout, stderr } = spawnSync(SCRIPT, [command, ...names], { env: this.#env, encoding: "utf8", timeout: 120_000 });
    if (status !== 0 && !quiet) throw new Error(`bin/cluster ${command} ${names.join(" ")} failed:\n${stdout}\n${stderr}`);
    return stdout;
  }

  /** @param {"start" | "stop" | "kill" | "restart" | "status"} command */
  run(command, ...names) {
    return this.#run(command, names);
  }

  /** The pages of one web node, past the proxy. @param {number} number */
  web(number) {
    return `http://localhost:${this.port + 10 + number}`;
  }

  /** The answer of a node at /healthz; `null` without one. @param {string} node */
  async health(node) {
    const port = this.port + (node.startsWith("web") ? 10 : 20) + Number(node.at(-1));
    const response = await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => null);
    return response && { code: response.status, ...(await response.json()) };
  }

  /** Ends all nodes at once. */
  kill() {
    const nodes = ["proxy"];
    for (let number = 1; number <= Number(this.#env.WEB); number += 1) nodes.push(`web${number}`);
    for (let number = 1; number <= Number(this.#env.MEDIA); number += 1) nodes.push(`media${number}`);
    this.#run("kill", nodes, { quiet: true });
  }
}
