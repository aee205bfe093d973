// What loading takes, and whether closing gives it back.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { after, before, test } from "node:test";
import { brotliCompressSync, constants } from "node:zlib";
import { modelsFolder } from "../../www/serve.mjs";
import { openSite, packageFolder } from "./site.mjs";
import { MB, openBrowser, report, run } from "./harness.mjs";

const SMOLLM2 = "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
const CODE_BAR = 1.0 * MB;

let site, browser;

before(async () => {
  site = await openSite();
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await site?.close();
});

const shown = (bytes) => `${(bytes / MB).toFixed(1)} MB`;

/** Bytes of the page and its workers, after a garbage collection. */
function settled(page) {
  return page.evaluate(async () => {
    gc();
    return (await performance.measureUserAgentSpecificMemory()).bytes;
  });
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
  return { heap: await settled(page), resident: (await browser.resident()).now };
}

test("50 cycles of load and close leave memory flat", { timeout: 300_000 }, async (t) => {
  const page = await browser.open(site);
  // The first cycles fill caches of code.
  const rows = [{ cycles: 5, ...(await cycle(page, "/tiny/llama-0.gguf", 5)) }];
  for (let i = 0; i < 4; i++) rows.push({ cycles: 10, ...(await cycle(page, "/tiny/llama-0.gguf", 10)) });
  rows.push({ cycles: 5, ...(await cycle(page, "/tiny/llama-0.gguf", 5)) });
  let done = 0;
  for (const { cycles, heap, resident } of rows) {
    done += cycles;
    report(t, `tiny model, after ${done} cycles: page and workers ${shown(heap)}, page processes ${shown(resident)}`);
  }
  const [first, last] = [rows[0], rows.at(-1)];
  const workers = page.workers().length;
  assert.equal(workers, 0, "no worker is left");
  assert.ok(last.heap - first.heap < 1 * MB, `page and workers grow by ${shown(last.heap - first.heap)}`);
  assert.ok(last.resident - first.resident < 45 * 0.5 * MB, `processes grow by ${shown(last.resident - first.resident)}`);
  await page.close();
});

test("cycles of load and close of a real model leave memory flat", { timeout: 120_000 }, async (t) => {
  const page = await browser.open(site);
  const rows = [];
  for (let i = 0; i < 6; i++) rows.push(await cycle(page, SMOLLM2, 1));
  for (const [i, { heap, resident }] of rows.entries()) {
    report(t, `SmolLM2, after ${i + 1} cycles: page and workers ${shown(heap)}, page processes ${shown(resident)}`);
  }
  const [first, last] = [rows[1], rows.at(-1)];
  assert.ok(last.heap - first.heap < 1 * MB, `page and workers grow by ${shown(last.heap - first.heap)}`);
  assert.ok(last.resident - first.resident < 50 * MB, `processes grow by ${shown(last.resident - first.resident)}`);
  await page.close();
});

test("an aborted or failed load leaves nothing behind", { timeout: 60_000 }, async (t) => {
  const page = await browser.open(site);
  const url = site.put("/cut.gguf", readFileSync(`${modelsFolder()}/SmolLM2-135M-Instruct.Q4_1.gguf`).subarray(0, 40e6));
  const fail = () =>
    run(
      page,
      async ({ load, failure }, { url, whole }) => {
        await failure(load(url, { cache: false }));
        const controller = new AbortController();
        const onProgress = ({ phase, loaded }) => phase === "download" && loaded > 30e6 && controller.abort();
        await failure(load(whole, { cache: false, signal: controller.signal, onProgress }));
      },
      { url, whole: SMOLLM2 },
    );
  await fail();
  const before = await settled(page);
  for (let i = 0; i < 4; i++) await fail();
  const after = await settled(page);
  report(t, `page and workers ${shown(before)}, after 4 more failures ${shown(after)}`);
  assert.ok(after - before < 1 * MB);
  await page.close();
});

for (const name of ["SmolLM2-135M-Instruct.Q4_1", "gemma-3-270m-q4_k_m", "all-MiniLM-L6-v2"]) {
  test(`loading ${name} peaks below 1.25 × file + 100 MB`, { timeout: 120_000 }, async (t) => {
    const file = statSync(`${modelsFolder()}/${name}.gguf`).size;
    const bar = 1.25 * file + 100 * MB;
    for (const kept of [false, true]) {
      // A process of its own, so that its highest mark is this load's.
      const own = await openBrowser();
      try {
        const page = await own.open(site);
        await run(page, async ({ probe }) => void (await probe()));
        const before = await own.resident();
        const info = await run(
          page,
          async ({ load }, { url, cache }) => {
            globalThis.model = await load(url, { cache });
            return model.info;
          },
          { url: `/models/${name}.gguf`, cache: kept },
        );
        const after = await own.resident();
        const heap = await settled(page);
        report(
          t,
          `${kept ? "kept" : "not kept"}: file ${shown(file)}, bar ${shown(bar)}; engine's peak ${shown(info.memory.peak)}` +
            ` (weights ${shown(info.memory.weights)}, kv ${shown(info.memory.kv)}), page and workers ${shown(heap)},` +
            ` processes grew by at most ${shown(after.peak - before.now)}`,
        );
        assert.ok(info.memory.peak <= bar, "by the engine's count");
        assert.ok(heap <= bar, "by the browser's count");
        assert.ok(after.peak - before.now <= bar, "by the system's count");
      } finally {
        await own.close();
      }
    }
  });
}

test("little is downloaded before the weights", { timeout: 60_000 }, async (t) => {
  for (const [variant, wasm] of [["relaxed", "wisplm-relaxed.wasm"], ["simd", "wisplm-simd.wasm"]]) {
    const page = await browser.open(site, { variant });
    const mark = site.requests.length;
    await run(page, async ({ load }) => {
      const model = await load("/tiny/llama-0.gguf", { cache: false });
      await model.close();
    });
    const paths = site.requests.slice(mark).map(({ path }) => path).filter((path) => path.startsWith("/pkg/"));
    assert.deepEqual([...new Set(paths)].sort(), ["/pkg/index.js", `/pkg/${wasm}`, "/pkg/worker.js"].sort());
    const sizes = paths.map((path) => {
      const bytes = readFileSync(`${packageFolder}/${path.slice(5)}`);
      const brotli = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } });
      return { path, raw: bytes.length, brotli: brotli.length };
    });
    for (const { path, raw, brotli } of sizes) report(t, `${path}: ${raw} bytes, brotli ${brotli}`);
    const sum = sizes.reduce((all, { brotli }) => all + brotli, 0);
    report(t, `${variant}: ${(sum / MB).toFixed(3)} MB before the weights (brotli), bar ${(CODE_BAR / MB).toFixed(1)}`);
    assert.ok(sum <= CODE_BAR, `${sum} bytes`);
    await page.close();
  }
});
