import assert from "node:assert/strict";
import { test } from "node:test";
import type { Generation } from "../src/index.js";
import { extract } from "../src/extract.js";

/** A model that answers so. */
const answering = (text: string, finishReason = "stop") => (): Generation =>
  ({ result: Promise.resolve({ text, finishReason }) }) as unknown as Generation;

test("an extraction ends in a value, or in an error that says why not", async () => {
  const schema = { type: "object" };
  assert.deepEqual(await extract(answering('{"a":1}'), true, "x", schema), { a: 1 });
  const { signal } = new AbortController();
  await assert.rejects(extract(answering('{"a', "abort"), true, "x", schema, { signal }), { name: "WispError", code: "aborted" });
  await assert.rejects(extract(answering('{"a', "length"), true, "x", schema), { name: "WispError", code: "context-overflow" });
  await assert.rejects(extract(answering("{}"), true, 5, schema), { code: "invalid-argument" });
});
