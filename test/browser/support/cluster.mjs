// A cluster, as `bin/cluster` runs it, on ports of its own.
import { spawn, spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { compile, ROOT, TMP } from "./server.mjs";

const SCRIPT = join(ROOT, "bin/cluster");
/** How long a media node that is stopped waits for people to leave it. */
const DRAIN_SECONDS = 90;

export class Cluster {
  #env;
  #watchman;

  constructor(port, env) {
    this.port = port;
    this.#env = env;
    /** The address of the proxy in front. */
    this.url = `http://localhost:${port}`;
  }

  /**
   * @param {string} name  for the folder of its logs
   * @param {{port: number, udpPorts: number, webs: number, medias: number, more?: object}} sizes  `more`: further settings of all nodes
   */
  static async start(name, { port, udpPorts, webs, medias, more = {} }) {
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
      DRAIN_SECONDS: String(DRAIN_SECONDS),
      ...more,
    };
    const cluster = new Cluster(port, env);
    // `bin/cluster` compiles for any other environment.
    if (env.MIX_ENV === "dev") compile();
    // Left over from a run that was killed.
    cluster.kill();
    rmSync(folder, { recursive: true, force: true });
    cluster.#watch();
    cluster.run("start");
    return cluster;
  }

  get drainSeconds() {
    return DRAIN_SECONDS;
  }

  #nodes(role) {
    const count = Number(this.#env[role === "web" ? "WEB" : "MEDIA"]);
    return Array.from({ length: count }, (_none, number) => `${role}${number + 1}`);
  }

  // The nodes are processes of their own, so they would outlive a test process that is killed. This shell waits for the end of its input.
  #watch() {
    const nodes = ["proxy", ...this.#nodes("web"), ...this.#nodes("media")];
    const command = 'cat > /dev/null; exec "$0" kill "$@"';
    const options = { env: this.#env, stdio: ["pipe", "ignore", "ignore"], detached: true };
    this.#watchman = spawn("sh", ["-c", command, SCRIPT, ...nodes], options);
    this.#watchman.unref();
    this.#watchman.stdin.unref();
  }

  /**
   * Waits until a condition holds, and looks often.
   *
   * @param {() => Promise<unknown>} condition
   * @param {string} words  the condition, for the error
   * @param {number} timeout  ms
   */
  async until(condition, words, timeout) {
    const end = Date.now() + timeout;
    while (!(await condition())) {
      if (Date.now() > end) throw new Error(`not within ${timeout / 1000} s: ${words}\n${this.run("status")}`);
      await sleep(100);
    }
  }

  /**
   * Starts the nodes that don't run, and waits until all know each other: each media node has all web nodes, and each web node the media
   * nodes and the rooms of the others, which it could take over.
   *
   * @param {number} timeout  ms
   */
  async whole(timeout) {
    const [webs, medias] = [this.#nodes("web"), this.#nodes("media")];
    const down = [];
    for (const node of [...webs, ...medias]) if ((await this.health(node)) === null) down.push(node);
    if (down.length > 0) this.run("start", ...down);
    const known = async () => {
      const [pages, engines] = await Promise.all([webs, medias].map((nodes) => Promise.all(nodes.map((node) => this.health(node)))));
      if (![...pages, ...engines].every((health) => health?.code === 200)) return false;
      if (!engines.every((health) => health.web_nodes === webs.length)) return false;
      // Each room is kept by all web nodes but its own.
      const kept = pages.reduce((sum, health) => sum + health.kept_rooms, 0);
      return pages.every((health) => health.rooms === pages[0].rooms) && kept === pages[0].rooms * (webs.length - 1);
    };
    await this.until(known, "all nodes know each other", timeout);
  }

  #run(command, names, { quiet = false } = {}) {
    const { status, stdout, stderr } = spawnSync(SCRIPT, [command, ...names], { env: this.#env, encoding: "utf8", timeout: 150_000 });
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
    this.#run("kill", ["proxy", ...this.#nodes("web"), ...this.#nodes("media")], { quiet: true });
  }
}
