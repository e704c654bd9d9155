// Builds viewer.min.js: node build.mjs OUTPUT, with esbuild and three found through NODE_PATH (`make viewer`).
// The first line of the bundle records what it was built from; a test compares it with the files beside it.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const esbuild = createRequire(join(process.env.NODE_PATH, "here.js"))("esbuild");

const sources = readdirSync(here)
  .filter((name) => /\.(js|mjs|json)$/.test(name) && !name.endsWith(".min.js"))
  .sort();
const digest = createHash("sha256");
for (const name of sources) {
  const content = createHash("sha256").update(readFileSync(join(here, name))).digest("hex");
  digest.update(`${content}  ${name}\n`);
}

const result = await esbuild.build({
  entryPoints: [join(here, "latentact.js")],
  bundle: true,
  nodePaths: [process.env.NODE_PATH],
  minify: true,
  write: false,
  format: "iife",
  globalName: "LatentAct",
  target: ["es2022"],
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
});
const three = JSON.parse(readFileSync(join(process.env.NODE_PATH, "three", "package.json"), "utf8"));
const licence = readFileSync(join(process.env.NODE_PATH, "three", "LICENSE"), "utf8").trim();
const banner = `/*! Built by make viewer from sources ${digest.digest("hex")}
Contains three.js ${three.version}:

${licence}
*/
`;
writeFileSync(process.argv[2], banner + result.outputFiles[0].text);
