// A release, built and run as an operator would, on its own ports.
import { spawn, spawnSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { freeTcpPort, freeUdpPort } from "../support/ports.mjs";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const TMP = join(ROOT, "tmp/release-test");
export const RELEASE = join(TMP, "roomtone");
const SECRET = "the secret of the release under test, and of nothing else";
const KEY_BASE = "the key base of the release under test ".repeat(3);
export const SECRETS = [SECRET, KEY_BASE];
mkdirSync(TMP, { recursive: true });

/** Waits until a condition holds, for as long as a busy machine may take. */
export async function until(what, condition, timeout = 30_000) {
  const deadline = Date.now() + timeout;
  let last;
  do {
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    await sleep(100);
  } while (Date.now() < deadline);
  throw new Error(`${what} took longer than ${timeout} ms; last: ${last}`);
}

function run(command, args, env = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed (${status ?? error}):\n${stdout}\n${stderr}`);
  return stdout;
}

/** With the NIFs that the other tests have built. */
export function build() {
  const env = { MIX_ENV: "prod", ROOMTONE_CARGO_PROFILE: process.env.ROOMTONE_CARGO_PROFILE ?? "dev" };
  run("mix", ["deps.get"], env);
  run("mix", ["release", "--overwrite", "--path", RELEASE], env);
}

/** A token as any program with the secret can make one. */
export function token(room, name) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { room, sub: name, name, grants: ["speak", "listen"], iat: now, exp: now + 600 };
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

export class Release {
  #child;
  #log;

  static async start(name, env = {}) {
    const release = new Release();
    await release.#boot(name, env);
    return release;
  }

  async #boot(name, env) {
    const port = await freeTcpPort();
    this.url = `http://127.0.0.1:${port}`;
    this.#log = join(TMP, `${name}.log`);
    const log = openSync(this.#log, "w");
    const data = join(TMP, `data-${name}`);
    rmSync(data, { recursive: true, force: true });
    this.#child = spawn(join(RELEASE, "bin/roomtone"), ["start"], {
      cwd: TMP,
      stdio: ["ignore", log, log],
      env: {
        // Nothing of this machine's environment except where its programs are.
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        LANG: "C.UTF-8",
        RELEASE_DISTRIBUTION: "none",
        TOKEN_SECRET: SECRET,
        SECRET_KEY_BASE: KEY_BASE,
        PORT: String(port),
        UDP_PORTS: `${await freeUdpPort()},${await freeUdpPort()}`,
        SHARDS: "2",
        DATA_DIR: data,
        ...env,
      },
    });
    this.exited = once(this.#child, "exit").then(([code, signal]) => ({ code, signal, at: Date.now() }));
    await until("the start of the release", async () => {
      if (this.#child.exitCode !== null) return true;
      return (await this.health()).status === 200;
    }, 60_000);
    if (this.#child.exitCode !== null) throw new Error(`the release ended:\n${this.log()}`);
  }

  async health() {
    const response = await fetch(`${this.url}/healthz`);
    return { status: response.status, body: await response.json() };
  }

  terminate() {
    this.#child.kill("SIGTERM");
    return Date.now();
  }

  async kill() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill("SIGKILL");
      await this.exited;
    }
  }

  log() {
    return readFileSync(this.#log, "utf8");
  }
}

/** A crowd of the load generator; `done` has its exit status and output. */
export class Crowd {
  constructor(release, room, { peers, talkers, seconds }) {
    const target = process.env.CARGO_TARGET_DIR ?? join(ROOT, "target");
    this.child = spawn(join(target, "debug/roomtone-load"), [
      ...["run", "--url", `${release.url}/whip/${room}`, "--token", token(room, "load")],
      ...["--peers", peers, "--talkers", talkers, "--probes", 0, "--ears", peers, "--seconds", seconds].map(String),
    ]);
    let said = "";
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on("data", (data) => (said += data));
    this.done = once(this.child, "close").then(([code]) => ({ code, said }));
  }

  goHome() {
    this.child.kill("SIGINT");
  }
}
