// Classification of real text by a model that writes.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { each, messages } from "./messages.mjs";
import { openSite } from "./site.mjs";
import { openBrowser, report, run } from "./harness.mjs";

let site, browser;

before(async () => {
  site = await openSite();
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await site?.close();
});

test("SmolLM2 sorts support messages, without examples and with some", { timeout: 240_000 }, async (t) => {
  const all = messages();
  const labels = [...new Set(all.tune.map(({ label }) => label))].sort();
  // Of all 240: WISPLM_ALL=1. Examples are of the other part.
  const rows = process.env.WISPLM_ALL ? all.test : each(all.test, 6);
  const examples = each(all.tune, 2).map(({ label, text }) => ({ label, text }));
  const page = await browser.open(site);
  const found = await run(
    page,
    async ({ load }, { texts, labels, examples }) => {
      const model = await load("/models/SmolLM2-135M-Instruct.Q4_1.gguf");
      const found = {};
      for (const [name, task] of Object.entries({ bare: { labels }, few: { labels, examples } })) {
        const seen = [];
        const classifier = model.classifier(task);
        const began = performance.now();
        const answers = await classifier.classify(texts, { onProgress: ({ done }) => seen.push(done) });
        found[name] = { answers, seen, ms: performance.now() - began };
      }
      const one = await model.classify(texts[0], labels);
      await model.close();
      return { ...found, one };
    },
    { texts: rows.map(({ text }) => text), labels, examples },
  );
  for (const [name, { answers, seen, ms }] of Object.entries({ bare: found.bare, few: found.few })) {
    const right = answers.filter(([{ label }], i) => label === rows[i].label).length;
    report(t, `${name}: ${right} of ${rows.length} right (always the same label: ${rows.length / labels.length}), ${((1000 * rows.length) / ms).toFixed(1)} a second`);
    assert.ok(answers.every((scores) => Math.abs(scores.reduce((sum, { score }) => sum + score, 0) - 1) < 1e-6));
    assert.ok(answers.every((scores) => scores.length === labels.length && scores.every(({ score }, i) => i === 0 || score <= scores[i - 1].score)));
    assert.equal(seen.at(-1), rows.length);
    assert.ok(seen.every((done, i) => i === 0 || done >= seen[i - 1]));
    assert.ok(right / rows.length > 2 / labels.length, "twice as good as a guess at least");
  }
  assert.deepEqual(found.one.map(({ label }) => label), found.bare.answers[0].map(({ label }) => label), "alone as among others");
  assert.deepEqual(page.problems, []);
  await page.close();
});
