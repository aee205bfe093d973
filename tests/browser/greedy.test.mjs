// Greedy answers on both devices: the same where activations are as exact on both; by default they part where two tokens
// are about equally likely.

import assert from "node:assert/strict";
import { test } from "node:test";
import { report, run } from "./harness.mjs";
import { browser, site } from "./stage.mjs";

const SMOLLM2 = "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
const TOKENS = 64;
/** Whether activations are as exact on both devices; `auto` has floats on WebGPU and 8 bits on wasm. */
const ACTIVATIONS = process.env.WISPLM_ACTIVATIONS ?? "full";
/** On a software adapter each takes a minute, so that one is tried; WISPLM_PROMPTS=10 tries all. */
const PROMPTS = [
  "The capital of France is",
  "Once upon a time",
  "def fibonacci(n):\n",
  "Water boils at",
  "The three primary colors are",
  "Dear Sir or Madam,",
  "In 1969, two astronauts",
  "To bake bread, first",
  "The largest planet in the solar system",
  "List of animals:\n1.",
].slice(0, Number(process.env.WISPLM_PROMPTS ?? 1));
/** How many of ten answers are the same throughout. By default that is chance. */
const SAME = ACTIVATIONS === "auto" ? 0 : 0.9;
/**
 * How far apart the log-probabilities of two tokens are at most, as WebGPU has them, of which the devices may each take
 * another. By default it multiplies floats, wasm activations of 8 bits by blocks of 16: in a simulation in float32 these alone shift the
 * log-probabilities of the likeliest tokens by 0.08 on average, and 0.4 at most.
 */
const NEAR = 0.2;

test("greedy answers on wasm and WebGPU are the same, or part where two tokens are about equally likely", { timeout: 90_000 * (1 + PROMPTS.length) }, async (t) => {
  const page = await browser.open(site);
  const seen = await run(
    page,
    async ({ load }, { url, prompts, tokens, activations }) => {
      const answers = {};
      const partings = [];
      for (const device of ["wasm", "webgpu"]) {
        const model = await load(url, { device, activations });
        answers[device] = [];
        for (const prompt of prompts) {
          const ids = [];
          for await (const event of model.generate(prompt, { temperature: 0, maxTokens: tokens, ignoreEos: true }).events()) {
            if (event.type === "token") ids.push(event.id);
          }
          answers[device].push(ids);
        }
        if (device === "webgpu") {
          for (const [i, prompt] of prompts.entries()) {
            const [wasm, webgpu] = [answers.wasm[i], answers.webgpu[i]];
            const at = webgpu.findIndex((id, k) => id !== wasm[k]);
            if (at < 0) continue;
            const begun = [...(await model.tokenize(prompt)), ...webgpu.slice(0, at)];
            const likely = async (id) => (await model.score([...begun, id])).logprobs.at(-1);
            partings.push({ prompt, at, webgpu: await likely(webgpu[at]), wasm: await likely(wasm[at]) });
          }
        }
        await model.close();
      }
      return { counts: [...answers.wasm, ...answers.webgpu].map(({ length }) => length), partings };
    },
    { url: SMOLLM2, prompts: PROMPTS, tokens: TOKENS, activations: ACTIVATIONS },
  );
  assert.deepEqual(new Set(seen.counts), new Set([TOKENS]));
  for (const { prompt, at, webgpu, wasm } of seen.partings) {
    const apart = `${JSON.stringify(prompt)}, token ${at}: log-probabilities ${webgpu.toFixed(3)} and, of wasm's, ${wasm.toFixed(3)}`;
    report(t, apart);
    assert.ok(webgpu - wasm <= NEAR, apart);
  }
  const same = PROMPTS.length - seen.partings.length;
  report(t, `activations ${ACTIVATIONS}: ${same} of ${PROMPTS.length} answers of ${TOKENS} tokens are the same throughout`);
  assert.ok(same >= SAME * PROMPTS.length, `${same} of ${PROMPTS.length}`);
  await page.close();
});
