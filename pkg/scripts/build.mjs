// Builds dist/ from src/ and from what `cargo xtask wasm` leaves in target/pkg/ (or in the folder given).
// With --sizes, prints what a page downloads.

import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { build } from "esbuild";

const ENGINES = ["simd", "relaxed", "threads", "relaxed-threads"];
const VARIANTS = [...ENGINES, "constraint"];
const home = dirname(dirname(fileURLToPath(import.meta.url)));
const [folder] = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
const built = resolve(folder ?? join(home, "../target/pkg"));
const dist = join(home, "dist");
const scratch = join(home, "build");
const glue = join(built, "simd/wisplm.js");
const sharedGlue = join(built, "threads/wisplm.js");
const constraintGlue = join(built, "constraint/wisplm.js");

for (const variant of VARIANTS) {
  for (const file of ["wisplm.js", "wisplm.d.ts", "wisplm_bg.wasm"]) {
    const path = join(built, variant, file);
    if (!existsSync(path)) {
      console.error(`${path} is missing: run \`cargo xtask wasm\` first`);
      process.exit(1);
    }
  }
}

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });
mkdirSync(scratch, { recursive: true });

checkTypes();
await bundle();
declare();
copy();
if (process.argv.includes("--sizes")) report();

function run(tool, args) {
  try {
    execFileSync(process.execPath, [join(home, "node_modules", tool), ...args], { cwd: home, stdio: "inherit" });
  } catch {
    console.error(`${tool.split("/")[0]} fails (see above)`);
    process.exit(1);
  }
}

function checkTypes() {
  // The generated binding must be what src/worker/binding.ts says it is.
  const check = join(scratch, "binding.ts");
  const address = (path) => JSON.stringify(relative(scratch, path).replaceAll("\\", "/"));
  writeFileSync(
    check,
    `import init, * as generated from ${address(glue)};
import type { Binding } from ${address(join(home, "src/worker/binding.js"))};
export const binding: Binding = generated;
export const start: (source: { module_or_path: WebAssembly.Module }) => Promise<unknown> = init;
import initShared, * as generatedShared from ${address(sharedGlue)};
export const shared: Binding = generatedShared;
type Shared = { module_or_path: WebAssembly.Module; memory: WebAssembly.Memory; thread_stack_size?: number };
export const startShared: (source: Shared) => Promise<unknown> = initShared;
import type { Constraint } from ${address(join(home, "src/worker/form.js"))};
import initConstraint, * as generatedConstraint from ${address(constraintGlue)};
export const constraint: Pick<Constraint, "Tokens"> = generatedConstraint;
export const reset: () => void = generatedConstraint.__wbg_reset_state;
export const startConstraint: (source: { module_or_path: WebAssembly.Module }) => Promise<unknown> = initConstraint;
`,
  );
  run("typescript/bin/tsc", ["-p", "tsconfig.json"]);
  const project = join(scratch, "tsconfig.json");
  writeFileSync(project, JSON.stringify({ extends: "../tsconfig.json", compilerOptions: { types: [] }, include: [check] }));
  run("typescript/bin/tsc", ["-p", project]);
}

async function bundle() {
  const common = { bundle: true, format: "esm", platform: "browser", target: "es2022", charset: "utf8", legalComments: "none" };
  await build({ ...common, entryPoints: [join(home, "src/index.ts")], outfile: join(dist, "index.js") });
  await build({ ...common, entryPoints: [join(home, "src/isolation.ts")], outfile: join(dist, "isolation.js") });
  // Adapters import what pages import: the same classes, once.
  const api = (setup) => setup.onResolve({ filter: /^\.\.\/index\.js$/ }, () => ({ path: "./index.js", external: true }));
  const adapter = { ...common, plugins: [{ name: "api", setup: api }] };
  await build({ ...adapter, entryPoints: [join(home, "src/openai/index.ts")], outfile: join(dist, "openai.js") });
  // A classic script, which copies by hand and `importScripts` want.
  const script = { ...common, format: "iife", banner: { js: "// wisplm/isolation: copy this file to the root of the site." } };
  await build({ ...script, entryPoints: [join(home, "src/isolation-worker.ts")], outfile: join(dist, "isolation-worker.js") });
  // Names stay, for readable stack traces.
  await build({
    ...common,
    entryPoints: [join(home, "src/worker/main.ts")],
    outfile: join(dist, "worker.js"),
    alias: { "wisplm-glue": glue, "wisplm-glue-threads": sharedGlue, "wisplm-glue-constraint": constraintGlue },
    minifyWhitespace: true,
    minifySyntax: true,
  });
}

function declare() {
  for (const [entry, source] of Object.entries({ index: "index.ts", isolation: "isolation.ts", openai: "openai/index.ts" })) {
    const types = join(dist, `${entry}.d.ts`);
    run("dts-bundle-generator/dist/bin/dts-bundle-generator.js", [
      ...["--silent", "--no-banner", "--export-referenced-types", "false", "--project", "tsconfig.json", "--out-file", types],
      `src/${source}`,
    ]);
    const text = readFileSync(types, "utf8");
    // `Model` is async disposable: a project need not have that library set.
    if (text.includes("AsyncDisposable")) writeFileSync(types, `/// <reference lib="esnext.disposable" />\n\n${text}`);
  }
  writeFileSync(join(dist, "worker.d.ts"), "// A module worker: it exports nothing.\nexport {};\n");
  writeFileSync(join(dist, "isolation-worker.d.ts"), "// A service worker: it exports nothing.\nexport {};\n");
}

function copy() {
  for (const variant of VARIANTS) copyFileSync(join(built, variant, "wisplm_bg.wasm"), join(dist, `wisplm-${variant}.wasm`));
  for (const license of ["LICENSE-MIT", "LICENSE-APACHE"]) {
    const source = join(home, "..", license);
    if (existsSync(source)) copyFileSync(source, join(home, license));
  }
}

function report() {
  const row = (...cells) => console.log(cells.map((cell, i) => (i === 0 ? cell.padEnd(22) : cell.padStart(10))).join(""));
  row("pkg/dist", "raw", "gzip", "brotli");
  const brotli = {};
  for (const file of ["index.js", "worker.js", ...VARIANTS.map((variant) => `wisplm-${variant}.wasm`)]) {
    const bytes = readFileSync(join(dist, file));
    brotli[file] = brotliCompressSync(bytes).length;
    row(file, String(bytes.length), String(gzipSync(bytes, { level: 9 }).length), String(brotli[file]));
  }
  const code = brotli["index.js"] + brotli["worker.js"];
  const sum = code + Math.max(...ENGINES.map((variant) => brotli[`wisplm-${variant}.wasm`]));
  console.log(`before the weights a page downloads ${(sum / 1e6).toFixed(2)} MB (brotli)`);
}
