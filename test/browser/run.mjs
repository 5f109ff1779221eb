// Runs the browser tests, and prints how long each file took.
//
// Two files run side by side: one of those that judge sound closely (how loud, and whether it has a gap), and one of the others, which wait
// most of the time. When all of one kind have ended, two of the other kind run side by side, unless they judge sound closely. The output of
// a file is printed when it ends.
//
// A file with a failure is run a second time, at the end and alone. These tests hear real sound in real time: on a machine whose cores are
// taken away for a second, one of them can fail without a fault of ours. A real fault fails twice. A file that failed once is named at the
// end, to be looked at.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { noNetworks } from "./support/network.mjs";
import { compile } from "./support/server.mjs";

/** Methods of a person that judge sound closely. */
const CLOSELY = /\.(steady|changes|ears|record|goesOnHearing)\(/;

const folder = dirname(fileURLToPath(import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(folder)
  .filter((file) => file.endsWith(".test.mjs") && (wanted.length === 0 || wanted.some((part) => file.includes(part))))
  .sort();
const running = new Set();

/**
 * A file that makes networks runs in a network namespace of its own, where that is possible: a browser of another file would notice its
 * interfaces come and go, and break off what it loads (`net::ERR_NETWORK_CHANGED`).
 */
function command(file) {
  const node = [process.execPath, "--test", "--test-timeout=600000", file];
  if (noNetworks() !== false || !readFileSync(join(folder, file), "utf8").includes("support/network.mjs")) return node;
  return ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", ...node];
}

/** @returns {Promise<boolean>} whether all tests of the file passed */
async function passes(file) {
  const began = Date.now();
  const [program, ...args] = command(file);
  const child = spawn(program, args, { cwd: folder, stdio: ["inherit", "pipe", "pipe"] });
  running.add(child);
  const output = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => output.push(data));
  const status = await new Promise((resolve) => child.once("close", resolve));
  running.delete(child);
  process.stdout.write(`\n--- ${file}\n`);
  for (const data of output) process.stdout.write(data);
  console.log(`--- ${file}: ${status === 0 ? "passed" : "FAILED"} in ${Math.round((Date.now() - began) / 1000)} s`);
  return status === 0;
}

/** Takes the files out of the list one by one, as others may at the same time. @returns {Promise<string[]>} those that failed */
async function inTurn(some) {
  const failed = [];
  while (some.length > 0) {
    const file = some.shift();
    if (!(await passes(file))) failed.push(file);
  }
  return failed;
}

if (files.length === 0) {
  console.error(`no test file has ${wanted.join(" or ")} in its name`);
  process.exit(2);
}
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    for (const child of running) child.kill(signal);
    process.exit(1);
  });
}
compile();
const began = Date.now();
const close = files.filter((file) => CLOSELY.test(readFileSync(join(folder, file), "utf8")));
const others = files.filter((file) => !close.includes(file));
const closeThenOthers = async () => [...(await inTurn(close)), ...(await inTurn(others))];
const failedOnce = (await Promise.all([closeThenOthers(), inTurn(others)])).flat();
const failedTwice = await inTurn([...failedOnce]);
const unsteady = failedOnce.filter((file) => !failedTwice.includes(file));
if (unsteady.length > 0) console.log(`\nfailed, then passed when run again: ${unsteady.join(", ")}`);
if (failedTwice.length > 0) console.log(`\nfailed twice: ${failedTwice.join(", ")}`);
console.log(`\n${files.length} files in ${Math.round((Date.now() - began) / 1000)} s`);
process.exit(failedTwice.length === 0 ? 0 : 1);
