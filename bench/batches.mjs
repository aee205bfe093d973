// Several sequences at once: the same weights read once for all of them.

import { BATCHES } from "./plan.mjs";
import { ask } from "./worker.mjs";

/** For each model and number of sequences the milliseconds of a decode step, in each round. */
export async function measureBatches(stage, models, rounds, say) {
  const results = [];
  for (const { id, name, file } of models) {
    say(`${name}: several sequences at once`);
    const page = await stage.page("kernels");
    try {
      const argument = { folder: "/kernels/relaxed/", url: `/models/${file}`, rounds, ...BATCHES };
      results.push({ id, name, sequences: BATCHES.sequences, ms: await ask(page, "batches.worker.js", argument) });
    } finally {
      await page.close();
    }
  }
  return results;
}
