// What is in the package, and what tools say of it.

import assert from "node:assert/strict";
import { copyFileSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { pack, run } from "./project.mjs";

const tool = (path) => fileURLToPath(new URL(`../node_modules/${path}`, import.meta.url));
const here = (name) => fileURLToPath(new URL(name, import.meta.url));

const BUILDS = ["simd", "relaxed", "threads", "relaxed-threads", "constraint"].map((variant) => `wisplm-${variant}.wasm`);

let packed, folder;

before(async () => {
  packed = await pack();
  folder = await packed.project("tools");
}, { timeout: 60_000 });

after(() => packed?.remove());

test("the tarball holds the package and nothing else", (t) => {
  t.diagnostic(packed.files.join(", "));
  const wanted = ["index.js", "index.d.ts", "worker.js", "isolation.js", "isolation.d.ts", "isolation-worker.js", "openai.js", "openai.d.ts", ...BUILDS].map((name) => `dist/${name}`);
  for (const path of [...wanted, "package.json", "LICENSE-MIT", "LICENSE-APACHE"]) assert.ok(packed.files.includes(path), path);
  const odd = packed.files.filter((path) => !/^(dist\/[^/]+\.(js|d\.ts|wasm)|package\.json|README\.md|LICENSE-(MIT|APACHE))$/.test(path));
  assert.deepEqual(odd, []);
});

test("publint finds nothing", { timeout: 60_000 }, async () => {
  const bytes = readFileSync(packed.tarball);
  const tarball = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const { messages, pkg } = await publint({ pack: { tarball }, strict: true });
  assert.deepEqual(messages.map((message) => formatMessage(message, pkg, { color: false })), []);
});

test("attw finds nothing", { timeout: 60_000 }, async () => {
  // WebAssembly files have no types.
  const wasm = ["--exclude-entrypoints", ...BUILDS];
  const args = [tool("@arethetypeswrong/cli/dist/index.js"), packed.tarball, "--profile", "esm-only", "--format", "ascii", "--no-emoji"];
  // It ends with a failure when it finds something that counts in this profile.
  const { stdout } = await run(process.execPath, [...args, ...wasm], { env: { ...process.env, NO_COLOR: "1" } });
  assert.match(stdout, /wisplm v\d/);
});

test("under Node importing does nothing, and loading says why it cannot", { timeout: 60_000 }, async () => {
  const quiet = await run(process.execPath, ["--trace-warnings", "-e", "import('wisplm')"], { cwd: folder });
  assert.deepEqual([quiet.stdout, quiet.stderr], ["", ""]);
  const script = `
    import { load, probe, WispError } from "wisplm";
    const error = await load("https://example.org/model.gguf").catch((error) => error);
    const { device, reasons } = await probe();
    console.log(JSON.stringify({ typed: error instanceof WispError, code: error.code, device, reasons }));`;
  const { stdout, stderr } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: folder });
  assert.equal(stderr, "");
  const { typed, code, device, reasons } = JSON.parse(stdout);
  assert.deepEqual([typed, code, device], [true, "unsupported-device", null]);
  assert.ok(reasons.length > 0);
});

for (const [resolution, module] of [["bundler", "esnext"], ["nodenext", "nodenext"]]) {
  test(`types hold under moduleResolution ${resolution}`, { timeout: 60_000 }, async () => {
    const source = join(folder, `use-${resolution}.ts`);
    writeFileSync(
      source,
      `import { load, probe, WispError, type Generation, type GenerationResult, type LoadProgress, type Model } from "wisplm";

export async function use(file: File): Promise<string> {
  const { device, reasons } = await probe();
  if (device === null) return reasons.join();
  await using model: Model = await load([file, { url: "https://example.org/b.gguf", sha256: "00" }], {
    device: "auto",
    onProgress: ({ phase, loaded, total }: LoadProgress) => console.log(phase, loaded / total),
    signal: AbortSignal.timeout(1000),
  });
  try {
    const generation: Generation = model.generate("Once", { maxTokens: 3, stop: ["."], temperature: 0 });
    for await (const text of generation) console.log(text.length);
    for await (const event of generation.events()) if (event.type === "text") console.log(event.text);
    const result: GenerationResult = await generation.result;
    const one: Float32Array = await model.embed("a");
    const several: Float32Array[] = await model.embed(["a", "b"], { pooling: "mean" });
    const { logprobs } = await model.score([1, 2, 3]);
    const weights: number = model.info.memory.weights + one.length + several.length + (logprobs[1] ?? 0);
    // @ts-expect-error there is no such option
    model.generate("a", { tempurature: 1 });
    return result.text + result.usage.completionTokens + weights;
  } catch (error) {
    if (error instanceof WispError && error.code === "aborted") return String(error.details.offset ?? "");
    throw error;
  }
}
`,
    );
    await compile(source, resolution, module);
  });
}

test("wisplm/openai can be used where OpenAI's client is", { timeout: 60_000 }, async () => {
  symlinkSync(tool("openai"), join(folder, "node_modules/openai"));
  const source = join(folder, "openai.types.ts");
  copyFileSync(here("openai.types.ts"), source);
  // The types of `openai` name packages that are not there.
  await compile(source, "bundler", "esnext", "--skipLibCheck");
});

test("what extract gives is typed by the schema, Zod's or JSON's", { timeout: 60_000 }, async () => {
  symlinkSync(tool("zod"), join(folder, "node_modules/zod"));
  const source = join(folder, "extract.types.ts");
  copyFileSync(here("extract.types.ts"), source);
  await compile(source, "bundler", "esnext");
});

test("the code of the guide compiles", { timeout: 60_000 }, async () => {
  const guide = readFileSync(here("../../../docs/guide.md"), "utf8");
  const blocks = [...guide.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, block]) => block);
  assert.ok(blocks.length > 5);
  // Each goes on from those before it; a name that comes twice is another one.
  const imports = blocks.flatMap((block) => block.match(/^import .*$/gm) ?? []);
  const [opening, ...rest] = blocks.map((block) => block.replace(/^import .*$\n*/gm, ""));
  const source = join(folder, "guide.ts");
  writeFileSync(source, [...imports, 'import type { Message } from "wisplm";', opening, ...rest, "export {};"].join("\n"));
  await compile(source, "bundler", "esnext");
});

async function compile(source, resolution, module, ...more) {
  const options = ["--strict", "--noEmit", "--target", "es2022", "--lib", "es2022,dom,dom.iterable,dom.asynciterable"];
  const args = [tool("typescript/bin/tsc"), ...options, "--module", module, "--moduleResolution", resolution, ...more, source];
  await run(process.execPath, args, { cwd: folder });
}
