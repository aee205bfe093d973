// A classifier over thousands of texts: how it goes on is told, it can be stopped, and its memory is that of a few.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MB, report, run } from "../harness.mjs";
import { browser, site } from "../stage.mjs";

const TEXTS = 2000;
/** What may be left: garbage that nobody has collected yet. */
const SLACK = 20 * MB;

test("thousands of texts are told apart in steady memory, and can be given up", { timeout: 120_000 }, async (t) => {
  const page = await browser.open(site);
  await run(page, async ({ load }) => {
    const model = await load("/tiny/llama-0.gguf", { device: "wasm" });
    const classifier = model.classifier({ labels: ["a", "b", "c"], instruction: "Which?" });
    const texts = (count) => Array.from({ length: count }, (_, i) => `text ${i % 500}`);
    const peak = () => model.info.memory.peak;
    Object.assign(globalThis, { model, classifier, texts, peak });
  });
  /** All of so many; with `until`, given up when so many are done. */
  const classify = (count, until) =>
    run(
      page,
      async (_, { count, until }) => {
        const controller = new AbortController();
        const told = [];
        const onProgress = ({ done, total }) => {
          told.push([done, total]);
          if (done >= until) controller.abort();
        };
        const began = performance.now();
        const scores = await classifier.classify(texts(count), { signal: controller.signal, onProgress }).catch(({ code }) => code);
        const seconds = (performance.now() - began) / 1000;
        return { told, seconds, peak: peak(), ...(typeof scores === "string" ? { code: scores } : { first: scores[0], again: scores[500], count: scores.length }) };
      },
      { count, until },
    );
  const few = await classify(600, Infinity);
  const before = await browser.held(page);
  const many = await classify(TEXTS, Infinity);
  const after = await browser.held(page);
  const given = await classify(TEXTS, 200);
  const last = await classify(1, Infinity);
  report(t, `${(TEXTS / many.seconds).toFixed(0)} texts a second; page processes ${(before / MB).toFixed(1)} and ${(after / MB).toFixed(1)} MB`);
  assert.equal(many.count, TEXTS);
  assert.deepEqual(many.told.at(-1), [TEXTS, TEXTS]);
  assert.ok(many.told.length > 30 && many.told.every(([done, total], i) => total === TEXTS && done >= (many.told[i - 1]?.[0] ?? 0)));
  for (const scores of [many.first, many.again, last.first]) assert.deepEqual(scores, few.first, "the same text has the same scores");
  assert.equal(given.code, "aborted");
  assert.ok(given.told.at(-1)[0] < 300, `${given.told.at(-1)}`);
  assert.ok(after - before < SLACK, "the page processes' memory");
  assert.ok(many.peak - few.peak < 4 * MB, "the engine's memory");
  await run(page, () => model.close());
  assert.deepEqual(page.problems, []);
  await page.close();
});
