// The declarations for TypeScript (types/) are those of the sources: `npm run types` writes them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ASSETS = fileURLToPath(new URL("..", import.meta.url));
const read = (folder, file) => readFileSync(join(folder, file), "utf8");

test("the declarations of what pages import are up to date", () => {
  const folder = mkdtempSync(join(tmpdir(), "roomtone-types-"));
  try {
    execFileSync(join(ASSETS, "node_modules/.bin/tsc"), ["--project", "tsconfig.types.json", "--outDir", folder], { cwd: ASSETS });
    for (const file of ["hooks.d.ts", "voice_room.d.ts", "voice_room_element.d.ts"]) {
      assert.equal(read(join(ASSETS, "types"), file), read(folder, file), `${file} is out of date: npm run types --prefix elixir_app/assets`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
