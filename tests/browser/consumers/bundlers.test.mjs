// The package in projects: with Vite, with esbuild, with no bundler. Each loads a model in Chromium and generates.

import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import * as esbuild from "esbuild";
import * as vite from "vite";
import { serve } from "../../../www/serve.mjs";
import { featuresOf, openBrowser } from "../harness.mjs";
import { pack, PAGE } from "./project.mjs";

const ISOLATION = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

let packed, browser, expected;

before(async () => {
  [packed, browser] = await Promise.all([pack(), openBrowser()]);
}, { timeout: 60_000 });

after(async () => {
  await browser?.close();
  packed?.remove();
});

/** What the application in a page came to. */
async function outcome(url, { options, variant } = {}) {
  const context = browser.context;
  const page = await context.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("requestfailed", (request) => problems.push(`${request.url()}: ${request.failure()?.errorText}`));
  page.on("response", (response) => response.status() >= 400 && problems.push(`${response.url()}: ${response.status()}`));
  try {
    if (options) await page.addInitScript((options) => (globalThis.options = options), options);
    await page.goto(url);
    await page.waitForFunction(() => !!globalThis.outcome, undefined, { timeout: 30_000 }).catch((error) => {
      throw new Error(`${error.message}: ${problems.join("; ")}`);
    });
    const result = await page.evaluate(() => globalThis.outcome);
    assert.equal(result.error, undefined, `${result.error}: ${problems.join("; ")}`);
    assert.deepEqual(problems, []);
    assert.equal(result.tokens.length, 8);
    assert.deepEqual(result.device.features, featuresOf(variant ?? "relaxed", result.isolated));
    assert.equal(result.device.threads, result.isolated ? 2 : 1);
    assert.deepEqual(result.notices, []);
    // Everywhere the same model, and so the same words.
    expected ??= result.tokens;
    assert.deepEqual(result.tokens, expected);
    return result;
  } finally {
    await page.close();
  }
}

for (const isolate of [true, false]) {
  test(`a page with no bundler, ${isolate ? "" : "not "}isolated`, { timeout: 60_000 }, async () => {
    const folder = await packed.project(`plain-${isolate}`);
    const map = JSON.stringify({ imports: { wisplm: "/node_modules/wisplm/dist/index.js" } });
    writeFileSync(join(folder, "index.html"), PAGE.replace("<body>", `<body><script type="importmap">${map}</script>`));
    copyFileSync(join(folder, "public/model.gguf"), join(folder, "model.gguf"));
    const server = await serve({ isolate, mounts: { "/": folder } });
    try {
      assert.equal((await outcome(server.url)).isolated, isolate);
    } finally {
      await server.close();
    }
  });
}

test("a Vite project, development server", { timeout: 120_000 }, async () => {
  const root = await packed.project("vite-dev");
  const server = await vite.createServer({ root, configFile: false, logLevel: "error", server: { host: "127.0.0.1", port: 0 } });
  try {
    await server.listen();
    const [url] = server.resolvedUrls.local;
    await outcome(url);
    // A second visit finds everything prepared.
    await outcome(url);
  } finally {
    await server.close();
  }
});

for (const isolate of [false, true]) {
  test(`a Vite project, built and previewed, ${isolate ? "" : "not "}isolated`, { timeout: 120_000 }, async (t) => {
    const root = await packed.project(`vite-build-${isolate}`);
    const base = isolate ? "/deep/down/" : "/";
    const config = { root, base, configFile: false, logLevel: "error" };
    await vite.build(config);
    const assets = readdirSync(join(root, "dist/assets"));
    t.diagnostic(assets.join(", "));
    assert.equal(assets.filter((name) => name.endsWith(".wasm")).length, 5, "all builds of the engine and the constraint's module, once each");
    const headers = isolate ? ISOLATION : {};
    const server = await vite.preview({ ...config, preview: { host: "127.0.0.1", port: 0, headers } });
    try {
      const [url] = server.resolvedUrls.local;
      assert.equal((await outcome(url)).isolated, isolate);
    } finally {
      await server.close();
    }
  });
}

test("an esbuild bundle, the package's files beside it or elsewhere", { timeout: 60_000 }, async () => {
  const root = await packed.project("esbuild");
  const out = join(root, "out");
  await esbuild.build({
    entryPoints: [join(root, "main.js")],
    outdir: out,
    bundle: true,
    minify: true,
    splitting: true,
    format: "esm",
    logLevel: "error",
  });
  const from = join(root, "node_modules/wisplm/dist");
  const copyTo = (folder) => {
    mkdirSync(folder, { recursive: true });
    for (const name of readdirSync(from).filter((name) => /^worker.js$|.wasm$/.test(name))) copyFileSync(join(from, name), join(folder, name));
  };
  writeFileSync(join(out, "index.html"), PAGE);
  copyFileSync(join(root, "public/model.gguf"), join(out, "model.gguf"));
  copyTo(join(out, "engine"));
  const server = await serve({ isolate: true, mounts: { "/": out } });
  try {
    await outcome(server.url, { options: { assets: { baseUrl: "engine/" } } });
    copyTo(out);
    await outcome(server.url);
  } finally {
    await server.close();
  }
});
