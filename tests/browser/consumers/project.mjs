// The packed tarball, installed into a project as a consumer has it.

import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const execute = promisify(execFile);

export const APPLICATION = `import { load } from "wisplm";

try {
  const model = await load(new URL("model.gguf", document.baseURI), { threads: crossOriginIsolated ? 2 : 1, ...globalThis.options });
  let text = "";
  const generation = model.generate("ab ab ab", { maxTokens: 8, temperature: 0, ignoreEos: true });
  for await (const delta of generation) text += delta;
  const { tokens } = await generation.result;
  globalThis.outcome = { text, tokens, device: model.info.device, notices: model.info.notices, isolated: crossOriginIsolated };
  await model.close();
} catch (error) {
  globalThis.outcome = { error: [error.name, error.code, error.message, String(error.cause)].join(" ") };
}
`;

export const PAGE = `<!doctype html>
<html lang="en">
  <head><meta charset="utf-8"><title>consumer</title><link rel="icon" href="data:,"></head>
  <body><script type="module" src="./main.js"></script></body>
</html>
`;

export async function run(file, args, options = {}) {
  try {
    return await execute(file, args, { timeout: 60_000, ...options });
  } catch (error) {
    error.message += `\n${error.stdout}\n${error.stderr}`;
    throw error;
  }
}

/** Packs the package once; `{ tarball, files, project(name), remove() }`. */
export async function pack() {
  const folder = mkdtempSync(join(tmpdir(), "wisplm-consumers-"));
  const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
    cwd: here("../../../pkg"),
  });
  // npm has changed the shape of this answer: a list, or an object of packages by name.
  const answer = JSON.parse(stdout);
  const [{ filename, files }] = Array.isArray(answer) ? answer : Object.values(answer);
  const tarball = join(folder, filename);
  return {
    tarball,
    files: files.map(({ path }) => path).sort(),
    project: (name) => project(join(folder, name), tarball),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A new project with the package installed, a page, and a model where the page finds it. */
async function project(folder, tarball) {
  mkdirSync(join(folder, "public"), { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }));
  await run("npm", ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", tarball], { cwd: folder });
  writeFileSync(join(folder, "index.html"), PAGE);
  writeFileSync(join(folder, "main.js"), APPLICATION);
  copyFileSync(here("../../fixtures/tiny/llama-0.gguf"), join(folder, "public/model.gguf"));
  return folder;
}

export function read(path) {
  return readFileSync(path, "utf8");
}
