// What a browser says that it can do.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openSite } from "./site.mjs";
import { DISGUISE, featuresOf, openBrowser, report, run, VARIANTS } from "./harness.mjs";

let browser;

before(async () => {
  browser = await openBrowser();
});

after(() => browser?.close());

for (const isolate of [true, false]) {
  for (const variant of Object.keys(VARIANTS)) {
    test(`the report of a ${variant} browser, ${isolate ? "" : "not "}isolated`, { timeout: 30_000 }, async (t) => {
      const site = await openSite({ isolate });
      try {
        const page = await browser.open(site, { variant });
        const { said, info } = await run(page, async ({ probe, load }) => {
          const said = await probe();
          const model = await load("/tiny/llama-0.gguf");
          const { info } = model;
          await model.close();
          return { said, info };
        });
        report(t, said.reasons.join("; "));
        const { available, description, features, limits, reason } = said.webgpu;
        assert.equal(available, true);
        assert.match(description, /swiftshader/i);
        assert.ok(features.length > 0 && limits.maxStorageBufferBindingSize >= 128 << 20, JSON.stringify(said.webgpu));
        assert.match(reason, /program/);
        assert.ok(said.reasons.some((line) => line.includes(reason)), "why auto does not take it");
        assert.equal(said.device, "wasm");
        assert.deepEqual(said.wasm, { features: featuresOf(variant, isolate), threads: isolate });
        assert.equal(said.crossOriginIsolated, isolate);
        assert.ok(said.cores >= 1);
        assert.equal(said.storage.available, true);
        assert.ok(said.storage.free > 0);
        assert.equal(said.reasons.some((reason) => /relaxed SIMD/.test(reason)), variant === "simd");
        assert.equal(said.reasons.some((reason) => /isolated/.test(reason)), !isolate);
        const alone = said.reasons.filter((reason) => /one thread/.test(reason));
        assert.equal(alone.length, isolate && said.cores > 1 ? 0 : 1, "why there are no threads, where there are none");
        if (!isolate) assert.match(alone[0], /Cross-Origin-Embedder-Policy/, "and what to do");
        assert.equal(info.device.kind, "wasm");
        assert.deepEqual(info.device.features, featuresOf(variant, isolate), "what runs is what was promised");
        assert.ok(info.device.threads >= 1 && info.device.threads <= (isolate ? said.cores : 1));
        assert.ok(info.device.description.length > 5);
        assert.deepEqual(page.problems, []);
        await page.close();
      } finally {
        await site.close();
      }
    });
  }
}

test("a loaded model says what it is", { timeout: 60_000 }, async () => {
  const site = await openSite();
  try {
    const page = await browser.open(site);
    const [smollm2, minilm] = await run(page, async ({ load }) => {
      const infos = [];
      for (const name of ["SmolLM2-135M-Instruct.Q4_1", "all-MiniLM-L6-v2.Q8_0"]) {
        const model = await load(`/models/${name}.gguf`);
        infos.push(model.info);
        await model.close();
      }
      return infos;
    });
    const { architecture, parameters, quantization, trainedContextLength, contextLength, vocabSize, memory } = smollm2;
    assert.deepEqual([architecture, quantization, vocabSize], ["llama", "Q4_1", 49152]);
    assert.match(smollm2.name, /smollm2/i);
    assert.ok(parameters > 134e6 && parameters < 136e6, `${parameters} parameters`);
    assert.equal(trainedContextLength, 8192);
    assert.ok(contextLength >= 1024 && contextLength <= 8192, `context ${contextLength}`);
    assert.ok(memory.weights > 80e6 && memory.weights <= memory.peak, JSON.stringify(memory));
    assert.ok(memory.kv >= 0);
    assert.equal(minilm.architecture, "bert");
    assert.equal(minilm.vocabSize, 30522);
    await page.close();
  } finally {
    await site.close();
  }
});

test("a GPU is what load would take, and what is missing is said", { timeout: 30_000 }, async () => {
  const site = await openSite();
  try {
    const asked = async (script) => {
      const page = await browser.open(site);
      await page.evaluate(script);
      const said = await run(page, ({ probe }) => probe());
      await page.close();
      return said;
    };
    const real = await asked(DISGUISE);
    assert.deepEqual([real.device, real.webgpu.description, real.webgpu.reason], ["webgpu", "acme anvil", undefined]);
    const none = await asked("GPU.prototype.requestAdapter = async () => null");
    assert.deepEqual([none.device, none.webgpu.available], ["wasm", false]);
    assert.match(none.webgpu.reason, /no adapter/);
    const without = await asked("delete Navigator.prototype.gpu");
    assert.match(without.reasons.join("\n"), /no WebGPU in this browser/);
  } finally {
    await site.close();
  }
});

test("without WebAssembly SIMD or workers the report says so, and loading is refused", { timeout: 30_000 }, async () => {
  const site = await openSite();
  try {
    for (const [missing, word] of [["simd", /SIMD/], ["Worker", /worker/], ["WebAssembly", /WebAssembly/]]) {
      const page = await browser.open(site);
      await page.evaluate((missing) => {
        if (missing === "simd") WebAssembly.validate = () => false;
        else delete globalThis[missing];
      }, missing);
      const { report, error } = await run(page, async ({ probe, load, failure }) => ({
        report: await probe(),
        error: await failure(load("/tiny/llama-0.gguf")),
      }));
      assert.equal(report.device, null, missing);
      assert.ok(report.reasons.some((reason) => word.test(reason)), report.reasons.join("; "));
      assert.deepEqual([error.typed, error.code], [true, "unsupported-device"], missing);
      assert.match(error.message, word);
      await page.close();
    }
  } finally {
    await site.close();
  }
});
