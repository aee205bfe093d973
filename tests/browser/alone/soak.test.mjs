// A thousand mixed requests; `node soak.mjs 20000` is the long one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MB, report } from "../harness.mjs";
import { soak } from "./soak.mjs";

const REQUESTS = 1000;
/** What may be left: garbage that nobody has collected yet. 4,500 requests more leave 12 MB. */
const SLACK = 20 * MB;

test("mixed requests, aborts and errors leave both models and the memory as they were", { timeout: 120_000 }, async (t) => {
  const { outcomes, work, memory, seconds, problems } = await soak(REQUESTS);
  report(t, Object.entries(outcomes).sort().map(([name, times]) => `${name} ${times}`).join(", "));
  report(t, `${seconds} s, ${memory.map((bytes) => (bytes / MB).toFixed(1)).join(" and then ")} MB`);
  assert.ok(work, "the models say what they said before");
  assert.ok(memory[1] - memory[0] < SLACK, "memory is flat");
  // What is asked for wrongly fails so, unless it was aborted; nothing else fails, but that a value may be cut.
  const wrong = ["option: invalid-argument", "overflow: context-overflow", "writes: unsupported-model", "unsatisfiable: invalid-argument"];
  for (const name of Object.keys(outcomes)) assert.match(name, new RegExp(`: (done|stop|length|abort|aborted)$|^(${[...wrong, "extract: context-overflow"].join("|")})$`));
  for (const name of wrong) assert.ok(outcomes[name] > 0, name);
  assert.deepEqual(problems, []);
});
