import assert from "node:assert/strict";
import { test } from "node:test";
import type { ChatOptions, Generation } from "../src/index.js";
import { extract } from "../src/extract.js";

const asking = { chats: true, thinks: true };

/** A model that answers so, if it is asked not to reason. */
const answering = (text: string, finishReason = "stop", completionTokens = 1024) => (_: unknown, { reasoning }: ChatOptions): Generation => {
  assert.equal(reasoning, false);
  return { result: Promise.resolve({ text, finishReason, usage: { promptTokens: 90, completionTokens } }) } as unknown as Generation;
};

test("an extraction ends in a value, or in an error that says why not", async () => {
  const schema = { type: "object" };
  assert.deepEqual(await extract(answering('{"a":1}'), asking, "x", schema), { a: 1 });
  const { signal } = new AbortController();
  await assert.rejects(extract(answering('{"a', "abort"), asking, "x", schema, { signal }), { name: "WispError", code: "aborted" });
  const cut = (tokens: number): Promise<unknown> => extract(answering('{"a', "length", tokens), asking, "x", schema);
  await assert.rejects(cut(1024), { name: "WispError", code: "context-overflow", message: /after 1024 tokens: raise maxTokens/ });
  await assert.rejects(cut(30), { name: "WispError", code: "context-overflow", message: /context ended, after a prompt of 90 .*contextLength/ });
  await assert.rejects(extract(answering("{}"), asking, 5, schema), { code: "invalid-argument" });
});
