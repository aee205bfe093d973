// wisplm/openai on real models, in the browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { report, run } from "./harness.mjs";
import { browser, site } from "./stage.mjs";

test("chats, completions and embeddings through OpenAI's shapes", { timeout: 120_000 }, async (t) => {
  const page = await browser.open(site);
  const found = await run(page, async ({ load, WispError }) => {
    const { createOpenAI, APIError } = await import("/pkg/openai.js");
    const smol = await load("/models/SmolLM2-135M-Instruct.Q4_1.gguf");
    const bert = await load("/tiny/bert-0.gguf");
    const client = createOpenAI({ smol, bert });
    const messages = [
      { role: "developer", content: "You give short answers." },
      { role: "user", content: [{ type: "text", text: "What is the capital of France?" }] },
    ];
    const asked = { model: "smol", messages, temperature: 0, max_completion_tokens: 12, logprobs: true, top_logprobs: 2 };
    const whole = await client.chat.completions.create(asked);
    const chunks = [];
    const stream = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
    for await (const chunk of stream) chunks.push(chunk);
    const plain = await smol.chat([{ role: "system", content: "You give short answers." }, messages[1]], { temperature: 0, maxTokens: 12 }).result;

    const schema = { type: "object", properties: { city: { type: "string", maxLength: 20 }, large: { type: "boolean" } }, required: ["city", "large"], additionalProperties: false };
    const formed = await client.chat.completions.create({
      ...{ model: "smol", messages, seed: 1, n: 2, max_tokens: 60 },
      response_format: { type: "json_schema", json_schema: { name: "city", schema, strict: true } },
    });

    let seen = 0;
    for await (const _ of await client.chat.completions.create({ model: "smol", messages, stream: true })) if (++seen === 3) break;
    const controller = new AbortController();
    const aborted = client.completions.create({ model: "smol", prompt: "Once", max_tokens: 500 }, { signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    const end = await aborted.catch((error) => ({ typed: error instanceof APIError && error instanceof WispError, code: error.code }));
    const long = await client.completions.create({ model: "smol", prompt: "a ".repeat(20_000) }).catch(({ status, code }) => ({ status, code }));

    const text = await client.completions.create({ model: "smol", prompt: ["Once upon a", "The sun"], max_tokens: 3, temperature: 0, echo: true });
    const input = ["aa bb", "cc"];
    const floats = await client.embeddings.create({ model: "bert", input });
    const packed = await client.embeddings.create({ model: "bert", input, encoding_format: "base64" });
    const bytes = Uint8Array.from(atob(packed.data[1].embedding), (mark) => mark.charCodeAt(0));
    const vector = Array.from(new Float32Array(bytes.buffer));
    const vectors = (await bert.embed(input)).map((found) => Array.from(found));
    await smol.close();
    await bert.close();
    return { whole, chunks, plain, formed, end, long, text, floats, vector, vectors };
  });
  const { whole, chunks, plain, formed, text, floats } = found;
  const [choice] = whole.choices;
  report(t, JSON.stringify(choice.message.content));
  assert.match(choice.message.content, /Paris/);
  assert.deepEqual([choice.message.content, choice.finish_reason], [plain.text, "stop"]);
  const { promptTokens, completionTokens } = plain.usage;
  assert.deepEqual([whole.usage.prompt_tokens, whole.usage.completion_tokens], [promptTokens, completionTokens]);
  assert.ok(choice.logprobs.content.length > 0 && choice.logprobs.content.every(({ top_logprobs, logprob }) => top_logprobs.length === 2 && logprob <= 0));
  const parts = chunks.flatMap(({ choices }) => choices);
  assert.equal(parts.map(({ delta }) => delta.content ?? "").join(""), choice.message.content);
  assert.deepEqual(parts.flatMap(({ logprobs }) => logprobs?.content ?? []), choice.logprobs.content);
  assert.equal(chunks.at(-1).usage.completion_tokens, completionTokens);
  for (const { message } of formed.choices) {
    const value = JSON.parse(message.content);
    report(t, message.content);
    assert.deepEqual([typeof value.city, typeof value.large], ["string", "boolean"]);
  }
  assert.deepEqual(found.end, { typed: true, code: "aborted" });
  assert.deepEqual(found.long, { status: 400, code: "context-overflow" });
  assert.deepEqual(text.choices.map(({ text }) => text.slice(0, 7)), ["Once up", "The sun"]);
  assert.equal(text.usage.completion_tokens, 6);
  assert.deepEqual(floats.data.map(({ embedding }) => embedding), found.vectors);
  assert.deepEqual(found.vector, found.vectors[1]);
  assert.deepEqual(page.problems, []);
  await page.close();
});
