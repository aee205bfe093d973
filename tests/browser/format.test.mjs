// Answers that have a form, as a page that uses the API sees them. `FORMS=10 node --test format.test.mjs` writes ten answers for each schema.

import Ajv from "ajv/dist/2020.js";
import formats from "ajv-formats";
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { inWorker, openBrowser, report, run } from "./harness.mjs";
import { SCHEMAS } from "./schemas.mjs";
import { openSite } from "./site.mjs";

const TIMES = Number(process.env.FORMS ?? 1);
const SMOLLM2 = "/models/SmolLM2-135M-Instruct.Q4_1.gguf";

let site, browser, page;

before(async () => {
  site = await openSite();
  browser = await openBrowser();
  page = await browser.open(site);
  await run(page, async ({ load }, { url }) => void (globalThis.model = await load(url, { device: "wasm" })), { url: SMOLLM2 });
});

after(async () => {
  await browser?.close();
  await site?.close();
});

test("every answer is valid by its schema, at temperature 1", { timeout: 120_000 + 60_000 * TIMES }, async (t) => {
  const answers = await run(
    page,
    async (_, { schemas, times }) => {
      const answers = [];
      for (const [name, schema] of Object.entries(schemas)) {
        for (let seed = 0; seed < times; seed++) {
          const messages = [{ role: "user", content: `Give me ${name}, as JSON.` }];
          const options = { format: { schema }, temperature: 1, topK: 0, topP: 1, minP: 0, seed, maxTokens: 300 };
          const { text, finishReason, usage, timings } = await model.chat(messages, options).result;
          answers.push({ name, text, finishReason, tokens: usage.completionTokens, ms: timings.decodeMs });
        }
      }
      return answers;
    },
    { schemas: SCHEMAS, times: TIMES },
  );
  const ajv = formats(new Ajv({ strict: false }));
  // The usual check wants a dot in the domain; RFC 5321, which JSON Schema names, does not.
  const label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?";
  ajv.addFormat("email", new RegExp(`^[\\w!#$%&'*+/=?^\`{|}~.-]+@${label}(?:\\.${label})*$`));
  let [tokens, ms] = [0, 0];
  for (const { name, text, finishReason, ...spent } of answers) {
    const check = `${name}: ${text}`;
    report(t, check.slice(0, 120));
    assert.equal(finishReason, "stop", check);
    assert.ok(ajv.validate(SCHEMAS[name], JSON.parse(text)), `${check}: ${ajv.errorsText()}`);
    tokens += spent.tokens;
    ms += spent.ms;
  }
  report(t, `${answers.length} answers under ${Object.keys(SCHEMAS).length} schemas, ${tokens} tokens, ${(ms / tokens).toFixed(1)} ms each`);
});

/** Has a worker count what it reads of a GPU: a token at a time, or more. */
const READS = `{
  const { mapAsync } = GPUBuffer.prototype;
  const channel = new BroadcastChannel("reads");
  GPUBuffer.prototype.mapAsync = function (mode, offset = 0, size = this.size - offset) {
    channel.postMessage(size);
    return mapAsync.call(this, mode, offset, size);
  };
}`;

test("on WebGPU answers have the same form, and no logits are read", { timeout: 120_000 }, async (t) => {
  const page = await browser.open(site);
  await inWorker(page, READS);
  const { answers, reads } = await run(page, async ({ load }) => {
    const schema = { type: "object", properties: { name: { type: "string", maxLength: 9 }, age: { type: "integer" } }, required: ["name", "age"] };
    const formats = [{ regex: /[a-z]{12}( [A-Z0-9]+){3}/ }, { schema }, { choices: ["yes", "no", "not at all"] }];
    const chosen = [
      { temperature: 0, repeatPenalty: 1.3 },
      { temperature: 1, topK: 30, seed: 4, logitBias: { 40: 2 } },
      { temperature: 2, topK: 0, topP: 0.9, minP: 0.01, seed: 5 },
    ];
    // Likelihoods are told of logits: that is the host's.
    const told = [{ temperature: 0, logprobs: 1 }];
    let sizes = [];
    new BroadcastChannel("reads").onmessage = ({ data }) => sizes.push(data);
    const [answers, reads] = [{}, []];
    for (const device of ["webgpu", "wasm"]) {
      const model = await load("/tiny/llama-0.gguf", { device, autotune: false });
      answers[device] = [];
      for (const kinds of [chosen, told]) {
        sizes = [];
        for (const options of kinds) {
          for (const format of formats) {
            const { text, finishReason, usage } = await model.generate("ab", { ...options, format, maxTokens: 40 }).result;
            answers[device].push({ text, finishReason, tokens: usage.completionTokens });
          }
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
        reads.push([...new Set(sizes)]);
      }
      await model.close();
    }
    return { answers, reads };
  });
  for (const { text, tokens } of answers.webgpu) report(t, `${tokens} tokens: ${text}`);
  assert.deepEqual(answers.webgpu, answers.wasm);
  const [chosen, told, ...others] = reads;
  assert.deepEqual([chosen, others], [[4], [[], []]], "bytes that are read at once");
  assert.ok(told.some((size) => size > 4));
  await page.close();
});
