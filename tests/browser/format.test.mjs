// Answers that have a form, as a page that uses the API sees them. `FORMS=10 node --test format.test.mjs` writes ten answers for each schema.

import Ajv from "ajv/dist/2020.js";
import formats from "ajv-formats";
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openBrowser, report, run } from "./harness.mjs";
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
