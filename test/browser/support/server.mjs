// The real server, as `bin/server` runs it, on ports of its own.
import { spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { freeTcpPort, freeUdpPort } from "../../support/ports.mjs";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../../..");
export const TMP = join(ROOT, "tmp/browser");
mkdirSync(TMP, { recursive: true });

/** The environment of everything that is built or asked for here: the build that the other tests use, with its overflow checks. */
const ENV = { ROOMTONE_CARGO_PROFILE: "dev", ...process.env, MIX_ENV: "dev" };

/** Once is enough: run.mjs does it for all files, and tells them. @param {string} folder */
export function compile(folder = ROOT) {
  if (process.env.ROOMTONE_COMPILED === folder) return;
  const { status, stdout, stderr } = spawnSync("mix", ["compile"], { cwd: folder, env: ENV, encoding: "utf8" });
  if (status !== 0) throw new Error(`mix compile failed:\n${stdout}\n${stderr}`);
  process.env.ROOMTONE_COMPILED = folder;
}

/** Never in a log, whatever happens: tokens, offers and answers. */
const SECRETS = [/\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}/, /a=ice-pwd:/, /a=ice-ufrag:/, /a=fingerprint:sha-256 [0-9A-F]{2}:/i];

export class Server {
  #process = null;
  /** Where this server's part of the log begins: older runs append to the same file. */
  #logFrom = 0;
  /** @type {Set<string>} */ #secrets = new Set();
  #env;
  #log;
  #folder;
  #shell;
  #ready;

  constructor({ port, env, log, folder = ROOT, shell = false, ready = "/healthz" }) {
    this.port = port;
    /** Where it keeps what it remembers. */
    this.data = env.DATA_DIR;
    this.#env = env;
    this.#log = log;
    this.#logFrom = existsSync(log) ? statSync(log).size : 0;
    for (const name of ["TOKEN_SECRET", "SECRET_KEY_BASE"]) if (env[name]) this.#secrets.add(env[name]);
    this.#folder = folder;
    this.#shell = shell;
    this.#ready = ready;
    this.url = `http://localhost:${port}`;
  }

  /**
   * @param {string} name  for the log file
   * @param {Record<string, string>} env
   * @param {string} folder  of the app, if it isn't ours
   * @param {{shell?: boolean, ready?: string}} options  `shell`: with one at hand, for {@link run}; `ready`: a page that answers once it serves
   */
  static async start(name, env = {}, folder = ROOT, { shell = false, ready } = {}) {
    const port = await freeTcpPort();
    const udpPorts = `${await freeUdpPort()},${await freeUdpPort()}`;
    // A memory of its own, which nothing of an earlier run is in.
    const data = join(TMP, `data-${name}`);
    rmSync(data, { recursive: true, force: true });
    const server = new Server({
      port,
      folder,
      shell,
      ready,
      log: join(TMP, `server-${name}.log`),
      // In the environment that people start it in; the test environment has a scripted engine and no sockets.
      env: {
        ...ENV,
        PORT: String(port),
        UDP_PORTS: udpPorts,
        SHARDS: "2",
        DATA_DIR: data,
        // The lobby has the rooms that a test opens.
        DEMO: "off",
        ...env,
      },
    });
    compile(folder);
    await server.boot();
    return server;
  }

