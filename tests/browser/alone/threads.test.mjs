// Threads: the same answers to the bit, as many as asked for, none left behind.

import assert from "node:assert/strict";
import { cpus } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { openSite } from "../site.mjs";
import { median, report, run, VARIANTS } from "../harness.mjs";
import { browser, site } from "../stage.mjs";

const SMOLLM2 = "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
const TINY = "/tiny/llama-0.gguf";
const TEXT = "The sea was calm that morning, and the fishermen had gone out before the sun was up. ".repeat(8);

/** Waits until the browser has so many workers. */
async function workersAre(expected) {
  for (let look = 0; look < 100; look++) {
    if ((await browser.workers()) === expected) return;
    await delay(50);
  }
  assert.equal(await browser.workers(), expected);
}

for (const variant of Object.keys(VARIANTS)) {
  test(`two threads and three give the bits of one, ${variant}`, { timeout: 240_000 }, async () => {
    const page = await browser.open(site, { variant });
    const answers = await run(
      page,
      async ({ load }, { models, text }) => {
        const answers = [];
        for (const threads of [1, 2, 3]) {
          const answer = { threads: [], words: [], scores: [], vectors: [], notices: [] };
          for (const { url, encodes } of models) {
            const model = await load(url, { threads });
            answer.threads.push(model.info.device.threads);
            answer.notices.push(...model.info.notices);
            if (encodes) {
              for (const vector of await model.embed([text.slice(0, 80), "a word"])) answer.vectors.push(Array.from(vector));
            } else {
              const { logprobs } = await model.score(text);
              answer.scores.push(logprobs);
              const options = { temperature: 0.9, seed: 5, maxTokens: 24, ignoreEos: true };
              answer.words.push((await model.generate(text.slice(0, 300), options).result).text);
            }
            await model.close();
          }
          answers.push(answer);
        }
        return answers;
      },
      { models: [{ url: SMOLLM2 }, { url: "/tiny/gemma3-0.gguf" }, { url: "/tiny/bert-0.gguf", encodes: true }], text: TEXT },
    );
    for (const [i, { threads, notices, ...answer }] of answers.entries()) {
      assert.deepEqual(threads, [i + 1, i + 1, i + 1]);
      assert.deepEqual(notices, []);
      const { words, scores, vectors } = answers[0];
      assert.deepEqual(answer, { words, scores, vectors }, `${i + 1} threads`);
    }
    assert.deepEqual(page.problems, []);
    await page.close();
  });
}

test("by itself a model takes as many threads as help, and says how many", { timeout: 60_000 }, async (t) => {
  const page = await browser.open(site);
  const { info, cores } = await run(page, async ({ load }, { url }) => {
    globalThis.model = await load(url);
    return { info: model.info, cores: navigator.hardwareConcurrency };
  }, { url: SMOLLM2 });
  const { threads, features, description } = info.device;
  report(t, `${threads} of ${cores}: ${description}`);
  assert.ok(threads >= 1 && threads <= Math.min(cores, 8));
  assert.equal(features.includes("threads"), cores > 1);
  assert.match(description, threads === 1 ? /one thread/ : new RegExp(`${threads} threads`));
  // The engine's worker, and one for each thread beyond.
  await workersAre(threads);
  await page.close();
});

test("closing a model ends its helpers, whatever they are at", { timeout: 120_000 }, async () => {
  const page = await browser.open(site);
  await workersAre(0);
  for (const busy of [false, true]) {
    await run(page, async ({ load, begun }, { url, busy }) => {
      globalThis.model = await load(url, { threads: 4 });
      if (busy) await begun(model.generate("Once upon a time", { maxTokens: 2000, ignoreEos: true }));
    }, { url: SMOLLM2, busy });
    assert.equal(await browser.workers(), 4);
    await page.evaluate(() => globalThis.model.close());
    await workersAre(0);
  }
  // A load that is given up, too.
  const error = await run(page, async ({ load, failure }, { url }) => {
    const controller = new AbortController();
    const onProgress = ({ phase, loaded }) => phase === "download" && loaded > 20e6 && controller.abort();
    return failure(load(url, { threads: 4, cache: false, signal: controller.signal, onProgress }));
  }, { url: SMOLLM2 });
  assert.equal(error.code, "aborted");
  await workersAre(0);
  await page.close();
});

