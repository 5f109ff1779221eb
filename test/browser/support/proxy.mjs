// A program that stands in front of servers.
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Starts it, and waits until it answers.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {{url: string, folder: string}} place  `folder`: of its files, which goes with it
 * @returns {Promise<{url: string, close: () => Promise<void>}>}
 */
export async function standInFront(program, args, { url, folder }) {
  const child = spawn(program, args, { stdio: "ignore" });
  const close = async () => {
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
    rmSync(folder, { recursive: true, force: true });
  };
  for (let attempt = 0; !(await fetch(url).catch(() => null)); attempt += 1) {
    if (attempt === 200 || child.exitCode !== null) throw (await close(), new Error(`${program} doesn't listen`));
    await sleep(50);
  }
  return { url, close };
}
