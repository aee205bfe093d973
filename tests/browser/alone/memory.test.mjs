// What loading takes, and whether closing gives it back.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { brotliCompressSync, constants } from "node:zlib";
import { modelsFolder } from "../../../www/serve.mjs";
import { packageFolder } from "../site.mjs";
import { MB, moduleOf, openBrowser, report, run } from "../harness.mjs";
import { browser, site } from "../stage.mjs";

const SMOLLM2 = "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
const CODE_BAR = 1.0 * MB;

const shown = (bytes) => `${(bytes / MB).toFixed(1)} MB`;

/** Waits until the workers of earlier loads have ended: as the system counts them, not Playwright, which misses some. */
async function workersGone(browser) {
  while ((await browser.workers()) > 0) await delay(10);
}

/** What the page processes hold once workers have ended and garbage is collected; and the page's own heap. */
async function settled(page) {
  await workersGone(browser);
  const own = await browser.held(page);
  const session = await page.context().newCDPSession(page);
  const { usedSize: heap } = await session.send("Runtime.getHeapUsage");
  await session.detach();
  return { heap, own };
}

async function cycle(page, url, cycles) {
  await run(
    page,
    async ({ load }, { url, cycles }) => {
      for (let i = 0; i < cycles; i++) {
        const model = await load(url);
        await model.generate("ab", { maxTokens: 2, temperature: 0 }).result;
        await model.close();
      }
    },
    { url, cycles },
  );
  return settled(page);
}

function judge(t, name, rows, heapBar, ownBar) {
  for (const { cycles, heap, own } of rows) {
    report(t, `${name}, after ${cycles}: heap of the page ${shown(heap)}, page processes ${shown(own)}`);
  }
  const [first, last] = [rows[0], rows.at(-1)];
  assert.ok(last.heap - first.heap < heapBar, `the page's heap grows by ${shown(last.heap - first.heap)}`);
  assert.ok(last.own - first.own < ownBar, `processes grow by ${shown(last.own - first.own)}`);
}

test("50 cycles of load and close leave memory flat", { timeout: 200_000 }, async (t) => {
  const page = await browser.open(site);
  const rows = [];
  // The first cycles fill caches of code.
  for (const cycles of [5, 15, 25, 35, 45, 50]) {
    const more = cycles - (rows.at(-1)?.cycles ?? 0);
    rows.push({ cycles, ...(await cycle(page, "/tiny/llama-0.gguf", more)) });
  }
  judge(t, "tiny model, cycles", rows, 1 * MB, 20 * MB);
  await page.close();
});

test("cycles of load and close of a real model leave memory flat", { timeout: 120_000 }, async (t) => {
  const page = await browser.open(site);
  const rows = [];
  for (let cycles = 1; cycles <= 8; cycles++) rows.push({ cycles, ...(await cycle(page, SMOLLM2, 1)) });
  // Each takes 100 MB while it is there.
  judge(t, "SmolLM2, cycles", rows.slice(1), 1 * MB, 20 * MB);
  await page.close();
});

test("aborted and failed loads leave nothing behind", { timeout: 60_000 }, async (t) => {
  const page = await browser.open(site);
  const url = site.put("/cut.gguf", readFileSync(`${modelsFolder()}/SmolLM2-135M-Instruct.Q4_1.gguf`).subarray(0, 40e6));
  const rows = [];
  for (let failures = 2; failures <= 12; failures += 2) {
    await run(
      page,
      async ({ load, failure }, { url, whole }) => {
        await failure(load((await fetch(url)).body));
        const controller = new AbortController();
        const onProgress = ({ phase, loaded }) => phase === "download" && loaded > 30e6 && controller.abort();
        await failure(load(whole, { cache: false, signal: controller.signal, onProgress }));
      },
      { url, whole: SMOLLM2 },
    );
    rows.push({ cycles: failures, ...(await settled(page)) });
  }
  judge(t, "failures", rows.slice(1), 1 * MB, 20 * MB);
  await page.close();
});

for (const name of ["SmolLM2-135M-Instruct.Q4_1", "gemma-3-270m-q4_k_m", "all-MiniLM-L6-v2.Q8_0"]) {
  test(`loading ${name} peaks below 1.25 × file + 100 MB`, { timeout: 120_000 }, async (t) => {
    const file = statSync(`${modelsFolder()}/${name}.gguf`).size;
    const bar = 1.25 * file + 100 * MB;
    for (const kept of [false, true]) {
      // A process of its own, so that its highest mark is this load's.
      const own = await openBrowser();
      try {
        const page = await own.open(site);
        // What the browser takes for any page with a worker is not this load's: a tiny model goes first.
        await run(page, async ({ load }) => (await load("/tiny/llama-0.gguf")).close());
        await workersGone(own);
        const before = await own.resident();
        const info = await run(
          page,
          async ({ load }, { url, cache }) => {
            globalThis.model = await load(url, { cache });
            return model.info;
          },
          { url: `/models/${name}.gguf`, cache: kept },
        );
        const growth = (await own.resident()).growth(before);
        report(
          t,
          `${kept ? "kept" : "not kept"}: file ${shown(file)}, bar ${shown(bar)}; engine's peak ${shown(info.memory.peak)}` +
            ` (weights ${shown(info.memory.weights)}, kv ${shown(info.memory.kv)}),` +
            ` page processes: by ${shown(growth.peak)} more at their peak, ${shown(growth.now)} then`,
        );
        assert.ok(info.memory.peak <= bar, "by the engine's count");
        // With the browser's own buffers, for all that it does to load a model.
        assert.ok(growth.peak <= bar, "by the system's count");
      } finally {
        await own.close();
      }
    }
  });
}

test("little is downloaded before the weights", { timeout: 60_000 }, async (t) => {
  for (const variant of ["relaxed", "simd"]) {
    const page = await browser.open(site, { variant });
    const mark = site.requests.length;
    await run(page, async ({ load }) => {
      const model = await load("/tiny/llama-0.gguf", { cache: false });
      await model.close();
    });
    const paths = site.requests.slice(mark).map(({ path }) => path).filter((path) => path.startsWith("/pkg/"));
    const different = [...new Set(paths)];
    assert.deepEqual(different.sort(), ["/pkg/index.js", `/pkg/${moduleOf(variant, true)}`, "/pkg/worker.js"].sort());
    const sizes = different.map((path) => {
      const bytes = readFileSync(`${packageFolder}/${path.slice(5)}`);
      const brotli = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
      return { path, raw: bytes.length, brotli: brotli.length };
    });
    for (const { path, raw, brotli } of sizes) report(t, `${path}: ${raw} bytes, brotli ${brotli}`);
    const sum = sizes.reduce((all, { brotli }) => all + brotli, 0);
    report(t, `${variant}: ${(sum / MB).toFixed(3)} MB before the weights (brotli), bar ${(CODE_BAR / MB).toFixed(1)}`);
    assert.ok(sum <= CODE_BAR, `${sum} bytes`);
    await page.close();
  }
});
