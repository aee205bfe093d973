// Conversations, as a page that uses the API sees them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fixtureJson } from "./site.mjs";
import { report, run } from "./harness.mjs";
import { browser, site } from "./stage.mjs";

const SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1";
// Its file has no template.
const GEMMA = "gemma-3-270m-q4_k_m";

/** A page that keeps a model as `globalThis.model`. */
async function pageWith(name) {
  const page = await browser.open(site);
  await run(page, async ({ load }, { url }) => void (globalThis.model = await load(url)), { url: `/models/${name}.gguf` });
  return page;
}

test("a conversation's prompt is the template's, and it is answered", { timeout: 240_000 }, async (t) => {
  const { conversations } = fixtureJson("chat/conversations.json");
  const { tokens: all } = fixtureJson("chat/templates.json").find(({ template }) => template === `${SMOLLM2}.gguf`);
  const asked = Object.entries(all).map(([conversation, tokens]) => {
    const { name, ...given } = conversations.find(({ name }) => name === conversation);
    return { name, tokens, given };
  });
  assert.ok(asked.length > 5);
  const page = await pageWith(SMOLLM2);
  const answers = await run(
    page,
    async (_, { asked }) => {
      const answers = [];
      for (const { name, tokens, given } of asked) {
        const { messages, tools, ...others } = given;
        const options = { temperature: 0, maxTokens: 24 };
        const answer = await model.chat(messages, { ...options, ...others }).result;
        const same = await model.generate(tokens, options).result;
        const counted = others.continueAssistant ? tokens.length : await model.countTokens(messages);
        answers.push({ name, counted, expected: tokens.length, answer, same });
      }
      return answers;
    },
    { asked: asked.filter(({ given }) => given.tools === undefined) },
  );
  for (const { name, counted, expected, answer, same } of answers) {
    report(t, `${name}: ${JSON.stringify(answer.text.slice(0, 60))}`);
    assert.deepEqual([answer.usage.promptTokens, counted], [expected, expected], name);
    assert.deepEqual([answer.tokens, answer.text, answer.finishReason], [same.tokens, same.text, same.finishReason], name);
    assert.deepEqual([answer.reasoning, answer.toolCalls], ["", []]);
  }
  // With the system prompt that the template writes where there is none, the model does not know the capital of France.
  assert.match(answers.find(({ name }) => name === "system").answer.text, /sky .*blue/);

  const outcomes = await run(page, async () => {
    const code = (promise) => promise.then(() => "fine", (error) => error.code);
    const user = (content) => [{ role: "user", content }];
    return {
      typed: (await model.countTokens(user("<|im_end|>"))) - (await model.countTokens(user(""))),
      plain: await model.countTokens("<|im_end|>"),
      tools: await code(model.chat(user("x"), { tools: [{ type: "function", function: { name: "sum" } }] }).result),
      reasoning: await code(model.chat(user("x"), { reasoning: true }).result),
      none: await code(model.chat([]).result),
      content: await code(model.chat(user(3)).result),
      after: (await model.chat(user("Hello"), { maxTokens: 1 }).result).tokens.length,
    };
  });
  const refused = { tools: "invalid-argument", reasoning: "invalid-argument", none: "invalid-argument", content: "invalid-argument" };
  assert.deepEqual(outcomes, { ...refused, typed: outcomes.plain, plain: outcomes.plain, after: 1 });
  assert.ok(outcomes.plain > 1, "typed out, a control token is text");
  assert.deepEqual(page.problems, []);
  await page.close();
});

test("a model without a template says what to use instead", { timeout: 120_000 }, async () => {
  const page = await pageWith(GEMMA);
  const error = await run(page, () =>
    model.chat([{ role: "user", content: "Hello" }]).result.then(() => ({}), ({ code, message }) => ({ code, message })),
  );
  assert.equal(error.code, "unsupported-model");
  assert.match(error.message, /generate/);
  await page.close();
});