  async boot() {
    const log = openSync(this.#log, "a");
    // A group of its own, so that killing it takes everything along that it started.
    const [command, ...args] = this.#shell ? ["iex", "-S", "mix"] : ["mix"];
    this.#process = spawn(command, [...args, "phx.server", "--no-compile"], {
      cwd: this.#folder,
      env: this.#env,
      stdio: ["pipe", log, log],
      detached: true,
    });
    const deadline = Date.now() + 60_000;
    while (Date.now() < deadline) {
      if (this.#process.exitCode !== null) break;
      const answer = await fetch(`http://127.0.0.1:${this.port}${this.#ready}`).catch(() => null);
      if (answer?.ok) return;
      await sleep(100);
    }
    if (this.#process.exitCode === null) process.kill(-this.#process.pid, "SIGKILL");
    throw new Error(`the server didn't start:\n${readFileSync(this.#log, "utf8").slice(-4000)}`);
  }

  /** Runs Elixir in it, as whoever has its shell would. Throws an exception or an `{:error, _}` of it. @param {string} code */
  async run(code) {
    // The log may be older than this server.
    const asked = randomUUID();
    // Encoded, so that what isn't Elixir is an error of this too, and so that only an answer looks like one.
    this.#process.stdin.write(
      `try do
        case Code.eval_string(Base.decode64!("${Buffer.from(code).toString("base64")}")) do
          {{:error, _} = error, _} -> raise inspect(error)
          _ -> IO.puts(["${asked}", " is done."])
        end
      catch
        kind, reason -> IO.puts(["${asked}", " failed: ", Exception.format(kind, reason, __STACKTRACE__), "\\n", "${asked}", " is over."])
      end\n`,
    );
    const deadline = Date.now() + 30_000;
    while (Date.now() < deadline) {
      const log = this.log();
      if (log.includes(`${asked} is done.`)) return;
      if (log.includes(`${asked} is over.`)) throw new Error(`${code}\n${log.split(`${asked} failed: `)[1].split(`${asked} is over.`)[0]}`);
      await sleep(20);
    }
    throw new Error(`the server didn't do it: ${code}`);
  }

  /** A password, passcode or session that a test uses: the log, at debug level here, is looked through for it when the server ends. */
  secret(text) {
    this.#secrets.add(text);
    return text;
  }

  /** Fails where the log of this server has a secret in it. A shell that a test uses prints what the test asks for, so it is left out. */
  checkLog() {
    if (this.#shell) return;
    const log = readFileSync(this.#log).subarray(this.#logFrom).toString("utf8");
    const found = [...SECRETS.map((pattern) => log.match(pattern)?.index), ...[...this.#secrets].map((text) => log.indexOf(text))];
    for (const at of found) {
      if (at !== undefined && at >= 0) throw new Error(`a secret is in the log:\n${log.slice(Math.max(0, at - 300), at + 200)}`);
    }
  }

  /** As a power cut would. */
  async kill() {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    this.checkLog();
    const gone = new Promise((resolve) => child.once("exit", resolve));
    process.kill(-child.pid, "SIGKILL");
    await gone;
  }

  /** As whoever deploys asks it to stop; resolves with its exit status. */
  async terminate() {
    const child = this.#process;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    process.kill(child.pid, "SIGTERM");
    const status = await gone;
    this.checkLog();
    return status;
  }

  /** Takes what it remembers away, as a new disk would; only while it doesn't run. */
  forget() {
    rmSync(this.data, { recursive: true, force: true });
  }

  /** Overwrites the middle of each file of what it remembers; only while it doesn't run. */
  damage() {
    if (!existsSync(this.data)) return;
    for (const file of readdirSync(this.data)) {
      const path = join(this.data, file);
      if (!file.endsWith(".log")) continue;
      const bytes = readFileSync(path);
      bytes.fill(0xa5, Math.floor(bytes.length / 3), Math.floor(bytes.length / 3) + 40);
      writeFileSync(path, bytes);
    }
  }

  freeze() {
    process.kill(-this.#process.pid, "SIGSTOP");
  }

  thaw() {
    process.kill(-this.#process.pid, "SIGCONT");
  }

  log() {
    return readFileSync(this.#log, "utf8");
  }

  /** A token as a script would get it. */
  token(room, name, args = []) {
    const { status, stdout, stderr } = spawnSync("mix", ["roomtone.token", "--room", room, "--name", name, ...args], {
      cwd: ROOT,
      env: this.#env,
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`mix roomtone.token failed:\n${stdout}\n${stderr}`);
    return this.secret(stdout.trim().split("\n").at(-1));
  }
}

/**
 * A server and a browser that start side by side. Where one of them fails the other ends, too: it would keep the test file from ending.
 *
 * @template S, B
 * @param {Promise<S & {kill: () => Promise<unknown>}>} starting
 * @param {Promise<B & {close: () => Promise<unknown>}>} opening
 * @returns {Promise<[S, B]>}
 */
export async function together(starting, opening) {
  const [server, browser] = await Promise.allSettled([starting, opening]);
  if (server.status === "fulfilled" && browser.status === "fulfilled") return [server.value, browser.value];
  if (server.status === "fulfilled") await server.value.kill();
  if (browser.status === "fulfilled") await browser.value.close();
  throw server.status === "rejected" ? server.reason : browser.reason;
}
