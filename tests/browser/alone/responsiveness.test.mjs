// The page stays alive: no task of its main thread is long while a model loads and writes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { openSite } from "../site.mjs";
import { report, run } from "../harness.mjs";
import { browser, site } from "../stage.mjs";

for (const isolate of [true, false]) {
  test(`the page never freezes, ${isolate ? "" : "not "}isolated`, { timeout: 120_000 }, async (t) => {
    const own = isolate ? site : await openSite({ isolate: false });
    const page = await browser.open(own);
    try {
      const seen = await run(page, async ({ load, deltas, Pulse }) => {
        const seen = {};
        const watch = async (name, action) => {
          const pulse = new Pulse();
          await action();
          seen[name] = await pulse.stop();
        };
        let model;
        const url = "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
        const onProgress = ({ phase, loaded, total }) => (document.title = `${phase} ${loaded} ${total}`);
        await watch("download and load", async () => (model = await load(url, { onProgress })));
        await watch("generation", async () => {
          // As a page shows it.
          for await (const text of model.generate("Once upon a time", { maxTokens: 80, ignoreEos: true })) {
            document.body.append(text);
          }
        });
        const tokens = (await model.tokenize("The ferry was late again. ".repeat(160))).slice(0, 900);
        await watch("a long prompt", () => deltas(model.generate(tokens, { maxTokens: 2 })));
        await watch("score", () => model.score(tokens.slice(0, 400)));
        await watch("tokenizing 1 MB", () => model.tokenize("The ferry was late again. ".repeat(40_000)));
        await watch("close", () => model.close());
        await watch("load from the cache", async () => (await load(url, { onProgress })).close());
        return seen;
      });
      for (const [name, { tasks, worst }] of Object.entries(seen)) {
        const long = tasks.map(({ duration }) => `${duration} ms`).join(", ") || "none";
        report(t, `${name}: tasks over 50 ms: ${long}; a timer late by ${worst.toFixed(0)} ms at worst`);
      }
      const all = Object.entries(seen).flatMap(([name, { tasks }]) => tasks.map((task) => ({ name, ...task })));
      assert.deepEqual(all, []);
    } finally {
      await page.close();
      if (own !== site) await own.close();
    }
  });
}
