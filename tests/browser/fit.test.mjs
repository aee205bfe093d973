// Classifiers that are fitted in the tab, on real text.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { report, run } from "./harness.mjs";
import { browser, site } from "./stage.mjs";

/** Support messages of six classes: `tune` to fit with, `test` to judge by. */
function messages() {
  const [, ...lines] = readFileSync(new URL("../fixtures/classify/messages.tsv", import.meta.url), "utf8").trimEnd().split("\n");
  const rows = lines.map((line) => line.split("\t")).map(([split, label, text]) => ({ split, label, text }));
  return { tune: rows.filter(({ split }) => split === "tune"), test: rows.filter(({ split }) => split === "test") };
}

test("MiniLM and a fitted head sort support messages", { timeout: 120_000 }, async (t) => {
  const page = await browser.open(site);
  const found = await run(
    page,
    async ({ load, fitClassifier, restoreClassifier, Pulse, failure }, { tune, test }) => {
      const model = await load("/models/all-MiniLM-L6-v2.Q8_0.gguf");
      const examples = tune.map(({ label, text }) => ({ label, text }));
      const times = {};
      let last = performance.now();
      const pulse = new Pulse();
      const classifier = await fitClassifier(model, examples, {
        onProgress: ({ phase, done, total }) => {
          if (done === total) [times[phase], last] = [performance.now() - last, performance.now()];
        },
      });
      const { worst } = await pulse.stop();
      const texts = test.map(({ text }) => text);
      const answers = await classifier.classify(texts);
      const right = answers.filter(([{ label }], i) => label === test[i].label).length;
      const saved = JSON.stringify(classifier);
      const restored = await restoreClassifier(model, saved);
      const again = await restored.classify(texts.slice(0, 5));
      const sums = answers.map((scores) => scores.reduce((sum, { score }) => sum + score, 0));
      await model.close();
      // A BERT of other weights, and as many numbers or not, is no home for it.
      const other = await load("/tiny/bert-0.gguf");
      const foreign = await failure(restoreClassifier(other, saved));
      await other.close();
      const same = JSON.stringify(again) === JSON.stringify(answers.slice(0, 5));
      return { report: classifier.report, right, sums, same, foreign, times, worst, bytes: saved.length };
    },
    messages(),
  );
  const { report: told, right, times } = found;
  report(t, `accuracy ${(right / 240).toFixed(3)} of 240 unseen, ${told.accuracy.toFixed(3)} by cross-validation of ${told.examples}, baseline ${told.baseline.toFixed(3)}; penalty ${told.penalty}`);
  report(t, `embedding ${Math.round(times.embed)} ms, fitting ${Math.round(times.fit)} ms, the page waits ${Math.round(found.worst)} ms at worst; ${found.bytes} bytes saved`);
  assert.ok(right / 240 > 0.8, String(right));
  assert.ok(Math.abs(told.accuracy - right / 240) < 0.1);
  assert.ok(found.sums.every((sum) => Math.abs(sum - 1) < 1e-9));
  assert.ok(found.same);
  assert.deepEqual([found.foreign.typed, found.foreign.code], [true, "invalid-argument"]);
  assert.deepEqual(page.problems, []);
  await page.close();
});