// Ended at the wrong moment, a worker stays for good.
test("load after load leaves no worker behind", { timeout: 120_000 }, async () => {
  const page = await browser.open(site);
  for (let i = 0; i < 24; i++) {
    await run(page, async ({ load }, { url, options }) => (await load(url, options)).close(), {
      url: TINY,
      options: i % 3 === 0 ? { threads: 3 } : {},
    });
    const end = Date.now() + 10_000;
    while ((await browser.workers()) > 0 && Date.now() < end) await delay(5);
    assert.equal(await browser.workers(), 0, `after load ${i}`);
  }
  await page.close();
});

test("a generation on two threads can be aborted at once, in its prompt too", { timeout: 120_000 }, async (t) => {
  const page = await browser.open(site);
  const delays = await run(page, async ({ load, failure }, { url, text }) => {
    const model = await load(url, { threads: 2 });
    const prompt = text.repeat(4);
    const delays = [];
    for (const wait of [20, 200, 400, 600, 900]) {
      const controller = new AbortController();
      const scoring = failure(model.score(prompt, { signal: controller.signal }));
      await new Promise((resolve) => setTimeout(resolve, wait));
      controller.abort();
      await scoring;
      const start = performance.now();
      await model.generate("a", { maxTokens: 1 }).result;
      delays.push(performance.now() - start);
    }
    await model.close();
    return delays;
  }, { url: SMOLLM2, text: TEXT });
  report(t, `the next answer after ${delays.map((delay) => delay.toFixed(0)).join(" ")} ms`);
  assert.ok(median(delays) <= 150);
  await page.close();
});

test("a page that is not isolated computes on one thread and refuses more, saying what to do", { timeout: 60_000 }, async () => {
  const open = await openSite({ isolate: false });
  try {
    const page = await browser.open(open);
    const { alone, error } = await run(page, async ({ load, failure }, { url }) => {
      const alone = [];
      for (const threads of [undefined, "auto", 1]) {
        const model = await load(url, { device: "wasm", threads });
        alone.push(model.info.device.threads, ...model.info.notices);
        await model.close();
      }
      return { alone, error: await failure(load(url, { threads: 2 })) };
    }, { url: TINY });
    assert.deepEqual(alone, [1, 1, 1]);
    assert.deepEqual([error.code, error.details.option], ["unsupported-device", "threads"]);
    assert.match(error.message, /Cross-Origin-Opener-Policy/);
    await page.close();
  } finally {
    await open.close();
  }
});

test("where helpers cannot be had, one thread computes and a notice says why", { timeout: 60_000 }, async () => {
  // Workers that may start no workers; and no room for a shared memory.
  const hindrances = [
    ["globalThis.Worker = class { constructor() { throw new Error('no more workers'); } };\n", /no more workers/],
    ["const { Memory } = WebAssembly; WebAssembly.Memory = class { constructor(o) { if (o.shared) throw new RangeError('no room'); return new Memory(o); } };\n", /no room/],
  ];
  for (const [line, reason] of hindrances) {
    const page = await browser.open(site);
    await page.route("**/pkg/worker.js", async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: line + (await response.text()) });
    });
    const { info, text } = await run(page, async ({ load }, { url }) => {
      const model = await load(url, { threads: 2 });
      const { text } = await model.generate("ab", { maxTokens: 4 }).result;
      const { info } = model;
      await model.close();
      return { info, text };
    }, { url: TINY });
    assert.equal(info.device.threads, 1);
    assert.ok(text.length > 0);
    assert.equal(info.notices.length, 1, info.notices.join("; "));
    assert.match(info.notices[0], reason);
    await page.close();
  }
});

test("two models share the machine", { timeout: 120_000 }, async (t) => {
  const page = await browser.open(site);
  const { times, threads } = await run(page, async ({ load }, { url }) => {
    const models = [await load(url, { threads: 2 }), await load(url, { threads: 2 })];
    const start = performance.now();
    const results = models.map((model) => model.generate("Once", { maxTokens: 40, ignoreEos: true, temperature: 0 }).result);
    const texts = (await Promise.all(results)).map(({ text }) => text);
    const times = performance.now() - start;
    if (texts[0] !== texts[1]) throw new Error(texts.join(" | "));
    const threads = models.map((model) => model.info.device.threads);
    for (const model of models) await model.close();
    return { times, threads };
  }, { url: SMOLLM2 });
  report(t, `40 tokens of each on ${cpus().length} cores in ${times.toFixed(0)} ms`);
  assert.deepEqual(threads, [2, 2]);
  await page.close();
});
