// Runs the browser tests, one file after the other, and prints how long each took.
//
// A file with a failure is run a second time, at the end. These tests hear real sound in real time: on a machine whose cores are taken away for
// a second, one of them can fail without a fault of ours. A real fault fails twice. A file that failed once is named at the end, to be looked at.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { compile } from "./support/server.mjs";

const folder = dirname(fileURLToPath(import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(folder)
  .filter((file) => file.endsWith(".test.mjs") && (wanted.length === 0 || wanted.some((part) => file.includes(part))))
  .sort();

/** @returns {boolean} whether all tests of the file passed */
function passes(file) {
  const began = Date.now();
  console.log(`\n--- ${file}`);
  const { status, signal } = spawnSync(process.execPath, ["--test", "--test-timeout=600000", file], { cwd: folder, stdio: "inherit" });
  if (signal === "SIGINT" || signal === "SIGTERM") process.exit(1);
  console.log(`--- ${file}: ${status === 0 ? "passed" : "FAILED"} in ${Math.round((Date.now() - began) / 1000)} s`);
  return status === 0;
}

if (files.length === 0) {
  console.error(`no test file has ${wanted.join(" or ")} in its name`);
  process.exit(2);
}
compile();
const failedOnce = files.filter((file) => !passes(file));
const failedTwice = failedOnce.filter((file) => !passes(file));
const unsteady = failedOnce.filter((file) => !failedTwice.includes(file));
if (unsteady.length > 0) console.log(`\nfailed, then passed when run again: ${unsteady.join(", ")}`);
if (failedTwice.length > 0) console.log(`\nfailed twice: ${failedTwice.join(", ")}`);
process.exit(failedTwice.length === 0 ? 0 : 1);
