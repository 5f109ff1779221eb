// Bundles the client for a release: one script and one style sheet, minified, with the hash of what is in them in their names, and beside them
// a list of those names, bundle.json. Only `mix release` runs this; elsewhere the files are served as they are.
//
//   node build.mjs <folder> <style sheet>...
import { build } from "esbuild";
import { writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [outdir, ...sheets] = process.argv.slice(2);
if (!outdir || sheets.length === 0) {
  console.error("usage: node build.mjs <folder> <style sheet>...");
  process.exit(2);
}

const common = { bundle: true, minify: true, metafile: true, outdir, absWorkingDir: here, entryNames: "[name]-[hash]", target: "es2022" };
const [script, style] = await Promise.all([
  // A module that is imported on demand stays a file of its own.
  build({ ...common, entryPoints: ["js/app.js"], format: "esm", splitting: true, chunkNames: "[name]-[hash]", legalComments: "eof" }),
  build({
    ...common,
    entryPoints: ["all.css"],
    plugins: [
      {
        name: "all sheets, in their order",
        setup(build) {
          build.onResolve({ filter: /^all\.css$/ }, () => ({ path: join(here, "all.css") }));
          build.onLoad({ filter: /all\.css$/ }, () => ({
            contents: sheets.map((sheet) => `@import "./css/${sheet}.css";`).join("\n"),
            loader: "css",
            resolveDir: here,
          }));
        },
      },
    ],
  }),
]);

const entry = ({ metafile }) => basename(Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint)[0]);
writeFileSync(join(outdir, "bundle.json"), `${JSON.stringify({ script: entry(script), style: entry(style) })}\n`);
