// The repository as a package in a Mix project's `deps`, as Phoenix's esbuild finds it.
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const ASSETS = dirname(dirname(fileURLToPath(import.meta.url)));
let project;

before(() => {
  project = mkdtempSync(join(tmpdir(), "roomtone-package-"));
  const deps = join(project, "deps");
  for (const part of ["js", "css"]) cpSync(join(ASSETS, part), join(deps, "roomtone/elixir_app/assets", part), { recursive: true });
  for (const file of ["package.json", "elixir_app/assets/package.json"]) cpSync(join(ASSETS, "../..", file), join(deps, "roomtone", file));
  cpSync(join(ASSETS, "node_modules/phoenix"), join(deps, "phoenix"), { recursive: true, dereference: true });
  mkdirSync(join(project, "assets/js"), { recursive: true });
});

after(() => rmSync(project, { recursive: true, force: true }));

async function bundle(source) {
  const entry = join(project, "assets/js/app.js");
  writeFileSync(entry, source);
  const result = await build({
    absWorkingDir: project,
    entryPoints: [entry],
    nodePaths: [join(project, "deps")],
    bundle: true,
    write: false,
    outdir: join(project, "out"),
    metafile: true,
    logLevel: "silent",
  });
  return Object.keys(result.metafile.inputs);
}

const phoenixes = (inputs) => inputs.filter((input) => /phoenix\/priv\/static\/phoenix\.[a-z.]*js$/.test(input));

test("esbuild finds the hooks by the package's name, and bundles phoenix once", async () => {
  const inputs = await bundle(`import { Socket } from "phoenix"; import { hooks } from "roomtone"; console.log(Socket, hooks);`);
  assert.ok(inputs.includes("deps/roomtone/elixir_app/assets/js/hooks.js"));
  assert.equal(phoenixes(inputs).length, 1, inputs.join("\n"));
});

test("esbuild finds the client without an interface, and the style sheet", async () => {
  const inputs = await bundle(`import "roomtone/voice_room.css"; import { VoiceRoom } from "roomtone/client"; console.log(VoiceRoom);`);
  assert.ok(inputs.includes("deps/roomtone/elixir_app/assets/js/voice_room.js"));
  assert.ok(inputs.includes("deps/roomtone/elixir_app/assets/css/voice_room.css"));
});

test("the path that earlier guides gave still works", async () => {
  const inputs = await bundle(`import { hooks } from "roomtone/elixir_app/assets/js/hooks.js"; console.log(hooks);`);
  assert.ok(inputs.includes("deps/roomtone/elixir_app/assets/js/hooks.js"));
});
