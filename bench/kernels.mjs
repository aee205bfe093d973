// The micro-benchmarks: each kernel beside what the tab can do at most.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { KERNELS } from "./plan.mjs";
import { ask } from "./worker.mjs";

const folder = fileURLToPath(new URL("../target/pkg/", import.meta.url));
const VARIANTS = ["relaxed", "simd"];

/**
 * For each build its cases, each with the seconds that one iteration took in each round. The cases take turns, as
 * contestants do.
 */
export async function measureKernels(stage, rounds, say) {
  const results = [];
  for (const variant of VARIANTS) {
    if (!existsSync(`${folder}bench-${variant}/wisplm.js`)) {
      say(`kernels, ${variant}: not built (cargo xtask bench)`);
      continue;
    }
    say(`kernels, ${variant}`);
    const page = await stage.page("kernels");
    try {
      const argument = { folder: `/kernels/bench-${variant}/`, rounds, ms: KERNELS.ms };
      const cases = await ask(page, "kernels.worker.js", argument);
      results.push({ variant, cases });
    } finally {
      await page.close();
    }
  }
  return results;
}
